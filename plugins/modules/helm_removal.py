#!/usr/bin/python
# Copyright: cicd.sandbox contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Documentation of the action helm_removal."""

from __future__ import annotations

DOCUMENTATION = r"""
module: helm_removal
short_description: Take a Helm release away from the cluster that a kubeconfig leads to
version_added: "0.1.0"
author:
  - cicd.sandbox contributors
description:
  - Has M(kubernetes.core.helm) uninstall it, and waits until its objects are gone.
  - Variables of the environment that speak of other clusters (C(HELM_*), C(K8S_AUTH_*), C(KUBE*)), and proxies, have no
    effect.
options:
  kubeconfig:
    description: Path of the kubeconfig. Its current context is used.
    type: path
    required: true
  binary_path:
    description: The helm program.
    type: path
    required: true
  name:
    description: Name of the release.
    type: str
    required: true
  namespace:
    description: Its namespace.
    type: str
    required: true
  timeout:
    description: Seconds that it may take.
    type: int
    default: 300
requirements:
  - kubernetes.core
attributes:
  check_mode:
    description: Tells whether it would be taken away.
    support: full
  diff_mode:
    description: Shows nothing.
    support: none
  action:
    description: The environment is put right on the controller; the task's connection has to be local.
    support: full
seealso:
  - module: cicd.sandbox.helm_releases
"""

EXAMPLES = r"""
- name: Take an application away
  cicd.sandbox.helm_removal:
    kubeconfig: "{{ sandbox_kubeconfig }}"
    binary_path: "{{ sandbox_bin_directory }}/helm"
    name: shop
    namespace: shop
  delegate_to: localhost
"""

RETURN = r"""
command:
  description: What Helm was asked.
  returned: where it was there
  type: str
"""
