#!/usr/bin/python
# Copyright: cicd.sandbox contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Module: Trivy on many targets."""

from __future__ import annotations

DOCUMENTATION = r"""
---
module: trivy
short_description: Have Trivy look at folders and images without the network
version_added: 0.1.0
author: cicd.sandbox contributors (@cicd-sandbox)
description:
  - Has Trivy look at folders and at images that are OCI layouts on the disk, by the checks that are in the program,
    and returns one report of all of them, which M(cicd.sandbox.trivy_report) judges.
  - It asks the network for nothing. So it can't look for known vulnerabilities, whose database would be fetched.
options:
  executable:
    description: The program trivy.
    type: path
    required: true
  cache:
    description: A folder of its own for what Trivy knows of layers that images share.
    type: path
    required: true
  name:
    description: How the report calls what was scanned.
    type: str
    required: true
  targets:
    description: What to look at.
    type: list
    elements: dict
    required: true
    suboptions:
      kind:
        description: What it is.
        type: str
        choices: [image, folder]
        required: true
      name:
        description:
          - How the report calls it, and waivers as C(resource), with its kind C(Image/) or C(Folder/) or without.
        type: str
        required: true
      path:
        description: Where it is. Files in findings are relative to it.
        type: path
        required: true
      scanners:
        description: What to look for.
        type: list
        elements: str
        choices: [misconfig, secret, license]
        required: true
  jobs:
    description: How many targets are looked at at once.
    type: int
    default: 1
attributes:
  check_mode:
    description: Changes nothing but its cache in any mode.
    support: full
  diff_mode:
    description: Changes nothing in any mode.
    support: none
"""

EXAMPLES = r"""
- name: Look at the application and its image
  cicd.sandbox.trivy:
    executable: /usr/local/bin/trivy
    cache: /var/tmp/trivy
    name: shop
    targets:
      - {kind: folder, name: shop, path: /srv/shop, scanners: [misconfig, secret]}
      - {kind: image, name: "registry.example/shop:1.0", path: /srv/layouts/shop, scanners: [secret, license]}
  register: shop

- name: Judge what it found
  cicd.sandbox.trivy_report:
    content: "{{ shop.report }}"
"""

RETURN = r"""
report:
  description: Trivy's report, as text.
  returned: success
  type: str
"""

import json
from pathlib import Path

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.cicd.sandbox.plugins.module_utils.scans.trivy import (
    KINDS,
    Target,
    Trivy,
    TrivyError,
    look_at_all,
)


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "executable": {"type": "path", "required": True},
            "cache": {"type": "path", "required": True},
            "name": {"type": "str", "required": True},
            "targets": {
                "type": "list",
                "elements": "dict",
                "required": True,
                "options": {
                    "kind": {"type": "str", "choices": list(KINDS), "required": True},
                    "name": {"type": "str", "required": True},
                    "path": {"type": "path", "required": True},
                    "scanners": {
                        "type": "list",
                        "elements": "str",
                        "choices": ["misconfig", "secret", "license"],
                        "required": True,
                    },
                },
            },
            "jobs": {"type": "int", "default": 1},
        },
        supports_check_mode=True,
    )
    params = module.params
    if params["jobs"] < 1:
        module.fail_json(msg=f"jobs is {params['jobs']}: at least one target is looked at at once")
    trivy = Trivy(Path(params["executable"]).absolute(), Path(params["cache"]).absolute())
    targets = [Target(**{**target, "path": Path(target["path"]).absolute()}) for target in params["targets"]]
    try:
        report = look_at_all(trivy, params["name"], targets, params["jobs"])
    except (TrivyError, OSError) as error:
        module.fail_json(msg=f"Trivy can't look at {error}")
    module.exit_json(changed=False, report=json.dumps(report))


if __name__ == "__main__":
    main()
