# Copyright: cicd.sandbox contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Filter: what a number of etcd members means."""

from __future__ import annotations

DOCUMENTATION = r"""
name: etcd_arithmetic
short_description: Say what an even number of etcd members gains and costs
version_added: 0.1.0
author: cicd.sandbox contributors (@cicd-sandbox)
description:
  - An even number of members needs a larger quorum and survives no more losses than one member less.
options:
  _input:
    description: How many members.
    type: int
    required: true
"""

EXAMPLES = r"""
- name: Warn
  ansible.builtin.debug:
    msg: "{{ 4 | cicd.sandbox.etcd_arithmetic }}"
"""

RETURN = r"""
_value:
  description: A sentence; empty for an odd number.
  type: str
"""

from collections.abc import Callable

from ansible_collections.cicd.sandbox.plugins.module_utils.etcd.plan import arithmetic


class FilterModule:
    """The filter of this file."""

    def filters(self) -> dict[str, Callable[[int], str]]:
        """Give the filter by its name."""
        return {"etcd_arithmetic": arithmetic}
