# Copyright: cicd.sandbox contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Filter: hosts that take no connection."""

from __future__ import annotations

DOCUMENTATION = r"""
name: silent_hosts
short_description: Tell which hosts take no connection
version_added: 0.1.0
author:
  - cicd.sandbox contributors
description:
  - Connects to all of them at once, and closes the connections. A host that is off is known after so many seconds,
    whatever connections to it Ansible still holds from when it was there.
positional: seconds
options:
  _input:
    description: Host → address and port of TCP, in a list.
    type: dict
    required: true
  seconds:
    description: Seconds that a connection may take.
    type: float
    default: 2
"""

EXAMPLES = r"""
- name: Say which machines are off
  ansible.builtin.debug:
    msg: "{{ {'cp-1': ['198.18.0.21', 22]} | cicd.sandbox.silent_hosts(1) }}"
"""

RETURN = r"""
_value:
  description: Host → reason, of those that take none.
  type: dict
  sample: {cp-1: nothing answers at 198.18.0.21 port 22}
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ansible_collections.cicd.sandbox.plugins.module_utils.host.reachable import silent


def silent_hosts(places: Mapping[str, Sequence[Any]], seconds: float = 2) -> dict[str, str]:
    """Return why hosts take no connection."""
    return silent({host: (str(address), int(port)) for host, (address, port) in places.items()}, seconds)


class FilterModule:
    """The filter of this file."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Give the filter by its name."""
        return {"silent_hosts": silent_hosts}
