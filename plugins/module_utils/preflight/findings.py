# Copyright: cicd.sandbox contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Find what keeps a sandbox from being made, before anything changes: in the inventory and on hosts.

Every finding says what was found, where it comes from and what to do. Nothing here fails by itself: all findings are
gathered, and the role `preflight` fails once with the list.
"""

from __future__ import annotations

import difflib
import gzip
import ipaddress
import os
import re
import shutil
from collections.abc import Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from ansible.module_utils.common.arg_spec import ArgumentSpecValidator
from ansible_collections.cicd.sandbox.plugins.module_utils.etcd.plan import quorum
from ansible_collections.cicd.sandbox.plugins.module_utils.host.names import REMEDY, NameNotFoundError, look_up
from ansible_collections.cicd.sandbox.plugins.module_utils.nspawn.network import foreign_routes

Network = ipaddress.IPv4Network | ipaddress.IPv6Network
# RFC 5737 and RFC 2606: addresses and names that are reserved for documentation stand for yours.
DOCUMENTATION_NETWORKS = [ipaddress.IPv4Network(cidr) for cidr in ("192.0.2.0/24", "198.51.100.0/24", "203.0.113.0/24")]
DOCUMENTATION_NAMES = re.compile(r"(?:^|\.)example\.(?:org|com|net)$")
# Variables of an inventory that begin so are components of its own.
COMPONENT_PREFIX = "sandbox_component_"
LISTENING = "0A"
# A variable that is as much like one of a role's is taken for it: a letter in ten is another one.
MISTYPED = 0.9
# certificateValidityPeriod of kubeadm's configuration is not set: a year.
KUBEADM_DAYS = 365


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong; a warning does not keep the run from going on."""

    where: str
    found: str
    source: str
    remedy: str
    warning: bool = False

    def text(self) -> str:
        """Return the finding in a line, as a list shows it."""
        source = f" ({self.source})" if self.source else ""
        return f"{self.where}: {self.found}{source}. {self.remedy}"

    def fields(self) -> dict[str, Any]:
        """Return the finding as a module returns it."""
        return {**asdict(self), "text": self.text()}


# --- inventory -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Role:
    """The variables of a role: those one may set, those it has fixed, and what its argument_specs say of them."""

    settable: AbstractSet[str] = frozenset()
    fixed: AbstractSet[str] = frozenset()
    specs: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)


@dataclass(frozen=True)
class Setting:
    """A variable's value, and a host that has it."""

    name: str
    value: Any
    host: str


@dataclass(frozen=True)
class Inventory:
    """What is asked for.

    groups: group → hosts. addresses: host → address or name. networks: variable → CIDR. values: variable → value, of
    those whose text is looked at. names: all variables of all hosts. files: text files they are set in. settings:
    values of variables that have a role's prefix. etcd_members: how many hosts of the group etcd are members; None for
    all. sandbox: its name. made: hosts that are machines made here.
    """

    groups: Mapping[str, Sequence[str]]
    addresses: Mapping[str, str]
    networks: Mapping[str, str]
    values: Mapping[str, str]
    names: Iterable[str]
    files: Mapping[str, str]
    settings: Sequence[Setting] = ()
    etcd_members: int | None = None
    sandbox: str = ""
    made: Sequence[str] = ()

    def origin(self, name: str) -> str:
        """Return where a variable or a host is set, as ``file:line``; empty where no file has it."""
        pattern = re.compile(rf"(?<![\w.-])[\"']?{re.escape(name)}[\"']?\s*[:=]")
        for path, text in self.files.items():
            for number, line in enumerate(text.splitlines(), start=1):
                if pattern.search(line.partition("#")[0]):
                    return f"{path}:{number}"
        return ""


def check_inventory(inventory: Inventory, roles: Mapping[str, Role], machines_network: str) -> list[Finding]:
    """Check groups, addresses, networks, names and values.

    machines_network: the variable with the bridge's network, "" where there is none.
    """
    return [
        *check_groups(inventory),
        *check_networks(inventory),
        *check_addresses(inventory, machines_network),
        *check_placeholders(inventory),
        *check_names(inventory, roles),
        *check_values(inventory, roles),
        *check_renewal(inventory, roles),
    ]


def check_groups(inventory: Inventory) -> list[Finding]:
    """Check that every group has hosts, and that no host has two exclusive roles."""
    findings = []
    for group, what in (
        ("infra", "registry, artifact store and load balancer"),
        ("etcd", "the cluster's database"),
        ("control_plane", "the cluster's API"),
        ("workers", "workloads: control planes take none"),
    ):
        if not inventory.groups.get(group):
            found = "is empty" if group in inventory.groups else "is missing"
            findings.append(Finding(f"group {group}", found, inventory.origin(group), f"Give it a host, for {what}."))
    findings += check_etcd_members(inventory)
    planes, workers = inventory.groups.get("control_plane", ()), inventory.groups.get("workers", ())
    findings += [
        Finding(f"host {host}", "is in control_plane and in workers", inventory.origin(host), "Take it out of one.")
        for host in planes
        if host in workers
    ]
    return findings


def check_etcd_members(inventory: Inventory) -> list[Finding]:
    """Check that there are hosts for all members of etcd, and warn of an even number."""
    hosts = len(inventory.groups.get("etcd", ()))
    members = hosts if inventory.etcd_members is None else inventory.etcd_members
    origin = inventory.origin("etcd_members") or inventory.origin("etcd")
    if hosts and not 1 <= members <= hosts:
        remedy = f"Take a number from 1 to {hosts}, or give the group more hosts."
        return [Finding("etcd_members", f"is {members}, but the group etcd has {hosts}", origin, remedy)]
    if members % 2 or not hosts:
        return []
    found = (
        f"has {members} members, of which {quorum(members)} have to answer: it survives the loss of "
        f"{members - quorum(members)}, as {members - 1} would"
    )
    return [Finding("group etcd", found, origin, "Take an odd number.", warning=True)]


def parse_network(text: str) -> Network | None:
    """Return the network that a CIDR names, or None."""
    try:
        return ipaddress.ip_network(text)
    except ValueError:
        return None


def check_networks(inventory: Inventory) -> list[Finding]:
    """Check that networks are networks and do not overlap."""
    findings, parsed = [], {}
    for name, text in inventory.networks.items():
        network = parse_network(text)
        if network is None:
            remedy = "Write a network such as 10.244.0.0/16, with no bits set beyond its length."
            findings.append(Finding(name, f"{text!r} is no network", inventory.origin(name), remedy))
        else:
            parsed[name] = network
    names = list(parsed)
    for index, one in enumerate(names):
        for other in names[index + 1 :]:
            if parsed[one].version == parsed[other].version and parsed[one].overlaps(parsed[other]):
                sources = filter(None, (inventory.origin(one), inventory.origin(other)))
                findings.append(
                    Finding(
                        f"{one} and {other}",
                        f"{parsed[one]} and {parsed[other]} overlap",
                        ", ".join(sources) or "defaults of the role sandbox",
                        "Give machines, pods and services networks of their own.",
                    )
                )
    return findings


def check_addresses(inventory: Inventory, machines_network: str) -> list[Finding]:
    """Check that names lead to addresses, that no two hosts have the same, and that machines are on their bridge."""
    findings = []
    owners: dict[str, str] = {}
    networks = {name: parse_network(cidr) for name, cidr in inventory.networks.items()}
    bridge = networks.pop(machines_network, None)
    looked_up = look_up(
        name
        for host, name in inventory.addresses.items()
        if not is_placeholder(name) and (is_address(name) or host not in inventory.made)
    )
    for host, name in inventory.addresses.items():
        if is_placeholder(name):
            continue
        origin = inventory.origin(host)
        if wrong := check_ansible_host(host, name, origin):
            findings.append(wrong)
            continue
        if host in inventory.made and not is_address(name):
            found = "is to be made here, and has no address"
            remedy = f"Set ansible_host to an address of {bridge or machines_network}."
            findings.append(Finding(f"host {host}", found, origin, remedy))
            continue
        address = looked_up[name]
        if isinstance(address, NameNotFoundError):
            findings.append(Finding(f"host {host}", str(address), origin, REMEDY))
            continue
        if address in owners:
            found = f"has the address {address} of {owners[address]}"
            findings.append(Finding(f"host {host}", found, origin, "Give it one of its own."))
        owners.setdefault(address, host)
        # Hosts that the inventory has by name are not made here.
        on_bridge = address == name
        findings += check_network_of(host, address, bridge if on_bridge else None, machines_network, origin)
        for variable, network in networks.items():
            if network is not None and ipaddress.ip_address(address) in network:
                found = f"its address {address} is in {variable} {network}"
                remedy = "Give pods and services networks that no host is in."
                findings.append(Finding(f"host {host}", found, origin, remedy))
    return findings


def check_ansible_host(host: str, name: str, origin: str) -> Finding | None:
    """Check that what leads to a host is an address or a name, and nothing more."""
    bare = name.strip("[]").partition("%")[0]
    where = f"host {host}"
    if is_address(bare) and ipaddress.ip_address(bare).version == 6:
        return Finding(where, f"{name} is an address of IPv6", origin, "Give it one of IPv4: the sandbox has no other.")
    if is_address(name):
        address = ipaddress.ip_address(name)
        if address.is_loopback or address.is_unspecified or address.is_multicast:
            return Finding(where, f"other hosts can't reach it at {name}", origin, "Give it an address of its own.")
        return None
    for mark, what, variable in (("://", "a scheme", "ansible_connection"), ("@", "a user", "ansible_user")):
        if mark in name:
            return Finding(where, f"{name} is {what} and a host", origin, f"Set {variable}, and ansible_host alone.")
    if ":" in name:
        return Finding(where, f"{name} is a host and a port", origin, "Set ansible_port, and ansible_host alone.")
    return None


def is_address(text: str) -> bool:
    """Tell whether a text is an address."""
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


def check_network_of(
    host: str, address: str, bridge: Network | None, machines_network: str, origin: str
) -> list[Finding]:
    """Check that a machine's address is one of the bridge's network, and free there."""
    parsed = ipaddress.ip_address(address)
    if bridge is None or bridge.version != parsed.version:
        return []
    if parsed not in bridge:
        found = f"its address {address} is outside {machines_network} {bridge}"
        remedy = f"Choose an address of {bridge}, or make that network larger."
        return [Finding(f"host {host}", found, origin, remedy)]
    taken = {
        bridge.network_address: "names the whole network",
        bridge.network_address + 1: "is this host's end of the bridge",
        bridge.broadcast_address: "is for all hosts of the network",
    }
    if parsed in taken:
        remedy = f"Choose another address of {bridge}."
        return [Finding(f"host {host}", f"its address {address} {taken[parsed]}", origin, remedy)]
    return []


def is_placeholder(address: str) -> bool:
    """Tell whether an address or a name is reserved for documentation."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return bool(DOCUMENTATION_NAMES.search(address))
    return any(parsed in network for network in DOCUMENTATION_NETWORKS)


def check_placeholders(inventory: Inventory) -> list[Finding]:
    """Find addresses and names that are reserved for documentation: nobody put real ones in their place."""
    findings = []
    for host, address in inventory.addresses.items():
        if is_placeholder(address):
            found = f"{address} is a placeholder"
            findings.append(Finding(f"host {host}", found, inventory.origin(host), "Put the host's address there."))
    for name, value in inventory.values.items():
        if DOCUMENTATION_NAMES.search(value):
            findings.append(
                Finding(name, f"{value} is a placeholder", inventory.origin(name), "Put your own name there.")
            )
    return findings


def check_names(inventory: Inventory, roles: Mapping[str, Role]) -> list[Finding]:
    """Find variables with a role's prefix whose values would be ignored: no role has them, or a role has fixed them.

    One that no role has may be the user's own: it is refused only where it is all but spelled as one that there is.
    """
    variables = {name for role in roles.values() for name in role.settable}
    fixed = {name: role for role, known in roles.items() for name in known.fixed}
    findings = []
    for name in sorted(set(inventory.names) - variables):
        origin = inventory.origin(name)
        if name in fixed:
            # Extra variables win over a role's, and are in no file of the inventory.
            if origin:
                remedy = "Take it out; --extra-vars is stronger than a role."
                meant = difflib.get_close_matches(name, sorted(variables), n=1, cutoff=0.75)
                remedy += f" Did you mean {meant[0]}?" if meant else ""
                findings.append(Finding(name, f"is fixed in roles/{fixed[name]}/vars", origin, remedy))
            continue
        role = next((role for role in roles if name.startswith(f"{role}_")), None)
        if role is None or name.startswith(COMPONENT_PREFIX):
            continue
        likely = difflib.get_close_matches(name, sorted(variables), n=1, cutoff=0)
        mistyped = bool(likely) and difflib.SequenceMatcher(None, likely[0], name).ratio() >= MISTYPED
        remedy = f"Did you mean {likely[0]}?" if likely else f"roles/{role}/defaults names those that there are."
        if not mistyped:
            remedy += f" If it is yours, a name that does not begin with {role}_ is sure to stay so."
        findings.append(Finding(name, "is no variable of any role", origin, remedy, warning=not mistyped))
    return findings


def check_values(inventory: Inventory, roles: Mapping[str, Role]) -> list[Finding]:
    """Compare values with the argument specifications, of all roles at once and before the first of them runs."""
    specs = {name: spec for role in roles.values() for name, spec in role.specs.items()}
    findings = []
    for setting in inventory.settings:
        spec = specs.get(setting.name)
        if spec is None:
            continue
        checked = ArgumentSpecValidator({setting.name: dict(spec)}).validate({setting.name: setting.value})
        if checked.error_messages:
            found = "has a wrong value" if spec.get("no_log") else "; ".join(checked.error_messages)
            origin = inventory.origin(setting.name) or f"a variable of {setting.host}"
            findings.append(Finding(setting.name, found, origin, "docs/reference/variables.md describes it."))
    return findings


def check_renewal(inventory: Inventory, roles: Mapping[str, Role]) -> list[Finding]:
    """Find certificates that would be due as soon as they are issued, or outlive their CA.

    Role pki's are valid for pki_certificate_days, those of kubeadm and of kubelets for a year.
    """
    specs = {name: spec for role in roles.values() for name, spec in role.specs.items()}
    set_days = {setting.name: setting.value for setting in inventory.settings}

    def days(name: str) -> int | None:
        with suppress(ValueError):  # What is no number is a finding already.
            return int(str(set_days.get(name, specs.get(name, {}).get("default"))))
        return None

    renew, valid, authority = days("pki_renew_before_days"), days("pki_certificate_days"), days("pki_ca_days")
    findings = []
    shortest = min(valid, KUBEADM_DAYS) if valid is not None else KUBEADM_DAYS
    if renew is not None and not 0 <= renew < shortest:
        origin = inventory.origin("pki_renew_before_days") or inventory.origin("pki_certificate_days")
        found = f"is {renew}, and certificates are valid for {shortest} days"
        remedy = f"Take a number from 0 to {shortest - 1}: each run would issue all of them again."
        findings.append(Finding("pki_renew_before_days", found, origin, remedy))
    if valid is not None and authority is not None and valid > authority:
        found = f"is {valid}, and a CA is valid for {authority} (pki_ca_days)"
        origin = inventory.origin("pki_certificate_days") or inventory.origin("pki_ca_days")
        findings.append(Finding("pki_certificate_days", found, origin, "Have the CA outlive what it signs."))
    return findings


def check_version(version: str, supported: Sequence[str]) -> list[Finding]:
    """Check that a version, such as 1.37.2, is of a supported minor one."""
    if version.rpartition(".")[0] in supported:
        return []
    remedy = f"Take a version of {', '.join(supported)}."
    return [Finding("sandbox_component_versions.kubernetes", f"Kubernetes {version} is not supported", "", remedy)]


# --- hosts -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Port:
    """A TCP port that is wanted, and what of ours may have it already: parts of a command line."""

    number: int
    what: str
    by: tuple[str, ...] = ()


@dataclass(frozen=True)
class Listener:
    """A process that listens on a port."""

    port: int
    pid: int
    command: str


def swap_devices(text: str) -> list[str]:
    """Return the devices and files of /proc/swaps that are in use."""
    return [line.split()[0] for line in text.splitlines()[1:] if line.split()]


def listening_sockets(text: str) -> dict[str, int]:
    """Return inode → port of the sockets in /proc/net/tcp or tcp6 that listen."""
    sockets = {}
    for line in text.splitlines()[1:]:
        fields = line.split()
        if len(fields) > 9 and fields[3] == LISTENING:
            sockets[fields[9]] = int(fields[1].rsplit(":", 1)[1], 16)
    return sockets


def kernel_options(text: str) -> set[str]:
    """Return the names, without CONFIG_, that a kernel configuration has built in or as modules."""
    return set(re.findall(r"^CONFIG_(\w+)=[ym]$", text, re.MULTILINE))


def check_swap(host: str, devices: Sequence[str]) -> list[Finding]:
    """The kubelet does not start with swap in use."""
    if not devices:
        return []
    remedy = "Turn it off: swapoff --all, and take it out of /etc/fstab."
    return [Finding(host, f"swap is on: {', '.join(devices)}", "/proc/swaps", remedy)]


def check_memory(host: str, have_mb: int, need_mb: int) -> list[Finding]:
    """Compare a host's memory with what its groups need. A tenth is the kernel's own and not counted."""
    if have_mb * 1.1 >= need_mb:
        return []
    remedy = "Give it more memory, or take hosts out of the inventory."
    return [Finding(host, f"has {have_mb} MiB of memory, its groups need {need_mb}", "preflight_memory_mb", remedy)]


def check_free_memory(host: str, free_mb: int, need_mb: int) -> list[Finding]:
    """Compare what a host can give to new processes with what those need that do not run yet."""
    if free_mb >= need_mb:
        return []
    remedy = "End what else takes memory there, or take hosts out of the inventory."
    found = f"has {free_mb} MiB of memory free, {need_mb} are needed for what does not run yet"
    return [Finding(host, found, "preflight_memory_mb", remedy)]


def check_architecture(host: str, machine: str, bits: int, wanted: str) -> list[Finding]:
    """Check that a host runs the programs of the sandbox. machine: as of uname(2); bits: of the programs it has."""
    if wanted in {"", machine} and bits == 64:
        return []
    found = f"is of architecture {machine}" + ("" if bits == 64 else f" and runs programs of {bits} bits")
    return [Finding(host, found, "uname -m", f"Take a host of {wanted or machine}, with a system of 64 bits.")]


def check_inodes(host: str, needs: Iterable[tuple[str, int, int]], free: Mapping[int, int | None]) -> list[Finding]:
    """Compare the files that each file system can still take with the sum of those that will be made there.

    needs: (path, its file system, files that are made there). free: file system → inodes; None where they don't end.
    """
    findings = []
    for device, (paths, need) in _sums(needs).items():
        have = free[device]
        if have is not None and have < need:
            found = f"{paths} {'have' if ' and ' in paths else 'has'} {have} inodes free, {need} are needed"
            findings.append(Finding(host, found, "preflight_inodes", "Remove some files, or use another file system."))
    return findings


def _sums(needs: Iterable[tuple[str, int, int]]) -> dict[int, tuple[str, int]]:
    """Return file system → its paths, and the sum of what is needed there."""
    paths: dict[int, list[str]] = {}
    sums: dict[int, int] = {}
    for path, device, need in needs:
        paths.setdefault(device, []).append(path)
        sums[device] = sums.get(device, 0) + need
    return {device: (" and ".join(dict.fromkeys(paths[device])), need) for device, need in sums.items()}


def check_routes(
    host: str, networks: Mapping[str, str], routes: Iterable[Mapping[str, Any]], bridge: str
) -> list[Finding]:
    """Find routes of a host that overlap networks of the sandbox. bridge: of machines that are made there, else empty.

    Where a host of the user's has only a wider route, that of a whole company, say, pods are nearer than what is there.
    """
    named = {parsed: name for name, text in networks.items() if (parsed := parse_network(text)) and parsed.version == 4}
    others = [route for route in routes if route.get("dev") != bridge]
    found: dict[tuple[Any, str], list[Any]] = {}
    for network, name in named.items():
        # Calico's own; and another sandbox may have the same pods and services.
        own = ["cali", "vxlan.calico", *([] if name == "machines_network" else ["sb-"])]
        for _, other, device in foreign_routes([network], others, own):
            # What the pod network has written itself: a node's pods that are nowhere.
            if not (device == "blackhole" and other.subnet_of(network)):
                found.setdefault((network, device), []).append(other)
    findings = []
    for (network, device), overlapping in found.items():
        wider = not bridge and all(network.subnet_of(other) and other != network for other in overlapping)
        text = ", ".join(str(other) for other in ipaddress.collapse_addresses(overlapping))
        findings.append(
            Finding(
                host,
                f"{network} ({named[network]}) overlaps its route to {text} on {device}",
                "ip route show table all",
                f"Set {named[network]} to a network that leads nowhere there, or take the route away.",
                warning=wider,
            )
        )
    return findings


def check_disk(host: str, path: str, free_mb: int, need_mb: int) -> list[Finding]:
    """Compare the free space below a path, or below several on one file system, with what is needed."""
    if free_mb >= need_mb:
        return []
    remedy = "Free some space, or use another file system."
    found = f"{path} {'have' if ' and ' in path else 'has'} {free_mb} MiB free, {need_mb} are needed"
    return [Finding(host, found, "preflight_disk_mb, sandbox_cache_free_gib", remedy)]


def check_disks(host: str, needs: Iterable[tuple[str, int, int]], free: Mapping[int, int]) -> list[Finding]:
    """Compare the free space of each file system with the sum of what is needed there.

    needs: (path, its file system, MiB that are needed there). free: file system → MiB free.
    """
    return [
        finding
        for device, (paths, need_mb) in _sums(needs).items()
        for finding in check_disk(host, paths, free[device], need_mb)
    ]


def check_disk_share(host: str, path: str, free_percent: int, need_percent: int) -> list[Finding]:
    """Compare the free share of a file system with what the kubelet asks for: below, it takes no pods."""
    if free_percent >= need_percent:
        return []
    remedy = "Free some space, or set evictionHard in cluster_kubelet_configuration and preflight_node_disk_percent."
    found = f"{path} has {free_percent} % free, a kubelet takes no pods below {need_percent} %"
    return [Finding(host, found, "preflight_node_disk_percent", remedy)]


def check_ports(host: str, ports: Iterable[Port], listeners: Iterable[Listener]) -> list[Finding]:
    """Find wanted ports that somebody else has."""
    wanted = {port.number: port for port in ports}
    findings = {}
    for listener in listeners:
        port = wanted.get(listener.port)
        if port is None or any(part in listener.command for part in port.by):
            continue
        found = f"port {port.number}, for {port.what}, is in use by process {listener.pid}: {listener.command[:80]}"
        findings[port.number] = Finding(host, found, "/proc/net/tcp", "Stop it, or choose another port.")
    return list(findings.values())


def check_resolver(host: str, servers: Sequence[str], usable: Sequence[str]) -> list[Finding]:
    """Warn where pods can ask none of a host's name servers: no name outside of the cluster will be found."""
    if usable:
        return []
    found = f"names {', '.join(servers)}, which pods can't ask" if servers else "names no name server"
    remedy = "Set cluster_name_servers, or names outside of the cluster are not found by pods."
    return [Finding(host, f"/etc/resolv.conf {found}", "", remedy, warning=True)]


def check_clock(host: str, time: float, before: float, after: float, tolerance: float) -> list[Finding]:
    """Compare a host's clock with the controller's, read before and after it."""
    skew = time - after if time > after else min(time - before, 0.0)
    if abs(skew) <= tolerance:
        return []
    found = f"its clock is {abs(skew):.0f} s {'ahead' if skew > 0 else 'behind'}"
    remedy = "Synchronize clocks (systemd-timesyncd, chrony): certificates and etcd depend on them."
    return [Finding(host, found, f"preflight_clock_skew_seconds is {tolerance:g}", remedy)]


def check_kernel(host: str, options: set[str] | None, wanted: Mapping[str, str]) -> list[Finding]:
    """Find options that a kernel lacks. options: None where it does not tell; wanted: option → what for."""
    if options is None:
        return []
    return [
        Finding(host, f"its kernel lacks CONFIG_{option}", "its configuration", f"Use a kernel with it: {what}.")
        for option, what in wanted.items()
        if option not in options
    ]


def check_settings(host: str, values: Mapping[str, int | None], wanted: Mapping[str, int]) -> list[Finding]:
    """Find settings below /proc/sys that are too low. values: setting → value, None where there is no such."""
    findings = []
    for setting, minimum in wanted.items():
        value = values.get(setting)
        if value is not None and value < minimum:
            remedy = f"Set it in /etc/sysctl.d, or at once: sysctl -w {setting}={minimum}"
            findings.append(Finding(host, f"{setting} is {value}, at least {minimum} is needed", "/proc/sys", remedy))
    return findings


def gather(
    results: Mapping[str, Mapping[str, Any]], before: float, after: float, tolerance: float
) -> list[dict[str, Any]]:
    """Return the findings of all hosts.

    results: host → what the module host_check returned, or what Ansible says where it could not run.
    before, after: the controller's clock around it, in seconds since 1970.
    """
    findings: list[dict[str, Any]] = []
    for host, result in results.items():
        if "findings" in result:
            findings += result["findings"]
            clock = check_clock(host, float(result["time"]), before, after, tolerance)
            findings += [finding.fields() for finding in clock]
            continue
        said = " ".join(str(result.get("msg") or result.get("module_stderr") or "no reason was given").split())
        if result.get("unreachable"):
            found, remedy = f"can't be reached: {said}", "Check its address, its SSH server and your key."
        else:
            found, remedy = f"can't be looked at: {said}", "Be root there, or have sudo without a password."
        findings.append(Finding(host, found, "", remedy).fields())
    return findings


# --- reading a host ---------------------------------------------------------------------------------------------------


def read(path: Path) -> str:
    """Return a file's text; empty where it can't be read."""
    try:
        return path.read_text(errors="replace")
    except OSError:
        return ""


def read_kernel_options(proc: Path, boot: Path, release: str) -> set[str] | None:
    """Return the running kernel's options, or None where no file tells."""
    try:
        return kernel_options(gzip.decompress((proc / "config.gz").read_bytes()).decode())
    except OSError:
        text = read(boot / f"config-{release}")
        return kernel_options(text) if text else None


def read_settings(proc: Path, names: Iterable[str]) -> dict[str, int | None]:
    """Return the settings' values; None where there is no such, or no number."""
    values: dict[str, int | None] = {}
    for name in names:
        text = read(proc / "sys" / name.replace(".", "/")).strip()
        values[name] = int(text) if text.isdigit() else None
    return values


@dataclass(frozen=True)
class Disk:
    """The file system where a path is, or would be made: its device number, the MiB free, their share in per cent.

    free_inodes: how many files it can still take; None where it makes inodes as they are needed.
    """

    device: int
    free_mb: int
    free_percent: int
    free_inodes: int | None = None


def disk_usage(path: Path) -> Disk:
    """Return what is free where a path is, or would be made."""
    while not path.exists():
        path = path.parent
    usage = shutil.disk_usage(path)
    inodes = os.statvfs(path)
    free_inodes = inodes.f_favail if inodes.f_files else None
    return Disk(path.stat().st_dev, usage.free // 1024**2, usage.free * 100 // max(1, usage.total), free_inodes)


def read_listeners(proc: Path, ports: Iterable[int]) -> list[Listener]:
    """Return the processes that listen on one of the ports. Those of other users are seen by root only."""
    wanted = set(ports)
    sockets: dict[str, int] = {}
    for name in ("tcp", "tcp6"):
        sockets |= listening_sockets(read(proc / "net" / name))
    inodes = {f"socket:[{inode}]": port for inode, port in sockets.items() if port in wanted}
    listeners = []
    for process in proc.iterdir() if inodes else ():
        if not process.name.isdigit():
            continue
        for link in _links(process / "fd"):
            if link in inodes:
                command = read(process / "cmdline").replace("\0", " ").strip() or read(process / "comm").strip()
                listeners.append(Listener(inodes[link], int(process.name), command))
    return listeners


def name_socket_units(listeners: Iterable[Listener], units: str) -> list[Listener]:
    """Give the units whose ports systemd holds as the command in place of PID 1's own.

    units: what ``systemctl show '*.socket' --property=Id,Listen`` prints: properties of a unit, a line each, and an
    empty line between two units, such as ``Id=ssh.socket`` and ``Listen=[::]:22 (Stream)``, which may come repeatedly.
    """
    owners: dict[int, str] = {}
    for block in units.split("\n\n"):
        lines = block.splitlines()
        unit = next((line.removeprefix("Id=") for line in lines if line.startswith("Id=")), "")
        for port in re.findall(r"^Listen=\S*:(\d+) \(Stream\)$", block, re.MULTILINE):
            owners[int(port)] = f"systemd for {unit}"
    return [
        replace(listener, command=owners[listener.port]) if listener.pid == 1 and listener.port in owners else listener
        for listener in listeners
    ]


def _links(directory: Path) -> list[str]:
    """Return what a process's descriptors are; what is closed meanwhile, or not ours to see, is left out."""
    links = []
    with suppress(OSError):
        for entry in directory.iterdir():
            with suppress(OSError):
                links.append(str(entry.readlink()))
    return links
