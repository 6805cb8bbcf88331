# Copyright: cicd.sandbox contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a host has to have for the machines that it is, or that are made on it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

CONTROLLER = "localhost"
GROUPS = ("infra", "etcd", "control_plane", "workers")
NODES = ("control_plane", "workers")
# Hosts of the user's have it from the first change on that a run makes.
MARKER = "/etc/cicd-sandbox"


def carried(groups: Mapping[str, Sequence[str]], host: str, made: Sequence[str]) -> dict[str, int]:
    """Count the machines of each group that a host carries: the controller those made on it, any other host itself."""
    machines = set(made) if host == CONTROLLER else {host}
    return {group: len(machines.intersection(groups.get(group, ()))) for group in GROUPS}


def parts(groups: Mapping[str, Sequence[str]], host: str, made: Sequence[str], library: str) -> dict[str, str]:
    """Return what the machines are that a host carries, each with what is there once its memory is in use.

    Of a machine that is made here, it is what only its mounted root file system has.
    """
    if host != CONTROLLER:
        return {host: MARKER}
    known = {name for group in GROUPS for name in groups.get(group, ())}
    return {name: f"{library}/{name}/root/etc/machine-id" for name in made if name in known}


def needs(
    groups: Mapping[str, Sequence[str]], host: str, made: Sequence[str], requirements: Mapping[str, Any]
) -> dict[str, Any]:
    """Return what the module host_check asks of a host: memory, disks, ports, kernel_options, …; and runs_pods.

    groups: group → hosts. made: the machines that are made on the controller. requirements: memory_mb, disk_mb and
    inodes of one machine by group; ports by group; controller_ports, which only the controller needs; kernel_options of
    nodes and bridge_options of a host that makes machines, option → what for; node_disk_percent, the free share of a
    node's disk; library and cache, directories of the controller; cache_mb and cache_inodes, what the cache may still
    take; networks, variable → CIDR, and bridge, the interface that machines made here are on.
    """
    counts = carried(groups, host, made)
    runs_pods = any(counts[group] for group in NODES)
    controller = host == CONTROLLER
    library, cache = requirements["library"], requirements["cache"]

    def need(what: str, name: str) -> int:
        # A group that an inventory leaves out needs nothing; what is no number is a finding of its own.
        asked = (str(requirements[what].get(group, 0)) for group in GROUPS if name in groups.get(group, ()))
        return sum(int(number) for number in asked if number.isdigit())

    machines = parts(groups, host, made, library)
    memory = [{"mb": need("memory_mb", name), "used_when": running} for name, running in machines.items()]
    if controller:
        disks = [
            {
                "path": library,
                "free_mb": need("disk_mb", name),
                "free_inodes": need("inodes", name),
                "used_when": f"{library}/{name}/lower",
            }
            for name in machines
        ]
        cache_inodes = int(requirements["cache_inodes"])
        disks.append({"path": cache, "free_mb": int(requirements["cache_mb"]), "free_inodes": cache_inodes})
        # A machine is a layer over the root file system in the cache, and its containers are layers, too. Machines and
        # images are made in the cache.
        directories = [{"path": cache, "needs": ["devices", "layers", "owners", "programs"]}]
        if made:
            directories.append({"path": library, "needs": ["layers", "owners", "programs"], "lower": cache})
        ports = list(requirements["controller_ports"])
    else:
        percent = int(requirements["node_disk_percent"]) if runs_pods else 0
        disks = [
            {
                "path": "/var/lib",
                "free_mb": need("disk_mb", host),
                "free_inodes": need("inodes", host),
                "used_when": MARKER,
            },
            {"path": "/var/lib", "free_percent": percent},
        ]
        directories = [{"path": "/var/lib", "needs": ["owners"]}]
        if runs_pods:
            # It may be a file system of its own.
            directories.append({"path": "/var/lib/containerd", "needs": ["layers", "owners", "programs"]})
        ports = [port for group in GROUPS if counts[group] for port in requirements["ports"][group]]
    return {
        "memory": memory,
        "disks": disks,
        "directories": directories,
        "ports": ports,
        "kernel_options": {
            **(requirements["kernel_options"] if runs_pods else {}),
            **(requirements["bridge_options"] if controller and made else {}),
        },
        "networks": requirements["networks"] if made or not controller else {},
        "bridge": requirements["bridge"] if controller and made else "",
        # The controller's ports are known by what is in command lines alone.
        "ours": "" if controller else MARKER,
        "runs_pods": runs_pods,
    }
