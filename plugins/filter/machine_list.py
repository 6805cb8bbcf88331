# Copyright: cicd.sandbox contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Filter: hosts as the machines that they are to be."""

from __future__ import annotations

DOCUMENTATION = r"""
name: machine_list
short_description: Describe hosts as M(cicd.sandbox.nspawn_machines) takes its machines
version_added: 0.1.0
author:
  - cicd.sandbox contributors
description:
  - A host is reached at its C(ansible_host). What else there is to say of it are variables C(machines_<option>) of the
    host, and defaults for those that have none.
positional: hostvars, defaults
options:
  _input:
    description: Names of hosts.
    type: list
    elements: str
    required: true
  hostvars:
    description: Variables of all hosts.
    type: dict
    required: true
  defaults:
    description: Option of a machine → its value for hosts that don't set C(machines_<option>).
    type: dict
    required: true
"""

EXAMPLES = r"""
- name: Boot the machines
  cicd.sandbox.nspawn_machines:
    sandbox: dev
    machines: "{{ groups['machines'] | cicd.sandbox.machine_list(hostvars, {'memory_mb': 4096}) }}"
"""

RETURN = r"""
_value:
  description: C(name), C(address) and each option of O(defaults), for each host.
  type: list
  elements: dict
  sample: [{name: cp-1, address: 198.18.0.21, memory_mb: 4096}]
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Any


def machine_list(
    names: Iterable[str], hostvars: Mapping[str, Mapping[str, Any]], defaults: Mapping[str, Any]
) -> list[dict[str, Any]]:
    """Return the hosts' names, addresses and options, in their order."""
    return [
        {
            "name": name,
            "address": hostvars[name]["ansible_host"],
            **{option: hostvars[name].get(f"machines_{option}", value) for option, value in defaults.items()},
        }
        for name in names
    ]


class FilterModule:
    """The filter of this file."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Give the filter by its name."""
        return {"machine_list": machine_list}
