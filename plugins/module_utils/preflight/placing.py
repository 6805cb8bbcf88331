# Copyright: cicd.sandbox contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where things are put: ports of one host, paths, networks and their sizes."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

from ansible_collections.cicd.sandbox.plugins.module_utils.host.resolver import is_usable
from ansible_collections.cicd.sandbox.plugins.module_utils.preflight.findings import (
    Finding,
    Inventory,
    Role,
    parse_network,
)
from ansible_collections.cicd.sandbox.plugins.module_utils.preflight.needs import GROUPS

# As kubeadm checks them: a network of pods is cut into /24, 16 bits at most, and so are services' addresses.
POD_LENGTHS = range(8, 25)
SERVICE_LENGTHS = range(12, 29)
BRIDGE_LENGTHS = range(8, 30)
REQUIREMENTS = ("preflight_memory_mb", "preflight_disk_mb", "preflight_inodes")
# What ssh or Ansible's lookups take apart however it is quoted.
UNQUOTED = frozenset('"%=\\$')
# What mount takes apart, where directories are layers of an overlay.
IN_MOUNTS = frozenset(":,")
MOUNTED = frozenset({"sandbox_library_directory", "sandbox_cache_directory"})
# unix(7) has 107 bytes for a name: <HOME>/.ansible/cp/, ten letters, and seventeen while ssh makes it.
HOME_LENGTH = 107 - len("/.ansible/cp/") - 10 - 17


def check_placing(
    inventory: Inventory, roles: Mapping[str, Role], ports: Mapping[str, Sequence[Mapping[str, Any]]]
) -> list[Finding]:
    """Check ports, paths and networks. ports: group → number and what it is for."""
    return [
        *check_ports_of_hosts(inventory, ports),
        *check_port_numbers(inventory),
        *check_paths(inventory, roles),
        *check_kinds_of_networks(inventory),
        *check_name_servers(inventory),
        *check_node_addresses(inventory),
        *check_requirements(inventory),
    ]


def check_ports_of_hosts(inventory: Inventory, ports: Mapping[str, Sequence[Mapping[str, Any]]]) -> list[Finding]:
    """Find ports that two parts of the sandbox want on one host."""
    findings = []
    for host in inventory.addresses:
        groups = [group for group in ports if host in inventory.groups.get(group, ())]
        wanted: dict[int, list[str]] = {}
        for port in (port for group in groups for port in ports[group]):
            with suppress(ValueError):  # What is no number is a finding of its variable.
                wanted.setdefault(int(port["number"]), []).append(str(port["what"]))
        for number, parts in wanted.items():
            names = list(dict.fromkeys(parts))
            if len(names) > 1:
                found = f"port {number} is wanted by {' and by '.join(names)}"
                remedy = "Set the variable in brackets to another port"
                remedy += f", or take it out of one of the groups {', '.join(groups)}." if len(groups) > 1 else "."
                findings.append(Finding(f"host {host}", found, inventory.origin(host), remedy))
    return findings


def check_port_numbers(inventory: Inventory) -> list[Finding]:
    """Find ports that are none."""
    return [
        Finding(setting.name, f"{setting.value} is no port", inventory.origin(setting.name), "Take one of 1 to 65535.")
        for setting in inventory.settings
        if setting.name.endswith("_port") and str(setting.value).isdigit() and not 0 < int(setting.value) < 2**16
    ]


def check_paths(inventory: Inventory, roles: Mapping[str, Role]) -> list[Finding]:
    """Find paths that start nowhere: a role, a program and a later run would each look for them elsewhere."""
    specs = {name: spec for role in roles.values() for name, spec in role.specs.items()}
    findings = []
    for setting in inventory.settings:
        spec = specs.get(setting.name, {})
        if "path" not in {spec.get("type"), spec.get("elements")}:
            continue
        for path in setting.value if isinstance(setting.value, list) else [setting.value]:
            if isinstance(path, str) and path and not path.startswith(("/", "~/")):
                origin = inventory.origin(setting.name) or f"a variable of {setting.host}"
                remedy = "Write it from / or ~/ on; {{ inventory_dir }}/… is beside the inventory."
                findings.append(Finding(setting.name, f"{path!r} is no absolute path", origin, remedy))
    return findings


def check_directories(directories: Mapping[str, str], *, sockets_elsewhere: bool = False) -> list[Finding]:
    """Find directories of the controller that programs could not name.

    directories: variable → path; ``HOME`` is the environment's. sockets_elsewhere: connections have their sockets in
    another directory than below that.
    """
    findings = []
    for name, path in directories.items():
        letters = UNQUOTED | (IN_MOUNTS if name in MOUNTED else frozenset())
        odd = sorted({letter for letter in path if letter in letters or not letter.isprintable()})
        remedy = "Take a directory without these letters: SSH, Ansible or mount have a meaning of their own for them."
        if not path.startswith(("/", "~/")):
            found = f"{path!r} is no absolute path" if path else "is not set"
            findings.append(Finding(name, found, "", "Set it to an absolute path."))
        elif odd:
            findings.append(Finding(name, f"{path!r} has {' '.join(map(repr, odd))} in it", "", remedy))
    home = directories.get("HOME", "")
    if not sockets_elsewhere and len(home.encode()) > HOME_LENGTH:
        found = f"{home!r} is longer than {HOME_LENGTH} bytes, so that sockets below it can't be named"
        remedy = "Set ANSIBLE_SSH_CONTROL_PATH_DIR to a directory with a shorter name, which is yours alone."
        findings.append(Finding("HOME", found, "", remedy))
    return findings


def check_node_addresses(inventory: Inventory) -> list[Finding]:
    """Check addresses at which nodes reach each other: kubelets and certificates take no names there."""
    return [
        Finding(
            setting.name,
            f"{setting.value} of {setting.host} is no address of IPv4 at which others reach it",
            inventory.origin(setting.name),
            "Take the address of the interface that other nodes reach.",
        )
        for setting in inventory.settings
        if setting.name == "cluster_node_address" and not is_usable(str(setting.value))
    ]


def check_requirements(inventory: Inventory) -> list[Finding]:
    """Check what hosts of a group are said to need: numbers, by groups that there are."""
    findings = []
    for setting in inventory.settings:
        if setting.name not in REQUIREMENTS or not isinstance(setting.value, dict):
            continue
        wrong = [
            f"{group}: {need}"
            for group, need in setting.value.items()
            if group not in GROUPS or not str(need).isdigit()
        ]
        if wrong:
            origin = inventory.origin(setting.name) or f"a variable of {setting.host}"
            remedy = f"Take whole numbers, for groups of {', '.join(GROUPS)}."
            findings.append(Finding(setting.name, f"has {', '.join(wrong)}", origin, remedy))
    return findings


def check_name_servers(inventory: Inventory) -> list[Finding]:
    """Find name servers that no pod can ask."""
    return [
        Finding(
            setting.name,
            f"{server} can't be asked by pods",
            inventory.origin(setting.name) or f"a variable of {setting.host}",
            "Take addresses of IPv4 that are neither the loopback's nor link-local.",
        )
        for setting in inventory.settings
        if setting.name == "cluster_name_servers" and isinstance(setting.value, list)
        for server in setting.value
        if not is_usable(str(server))
    ]


def check_kinds_of_networks(inventory: Inventory) -> list[Finding]:
    """Check that networks are of IPv4, may be used, and are of a size that serves."""
    findings = []
    lengths = {
        "sandbox_pod_network": POD_LENGTHS,
        "sandbox_service_network": SERVICE_LENGTHS,
        "machines_network": BRIDGE_LENGTHS,
    }
    for name, text in inventory.networks.items():
        network, origin = parse_network(text), inventory.origin(name)
        if network is None:
            continue
        if network.version != 4:
            findings.append(Finding(name, f"{network} is of IPv6", origin, "Take one of IPv4."))
        elif _is_reserved(network):
            remedy = "Take a private one, such as 10.244.0.0/16."
            findings.append(Finding(name, f"{network} is reserved and leads to no host", origin, remedy))
        elif name in lengths and network.prefixlen not in lengths[name]:
            least, most = lengths[name][0], lengths[name][-1]
            found = f"{network} is too {'large' if network.prefixlen < least else 'small'}"
            findings.append(Finding(name, found, origin, f"Take one of /{least} to /{most}."))
    return findings


def _is_reserved(network: ipaddress.IPv4Network | ipaddress.IPv6Network) -> bool:
    nowhere = ("0.0.0.0/8", "127.0.0.0/8", "169.254.0.0/16", "224.0.0.0/4", "240.0.0.0/4")
    return any(network.overlaps(ipaddress.IPv4Network(cidr)) for cidr in nowhere)
