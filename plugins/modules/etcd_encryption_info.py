#!/usr/bin/python
# Copyright: cicd.sandbox contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Module: which keys values of Kubernetes in etcd are encrypted with."""

from __future__ import annotations

DOCUMENTATION = r"""
---
module: etcd_encryption_info
short_description: Count in etcd which keys Kubernetes encrypted its values with
version_added: 0.1.0
author: cicd.sandbox contributors (@cicd-sandbox)
extends_documentation_fragment: [cicd.sandbox.etcd_client]
description:
  - Reads all values of a cluster on the host of a member, as they are stored, and counts them by the names of the keys
    in the API server's C(EncryptionConfiguration). No value leaves the host.
options:
  prefix:
    description: What the paths of the cluster's values begin with.
    type: str
    default: /registry/
attributes:
  check_mode:
    description: Changes nothing.
    support: full
seealso:
  - name: Encrypting confidential data at rest
    description: How an API server marks what it encrypts.
    link: https://kubernetes.io/docs/tasks/administer-cluster/encrypt-data/
"""

EXAMPLES = r"""
- name: Count what each key encrypts
  cicd.sandbox.etcd_encryption_info:
    ca: /etc/etcd/pki/ca.crt
    certificate: /etc/etcd/pki/server.crt
    key: /etc/etcd/pki/server.key
  register: encrypted
"""

RETURN = r"""
counts:
  description: Name of each key → how many values it encrypts. C("") is of those that are not encrypted.
  returned: success
  type: dict
  sample: {"": 812, "sandbox": 57}
examples:
  description: Name of each key → path of one value of it.
  returned: success
  type: dict
  sample: {"": "/registry/configmaps/default/kube-root-ca.crt", "sandbox": "/registry/secrets/apps/postgresql"}
"""

import dataclasses

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.cicd.sandbox.plugins.module_utils.etcd.client import CLIENT_OPTIONS, client_of
from ansible_collections.cicd.sandbox.plugins.module_utils.etcd.encryption import EncryptionError, keys_in_use
from ansible_collections.cicd.sandbox.plugins.module_utils.host.commands import within


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            **CLIENT_OPTIONS,
            "prefix": {"type": "str", "default": "/registry/"},
        },
        supports_check_mode=True,
    )
    params = module.params
    if not params["prefix"]:
        module.fail_json(msg="prefix: is empty")
    try:
        found = keys_in_use(client_of(params, patience=30), within(60), params["prefix"])
    except EncryptionError as exc:
        module.fail_json(msg=f"{params['endpoint']}: {exc}")
    module.exit_json(changed=False, **dataclasses.asdict(found))


if __name__ == "__main__":
    main()
