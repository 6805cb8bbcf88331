# Copyright: cicd.sandbox contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""One run at a time for a sandbox, and no tags that nothing carries.

The lock is a listening socket in Linux's abstract namespace: it is seen by all users of the machine, has no file, and
ends with the process that holds it, however that ends. Who connects learns the holder's process id from the kernel.
"""

from __future__ import annotations

import os
import pwd
import socket
import struct
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

# Tags with a meaning of their own to Ansible.
SPECIAL_TAGS = frozenset({"all", "always", "never", "tagged", "untagged"})
# Molecule skips these whether or not anything carries them.
MOLECULE_TAGS = frozenset({"molecule-idempotence-notest", "molecule-notest", "notest"})
# struct ucred: pid, uid, gid.
_UCRED = struct.Struct("3i")


@dataclass(frozen=True)
class Holder:
    """The process that holds a lock; ``since`` in seconds since the epoch, 0 when it is gone by now."""

    pid: int
    user: str
    command: str
    since: float

    def text(self, sandbox: str) -> str:
        """Return what a refused run says."""
        since = f" since {time.strftime('%H:%M:%S', time.localtime(self.since))}" if self.since else ""
        return (
            f"Another run works on the sandbox {sandbox}{since}: process {self.pid} of {self.user}, {self.command!r}."
            " Wait for its end, or end it: the next run goes on from what it did. Nothing was changed by this one."
        )


def _address(sandbox: str) -> str:
    return f"\0cicd.sandbox/{sandbox}"


def hold(sandbox: str) -> socket.socket | Holder:
    """Take the lock of a sandbox: the open socket is the lock. Returns who holds it where somebody does."""
    lock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        lock.bind(_address(sandbox))
    except OSError:
        lock.close()
        return _holder(sandbox)
    lock.listen(1)
    return lock


def _holder(sandbox: str) -> Holder:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as question:
        # Nobody accepts: when the backlog is full the kernel refuses instead of letting us wait.
        question.setblocking(False)
        try:
            question.connect(_address(sandbox))
        except OSError:
            return Holder(0, "somebody", "unknown", 0)
        pid, uid, _ = _UCRED.unpack(question.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _UCRED.size))
    return Holder(pid, user_name(uid), _command(pid), _started(pid))


def user_name(uid: int) -> str:
    """Return the name of a user, the number of one who has none."""
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def _command(pid: int) -> str:
    try:
        words = Path(f"/proc/{pid}/cmdline").read_bytes().rstrip(b"\0").split(b"\0")
    except OSError:
        return "ended by now"
    # `python3 /path/to/ansible-playbook site.yml` is known as `ansible-playbook site.yml`.
    if len(words) > 1 and Path(os.fsdecode(words[0])).name.startswith("python"):
        words = words[1:]
    words[0] = os.fsencode(Path(os.fsdecode(words[0])).name)
    return b" ".join(words).decode(errors="replace")


def _started(pid: int) -> float:
    """Return when a process started. proc(5): field 22 of stat, in clock ticks after boot."""
    try:
        ticks = int(Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[19])
        uptime = float(Path("/proc/uptime").read_text(encoding="utf-8").split()[0])
    except (OSError, ValueError, IndexError):
        return 0
    return time.time() - uptime + ticks / os.sysconf("SC_CLK_TCK")


def unknown_tags(asked: Iterable[str], known: Iterable[str]) -> list[str]:
    """Return the tags asked for that nothing carries, sorted."""
    return sorted(set(asked) - set(known) - SPECIAL_TAGS - MOLECULE_TAGS)
