"""Runs of the site on the standing sandbox that must change nothing."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[3]
INVENTORY = os.environ["SANDBOX_INVENTORY"]


def changes(*arguments: str) -> list[str]:
    """Run the site and return the tasks that changed or failed, as `host: task`."""
    environment = {**os.environ, "ANSIBLE_STDOUT_CALLBACK": "ansible.posix.json"}
    line = ["ansible-playbook", "site.yml", "--inventory", INVENTORY, *arguments]
    run = subprocess.run(line, check=False, capture_output=True, text=True, cwd=REPOSITORY, env=environment)
    start = run.stdout.find("{")
    assert start >= 0, run.stdout + run.stderr
    plays = json.JSONDecoder().raw_decode(run.stdout[start:])[0]["plays"]
    found = [
        f"{host}: {task['task']['name']}: {result.get('msg', '')}"
        for play in plays
        for task in play["tasks"]
        for host, result in task["hosts"].items()
        if result.get("changed") or result.get("failed") or result.get("unreachable")
    ]
    assert run.returncode == 0, "\n".join(found) + run.stderr
    return found


@pytest.mark.parametrize("arguments", [["--check"], ["--tags", "apps"], ["--tags", "cluster"], ["--tags", "etcd"]])
def test_a_standing_site_is_not_changed_by(arguments: list[str]) -> None:
    assert changes(*arguments) == []
