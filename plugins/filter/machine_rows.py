# Copyright: cicd.sandbox contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Filter: what there is to say of machines."""

from __future__ import annotations

DOCUMENTATION = r"""
name: machine_rows
short_description: Say of each machine where it is, what it is for and how its node is
version_added: 0.1.0
author:
  - cicd.sandbox contributors
description:
  - Makes the rows of the table of machines that the summary shows.
positional: groups, addresses, nodes
options:
  _input:
    description: Names of machines.
    type: list
    elements: str
    required: true
  groups:
    description: The inventory's groups and their hosts.
    type: dict
    required: true
  addresses:
    description: Machine → address.
    type: dict
    required: true
  nodes:
    description: The cluster's nodes by name, as M(cicd.sandbox.cluster_info) returns them.
    type: dict
    required: true
"""

EXAMPLES = r"""
- name: Show the machines
  ansible.builtin.debug:
    msg: "{{ groups['machines'] | cicd.sandbox.machine_rows(groups, sandbox_addresses, cluster.nodes) }}"
"""

RETURN = r"""
_value:
  description: C(name), C(address), C(roles) and C(kubernetes) of each machine; the last is empty for what is no node.
  type: list
  elements: dict
  sample: [{name: cp-1, address: 198.18.0.21, roles: control plane, kubernetes: "v1.37.2, Ready"}]
"""

from collections.abc import Callable
from typing import Any

from ansible_collections.cicd.sandbox.plugins.module_utils.summary.machines import machine_rows


class FilterModule:
    """The filter of this file."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Give the filter by its name."""
        return {"machine_rows": machine_rows}
