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


# --- root in a machine, and the host ---------------------------------------------------------------------------------


def capabilities(status: str) -> int:
    """The capabilities that a process can ever have, a bit each, as of capabilities(7)."""
    return int(next(line.split()[1] for line in status.splitlines() if line.startswith("CapBnd:")), 16)


@pytest.mark.parametrize(
    ("number", "name"),
    [
        (16, "CAP_SYS_MODULE"),
        (17, "CAP_SYS_RAWIO"),
        (22, "CAP_SYS_BOOT"),
        (25, "CAP_SYS_TIME"),
        (32, "CAP_MAC_OVERRIDE"),
        (33, "CAP_MAC_ADMIN"),
        (34, "CAP_SYSLOG"),
        (35, "CAP_WAKE_ALARM"),
    ],
)
def test_nothing_in_a_machine_has_a_capability_that_kubernetes_does_without(host, number, name):
    for process in ("1", "self"):
        assert not capabilities(host.check_output(f"cat /proc/{process}/status")) >> number & 1, name


@pytest.mark.parametrize("number", [12, 13, 18, 19, 21, 27, 39])
def test_a_machine_has_the_capabilities_that_kubernetes_needs(host, number):
    """Network, raw packets, chroot, ptrace, administration, nodes of devices, BPF."""
    assert capabilities(host.check_output("cat /proc/1/status")) >> number & 1


@pytest.mark.parametrize(
    "name",
    [
        "fs.file-max",
        "fs.inotify.max_user_instances",
        "fs.inotify.max_user_watches",
        "kernel.core_pattern",
        "kernel.pid_max",
        "kernel.threads-max",
        "vm.max_map_count",
        "vm.swappiness",
    ],
)
def test_a_setting_of_the_hosts_kernel_is_not_written_from_a_machine(host, name):
    path = Path("/proc/sys") / name.replace(".", "/")
    before = path.read_text()
    # What it is already: where this goes through after all, nothing of this computer has changed.
    refused = host.run(f"sh -c 'cat {path} > /tmp/setting && cat /tmp/setting > {path}'")
    assert refused.rc != 0
    assert "Read-only file system" in refused.stderr
    assert path.read_text() == before


# As kubelets set them.
@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("kernel.keys.root_maxbytes", "25000000"),
        ("kernel.keys.root_maxkeys", "1000000"),
        ("kernel.panic", "10"),
        ("kernel.panic_on_oops", "1"),
        ("vm.overcommit_memory", "1"),
        ("vm.panic_on_oom", "0"),
    ],
)
def test_a_kubelet_finds_its_settings_and_the_host_keeps_its_own(host, name, value):
    path = Path("/proc/sys") / name.replace(".", "/")
    before = path.read_text()
    assert host.check_output(f"cat {path}").strip() == value
    other = "2" if value != "2" else "1"
    host.check_output(f"sh -c 'echo {other} > {path}; echo {value} > {path}'")
    assert path.read_text() == before


def test_a_machine_sets_what_belongs_to_its_own_network(host):
    path = Path("/proc/sys/net/ipv4/ip_local_port_range")
    before = path.read_text()
    own = host.check_output(f"cat {path}")
    host.check_output(f"sh -c 'echo 40000 50000 > {path}'")
    assert path.read_text() == before
    host.check_output(f"sh -c 'echo {own} > {path}'")


@pytest.mark.parametrize("path", ["/sys/kernel/mm/transparent_hugepage/enabled", "/sys/class/net/lo/mtu"])
def test_what_the_kernel_has_in_sys_is_not_written_from_a_machine(host, path):
    refused = host.run(f"sh -c 'cat {path} > /tmp/setting && cat /tmp/setting > {path}'")
    assert refused.rc != 0
    assert "Read-only file system" in refused.stderr


@pytest.mark.parametrize("path", ["/proc/sysrq-trigger", "/proc/kcore", "/proc/keys", "/proc/timer_list"])
def test_what_tells_or_does_things_to_the_host_is_out_of_reach(host, path):
    """Not every kernel has all of them."""
    assert host.check_output(f"sh -c '[ ! -e {path} ] || head --bytes=1 {path}'") == ""
    assert host.check_output(f"sh -c '[ ! -e {path} ] || stat --format=%t:%T {path}'") in {"", "1:3"}


def test_a_machine_neither_reads_nor_writes_the_kernels_log(host):
    assert host.run("dmesg --syslog").rc != 0
    assert host.run("dmesg").stdout == host.check_output("cat /dev/kmsg") == ""
    host.check_output("sh -c 'echo from-a-machine > /dev/kmsg'")
    assert "from-a-machine" not in as_root("dmesg")


def test_a_machine_can_not_set_the_hosts_clock(host):
    # The time that it is.
    refused = host.run("sh -c 'date --set=\"$(date --iso-8601=ns)\"'")
    assert refused.rc != 0
    assert "Operation not permitted" in refused.stderr


# mem, port, kmsg; loop-control, fuse; a loop, a disk
@pytest.mark.parametrize(
    "device", ["c 1 1", "c 1 4", "c 1 11", "c 10 237", "c 10 229", "b 7 0", "b 8 0", "b 254 0", "b 259 0"]
)
def test_a_machine_does_not_reach_the_hosts_devices(host, device):
    if not devices_are_guarded():
        pytest.skip(
            "this computer's kernel keeps nobody from devices: no controller of cgroup v1, no systemd with cgroup v2"
        )
    opened = host.run(f"sh -c 'mknod /dev/its-own {device} && head --bytes=1 /dev/its-own'")
    host.check_output("rm -f /dev/its-own")
    assert opened.rc != 0
    assert "Operation not permitted" in opened.stderr


@pytest.mark.parametrize("path", ["/dev/null", "/dev/zero", "/dev/urandom", "/dev/tty", "/dev/ptmx", "/dev/net/tun"])
def test_a_machine_has_the_devices_that_containers_have(host, path):
    assert "Operation not permitted" not in host.run(f"head --bytes=0 {path}").stderr


def test_a_machine_can_not_lift_its_limits(host):
    """What it sees as the top of its control groups is below the one that has them."""
    if host.check_output("hostname") != "worker-1":
        return
    for path in host.check_output(
        "sh -c 'ls -d /sys/fs/cgroup/memory.max /sys/fs/cgroup/memory/*limit_in_bytes || :'"
    ).split():
        host.run(f"sh -c 'echo -1 > {path}'")
    test_a_machines_memory_is_limited()


def devices_are_guarded() -> bool:
    """Tell whether something keeps a machine from devices: systemd with cgroup v2, the start script with cgroup v1."""
    unified = Path("/sys/fs/cgroup/cgroup.controllers").exists()
    legacy = Path("/sys/fs/cgroup/devices").is_dir()
    return unified if Path("/run/systemd/system").is_dir() else legacy


def test_the_host_keeps_its_own_nodes_of_devices():
    """A machine's udev once gave them other modes."""
    assert Path("/dev/kmsg").stat().st_mode & 0o777 in {0o600, 0o644, 0o660}
    assert Path("/dev/null").stat().st_mode & 0o777 == 0o666
