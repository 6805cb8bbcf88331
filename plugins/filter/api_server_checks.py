# Copyright: cicd.sandbox contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Filter: smoke checks of API servers."""

from __future__ import annotations

DOCUMENTATION = r"""
name: api_server_checks
short_description: Make a smoke check of each API server
version_added: 0.1.0
author:
  - cicd.sandbox contributors
description:
  - Checks that the API server of each control plane is ready. Without the right to read C(/readyz) an answer still
    shows that it is there.
positional: hosts, ca_path
options:
  _input:
    description: Host → address.
    type: dict
    required: true
  hosts:
    description: The control planes.
    type: list
    elements: str
    required: true
  ca_path:
    description: File with the certificate of the cluster's CA.
    type: path
    required: true
"""

EXAMPLES = r"""
- name: Tell how API servers are checked
  ansible.builtin.debug:
    msg: "{{ sandbox_addresses | cicd.sandbox.api_server_checks(['cp-1'], '/etc/kubernetes/pki/ca.crt') }}"
"""

RETURN = r"""
_value:
  description: Checks, as of M(cicd.sandbox.health_check).
  type: list
  elements: dict
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

PORT = 6443


def api_server_checks(addresses: Mapping[str, str], hosts: Sequence[str], ca_path: str) -> list[dict[str, Any]]:
    """Return a check of each API server."""
    return [
        {
            "name": f"API server on {host}",
            "url": f"https://{f'[{addresses[host]}]' if ':' in addresses[host] else addresses[host]}:{PORT}/readyz",
            "ca_path": ca_path,
            "status": [200, 401, 403],
        }
        for host in hosts
    ]


class FilterModule:
    """The filter of this file."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Return filter name → function."""
        return {"api_server_checks": api_server_checks}
