# Copyright: cicd.sandbox contributors
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: preflight_findings
short_description: Put the findings of all hosts together
version_added: 0.1.0
author:
  - cicd.sandbox contributors
description:
  - Adds to what M(cicd.sandbox.host_check) found which hosts could not be looked at, and whose clock is off.
positional: before, after, tolerance
options:
  _input:
    description: Host → what M(cicd.sandbox.host_check) returned.
    type: dict
    required: true
  before:
    description: The controller's clock before the hosts were looked at, in seconds since 1970.
    type: float
    required: true
  after:
    description: The controller's clock afterwards.
    type: float
    required: true
  tolerance:
    description: How many seconds a clock may be off.
    type: float
    required: true
"""

EXAMPLES = r"""
- name: Tell what was found
  ansible.builtin.debug:
    msg: "{{ {'cp-1': result} | cicd.sandbox.preflight_findings(started, now().timestamp(), 5) }}"
"""

RETURN = r"""
_value:
  description: All findings, as M(cicd.sandbox.host_check) returns them.
  type: list
  elements: dict
"""

from collections.abc import Callable, Mapping
from typing import Any

from ansible_collections.cicd.sandbox.plugins.module_utils.preflight.findings import gather


def preflight_findings(
    results: Mapping[str, Mapping[str, Any]], before: float, after: float, tolerance: float
) -> list[dict[str, Any]]:
    """Return all hosts' findings."""
    return gather(results, float(before), float(after), float(tolerance))


class FilterModule:
    """The filters of this file."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Return filter name → function."""
        return {"preflight_findings": preflight_findings}
