# Copyright: cicd.sandbox contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Options shared by the modules that ask etcd."""

from __future__ import annotations


class ModuleDocFragment:
    """Whom to ask, and with which certificate."""

    DOCUMENTATION = r"""
options:
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
"""
