#!/usr/bin/python
# Copyright: cicd.sandbox contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Module: whether official releases can be had from here."""

from __future__ import annotations

DOCUMENTATION = r"""
module: artifacts_source
short_description: Find out whether official releases can be had from here
version_added: "0.1.0"
description:
  - Asks a release server and an image registry for a sign of life, once, and writes down what was found. Later runs
    read that.
  - Fails where only releases are wanted and they can't be had. Nothing is written then.
options:
  wanted:
    description: The source that is wanted; V(auto) takes releases where every probe answers.
    type: str
    choices: [auto, build, release]
    default: auto
  probes:
    description: URLs that answer where official releases can be had.
    type: list
    elements: str
    required: true
  timeout:
    description: Seconds to wait for an answer.
    type: float
    default: 3.0
  path:
    description: File in which the finding is kept.
    type: path
    required: true
author:
  - cicd.sandbox contributors
attributes:
  check_mode:
    description: Probes, writes nothing.
    support: full
"""

EXAMPLES = r"""
- name: Find out whether the network is open
  cicd.sandbox.artifacts_source:
    probes: [https://dl.k8s.io/release/stable.txt, https://registry.k8s.io/v2/]
    path: "{{ sandbox_state_directory }}/artifacts-source.json"
  register: network
"""

RETURN = r"""
source:
  description: V(build) or V(release).
  returned: success
  type: str
network:
  description: V(open), V(closed) or, where it was not asked, V(not probed).
  returned: success
  type: str
reason:
  description: A sentence for the run's summary.
  returned: success
  type: str
"""

import json
from pathlib import Path

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.cicd.sandbox.plugins.module_utils.artifacts.release import find_source, kept_source
from ansible_collections.cicd.sandbox.plugins.module_utils.host import files
from ansible_collections.cicd.sandbox.plugins.module_utils.host.environment import settle


def main() -> None:
    """Run the module."""
    settle()
    module = AnsibleModule(
        argument_spec={
            "wanted": {"type": "str", "choices": ["auto", "build", "release"], "default": "auto"},
            "probes": {"type": "list", "elements": "str", "required": True},
            "timeout": {"type": "float", "default": 3.0},
            "path": {"type": "path", "required": True},
        },
        supports_check_mode=True,
    )
    path = Path(module.params["path"])
    wanted = module.params["wanted"]
    if known := kept_source(path, wanted):
        module.exit_json(changed=False, **known)
    found = {"wanted": wanted, **find_source(wanted, module.params["probes"], module.params["timeout"])}
    if wanted == "release" and found["network"] == "closed":
        remedy = "Let this machine reach them, or set artifacts_source to auto or build."
        module.fail_json(msg=f"{found['reason']}. {remedy}")
    if not module.check_mode:
        try:
            # The state directory holds secrets too.
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            files.write(path, json.dumps(found, indent=1) + "\n")
        except OSError as error:
            module.fail_json(msg=f"{path}: {error}")
    module.exit_json(changed=True, **found)


if __name__ == "__main__":
    main()
