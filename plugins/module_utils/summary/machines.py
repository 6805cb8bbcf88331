# Copyright: cicd.sandbox contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the summary says of each machine."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

GROUPS = ("infra", "etcd", "control_plane", "workers")


def node_text(node: Mapping[str, Any] | None) -> str:
    """Say which Kubernetes a node runs and whether it is ready: ``v1.37.2, Ready``; nothing of what is no node."""
    return "" if node is None else f"{node['version']}, {'Ready' if node['ready'] else 'not Ready'}"


def machine_rows(
    machines: Iterable[str],
    groups: Mapping[str, Sequence[str]],
    addresses: Mapping[str, str],
    nodes: Mapping[str, Mapping[str, Any]],
) -> list[dict[str, str]]:
    """Return name, address, roles (group names, in words) and Kubernetes version of each machine, in the order given.

    groups: group → hosts. addresses: host → address. nodes: node → {version, ready}.
    """
    return [
        {
            "name": name,
            "address": addresses[name],
            "roles": ", ".join(group.replace("_", " ") for group in GROUPS if name in groups.get(group, ())),
            "kubernetes": node_text(nodes.get(name)),
        }
        for name in machines
    ]
