# Copyright: cicd.sandbox contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Filter: what is wrong with a catalogue of components."""

from __future__ import annotations

DOCUMENTATION = r"""
name: catalogue_findings
short_description: Say what is wrong with a catalogue of components
version_added: 0.1.0
author: cicd.sandbox contributors
description:
  - Names versions that an inventory has chosen and that no recipe is known to be good for, with those that there are.
  - Names components that can't be meant, such as one whose containerfile is missing.
options:
  _input:
    description: The catalogue, as the option O(cicd.sandbox.artifacts_queue#module:catalogue) has it.
    type: dict
    required: true
"""

EXAMPLES = r"""
- name: Refuse a catalogue that can't be made
  ansible.builtin.assert:
    that: __artifacts_catalogue | cicd.sandbox.catalogue_findings | length == 0
"""

RETURN = r"""
_value:
  description: The findings, each with C(text), a sentence, and C(warning), whether the run can go on.
  type: list
  elements: dict
"""

from collections.abc import Callable, Mapping
from typing import Any

from ansible_collections.cicd.sandbox.plugins.module_utils.artifacts.catalogue import check_catalogue


def catalogue_findings(catalogue: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the findings, all of them of what can't go on."""
    return [{"text": text, "warning": False} for text in check_catalogue(catalogue)]


class FilterModule:
    """The filter of this file."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Return filter name → function."""
        return {"catalogue_findings": catalogue_findings}
