# Copyright: cicd.sandbox contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Filter: what is wrong with waivers, before a scanner has looked."""

from __future__ import annotations

DOCUMENTATION = r"""
name: waiver_findings
short_description: Say what is wrong with waivers
version_added: 0.1.0
author:
  - cicd.sandbox contributors
description:
  - Waivers are those of the modules that judge scanners' reports, such as M(cicd.sandbox.trivy_report).
positional: variable
options:
  _input:
    description: The waivers.
    type: list
    elements: dict
    required: true
  variable:
    description: The variable that they are set by.
    type: str
    required: true
"""

EXAMPLES = r"""
- name: Refuse waivers that can't be meant
  ansible.builtin.assert:
    that: scan_waivers | cicd.sandbox.waiver_findings('scan_waivers') | length == 0
"""

RETURN = r"""
_value:
  description: What is wrong, each with the number of the waiver.
  type: list
  elements: str
  sample: ["scan_waivers: waiver 2: reason is missing: say why it is accepted"]
"""

from collections.abc import Callable
from typing import Any

from ansible_collections.cicd.sandbox.plugins.module_utils.reports.model import ReportError
from ansible_collections.cicd.sandbox.plugins.module_utils.reports.waivers import read_waivers


def waiver_findings(waivers: object, variable: str) -> list[str]:
    """Return what is wrong with waivers."""
    try:
        read_waivers(waivers, variable)
    except ReportError as exc:
        return str(exc).split("; ")
    return []


class FilterModule:
    """The filter, as Ansible asks for it."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Name → function."""
        return {"waiver_findings": waiver_findings}
