#!/usr/bin/python
# Copyright: cicd.sandbox contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Documentation of the action cluster_objects_info."""

from __future__ import annotations

DOCUMENTATION = r"""
module: cluster_objects_info
short_description: Read objects of the cluster that a kubeconfig leads to
version_added: "0.1.0"
author:
  - cicd.sandbox contributors
description:
  - Has M(kubernetes.core.k8s_info) do it, with the part of its options that is listed here. What the environment says
    of other clusters and of proxies has no effect, see M(cicd.sandbox.cluster_objects).
options:
  kubeconfig:
    description: Path of the kubeconfig. Its current context is used.
    type: path
    required: true
  api_version:
    description: API version of O(kind).
    type: str
    default: v1
  kind:
    description: Kind of the objects.
    type: str
    required: true
  namespace:
    description: Their namespace; all of them if not given.
    type: str
  name:
    description: Name of the only one that is asked for.
    type: str
  label_selectors:
    description: Labels that they have.
    type: list
    elements: str
    default: []
  field_selectors:
    description: Fields that they have.
    type: list
    elements: str
    default: []
requirements:
  - kubernetes.core
  - the Python library kubernetes on the host of the task
attributes:
  check_mode:
    description: Changes nothing.
    support: full
  action:
    description: The environment is put right on the controller; the task's connection has to be local.
    support: full
"""

EXAMPLES = r"""
- name: Read where the database runs
  cicd.sandbox.cluster_objects_info:
    kubeconfig: "{{ sandbox_kubeconfig }}"
    kind: Pod
    namespace: apps
    name: postgresql-0
  delegate_to: localhost
  register: database
"""

RETURN = r"""
resources:
  description: The objects.
  returned: success
  type: list
  elements: dict
"""
