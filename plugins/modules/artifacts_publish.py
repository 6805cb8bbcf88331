#!/usr/bin/python
# Copyright: cicd.sandbox contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Documentation of the action artifacts_publish."""

from __future__ import annotations

DOCUMENTATION = r"""
module: artifacts_publish
short_description: Put components from the cache into the artifact store and the image registry
version_added: "0.1.0"
description:
  - Compares SHA256SUMS in the store and digests in the registry with the cache, side by side for all components, and
    transfers what differs. The host of the task is the one that carries the store.
  - Links the programs that the controller itself uses into a directory.
extends_documentation_fragment:
  - cicd.sandbox.artifact_catalogue
options:
  names:
    description: Components.
    type: list
    elements: str
    required: true
  look_at:
    description: Further components that are compared, but not transferred, if the cache has them. See RV(current).
    type: list
    elements: str
    default: []
  store_url:
    description: Where the store's files are read.
    type: str
    required: true
  store_directory:
    description: The store's directory on the host.
    type: path
    required: true
  registry:
    description: The registry's host and port.
    type: str
    required: true
  registry_user:
    description: Who may push.
    type: str
    required: true
  registry_password_file:
    description: File on the controller with that user's password.
    type: path
    required: true
  ca_path:
    description: File on the controller with the CA that signed both servers' certificates.
    type: path
    required: true
  tools_directory:
    description: Directory on the controller for the programs that it uses itself.
    type: path
    required: true
author:
  - cicd.sandbox contributors
attributes:
  check_mode:
    description: Says what would be transferred, transfers nothing.
    support: full
"""

EXAMPLES = r"""
- name: Publish etcd
  cicd.sandbox.artifacts_publish:
    catalogue: "{{ artifacts_catalogue }}"
    names: [etcd]
    store_url: "{{ sandbox_store_url }}"
    store_directory: /srv/store
    registry: "{{ sandbox_registry }}"
    registry_user: sandbox
    registry_password_file: "{{ sandbox_secrets_directory }}/registry-password"
    ca_path: "{{ sandbox_pki_directory }}/sandbox/ca.crt"
    tools_directory: "{{ sandbox_bin_directory }}"
  delegate_to: infra-1
"""

RETURN = r"""
files:
  description: Components whose files were transferred.
  returned: success
  type: list
  elements: str
images:
  description: Images that were pushed.
  returned: success
  type: list
  elements: str
tools:
  description: Programs that were linked.
  returned: success
  type: list
  elements: str
paths:
  description: Component → its directory in the controller's cache.
  returned: success
  type: dict
tags:
  description: Component → tag of its image of our own, made of its version and its content.
  returned: success
  type: dict
layouts:
  description: Image, as the registry has it → its OCI layout in the controller's cache, of all that are there.
  returned: success
  type: dict
unmade:
  description: Components of O(look_at) that the cache does not have.
  returned: success
  type: list
  elements: str
current:
  description: Components that are published now, so that the rest of a run need not ask again.
  returned: success
  type: list
  elements: str
"""
