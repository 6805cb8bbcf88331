# Copyright: cicd.sandbox contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Filter: the certificates of all hosts as lines to read."""

from __future__ import annotations

DOCUMENTATION = r"""
name: certificate_table
short_description: Write which certificates of all hosts end first
version_added: 0.1.0
author: cicd.sandbox contributors (@cicd-sandbox)
description:
  - Lists those that end first and all that are due, then every CA once, then warnings.
positional: authority_days
options:
  _input:
    description: Host → what M(cicd.sandbox.host_certificates_info) returned there, or how it failed.
    type: dict
    required: true
  authority_days:
    description: A CA that ends within so many days is warned of.
    type: int
    required: true
"""

EXAMPLES = r"""
- name: Say which certificates end first
  ansible.builtin.debug:
    msg: "{{ {'cp-1': found} | cicd.sandbox.certificate_table(365) }}"
"""

RETURN = r"""
_value:
  description: Lines of text.
  type: list
  elements: str
"""

from collections.abc import Callable
from typing import Any

from ansible_collections.cicd.sandbox.plugins.module_utils.host.certificate_expiry import table


class FilterModule:
    """The filter of this file."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Give the filter by its name."""
        return {"certificate_table": table}
