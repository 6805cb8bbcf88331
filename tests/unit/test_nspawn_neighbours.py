# Copyright: cicd.sandbox contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A sandbox's bridge beside other networks and packet filters of the host, in network namespaces."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest
from ansible_collections.cicd.sandbox.plugins.module_utils.nspawn import firewall, system
from ansible_collections.cicd.sandbox.plugins.module_utils.nspawn import network as nspawn_network
from ansible_collections.cicd.sandbox.plugins.module_utils.nspawn.network import Action, network_from
from ansible_collections.cicd.sandbox.plugins.module_utils.nspawn.system import NspawnError
from ansible_collections.cicd.sandbox.plugins.module_utils.preflight.packet_filter import check_packet_filter
from netns import Namespace

PODS, SERVICES = "10.244.0.0/16", "10.96.0.0/16"
OUTSIDE = "203.0.113.2"
NETWORK = network_from("t", "198.18.77.0/24", [PODS, SERVICES])
WITH_NAT = network_from("t", "198.18.77.0/24", [PODS, SERVICES], ["198.18.77.2"])


@dataclass
class Host:
    """A host with a sandbox's bridge and two machines, another bridge with another cluster's nodes, and an uplink."""

    host: Namespace
    machines: list[Namespace]
    others: list[Namespace]
    outside: Namespace

    def make(self, network: nspawn_network.Network = NETWORK) -> list[Action]:
        return nspawn_network.network_present(network)

    def accepts(self) -> int:
        text = self.host.run("nft", "list", "ruleset") + self.host.run("iptables-legacy", "-S")
        return text.count("cicd.sandbox t ")


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Host]:
    host = Namespace()
    made = [host, *(Namespace(host) for _ in range(5))]
    _, *machines, outside = made[:4]
    others = made[4:]

    def run(line: Sequence[str], *, stdin: str | None = None) -> str:
        done = subprocess.run(host.line(line), check=False, capture_output=True, text=True, input=stdin)
        if done.returncode != 0:
            raise NspawnError(f"{line}: {done.stderr}")
        return done.stdout

    monkeypatch.setattr(system, "run", run)
    monkeypatch.setattr(firewall, "LEGACY_TABLES", host.proc / "net/ip_tables_names")
    monkeypatch.setenv("XTABLES_LOCKFILE", str(tmp_path / "xtables.lock"))
    try:
        host.run("sysctl", "-qw", "net.ipv4.ip_forward=1", "net.bridge.bridge-nf-call-iptables=1")
        for bridge in ("sb-t", "other"):
            host.run("ip", "link", "add", bridge, "type", "bridge", "forward_delay", "0")
            host.run("ip", "link", "set", bridge, "up")
        host.run("ip", "address", "add", "198.18.77.1/24", "dev", "sb-t")
        for number, machine in enumerate(machines, 2):
            machine.join(host, "sb-t", f"vb-t-{number}", f"198.18.77.{number}/24")
            machine.run("ip", "route", "add", "default", "via", "198.18.77.1")
        for number, node in enumerate(others, 1):
            node.join(host, "other", f"other-{number}", f"10.244.0.{number}/16")
        outside.join(host, "", "uplink", f"{OUTSIDE}/24")
        host.run("ip", "address", "add", "203.0.113.1/24", "dev", "uplink")
        host.run("ip", "route", "add", "default", "via", OUTSIDE)
        outside.run("ip", "address", "add", "10.244.9.9/32", "dev", "lo")
        outside.run("ip", "route", "add", "198.18.77.0/24", "via", "203.0.113.1")
        yield Host(host, machines, others, outside)
    finally:
        for namespace in reversed(made):
            namespace.close()


NFTABLES_CONF = """
table inet filter {
  chain forward { type filter hook forward priority filter; policy drop; }
}
"""
UFW = ["iptables-nft -P FORWARD DROP", "iptables-nft -N ufw", "iptables-nft -A FORWARD -j ufw"]
FILTERS = {
    "iptables-nft": ["iptables-nft -P FORWARD DROP", "iptables-nft -A FORWARD -m conntrack --ctstate NEW -j DROP"],
    "iptables-legacy": ["iptables-legacy -P FORWARD DROP"],
    "both": ["iptables-legacy -P FORWARD DROP", *UFW],
    "a rule under a policy that accepts": ["iptables-legacy -A FORWARD -j REJECT"],
    "nftables": ["nft -f -"],
}


@pytest.mark.parametrize("kind", FILTERS)
def test_machines_reach_each_other_through_a_filter_that_drops(host: Host, kind: str) -> None:
    host.make()
    assert host.machines[0].reaches("198.18.77.3")
    for line in FILTERS[kind]:
        host.host.run(*line.split(), stdin=NFTABLES_CONF)
    assert not host.machines[0].reaches("198.18.77.3")
    assert host.make() == [Action.ACCEPT]
    assert host.machines[0].reaches("198.18.77.3")
    assert host.make() == []
    # What others may not do, they still may not.
    assert not host.others[0].reaches("10.244.0.2")
    # iptables has to be able to read its own tables.
    assert "incompatible" not in host.host.run("iptables-nft", "-S")


@pytest.mark.parametrize("kind", FILTERS)
def test_nothing_of_it_stays(host: Host, kind: str) -> None:
    for line in FILTERS[kind]:
        host.host.run(*line.split(), stdin=NFTABLES_CONF)
    before = host.host.run("nft", "list", "ruleset"), host.host.run("iptables-legacy", "-S")
    host.make(WITH_NAT)
    assert host.accepts() >= 3
    nspawn_network.network_absent(WITH_NAT, dry_run=True)
    assert host.accepts() >= 3
    actions = nspawn_network.network_absent(WITH_NAT, dry_run=False)
    assert Action.REMOVE_ACCEPTED in actions
    after = host.host.run("nft", "list", "ruleset"), host.host.run("iptables-legacy", "-S")
    assert after == before


def test_a_machine_that_may_gets_out_through_a_filter_that_drops(host: Host) -> None:
    for line in FILTERS["both"]:
        host.host.run(*line.split())
    host.make(WITH_NAT)
    assert host.machines[0].reaches(OUTSIDE)
    assert not host.machines[1].reaches(OUTSIDE)
    assert not host.outside.reaches("198.18.77.2")
    # One that no longer may: its rules go.
    assert Action.ACCEPT in host.make(NETWORK)
    assert not host.machines[0].reaches(OUTSIDE)
    assert host.accepts() == 2


def test_chains_that_let_everything_pass_are_left_alone(host: Host) -> None:
    host.host.run("iptables-nft", "-P", "FORWARD", "ACCEPT")
    host.host.run("iptables-legacy", "-P", "FORWARD", "ACCEPT")
    host.make()
    assert host.accepts() == 0


def test_another_cluster_with_the_same_pods_keeps_its_traffic(host: Host) -> None:
    assert host.others[0].reaches("10.244.0.2")
    host.make(WITH_NAT)
    assert host.others[0].reaches("10.244.0.2")
    # This host itself reaches what its uplink leads to at such an address, and nodes on a bridge of its own.
    assert host.host.reaches("10.244.9.9")
    host.host.run("ip", "address", "add", "10.244.0.9/16", "dev", "other")
    assert host.host.reaches("10.244.0.1")
    assert host.others[0].reaches("10.244.0.9")


def counted(host: Host) -> int:
    """Packets that the sandbox's table refused or dropped."""
    items = json.loads(host.host.run("nft", "--json", "list", "table", "inet", NETWORK.table))["nftables"]
    expressions = [part for item in items if "rule" in item for part in item["rule"]["expr"]]
    return sum(part["counter"]["packets"] for part in expressions if "counter" in part)


def test_no_address_of_the_sandbox_leaves(host: Host) -> None:
    host.make(WITH_NAT)
    machine = host.machines[0]
    assert machine.reaches(OUTSIDE)
    assert counted(host) == 0
    # To a pod of another node, from a pod, and from a machine's network by this host itself.
    assert not machine.reaches("10.244.9.9")
    assert counted(host) == 1
    machine.run("ip", "address", "add", "10.244.1.1/32", "dev", "lo")
    assert not machine.reaches(OUTSIDE, "10.244.1.1")
    assert counted(host) == 2
    assert not host.host.reaches(OUTSIDE, "198.18.77.1")
    assert counted(host) == 3


def test_a_table_that_only_firewalld_writes_is_named(host: Host) -> None:
    host.make()
    owner = subprocess.Popen(host.host.line(["nft", "-i"]), stdin=subprocess.PIPE, text=True)
    assert owner.stdin
    try:
        owner.stdin.write(
            "add table inet firewalld { flags owner; }\n"
            "add chain inet firewalld filter_FORWARD { type filter hook forward priority 10; policy drop; }\n"
        )
        owner.stdin.flush()
        deadline = time.monotonic() + 10
        while "filter_FORWARD" not in host.host.run("nft", "list", "ruleset"):
            assert time.monotonic() < deadline
            time.sleep(0.05)
        with pytest.raises(NspawnError, match=r"inet firewalld filter_FORWARD.*--zone=trusted --add-interface=sb-t"):
            host.make()
        (finding,) = check_packet_filter("here", "t", "sb-t")
        assert not finding.warning
        assert "firewalld filter_FORWARD" in finding.found
        assert "--add-interface=sb-t" in finding.remedy
        owner.stdin.write('insert rule inet firewalld filter_FORWARD iifname "sb-t" oifname "sb-t" accept\n')
        owner.stdin.flush()
        while not host.machines[0].reaches("198.18.77.3"):
            assert time.monotonic() < deadline
        assert host.make() == []
    finally:
        owner.kill()
        owner.communicate()


@pytest.mark.parametrize("program", ["iptables-nft", "iptables-legacy"])
def test_what_ufw_does_to_the_rules_is_told(host: Host, program: str) -> None:
    assert check_packet_filter("here", "t", "sb-t") == []
    for line in ("-P FORWARD DROP", "-N ufw-before-forward", "-A FORWARD -j ufw-before-forward"):
        host.host.run(program, *line.split())
    (finding,) = check_packet_filter("here", "t", "sb-t")
    assert finding.warning
    assert "ufw route allow in on sb-t out on sb-t" in finding.text()


def test_iptables_may_be_the_legacy_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "iptables"
    for version, found in (("iptables v1.8.9 (legacy)", "iptables"), ("iptables v1.8.9 (nf_tables)", None)):
        program.write_text(f"#!{shutil.which('sh')}\necho '{version}'\n")
        program.chmod(0o755)
        with monkeypatch.context() as patch:
            patch.setitem(os.environ, "PATH", str(tmp_path))
            assert firewall.legacy_program() == found
