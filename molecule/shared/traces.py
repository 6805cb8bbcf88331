"""Lists what a sandbox left on this machine, one trace a line; ends with 1 when there is any.

Usage: traces.py SANDBOX ADDRESS HOME: the address of its infra host, to which the local endpoint leads, and the home of
the user whose sandbox it was. It looks from outside: at /proc, the kernel's mounts, interfaces and rules, cgroups, the
units of systemd, directories and the user's kubeconfig, not at what the roles believe.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

LIBRARY = Path("/var/lib/cicd-sandbox")
CGROUPS = Path("/sys/fs/cgroup")
UNITS = [Path("/etc/systemd/system"), Path("/run/systemd/system")]
RUNNERS = Path("/var/cache/cicd-sandbox/queue/lock")


def processes(sandbox: str, infra: str) -> Iterator[str]:
    """Processes that name the sandbox's directory or infra host, or live in its cgroups."""
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit() or int(entry.name) in {os.getpid(), os.getppid()}:
            continue
        try:
            command = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            group = (entry / "cgroup").read_text()
            dead = "\nState:\tZ" in (entry / "status").read_text()
        except OSError:
            continue
        if dead:  # its parent, PID 1, has yet to take note
            continue
        names = f"{LIBRARY}/{sandbox}/" in command or f" {infra}:" in command
        if names or f"/cicd-sandbox/{sandbox}/" in group or f"/cicd-sandbox-{sandbox}-" in group:
            yield f"process {entry.name}: {command}"


def runners(sandbox: str) -> Iterator[str]:
    """Processes that build artifacts for the sandbox in the background."""
    for lock in RUNNERS.glob(f"runner-{sandbox}-*"):
        number = re.fullmatch(rf"runner-{sandbox}-(\d+)", lock.name)
        if number and Path(f"/proc/{number[1]}").exists():
            yield f"background build {number[1]}"


def units(sandbox: str) -> Iterator[str]:
    """Units of machines and of the local endpoint, links to these, and what systemd holds: a socket is PID 1's."""
    pattern = f"cicd-sandbox-{sandbox}-*"
    yield from (f"unit {path}" for folder in UNITS for path in (*folder.glob(pattern), *folder.glob(f"*/{pattern}")))
    if Path("/run/systemd/system").is_dir():
        line = ["systemctl", "list-units", "--all", "--plain", "--no-legend", pattern]
        held = subprocess.run(line, check=True, capture_output=True, text=True).stdout
        yield from (f"in systemd: {unit}" for unit in held.splitlines())


def mounts(sandbox: str) -> Iterator[str]:
    """Mount points below the sandbox's directory."""
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        point = line.split(" ")[4]
        if point.startswith(f"{LIBRARY}/{sandbox}/"):
            yield f"mount {point}"


def network(sandbox: str) -> Iterator[str]:
    """The bridge, the machines' interfaces and the nftables table."""
    links = json.loads(subprocess.run(["ip", "-json", "link"], check=True, capture_output=True, text=True).stdout)
    for link in links:
        names = [link["ifname"], *link.get("altnames", [])]
        if any(name == f"sb-{sandbox}" or name.startswith(f"vb-{sandbox}-") for name in names):
            yield f"interface {link['ifname']}"
    if shutil.which("nft") is None:  # a computer on which no sandbox ever was
        return
    table = "cicd_sandbox_" + sandbox.replace("-", "_")
    rules = subprocess.run(["nft", "list", "tables"], check=True, capture_output=True, text=True).stdout
    if f"inet {table}\n" in rules:
        yield f"nftables table {table}"


def files(sandbox: str, home: Path) -> Iterator[str]:
    """Directories, cgroups and the user's kubeconfig."""
    directories = (LIBRARY / sandbox, home / ".local/state/cicd-sandbox" / sandbox)
    yield from (f"directory {path}" for path in directories if path.exists())
    # cgroup v2 has one hierarchy, cgroup v1 one for each controller.
    for pattern in (f"cicd-sandbox/{sandbox}", f"*/cicd-sandbox/{sandbox}", f"machine.slice/cicd-sandbox-{sandbox}-*"):
        yield from (f"cgroup {path}" for path in CGROUPS.glob(pattern))
    kubeconfig = home / ".kube/config"
    if kubeconfig.exists() and f"@{sandbox}" in kubeconfig.read_text():
        yield f"a context of {sandbox} in {kubeconfig}"


def main() -> int:
    sandbox, infra, home = sys.argv[1:]
    found = [*processes(sandbox, infra), *runners(sandbox), *mounts(sandbox), *network(sandbox), *units(sandbox)]
    found += files(sandbox, Path(home))
    sys.stdout.write("".join(f"{trace}\n" for trace in found))
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
