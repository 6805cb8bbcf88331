# Copyright: cicd.sandbox contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Changes the key that encrypts Secrets at rest, killed at each of its steps, and reads etcd as it is after each."""

from __future__ import annotations

import itertools
import os
import re
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import yaml
from checkout import REPOSITORY
from live_cluster import STATE, control_planes, etcd_values, kubectl, meanwhile, on, try_kubectl

pytestmark = pytest.mark.trial

STEPS = [
    "Make the next key",
    "Have API servers read with the next key",
    "Keep the key that was written with",
    "Have the next key in its place",
    "Have API servers write with it",
    "Encrypt anew what was written before",
    "Count in etcd what each key encrypts",
    "Remove the previous key",
    "Have API servers forget it",
]
FILE = STATE / "secrets/encryption-key"


def name_of(text: str) -> str:
    return text.rpartition(":")[0] or "sandbox"


def written_with() -> dict[str, int]:
    """Name of a key → how many Secrets it encrypts in etcd."""
    counts: dict[str, int] = {}
    for path, value in etcd_values("/registry/secrets/", below=True).items():
        match = re.match(rb"k8s:enc:secretbox:v1:([^:]+):", value)
        assert match, f"{path} is not encrypted"
        counts[match[1].decode()] = counts.get(match[1].decode(), 0) + 1
    return counts


def known(plane: str) -> list[str]:
    """Names of the keys that an API server is given, the one that writes first."""
    given = yaml.safe_load(on(plane, "cat", "/etc/kubernetes/policy/encryption.yml"))
    keys: list[dict[str, Any]] = given["resources"][0]["providers"][0]["secretbox"]["keys"]
    return [key["name"] for key in keys]


def change(*, killed_at: str | None = None) -> str:
    """Run the playbook, to its end or until it begins a step at which everything of it is killed."""
    line = ["ansible-playbook", "playbooks/cluster_rotate_key.yml", "--inventory", os.environ["SANDBOX_INVENTORY"]]
    environment = {**os.environ, "ANSIBLE_FORCE_COLOR": "0", "PYTHONUNBUFFERED": "1"}
    said = ""
    with subprocess.Popen(
        line,
        cwd=REPOSITORY,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    ) as run:
        assert run.stdout
        for text in run.stdout:
            said += text
            if killed_at and re.match(rf"TASK \[.*{re.escape(killed_at)}\]", text):
                os.killpg(run.pid, signal.SIGKILL)
                return said
    assert run.returncode == 0, said
    assert not killed_at, f"{killed_at} was no step\n{said}"
    return said


@contextmanager
def readers() -> Iterator[list[str]]:
    """Read and write a Secret all the time; what failed."""
    failed: list[str] = []
    numbers = itertools.count(1)

    def work() -> None:
        made = try_kubectl(
            "--namespace=default", "annotate", "secret", "kept", f"cicd.sandbox/number={next(numbers)}", "--overwrite"
        )
        read = try_kubectl("--namespace=default", "get", "secret", "kept", "--output=jsonpath={.data.value}")
        if made.returncode or read.stdout != "a2VwdA==":
            failed.append(made.stderr + read.stderr + read.stdout)

    with meanwhile(work, 0.2):
        yield failed


def test_a_change_that_is_killed_at_each_step_ends_with_one_new_key() -> None:
    if list(FILE.parent.glob(f"{FILE.name}-*")):
        change()
    before = name_of(FILE.read_text().strip())
    kubectl("--namespace=default", "create", "secret", "generic", "kept", "--from-literal=value=kept")
    try:
        with readers() as failed:
            for step in STEPS:
                change(killed_at=step)
                # Whatever was written can be read, by each API server as it is, and is once it starts again.
                for plane in control_planes():
                    assert set(written_with()) <= set(known(plane)), step
                kubectl("get", "secrets", "--all-namespaces", "--output=name")
            said = change()
        assert failed == []
    finally:
        kubectl("--namespace=default", "delete", "secret", "kept")
    now = name_of(FILE.read_text().strip())
    assert now != before
    assert list(written_with()) == [now]
    assert {tuple(known(plane)) for plane in control_planes()} == {(now,)}
    assert sorted(path.name for path in FILE.parent.glob("encryption-key*")) == ["encryption-key"]
    assert FILE.stat().st_mode & 0o777 == 0o600
    assert f"Encrypted with {now}" in " ".join(said.split())
