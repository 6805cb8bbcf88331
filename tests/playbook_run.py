# Copyright: cicd.sandbox contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs of ansible-playbook, read from what its JSON callback prints."""

from __future__ import annotations

import atexit
import json
import os
import re
import socket
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from checkout import REPOSITORY
from forked import ask

# By what Ansible is set when it starts; all else is read by a run itself.
_SETTINGS = re.compile(r"_?ANSIBLE_.*|PYTHON.*|XDG_.*|LC_.*|LANG|LANGUAGE|HOME|TMPDIR")


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


class _Server:
    """An ansible-playbook that has started already, with the settings of an environment."""

    _current: _Server | None = None

    def __init__(self, settings: Mapping[str, str], environment: Mapping[str, str]) -> None:
        self.settings = settings
        self._socket, theirs = socket.socketpair()
        with theirs:
            line = [sys.executable, str(REPOSITORY / "tests/playbook_server.py"), str(theirs.fileno())]
            self._process = subprocess.Popen(
                line, cwd=REPOSITORY, env=environment, stdin=subprocess.DEVNULL, pass_fds=[theirs.fileno()]
            )

    @classmethod
    def of(cls, environment: Mapping[str, str]) -> _Server:
        """Give the one that fits; another one ends."""
        settings = {name: value for name, value in environment.items() if _SETTINGS.fullmatch(name)}
        if not cls._current or cls._current.settings != settings:
            cls.end()
            cls._current = _Server(settings, environment)
        return cls._current

    @classmethod
    def end(cls) -> None:
        if cls._current:
            cls._current._socket.close()
            cls._current._process.wait(timeout=30)
        cls._current = None

    def run(self, *arguments: str, environment: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
        request = {"arguments": arguments, "environment": dict(environment)}
        with (
            Path(os.devnull).open() as stdin,
            tempfile.TemporaryFile("w+", encoding="utf-8") as stdout,
            tempfile.TemporaryFile("w+", encoding="utf-8") as stderr,
        ):
            code = ask(self._socket, request, [file.fileno() for file in (stdin, stdout, stderr)])
            stdout.seek(0)
            stderr.seek(0)
            return subprocess.CompletedProcess(arguments, code, stdout.read(), stderr.read())


atexit.register(_Server.end)


def _start(*arguments: str, environment: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
    """Run ansible-playbook in the checkout."""
    # What a user's run does to a standing sandbox is seen in a run that is started as a user's is.
    if "SANDBOX_INVENTORY" not in environment:
        return _Server.of(environment).run(*arguments, environment=environment)
    line = ["ansible-playbook", *arguments]
    return subprocess.run(line, check=False, capture_output=True, text=True, cwd=REPOSITORY, env=environment)


def run_playbook(
    playbook: Path | str, *arguments: str, programs: Path | None = None, fails: bool | None = False, **environment: str
) -> PlaybookRun:
    """Run a playbook with the checkout's settings; ``programs`` are found before the machine's own.

    It has to end well, or to fail where ``fails``; either will do where that is None. The guard of runs is not enabled:
    another run of the same sandbox may be going on.
    """
    callbacks = {"ANSIBLE_STDOUT_CALLBACK": "ansible.posix.json", "ANSIBLE_CALLBACKS_ENABLED": "ansible.posix.timer"}
    path = {"PATH": f"{programs}:{os.environ['PATH']}"} if programs else {}
    whole = {**os.environ, **callbacks, **path, **environment}
    run = _start(*arguments, str(playbook), environment=whole)
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
