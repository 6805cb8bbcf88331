# Copyright: cicd.sandbox contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Filter: the variables by which programs that download go by proxies."""

from __future__ import annotations

DOCUMENTATION = r"""
name: proxy_environment
short_description: Spell the variables of proxies as all programs that download read them
version_added: 0.1.0
author: cicd.sandbox contributors
description:
  - Gives the variables of proxies in capitals and in small letters, since some programs know only the one or the other.
  - C(ALL_PROXY), which most programs do not know, stands for those that are not given.
options:
  _input:
    description: Variable → value.
    type: dict
    required: true
"""

EXAMPLES = r"""
- name: Tell how downloads go
  ansible.builtin.debug:
    msg: "{{ {'all_proxy': 'http://proxy.example:3128'} | cicd.sandbox.proxy_environment }}"
"""

RETURN = r"""
_value:
  description: Variable → value, without those that are empty.
  type: dict
"""

from collections.abc import Callable
from typing import Any

from ansible_collections.cicd.sandbox.plugins.module_utils.host.environment import for_downloads


class FilterModule:
    """The filter of this file."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Return filter name → function."""
        return {"proxy_environment": for_downloads}
