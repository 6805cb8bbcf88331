# Copyright: cicd.sandbox contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The role observability as tests see it: the releases it asks for, and what the charts make of them."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import subprocess
import time
import urllib.parse
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml
from checkout import REPOSITORY
from helm import render, tool
from playbook_run import PlaybookRun, run_playbook

ROLE = REPOSITORY / "roles/observability"
# The role with all that is its own but its work: it says which releases it would bring.
TASKS = [
    {"ansible.builtin.include_tasks": str(ROLE / "tasks/preflight.yml")},
    {"ansible.builtin.debug": {"msg": "{{ __observability_releases }}"}},
]
PLAYBOOK = """
- hosts: localhost
  gather_facts: false
  tasks:
    - ansible.builtin.include_role: {name: cicd.sandbox.sandbox, public: true}
    - ansible.builtin.include_role: {name: shown}
"""


def play(directory: Path, tasks: list[dict[str, Any]] = TASKS, **variables: Any) -> PlaybookRun:
    role = directory / "roles/shown"
    (role / "tasks").mkdir(parents=True)
    for part in ("defaults", "files", "templates", "vars"):
        (role / part).symlink_to(ROLE / part)
    # What the collection has beside its roles.
    (directory / "dashboards").symlink_to(REPOSITORY / "dashboards")
    (role / "tasks/main.yml").write_text(yaml.safe_dump(tasks))
    (directory / "play.yml").write_text(PLAYBOOK)
    values = {"sandbox_state_directory": str(directory), **variables}
    arguments = ["--inventory=inventories/dev", f"--extra-vars={json.dumps(values)}"]
    return run_playbook(directory / "play.yml", *arguments, fails=None)


def releases(directory: Path, **variables: Any) -> dict[str, dict[str, Any]]:
    """The releases by name."""
    run = play(directory, **variables)
    assert run.returncode == 0, run.text
    return {release["name"]: release for release in run.results()[-1]["msg"]}


def on_open_network(directory: Path) -> Path:
    """A state in which official images can be had."""
    found = {"wanted": "auto", "source": "release", "network": "open", "reason": "official releases can be had"}
    (directory / "artifacts-source.json").write_text(json.dumps(found))
    return directory


def objects(release: dict[str, Any]) -> list[dict[str, Any]]:
    """What the chart makes of a release, as role release has it rendered."""
    arguments = [f"--namespace={release['namespace']}"]
    chart = REPOSITORY / "charts" / release.get("chart", "workload")
    values = release["values"]
    if "image" in release:
        # Of what is the sandbox's own the tag is known when it is built.
        values = {**values, "image": {"tag": "1", **values["image"]}}
    return render(values, release["name"], *arguments, chart=chart)


def free_ports(count: int) -> list[int]:
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]


@contextlib.contextmanager
def running(log: Path, *line: str) -> Iterator[None]:
    """A program for as long as it is needed; it ends as it does in a pod."""
    environment = {**os.environ, "K8S_NODE_NAME": "worker-1"}
    with log.open("w") as out, subprocess.Popen(line, stdout=out, stderr=out, env=environment) as process:
        try:
            yield
        finally:
            process.terminate()
            process.wait(timeout=30)


class LogStore:
    """VictoriaLogs on loopback, below a directory; and as many other free ports."""

    def __init__(self, directory: Path, ports: int) -> None:
        self.directory = directory
        self.logs, *self.ports = free_ports(1 + ports)

    @contextlib.contextmanager
    def store(self) -> Iterator[None]:
        line = [f"-storageDataPath={self.directory}/store", f"-httpListenAddr=127.0.0.1:{self.logs}"]
        with running(self.directory / "store.log", tool("victoria-logs-prod"), *line):
            yield

    def found(self, query: str) -> list[dict[str, str]]:
        form = urllib.parse.urlencode({"query": query, "limit": "20000"}).encode()
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        address = f"http://127.0.0.1:{self.logs}/select/logsql/query"
        try:
            with opener.open(address, form, timeout=10) as answer:
                return [json.loads(line) for line in answer.read().decode().splitlines()]
        except OSError:
            return []

    def await_lines(self, query: str, count: int, seconds: float = 30) -> list[dict[str, str]]:
        deadline = time.monotonic() + seconds
        while len(lines := self.found(query)) < count and time.monotonic() < deadline:
            time.sleep(0.2)
        logs = "\n".join(path.read_text()[-1500:] for path in self.directory.glob("*.log"))
        assert len(lines) == count, f"{query} has {len(lines)} lines of {count}\n{logs}"
        return lines


def configuration(release: dict[str, Any]) -> dict[str, Any]:
    config: dict[str, Any] = yaml.safe_load(release["values"]["config"]["files"]["config.yaml"])
    return config
