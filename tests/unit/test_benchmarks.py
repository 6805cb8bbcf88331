# Copyright: cicd.sandbox contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The benchmark of the site, without running the site: what it would run, and what it would print."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest
from checkout import REPOSITORY

BENCHMARK = REPOSITORY / "benchmarks/site.py"
GOALS = {
    "cluster Ready": "60",
    "whole site": "100",
    "second run": "25",
    "--check": "25",
    "--tags apps, nothing to do": "8",
    "status": "5",
    "second run, one more release": "26",
    "second run, 6 more releases": "31",
    "second run, each further release": "1",
    "down": "8",
}


@pytest.fixture
def playbooks(tmp_path: Path) -> Path:
    """A checkout with the benchmark, whose ansible-playbook only notes where it was called, and its arguments."""
    fake = tmp_path / ".venv/bin/ansible-playbook"
    fake.parent.mkdir(parents=True)
    fake.write_text(f'#!/bin/sh\necho "$PWD $ANSIBLE_CONFIG $@" >> {tmp_path}/calls\n', encoding="utf-8")
    fake.chmod(0o755)
    copy = tmp_path / "benchmarks/site.py"
    copy.parent.mkdir()
    copy.write_text(BENCHMARK.read_text(encoding="utf-8"), encoding="utf-8")
    # The machine is twice as slow as in a fast hour, always.
    (copy.parent / "slowness.py").write_text("def slowness():\n    return 2.0, 2.0\n", encoding="utf-8")
    git = ["git", "-C", str(tmp_path), "-c", "user.name=a", "-c", "user.email=a@example.org"]
    subprocess.run([*git, "init", "--quiet"], check=True)
    subprocess.run([*git, "commit", "--quiet", "--allow-empty", "--message=former"], check=True)
    return tmp_path


def benchmark(checkout: Path, *arguments: str) -> tuple[list[str], list[str]]:
    """Give the lines of the table at the end, and what was run."""
    line = ["python3", checkout / "benchmarks/site.py", *arguments]
    steps, rows = subprocess.run(line, check=True, capture_output=True, text=True).stdout.split("\n\n")
    assert sum("memory" in row for row in steps.splitlines()) == (4 if "--against" in arguments else 1)
    return rows.splitlines(), (checkout / "calls").read_text().splitlines()


def test_help() -> None:
    shown = subprocess.run([BENCHMARK, "--help"], check=True, capture_output=True, text=True, env={**os.environ})
    assert "--cold" in shown.stdout


def test_every_goal_has_its_row(playbooks: Path) -> None:
    (head, *rows), calls = benchmark(playbooks)
    assert head.split()[-3:] == ["goal", "this", "/goal"]
    assert {row[:36].strip(): row[36:].split()[0] for row in rows} == GOALS
    # Both times it is made from nothing.
    ran = [call.split()[4:] for call in calls]
    assert ran[0] == ran[2] == ran[-1] == ["playbooks/teardown.yml"]
    assert ran[3] == ran[4] == ["site.yml"]
    assert not any("clean" in call for call in calls)
    # The same releases each time, so that only their number differs.
    more = [json.loads(call.split(" --extra-vars ")[1])["apps_releases"] for call in calls if "further" in call]
    assert [len(releases) for releases in more] == [6, 1, 6]
    assert more[0] == more[2]
    assert more[1] == more[0][:1]


def test_a_former_commit_is_measured_beside_it(playbooks: Path) -> None:
    (head, *rows), calls = benchmark(playbooks, "--against", "HEAD", "--rounds", "2")
    assert head.split()[-4:] == ["HEAD", "this", "/goal", "/former"]
    assert {row[:36].strip(): row[36:].split()[0] for row in rows} == GOALS
    assert all(len(row[36:].split()) == 5 for row in rows)
    # Each lives once a round, in turns, with its own settings, inventory and playbooks.
    places = [call.split()[0] for call in calls]
    turns = [place for index, place in enumerate(places) if index == 0 or places[index - 1] != place]
    assert len(turns) == 4
    assert turns[0] == turns[2] != str(playbooks)
    assert turns[1] == turns[3] == str(playbooks)
    for call in calls:
        place, settings, _, inventory, *_ = call.split()
        assert (settings, inventory) == (f"{place}/ansible.cfg", f"{place}/molecule/default/inventory")
    assert not Path(turns[0]).exists()
    worktrees = subprocess.run(
        ["git", "-C", playbooks, "worktree", "list"], check=True, capture_output=True, text=True
    ).stdout
    assert len(worktrees.splitlines()) == 1


def test_a_cold_run_leaves_the_users_cache_alone(playbooks: Path) -> None:
    (_, *rows), calls = benchmark(playbooks, "--cold")
    found = {row[:36].strip(): row[36:].split()[0] for row in rows}
    assert found == {"whole site, nothing cached": "1200", "down": "8"}
    assert [call.split()[4] for call in calls].count("playbooks/clean.yml") == 2
    assert all(call.endswith(" sandbox_cache_directory=/var/cache/cicd-sandbox-cold") for call in calls)
