# Copyright: cicd.sandbox contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a run says where kubeadm fails, with programs that only pretend."""

from __future__ import annotations

from pathlib import Path

import pytest
from checkout import REPOSITORY
from local_server import make_authority
from playbook_run import run_playbook

PLAYBOOK = f"""
- hosts: all
  gather_facts: false
  any_errors_fatal: true
  vars:
    ansible_connection: local
    ansible_python_interpreter: "{{{{ ansible_playbook_python }}}}"
    __cluster_start: "{{{{ 'init' if inventory_hostname == 'cp-1' else 'join' }}}}"
    __cluster_first_control_plane: cp-1
    sandbox_direct_environment: {{}}
    __cluster_new_nodes: [cp-1, worker-1]
    __cluster_pod_logs: "{{{{ playbook_dir }}}}/pods"
  tasks:
    - ansible.builtin.include_tasks: {REPOSITORY}/roles/cluster/tasks/kubeadm.yml
"""
JOURNAL = """\
I1124 03:53:21.653819    1624 server.go:545] "Kubelet version" kubeletVersion="v1.37.2"
E1124 03:53:21.995820    1624 run.go:72] "command failed" err="could not detect clock speed"
kubelet.service: Main process exited, code=exited, status=1/FAILURE
"""


STANDING = f"""
- hosts: all
  gather_facts: false
  any_errors_fatal: true
  vars:
    ansible_connection: local
    ansible_python_interpreter: "{{{{ ansible_playbook_python }}}}"
    sandbox_api_server: https://127.0.0.1:1
    sandbox_pki_directory: "{{{{ playbook_dir }}}}/pki"
    cluster_ready_timeout: 0
    __cluster_admin_current: true
    __cluster_stands: true
    __cluster_joined_control_planes: [cp-1]
    __cluster_new_nodes: []
    __cluster_pod_logs: "{{{{ playbook_dir }}}}/pods"
  tasks:
    - ansible.builtin.include_tasks: {REPOSITORY}/roles/cluster/tasks/join.yml
"""


def messages(
    directory: Path, fails: str = "init|join", playbook: str = PLAYBOOK, hosts: str = "cp-1,worker-1,"
) -> dict[str, str]:
    """Run the tasks where commands of kubeadm fail; return what each host failed with."""
    programs = {
        "kubeadm": f'case $1 in {fails}) echo "error: the API server did not come up" >&2; exit 1 ;; esac',
        "journalctl": f"cat <<'END'\n{JOURNAL}END",
    }
    for name, script in programs.items():
        (directory / name).write_text(f"#!/bin/sh\n{script}\n")
        (directory / name).chmod(0o755)
    (directory / "play.yml").write_text(playbook)
    run = run_playbook(directory / "play.yml", f"--inventory={hosts}", programs=directory, fails=True)
    failed = [answer for answer in run.answers if answer.failed and "cmd" not in answer.result]
    return {answer.host: answer.result["msg"] for answer in failed}


def test_a_kubelet_that_does_not_run_says_why(tmp_path: Path) -> None:
    assert messages(tmp_path)["cp-1"].splitlines() == [
        "kubeadm init failed on cp-1:",
        "error: the API server did not come up",
        "The kubelet's last errors:",
        *JOURNAL.splitlines()[1:],
        "The last lines of its pods:",
        "none: no container was started",
    ]


def test_a_pod_that_does_not_run_says_why(tmp_path: Path) -> None:
    log = tmp_path / "pods/kube-system_kube-apiserver-cp-1_1/kube-apiserver/0.log"
    log.parent.mkdir(parents=True)
    log.write_text("".join(f"line {number}\n" for number in range(20)))
    assert messages(tmp_path)["cp-1"].splitlines()[-9:] == [
        f"==> {log} <==",
        *(f"line {number}" for number in range(12, 20)),
    ]


def test_where_there_is_no_cluster_to_join_only_that_is_told(tmp_path: Path) -> None:
    assert list(messages(tmp_path)) == ["cp-1"]


def test_nodes_that_joined_do_not_tell_of_another_ones_failure(tmp_path: Path) -> None:
    found = messages(tmp_path, fails="join")
    assert list(found) == ["worker-1"]
    assert found["worker-1"].startswith("kubeadm join failed on worker-1:\nerror: the API server did not come up\n")


@pytest.mark.parametrize("hosts", ["cp-1,worker-1,", "worker-1,"], ids=["all", "limited to a worker"])
def test_an_api_server_of_a_standing_cluster_that_does_not_answer_says_why(tmp_path: Path, hosts: str) -> None:
    (tmp_path / "pki/kubernetes").mkdir(parents=True)
    (tmp_path / "pki/kubernetes/ca.crt").write_bytes(make_authority(tmp_path).ca.read_bytes())
    found = messages(tmp_path, playbook=STANDING, hosts=hosts)
    said = " ".join(found[hosts.split(",", maxsplit=1)[0]].split())
    assert said.startswith("The API server of the standing cluster does not answer. 1 of 1 checks failed API server: ")
    assert "127.0.0.1:1: connection refused, nothing listens there" in said
    assert ("could not detect clock speed" in said) == hosts.startswith("cp-1")
