#!/usr/bin/env python3
"""Times the life of a sandbox, and prints each time beside its goal as a ratio.

Usage: benchmarks/site.py [--cold] [INVENTORY]    (default: molecule/default/inventory, beside a standing dev sandbox)

With artifacts in the cache it makes the cluster alone, then the whole site from nothing, runs it again, runs one tag,
measures memory and takes the sandbox away. With --cold it makes the whole site with nothing in the cache: in a cache
directory of its own, which it removes; the user's stays as it is. Nothing here is a test: what a time may be depends on
the machine. A ratio below 1 is better than the goal.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

REPOSITORY = Path(__file__).resolve().parents[1]
COLD_CACHE = "/var/cache/cicd-sandbox-cold"


class Step(NamedTuple):
    """A run of ansible-playbook; one with a goal (seconds) is a row of the table."""

    name: str
    arguments: Sequence[str]
    goal: float | None = None


DOWN = ["playbooks/teardown.yml"]
CLEAN = ["playbooks/clean.yml"]
WARM = [
    Step("from nothing", DOWN),
    Step("cluster Ready", ["site.yml", "--tags", "machines,registry,load_balancer,etcd,cluster"], 60),
    Step("to nothing again", DOWN),
    Step("whole site", ["site.yml"], 180),
    Step("second run", ["site.yml"], 60),
    Step("--check", ["site.yml", "--check"], 60),
    Step("--tags apps, nothing to do", ["site.yml", "--tags", "apps"], 15),
    Step("down", DOWN, 15),
]
COLD = [
    Step("from nothing", DOWN),
    Step("what a run that failed left", CLEAN),
    Step("whole site, nothing cached", ["site.yml"], 1200),
    Step("down", DOWN, 15),
    Step("the cache of its own", CLEAN),
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
    described = (__doc__ or "").partition("\n\nUsage")[0]
    parser = argparse.ArgumentParser(description=described)
    parser.add_argument("inventory", nargs="?", type=Path, default=REPOSITORY / "molecule/default/inventory")
    parser.add_argument("--cold", action="store_true", help=f"with nothing cached, in {COLD_CACHE}")
    wanted = parser.parse_args()
    inventory = str(wanted.inventory.resolve())
    more = ["--extra-vars", f"sandbox_cache_directory={COLD_CACHE}"] if wanted.cold else []
    os.environ["PATH"] = f"{REPOSITORY / '.venv/bin'}:{os.environ['PATH']}"
    print(f"{'step':<46}{'seconds':>9}{'goal':>7}{'ratio':>8}", flush=True)
    before = 0
    for step in COLD if wanted.cold else WARM:
        if step.name == "down":
            print(f"{'memory of the standing sandbox, MiB':<46}{before - available():>9}", flush=True)
        seconds = run(inventory, [*step.arguments, *more])
        if step.goal is not None:
            print(f"{step.name:<46}{seconds:>9.1f}{step.goal:>7.0f}{seconds / step.goal:>8.2f}", flush=True)
        elif not before:
            before = available()


if __name__ == "__main__":
    main()
