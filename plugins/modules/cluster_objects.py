#!/usr/bin/python
# Copyright: cicd.sandbox contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Documentation of the action cluster_objects."""

from __future__ import annotations

DOCUMENTATION = r"""
module: cluster_objects
short_description: Create, change or delete objects of the cluster that a kubeconfig leads to
version_added: "0.1.0"
author:
  - cicd.sandbox contributors
description:
  - Has M(kubernetes.core.k8s) do it, with the part of its options that is listed here.
  - To that module, variables of the environment (C(K8S_AUTH_*)) are stronger than the kubeconfig it is given, and it
    goes by proxies of the environment. Here neither has an effect on which API server is asked.
options:
  kubeconfig:
    description: Path of the kubeconfig. Its current context is used.
    type: path
    required: true
  state:
    description: Whether the objects are to be there.
    type: str
    choices: [absent, present]
    default: present
  definition:
    description: An object, a list of objects, or YAML of one or several.
    type: raw
  api_version:
    description: API version of O(kind).
    type: str
    default: v1
  kind:
    description: Kind of the object, where there is no O(definition).
    type: str
  namespace:
    description: Its namespace.
    type: str
  name:
    description: Its name.
    type: str
  apply:
    description: Whether fields are taken away that an earlier definition had.
    type: bool
    default: false
  server_side_apply:
    description: C(field_manager) and C(force_conflicts); O(apply) is done by the API server then.
    type: dict
requirements:
  - kubernetes.core
  - the Python library kubernetes on the host of the task
attributes:
  check_mode:
    description: Asks the API server for a dry run.
    support: full
  diff_mode:
    description: Says which fields differ.
    support: full
  action:
    description: The environment is put right on the controller; the task's connection has to be local.
    support: full
"""

EXAMPLES = r"""
- name: Make a namespace
  cicd.sandbox.cluster_objects:
    kubeconfig: "{{ sandbox_kubeconfig }}"
    apply: true
    definition:
      apiVersion: v1
      kind: Namespace
      metadata: {name: shop}
  delegate_to: localhost
"""

RETURN = r"""
result:
  description: What M(kubernetes.core.k8s) returns, the object or C(results) for each of several.
  returned: success
  type: dict
"""
