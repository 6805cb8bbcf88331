# Copyright: cicd.sandbox contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs of the site on the standing sandbox of a scenario."""

from __future__ import annotations

import json
import os
import subprocess

from checkout import REPOSITORY


def changes(*arguments: str) -> list[str]:
    """Run the site and return the tasks that changed or failed, as `host: task`."""
    environment = {**os.environ, "ANSIBLE_STDOUT_CALLBACK": "ansible.posix.json"}
    line = ["ansible-playbook", "site.yml", "--inventory", os.environ["SANDBOX_INVENTORY"], *arguments]
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
