# Copyright: cicd.sandbox contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Filter: values that a key of a Secret had before."""

from __future__ import annotations

DOCUMENTATION = r"""
name: earlier_values
short_description: Tell the values that a key of a Secret had before
version_added: 0.1.0
author:
  - cicd.sandbox contributors
description:
  - What the key of earlier values has to hold when the other key gets a value. Who reads both can work with what still
    knows an earlier value only, such as a database whose password is about to be changed.
positional: key, earlier, value
options:
  _input:
    description: The Secret's data, encoded in base64, as Kubernetes has it; empty where there is none yet.
    type: dict
    required: true
  key:
    description: The key that gets a value.
    type: str
    required: true
  earlier:
    description: The key that holds its earlier values.
    type: str
    required: true
  value:
    description: The value that it gets.
    type: str
    required: true
"""

EXAMPLES = r"""
- name: Keep the earlier passwords
  ansible.builtin.set_fact:
    earlier: "{{ found.data | cicd.sandbox.earlier_values('password', 'password-earlier', password) }}"
"""

RETURN = r"""
_value:
  description: The earlier values, the newest first, one a line; five at most.
  type: str
"""

from collections.abc import Callable, Mapping

from ansible_collections.cicd.sandbox.plugins.module_utils.helm.prerequisites import earlier_values


class FilterModule:
    """The filter of this file."""

    def filters(self) -> dict[str, Callable[[Mapping[str, str], str, str, str], str]]:
        """Return filter name → function."""
        return {"earlier_values": earlier_values}
