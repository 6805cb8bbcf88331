# Copyright: cicd.sandbox contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Two machines as an inventory describes them."""

from __future__ import annotations

from typing import Any


def params(**changes: Any) -> dict[str, Any]:
    """The module's arguments for two machines."""
    machines = [
        {"name": "cp-1", "address": "198.18.0.21", "data_directories": ["/var/lib/etcd"], "memory_mb": 0},
        {"name": "worker-1", "address": "198.18.0.31", "data_directories": [], "memory_mb": 0},
    ]
    values = {
        "sandbox": "dev",
        "network": "198.18.0.0/24",
        "library": "/nowhere",
        "root": "/root-fs",
        "authorized_key": "ssh-ed25519 AAAA",
        "hosts": {"cp-1": "198.18.0.21"},
        "machines": machines,
    }
    return values | changes
