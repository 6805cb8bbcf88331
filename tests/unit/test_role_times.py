# Copyright: cicd.sandbox contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""How long roles took: kept of the run in which each last changed something."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

PLAYBOOK = """
- hosts: localhost
  gather_facts: false
  roles: [first, second]

- hosts: localhost
  gather_facts: false
  roles: [last]
"""
ROLE = """
- ansible.builtin.command: {argv: ["true"]}
  changed_when: role_name in changing
"""
BEFORE = {"first": 1000.0, "second": 2000.0}


def times(folder: Path, *changing: str, check: bool = False) -> dict[str, float]:
    """Run roles of which some change something; give what is kept after it."""
    for role in ("first", "second", "last"):
        tasks = folder / "roles" / role / "tasks/main.yml"
        tasks.parent.mkdir(parents=True, exist_ok=True)
        tasks.write_text(ROLE, encoding="utf-8")
    (folder / "site.yml").write_text(PLAYBOOK, encoding="utf-8")
    variables = {"sandbox_name": f"t-{os.getpid()}", "changing": changing}
    hosts: dict[str, Any] = {"all": {"hosts": {"localhost": {"ansible_connection": "local"}}, "vars": variables}}
    (folder / "hosts.yml").write_text(json.dumps(hosts), encoding="utf-8")
    kept = folder / variables["sandbox_name"] / "reports/role-times.json"
    kept.parent.mkdir(parents=True, exist_ok=True)
    kept.write_text(json.dumps(BEFORE), encoding="utf-8")
    line = [
        "ansible-playbook",
        str(folder / "site.yml"),
        "-i",
        str(folder / "hosts.yml"),
        *(["--check"] if check else []),
    ]
    environment = {**os.environ, "CICD_SANDBOX_STATE_HOME": str(folder)}
    subprocess.run(line, check=True, capture_output=True, cwd=folder, env=environment)
    found: dict[str, float] = json.loads(kept.read_text(encoding="utf-8"))
    return found


def test_of_a_role_that_changed_something(tmp_path: Path) -> None:
    found = times(tmp_path, "second")
    assert found["first"] == BEFORE["first"], "the seconds of a role that changed nothing"
    assert found["second"] < BEFORE["second"]
    assert set(found) == set(BEFORE)


def test_not_of_a_run_that_changed_nothing(tmp_path: Path) -> None:
    assert times(tmp_path) == BEFORE


def test_not_of_a_check(tmp_path: Path) -> None:
    assert times(tmp_path, "first", "second", check=True) == BEFORE
