# Copyright: cicd.sandbox contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The machines' network: what is written and what is refused, without a bridge."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.cicd.sandbox.plugins.module_utils.nspawn import network as nspawn_network
from ansible_collections.cicd.sandbox.plugins.module_utils.nspawn import system
from ansible_collections.cicd.sandbox.plugins.module_utils.nspawn.network import network_from, route_conflicts
from ansible_collections.cicd.sandbox.plugins.module_utils.nspawn.system import NspawnError

PODS, SERVICES = "10.244.0.0/16", "10.96.0.0/16"


def test_the_bridge_is_the_first_address() -> None:
    network = network_from("dev", "198.18.4.0/24")
    assert (network.bridge, str(network.gateway)) == ("sb-dev", "198.18.4.1")


@pytest.mark.parametrize(
    ("sandbox", "cidr", "guarded", "named"),
    [
        ("Dev", "198.18.0.0/24", [], "'Dev'"),
        ("a-name-too-long", "198.18.0.0/24", [], "12"),
        ("dev", "198.18.0.1/24", [], "198.18.0.1/24"),
        ("dev", "fd00::/64", [], "IPv4"),
        ("dev", "198.18.0.0/30", [], "no room"),
        ("dev", "198.18.0.0/24", ["10.96.0.0/33"], "10.96.0.0/33"),
        ("dev", "198.18.0.0/24", [PODS, "10.244.3.0/24"], "overlap"),
    ],
)
def test_bad_arguments_are_named(sandbox: str, cidr: str, guarded: list[str], named: str) -> None:
    with pytest.raises(NspawnError, match=named.replace("(", r"\(")):
        network_from(sandbox, cidr, guarded)


def test_the_rules_guard_every_network_and_translate_only_named_machines() -> None:
    rules = network_from("dev", "198.18.0.0/24", [PODS, SERVICES], ["198.18.0.2"]).ruleset()
    assert "10.96.0.0/16, 10.244.0.0/16, 198.18.0.0/24" in rules
    assert "ip saddr { 198.18.0.2 } ip daddr != @guarded" in rules
    assert "masquerade" not in network_from("dev", "198.18.0.0/24").ruleset()


def test_other_rules_have_another_digest() -> None:
    digests = {
        network_from("dev", "198.18.0.0/24", guarded).ruleset().split('"')[1] for guarded in ([], [PODS], [SERVICES])
    }
    assert len(digests) == 3


def test_the_host_must_not_route_a_sandbox_network_elsewhere() -> None:
    network = network_from("dev", "198.18.0.0/24", [PODS, SERVICES])
    routes = [
        {"dst": "default", "dev": "eth0"},
        {"dst": "198.18.0.0/24", "dev": "sb-dev"},
        {"dst": "192.0.2.0/24", "dev": "eth0"},
    ]
    assert route_conflicts(network, routes) == []
    conflicts = route_conflicts(network, [*routes, {"dst": "10.0.0.0/8", "dev": "tun0"}])
    assert conflicts == [
        "10.244.0.0/16 overlaps this machine's route to 10.0.0.0/8 on tun0",
        "10.96.0.0/16 overlaps this machine's route to 10.0.0.0/8 on tun0",
    ]


def test_a_network_of_another_interface_is_told_once() -> None:
    routes = [{"dst": "198.18.0.0/24", "dev": "br0"}, {"dst": "198.18.0.1", "dev": "br0", "type": "local"}]
    assert route_conflicts(network_from("dev", "198.18.0.0/24"), routes) == [
        "198.18.0.0/24 overlaps this machine's route to 198.18.0.0/24 on br0"
    ]


def test_two_sandboxes_may_have_the_same_pods_but_not_the_same_machines() -> None:
    network = network_from("dev", "198.18.0.0/24", [PODS, SERVICES])
    assert route_conflicts(network, [{"dst": "198.18.1.0/24", "dev": "sb-two"}]) == []
    assert route_conflicts(network, [{"dst": "198.18.0.0/24", "dev": "sb-two"}]) != []


def test_links_are_found_by_their_whole_names(monkeypatch: Any) -> None:
    """As of `ip -json link show`: a name of 16 characters is shortened by a hash."""
    links = [
        {"ifname": "vb-dev-worker-1", "flags": ["UP"], "master": "sb-dev"},
        {"ifname": "vb-dev-workR3qh", "flags": ["UP"], "master": "sb-dev", "altnames": ["vb-dev-worker-10"]},
        {"ifname": "vb-dev-cp-1", "flags": []},
    ]
    monkeypatch.setattr(system, "run", lambda *_: json.dumps(links))
    found = nspawn_network.bridges_of_links()
    assert found["vb-dev-worker-1"] == found["vb-dev-worker-10"] == "sb-dev"
    assert found["vb-dev-cp-1"] == ""


def test_nothing_is_to_be_removed_where_nft_was_never_installed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "ip").write_text("#!/bin/sh\necho '[]'\n")
    (tmp_path / "ip").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert nspawn_network.network_absent(network_from("t-none", "198.18.99.0/24"), dry_run=False) == []
