#!/usr/bin/python
# Copyright: cicd.sandbox contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Module: whether a cluster has the objects of a manifest as they were applied."""

from __future__ import annotations

DOCUMENTATION = r"""
---
module: manifest_info
short_description: Tell whether a cluster has a manifest's objects as they were applied
version_added: 0.1.0
author: cicd.sandbox contributors (@cicd-sandbox)
description:
  - Compares a record of objects, written when they were applied, with what the cluster has of them now. Where nothing
    differs, nothing has to be applied, which takes the API server far longer.
  - What an object has besides, from defaults and from others than who applied it, is no difference.
options:
  kubeconfig:
    description: The kubeconfig that leads to the cluster.
    type: path
    required: true
  record:
    description:
      - A JSON file with C(digest), of what the objects were made from, and C(objects), their definitions.
      - Without a file, or with one that has another digest, everything differs.
    type: path
    required: true
  digest:
    description: Digest of what the objects would be made from now.
    type: str
    required: true
attributes:
  check_mode:
    description: Changes nothing in any mode.
    support: full
  diff_mode:
    description: Changes nothing in any mode.
    support: none
"""

EXAMPLES = r"""
- name: Look whether the network is as it was applied
  cicd.sandbox.manifest_info:
    kubeconfig: "{{ sandbox_kubeconfig }}"
    record: "{{ sandbox_state_directory }}/network.json"
    digest: "{{ manifest | hash('sha256') }}"
  register: found
"""

RETURN = r"""
recorded:
  description: Whether the record is of O(digest), so that only objects may differ which were changed since.
  returned: success
  type: bool
differences:
  description: What is not as it is wanted, a line each; nothing has to be applied where there are none.
  returned: success
  type: list
  elements: str
  sample: ["Node worker-1: metadata.labels.node-role.kubernetes.io/worker is not as it was applied"]
"""

import json
from pathlib import Path

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.cicd.sandbox.plugins.module_utils.kubernetes.api import KubernetesApi, KubernetesError
from ansible_collections.cicd.sandbox.plugins.module_utils.kubernetes.manifest import differences


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "kubeconfig": {"type": "path", "required": True},
            "record": {"type": "path", "required": True},
            "digest": {"type": "str", "required": True},
        },
        supports_check_mode=True,
    )
    path = Path(module.params["record"])
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
        digest, objects = record["digest"], record["objects"]
    except FileNotFoundError:
        module.exit_json(changed=False, recorded=False, differences=["it was not applied from here"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        module.exit_json(changed=False, recorded=False, differences=[f"{path} is no record: {error}"])
    if digest != module.params["digest"]:
        module.exit_json(changed=False, recorded=False, differences=["something else was applied"])
    try:
        found = differences(KubernetesApi(module.params["kubeconfig"]), objects)
    except KubernetesError as error:
        module.fail_json(msg=str(error))
    module.exit_json(changed=False, recorded=True, differences=found)


if __name__ == "__main__":
    main()
