# Copyright: cicd.sandbox contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What preflight says of names, addresses, networks, ports and paths of an inventory."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.cicd.sandbox.plugins.module_utils.preflight import findings as preflight
from ansible_collections.cicd.sandbox.plugins.module_utils.preflight.findings import Finding, Inventory, Role, Setting
from ansible_collections.cicd.sandbox.plugins.module_utils.preflight.inventory_files import known_roles
from ansible_collections.cicd.sandbox.plugins.module_utils.preflight.naming import check_naming
from ansible_collections.cicd.sandbox.plugins.module_utils.preflight.placing import (
    check_directories,
    check_kinds_of_networks,
    check_name_servers,
    check_node_addresses,
    check_paths,
    check_placing,
    check_port_numbers,
    check_ports_of_hosts,
    check_requirements,
)
from checkout import REPOSITORY

ROLES = known_roles(REPOSITORY / "roles")


def inventory(**changes: Any) -> Inventory:
    values: dict[str, Any] = {
        "groups": {},
        "addresses": {},
        "networks": {"machines_network": "198.18.0.0/24", "sandbox_pod_network": "10.244.0.0/16"},
        "values": {},
        "names": [],
        "files": {},
        "sandbox": "dev",
    }
    return Inventory(**(values | changes))


def named(*names: str, made: bool, sandbox: str = "dev") -> list[Finding]:
    addresses = {name: f"198.18.0.{number}" for number, name in enumerate(names, 2)}
    return check_naming(inventory(addresses=addresses, made=names if made else (), sandbox=sandbox))


@pytest.mark.parametrize("name", ["cp-1", "a", "x" * 60, "node1"])
@pytest.mark.parametrize("made", [True, False])
def test_names_that_serve(name: str, made: bool) -> None:
    assert named(name, made=made) == []


@pytest.mark.parametrize("name", ["cp-1.lan", "10.0.0.5", "1-cp", "7a"])
def test_names_that_serve_for_hosts_of_the_users_alone(name: str) -> None:
    assert named(name, made=False) == []
    assert len(named(name, made=True)) == 1


@pytest.mark.parametrize(
    ("name", "instead"),
    [
        ("worker_1", "worker-1"),
        ("CP-1", "cp-1"),
        ("1", "host-1"),
        ("42.7", ""),
        ("-cp", "cp"),
        ("cp-", "cp"),
        ("knoten-ä", "knoten-a"),
        ("узел", ""),
        ("節点-1", ""),
        ("cp 1", "cp-1"),
        ("x" * 64, ""),
        ("", ""),
    ],
)
@pytest.mark.parametrize("made", [True, False])
def test_names_that_do_not_serve_are_told_with_one_that_does(name: str, instead: str, made: bool) -> None:
    (finding,) = named(name, made=made)
    assert finding.found in {"is no name of a machine", "is no name of a node"}
    assert not finding.warning
    assert (f", such as {instead}" if instead else "Take ") in finding.remedy


def test_names_that_differ_by_case_alone() -> None:
    upper, same = named("cp-1", "CP-1", made=False)
    assert upper.found == "is no name of a node"
    assert same.text().startswith("host CP-1: differs from cp-1 by case alone.")


def test_a_machine_is_called_after_its_sandbox_too() -> None:
    assert named("x" * 60, made=True) == []
    (finding,) = named("x" * 61, made=True)
    assert finding.found == f"dev-{'x' * 61} is longer than 64 characters"
    assert named("x" * 61, made=False) == []


@pytest.mark.parametrize(
    ("sandbox", "made", "remedy"),
    [
        ("My_Sandbox", True, "such as my-sandbox."),
        ("a-name-too-long", True, "at most 12"),
        ("1st", True, "a letter first"),
        ("../x", True, "such as x."),
        ("My_Sandbox", False, "such as my-sandbox."),
        ("песочница", False, "at most 63"),
    ],
)
def test_the_name_of_the_sandbox(sandbox: str, made: bool, remedy: str) -> None:
    (finding,) = named("cp-1", made=made, sandbox=sandbox)
    assert (finding.where, finding.found) == ("sandbox_name", f"{sandbox!r} can't be used")
    assert remedy in finding.remedy


@pytest.mark.parametrize(
    ("name", "value", "count"),
    [
        ("sandbox_domain", "localhost", 0),
        ("sandbox_domain", "My_Domain", 1),
        ("sandbox_domain", "http://x.org", 1),
        ("cluster_dns_domain", "Cluster.Local", 1),
        ("cluster_dns_domain", "cluster.local", 0),
        ("sandbox_apps_namespace", "a.b", 1),
        ("sandbox_pages_user", "ann.b@example.org", 0),
        ("sandbox_pages_user", "", 0),
        ("sandbox_pages_user", "ann:secret", 1),
    ],
)
def test_names_of_dns(name: str, value: str, count: int) -> None:
    assert len(check_naming(inventory(settings=[Setting(name, value, "cp-1")]))) == count


def test_a_login_that_nobody_has_is_not_asked_for() -> None:
    nobody = Setting("sandbox_pages_user", "", "infra-1")
    (finding,) = check_naming(inventory(settings=[nobody, Setting("sandbox_landing_login", True, "infra-1")]))
    assert "sandbox_landing_login asks for it" in str(finding)
    assert check_naming(inventory(settings=[nobody, Setting("sandbox_landing_login", False, "infra-1")])) == []


@pytest.mark.parametrize(
    ("ansible_host", "found"),
    [
        ("fd00::5", "is an address of IPv6"),
        ("[fd00::5]", "is an address of IPv6"),
        ("fe80::1%eth0", "is an address of IPv6"),
        ("203.0.114.1:2222", "is a host and a port"),
        ("cp-1.lan:22", "is a host and a port"),
        ("root@203.0.114.1", "is a user and a host"),
        ("ssh://cp-1.lan", "is a scheme and a host"),
        ("127.0.0.1", "other hosts can't reach it"),
        ("224.0.0.1", "other hosts can't reach it"),
    ],
)
def test_what_leads_to_a_host(ansible_host: str, found: str) -> None:
    (finding,) = preflight.check_addresses(inventory(addresses={"cp-1": ansible_host}), "")
    assert found in finding.found
    assert not finding.warning


@pytest.mark.parametrize("address", ["198.18.0.0", "198.18.0.1", "198.18.0.255"])
def test_addresses_of_the_bridge_that_no_machine_may_have(address: str) -> None:
    (finding,) = preflight.check_addresses(inventory(addresses={"cp-1": address}, made=["cp-1"]), "machines_network")
    assert address in finding.found


def test_a_machine_that_is_made_needs_an_address_of_its_own_whatever_its_name_leads_to() -> None:
    (finding,) = preflight.check_addresses(inventory(addresses={"lan": "lan"}, made=["lan"]), "machines_network")
    assert finding.text() == (
        "host lan: is to be made here, and has no address. Set ansible_host to an address of 198.18.0.0/24."
    )


def test_a_host_is_in_no_network_of_pods() -> None:
    (finding,) = preflight.check_addresses(inventory(addresses={"cp-1": "10.244.3.4"}), "")
    assert finding.found == "its address 10.244.3.4 is in sandbox_pod_network 10.244.0.0/16"


@pytest.mark.parametrize(
    ("name", "network", "found"),
    [
        ("sandbox_pod_network", "fd00::/64", "of IPv6"),
        ("machines_network", "fd00::/64", "of IPv6"),
        ("sandbox_pod_network", "127.0.0.0/16", "reserved"),
        ("sandbox_service_network", "224.0.0.0/16", "reserved"),
        ("sandbox_pod_network", "10.0.0.0/25", "too small"),
        ("sandbox_service_network", "10.0.0.0/8", "too large"),
        ("sandbox_service_network", "10.0.0.0/30", "too small"),
        ("machines_network", "198.18.0.0/30", "too small"),
    ],
)
def test_networks_that_do_not_serve(name: str, network: str, found: str) -> None:
    (finding,) = check_kinds_of_networks(inventory(networks={name: network}))
    assert found in finding.found


PORTS = {
    "infra": [{"number": "6443", "what": "the load balancer (sandbox_api_server_port)"}],
    "control_plane": [{"number": 6443, "what": "the API server"}, {"number": 10250, "what": "the kubelet"}],
    "workers": [{"number": 10250, "what": "the kubelet"}],
}


def test_two_parts_of_one_host_want_the_same_port() -> None:
    groups = {"infra": ["one"], "control_plane": ["one", "two"], "workers": ["one"]}
    shared = inventory(groups=groups, addresses={"one": "", "two": ""})
    (finding,) = check_ports_of_hosts(shared, PORTS)
    assert finding.text() == (
        "host one: port 6443 is wanted by the load balancer (sandbox_api_server_port) and by the API server."
        " Set the variable in brackets to another port, or take it out of one of the groups infra, control_plane,"
        " workers."
    )
    ports = PORTS | {"infra": [{"number": 6444, "what": "the load balancer"}]}
    assert check_ports_of_hosts(shared, ports) == []


@pytest.mark.parametrize(("port", "count"), [(0, 1), (70000, 1), ("65535", 0), ("{{ later }}", 0)])
def test_ports_that_are_none(port: Any, count: int) -> None:
    assert len(check_port_numbers(inventory(settings=[Setting("sandbox_http_port", port, "cp-1")]))) == count


@pytest.mark.parametrize("path", ["state", "./state", "../state", "$HOME/state", "~other/state"])
@pytest.mark.parametrize(
    "name",
    [
        "sandbox_state_directory",
        "sandbox_library_directory",
        "sandbox_cache_directory",
        "sandbox_reports_directory",
        "sandbox_kubeconfig",
        "etcd_backup_directory",
        "etcd_directory",
        "cluster_local_path_directory",
        "cluster_kubeconfig_path",
        "pki_expiry_host_paths",
    ],
)
def test_paths_start_somewhere(name: str, path: str) -> None:
    value = [path] if name.endswith("paths") else path
    (finding,) = check_paths(inventory(settings=[Setting(name, value, "cp-1")]), ROLES)
    assert finding.found == f"{path!r} is no absolute path"
    assert check_paths(inventory(settings=[Setting(name, "/state", ""), Setting(name, "~/state", "")]), ROLES) == []


def test_every_variable_with_a_directory_is_a_path() -> None:
    specs = {name: spec for role in ROLES.values() for name, spec in role.specs.items()}
    wrong = [
        name
        for name, spec in specs.items()
        if name.endswith(("_directory", "_path", "_kubeconfig")) and spec["type"] != "path"
    ]
    assert wrong == []


@pytest.mark.parametrize(
    ("name", "path", "words"),
    [
        ("HOME", "", "is not set"),
        ("HOME", "home", "'home' is no absolute path"),
        ("HOME", '/home/a"b%c', "has '\"' '%' in it"),
        ("sandbox_state_directory", "/a$b", "has '$' in it"),
        ("sandbox_state_directory", "/a\\b\n", "in it"),
        ("sandbox_library_directory", "/srv/a:b,c", "has ',' ':' in it"),
        ("sandbox_cache_directory", "/srv/a:b", "has ':' in it"),
        ("HOME", "/home/" + "é" * 31, "is longer than 67 bytes"),
    ],
)
def test_directories_that_programs_could_not_name_are_told(name: str, path: str, words: str) -> None:
    (finding,) = check_directories({name: path})
    assert finding.where == name
    assert words in finding.found


@pytest.mark.parametrize("path", ["/home/o'h b", "/home/é, ü", "/tmp/a, [c] {d} #e;f&g", "/home/" + "a" * 61])
def test_directories_with_other_letters_serve(path: str) -> None:
    assert check_directories({"HOME": path, "sandbox_state_directory": f"{path}/state:"}) == []


def test_sockets_may_be_elsewhere() -> None:
    assert check_directories({"HOME": "/" + "a" * 80}, sockets_elsewhere=True) == []


@pytest.mark.parametrize(
    ("servers", "count"),
    [([], 0), (["192.0.2.53"], 0), (["127.0.0.1"], 1), (["dns.lan", "fd00::1", "192.0.2.1"], 2)],
)
def test_name_servers_that_pods_can_not_ask(servers: list[str], count: int) -> None:
    assert len(check_name_servers(inventory(settings=[Setting("cluster_name_servers", servers, "cp-1")]))) == count


@pytest.mark.parametrize(("address", "count"), [("192.0.2.7", 0), ("cp-1", 1), ("fd00::1", 1), ("127.0.0.1", 1)])
def test_addresses_of_nodes(address: str, count: int) -> None:
    assert len(check_node_addresses(inventory(settings=[Setting("cluster_node_address", address, "cp-1")]))) == count


@pytest.mark.parametrize(
    ("value", "found"),
    [
        ({"infra": 1, "workers": "2"}, ""),
        ({"worker": 1}, "has worker: 1"),
        ({"infra": "lots", "etcd": -1}, "has infra: lots, etcd: -1"),
    ],
)
def test_needs_of_groups(value: dict[str, Any], found: str) -> None:
    findings = check_requirements(inventory(settings=[Setting("preflight_memory_mb", value, "cp-1")]))
    assert "".join(finding.found for finding in findings) == found


def test_a_port_that_is_no_number_breaks_nothing() -> None:
    groups = {"infra": ["one"]}
    ports = {"infra": [{"number": "eighty", "what": "pages"}, {"number": "", "what": "others"}]}
    assert check_ports_of_hosts(inventory(groups=groups, addresses={"one": ""}), ports) == []


def test_all_is_told_at_once() -> None:
    wrong = inventory(
        addresses={"worker_1": "198.18.0.31"},
        networks={"sandbox_pod_network": "fd00::/64"},
        settings=[Setting("sandbox_http_port", 0, "x"), Setting("sandbox_state_directory", "state", "x")],
        sandbox="My_Sandbox",
    )
    roles = {"sandbox": Role(specs={"sandbox_state_directory": {"type": "path"}})}
    found = [finding.where for finding in [*check_naming(wrong), *check_placing(wrong, roles, PORTS)]]
    assert sorted(found) == [
        "host worker_1",
        "sandbox_http_port",
        "sandbox_name",
        "sandbox_pod_network",
        "sandbox_state_directory",
    ]


@pytest.mark.parametrize("name", ["cluster_name", "etcd_foo", "registry_url", "apps_are_ours", "machines_of_mine"])
def test_a_variable_that_only_looks_like_a_roles_is_a_warning(name: str) -> None:
    (finding,) = preflight.check_names(inventory(names=[name]), ROLES)
    assert finding.warning
    assert finding.found == "is no variable of any role"
    assert "Did you mean " in finding.remedy


@pytest.mark.parametrize(
    ("name", "meant"),
    [("cluster_read_timeout", "cluster_ready_timeout"), ("sandbox_pod_networks", "sandbox_pod_network")],
)
def test_a_variable_with_a_letter_wrong_is_refused(name: str, meant: str) -> None:
    (finding,) = preflight.check_names(inventory(names=[name]), ROLES)
    assert not finding.warning
    assert finding.remedy == f"Did you mean {meant}?"
