"""Kills machines of a sandbox with SIGKILL.

Usage: kill.py SANDBOX supervisor|everything MACHINE…. `supervisor` kills systemd-nspawn alone, as the kernel does when
memory runs out; what it started lives on without it. `everything` kills all processes, as a loss of power does. An
address among the machines stands for the local endpoint that leads there. It ends when they have.
"""

from __future__ import annotations

import os
import re
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path


def processes(sandbox: str, machine: str) -> Iterator[int]:
    """Every process in the cgroups of a machine, with systemd on this computer or without; or those of an endpoint."""
    names = rf"cicd-sandbox/{sandbox}/{machine}|machine\.slice/cicd-sandbox-{sandbox}-{machine}\.service"
    file, pattern = "cgroup", rf"/(?:{names})(?:/|$)"
    if "." in machine:
        file, pattern = "cmdline", rf"\x00{re.escape(machine)}:"
    for entry in Path("/proc").iterdir():
        with suppress(OSError, ValueError):
            pid = int(entry.name)
            if re.search(pattern, (entry / file).read_text(errors="replace"), re.MULTILINE):
                yield pid


def lives(pid: int) -> bool:
    """Tell whether a process runs; one whose parent has yet to take note of its end does not."""
    try:
        return "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return False


def supervisor(pids: list[int]) -> list[int]:
    return [pid for pid in pids if Path(f"/proc/{pid}/comm").read_text().strip() == "systemd-nspawn"]


def main() -> None:
    sandbox, what, *machines = sys.argv[1:]
    found = {machine: list(processes(sandbox, machine)) for machine in machines}
    if what == "supervisor":
        found = {machine: supervisor(pids) for machine, pids in found.items()}
    missing = [machine for machine, pids in found.items() if not pids]
    if missing:
        sys.exit(f"nothing of {', '.join(missing)} runs")
    pids = {pid for pids in found.values() for pid in pids}
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    deadline = time.monotonic() + 10
    while living := [pid for pid in pids if lives(pid)]:
        if time.monotonic() > deadline:
            sys.exit(f"processes {living} live 10 s after they were killed")
        time.sleep(0.05)


if __name__ == "__main__":
    main()
