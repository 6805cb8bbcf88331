# Copyright: cicd.sandbox contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Filter: the components that roles await."""

from __future__ import annotations

DOCUMENTATION = r"""
name: components_of_roles
short_description: Name the components that roles await
version_added: 0.1.0
author: cicd.sandbox contributors
description:
  - Names the components whose C(roles) have one of the given roles, and those that name no role at all, in the order of
    the catalogue.
positional: roles
options:
  _input:
    description: Component → what it is made of, as in C(sandbox_components).
    type: dict
    required: true
  roles:
    description: Names of roles.
    type: list
    elements: str
    required: true
"""

EXAMPLES = r"""
- name: Tell what a cluster without applications is made of
  ansible.builtin.debug:
    msg: "{{ sandbox_components | cicd.sandbox.components_of_roles(['etcd', 'cluster']) }}"
"""

RETURN = r"""
_value:
  description: Names of components.
  type: list
  elements: str
"""

from collections.abc import Callable, Collection, Mapping
from typing import Any


def components_of_roles(components: Mapping[str, Mapping[str, Any]], roles: Collection[str]) -> list[str]:
    """Return the names of the components that some of the roles await."""
    return [name for name, item in components.items() if "roles" not in item or set(item["roles"]) & set(roles)]


class FilterModule:
    """The filter of this file."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Return filter name → function."""
        return {"components_of_roles": components_of_roles}
