# Copyright: cicd.sandbox contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Filter: what is to be done with an etcd cluster."""

from __future__ import annotations

DOCUMENTATION = r"""
name: etcd_plan
short_description: Plan what is to be done with an etcd cluster
version_added: 0.1.0
author: cicd.sandbox contributors (@cicd-sandbox)
description:
  - From the members that were declared, what was found on their hosts and what is remembered of the cluster.
  - Never plans a new cluster where one was.
options:
  _input:
    description: What M(cicd.sandbox.etcd_member_info) returned, by the name of the member.
    type: dict
    required: true
  declared:
    description: Peer URLs by the name of the member.
    type: dict
    required: true
  marker:
    description: What is remembered of the cluster; empty when there never was one.
    type: dict
    default: {}
"""

EXAMPLES = r"""
- name: Plan
  ansible.builtin.set_fact:
    plan: "{{ found | cicd.sandbox.etcd_plan(declared={'etcd-1': 'https://198.18.0.11:2380'}, marker={}) }}"
"""

RETURN = r"""
_value:
  description:
    - C(action) is one of C(bootstrap), C(start), C(keep), C(alarm), C(change) and C(refuse), C(reason) why.
    - For C(start), C(start) names the members. For C(change), C(remove), C(join), C(promote) and C(retire) say what to
      do through the member C(through).
    - C(alarm) says which alarms stand, and the way out; with one, C(keep) is C(alarm).
    - C(remember) says whether the marker does not tell what is true afterwards.
  type: dict
"""

from collections.abc import Callable, Mapping
from dataclasses import asdict
from typing import Any

from ansible.errors import AnsibleFilterError
from ansible_collections.cicd.sandbox.plugins.module_utils.etcd.plan import Found, make_plan


def etcd_plan(
    found: Mapping[str, Mapping[str, Any]], declared: Mapping[str, str], marker: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """Give the plan as a dictionary."""
    try:
        members = [Found.read(name, result) for name, result in found.items()]
    except (KeyError, TypeError) as error:
        raise AnsibleFilterError(f"etcd_plan: this is no result of etcd_member_info: {error}") from error
    return asdict(make_plan(declared, members, marker))


class FilterModule:
    """The filter of this file."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Give the filter by its name."""
        return {"etcd_plan": etcd_plan}
