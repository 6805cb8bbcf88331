#!/usr/bin/python
# Copyright: cicd.sandbox contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Module: when certificates of a host end."""

from __future__ import annotations

DOCUMENTATION = r"""
---
module: host_certificates_info
short_description: Say when certificates of a host end
version_added: 0.1.0
author: cicd.sandbox contributors (@cicd-sandbox)
description:
  - Reads the certificates of files and kubeconfigs, whoever made them, and says how long each is valid.
options:
  paths:
    description:
      - The files, as patterns of the shell. What is not there is left out.
      - PEM, with one certificate or several, or kubeconfigs with a certificate in them or a file of one named there.
    type: list
    elements: path
    required: true
  renew_before_days:
    description: A certificate that ends within so many days is due.
    type: int
    default: 30
attributes:
  check_mode:
    description: Changes nothing.
    support: full
"""

EXAMPLES = r"""
- name: See how long the certificates of a control plane are valid
  cicd.sandbox.host_certificates_info:
    paths:
      - /etc/kubernetes/*.conf
      - /etc/kubernetes/pki/*.crt
  register: found
"""

RETURN = r"""
certificates:
  description: What was found, in the order of paths.
  returned: always
  type: list
  elements: dict
  contains:
    path:
      description: The file; a kubeconfig's own path, where it names another file.
      type: str
    name:
      description: The subject's common name.
      type: str
    authority:
      description: Whether it is a CA's.
      type: bool
    not_after:
      description: When it ends, in UTC, such as C(2027-11-29T18:00:00Z); empty where it can't be read.
      type: str
    days_left:
      description: Whole days until then; negative from the moment at which it ended.
      type: int
    due:
      description: Whether it ends within O(renew_before_days), has ended or can't be read.
      type: bool
    problem:
      description: Why it can't be read.
      type: str
"""

from datetime import timedelta

from ansible.module_utils.basic import AnsibleModule, missing_required_lib

try:
    from ansible_collections.cicd.sandbox.plugins.module_utils.host import certificate_expiry as _expiry
except ImportError as error:
    IMPORT_ERROR: ImportError | None = error
else:
    IMPORT_ERROR = None


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "paths": {"type": "list", "elements": "path", "required": True},
            "renew_before_days": {"type": "int", "default": 30},
        },
        supports_check_mode=True,
    )
    if IMPORT_ERROR is not None:
        module.fail_json(msg=missing_required_lib("cryptography"), exception=str(IMPORT_ERROR))
    renew_before = timedelta(days=module.params["renew_before_days"])
    module.exit_json(changed=False, certificates=_expiry.inspect(module.params["paths"], renew_before))


if __name__ == "__main__":
    main()
