# Copyright: cicd.sandbox contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Filter: addresses of hosts that an inventory has by name."""

from __future__ import annotations

DOCUMENTATION = r"""
name: resolved_addresses
short_description: Look up the IPv4 addresses of hosts on the controller
version_added: 0.1.0
author: cicd.sandbox contributors (@cicd-sandbox)
description:
  - Addresses stay as they are. A name gives its first IPv4 address.
  - Fails with all names that have none, or that lead to the loopback.
options:
  _input:
    description: Host → name or address.
    type: dict
    required: true
"""

EXAMPLES = r"""
- name: Show where a host is
  ansible.builtin.debug:
    msg: "{{ {'cp-1': 'cp-1.lan', 'cp-2': '198.18.0.22'} | cicd.sandbox.resolved_addresses }}"
"""

RETURN = r"""
_value:
  description: Host → address.
  type: dict
  sample: {cp-1: 198.18.0.21, cp-2: 198.18.0.22}
"""

from collections.abc import Callable, Mapping
from typing import Any

from ansible.errors import AnsibleFilterError
from ansible_collections.cicd.sandbox.plugins.module_utils.host.names import NameNotFoundError, resolve_all


def resolved_addresses(names: Mapping[str, str]) -> dict[str, str]:
    """Return host → address."""
    try:
        return resolve_all(names)
    except NameNotFoundError as error:
        raise AnsibleFilterError(str(error)) from error


class FilterModule:
    """The filter of this file."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Give the filter by its name."""
        return {"resolved_addresses": resolved_addresses}
