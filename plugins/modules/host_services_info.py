#!/usr/bin/python
# Copyright: cicd.sandbox contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Module: which services of a host do not run, and why."""

from __future__ import annotations

DOCUMENTATION = r"""
---
module: host_services_info
short_description: Say which services of a host do not run, and what they wrote last
version_added: 0.1.0
author: cicd.sandbox contributors (@cicd-sandbox)
description:
  - Looks once, and waits for nothing. A service that does not run is no error of the module.
options:
  units:
    description: Units of systemd that are to be active.
    type: list
    elements: str
    default: []
  logs:
    description:
      - Patterns of the shell. Of the files that one finds, the newest is read, such as that of the last start of a
        container in C(/var/log/pods).
    type: list
    elements: str
    default: []
  lines:
    description: How many lines are read of each journal and log.
    type: int
    default: 5
attributes:
  check_mode:
    description: Changes nothing.
    support: full
"""

EXAMPLES = r"""
- name: See why a control plane does not answer
  cicd.sandbox.host_services_info:
    units: [containerd, kubelet]
    logs: [/var/log/pods/kube-system_kube-apiserver-*/*/*.log]
  register: found
"""

RETURN = r"""
problems:
  description: Lines of text; those that are indented are what the service above them wrote. Empty where all is well.
  returned: always
  type: list
  elements: str
  sample: ["etcd.service is activating (start), after 2 restarts. It wrote last:", "  no leader"]
"""


from ansible.module_utils.basic import AnsibleModule
from ansible_collections.cicd.sandbox.plugins.module_utils.host.commands import within
from ansible_collections.cicd.sandbox.plugins.module_utils.host.services import problems


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "units": {"type": "list", "elements": "str", "default": []},
            "logs": {"type": "list", "elements": "str", "default": []},
            "lines": {"type": "int", "default": 5},
        },
        supports_check_mode=True,
    )
    params = module.params
    module.exit_json(changed=False, problems=problems(params["units"], params["logs"], params["lines"], within(5)))


if __name__ == "__main__":
    main()
