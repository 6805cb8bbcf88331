"""Machines as seen from outside and from within."""

from __future__ import annotations

import json
import os
import socket
import subprocess
from contextlib import suppress
from pathlib import Path

import pytest

STATE = Path.home() / ".local/state/cicd-sandbox/t-machines"
LIBRARY = Path("/var/lib/cicd-sandbox/t-machines")
ADDRESSES = {"infra-1": "198.18.2.2", "worker-1": "198.18.2.31", "worker-2": "198.18.2.32"}
testinfra_hosts = ["ansible://machines"]


def as_root(*line: str) -> str:
    """What a command on this host prints; it is run as root."""
    sudo = [] if os.geteuid() == 0 else ["sudo", "--non-interactive"]
    return subprocess.run([*sudo, *line], check=True, capture_output=True, text=True).stdout


def test_systemd_came_up_without_a_failed_unit(host):
    assert host.run("systemctl is-system-running --wait").stdout.strip() == "running"


def test_each_machine_has_its_own_identity(host):
    name = host.check_output("hostname")
    assert name in ADDRESSES
    assert ADDRESSES[name] in host.check_output("ip -brief address show host0")
    assert len(host.check_output("cat /etc/machine-id")) == 32


def test_no_two_machines_share_an_identity():
    keys = [line.split()[1:] for line in (STATE / "ssh/known_hosts").read_text().splitlines()]
    assert len(keys) == len({key for _type, key in keys}) == len(ADDRESSES)
    identities = {as_root("cat", f"{LIBRARY}/{name}/root/etc/machine-id") for name in ADDRESSES}
    assert len(identities) == len(ADDRESSES)


def test_machines_know_each_other_by_name(host):
    for name, address in ADDRESSES.items():
        assert host.check_output(f"getent hosts {name}").split()[0] == address
        assert host.run(f"ping -c 1 -W 2 {name}").rc == 0


def test_machines_ask_the_hosts_name_servers(host):
    uplink = Path("/run/systemd/resolve/resolv.conf")
    wanted = (uplink if uplink.exists() else Path("/etc/resolv.conf")).read_text()
    assert host.file("/etc/resolv.conf").content_string == wanted


def test_services_of_other_roles_do_not_start_by_themselves(host):
    for unit in ("haproxy", "nginx", "docker-registry"):
        assert not host.service(unit).is_running


def test_nothing_but_the_key_lets_in():
    line = [
        "ssh",
        "-o",
        "BatchMode=yes",
        "-o",
        f"UserKnownHostsFile={STATE}/ssh/known_hosts",
        "-o",
        "IdentityFile=none",
    ]
    line += ["-o", "IdentitiesOnly=yes", "root@198.18.2.31", "true"]
    refused = subprocess.run(line, check=False, capture_output=True, text=True)
    assert refused.returncode == 255
    assert "Permission denied (publickey)" in refused.stderr


def test_only_a_machine_that_may_gets_through_this_host(host):
    # Counted where packets leave the bridge for elsewhere: no host outside has to answer for this, and what the kernel
    # tells the sender of it is limited to one message a second.
    route = json.loads(as_root("ip", "-json", "route", "show", "default"))
    outside = route[0].get("gateway", "192.0.2.1")
    before = counted("forward")
    ping = host.run(f"ping -c 1 -W 1 {outside}")
    if host.check_output("hostname") == "infra-1":
        assert counted("forward") == before
    else:
        assert counted("forward") > before
        assert ping.rc != 0
    rules = as_root("nft", "list", "table", "inet", "cicd_sandbox_t_machines")
    assert "198.18.2.2 " in rules
    assert "198.18.2.3" not in rules


def test_no_address_of_the_sandbox_leaves_the_uplink():
    before = counted("own")
    # From this host's address on the bridge, by the way to everything else.
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as packet, suppress(PermissionError):
        packet.bind(("198.18.2.1", 0))
        packet.sendto(b"", ("192.0.2.254", 9))
    assert counted("own") > before


def test_no_machine_asks_the_uplink_for_a_pod(host):
    before = counted("forward")
    assert host.run("ping -c 1 -W 1 10.244.255.254").rc != 0
    assert counted("forward") > before


def counted(chain: str) -> int:
    """Packets that a chain's rules refused or dropped."""
    table = json.loads(as_root("nft", "--json", "list", "chain", "inet", "cicd_sandbox_t_machines", chain))
    rules = [item["rule"]["expr"] for item in table["nftables"] if "rule" in item]
    return sum(part["counter"]["packets"] for rule in rules for part in rule if "counter" in part)


@pytest.mark.parametrize("path", ["ssh/id_ed25519", "ssh/known_hosts"])
def test_secrets_are_the_users_alone(path):
    assert (STATE / path).stat().st_mode & 0o077 == 0


def test_a_machines_memory_is_limited():
    group = "cicd-sandbox/t-machines/worker-1"
    unit = "cicd-sandbox-t-machines-worker-1.service"
    # cgroup v1; v2; v2 where systemd is PID 1 of this host.
    files = [f"memory/{group}/memory.limit_in_bytes", f"{group}/memory.max", f"machine.slice/{unit}/memory.max"]
    limits = [path.read_text() for file in files if (path := Path("/sys/fs/cgroup") / file).exists()]
    if not limits:  # systemd in a view of a computer whose kernel gives it no controllers
        limits = [as_root("systemctl", "show", "--property=MemoryMax", "--value", unit)]
    assert [int(limit) for limit in limits] == [512 * 1024 * 1024]


def test_a_machine_may_load_the_programs_that_confine_containers(host):
    """With cgroup v2 a container's devices are a BPF program; without it, no container starts."""
    # bpf(2) by its number on x86-64, with a command that no kernel has: refused by a filter, or found to be invalid.
    call = "import ctypes, errno; libc = ctypes.CDLL(None, use_errno=True); libc.syscall(321, 9999, None, 0);"
    assert host.check_output(f"python3 -c '{call} print(errno.errorcode[ctypes.get_errno()])'") == "EINVAL"


def test_data_lies_outside_the_overlay(host):
    assert host.mount_point("/srv").exists
    assert host.mount_point("/srv").filesystem != "overlay"
