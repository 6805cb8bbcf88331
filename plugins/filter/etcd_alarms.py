# Copyright: cicd.sandbox contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Filter: which alarms of etcd stand."""

from __future__ import annotations

DOCUMENTATION = r"""
name: etcd_alarms
short_description: Say which alarms of an etcd cluster stand, and the way out
version_added: 0.1.0
author: cicd.sandbox contributors (@cicd-sandbox)
description:
  - An alarm stands until it is disarmed. Every member knows those of all.
options:
  _input:
    description: What M(cicd.sandbox.etcd_member_info) returned, by the name of the member.
    type: dict
    required: true
"""

EXAMPLES = r"""
- name: Say which alarms stand
  ansible.builtin.debug:
    msg: "{{ found | cicd.sandbox.etcd_alarms }}"
"""

RETURN = r"""
_value:
  description: Sentences; empty where no alarm stands.
  type: str
"""

from collections.abc import Callable, Mapping
from typing import Any

from ansible_collections.cicd.sandbox.plugins.module_utils.etcd.plan import Found, alarm_words


def etcd_alarms(found: Mapping[str, Mapping[str, Any]]) -> str:
    """Say it of all members."""
    return alarm_words([Found.read(name, result) for name, result in found.items()])


class FilterModule:
    """The filter of this file."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Give the filter by its name."""
        return {"etcd_alarms": etcd_alarms}
