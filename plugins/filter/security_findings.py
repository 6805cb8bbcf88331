# Copyright: cicd.sandbox contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Filter: what is wrong with what an inventory says of tenants and users."""

from __future__ import annotations

DOCUMENTATION = r"""
name: security_findings
short_description: Say what is wrong with tenants and users
version_added: 0.1.0
author:
  - cicd.sandbox contributors
description:
  - Looks for what the cluster would refuse, and for what contradicts itself, in variables of role C(security).
  - A value of a wrong type is left to the role's argument specification.
positional: sources, admin
options:
  _input:
    description: Variables of role C(security) by name.
    type: dict
    required: true
  sources:
    description: Inventories, files or directories, for saying where a variable is set.
    type: list
    elements: path
    default: []
  admin:
    description: The user that may be the cluster's admin.
    type: str
    default: ""
"""

EXAMPLES = r"""
- name: Tell what is wrong
  ansible.builtin.debug:
    msg: "{{ {'security_tenants': security_tenants} | cicd.sandbox.security_findings(ansible_inventory_sources) }}"
"""

RETURN = r"""
_value:
  description: What is wrong, as M(cicd.sandbox.host_check) returns it.
  type: list
  elements: dict
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ansible_collections.cicd.sandbox.plugins.module_utils.preflight.findings import Inventory
from ansible_collections.cicd.sandbox.plugins.module_utils.preflight.inventory_files import inventory_texts
from ansible_collections.cicd.sandbox.plugins.module_utils.preflight.tenants import check_security


def security_findings(
    values: Mapping[str, Any], sources: Sequence[str] | None = None, admin: str = ""
) -> list[dict[str, Any]]:
    """Return what is wrong with the variables."""
    inventory = Inventory({}, {}, {}, {}, (), inventory_texts(sources or ()))
    return [finding.fields() for finding in check_security(values, inventory.origin, admin)]


class FilterModule:
    """The filter, as Ansible asks for it."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Name → function."""
        return {"security_findings": security_findings}
