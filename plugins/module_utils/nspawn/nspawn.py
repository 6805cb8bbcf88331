# Copyright: cicd.sandbox contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""systemd-nspawn machines on a private bridge, with or without systemd as the host's PID 1.

A machine is a directory below the sandbox's library directory::

    <library>/<machine>/upper, work   its own layer over the shared root file system
    <library>/<machine>/root          the mounted overlay the machine boots from
    <library>/<machine>/data/…        directories on the host's file system (an overlay can't carry an overlay)
    <library>/<machine>/run           the script that becomes systemd-nspawn
    <library>/<machine>/pid           process id of systemd-nspawn
    <library>/<machine>/console.log   what the machine printed while it booted
"""

from __future__ import annotations

import hashlib
import ipaddress
import json
import os
import re
import shlex
import shutil
import signal
import socket
import subprocess
import time
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

# Interface names end at 15 characters; "sb-" and "vb-" are in front.
SANDBOX_NAME = re.compile(r"[a-z][a-z0-9-]{0,11}\Z")
MACHINE_NAME = re.compile(r"[a-z]([a-z0-9-]{0,61}[a-z0-9])?\Z")
CGROUPS = Path("/sys/fs/cgroup")
# Between machines starting and an open SSH port lie 2 to 4 s on two idle cores.
POLL = 0.1
# Processes that remove files at once; they wait for the disk.
REMOVERS = 16


class NspawnError(Exception):
    """A host command failed or a machine did not come up; the message says what and why."""


def run(line: Sequence[str], *, stdin: str | None = None) -> str:
    """Run a host command and return its standard output.

    Raises:
        NspawnError: the command is missing or ended with another code than 0.
    """
    try:
        done = subprocess.run(line, check=False, capture_output=True, text=True, input=stdin)
    except FileNotFoundError as error:
        raise NspawnError(f"{line[0]} is not installed on this machine") from error
    if done.returncode != 0:
        raise NspawnError(f"{shlex.join(line)} ended with {done.returncode}: {(done.stderr or done.stdout).strip()}")
    return done.stdout


def has_systemd() -> bool:
    """Tell whether systemd is this host's PID 1 (the test of sd_booted(3))."""
    return Path("/run/systemd/system").is_dir()


def unified_cgroups() -> bool:
    """Tell whether the host has cgroup v2 only."""
    return (CGROUPS / "cgroup.controllers").exists()


def mounts() -> set[str]:
    """Return this process's mount points."""
    points = set()
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        points.add(line.split(" ")[4].replace("\\040", " "))
    return points


def write(path: Path, content: str, mode: int = 0o644) -> bool:
    """Write ``content`` atomically and tell whether anything changed."""
    with suppress(OSError):
        if path.read_text() == content and path.stat().st_mode & 0o7777 == mode:
            return False
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.partial")
    descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode)
    with os.fdopen(descriptor, "w") as stream:
        os.fchmod(stream.fileno(), mode)
        stream.write(content)
    partial.replace(path)
    return True


# --- network ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Network:
    """The private bridge of one sandbox and what may leave it.

    ``guarded`` are the networks (machines, pods, services) whose addresses must never be seen on an
    uplink; ``nat`` the machines' addresses that may reach outside, translated.
    """

    sandbox: str
    cidr: ipaddress.IPv4Network
    guarded: tuple[ipaddress.IPv4Network, ...]
    nat: tuple[ipaddress.IPv4Address, ...] = ()

    @property
    def bridge(self) -> str:
        return f"sb-{self.sandbox}"

    @property
    def table(self) -> str:
        return table_of(self.sandbox)

    @property
    def gateway(self) -> ipaddress.IPv4Address:
        return self.cidr.network_address + 1

    def ruleset(self) -> str:
        """Return the nftables table; its comment carries a digest of the rules, to compare them by."""
        guarded = ", ".join(str(network) for network in ipaddress.collapse_addresses(self.guarded))
        nat = ", ".join(str(address) for address in sorted(self.nat))
        rules = [f"  set guarded {{ type ipv4_addr; flags interval; elements = {{ {guarded} }} }}"]
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
            f'    iifname "{self.bridge}" oifname != "{self.bridge}" {allowed}'
            "counter reject with icmpx type admin-prohibited\n"
            f'    oifname "{self.bridge}" iifname != "{self.bridge}" ct state new drop\n  }}'
        )
        # After source NAT: what still has a sandbox address here would leave with it.
        rules.append(
            "  chain guard { type filter hook postrouting priority srcnat + 50; policy accept;\n"
            '    oifname "sb-*" accept\n    oifname "lo" accept\n'
            "    ip saddr @guarded counter drop\n    ip daddr @guarded counter drop\n  }"
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
        raise NspawnError(
            f"sandbox_name: {sandbox!r} must be at most 12 of a-z, 0-9 and -, and start with a letter"
            " (it becomes part of interface names)"
        )
    network = _network("machines_network", cidr)
    if network.num_addresses < 8:
        raise NspawnError(f"machines_network: {cidr} has no room for machines; take a /24, say")
    others = tuple(_network("guarded_networks", item) for item in guarded)
    for index, one in enumerate((network, *others)):
        for other in (network, *others)[index + 1 :]:
            if one.overlaps(other):
                raise NspawnError(f"the networks of machines, pods and services overlap: {one} and {other}")
    return Network(sandbox, network, (network, *others), tuple(_address("nat_addresses", item) for item in nat))


def _network(argument: str, value: str) -> ipaddress.IPv4Network:
    try:
        return ipaddress.IPv4Network(value)
    except ValueError as error:
        raise NspawnError(f"{argument}: {value!r} is not an IPv4 network: {error}") from error


def _address(argument: str, value: str) -> ipaddress.IPv4Address:
    try:
        return ipaddress.IPv4Address(value)
    except ValueError as error:
        raise NspawnError(f"{argument}: {value!r} is not an IPv4 address: {error}") from error


def route_conflicts(network: Network, routes: Iterable[Mapping[str, Any]]) -> list[str]:
    """Return a sentence for each of the host's routes (``ip -json route``) that overlaps a sandbox network."""
    conflicts = []
    for route in routes:
        destination, device = str(route.get("dst", "")), str(route.get("dev", ""))
        if destination == "default" or device == network.bridge:
            continue
        try:
            other = ipaddress.IPv4Network(destination, strict=False)
        except ValueError:
            continue
        mine = {network.cidr, *(() if device.startswith("sb-") else network.guarded)}
        conflicts += [
            f"{one} overlaps this machine's route to {other} on {device}" for one in mine if one.overlaps(other)
        ]
    return sorted(conflicts)


def table_of(sandbox: str) -> str:
    """Return the name of a sandbox's nftables table."""
    return "cicd_sandbox_" + sandbox.replace("-", "_")


def _links(*arguments: str) -> list[dict[str, Any]]:
    """Return ``ip -json`` output as a list; [] where the device does not exist."""
    try:
        answer: list[dict[str, Any]] = json.loads(run(["ip", "-json", *arguments]) or "[]")
    except NspawnError as error:
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
    found = json.loads(run(["nft", "--json", "list", "tables"]))["nftables"]
    return [
        item["table"]["name"] for item in found if item.get("table", {}).get("name", "").startswith("cicd_sandbox_")
    ]


def network_plan(network: Network) -> list[str]:
    """Return what ``network_present`` would do, in words.

    Raises:
        NspawnError: a sandbox network overlaps one that this machine already routes elsewhere.
    """
    conflicts = route_conflicts(network, _links("-4", "route", "show"))
    if conflicts:
        raise NspawnError(
            "; ".join(conflicts) + ". Give this sandbox other networks: machines_network, sandbox_pod_network,"
            " sandbox_service_network in the inventory"
        )
    actions = []
    links = _links("address", "show", "dev", network.bridge)
    addresses = {f"{info['local']}/{info['prefixlen']}" for link in links for info in link.get("addr_info", [])}
    if not links:
        actions.append(f"make bridge {network.bridge}")
    if f"{network.gateway}/{network.cidr.prefixlen}" not in addresses:
        actions.append(f"give {network.bridge} the address {network.gateway}/{network.cidr.prefixlen}")
    if links and "UP" not in links[0].get("flags", []):
        actions.append(f"bring {network.bridge} up")
    if not _rules_match(network):
        actions.append(f"write nftables table {network.table}")
    if network.nat and _forwarding() != "1":
        actions.append("allow forwarding (net.ipv4.ip_forward)")
    return actions


def _rules_match(network: Network) -> bool:
    digest = network.ruleset().split('"')[1]
    with suppress(NspawnError):
        return f'comment "{digest}"' in run(["nft", "list", "table", "inet", network.table])
    return False


# What systemd-resolved asks; /etc/resolv.conf then names itself, on the host's loopback.
UPLINK_RESOLVER = Path("/run/systemd/resolve/resolv.conf")
RESOLVER = re.compile(r"--resolv-conf=\S+")
FORWARDING = Path("/proc/sys/net/ipv4/ip_forward")


def _forwarding() -> str:
    return FORWARDING.read_text().strip()


def network_present(network: Network, library: Path) -> list[str]:
    """Make the bridge and its rules; return what was done."""
    actions = network_plan(network)
    for action in actions:
        if action.startswith("make bridge"):
            run(["ip", "link", "add", network.bridge, "type", "bridge"])
            run(["ip", "link", "set", network.bridge, "up"])
        elif action.startswith("give"):
            address = f"{network.gateway}/{network.cidr.prefixlen}"
            run(["ip", "address", "replace", address, "dev", network.bridge])
        elif action.startswith("bring"):
            run(["ip", "link", "set", network.bridge, "up"])
        elif action.startswith("write"):
            table = f"inet {network.table}"
            run(["nft", "-f", "-"], stdin=f"table {table}\ndelete table {table}\n{network.ruleset()}")
        elif action.startswith("allow forwarding"):
            write(library / "ip_forward", _forwarding())
            FORWARDING.write_text("1")
    return actions


def network_absent(network: Network, library: Path, *, dry_run: bool) -> list[str]:
    """Take the bridge, the rules and a changed forwarding switch back; return what was done."""
    actions = []
    if _links("link", "show", "dev", network.bridge):
        actions.append(f"remove bridge {network.bridge}")
        if not dry_run:
            run(["ip", "link", "delete", network.bridge])
    if network.table in tables():
        actions.append(f"remove nftables table {network.table}")
        if not dry_run:
            run(["nft", "delete", "table", "inet", network.table])
    saved = library / "ip_forward"
    if saved.exists():
        before = saved.read_text()
        others = [name for name in tables() if name != network.table]
        if not others and _forwarding() != before:
            actions.append(f"set net.ipv4.ip_forward back to {before}")
            if not dry_run:
                FORWARDING.write_text(before)
        if not dry_run:
            _hand_on(saved, others)
            saved.unlink()
    return actions


def _hand_on(saved: Path, others: Sequence[str]) -> None:
    """Leave a saved setting to another sandbox: the last one that goes sets it back."""
    libraries = [path for path in sorted(saved.parent.parent.iterdir()) if table_of(path.name) in others]
    if libraries and not (libraries[0] / saved.name).exists():
        write(libraries[0] / saved.name, saved.read_text())


# --- machines --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Machine:
    """One machine: its name, address on the bridge, and limits (0 memory: the host's)."""

    name: str
    address: ipaddress.IPv4Address
    data_directories: tuple[str, ...] = ()
    memory_mb: int = 0


@dataclass(frozen=True)
class Site:
    """What all machines of a sandbox share."""

    network: Network
    library: Path
    root: Path
    authorized_key: str
    machines: tuple[Machine, ...]
    hosts: Mapping[str, str] = field(default_factory=dict)


def site_from(params: Mapping[str, Any]) -> Site:
    """Check the arguments of the nspawn_machines module (its suboptions are filled in) and return the site.

    Raises:
        NspawnError: an argument is wrong; the message names it.
    """
    network = network_from(params["sandbox"], params["network"])
    machines = []
    taken: dict[ipaddress.IPv4Address, str] = {network.gateway: "this host's end of the bridge"}
    for index, item in enumerate(params["machines"]):
        where = f"machines[{index}]"
        if not MACHINE_NAME.match(item["name"]):
            raise NspawnError(f"{where}.name: {item['name']!r} is no host name (a-z, 0-9 and -)")
        address = _address(f"{where}.address ({item['name']})", item["address"])
        if address not in network.cidr:
            raise NspawnError(f"{where}.address: {address} of {item['name']} is outside {network.cidr}")
        if address in taken:
            raise NspawnError(f"{where}.address: {address} of {item['name']} belongs to {taken[address]} already")
        taken[address] = item["name"]
        if item["memory_mb"] < 0:
            raise NspawnError(f"{where}.memory_mb: {item['memory_mb']} of {item['name']} is below 0")
        relative = [directory for directory in item["data_directories"] if not directory.startswith("/")]
        if relative:
            raise NspawnError(f"{where}.data_directories: {relative[0]!r} of {item['name']} is not absolute")
        machines.append(Machine(item["name"], address, tuple(item["data_directories"]), item["memory_mb"]))
    return Site(
        network=network,
        library=Path(params["library"]),
        root=Path(params["root"] or "/nonexistent"),
        authorized_key=params["authorized_key"] or "",
        machines=tuple(machines),
        hosts=params["hosts"],
    )


NETWORK_UNIT_PATH = "etc/systemd/system/sandbox-network.service"
NETWORK_UNIT = """\
[Unit]
Description=Fixed address on the sandbox's bridge
DefaultDependencies=no
After=local-fs.target
Before=network.target network-pre.target ssh.service

[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=/usr/sbin/ip link set lo up
ExecStart=/usr/sbin/ip address replace {address}/{prefix} dev host0
ExecStart=/usr/sbin/ip link set host0 up
ExecStart=/usr/sbin/ip route replace default via {gateway}

[Install]
WantedBy=multi-user.target
"""

SSHD_CONFIG = """\
PasswordAuthentication no
KbdInteractiveAuthentication no
PermitRootLogin prohibit-password
HostKey /etc/ssh/ssh_host_ed25519_key
UseDNS no
"""

# cgroup v1: nspawn mounts the controllers read-only; container runtimes write to them.
CGROUP_UNIT = """\
[Unit]
Description=Writable cgroup controllers for container runtimes
DefaultDependencies=no
After=local-fs.target
Before=containerd.service kubelet.service

[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=/bin/sh -c 'for c in /sys/fs/cgroup/*/; do mount -o remount,bind,rw "$c" || exit 1; done'

[Install]
WantedBy=multi-user.target
"""

# cgroup v2: every controller there is, for the machine's own systemd and its containers. Where one can't be handed on,
# the console has the kernel's words.
UNIFIED_CGROUP = """\
limit={limit}
group={root}
for part in $(echo {group} | tr / ' '); do
  for controller in $(cat "$group/cgroup.controllers"); do
    echo "+$controller" > "$group/cgroup.subtree_control" || :
  done
  group="$group/$part"
  mkdir -p "$group"
done
if [ -n "$limit" ]; then echo "$limit" > "$group/memory.max"; fi
echo $$ > "$group/cgroup.procs"
"""

# cgroup v1: a group in every hierarchy; cpuset wants its parent's values before it takes a process.
LEGACY_CGROUPS = """\
limit={limit}
for controller in {root}/*; do
  [ -e "$controller/cgroup.procs" ] && [ ! -L "$controller" ] || continue
  group="$controller"
  for part in $(echo {group} | tr / ' '); do
    above="$group"
    group="$group/$part"
    mkdir -p "$group"
    if [ -e "$group/cpuset.cpus" ]; then
      cat "$above/cpuset.cpus" > "$group/cpuset.cpus"
      cat "$above/cpuset.mems" > "$group/cpuset.mems"
    fi
  done
  echo $$ > "$group/cgroup.procs"
done
if [ -n "$limit" ]; then echo "$limit" > "{root}/memory/{group}/memory.limit_in_bytes"; fi
"""

HOST_UNIT = """\
[Unit]
Description=cicd.sandbox machine {machine} of {sandbox}

[Service]
ExecStart={run}
Delegate=yes
KillMode=mixed
TasksMax=infinity
DevicePolicy=auto
Slice=machine.slice
MemoryMax={memory}
"""


class MachineDirectory:
    """One machine on the host: its files, its mount, its process."""

    def __init__(self, site: Site, machine: Machine) -> None:
        self.site = site
        self.machine = machine
        self.path = site.library / machine.name
        self.root = self.path / "root"
        self.console = self.path / "console.log"
        self.pid_file = self.path / "pid"
        self.unit = f"cicd-sandbox-{site.network.sandbox}-{machine.name}.service"
        self.unit_file = Path("/run/systemd/system") / self.unit
        self.start_script = self.path / "run"
        self.cgroup = f"cicd-sandbox/{site.network.sandbox}/{machine.name}"
        # systemd-nspawn shortens a name of more than 15 characters by a hash and keeps it as an alternative name.
        self.link = f"vb-{site.network.sandbox}-{machine.name}"

    # what is there

    def pid(self) -> int | None:
        """Return systemd-nspawn's process id, or None when this machine does not run."""
        if has_systemd():
            pid = int(run(["systemctl", "show", "--property=MainPID", "--value", self.unit]).strip() or 0)
            return pid or None
        try:
            pid = int(self.pid_file.read_text())
            arguments = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
        except (OSError, ValueError):
            return None
        # A process id is used again sooner or later: make sure that it is still ours.
        return pid if f"--directory={self.root}".encode() in arguments else None

    def processes(self) -> set[int]:
        """Return every process of the machine, also what outlived a systemd-nspawn that was killed.

        With systemd on the host it is empty: a unit's processes end with its main process.
        """
        groups = [hierarchy / self.cgroup for hierarchy in hierarchies()]
        found = {int(pid) for group in groups for file in group.rglob("cgroup.procs") for pid in _lines(file)}
        return found - {0}  # 0 stands for a process of another PID namespace

    def built_on(self) -> str | None:
        """Return the root file system the machine's layer was started on."""
        with suppress(OSError):
            return (self.path / "lower").read_text()
        return None

    def exists(self) -> bool:
        return self.built_on() is not None

    # its files

    def command(self) -> list[str]:
        """Return systemd-nspawn's command line."""
        line = ["systemd-nspawn", "--quiet", "--boot", "--register=no", "--keep-unit", "--link-journal=no"]
        line += [f"--machine={self.site.network.sandbox}-{self.machine.name}", f"--hostname={self.machine.name}"]
        line += [f"--directory={self.root}", f"--network-bridge={self.site.network.bridge}"]
        # At each start the name servers that the host has then: the root file system may be old.
        resolver = "uplink" if UPLINK_RESOLVER.exists() else "host"
        line += ["--capability=all", "--bind=/dev/kmsg", f"--resolv-conf=replace-{resolver}", "--timezone=off"]
        # With cgroup v2 a container's devices are a BPF program, which systemd-nspawn's filter would refuse to load.
        line += ["--console=pipe", "--system-call-filter=bpf"]
        line += [f"--bind={self.data(directory)}:{directory}" for directory in self.machine.data_directories]
        return line

    def data(self, directory: str) -> Path:
        return self.path / "data" / directory.strip("/").replace("/", "-")

    def script(self) -> str:
        """Return the start script. Without systemd, it first moves itself into cgroups of the machine's own."""
        lines = ["#!/bin/sh", "set -eu", "export SYSTEMD_NSPAWN_API_VFS_WRITABLE=yes"]
        if not has_systemd():
            limit = self.machine.memory_mb * 1024 * 1024 or ""
            own_groups = UNIFIED_CGROUP if unified_cgroups() else LEGACY_CGROUPS
            lines.append(own_groups.format(root=CGROUPS, group=self.cgroup, limit=limit))
        lines.append("exec " + shlex.join(self.command()))
        return "\n".join(lines) + "\n"

    def host_unit(self) -> str:
        """Return the machine's unit on a host with systemd."""
        memory = f"{self.machine.memory_mb}M" if self.machine.memory_mb else "infinity"
        return HOST_UNIT.format(
            machine=self.machine.name, sandbox=self.site.network.sandbox, run=self.start_script, memory=memory
        )

    def settings_changed(self) -> bool:
        """Tell whether the machine was started with other settings than those that are wanted now."""
        wanted = [(self.start_script, self.script())]
        if has_systemd():
            wanted.append((self.unit_file, self.host_unit()))
        with suppress(OSError):
            # Name servers come anew with each start; they are no reason for one.
            return any(RESOLVER.sub("", path.read_text()) != RESOLVER.sub("", text) for path, text in wanted)
        return True

    def facts(self) -> dict[str, Any]:
        """Return the machine's local facts (ansible_local.machine)."""
        return {
            "provider": "nspawn",
            "sandbox": self.site.network.sandbox,
            "cgroup": 2 if unified_cgroups() else 1,
            "kubelet_cgroup_root": "/",
            "oom_score_adj_restricted": not _may_lower_oom_score(),
        }

    def files(self) -> dict[str, tuple[str, int]]:
        """Return the files of the machine that the host decides: path → (content, mode)."""
        network = self.site.network
        hosts = {"localhost": "127.0.0.1", **self.site.hosts}
        files = {
            "etc/hostname": (f"{self.machine.name}\n", 0o644),
            "etc/hosts": ("".join(f"{address}\t{name}\n" for name, address in hosts.items()), 0o644),
            "root/.ssh/authorized_keys": (self.site.authorized_key.strip() + "\n", 0o600),
            "etc/ssh/sshd_config.d/50-sandbox.conf": (
                SSHD_CONFIG,
                0o644,
            ),
            "etc/ansible/facts.d/machine.fact": (json.dumps(self.facts(), sort_keys=True) + "\n", 0o644),
            NETWORK_UNIT_PATH: (
                NETWORK_UNIT.format(
                    address=self.machine.address, prefix=network.cidr.prefixlen, gateway=network.gateway
                ),
                0o644,
            ),
        }
        if not unified_cgroups():
            files["etc/systemd/system/sandbox-cgroup.service"] = (CGROUP_UNIT, 0o644)
        return files

    def stale_files(self) -> list[str]:
        """Return the paths whose content differs from what the host wants; all when it is not mounted."""
        stale = []
        for path, (content, mode) in self.files().items():
            target = self.root / path
            try:
                same = target.read_text() == content and target.stat().st_mode & 0o7777 == mode
            except OSError:
                same = False
            if not same:
                stale.append(path)
        return stale

    def write_files(self) -> None:
        """Write the machine's files through its mounted root."""
        for path, (content, mode) in self.files().items():
            write(self.root / path, content, mode)
            if path.endswith(".service"):
                wants = self.root / "etc/systemd/system/multi-user.target.wants" / Path(path).name
                wants.parent.mkdir(parents=True, exist_ok=True)
                if not wants.is_symlink():
                    wants.symlink_to(f"../{Path(path).name}")
        (self.root / "root/.ssh").chmod(0o700)
        identity = self.root / "etc/machine-id"
        if not identity.exists() or len(identity.read_text().strip()) != 32:
            write(identity, uuid.uuid4().hex + "\n", 0o444)
        key = self.root / "etc/ssh/ssh_host_ed25519_key"
        if not key.exists():
            run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", self.machine.name, "-f", str(key)])

    def host_key(self) -> str:
        """Return the machine's public SSH host key, without the comment; "" when it has none."""
        for base in (self.root, self.path / "upper"):
            with suppress(OSError):
                return " ".join((base / "etc/ssh/ssh_host_ed25519_key.pub").read_text().split()[:2])
        return ""

    # its life

    def plan(self, links: Mapping[str, str]) -> list[str]:
        """Return what must be done for the machine to run as described; ``links`` as of bridges_of_links."""
        if not self.exists():
            return ["create", "start"]
        if self.pid() is None:
            return ["end what is left of it", "start"] if self.processes() else ["start"]
        stale = self.stale_files()
        if NETWORK_UNIT_PATH in stale:
            return ["stop: its address changed", "start"]
        if self.settings_changed():
            return ["stop: its settings changed", "start"]
        if self.link not in links:
            return ["stop: its link to the bridge is gone", "start"]
        attach = [] if links[self.link] == self.site.network.bridge else ["attach to the bridge"]
        return attach + (["update"] if stale else [])

    def start(self) -> None:
        """Mount the machine's root, write its files and start it; does not wait for it."""
        # The kernel takes a dead machine's link away some time after its last process.
        self._set_link("delete")
        for name in ("upper", "work", "root"):
            (self.path / name).mkdir(parents=True, exist_ok=True)
        self.path.chmod(0o700)
        for directory in self.machine.data_directories:
            self.data(directory).mkdir(parents=True, exist_ok=True)
        if not self.exists():
            write(self.path / "lower", str(self.site.root))
        lower = self.built_on()
        if str(self.root) not in mounts():
            options = f"lowerdir={lower},upperdir={self.path / 'upper'},workdir={self.path / 'work'}"
            run(["mount", "-t", "overlay", "overlay", "-o", options, str(self.root)])
        for directory in self.machine.data_directories:
            _adopt_directory(self.root / directory.strip("/"), self.data(directory))
        self.write_files()
        write(self.start_script, self.script(), 0o755)
        self.console.unlink(missing_ok=True)
        if has_systemd():
            if write(self.unit_file, self.host_unit()):
                run(["systemctl", "daemon-reload"])
            run(["systemctl", "start", self.unit])
            return
        line = ["start-stop-daemon", "--start", "--background", "--make-pidfile", f"--pidfile={self.pid_file}"]
        run([*line, f"--output={self.console}", f"--exec={self.start_script}"])

    def link_up(self) -> bool:
        """Bring the host's end of the machine's veth pair up; False while it does not exist."""
        return self._set_link("set", "up")

    def attach(self) -> None:
        """Put the host's end of the machine's veth pair on the bridge, which was made anew."""
        run(["ip", "link", "set", "dev", self.link, "master", self.site.network.bridge, "up"])

    def _set_link(self, verb: str, *arguments: str) -> bool:
        with suppress(NspawnError):
            run(["ip", "link", verb, "dev", self.link, *arguments])
            return True
        return False

    def answers(self) -> bool:
        """Tell whether the machine's SSH server greets."""
        with suppress(OSError), socket.create_connection((str(self.machine.address), 22), timeout=1) as connection:
            connection.settimeout(2)
            return connection.recv(4) == b"SSH-"
        return False

    def why_not_up(self) -> str:
        """Return the last lines of the machine's console, for an error message."""
        if has_systemd():
            journal = run(["journalctl", "--unit", self.unit, "--lines=20", "--no-pager", "--output=cat"])
            return journal.strip()
        with suppress(OSError):
            return "\n".join(self.console.read_text(errors="replace").splitlines()[-20:])
        return "its console is empty"

    def signal(self, number: int) -> None:
        """Send a signal to systemd-nspawn."""
        pid = self.pid()
        if pid is not None:
            with suppress(ProcessLookupError):
                os.kill(pid, number)

    def runs(self) -> bool:
        """Tell whether anything of the machine runs."""
        return self.pid() is not None or bool(self.processes())

    def removal(self) -> str:
        """Return the shell commands that end and remove this one machine."""
        pid = self.pid()
        if has_systemd():
            lines = [f"systemctl stop {self.unit}", f"rm -f {self.unit_file}"]
        else:
            lines = [f"kill {pid}", f"tail --pid={pid} -f /dev/null"] if pid else []
        lines += [f"umount {self.root}"] if str(self.root) in mounts() else []
        return "; ".join([*lines, f"rm -r --one-file-system {self.path}"])

    def kill(self) -> None:
        """End the machine at once: its PID 1 takes every process of its namespace with it.

        systemd-nspawn itself is left to see that, and to tidy up.
        """
        pid = self.pid()
        children = _lines(Path(f"/proc/{pid}/task/{pid}/children")) if pid else []
        for process in {*map(int, children), *self.processes()} - {pid}:
            with suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)

    def clean_up(self) -> None:
        """Remove what a machine that no longer runs leaves on the host: link, mount, unit, cgroups."""
        # The kernel may keep the network of a node that was killed, and with it the link, for good.
        self._set_link("delete")
        if str(self.root) in mounts():
            try:
                run(["umount", str(self.root)])
            except NspawnError:
                run(["umount", "--lazy", str(self.root)])
        self.pid_file.unlink(missing_ok=True)
        if has_systemd():
            if self.unit_file.exists():
                self.unit_file.unlink()
                run(["systemctl", "daemon-reload"])
            with suppress(NspawnError):
                run(["systemctl", "reset-failed", self.unit])
        remove_cgroups(self.cgroup)


def hierarchies() -> list[Path]:
    """Return where the host's cgroup hierarchies are mounted: one of v2, or one for each controller of v1."""
    if unified_cgroups():
        return [CGROUPS]
    return [path for path in CGROUPS.iterdir() if not path.is_symlink()]


def _lines(path: Path) -> list[str]:
    """Return the words of a kernel's file; none where it is gone."""
    try:
        return path.read_text().split()
    except OSError:
        return []


def remove_cgroups(group: str) -> None:
    """Remove a cgroup and all below it in every hierarchy, where they are empty."""
    for hierarchy in hierarchies():
        top = hierarchy / group
        if not top.is_dir():
            continue
        for directory, _names, _files in os.walk(top, topdown=False):
            with suppress(OSError):
                Path(directory).rmdir()
        for parent in list(top.parents)[: len(Path(group).parts) - 1]:
            with suppress(OSError):
                parent.rmdir()


def _adopt_directory(inside: Path, data: Path) -> None:
    """Give a data directory the owner and mode of the directory it takes the place of."""
    inside.mkdir(parents=True, exist_ok=True)
    wanted, have = inside.stat(), data.stat()
    if (wanted.st_uid, wanted.st_gid) != (have.st_uid, have.st_gid):
        os.chown(data, wanted.st_uid, wanted.st_gid)
        data.chmod(wanted.st_mode & 0o7777)


def _may_lower_oom_score() -> bool:
    """Tell whether this host lets root lower a process's OOM score (CAP_SYS_RESOURCE, bit 24)."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("CapBnd:"):
            return bool(int(line.split()[1], 16) >> 24 & 1)
    return True


def _wait(pending: list[MachineDirectory], done: Callable[[MachineDirectory], bool], seconds: float) -> None:
    """Take from ``pending`` every machine for which ``done`` becomes true, until ``seconds`` are over.

    All are asked side by side: one that does not answer holds up none of the others.
    """
    deadline = time.monotonic() + seconds
    with ThreadPoolExecutor(max(1, len(pending))) as pool:
        while pending and time.monotonic() < deadline:
            ready = list(pool.map(done, pending))
            pending[:] = [machine for machine, is_ready in zip(pending, ready, strict=True) if not is_ready]
            if pending:
                time.sleep(POLL)


def plans(site: Site) -> dict[str, list[str]]:
    """Return machine → what must be done for it to run as described."""
    links = bridges_of_links()
    return {machine.name: MachineDirectory(site, machine).plan(links) for machine in site.machines}


def present(site: Site, *, timeout: float) -> dict[str, list[str]]:
    """Make every machine run; return machine → what was done.

    Raises:
        NspawnError: the root file system below a machine's layer is gone, or a machine did not open its SSH port in
            ``timeout`` seconds; with its last console lines.
    """
    directories = [MachineDirectory(site, machine) for machine in site.machines]
    done = plans(site)
    starting = [item for item in directories if "start" in done[item.machine.name]]
    _refuse_without_root(starting)
    shut_down([item for item in starting if item.pid()], timeout)
    end(item for item in directories if item.pid() is None)
    for item in starting:
        item.start()
    for item in directories:
        if "attach to the bridge" in done[item.machine.name]:
            item.attach()
        if "update" in done[item.machine.name]:
            item.write_files()
    _wait(list(starting), lambda item: item.link_up() or item.pid() is None, timeout)
    silent = list(directories)
    _wait(silent, MachineDirectory.answers, timeout)
    if silent:
        reports = [f"{item.machine.name} ({item.console}):\n{item.why_not_up()}" for item in silent]
        standing = [str(item.pid()) for item in silent if item not in starting]
        advice = f"\nShut down those that ran before, `sudo kill {' '.join(standing)}`; the next run starts them."
        raise NspawnError(
            f"machines did not open their SSH port in {timeout:.0f} s:\n"
            + "\n".join(reports)
            + (advice if standing else "")
        )
    return done


def _refuse_without_root(starting: Iterable[MachineDirectory]) -> None:
    lost = {item.machine.name: root for item in starting if (root := item.built_on()) and not Path(root).is_dir()}
    if lost:
        raise NspawnError(
            f"{', '.join(lost)} can't start: the root file system below their layers, {', '.join(set(lost.values()))},"
            " was removed, and layers are of no use without it. Remove the machines and make them anew"
            " (make down, make up)"
        )


def unlisted(site: Site) -> list[MachineDirectory]:
    """Return the sandbox's machines that the inventory no longer names."""
    names = {machine.name for machine in site.machines}
    found = sorted(site.library.glob("*/lower"))
    return [
        MachineDirectory(site, Machine(path.parent.name, site.network.gateway))
        for path in found
        if path.parent.name not in names
    ]


def stopped(site: Site, *, timeout: float, dry_run: bool) -> dict[str, list[str]]:
    """Shut every machine down in good order; those that need longer than ``timeout`` seconds are ended."""
    running = [item for item in (MachineDirectory(site, machine) for machine in site.machines) if item.runs()]
    done: dict[str, list[str]] = {machine.name: [] for machine in site.machines}
    done |= {item.machine.name: ["stop"] for item in running}
    if not dry_run:
        shut_down(running, timeout)
    return done


def shut_down(running: Sequence[MachineDirectory], timeout: float) -> None:
    """Shut machines down in good order; those that need longer than ``timeout`` seconds are ended."""
    for item in running:
        item.signal(signal.SIGTERM)
    _wait([item for item in running if item.pid()], lambda item: not item.runs(), timeout)
    end(running)
    for item in running:
        item.clean_up()


def end(running: Iterable[MachineDirectory]) -> None:
    """End machines at once and wait until the kernel has taken them down.

    Raises:
        NspawnError: a machine still runs after 30 s.
    """
    pending = [item for item in running if item.runs()]
    for item in pending:
        item.kill()
    _wait(pending, lambda item: not item.runs(), 30)
    if pending:
        left = [f"{item.machine.name} (processes {', '.join(map(str, sorted(item.processes())))})" for item in pending]
        raise NspawnError(f"machines still run 30 s after they were killed: {'; '.join(left)}")


def remove_trees(paths: Sequence[Path]) -> None:
    """Remove directories, never anything that is mounted below them.

    Side by side: where the file system tells the disk of every block that is free again (mount option ``discard``),
    one rm spends nine tenths of its time waiting.
    """
    line = ["rm", "--recursive", "--force", "--one-file-system", "--"]
    # As deep as the layers of images, <machine>/data/var-lib-containerd/<snapshotter>/snapshots/<number>.
    parts = [str(part) for path in paths for part in _directories(path, 5)]
    batches = [batch for batch in (parts[index::REMOVERS] for index in range(REMOVERS)) if batch]
    with ThreadPoolExecutor(REMOVERS) as pool:
        for _ in pool.map(lambda batch: run([*line, *batch]), batches):
            pass
    if paths:
        run([*line, *map(str, paths)])


def _directories(path: Path, depth: int) -> Iterator[Path]:
    """Give the directories so many levels below ``path``, on its file system."""
    if depth == 0:
        yield path
        return
    with os.scandir(path) as entries:
        inner = [Path(entry.path) for entry in entries if entry.is_dir(follow_symlinks=False)]
    for directory in inner:
        if not directory.is_mount():
            yield from _directories(directory, depth - 1)


def absent(site: Site, *, dry_run: bool) -> dict[str, list[str]]:
    """End and remove every machine, also those that the inventory no longer names."""
    items = [*(MachineDirectory(site, machine) for machine in site.machines), *unlisted(site)]
    there = [item for item in items if item.path.exists()]
    if not dry_run:
        end(there)
        for item in there:
            item.clean_up()
        remove_trees([item.path for item in there])
        remove_cgroups(f"cicd-sandbox/{site.network.sandbox}")
    return {item.machine.name: ["remove"] if item in there else [] for item in items}
