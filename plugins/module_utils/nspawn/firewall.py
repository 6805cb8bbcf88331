# Copyright: cicd.sandbox contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Chains of forwarding that others made on this host (Docker, ufw, firewalld, an nftables.conf), and our rules in them.

Where br_netfilter is on, frames between two machines pass these chains too, and one that drops what it does not know
parts the machines. To accept a packet in a table of our own is not enough: every chain has to. So each of theirs that
may refuse gets rules for our bridge alone, which go with the sandbox. IPv4 only, as are the machines.
"""

from __future__ import annotations

import hashlib
import ipaddress
import json
import re
import shlex
import shutil
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ansible_collections.cicd.sandbox.plugins.module_utils.nspawn import system

# What the sandboxes' own tables are called.
OWN_TABLES = "cicd_sandbox_"
MARK = "cicd.sandbox"
LEGACY = "iptables-legacy"
# Tables of iptables-legacy that are in use; to ask the program would make them.
LEGACY_TABLES = Path("/proc/net/ip_tables_names")


@dataclass(frozen=True)
class Accepted:
    """What a sandbox's rules accept: packets that stay on its bridge, and those of machines that may reach outside."""

    sandbox: str
    bridge: str
    nat: tuple[ipaddress.IPv4Address, ...] = ()

    @property
    def mark(self) -> str:
        """The comment of each rule, with a digest of all to compare them by."""
        digest = hashlib.sha256("\n".join(self.nftables()).encode()).hexdigest()[:8]
        return f"{MARK} {self.sandbox} {digest}"

    def owns(self, comment: str) -> bool:
        """Tell whether a rule's comment is one of this sandbox, of whatever rules."""
        return comment.split(" ")[:2] == [MARK, self.sandbox]

    def nftables(self) -> list[str]:
        """Return the rules as of nft(8): only what iptables-nft can read too, or it would refuse its whole table.

        What comes back to a machine is not asked for its state here: the sandbox's own table lets nothing new in.
        """
        between = [f'iifname "{self.bridge}" oifname "{self.bridge}"']
        out = [f'iifname "{self.bridge}" ip saddr {address}' for address in self.nat]
        back = [f'oifname "{self.bridge}" ip daddr {address}' for address in self.nat]
        return [*between, *out, *back]

    def iptables(self) -> list[list[str]]:
        """Return the same rules as arguments of the program iptables."""
        between = [["-i", self.bridge, "-o", self.bridge]]
        out = [["-s", str(address), "-i", self.bridge] for address in self.nat]
        back = [["-d", str(address), "-o", self.bridge] for address in self.nat]
        return [*between, *out, *back]


@dataclass(frozen=True)
class Chain:
    """A chain of forwarding. family: ip or inet, or iptables-legacy; refuses: whether a packet may be lost in it."""

    family: str
    table: str
    name: str
    refuses: bool
    # Whether ufw wrote it.
    jumps_to_ufw: bool = False
    # The comments of the sandbox's own rules, and what removes each: a handle, or arguments.
    marks: tuple[str, ...] = ()
    removals: tuple[tuple[str, ...], ...] = ()

    def text(self) -> str:
        """Return the chain as a user finds it."""
        return (
            f"{self.table} {self.name} of {LEGACY}"
            if self.family == LEGACY
            else f"{self.family} {self.table} {self.name}"
        )


def chains(accepted: Accepted) -> list[Chain]:
    """Return others' chains of forwarding."""
    return [*_nft_chains(accepted), *_legacy_chains(accepted)]


def lacking(accepted: Accepted) -> list[Chain]:
    """Return the chains that may refuse what is to be accepted, or have rules of an earlier description.

    Raises:
        NspawnError: one of them belongs to a program that lets nobody else write to it, and does not know the bridge.
    """
    found = [chain for chain in chains(accepted) if chain.marks != _wanted(chain, accepted)]
    locked = [chain for chain in found if chain.family != LEGACY and _locked(chain)]
    foreign = [chain.text() for chain in locked if f'"{accepted.bridge}"' not in _table_text(chain)]
    if foreign:
        raise system.NspawnError(
            f"the packet filter of this host ({', '.join(foreign)}) may drop what machines send each other, and only"
            f" firewalld can write to it. Tell it of the bridge: firewall-cmd --permanent --zone=trusted"
            f" --add-interface={accepted.bridge} && firewall-cmd --reload"
        )
    return [chain for chain in found if chain not in locked]


def managers(accepted: Accepted) -> set[str]:
    """Return the programs, firewalld or ufw, whose chains may refuse what is to be accepted."""
    found = set()
    for chain in chains(accepted):
        if chain.refuses and chain.table == "firewalld":
            found.add("firewalld")
        elif chain.refuses and chain.jumps_to_ufw:
            found.add("ufw")
    return found


def _wanted(chain: Chain, accepted: Accepted) -> tuple[str, ...]:
    return (accepted.mark,) * len(accepted.nftables()) if chain.refuses else ()


def write(accepted: Accepted, lacks: Iterable[Chain]) -> None:
    """Put the sandbox's rules first in each of the chains, in place of those that are there."""
    for chain in lacks:
        remove([chain])
        if not chain.refuses:
            continue
        if chain.family == LEGACY:
            for arguments in reversed(accepted.iptables()):
                comment = ["-m", "comment", "--comment", accepted.mark]
                _iptables(["-I", chain.name, "1", *arguments, *comment, "-j", "ACCEPT"])
        else:
            where = f"insert rule {chain.family} {chain.table} {chain.name}"
            rules = [f'{where} {rule} counter accept comment "{accepted.mark}"' for rule in accepted.nftables()]
            system.run(["nft", "-f", "-"], stdin="\n".join(reversed(rules)) + "\n")


def remove(written: Iterable[Chain]) -> None:
    """Take the sandbox's rules out of chains."""
    for chain in written:
        for removal in chain.removals:
            if chain.family == LEGACY:
                _iptables(["-D", *removal])
            else:
                system.run(["nft", "delete", "rule", chain.family, chain.table, chain.name, "handle", *removal])


def _nft_chains(accepted: Accepted) -> list[Chain]:
    if shutil.which("nft") is None:
        return []
    bases = [item["chain"] for item in _nft("list", "chains") if item.get("chain", {}).get("hook") == "forward"]
    found = []
    for base in bases:
        family, table, name = base["family"], base["table"], base["name"]
        if family not in {"ip", "inet"} or table.startswith(OWN_TABLES):
            continue
        rules = [item["rule"] for item in _nft("--handle", "list", "chain", family, table, name) if "rule" in item]
        ours = [rule for rule in rules if accepted.owns(rule.get("comment", ""))]
        found.append(
            Chain(
                family,
                table,
                name,
                base.get("policy") == "drop" or _others(rules),
                '{"jump": {"target": "ufw-' in json.dumps(rules),
                tuple(rule["comment"] for rule in ours),
                tuple((str(rule["handle"]),) for rule in ours),
            )
        )
    return found


def _others(rules: Sequence[dict[str, Any]]) -> bool:
    """Tell whether there are rules but sandboxes' own."""
    return any(not rule.get("comment", "").startswith(f"{MARK} ") for rule in rules)


def _nft(*arguments: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(system.run(["nft", "--json", *arguments]))["nftables"]
    return found


def _table_text(chain: Chain) -> str:
    return system.run(["nft", "list", "table", chain.family, chain.table])


def _locked(chain: Chain) -> bool:
    """Tell whether the table lets only the program write to it that made it."""
    return bool(re.search(r"^\s*flags .*\bowner\b", _table_text(chain), re.MULTILINE))


def _legacy_chains(accepted: Accepted) -> list[Chain]:
    if "filter" not in system.words(LEGACY_TABLES) or legacy_program() is None:
        return []
    rules = [shlex.split(line) for line in _iptables(["-S", "FORWARD"]).splitlines()]
    appended = [rule[1:] for rule in rules if rule[0] == "-A"]
    comments = [rule[rule.index("--comment") + 1] if "--comment" in rule else "" for rule in appended]
    ours = [(comment, rule) for comment, rule in zip(comments, appended, strict=True) if accepted.owns(comment)]
    return [
        Chain(
            LEGACY,
            "filter",
            "FORWARD",
            ["-P", "FORWARD", "DROP"] in rules or _others([{"comment": comment} for comment in comments]),
            any(rule[-1].startswith("ufw-") for rule in appended),
            tuple(comment for comment, _ in ours),
            tuple(tuple(rule) for _, rule in ours),
        )
    ]


def legacy_program() -> str | None:
    """Return the program for the rules of iptables-legacy, which may be called iptables; None where there is none."""
    if shutil.which(LEGACY):
        return LEGACY
    if shutil.which("iptables") and "legacy" in system.run(["iptables", "--version"]):
        return "iptables"
    return None


def _iptables(arguments: Sequence[str]) -> str:
    return system.run([str(legacy_program()), "--wait", *arguments])
