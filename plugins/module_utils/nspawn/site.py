# Copyright: cicd.sandbox contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What an inventory describes: the machines of a sandbox, and what all of them share."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ansible_collections.cicd.sandbox.plugins.module_utils.nspawn.network import Network, address_from, network_from
from ansible_collections.cicd.sandbox.plugins.module_utils.nspawn.system import NspawnError

MACHINE_NAME = re.compile(r"[a-z]([a-z0-9-]{0,61}[a-z0-9])?\Z")


@dataclass(frozen=True)
class Machine:
    """One machine: its name, address on the bridge, and limits (0 memory: the host's)."""

    name: str
    address: ipaddress.IPv4Address
    data_directories: tuple[str, ...] = ()
    memory_mb: int = 0


@dataclass(frozen=True)
class Site:
    """What all machines of a sandbox share."""

    network: Network
    library: Path
    root: Path
    authorized_key: str
    machines: tuple[Machine, ...]
    hosts: Mapping[str, str] = field(default_factory=dict)


def site_from(params: Mapping[str, Any]) -> Site:
    """Check the arguments of the nspawn_machines module (its suboptions are filled in) and return the site.

    Raises:
        NspawnError: an argument is wrong; the message names it.
    """
    network = network_from(params["sandbox"], params["network"])
    machines = []
    taken: dict[ipaddress.IPv4Address, str] = {network.gateway: "this host's end of the bridge"}
    for index, item in enumerate(params["machines"]):
        where = f"machines[{index}]"
        if not MACHINE_NAME.match(item["name"]):
            raise NspawnError(f"{where}.name: {item['name']!r} is no host name (a-z, 0-9 and -)")
        address = address_from(f"{where}.address ({item['name']})", item["address"])
        if address not in network.cidr:
            raise NspawnError(f"{where}.address: {address} of {item['name']} is outside {network.cidr}")
        if address in taken:
            raise NspawnError(f"{where}.address: {address} of {item['name']} belongs to {taken[address]} already")
        taken[address] = item["name"]
        if item["memory_mb"] < 0:
            raise NspawnError(f"{where}.memory_mb: {item['memory_mb']} of {item['name']} is below 0")
        relative = [directory for directory in item["data_directories"] if not directory.startswith("/")]
        if relative:
            raise NspawnError(f"{where}.data_directories: {relative[0]!r} of {item['name']} is not absolute")
        machines.append(Machine(item["name"], address, tuple(item["data_directories"]), item["memory_mb"]))
    return Site(
        network=network,
        library=Path(params["library"]),
        root=Path(params["root"] or "/nonexistent"),
        authorized_key=params["authorized_key"] or "",
        machines=tuple(machines),
        hosts=params["hosts"],
    )
