#!/usr/bin/env python3
# Copyright: cicd.sandbox contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Times the life of a sandbox, beside its goals and beside the same of a former commit.

Usage: benchmarks/site.py [--against COMMIT] [--rounds N] [--cold] [INVENTORY]

With artifacts in the cache it makes the cluster alone, then the whole site from nothing, runs it again, runs one tag,
asks for the status, adds applications, measures memory and takes the sandbox away. With --against, the former commit
and this checkout do so in turns, in the same hour of the same machine. With --cold it makes the whole site with
nothing in the cache: in a cache directory of its own, which it removes; the user's stays as it is. INVENTORY is a
sandbox's that may be removed (default: molecule/default/inventory of each checkout, beside a standing dev sandbox).

How fast a machine is changes with its neighbours: a fixed piece of work is timed before and after each step, and
"slower" is how many times longer it took than in a fast hour. Goals are those of a fast hour; "fast" is seconds over
slower, and the best of all rounds is compared. It flatters steps that mostly wait. Nothing here is a test. A ratio
below 1 is better than the goal, or than the former commit.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from slowness import slowness

REPOSITORY = Path(__file__).resolve().parents[1]
INVENTORY = Path("molecule/default/inventory")
COLD_CACHE = "/var/cache/cicd-sandbox-cold"
# How many releases are added, to know what one more of them costs.
FURTHER = 5


class Step(NamedTuple):
    """A run of ansible-playbook; one with a goal (seconds in a fast hour) is a row of the table."""

    name: str
    arguments: Sequence[str]
    goal: float | None = None


class Side(NamedTuple):
    """A checkout that is measured."""

    name: str
    checkout: Path


def further(number: int) -> list[str]:
    """Give the arguments that add releases: of an image that is there anyway, without a pod."""
    values = {"replicas": 0, "image": {"repository": "registry.sandbox.internal/front-end"}}
    names = [f"further-{index + 1}" for index in range(number)]
    releases = [{"name": name, "namespace": "further", "image": "front_end", "values": values} for name in names]
    return ["--extra-vars", json.dumps({"apps_releases": releases})]


DOWN = ["playbooks/teardown.yml"]
CLEAN = ["playbooks/clean.yml"]
APPS = ["site.yml", "--tags", "apps"]
ONE, MANY = "second run, one more release", f"second run, {1 + FURTHER} more releases"
WARM = [
    Step("from nothing", DOWN),
    Step("cluster Ready", ["site.yml", "--tags", "machines,registry,load_balancer,etcd,cluster"], 60),
    Step("to nothing again", DOWN),
    Step("whole site", ["site.yml"], 100),
    Step("second run", ["site.yml"], 25),
    Step("--check", ["site.yml", "--check"], 25),
    Step("--tags apps, nothing to do", APPS, 8),
    Step("status", ["playbooks/status.yml"], 5),
    # Instead of the inventory's own applications, of which there may be any number.
    Step("more releases", [*APPS, *further(1 + FURTHER)]),
    Step(ONE, ["site.yml", *further(1)], 26),
    Step(MANY, ["site.yml", *further(1 + FURTHER)], 26 + FURTHER),
    Step("down", DOWN, 8),
]
COLD = [
    Step("from nothing", DOWN),
    Step("what a run that failed left", CLEAN),
    Step("whole site, nothing cached", ["site.yml"], 1200),
    Step("down", DOWN, 8),
    Step("the cache of its own", CLEAN),
]


def available() -> int:
    """Memory that new programs could have, in MiB."""
    for line in Path("/proc/meminfo").read_text().splitlines():
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) // 1024
    raise SystemExit("/proc/meminfo has no MemAvailable")


@contextmanager
def former(commit: str) -> Iterator[Side]:
    """Check a commit out beside this checkout, with this one's programs; it is gone afterwards."""
    git = ["git", "-C", str(REPOSITORY)]
    with tempfile.TemporaryDirectory(prefix="benchmark-") as folder:
        checkout = Path(folder) / "former"
        subprocess.run([*git, "worktree", "add", "--quiet", "--detach", str(checkout), commit], check=True)
        try:
            (checkout / ".venv").symlink_to(REPOSITORY / ".venv")
            collection = checkout / ".collections/ansible_collections/cicd/sandbox"
            collection.parent.mkdir(parents=True)
            collection.symlink_to("../../..")
            yield Side(commit, checkout)
        finally:
            subprocess.run([*git, "worktree", "remove", "--force", str(checkout)], check=True)


def run(side: Side, inventory: Path, arguments: Sequence[str]) -> float:
    """Seconds that ansible-playbook took; ends this program where it failed."""
    log = REPOSITORY / "build" / "benchmark.log"
    log.parent.mkdir(exist_ok=True)
    path = f"{side.checkout / '.venv/bin'}:{os.environ['PATH']}"
    environment = {**os.environ, "PATH": path, "ANSIBLE_CONFIG": str(side.checkout / "ansible.cfg")}
    # As in the Makefile: Python keeps what it compiled.
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    begin = time.monotonic()
    with log.open("ab") as output:
        line = ["ansible-playbook", "--inventory", str(side.checkout / inventory), *arguments]
        done = subprocess.run(
            line, check=False, cwd=side.checkout, env=environment, stdout=output, stderr=subprocess.STDOUT
        )
    if done.returncode:
        raise SystemExit(f"{' '.join(line)} ended with {done.returncode}; see {log}")
    return time.monotonic() - begin


def life(side: Side, inventory: Path, steps: Sequence[Step], more: Sequence[str]) -> dict[str, float]:
    """Run all steps, and print a line for each of the table; return their seconds in a fast hour."""
    found: dict[str, float] = {}
    empty = 0
    before = slowness()[0]
    for step in steps:
        if step.name == "down":
            print(f"{side.name:<16}{'memory of the standing sandbox, MiB':<36}{empty - available():>9}", flush=True)
        seconds = run(side, inventory, [*step.arguments, *more])
        after = slowness()[0]
        slower, before = (before + after) / 2, after
        if step.goal is not None:
            found[step.name] = seconds / slower
            print(f"{side.name:<16}{step.name:<36}{seconds:>9.1f}{slower:>8.2f}{seconds / slower:>8.1f}", flush=True)
        elif not empty:
            empty = available()
    return found


def table(steps: Sequence[Step], best: dict[str, dict[str, float]]) -> None:
    """Print each row's goal, what each side took, and the ratios: to the goal, and to the former commit."""
    head = "".join(f"{name[:11]:>12}" for name in best)
    print(f"\n{'seconds in a fast hour':<36}{'goal':>7}{head}{'/goal':>8}" + f"{'/former':>9}" * (len(best) - 1))
    rows = [(step.name, step.goal, [found[step.name] for found in best.values()]) for step in steps if step.goal]
    if any(step.name == MANY for step in steps):
        each = [max((found[MANY] - found[ONE]) / FURTHER, 0.01) for found in best.values()]
        rows.append(("second run, each further release", 1, each))
    for name, goal, seconds in rows:
        ratios = f"{seconds[-1] / goal:>8.2f}" + "".join(f"{seconds[-1] / one:>9.2f}" for one in seconds[:-1])
        print(f"{name:<36}{goal:>7.0f}" + "".join(f"{one:>12.2f}" for one in seconds) + ratios)


def main() -> None:
    described = (__doc__ or "").partition("\n\nUsage")[0]
    parser = argparse.ArgumentParser(description=described)
    parser.add_argument("inventory", nargs="?", type=Path, help=f"default: {INVENTORY} of each checkout")
    parser.add_argument("--against", metavar="COMMIT", help="do the same with a former commit, in turns")
    parser.add_argument("--rounds", type=int, default=1, help="how often; the best of them is compared")
    parser.add_argument("--cold", action="store_true", help=f"with nothing cached, in {COLD_CACHE}")
    wanted = parser.parse_args()
    inventory = wanted.inventory.resolve() if wanted.inventory else INVENTORY
    more = ["--extra-vars", f"sandbox_cache_directory={COLD_CACHE}"] if wanted.cold else []
    steps = COLD if wanted.cold else WARM
    if wanted.against:
        with former(wanted.against) as side:
            compare([side, Side("this", REPOSITORY)], inventory, steps, more, wanted.rounds)
    else:
        compare([Side("this", REPOSITORY)], inventory, steps, more, wanted.rounds)


def compare(sides: list[Side], inventory: Path, steps: Sequence[Step], more: Sequence[str], rounds: int) -> None:
    """Run all rounds, the sides in turns, and print the table."""
    best: dict[str, dict[str, float]] = {side.name: {} for side in sides}
    print(f"{'':<16}{'step':<36}{'seconds':>9}{'slower':>8}{'fast':>8}", flush=True)
    for _ in range(rounds):
        for side in sides:
            for name, seconds in life(side, inventory, steps, more).items():
                best[side.name][name] = min(seconds, best[side.name].get(name, seconds))
    table(steps, best)


if __name__ == "__main__":
    main()
