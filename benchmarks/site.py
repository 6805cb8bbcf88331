#!/usr/bin/env python3
"""Times the life of a sandbox whose artifacts are cached, and prints each time beside its goal as a ratio.

Usage: benchmarks/site.py [INVENTORY]    (default: molecule/default/inventory, beside a standing dev sandbox)

It makes the sandbox, runs it again, runs one tag, measures memory and takes the sandbox away. Nothing here is a test:
what a time may be depends on the machine. A ratio below 1 is better than the goal.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[1]
STEPS: list[tuple[str, float, list[str]]] = [
    ("machines, registry, etcd and cluster Ready", 60, ["site.yml", "--tags", "machines,registry,etcd,cluster"]),
    ("the rest of the site", 120, ["site.yml"]),
    ("second run", 60, ["site.yml"]),
    ("--check", 60, ["site.yml", "--check"]),
    ("--tags apps, nothing to do", 15, ["site.yml", "--tags", "apps"]),
    ("down", 15, ["playbooks/teardown.yml"]),
]


def available() -> int:
    """Memory that new programs could have, in MiB."""
    for line in Path("/proc/meminfo").read_text().splitlines():
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) // 1024
    raise SystemExit("/proc/meminfo has no MemAvailable")


def run(inventory: str, arguments: list[str]) -> float:
    """Seconds that ansible-playbook took; ends this program where it failed."""
    log = REPOSITORY / "build" / "benchmark.log"
    log.parent.mkdir(exist_ok=True)
    begin = time.monotonic()
    with log.open("ab") as output:
        line = ["ansible-playbook", "--inventory", inventory, *arguments]
        done = subprocess.run(line, check=False, cwd=REPOSITORY, stdout=output, stderr=subprocess.STDOUT)
    if done.returncode:
        raise SystemExit(f"{' '.join(line)} ended with {done.returncode}; see {log}")
    return time.monotonic() - begin


def main() -> None:
    inventory = str(Path(sys.argv[1] if len(sys.argv) > 1 else REPOSITORY / "molecule/default/inventory").resolve())
    os.environ["PATH"] = f"{REPOSITORY / '.venv/bin'}:{os.environ['PATH']}"
    run(inventory, ["playbooks/teardown.yml"])
    before = available()
    print(f"{'step':<46}{'seconds':>9}{'goal':>7}{'ratio':>8}")
    for name, goal, arguments in STEPS:
        if name == "down":
            print(f"{'memory of the standing sandbox, MiB':<46}{before - available():>9}")
        seconds = run(inventory, arguments)
        print(f"{name:<46}{seconds:>9.1f}{goal:>7.0f}{seconds / goal:>8.2f}", flush=True)


if __name__ == "__main__":
    main()
