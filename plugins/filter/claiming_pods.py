# Copyright: cicd.sandbox contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Filter: pods that use volumes."""

from __future__ import annotations

DOCUMENTATION = r"""
name: claiming_pods
short_description: Tell which pods use the claims of volumes
version_added: 0.1.0
author:
  - cicd.sandbox contributors
description:
  - Of the pods of a cluster, those that use a claim of the volumes.
positional: volumes
options:
  _input:
    description: Pods, as Kubernetes has them.
    type: list
    elements: dict
    required: true
  volumes:
    description: Volumes, as P(cicd.sandbox.local_volumes#filter) gives them.
    type: list
    elements: dict
    required: true
"""

EXAMPLES = r"""
- name: Say who uses volumes of the node
  ansible.builtin.debug:
    msg: "{{ pods.resources | cicd.sandbox.claiming_pods(volumes.resources | cicd.sandbox.local_volumes('worker-2')) }}"
"""

RETURN = r"""
_value:
  description: C(namespace) and C(name) of each pod.
  type: list
  elements: dict
"""

from collections.abc import Callable
from typing import Any

from ansible_collections.cicd.sandbox.plugins.module_utils.kubernetes.volumes import claiming_pods


class FilterModule:
    """The filter of this file."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Return filter name → function."""
        return {"claiming_pods": claiming_pods}
