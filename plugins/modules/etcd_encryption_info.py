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
description:
  - Reads all values of a cluster on the host of a member, as they are stored, and counts them by the names of the keys
    in the API server's C(EncryptionConfiguration). No value leaves the host.
options:
  prefix:
    description: What the paths of the cluster's values begin with.
    type: str
    default: /registry/
  endpoint:
    description: Client URL of the member.
    type: str
    default: https://127.0.0.1:2379
  ca:
    description: Certificate of the CA.
    type: path
    required: true
  certificate:
    description: A client certificate.
    type: path
    required: true
  key:
    description: Its private key.
    type: path
    required: true
  etcdctl:
    description: The program etcdctl.
    type: path
    default: /usr/local/bin/etcdctl
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
from pathlib import Path

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.cicd.sandbox.plugins.module_utils.etcd.encryption import EncryptionError, keys_in_use
from ansible_collections.cicd.sandbox.plugins.module_utils.etcd.member import Member
from ansible_collections.cicd.sandbox.plugins.module_utils.host.commands import within


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "prefix": {"type": "str", "default": "/registry/"},
            "endpoint": {"type": "str", "default": "https://127.0.0.1:2379"},
            "ca": {"type": "path", "required": True},
            "certificate": {"type": "path", "required": True},
            "key": {"type": "path", "required": True, "no_log": False},
            "etcdctl": {"type": "path", "default": "/usr/local/bin/etcdctl"},
        },
        supports_check_mode=True,
    )
    params = module.params
    if not params["prefix"]:
        module.fail_json(msg="prefix: is empty")
    member = Member(
        data_directory=Path(),
        unit="",
        endpoint=params["endpoint"],
        ca=params["ca"],
        certificate=params["certificate"],
        key=params["key"],
        etcdctl=params["etcdctl"],
        patience=30.0,
    )
    try:
        found = keys_in_use(member, within(60), params["prefix"])
    except EncryptionError as exc:
        module.fail_json(msg=f"{params['endpoint']}: {exc}")
    module.exit_json(changed=False, **dataclasses.asdict(found))


if __name__ == "__main__":
    main()
