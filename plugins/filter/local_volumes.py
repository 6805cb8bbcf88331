# Copyright: cicd.sandbox contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Filter: volumes that are a directory of a node."""

from __future__ import annotations

DOCUMENTATION = r"""
name: local_volumes
short_description: Tell which volumes are directories of a node
version_added: 0.1.0
author:
  - cicd.sandbox contributors
description:
  - Of volumes that local-path or people made, those that are a directory of a node. Other kinds are left out.
positional: node, around
options:
  _input:
    description: PersistentVolumes, as Kubernetes has them.
    type: list
    elements: dict
    required: true
  node:
    description: Name of the node.
    type: str
    required: true
  around:
    description:
      - Nodes, claims and pods of the cluster. They tell where a volume is used that may be used on any node, and which
        was there before its node joined.
    type: list
    elements: dict
    default: []
"""

EXAMPLES = r"""
- name: Say which volumes go with the node
  ansible.builtin.debug:
    msg: "{{ volumes.resources | cicd.sandbox.local_volumes('worker-2', nodes.resources + claims.resources) }}"
"""

RETURN = r"""
_value:
  description:
    - C(node), C(path), and C(namespace) and name (C(claim)) of the claim, empty where there is none.
    - C(older) is whether it was there before the node joined, and its claim does not say yet that it was lost.
  type: list
  elements: dict
"""

from collections.abc import Callable
from typing import Any

from ansible_collections.cicd.sandbox.plugins.module_utils.kubernetes.volumes import local_volumes


class FilterModule:
    """The filter of this file."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Return filter name → function."""
        return {"local_volumes": local_volumes}
