# Copyright: cicd.sandbox contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The sandbox's shell, with a kubectl that only pretends."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
from checkout import REPOSITORY

KUBECTL = """#!/bin/sh
case "$*" in
  *"config view --raw"*) echo "of $KUBECONFIG" ;;
  *component=kube-apiserver*) echo '["kube-apiserver","--etcd-servers=https://192.0.2.1:2379,https://192.0.2.2:1"]' ;;
  *) echo "kubectl $*" ;;
esac
"""


@pytest.fixture
def inventory(tmp_path: Path) -> Path:
    (tmp_path / "state/bin").mkdir(parents=True)
    (tmp_path / "state/kubeconfig").write_text("{}")
    kubectl = tmp_path / "state/bin/kubectl"
    kubectl.write_text(KUBECTL)
    kubectl.chmod(0o755)
    path = tmp_path / "hosts.yml"
    settings = f"{{sandbox_name: lab, sandbox_state_directory: {tmp_path}/state, ansible_connection: local}}"
    path.write_text(f"all: {{hosts: {{localhost: {settings}}}}}\n")
    return path


def shell(inventory: Path, *arguments: str, typed: str = "") -> subprocess.CompletedProcess[str]:
    temporary = inventory.parent / "tmp"
    temporary.mkdir(exist_ok=True)
    environment = {
        **os.environ,
        "TMPDIR": str(temporary),
        "HOME": str(inventory.parent),
        "KUBECONFIG": "/yours",
        "K8S_AUTH_HOST": "https://192.0.2.9",
    }
    done = subprocess.run(
        [str(REPOSITORY / "scripts/shell.sh"), str(inventory), *arguments],
        check=False,
        capture_output=True,
        text=True,
        input=typed,
        env=environment,
        timeout=120,
    )
    assert list(temporary.iterdir()) == [], "it leaves a kubeconfig behind"
    return done


def test_a_command_runs_with_the_sandboxs_programs(inventory: Path) -> None:
    script = "kubectl version; cat $KUBECONFIG; stat -c %a $KUBECONFIG; echo $ETCDCTL_ENDPOINTS ${K8S_AUTH_HOST-none}"
    done = shell(inventory, "sh", "-c", f"{script}; exit 7")
    assert done.returncode == 7
    assert done.stdout.splitlines() == [
        "kubectl version",
        f"of {inventory.parent}/state/kubeconfig:/yours",
        "600",
        "https://192.0.2.1:2379,https://192.0.2.2:1 none",
    ]


def test_contexts_and_namespaces_are_switched_by_short_commands(inventory: Path) -> None:
    done = shell(inventory, typed="kctx prod\nkns shop\nkctx\nfalse\n")
    assert done.returncode == 0, done.stderr
    assert "Sandbox lab: kubectl (k), helm, istioctl and etcdctl are its own" in done.stdout
    for words in (
        "kubectl config use-context prod",
        "kubectl config set-context --current --namespace=shop",
        "kubectl config get-contexts",
    ):
        assert words in done.stdout


def test_without_a_sandbox_it_says_how_to_make_one(inventory: Path) -> None:
    (inventory.parent / "state/kubeconfig").unlink()
    done = shell(inventory, "true")
    assert done.returncode == 1
    assert done.stderr.strip().splitlines()[-1] == (
        f"No sandbox 'lab' stands ({inventory.parent}/state/kubeconfig is missing): make up INVENTORY={inventory}"
    )
