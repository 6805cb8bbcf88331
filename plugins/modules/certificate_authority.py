#!/usr/bin/python
# Copyright: cicd.sandbox contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Module: a certificate authority on the controller."""

from __future__ import annotations

DOCUMENTATION = r"""
---
module: certificate_authority
short_description: Make a certificate authority on the controller, once
version_added: 0.1.0
author: cicd.sandbox contributors (@cicd-sandbox)
description:
  - Makes a private key, C(ca.key) of mode 0600, and a certificate that it signs itself, C(ca.crt), in a directory of
    the controller, by an action plugin without a further process. Whatever is there already is kept.
  - The key is ECDSA on P-256. The CA signs certificates, and no other CA.
options:
  directory:
    description: Where the files are. It is made with mode 0700 where it is missing, like those above it.
    type: path
    required: true
  common_name:
    description: The subject's common name.
    type: str
    required: true
  organization:
    description: The subject's organization.
    type: str
    required: true
  days:
    description: How long the certificate is valid.
    type: int
    default: 3650
attributes:
  check_mode:
    description: Says whether something would be made, makes nothing.
    support: full
  diff_mode:
    description: Shows nothing.
    support: none
seealso:
  - module: cicd.sandbox.host_certificates
"""

EXAMPLES = r"""
- name: Make the CA of etcd
  cicd.sandbox.certificate_authority:
    directory: "{{ sandbox_pki_directory }}/etcd"
    common_name: etcd CA
    organization: cicd.sandbox
"""

RETURN = r"""
made:
  description: Paths of the files that were made.
  returned: success
  type: list
  elements: str
"""
