# Copyright: cicd.sandbox contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs of ansible-playbook, read from what its JSON callback prints."""

from __future__ import annotations

import json
import os
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from checkout import REPOSITORY


@dataclass(frozen=True)
class Answer:
    """What a task gave on a host."""

    host: str
    task: str
    result: dict[str, Any]

    @property
    def failed(self) -> bool:
        return bool(self.result.get("failed") or self.result.get("unreachable"))


@dataclass(frozen=True)
class PlaybookRun:
    """A run that came to its end, well or not: the answers of all tasks on all hosts, in their order."""

    returncode: int
    answers: list[Answer]
    # Host → how often: ok, changed, failures, …
    stats: dict[str, dict[str, int]]
    text: str

    def results(self, host: str = "localhost") -> list[dict[str, Any]]:
        """Give the results of one host's tasks."""
        return [answer.result for answer in self.answers if answer.host == host]


def run_playbook(
    playbook: Path | str, *arguments: str, programs: Path | None = None, fails: bool | None = False, **environment: str
) -> PlaybookRun:
    """Run a playbook with the checkout's settings; ``programs`` are found before the machine's own.

    It has to end well, or to fail where ``fails``; either will do where that is None. The guard of runs is not enabled:
    another run of the same sandbox may be going on.
    """
    callbacks = {"ANSIBLE_STDOUT_CALLBACK": "ansible.posix.json", "ANSIBLE_CALLBACKS_ENABLED": "ansible.posix.timer"}
    path = {"PATH": f"{programs}:{os.environ['PATH']}"} if programs else {}
    run = subprocess.run(
        ["ansible-playbook", *arguments, str(playbook)],
        check=False,
        capture_output=True,
        text=True,
        cwd=REPOSITORY,
        env={**os.environ, **callbacks, **path, **environment},
    )
    text = run.stdout + run.stderr
    assert "{" in run.stdout, text
    # Warnings are printed before it, times behind it.
    printed = json.JSONDecoder().raw_decode(run.stdout[run.stdout.index("{") :])[0]
    answers = [
        Answer(host, task["task"]["name"], result)
        for play in printed["plays"]
        for task in play["tasks"]
        for host, result in task["hosts"].items()
    ]
    assert fails is None or (run.returncode != 0) is fails, text
    return PlaybookRun(run.returncode, answers, printed["stats"], text)
