# Copyright: cicd.sandbox contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The private bridge of a sandbox, and the packet filter of what may leave it."""

from __future__ import annotations

import enum
import hashlib
import ipaddress
import json
import re
import shutil
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from ansible_collections.cicd.sandbox.plugins.module_utils.nspawn import firewall, system

# Interface names end at 15 characters; "sb-" and "vb-" are in front.
SANDBOX_NAME = re.compile(r"[a-z][a-z0-9-]{0,11}\Z")


class Action(enum.Enum):
    """A step towards a network that is wanted, or no longer wanted; the value is a format of what a user reads."""

    MAKE_BRIDGE = "make bridge {0.bridge}"
    SET_ADDRESS = "give {0.bridge} the address {0.gateway_interface}"
    BRING_UP = "bring {0.bridge} up"
    WRITE_RULES = "write nftables table {0.table}"
    ACCEPT = "accept what stays on {0.bridge} in the host's other chains of forwarding"
    REMOVE_ACCEPTED = "remove the rules of {0.bridge} from the host's other chains of forwarding"
    REMOVE_BRIDGE = "remove bridge {0.bridge}"
    REMOVE_RULES = "remove nftables table {0.table}"

    def text(self, network: Network) -> str:
        """Say what is done to a network."""
        return self.value.format(network)


@dataclass(frozen=True)
class Network:
    """The private bridge of one sandbox and what may leave it.

    ``guarded`` are the networks (machines, pods, services) whose addresses must not leave the bridge for an uplink;
    ``nat`` the machines' addresses that may reach outside, translated. Others on this host may have networks with the
    same pods and services: rules go by the bridge, or by the machines' addresses where this host itself sends.
    """

    sandbox: str
    cidr: ipaddress.IPv4Network
    guarded: tuple[ipaddress.IPv4Network, ...]
    nat: tuple[ipaddress.IPv4Address, ...] = ()

    @property
    def bridge(self) -> str:
        """The bridge's interface."""
        return f"sb-{self.sandbox}"

    @property
    def table(self) -> str:
        """The nftables table."""
        return table_of(self.sandbox)

    @property
    def gateway(self) -> ipaddress.IPv4Address:
        """This host's address on the bridge, the first one of the network."""
        return self.cidr.network_address + 1

    @property
    def gateway_interface(self) -> str:
        """The gateway with the length of the network's prefix, as ip(8) takes an address."""
        return f"{self.gateway}/{self.cidr.prefixlen}"

    @property
    def accepted(self) -> firewall.Accepted:
        """What other packet filters of this host have to let through."""
        return firewall.Accepted(self.sandbox, self.bridge, tuple(sorted(self.nat)))

    def ruleset(self) -> str:
        """Return the nftables table; its comment carries a digest of the rules, to compare them by."""
        guarded = ", ".join(str(network) for network in ipaddress.collapse_addresses(self.guarded))
        nat = ", ".join(str(address) for address in sorted(self.nat))
        rules = [f"  set guarded {{ type ipv4_addr; flags interval; elements = {{ {guarded} }} }}"]
        leaves = f'iifname "{self.bridge}" oifname != "{self.bridge}"'
        allowed = ""
        if nat:
            allowed = f"ip saddr != {{ {nat} }} "
            rules.append(
                "  chain translate { type nat hook postrouting priority srcnat; policy accept;\n"
                f'    ip saddr {{ {nat} }} ip daddr != @guarded oifname != "sb-*" masquerade\n  }}'
            )
        # Refused, not dropped: whatever a machine asks of the outside (a name server) fails at once.
        rules.append(
            "  chain forward { type filter hook forward priority filter; policy accept;\n"
            f"    {leaves} {allowed}counter reject with icmpx type admin-prohibited\n"
            f"    {leaves} ip daddr @guarded counter reject with icmpx type admin-prohibited\n"
            f'    oifname "{self.bridge}" iifname != "{self.bridge}" ct state new drop\n  }}'
        )
        # After source NAT: what still has a sandbox address here would leave with it.
        rules.append(
            "  chain guard { type filter hook postrouting priority srcnat + 50; policy accept;\n"
            f"    {leaves} ip saddr @guarded counter drop\n    {leaves} ip daddr @guarded counter drop\n  }}"
        )
        # What this host itself sends: the machines' network has no other way than the bridge, even while that is down.
        rules.append(
            "  chain own { type filter hook output priority filter; policy accept;\n"
            f'    oifname {{ "{self.bridge}", "lo" }} accept\n'
            f"    ip saddr {self.cidr} counter drop\n    ip daddr {self.cidr} counter drop\n  }}"
        )
        body = "\n".join(rules)
        digest = hashlib.sha256(body.encode()).hexdigest()[:16]
        return f'table inet {self.table} {{\n  comment "{digest}"\n{body}\n}}\n'


def network_from(sandbox: str, cidr: str, guarded: Iterable[str] = (), nat: Iterable[str] = ()) -> Network:
    """Check a network's arguments and return it; its own network is always guarded.

    Raises:
        NspawnError: an argument is wrong; the message names it.
    """
    if not SANDBOX_NAME.match(sandbox):
        raise system.NspawnError(
            f"sandbox_name: {sandbox!r} must be at most 12 of a-z, 0-9 and -, and start with a letter"
            " (it becomes part of interface names)"
        )
    network = _network("machines_network", cidr)
    if network.num_addresses < 8:
        raise system.NspawnError(f"machines_network: {cidr} has no room for machines; take a /24, say")
    others = tuple(_network("guarded_networks", item) for item in guarded)
    for index, one in enumerate((network, *others)):
        for other in (network, *others)[index + 1 :]:
            if one.overlaps(other):
                raise system.NspawnError(f"the networks of machines, pods and services overlap: {one} and {other}")
    return Network(sandbox, network, (network, *others), tuple(address_from("nat_addresses", item) for item in nat))


def _network(argument: str, value: str) -> ipaddress.IPv4Network:
    try:
        return ipaddress.IPv4Network(value)
    except ValueError as error:
        raise system.NspawnError(f"{argument}: {value!r} is not an IPv4 network: {error}") from error


def address_from(argument: str, value: str) -> ipaddress.IPv4Address:
    try:
        return ipaddress.IPv4Address(value)
    except ValueError as error:
        raise system.NspawnError(f"{argument}: {value!r} is not an IPv4 address: {error}") from error


def foreign_routes(
    networks: Iterable[ipaddress.IPv4Network], routes: Iterable[Mapping[str, Any]], own: Sequence[str] = ()
) -> list[tuple[ipaddress.IPv4Network, ipaddress.IPv4Network, str]]:
    """Return (network, route, device) for each of the host's routes (``ip -json route``) that overlaps a network.

    own: beginnings of the names of interfaces that are no others'. What leads to a half or a quarter of all addresses
    is a default route, as programs for VPNs write it; every network is more specific.
    """
    found = []
    networks = list(networks)
    for route in routes:
        device, kind = str(route.get("dev", "")), str(route.get("type", "unicast"))
        if kind == "broadcast" or (device and device.startswith(tuple(own))):
            continue
        try:
            other = ipaddress.IPv4Network(str(route.get("dst", "")), strict=False)
        except ValueError:
            continue
        if other.prefixlen > 2:
            found += [(one, other, device or kind) for one in networks if one.overlaps(other)]
    return found


def host_routes() -> list[dict[str, Any]]:
    """Return the host's routes, of all tables: VPNs have some of their own."""
    return _links("-4", "route", "show", "table", "all")


def route_conflicts(network: Network, routes: Iterable[Mapping[str, Any]]) -> list[str]:
    """Return a sentence for each of the host's routes (``ip -json route``) that overlaps a sandbox network."""
    others = [route for route in routes if route.get("dev") != network.bridge]
    # Another sandbox may have the same pods and services, but not the same machines.
    conflicts = foreign_routes([network.cidr], others)
    conflicts += foreign_routes([one for one in network.guarded if one != network.cidr], others, ["sb-"])
    # Of each interface the widest: its own address has a route, too.
    widest: dict[tuple[ipaddress.IPv4Network, str], list[ipaddress.IPv4Network]] = {}
    for one, other, device in conflicts:
        widest.setdefault((one, device), []).append(other)
    return sorted(
        f"{one} overlaps this machine's route to {', '.join(map(str, ipaddress.collapse_addresses(found)))} on {device}"
        for (one, device), found in widest.items()
    )


def table_of(sandbox: str) -> str:
    """Return the name of a sandbox's nftables table."""
    return firewall.OWN_TABLES + sandbox.replace("-", "_")


def _links(*arguments: str) -> list[dict[str, Any]]:
    """Return ``ip -json`` output as a list; [] where the device does not exist."""
    try:
        answer: list[dict[str, Any]] = json.loads(system.run(["ip", "-json", *arguments]) or "[]")
    except system.NspawnError as error:
        if "does not exist" in str(error):
            return []
        raise
    return [link for link in answer if link]


def bridges_of_links() -> dict[str, str]:
    """Return the host's links by name, alternative ones too → the bridge they are on, "" for none or a link down."""
    found: dict[str, str] = {}
    for link in _links("link", "show"):
        bridge = str(link.get("master", "")) if "UP" in link.get("flags", []) else ""
        found |= dict.fromkeys([link["ifname"], *link.get("altnames", [])], bridge)
    return found


def tables() -> list[str]:
    """Return the names of all sandboxes' nftables tables; none where nft, which makes them, was never installed."""
    if shutil.which("nft") is None:
        return []
    found = json.loads(system.run(["nft", "--json", "list", "tables"]))["nftables"]
    return [
        item["table"]["name"] for item in found if item.get("table", {}).get("name", "").startswith(firewall.OWN_TABLES)
    ]


def network_plan(network: Network) -> list[Action]:
    """Return what ``network_present`` would do.

    Raises:
        NspawnError: a sandbox network overlaps one that this machine already routes elsewhere, or the host's packet
            filter parts machines and takes no rules of ours.
    """
    conflicts = route_conflicts(network, host_routes())
    if conflicts:
        raise system.NspawnError(
            "; ".join(conflicts) + ". Give this sandbox other networks: machines_network, sandbox_pod_network,"
            " sandbox_service_network in the inventory"
        )
    links = _links("address", "show", "dev", network.bridge)
    addresses = {f"{info['local']}/{info['prefixlen']}" for link in links for info in link.get("addr_info", [])}
    lacking = {
        Action.MAKE_BRIDGE: not links,
        Action.SET_ADDRESS: network.gateway_interface not in addresses,
        Action.BRING_UP: bool(links) and "UP" not in links[0].get("flags", []),
        Action.WRITE_RULES: not _rules_match(network),
        Action.ACCEPT: bool(firewall.lacking(network.accepted)),
    }
    return [action for action, needed in lacking.items() if needed]


def _rules_match(network: Network) -> bool:
    digest = network.ruleset().split('"')[1]
    with suppress(system.NspawnError):
        return f'comment "{digest}"' in system.run(["nft", "list", "table", "inet", network.table])
    return False


def network_present(network: Network) -> list[Action]:
    """Make the bridge and its rules; return what was done."""
    actions = network_plan(network)
    for action in actions:
        if action is Action.MAKE_BRIDGE:
            system.run(["ip", "link", "add", network.bridge, "type", "bridge"])
            system.run(["ip", "link", "set", network.bridge, "up"])
        elif action is Action.SET_ADDRESS:
            system.run(["ip", "address", "replace", network.gateway_interface, "dev", network.bridge])
        elif action is Action.BRING_UP:
            system.run(["ip", "link", "set", network.bridge, "up"])
        elif action is Action.WRITE_RULES:
            table = f"inet {network.table}"
            system.run(["nft", "-f", "-"], stdin=f"table {table}\ndelete table {table}\n{network.ruleset()}")
        elif action is Action.ACCEPT:
            firewall.write(network.accepted, firewall.lacking(network.accepted))
    return actions


def network_absent(network: Network, *, dry_run: bool) -> list[Action]:
    """Take the bridge and the rules away; return what was done."""
    accepting = [chain for chain in firewall.chains(network.accepted) if chain.marks]
    there = {
        Action.REMOVE_ACCEPTED: bool(accepting),
        Action.REMOVE_BRIDGE: bool(_links("link", "show", "dev", network.bridge)),
        Action.REMOVE_RULES: network.table in tables(),
    }
    actions = [action for action, needed in there.items() if needed]
    for action in actions if not dry_run else []:
        if action is Action.REMOVE_ACCEPTED:
            firewall.remove(accepting)
        elif action is Action.REMOVE_BRIDGE:
            system.run(["ip", "link", "delete", network.bridge])
        else:
            system.run(["nft", "delete", "table", "inet", network.table])
    return actions
