# Copyright: cicd.sandbox contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Filter: claims that are bound to a directory of a node."""

from __future__ import annotations

DOCUMENTATION = r"""
name: local_volumes
short_description: Tell which claims are bound to directories of a node
version_added: 0.1.0
author:
  - cicd.sandbox contributors
description:
  - Of volumes that local-path made, those of a node. Volumes of other kinds are left out, and those that people made.
positional: node
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
"""

EXAMPLES = r"""
- name: Say which volumes go with the node
  ansible.builtin.debug:
    msg: "{{ volumes.resources | cicd.sandbox.local_volumes('worker-2') }}"
"""

RETURN = r"""
_value:
  description: C(node), C(path), and C(namespace) and name (C(claim)) of each claim.
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
