# Copyright: cicd.sandbox contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What `make status` says of a sandbox that is whole, broken, half there or not there."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.cicd.sandbox.plugins.filter.api_server_checks import api_server_checks
from ansible_collections.cicd.sandbox.plugins.module_utils.checks.arguments import read_checks
from ansible_collections.cicd.sandbox.plugins.module_utils.summary.problems import problems
from kubernetes_objects import fixture
from local_server import Answer, FakeKubernetes, make_authority, serving, serving_kubernetes, write_kubeconfig
from playbook_run import PlaybookRun, run_playbook

WELL: dict[str, Any] = {"certificates": []}
OFF = {
    "unreachable": True,
    "msg": "Task failed: Data could not be sent. Make sure this host can be reached over ssh: No route\n",
}


class TestProblems:
    def test_none_where_all_is_well(self) -> None:
        assert problems({"cp-1": (WELL, {"problems": []}, {"skipped": True})}, ["cp-1"], "", "", []) == []

    def test_one_machine_that_is_off(self) -> None:
        looks = {"worker-1": (OFF, {}), "worker-2": (WELL, {})}
        assert problems(looks, ["worker-1", "worker-2"], "", "", []) == [
            "worker-1 can't be reached by SSH: No route; make up starts it where it is off."
        ]
        (line,) = problems(looks, [], "", "", [])
        assert line.endswith("; start it, or look at the way to it.")

    def test_all_machines_are_off(self) -> None:
        looks = {"cp-1": (OFF, {}), "worker-1": (OFF, {})}
        lines = problems(looks, list(looks), "", "no route", ["1 of 1 checks failed\nregistry: no route"])
        assert lines == [
            "Kubernetes does not answer: no route",
            "None of the 2 machines can be reached: they are off. make up starts them.",
            "1 of 1 checks failed",
            "registry: no route",
        ]
        assert len(problems(looks, ["cp-1"], "", "", [])) == 2

    def test_machines_of_somebody_else(self) -> None:
        looks = {host: (OFF | {"msg": "root@a: Permission denied (publickey)."}, {}) for host in ("a", "b")}
        lines = problems(looks, ["a", "b"], "", "", [])
        assert [line.endswith("is it of another user, or of another HOME?") for line in lines] == [True, True]

    def test_machines_whose_host_keys_nobody_knows(self) -> None:
        """They are on: something takes connections there."""
        words = "No ED25519 host key is known for 198.18.0.2.\nHost key verification failed."
        looks = {host: (OFF | {"msg": words}, {}) for host in ("a", "b")}
        lines = problems(looks, ["a", "b"], "", "", [])
        assert [line.endswith("know its host key: is it of another user, or of another HOME?") for line in lines] == [
            True,
            True,
        ]

    def test_machines_that_take_no_connection(self) -> None:
        """They were not asked."""
        silent = {"worker-1": "it is silent"}
        assert problems(
            {"worker-1": ({}, {}), "worker-2": (WELL, {})}, ["worker-1", "worker-2"], "", "", [], silent
        ) == ["worker-1 can't be reached by SSH: it is silent; make up starts it where it is off."]

    def test_services_that_do_not_run(self) -> None:
        told = {"problems": ["etcd.service is failed. It wrote last:", "  no space"]}
        assert problems({"etcd-1": (WELL, told)}, [], "", "", []) == [
            "etcd-1: etcd.service is failed. It wrote last:",
            "  no space",
        ]

    def test_a_host_that_can_t_be_looked_at(self) -> None:
        assert problems({"a": ({"msg": "python3: not found", "rc": 127}, {})}, [], "", "", []) == [
            "a can't be looked at: python3: not found"
        ]

    def test_half_a_sandbox(self) -> None:
        (line,) = problems({}, [], "/home/me/kubeconfig", "no such file", [])
        assert line.startswith("There is a part of a sandbox and no cluster: /home/me/kubeconfig is not there")
        assert "make up goes on from there, make down removes what there is" in line


def test_each_api_server_is_checked(tmp_path: Path) -> None:
    authority = make_authority(tmp_path)
    checks = api_server_checks({"a": "198.18.0.21", "b": "fd00::1", "c": "x"}, ["a", "b"], str(authority.ca))
    assert [check["url"] for check in checks] == ["https://198.18.0.21:6443/readyz", "https://[fd00::1]:6443/readyz"]
    assert len(read_checks(checks, 1, 0)) == 2


@pytest.fixture
def state(tmp_path: Path) -> Path:
    return tmp_path / "state"


def status(state: Path) -> PlaybookRun:
    """Run the playbook with machines of which nothing answers."""
    machines = {"infra-1": "infra", "etcd-1": "etcd", "cp-1": "control_plane", "worker-1": "workers"}
    nobody = {"ansible_host": "127.0.0.1", "ansible_port": 1, "machines_provider": "nspawn"}
    groups = {group: {"hosts": {name: nobody}} for name, group in machines.items()}
    local = {"ansible_connection": "local", "ansible_python_interpreter": "{{ ansible_playbook_python }}"}
    inventory = {
        "hosts": {"localhost": local},
        "children": {"machines": {"children": groups}},
        "vars": {
            "sandbox_name": "t-status",
            "sandbox_state_directory": str(state),
            "sandbox_registry_port": 1,
            "sandbox_local_endpoint_port": 1,
            "sandbox_pages_https": "off",
        },
    }
    path = state.with_name("hosts.yml")
    path.write_text(yaml.safe_dump({"all": inventory}), encoding="utf-8")
    return run_playbook("playbooks/status.yml", f"--inventory={path}", fails=True)


class Standing:
    """A sandbox that answers: machines are this computer, with a systemd that only pretends."""

    def __init__(self, directory: Path) -> None:
        self.state = directory / "state"
        (self.state / "pki").mkdir(parents=True)
        self.directory = directory
        self.cluster = FakeKubernetes(
            [fixture("deployment_unavailable"), fixture("pod_crash_loop"), *fixture("events")]
        )
        self.cluster.objects[0]["status"] |= {"readyReplicas": 2, "availableReplicas": 2}
        self.page = Answer(200, b"Quotes")
        self.units = dict.fromkeys(
            ["etcd", "haproxy", "nginx", "docker-registry", "docker-registry-readonly"], "active"
        )

    def status(self, *arguments: str, fails: bool) -> list[str]:
        """Run the playbook; return the lines that say what ails the sandbox."""
        systemctl = "".join(
            f"[ $word != {name} ] || printf 'Id={name}.service\\nLoadState=loaded\\nActiveState={state}\\n\\n'\n"
            for name, state in self.units.items()
        )
        for name, script in {"systemctl": f"for word; do\n{systemctl}done", "journalctl": "echo $1 says"}.items():
            (self.directory / name).write_text(f"#!/bin/sh\n{script}\n")
            (self.directory / name).chmod(0o755)
        local = {"ansible_connection": "local", "ansible_python_interpreter": "{{ ansible_playbook_python }}"}
        with (
            serving_kubernetes(self.cluster, self.state / "kubeconfig"),
            serving(lambda request: self.page) as server,
        ):
            checks = [
                {"name": "front-end", "kubernetes": {"kind": "Deployment", "namespace": "apps", "name": "front-end"}},
                {"name": "landing page", "url": f"http://127.0.0.1:{server.port}/"},
            ]
            variables = {
                "sandbox_name": "t-status",
                "sandbox_state_directory": str(self.state),
                "sandbox_pages_https": "off",
                "smoke_checks": checks,
            }
            groups = {
                "infra": {"hosts": {"infra-1": {"ansible_host": "127.0.0.1"}}},
                "etcd": {"hosts": {"etcd-1": {"ansible_host": "127.0.0.1"}}},
            }
            inventory = {
                "hosts": {"localhost": {}},
                "children": {"machines": {"children": groups}},
                "vars": variables | local,
            }
            path = self.directory / "hosts.yml"
            path.write_text(yaml.safe_dump({"all": inventory}), encoding="utf-8")
            run = run_playbook(
                "playbooks/status.yml", f"--inventory={path}", *arguments, programs=self.directory, fails=fails
            )
        assert (run.returncode != 0) == fails
        return run.answers[-1].result["msg"].splitlines() if fails else []


def test_all_is_well(tmp_path: Path) -> None:
    assert Standing(tmp_path).status(fails=False) == []


def test_the_tag_of_the_playbook_only_looks_too(tmp_path: Path) -> None:
    """Roles are there for what they know: none makes a CA, or checks for two minutes."""
    assert Standing(tmp_path).status("--tags=status", fails=False) == []
    assert list((tmp_path / "state/pki").iterdir()) == []
    assert not (tmp_path / "state/reports").exists()


def test_one_member_of_etcd_is_down(tmp_path: Path) -> None:
    """Nothing else ails the sandbox; its host is asked all the same."""
    standing = Standing(tmp_path)
    standing.units["etcd"] = "failed"
    assert standing.status(fails=True) == [
        "etcd-1: etcd.service is failed. It wrote last:",
        "  --unit=etcd.service says",
    ]


def test_a_service_is_down_and_a_pod_crashes(tmp_path: Path) -> None:
    """What does not answer is said with what its host says of its services, and what ails the pods behind it."""
    standing = Standing(tmp_path)
    standing.units["nginx"] = "inactive"
    standing.page = Answer(503)
    standing.cluster.objects[0]["status"] |= {"availableReplicas": 1}
    standing.cluster.logs["front-end-5d4-crash/front-end/previous"] = "Error: API_URL is not set"
    said = standing.status(fails=True)
    assert said[0] == "infra-1: nginx.service is inactive. It wrote last:"
    assert any(line.startswith("landing page: status 503, expected 200") for line in said)
    assert any(line.startswith("front-end: Deployment apps/front-end: 1 of 2 replicas available") for line in said)
    assert "Error: API_URL is not set" in [line.strip() for line in said]


def test_nothing_is_there(state: Path) -> None:
    """One look, and no machine is asked."""
    run = status(state)
    assert {answer.host for answer in run.answers} == {"localhost"}
    (failed,) = [answer.result["msg"] for answer in run.answers if answer.failed]
    assert failed == f"No sandbox t-status stands on this machine ({state}/kubeconfig is not there). make up makes one."


def test_nothing_answers(state: Path) -> None:
    """Every kind of look says once what it found, and the run fails at its end."""
    for name in ("sandbox", "kubernetes"):
        (state / "pki" / name).mkdir(parents=True)
    authority = make_authority(state / "pki/sandbox")
    shutil.copy(authority.ca, state / "pki/kubernetes/ca.crt")
    (state / "secrets").mkdir()
    for name in ("registry", "registry-nodes"):
        (state / f"secrets/{name}-password").write_text("x", encoding="utf-8")
    write_kubeconfig(state / "kubeconfig", 1)
    run = status(state)
    last = run.answers[-1]
    assert last.failed
    assert last.task.endswith("Check that nothing ails the sandbox")
    lines = last.result["msg"].splitlines()
    assert (
        lines[0] == "Kubernetes does not answer: the API server http://127.0.0.1:1 can't be reached: Connection refused"
    )
    assert lines[1] == "None of the 4 machines can be reached: they are off. make up starts them."
    assert lines[2] == "6 of 6 checks failed"
    assert [line.split(":")[0] for line in lines[3:]] == [
        "landing page",
        "landing page without a login",
        "registry asks for a password",
        "registry lets the user in",
        "registry for nodes lets nodes in",
        "API server on cp-1",
    ]
    # A machine that takes no connection is not asked.
    assert {answer.host for answer in run.answers} == {"localhost", "addresses-of-t-status"}

    (state / "kubeconfig").unlink()
    lines = status(state).answers[-1].result["msg"].splitlines()
    assert lines[0].startswith(f"There is a part of a sandbox and no cluster: {state}/kubeconfig is not there")
    assert "make up goes on from there" in lines[0]
