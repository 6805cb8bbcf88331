# Copyright: cicd.sandbox contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Findings before anything changes: the inventory's and a host's."""

from __future__ import annotations

import gzip
import socket
import time
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.cicd.sandbox.plugins.module_utils.host import names
from ansible_collections.cicd.sandbox.plugins.module_utils.preflight import findings as preflight
from ansible_collections.cicd.sandbox.plugins.module_utils.preflight.findings import (
    Finding,
    Inventory,
    Listener,
    Port,
    Role,
    Setting,
)

HOSTS = """\
all:
  children:
    machines:
      hosts:
        cp-1: {ansible_host: 198.18.0.21}  # cp-9: not here
"""
GROUPS = {"infra": ["infra-1"], "etcd": ["etcd-1"], "control_plane": ["cp-1"], "workers": ["worker-1"]}
NETWORKS = {
    "machines_network": "198.18.0.0/24",
    "sandbox_pod_network": "10.244.0.0/16",
    "sandbox_service_network": "10.96.0.0/16",
}
KNOWN = {
    "cluster": Role(
        settable={"cluster_dns_domain", "cluster_ready_timeout", "cluster_token"},
        fixed={"__cluster_stands", "cluster_fixed"},
        specs={
            "cluster_ready_timeout": {"type": "int", "description": "Seconds."},
            "cluster_token": {"type": "int", "no_log": True},
        },
    ),
    "sandbox": Role(settable={"sandbox_pod_network"}),
}


def inventory(**changes: Any) -> Inventory:
    values: dict[str, Any] = {
        "groups": GROUPS,
        "addresses": {"cp-1": "198.18.0.21"},
        "networks": NETWORKS,
        "values": {"sandbox_domain": "localhost"},
        "names": ["ansible_host", "cluster_dns_domain"],
        "files": {"hosts.yml": HOSTS, "group_vars/all.yml": "sandbox_pod_network: 10.244.0.0/16\n"},
    }
    return Inventory(**(values | changes))


def texts(findings: list[Finding]) -> list[str]:
    return [finding.text() for finding in findings]


def test_a_sound_inventory_has_no_findings() -> None:
    assert preflight.check_inventory(inventory(), KNOWN, "machines_network") == []


@pytest.mark.parametrize("group", ["infra", "etcd", "control_plane", "workers"])
def test_names_an_empty_and_a_missing_group(group: str) -> None:
    empty = preflight.check_groups(inventory(groups=GROUPS | {group: []}))
    missing = preflight.check_groups(inventory(groups={name: GROUPS[name] for name in GROUPS if name != group}))
    assert [(finding.where, finding.found) for finding in (*empty, *missing)] == [
        (f"group {group}", "is empty"),
        (f"group {group}", "is missing"),
    ]


@pytest.mark.parametrize(("members", "need", "lose"), [(2, 2, 0), (4, 3, 1)])
def test_warns_of_even_members_with_the_arithmetic(members: int, need: int, lose: int) -> None:
    groups = GROUPS | {"etcd": [f"etcd-{number}" for number in range(members)]}
    (finding,) = preflight.check_groups(inventory(groups=groups))
    assert finding.warning
    assert f"{members} members, of which {need} have to answer: it survives the loss of {lose}" in finding.found


@pytest.mark.parametrize(("asked", "found"), [(3, 0), (2, 1), (1, 0), (None, 1)])
def test_what_counts_is_the_members_that_are_asked_for(asked: int | None, found: int) -> None:
    groups = GROUPS | {"etcd": ["etcd-1", "etcd-2", "etcd-3", "etcd-4"]}
    findings = preflight.check_groups(inventory(groups=groups, etcd_members=asked))
    assert [finding.warning for finding in findings] == [True] * found


@pytest.mark.parametrize("asked", [0, 2])
def test_refuses_more_members_than_hosts_and_none(asked: int) -> None:
    files = {"group_vars/etcd.yml": f"etcd_members: {asked}\n"}
    (finding,) = preflight.check_groups(inventory(etcd_members=asked, files=files))
    assert not finding.warning
    assert finding.text() == (
        f"etcd_members: is {asked}, but the group etcd has 1 (group_vars/etcd.yml:1)."
        " Take a number from 1 to 1, or give the group more hosts."
    )


def test_refuses_a_host_that_is_control_plane_and_worker() -> None:
    (finding,) = preflight.check_groups(inventory(groups=GROUPS | {"workers": ["worker-1", "cp-1"]}))
    assert finding.text() == "host cp-1: is in control_plane and in workers (hosts.yml:5). Take it out of one."


def test_names_both_of_two_networks_that_overlap() -> None:
    findings = preflight.check_networks(inventory(networks=NETWORKS | {"sandbox_service_network": "10.244.128.0/17"}))
    assert texts(findings) == [
        (
            "sandbox_pod_network and sandbox_service_network: 10.244.0.0/16 and 10.244.128.0/17 overlap"
            " (group_vars/all.yml:1). Give machines, pods and services networks of their own."
        )
    ]


@pytest.mark.parametrize("text", ["10.244.0.0/33", "10.244.0.1/16", "pods", ""])
def test_says_what_is_no_network(text: str) -> None:
    (finding,) = preflight.check_networks(inventory(networks={"sandbox_pod_network": text}))
    assert finding.found == f"{text!r} is no network"
    assert finding.source == "group_vars/all.yml:1"


def test_networks_of_two_families_do_not_overlap() -> None:
    assert preflight.check_networks(inventory(networks={"four": "10.0.0.0/8", "six": "fd00::/8"})) == []


def test_finds_addresses_outside_the_bridge_and_those_of_two_hosts() -> None:
    addresses = {"cp-1": "198.18.1.21", "worker-1": "198.18.0.31", "worker-2": "198.18.0.31"}
    findings = preflight.check_addresses(inventory(addresses=addresses), "machines_network")
    assert [(finding.where, finding.found) for finding in findings] == [
        ("host cp-1", "its address 198.18.1.21 is outside machines_network 198.18.0.0/24"),
        ("host worker-2", "has the address 198.18.0.31 of worker-1"),
    ]


def test_hosts_of_ones_own_are_on_no_bridge() -> None:
    assert preflight.check_addresses(inventory(addresses={"cp-1": "203.0.114.1"}), "") == []
    assert preflight.check_addresses(inventory(addresses={"cp-1": "cp-1.example.org"}), "machines_network") == []


def test_names_are_looked_up(monkeypatch: pytest.MonkeyPatch) -> None:
    known = {"cp-1.lan": "203.0.114.1", "cp-2.lan": "203.0.114.1", "own.lan": "127.0.1.1"}

    def getaddrinfo(name: str, *_: Any) -> list[Any]:
        if name not in known:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (known[name], 0))]

    names.resolve.cache_clear()
    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    asked = {"cp-1": "cp-1.lan", "cp-2": "cp-2.lan", "cp-3": "cp-3.lan", "cp-4": "own.lan"}
    two, three, four = preflight.check_addresses(inventory(addresses=asked), "machines_network")
    assert two.text() == "host cp-2: has the address 203.0.114.1 of cp-1. Give it one of its own."
    assert three.text() == (
        "host cp-3: its name cp-3.lan has no IPv4 address here (Name or service not known). Set ansible_host to an "
        "address that the other hosts reach, or mend DNS or /etc/hosts of the controller."
    )
    assert four.found == "its name own.lan leads to 127.0.1.1 here, which is every host's own"
    names.resolve.cache_clear()


def test_silent_name_servers_are_waited_for_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not once for each name, and not for as long as a resolver waits."""

    def getaddrinfo(*_: Any) -> list[Any]:
        time.sleep(5)
        return []

    monkeypatch.setattr(names, "PATIENCE", 0.5)
    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    asked = {f"cp-{number}": f"cp-{number}.silent" for number in range(20)}
    begin = time.monotonic()
    findings = preflight.check_addresses(inventory(addresses=asked), "machines_network")
    with pytest.raises(names.NameNotFoundError, match=r"cp-0: its name cp-0\.silent was not resolved .* cp-19: "):
        names.resolve_all(asked)
    assert time.monotonic() - begin < 4
    assert len(findings) == 20
    assert "its name cp-3.silent was not resolved here within 0.5 s: no name server answers" in findings[3].text()


@pytest.mark.parametrize("address", ["192.0.2.21", "198.51.100.1", "203.0.113.255", "cp-1.example.org"])
def test_addresses_of_the_documentation_are_placeholders(address: str) -> None:
    (finding,) = preflight.check_placeholders(inventory(addresses={"cp-1": address}))
    assert finding.found == f"{address} is a placeholder"


@pytest.mark.parametrize(("value", "count"), [("example.com", 1), ("sandbox.example.net", 1), ("anexample.org", 0)])
def test_names_of_the_documentation_are_placeholders(value: str, count: int) -> None:
    assert len(preflight.check_placeholders(inventory(values={"sandbox_domain": value}))) == count


def test_suggests_the_variable_that_is_meant() -> None:
    names = ["cluster_dns_domian", "cluster_zzz", "clusters", "other_thing", "sandbox_pod_network"]
    findings = preflight.check_names(inventory(names=names, files={}), KNOWN)
    assert texts(findings) == [
        "cluster_dns_domian: is no variable of any role. Did you mean cluster_dns_domain?",
        (
            "cluster_zzz: is no variable of any role. Did you mean cluster_token? If it is yours, a name that does not"
            " begin with cluster_ is sure to stay so."
        ),
    ]
    assert [finding.warning for finding in findings] == [False, True]


def test_a_value_that_a_role_has_fixed_is_ignored_only_where_a_file_sets_it() -> None:
    names = ["cluster_fixed"]
    assert preflight.check_names(inventory(names=names), KNOWN) == []
    findings = preflight.check_names(inventory(names=names, files={"all.yml": "cluster_fixed: 1\n"}), KNOWN)
    assert texts(findings) == [
        "cluster_fixed: is fixed in roles/cluster/vars (all.yml:1). Take it out; --extra-vars is stronger than a role."
    ]


def test_suggests_who_owns_a_fact_that_a_role_has_only_taken_over() -> None:
    roles = {"registry": Role(fixed={"registry_port"}), "sandbox": Role(settable={"sandbox_registry_port"})}
    (finding,) = preflight.check_names(inventory(names=["registry_port"], files={"all.yml": "registry_port: 1"}), roles)
    assert finding.remedy.endswith(" Did you mean sandbox_registry_port?")


def test_values_are_those_of_the_argument_specs() -> None:
    settings = [
        Setting("cluster_ready_timeout", "300", "cp-1"),
        Setting("cluster_ready_timeout", "soon", "cp-2"),
        Setting("cluster_token", "secret", "cp-1"),
        Setting("cluster_dns_domain", 7, "cp-1"),
    ]
    wrong, hidden = texts(preflight.check_values(inventory(settings=settings), KNOWN))
    assert "cluster_ready_timeout" in wrong
    assert "'soon'" in wrong
    assert "(a variable of cp-2)" in wrong
    assert "secret" not in hidden


PKI = {
    "pki": Role(
        settable={"pki_renew_before_days", "pki_certificate_days", "pki_ca_days"},
        specs={
            "pki_renew_before_days": {"type": "int", "default": 30},
            "pki_certificate_days": {"type": "int", "default": 365},
            "pki_ca_days": {"type": "int", "default": 3650},
        },
    )
}


@pytest.mark.parametrize(
    ("days", "found"),
    [
        ({}, []),
        ({"renew_before": 364}, []),
        ({"renew_before": "364", "certificate": 800}, []),
        ({"renew_before": 365, "certificate": 800}, ["pki_renew_before_days: is 365"]),
        ({"renew_before": -1}, ["pki_renew_before_days: is -1"]),
        ({"certificate": 30}, ["pki_renew_before_days: is 30, and certificates are valid for 30 days"]),
        ({"ca": 300}, ["pki_certificate_days: is 365, and a CA is valid for 300"]),
        ({"renew_before": "soon", "ca": None}, []),
    ],
)
def test_days_of_certificates_have_to_fit(days: dict[str, Any], found: list[str]) -> None:
    names_of = {"renew_before": "pki_renew_before_days", "certificate": "pki_certificate_days", "ca": "pki_ca_days"}
    settings = [Setting(names_of[name], value, "cp-1") for name, value in days.items()]
    told = texts(preflight.check_renewal(inventory(settings=settings), PKI))
    assert len(told) == len(found)
    assert all(text.startswith(beginning) for text, beginning in zip(told, found, strict=True)), told


@pytest.mark.parametrize(("version", "count"), [("1.37.2", 0), ("1.36.9", 1), ("1.3", 1), ("", 1)])
def test_versions_of_kubernetes(version: str, count: int) -> None:
    assert len(preflight.check_version(version, ["1.37"])) == count


@pytest.mark.parametrize(
    ("name", "origin"),
    [("cp-1", "hosts.yml:5"), ("ansible_host", "hosts.yml:5"), ("cp", ""), ("cp-9", ""), ("machines", "hosts.yml:3")],
)
def test_finds_the_line_that_sets_a_name(name: str, origin: str) -> None:
    assert inventory().origin(name) == origin


def test_reads_swaps() -> None:
    text = "Filename\tType\tSize\tUsed\tPriority\n/dev/sda2  partition\t1048572\t0\t-2\n/swap file\t1\t0\t-3\n"
    assert preflight.swap_devices(text) == ["/dev/sda2", "/swap"]
    assert preflight.check_swap("cp-1", preflight.swap_devices(text.splitlines()[0])) == []
    assert "swapoff" in preflight.check_swap("cp-1", ["/dev/sda2"])[0].remedy


@pytest.mark.parametrize(("have", "count"), [(2048, 0), (1862, 0), (1800, 1)])
def test_a_tenth_of_the_memory_is_the_kernels(have: int, count: int) -> None:
    assert len(preflight.check_memory("cp-1", have, 2048)) == count


def test_compares_free_space() -> None:
    assert preflight.check_disk("cp-1", "/var/lib", 100, 100) == []
    (finding,) = preflight.check_disk("cp-1", "/var/lib", 99, 100)
    assert finding.found == "/var/lib has 99 MiB free, 100 are needed"


def test_free_space_of_a_directory_to_come_is_its_parents(tmp_path: Path) -> None:
    disk = preflight.disk_usage(tmp_path / "not" / "yet")
    assert disk.device == tmp_path.stat().st_dev
    assert disk.free_mb > 0
    assert 0 <= disk.free_percent <= 100


def test_a_file_system_without_a_size_has_nothing_free() -> None:
    assert preflight.disk_usage(Path("/proc/none")).free_percent == 0


def test_needs_on_one_file_system_are_added() -> None:
    needs = [("/var/lib/x", 1, 60), ("/var/cache/x", 1, 50), ("/srv", 2, 60)]
    assert preflight.check_disks("cp-1", needs, {1: 110, 2: 60}) == []
    (finding,) = preflight.check_disks("cp-1", needs, {1: 109, 2: 60})
    assert finding.found == "/var/lib/x and /var/cache/x have 109 MiB free, 110 are needed"
    (finding,) = preflight.check_disks("cp-1", needs, {1: 110, 2: 59})
    assert finding.found == "/srv has 59 MiB free, 60 are needed"


def test_compares_the_free_share() -> None:
    assert preflight.check_disk_share("cp-1", "/var/lib", 15, 15) == []
    (finding,) = preflight.check_disk_share("cp-1", "/var/lib", 14, 15)
    assert finding.found == "/var/lib has 14 % free, a kubelet takes no pods below 15 %"
    assert "evictionHard" in finding.remedy


POD_NETWORK = {"sandbox_pod_network": "10.244.0.0/16", "machines_network": "198.18.0.0/24"}


@pytest.mark.parametrize(
    ("route", "bridge", "found", "warning"),
    [
        ({"dst": "198.18.0.0/15", "dev": "tun0"}, "sb-dev", "198.18.0.0/24 (machines_network)", False),
        ({"dst": "10.244.1.0/24", "dev": "cni0"}, "", "its route to 10.244.1.0/24 on cni0", False),
        ({"dst": "10.0.0.0/8", "dev": "wg0", "table": "51820"}, "sb-dev", "10.0.0.0/8 on wg0", False),
        ({"dst": "10.0.0.0/8", "dev": "eth0"}, "", "10.0.0.0/8 on eth0", True),
        ({"dst": "10.0.0.0/8", "type": "unreachable"}, "sb-dev", "10.0.0.0/8 on unreachable", False),
        ({"dst": "10.244.0.9", "dev": "dummy0", "type": "local"}, "", "10.244.0.9/32 on dummy0", False),
        ({"dst": "198.18.0.0/24", "dev": "sb-two"}, "sb-dev", "198.18.0.0/24 on sb-two", False),
    ],
)
def test_a_route_of_the_hosts_leads_elsewhere(route: dict[str, str], bridge: str, found: str, warning: bool) -> None:
    (finding,) = preflight.check_routes("cp-1", POD_NETWORK, [route], bridge)
    assert found in finding.found
    assert finding.warning is warning


@pytest.mark.parametrize(
    "route",
    [
        {"dst": "default", "dev": "eth0"},
        # A VPN that takes everything.
        {"dst": "0.0.0.0/1", "dev": "tun0"},
        {"dst": "128.0.0.0/1", "dev": "tun0"},
        {"dst": "198.18.0.0/24", "dev": "sb-dev"},
        {"dst": "198.18.0.255", "dev": "tun0", "type": "broadcast"},
        {"dst": "fd00::/8", "dev": "eth0"},
        {"dst": "172.17.0.0/16", "dev": "docker0"},
        # The pod network's own.
        {"dst": "10.244.36.64/26", "dev": "vxlan.calico"},
        {"dst": "10.244.36.65", "dev": "cali012345678"},
        {"dst": "10.244.36.64/26", "type": "blackhole"},
        # Pods of another sandbox on this host.
        {"dst": "10.244.0.0/16", "dev": "sb-two"},
    ],
)
def test_routes_that_are_in_nobodys_way(route: dict[str, str]) -> None:
    assert preflight.check_routes("cp-1", POD_NETWORK, [route], "sb-dev") == []


def test_routes_of_one_interface_are_told_once() -> None:
    routes = [{"dst": "10.244.0.0/17", "dev": "tun0"}, {"dst": "10.244.128.0/17", "dev": "tun0"}]
    (finding,) = preflight.check_routes("cp-1", POD_NETWORK, routes, "sb-dev")
    assert "its route to 10.244.0.0/16 on tun0" in finding.found


def test_programs_of_another_size() -> None:
    assert preflight.check_architecture("cp-1", "x86_64", 64, "x86_64") == []
    (finding,) = preflight.check_architecture("cp-1", "x86_64", 32, "x86_64")
    assert finding.found == "is of architecture x86_64 and runs programs of 32 bits"


def test_inodes_of_one_file_system_are_added() -> None:
    needs = [("/var/lib/x", 1, 60), ("/var/cache/x", 1, 50), ("/srv", 2, 60)]
    assert preflight.check_inodes("cp-1", needs, {1: 110, 2: None}) == []
    (finding,) = preflight.check_inodes("cp-1", needs, {1: 109, 2: None})
    assert finding.found == "/var/lib/x and /var/cache/x have 109 inodes free, 110 are needed"


@pytest.mark.parametrize(
    ("time", "found"),
    [
        (100.0, ""),
        (104.9, ""),
        (115.1, ""),
        (130.0, "its clock is 20 s ahead"),
        (60.0, "its clock is 40 s behind"),
    ],
)
def test_a_clock_is_off_when_it_is_outside_of_the_look(time: float, found: str) -> None:
    findings = preflight.check_clock("cp-1", time, 100.0, 110.0, 6)
    assert "".join(finding.found for finding in findings) == found


PROC_NET_TCP = """\
  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 4711 1 0000000000000000
   1: 0100007F:1F91 0100007F:1234 01 00000000:00000000 00:00000000 00000000     0        0 4712 1 0000000000000000
"""


def test_finds_who_listens(tmp_path: Path) -> None:
    (tmp_path / "net").mkdir()
    (tmp_path / "net/tcp").write_text(PROC_NET_TCP)
    for pid, inode in ((7, 4711), (8, 4712), (9, 4713)):
        (tmp_path / f"{pid}/fd").mkdir(parents=True)
        (tmp_path / f"{pid}/fd/3").symlink_to(f"socket:[{inode}]")
        (tmp_path / f"{pid}/cmdline").write_text(f"/usr/bin/program\0--number={pid}\0")
    assert preflight.read_listeners(tmp_path, [8080, 8081]) == [Listener(8080, 7, "/usr/bin/program --number=7")]
    assert preflight.read_listeners(tmp_path, [80]) == []


SOCKET_UNITS = """\
Listen=/run/dbus/system_bus_socket (Stream)
Id=dbus.socket

Id=cicd-sandbox-dev-endpoint.socket
Listen=127.0.0.1:8080 (Stream)
Listen=[::1]:8080 (Stream)

Listen=[::]:22 (Stream)
Id=ssh.socket
"""


def test_ports_that_systemd_holds_are_those_of_units() -> None:
    """A socket unit's port is PID 1's, also while no service runs for it."""
    listeners = [Listener(8080, 1, "/sbin/init"), Listener(22, 1, "/sbin/init"), Listener(99, 1, "/sbin/init")]
    named = preflight.name_socket_units([*listeners, Listener(22, 7, "sshd")], SOCKET_UNITS)
    assert [listener.command for listener in named] == [
        "systemd for cicd-sandbox-dev-endpoint.socket",
        "systemd for ssh.socket",
        "/sbin/init",
        "sshd",
    ]


def test_what_is_ours_may_have_a_port() -> None:
    listeners = [Listener(80, 1, "/usr/sbin/haproxy -f x"), Listener(443, 2, "apache2"), Listener(22, 3, "sshd")]
    findings = preflight.check_ports(
        "infra-1", [Port(80, "pages", ("haproxy",)), Port(443, "more pages", ("haproxy",))], listeners
    )
    assert texts(findings) == [
        (
            "infra-1: port 443, for more pages, is in use by process 2: apache2 (/proc/net/tcp)."
            " Stop it, or choose another port."
        )
    ]


def test_reads_the_kernels_options(tmp_path: Path) -> None:
    assert preflight.read_kernel_options(tmp_path, tmp_path, "6.1") is None
    (tmp_path / "config-6.1").write_text("CONFIG_VETH=m\n# CONFIG_VXLAN is not set\nCONFIG_HZ=250\n")
    assert preflight.read_kernel_options(tmp_path, tmp_path, "6.1") == {"VETH"}
    (tmp_path / "config.gz").write_bytes(gzip.compress(b"CONFIG_VXLAN=y\n"))
    assert preflight.read_kernel_options(tmp_path, tmp_path, "6.1") == {"VXLAN"}


def test_a_kernel_that_tells_nothing_is_not_blamed() -> None:
    wanted = {"VETH": "pods", "VXLAN": "the pod network"}
    assert preflight.check_kernel("cp-1", None, wanted) == []
    (finding,) = preflight.check_kernel("cp-1", {"VETH"}, wanted)
    assert finding.text() == (
        "cp-1: its kernel lacks CONFIG_VXLAN (its configuration). Use a kernel with it: the pod network."
    )


def test_compares_settings(tmp_path: Path) -> None:
    (tmp_path / "sys/fs/inotify").mkdir(parents=True)
    (tmp_path / "sys/fs/inotify/max_user_instances").write_text("128\n")
    (tmp_path / "sys/fs/text").write_text("words\n")
    wanted = {"fs.inotify.max_user_instances": 1024, "fs.text": 1, "fs.missing": 1}
    values = preflight.read_settings(tmp_path, wanted)
    assert values == {"fs.inotify.max_user_instances": 128, "fs.text": None, "fs.missing": None}
    (finding,) = preflight.check_settings("cp-1", values, wanted)
    assert finding.remedy.endswith("sysctl -w fs.inotify.max_user_instances=1024")


def test_gathers_all_hosts() -> None:
    swap = preflight.check_swap("cp-1", ["/dev/sda2"])[0].fields()
    findings = preflight.gather(
        {
            "cp-1": {"findings": [swap], "time": 200.0},
            "worker-1": {"unreachable": True, "msg": "ssh: connect to host\n 198.18.0.31: No route to host"},
            "localhost": {"failed": True, "msg": "sudo: a password is required"},
            "worker-2": {"failed": True, "module_stderr": ""},
        },
        100.0,
        110.0,
        5,
    )
    assert [finding["text"] for finding in findings] == [
        "cp-1: swap is on: /dev/sda2 (/proc/swaps). Turn it off: swapoff --all, and take it out of /etc/fstab.",
        (
            "cp-1: its clock is 90 s ahead (preflight_clock_skew_seconds is 5)."
            " Synchronize clocks (systemd-timesyncd, chrony): certificates and etcd depend on them."
        ),
        (
            "worker-1: can't be reached: ssh: connect to host 198.18.0.31: No route to host."
            " Check its address, its SSH server and your key."
        ),
        "localhost: can't be looked at: sudo: a password is required. Be root there, or have sudo without a password.",
        "worker-2: can't be looked at: no reason was given. Be root there, or have sudo without a password.",
    ]
