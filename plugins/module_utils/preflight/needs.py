# Copyright: cicd.sandbox contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a host has to have for the machines that it is, or that are made on it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

CONTROLLER = "localhost"
GROUPS = ("infra", "etcd", "control_plane", "workers")
NODES = ("control_plane", "workers")


def carried(groups: Mapping[str, Sequence[str]], host: str, made: Sequence[str]) -> dict[str, int]:
    """Count the machines of each group that a host carries: the controller those made on it, any other host itself."""
    machines = set(made) if host == CONTROLLER else {host}
    return {group: len(machines.intersection(groups.get(group, ()))) for group in GROUPS}


def needs(
    groups: Mapping[str, Sequence[str]], host: str, made: Sequence[str], requirements: Mapping[str, Any]
) -> dict[str, Any]:
    """Return what the module host_check asks of a host: memory_mb, disks, ports, kernel_options; and runs_pods.

    groups: group → hosts. made: the machines that are made on the controller. requirements: memory_mb and disk_mb of
    one machine by group; ports by group; controller_ports, which only the controller needs; kernel_options of nodes and
    bridge_options of a host that makes machines, option → what for; node_disk_percent, the free share of a node's disk;
    library and cache, directories of the controller; cache_mb, what the cache may still take.
    """
    counts = carried(groups, host, made)
    runs_pods = any(counts[group] for group in NODES)
    controller = host == CONTROLLER
    disk_mb = sum(counts[group] * int(requirements["disk_mb"][group]) for group in GROUPS)
    if controller:
        library, cache = requirements["library"], requirements["cache"]
        disks = [
            {"path": library, "free_mb": disk_mb, "used_when": library},
            {"path": cache, "free_mb": int(requirements["cache_mb"])},
        ]
        ports = list(requirements["controller_ports"])
    else:
        percent = int(requirements["node_disk_percent"]) if runs_pods else 0
        disks = [
            {"path": "/var/lib", "free_mb": disk_mb, "used_when": "/etc/cicd-sandbox"},
            {"path": "/var/lib", "free_percent": percent},
        ]
        ports = [port for group in GROUPS if counts[group] for port in requirements["ports"][group]]
    return {
        "memory_mb": sum(counts[group] * int(requirements["memory_mb"][group]) for group in GROUPS),
        "disks": disks,
        "ports": ports,
        "kernel_options": {
            **(requirements["kernel_options"] if runs_pods else {}),
            **(requirements["bridge_options"] if controller and made else {}),
        },
        "runs_pods": runs_pods,
    }
