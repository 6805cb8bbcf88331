# Copyright: cicd.sandbox contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Restart of a control plane: how long it is waited for, and what is said where it does not come back."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import yaml
from checkout import REPOSITORY
from kubernetes_objects import fixture
from local_server import FakeKubernetes, serving_kubernetes
from playbook_run import PlaybookRun, run_playbook

COMPONENTS = ("kube-apiserver", "kube-controller-manager", "kube-scheduler")


@pytest.fixture
def pods() -> list[dict[str, Any]]:
    """The pods of a control plane that runs with the configuration `new`."""
    found = []
    for component in COMPONENTS:
        pod = copy.deepcopy(fixture("pod_ready"))
        annotations = {"sandbox-configuration": "new"}
        pod["metadata"] |= {"name": f"{component}-cp-1", "namespace": "kube-system", "annotations": annotations}
        found.append(pod)
    return found


def restart(directory: Path, pods: list[dict[str, Any]], *, patience: int, fails: bool) -> PlaybookRun:
    for name, script in {"kubeadm": "exit 0", "journalctl": "echo words"}.items():
        (directory / name).write_text(f"#!/bin/sh\n{script}\n")
        (directory / name).chmod(0o755)
    variables = {
        "ansible_connection": "local",
        "ansible_python_interpreter": "{{ ansible_playbook_python }}",
        "sandbox_direct_environment": {},
        "sandbox_kubeconfig": str(directory / "kubeconfig"),
        "cluster_ready_timeout": patience,
        "__cluster_restarted": "cp-1",
        "__cluster_looks": 2,
        "__cluster_pod_logs": str(directory / "pods"),
    }
    tasks = [
        {"ansible.builtin.set_fact": {"__cluster_configuration": "new"}},
        {"ansible.builtin.include_tasks": f"{REPOSITORY}/roles/cluster/tasks/restart_control_plane.yml"},
    ]
    play = {"hosts": "all", "gather_facts": False, "any_errors_fatal": True, "vars": variables, "tasks": tasks}
    (directory / "play.yml").write_text(yaml.safe_dump([play]), encoding="utf-8")
    inventory = "--inventory=cp-1,cp-2,"
    with serving_kubernetes(FakeKubernetes(pods), directory / "kubeconfig"):
        return run_playbook(directory / "play.yml", inventory, programs=directory, fails=fails)


def looks(run: PlaybookRun) -> int:
    return sum(answer.task.startswith("Wait until the pods of the control plane run") for answer in run.answers)


def test_it_is_waited_for_until_it_runs(tmp_path: Path, pods: list[dict[str, Any]]) -> None:
    assert looks(restart(tmp_path, pods, patience=60, fails=False)) == 1


def test_one_that_keeps_its_old_configuration_is_named(tmp_path: Path, pods: list[dict[str, Any]]) -> None:
    """Though all its pods are ready."""
    pods[2]["metadata"]["annotations"]["sandbox-configuration"] = "old"
    run = restart(tmp_path, pods, patience=2, fails=True)
    assert looks(run) == 2
    said = next(answer.result["msg"] for answer in run.answers if answer.failed and "kubelet" in answer.result["msg"])
    assert said.startswith("cp-1 does not run with its changed configuration. Put the setting right and run again.")
    assert (
        'scheduler: Pod kube-system/kube-scheduler-cp-1: metadata.annotations."sandbox-configuration" is "old"' in said
    )


def test_arguments_that_can_t_be_read_are_not_waited_for(tmp_path: Path, pods: list[dict[str, Any]]) -> None:
    log = tmp_path / "pods/kube-system_kube-apiserver-cp-1_1/kube-apiserver/3.log"
    log.parent.mkdir(parents=True)
    log.write_text("2026-11-29T22:00:00Z stderr F Error: unknown flag: --bogus\n", encoding="utf-8")
    run = restart(tmp_path, pods[1:], patience=10, fails=True)
    assert looks(run) == 1
    said = next(answer.result["msg"] for answer in run.answers if answer.failed and "kubelet" in answer.result["msg"])
    assert "API server: Pod kube-system/kube-apiserver-cp-1 does not exist" in said
    assert "Error: unknown flag: --bogus" in said


def test_a_change_that_did_not_end_counts_for_nothing(tmp_path: Path) -> None:
    """With the settings of before, the next run begins anew: what it finds is not what was applied last."""
    (tmp_path / "kubeadm").write_text("#!/bin/sh\nexit 1\n")
    (tmp_path / "kubeadm").chmod(0o755)
    record = tmp_path / "applied-1.37.2"
    record.write_text("before\n", encoding="utf-8")
    variables = {
        "ansible_connection": "local",
        "ansible_python_interpreter": "{{ ansible_playbook_python }}",
        "sandbox_direct_environment": {},
        "__cluster_first_control_plane": "cp-1",
        "__cluster_applied": {"path": str(record), "content": "changed\n"},
    }
    tasks = [{"ansible.builtin.include_tasks": f"{REPOSITORY}/roles/cluster/tasks/change.yml"}]
    play = {"hosts": "all", "gather_facts": False, "vars": variables, "tasks": tasks}
    (tmp_path / "play.yml").write_text(yaml.safe_dump([play]), encoding="utf-8")
    run_playbook(tmp_path / "play.yml", "--inventory=cp-1,", programs=tmp_path, fails=True)
    assert record.read_text(encoding="utf-8") not in ("before\n", "changed\n")
