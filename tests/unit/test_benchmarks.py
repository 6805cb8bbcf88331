# Copyright: cicd.sandbox contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The benchmark of the site, without running the site: what it would run, and what it would print."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
from checkout import REPOSITORY

BENCHMARK = REPOSITORY / "benchmarks/site.py"


@pytest.fixture
def playbooks(tmp_path: Path) -> Path:
    """A copy of the benchmark whose ansible-playbook only notes its arguments."""
    fake = tmp_path / ".venv/bin/ansible-playbook"
    fake.parent.mkdir(parents=True)
    fake.write_text(f'#!/bin/sh\necho "$@" >> {tmp_path}/calls\n', encoding="utf-8")
    fake.chmod(0o755)
    copy = tmp_path / "benchmarks/site.py"
    copy.parent.mkdir()
    copy.write_text(BENCHMARK.read_text(encoding="utf-8"), encoding="utf-8")
    return tmp_path


def benchmark(checkout: Path, *arguments: str) -> tuple[dict[str, str], list[str]]:
    """Give the goal of each row, and what was run."""
    line = ["python3", checkout / "benchmarks/site.py", *arguments]
    printed = subprocess.run(line, check=True, capture_output=True, text=True).stdout.splitlines()
    rows = [row.rsplit(maxsplit=3) for row in printed[1:] if not row.startswith("memory")]
    assert sum(row.startswith("memory") for row in printed) == 1
    return {name: goal for name, _seconds, goal, _ratio in rows}, (checkout / "calls").read_text().splitlines()


def test_help() -> None:
    shown = subprocess.run([BENCHMARK, "--help"], check=True, capture_output=True, text=True, env={**os.environ})
    assert "--cold" in shown.stdout


def test_every_goal_has_its_row(playbooks: Path) -> None:
    goals, calls = benchmark(playbooks)
    assert goals == {
        "cluster Ready": "60",
        "whole site": "180",
        "second run": "60",
        "--check": "60",
        "--tags apps, nothing to do": "15",
        "down": "15",
    }
    # Both times it is made from nothing.
    ran = [call.split()[2:] for call in calls]
    assert ran[0] == ran[2] == ran[-1] == ["playbooks/teardown.yml"]
    assert ran[3] == ["site.yml"]
    assert not any("clean" in call for call in calls)


def test_a_cold_run_leaves_the_users_cache_alone(playbooks: Path) -> None:
    goals, calls = benchmark(playbooks, "--cold")
    assert goals == {"whole site, nothing cached": "1200", "down": "15"}
    assert [call.split()[2] for call in calls].count("playbooks/clean.yml") == 2
    assert all(call.endswith(" sandbox_cache_directory=/var/cache/cicd-sandbox-cold") for call in calls)
