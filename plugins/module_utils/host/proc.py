# Copyright: cicd.sandbox contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the kernel says in /proc, see proc(5)."""

from __future__ import annotations

from pathlib import Path

PROC = Path("/proc")


def memory_mb(meminfo: str, name: str) -> int:
    """Return the MiB of a line of /proc/meminfo (``MemTotal``, ``MemAvailable``, …); 0 where it is not there."""
    for line in meminfo.splitlines():
        words = line.split()
        if len(words) == 3 and words[0] == f"{name}:" and words[2] == "kB" and words[1].isdigit():
            return int(words[1]) // 1024
    return 0


def boot_id() -> str:
    """Return what tells this boot of the host from another."""
    return (PROC / "sys/kernel/random/boot_id").read_text().strip()


def start_ticks(pid: int) -> str | None:
    """Return when a process started, in clock ticks after boot; None where it has ended, awaited or not."""
    try:
        # The program's name is in brackets and may contain anything, blanks and brackets too.
        fields = (PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return None if fields[0] in {"Z", "X"} else fields[19]


def arguments(pid: int) -> list[bytes]:
    """Return the words of a process's command line; none where it has ended or is one of the kernel's."""
    try:
        line = (PROC / str(pid) / "cmdline").read_bytes()
    except (FileNotFoundError, ProcessLookupError):
        return []
    return line.removesuffix(b"\0").split(b"\0") if line else []


def threads(pid: int) -> list[int]:
    """Return the numbers of a process's threads, each of which has a niceness of its own; none where it has ended."""
    try:
        return [int(entry.name) for entry in (PROC / str(pid) / "task").iterdir()]
    except (FileNotFoundError, ProcessLookupError):
        return []


def descendants(pid: int) -> list[int]:
    """Return a process and all that descend from it and live, the parents first."""
    children: dict[int, list[int]] = {}
    for entry in PROC.iterdir():
        if not entry.name.isdigit():
            continue
        try:
            parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
        except (FileNotFoundError, ProcessLookupError):
            continue
        children.setdefault(parent, []).append(int(entry.name))
    found = [pid]
    for process in found:
        found += children.get(process, [])
    return found
