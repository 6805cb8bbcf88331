# Copyright: cicd.sandbox contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""One machine on the host: its files, its mount, its process.

It is a directory below the sandbox's library directory::

    <library>/<machine>/upper, work   its own layer over the shared root file system
    <library>/<machine>/root          the mounted overlay the machine boots from
    <library>/<machine>/data/…        directories on the host's file system (an overlay can't carry an overlay)
    <library>/<machine>/run           the script that becomes systemd-nspawn
    <library>/<machine>/pid           process id of systemd-nspawn
    <library>/<machine>/console.log   what the machine printed while it booted
"""

from __future__ import annotations

import enum
import json
import os
import re
import shlex
import signal
import socket
import uuid
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from ansible_collections.cicd.sandbox.plugins.module_utils.host import files, proc
from ansible_collections.cicd.sandbox.plugins.module_utils.nspawn import cgroups, system, units
from ansible_collections.cicd.sandbox.plugins.module_utils.nspawn.site import Machine, Site

# What systemd-resolved asks; /etc/resolv.conf then names itself, on the host's loopback.
UPLINK_RESOLVER = Path("/run/systemd/resolve/resolv.conf")
RESOLVER = re.compile(r"--resolv-conf=\S+")

# Besides those that systemd-nspawn leaves a machine, see capabilities(7): locked memory, and what containers may ask
# for and CAP_SYS_ADMIN, which Kubernetes can't do without, allows anyway. Nothing of a machine loads modules, sets the
# clock, reaches hardware past the kernel or reads the kernel's log.
CAPABILITIES = ("CAP_BPF", "CAP_IPC_LOCK", "CAP_PERFMON")
NO_CAPABILITIES = ("CAP_SYS_BOOT",)


class Action(enum.Enum):
    """A step of a machine's life; the value is what a user reads."""

    CREATE = "create"
    START = "start"
    STOP = "stop"
    STOP_FOR_ADDRESS = "stop: its address changed"
    STOP_FOR_SETTINGS = "stop: its settings changed"
    STOP_FOR_LINK = "stop: its link to the bridge is gone"
    END_REMNANTS = "end what is left of it"
    ATTACH = "attach to the bridge"
    UPDATE = "update"
    REMOVE = "remove"


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
        if system.has_systemd():
            pid = int(system.run(["systemctl", "show", "--property=MainPID", "--value", self.unit]).strip() or 0)
            return pid or None
        try:
            pid = int(self.pid_file.read_text())
        except (OSError, ValueError):
            return None
        # A process id is used again sooner or later: make sure that it is still ours.
        return pid if f"--directory={self.root}".encode() in proc.arguments(pid) else None

    def processes(self) -> set[int]:
        """Return every process of the machine, also what outlived a systemd-nspawn that was killed.

        With systemd on the host it is empty: a unit's processes end with its main process.
        """
        return cgroups.processes(self.cgroup)

    def built_on(self) -> str | None:
        """Return the root file system the machine's layer was started on."""
        with suppress(OSError):
            return (self.path / "lower").read_text()
        return None

    def exists(self) -> bool:
        """Tell whether the machine was ever started."""
        return self.built_on() is not None

    # its files

    def command(self) -> list[str]:
        """Return systemd-nspawn's command line."""
        line = ["systemd-nspawn", "--quiet", "--boot", "--register=no", "--keep-unit", "--link-journal=no"]
        line += [f"--machine={self.site.network.sandbox}-{self.machine.name}", f"--hostname={self.machine.name}"]
        line += [f"--directory={self.root}", f"--network-bridge={self.site.network.bridge}"]
        # At each start the name servers that the host has then: the root file system may be old.
        resolver = "uplink" if UPLINK_RESOLVER.exists() else "host"
        line += [f"--capability={','.join(CAPABILITIES)}", f"--drop-capability={','.join(NO_CAPABILITIES)}"]
        line += [f"--resolv-conf=replace-{resolver}", "--timezone=off"]
        # With cgroup v2 a container's devices are a BPF program, which systemd-nspawn's filter would refuse to load.
        line += ["--console=pipe", "--system-call-filter=bpf"]
        line += [f"--bind={self.data(directory)}:{directory}" for directory in self.machine.data_directories]
        return line

    def data(self, directory: str) -> Path:
        """Return where one of the machine's data directories lies on the host."""
        return self.path / "data" / directory.strip("/").replace("/", "-")

    def script(self) -> str:
        """Return the start script. Without systemd, it first moves itself into cgroups of the machine's own."""
        # /proc/sys and /sys are the host's: a machine may write what belongs to its own network.
        lines = ["#!/bin/sh", "set -eu", "export SYSTEMD_NSPAWN_API_VFS_WRITABLE=network"]
        if not system.has_systemd():
            lines.append(cgroups.enter(self.cgroup, self.machine.memory_mb))
        lines.append("exec " + shlex.join(self.command()))
        return "\n".join(lines) + "\n"

    def host_unit(self) -> str:
        """Return the machine's unit on a host with systemd."""
        memory = f"{self.machine.memory_mb}M" if self.machine.memory_mb else "infinity"
        run = str(self.start_script)
        # A name with blanks or quotes systemd takes as an argument only.
        run = run if shlex.quote(run) == run else f'/bin/sh "{run}"'
        return units.HOST_UNIT.format(
            machine=self.machine.name,
            sandbox=self.site.network.sandbox,
            run=run,
            memory=memory,
            devices=units.DEVICES if cgroups.unified() else units.LEGACY_DEVICES,
        )

    def settings_changed(self) -> bool:
        """Tell whether the machine was started with other settings than those that are wanted now."""
        wanted = [(self.start_script, self.script())]
        if system.has_systemd():
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
            "cgroup": 2 if cgroups.unified() else 1,
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
            "etc/ssh/sshd_config.d/50-sandbox.conf": (units.SSHD_CONFIG, 0o644),
            "etc/ansible/facts.d/machine.fact": (json.dumps(self.facts(), sort_keys=True) + "\n", 0o644),
            units.NETWORK_UNIT_PATH: (
                units.NETWORK_UNIT.format(
                    address=self.machine.address, prefix=network.cidr.prefixlen, gateway=network.gateway
                ),
                0o644,
            ),
            units.KERNEL_UNIT_PATH: (units.KERNEL_UNIT, 0o644),
        }
        files |= {
            f"{units.KERNEL_VIEW_PATH}/{name}": (f"{value}\n", 0o644) for name, value in units.KERNEL_VIEW.items()
        }
        if not cgroups.unified():
            files["etc/systemd/system/sandbox-cgroup.service"] = (units.CGROUP_UNIT, 0o644)
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
            files.write_changed(self.root / path, content, mode)
            if path.endswith(".service"):
                wants = self.root / "etc/systemd/system/multi-user.target.wants" / Path(path).name
                wants.parent.mkdir(parents=True, exist_ok=True)
                if not wants.is_symlink():
                    wants.symlink_to(f"../{Path(path).name}")
        (self.root / "root/.ssh").chmod(0o700)
        identity = self.root / "etc/machine-id"
        if not identity.exists() or len(identity.read_text().strip()) != 32:
            files.write_changed(identity, uuid.uuid4().hex + "\n", 0o444)
        key = self.root / "etc/ssh/ssh_host_ed25519_key"
        if not key.exists():
            system.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", self.machine.name, "-f", str(key)])

    def host_key(self) -> str:
        """Return the machine's public SSH host key, without the comment; "" when it has none."""
        for base in (self.root, self.path / "upper"):
            with suppress(OSError):
                return " ".join((base / "etc/ssh/ssh_host_ed25519_key.pub").read_text().split()[:2])
        return ""

    # its life

    def plan(self, links: Mapping[str, str]) -> list[Action]:
        """Return what must be done for the machine to run as described; ``links`` as of bridges_of_links."""
        if not self.exists():
            return [Action.CREATE, Action.START]
        if self.pid() is None:
            return [Action.END_REMNANTS, Action.START] if self.processes() else [Action.START]
        stale = self.stale_files()
        if units.NETWORK_UNIT_PATH in stale:
            return [Action.STOP_FOR_ADDRESS, Action.START]
        if self.settings_changed():
            return [Action.STOP_FOR_SETTINGS, Action.START]
        if self.link not in links:
            return [Action.STOP_FOR_LINK, Action.START]
        attach = [] if links[self.link] == self.site.network.bridge else [Action.ATTACH]
        return attach + ([Action.UPDATE] if stale else [])

    def start(self) -> None:
        """Mount the machine's root, write its files and start it; does not wait for it."""
        # The kernel takes a dead machine's link away some time after its last process.
        self._set_link("delete")
        for name in ("upper", "work", "root"):
            (self.path / name).mkdir(parents=True, exist_ok=True)
        self.path.chmod(0o700)
        # It is the machine's `/`.
        (self.path / "upper").chmod(0o755)
        for directory in self.machine.data_directories:
            self.data(directory).mkdir(parents=True, exist_ok=True)
        if not self.exists():
            files.write_changed(self.path / "lower", str(self.site.root))
        lower = self.built_on()
        if str(self.root) not in system.mounts():
            options = f"lowerdir={lower},upperdir={self.path / 'upper'},workdir={self.path / 'work'}"
            system.run(["mount", "-t", "overlay", "overlay", "-o", options, str(self.root)])
        for directory in self.machine.data_directories:
            _adopt_directory(self.root / directory.strip("/"), self.data(directory))
        self.write_files()
        files.write_changed(self.start_script, self.script(), 0o755)
        self.console.unlink(missing_ok=True)
        if system.has_systemd():
            if files.write_changed(self.unit_file, self.host_unit()):
                system.run(["systemctl", "daemon-reload"])
            system.run(["systemctl", "start", self.unit])
            return
        line = ["start-stop-daemon", "--start", "--background", "--make-pidfile", f"--pidfile={self.pid_file}"]
        system.run([*line, f"--output={self.console}", f"--exec={self.start_script}"])

    def link_up(self) -> bool:
        """Bring the host's end of the machine's veth pair up; False while it does not exist."""
        return self._set_link("set", "up")

    def attach(self) -> None:
        """Put the host's end of the machine's veth pair on the bridge, which was made anew."""
        system.run(["ip", "link", "set", "dev", self.link, "master", self.site.network.bridge, "up"])

    def _set_link(self, verb: str, *arguments: str) -> bool:
        with suppress(system.NspawnError):
            system.run(["ip", "link", verb, "dev", self.link, *arguments])
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
        if system.has_systemd():
            journal = system.run(["journalctl", "--unit", self.unit, "--lines=20", "--no-pager", "--output=cat"])
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
        if system.has_systemd():
            lines = [f"systemctl stop {self.unit}", f"rm -f {self.unit_file}"]
        else:
            lines = [f"kill {pid}", f"tail --pid={pid} -f /dev/null"] if pid else []
        lines += [shlex.join(["umount", str(self.root)])] if str(self.root) in system.mounts() else []
        return "; ".join([*lines, shlex.join(["rm", "-r", "--one-file-system", str(self.path)])])

    def kill(self) -> None:
        """End the machine at once: its PID 1 takes every process of its namespace with it.

        systemd-nspawn itself is left to see that, and to tidy up.
        """
        pid = self.pid()
        children = system.words(Path(f"/proc/{pid}/task/{pid}/children")) if pid else []
        for process in {*map(int, children), *self.processes()} - {pid}:
            with suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)

    def clean_up(self) -> None:
        """Remove what a machine that no longer runs leaves on the host: link, mount, unit, cgroups."""
        # The kernel may keep the network of a node that was killed, and with it the link, for good.
        self._set_link("delete")
        if str(self.root) in system.mounts():
            try:
                system.run(["umount", str(self.root)])
            except system.NspawnError:
                system.run(["umount", "--lazy", str(self.root)])
        self.pid_file.unlink(missing_ok=True)
        if system.has_systemd():
            if self.unit_file.exists():
                self.unit_file.unlink()
                system.run(["systemctl", "daemon-reload"])
            with suppress(system.NspawnError):
                system.run(["systemctl", "reset-failed", self.unit])
        cgroups.remove(self.cgroup)


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
