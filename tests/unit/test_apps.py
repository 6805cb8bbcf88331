# Copyright: cicd.sandbox contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What role `apps` says where a release does not come up, with a Helm and an API server that only pretend."""

from __future__ import annotations

import base64
import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from checkout import REPOSITORY, load
from kubernetes_objects import fixture
from local_server import Answer, FakeKubernetes, Received, json_answer, serving, serving_kubernetes, write_kubeconfig

PLAYBOOK = """
- hosts: localhost
  gather_facts: false
  vars:
    artifacts_images: {web: "1.0"}
    apps_releases: [{name: front-end, component: web, values: {}}]
  tasks:
    - ansible.builtin.include_role:
        name: cicd.sandbox.apps
        tasks_from: "{{ entry_point }}"
"""
INVENTORY = """
all:
  vars: {sandbox_name: SANDBOX}
  hosts:
    localhost: {ansible_connection: local, ansible_python_interpreter: "{{ ansible_playbook_python }}"}
  children:
    infra: {hosts: {infra-1: {ansible_host: 192.0.2.2}}}
"""
HELM = """#!/bin/sh
case $1 in
  version) echo 'version.BuildInfo{Version:"v3.19.0"}' ;;
  show) cat "$3/Chart.yaml" ;;
  list | status) echo '[]' ;;
  upgrade)
    for word; do case $word in -f=*) cat "${word#*=}" > "$0.values" ;; esac; done
    [ -z "$HELM_SAYS" ] || { echo "Error: $HELM_SAYS" >&2; exit 1; } ;;
esac
"""
LOG = "django.db.utils.ProgrammingError: relation quotes_quote does not exist"


def labelled(obj: dict[str, Any], **labels: str) -> dict[str, Any]:
    obj["metadata"].setdefault("labels", {}).update(labels)
    return obj


@pytest.fixture
def api() -> FakeKubernetes:
    """A namespace where all is well."""
    front_end = fixture("deployment_unavailable")
    front_end["status"] |= {"readyReplicas": 2, "availableReplicas": 2}
    return FakeKubernetes([labelled(front_end, **{"app.kubernetes.io/instance": "front-end"})])


@pytest.fixture
def directory(tmp_path: Path, api: FakeKubernetes) -> Iterator[Path]:
    """A sandbox's state with a Helm and a kubeconfig."""
    helm = tmp_path / "bin/helm"
    helm.parent.mkdir()
    helm.write_text(HELM)
    helm.chmod(0o755)
    (tmp_path / "play.yml").write_text(PLAYBOOK)
    (tmp_path / "hosts.yml").write_text(INVENTORY.replace("SANDBOX", f"t-{os.getpid()}"))
    with serving_kubernetes(api, tmp_path / "kubeconfig"):
        yield tmp_path


def play(
    directory: Path, *arguments: str, helm_says: str = "", entry_point: str = "deploy"
) -> tuple[int, str, list[dict[str, Any]]]:
    """Run a part of the role; return the status, what the failed task said last, and all results."""
    extra = {"sandbox_state_directory": str(directory), "apps_timeout": 1, "entry_point": entry_point}
    line = ["ansible-playbook", f"--inventory={directory}/hosts.yml", f"--extra-vars={json.dumps(extra)}"]
    environment = {**os.environ, "ANSIBLE_STDOUT_CALLBACK": "ansible.posix.json", "HELM_SAYS": helm_says}
    run = subprocess.run(
        [*line, *arguments, str(directory / "play.yml")],
        check=False,
        capture_output=True,
        text=True,
        cwd=REPOSITORY,
        env=environment,
    )
    assert "{" in run.stdout, run.stdout + run.stderr
    tasks = json.JSONDecoder().raw_decode(run.stdout[run.stdout.index("{") :])[0]["plays"][0]["tasks"]
    results = [task["hosts"]["localhost"] for task in tasks]
    failed = [result for result in results if result.get("failed")]
    return run.returncode, failed[-1]["msg"] if failed else "", results


def deploy(directory: Path, *arguments: str, helm_says: str = "") -> tuple[int, str]:
    """Deploy; return the status and what the failed task said last."""
    return play(directory, *arguments, helm_says=helm_says)[:2]


def test_a_hook_that_fails_says_why(directory: Path, api: FakeKubernetes) -> None:
    job = labelled(fixture("job_failed"), **{"app.kubernetes.io/instance": "front-end"})
    pod = labelled(fixture("pod_init_failed"), **{"job-name": "migrate"})
    pod["status"]["initContainerStatuses"] = []
    pod["status"]["containerStatuses"][0]["state"] = {"terminated": {"exitCode": 1, "reason": "Error"}}
    api.objects += [job, pod]
    api.logs = {f"{pod['metadata']['name']}/main": LOG}
    status, said = deploy(directory, helm_says="pre-install hooks failed: BackoffLimitExceeded")
    assert status != 0
    assert said.startswith("front-end: ")
    assert "pre-install hooks failed: BackoffLimitExceeded" in said
    assert "Job apps/migrate: failed: BackoffLimitExceeded" in said
    assert LOG in said


def test_what_helm_refuses_is_said_where_all_is_ready(directory: Path) -> None:
    status, said = deploy(directory, helm_says="values don't meet the specifications of the schema")
    assert status != 0
    assert "values don't meet the specifications of the schema" in said
    assert "What is in the namespace apps: all of it is ready." in said


def test_a_release_that_does_not_get_ready_fails_and_says_why(directory: Path, api: FakeKubernetes) -> None:
    api.objects[0]["status"]["availableReplicas"] = 1
    status, said = deploy(directory)
    assert status != 0
    assert "Deployment apps/front-end: 1 of 2 replicas available" in said
    # What is not installed is not waited for.
    assert deploy(directory, "--check") == (0, "")


def test_releases_that_are_ready_need_no_patience(directory: Path) -> None:
    assert deploy(directory) == (0, "")
    assert (directory / "bin/helm.values").exists()


def test_the_front_end_links_to_names_of_the_sandboxs_domain(directory: Path) -> None:
    releases = load(REPOSITORY / "roles/apps/defaults/main.yml")["apps_releases"]
    extra = {
        "apps_releases": [release for release in releases if release["name"] == "front-end"],
        "artifacts_images": {"front_end": "1.0"},
        "sandbox_domain": "example.org",
    }
    assert deploy(directory, f"--extra-vars={json.dumps(extra)}") == (0, "")
    assert load(directory / "bin/helm.values")["env"]["SIBLING_DOMAIN"] == "example.org"


class Refusing:
    """An API server that has namespaces and, being asked for Secrets, refuses and quotes what it was sent."""

    def __init__(self, refused: str) -> None:
        self.refused = refused

    def answer(self, request: Received) -> Answer:
        verbs = ["create", "get", "list", "patch"]
        found: dict[str, Any] = {
            "/version": {"major": "1", "minor": "37", "gitVersion": "v1.37.0"},
            "/api": {"kind": "APIVersions", "versions": ["v1"]},
            "/apis": {"kind": "APIGroupList", "groups": []},
            "/api/v1": {
                "kind": "APIResourceList",
                "groupVersion": "v1",
                "resources": [
                    {"name": name, "singularName": "", "kind": kind, "namespaced": namespaced, "verbs": verbs}
                    for name, kind, namespaced in (("namespaces", "Namespace", False), ("secrets", "Secret", True))
                ],
            },
        }
        if request.path in found:
            return json_answer(found[request.path])
        plural = request.path.rstrip("/").split("/")[5 if "/secrets" in request.path else 3]
        if plural == self.refused and request.method != "GET":
            return FakeKubernetes.status(403, "Forbidden", f"refused: {request.body.decode()}")
        if request.method == "GET":
            return FakeKubernetes.status(404, "NotFound", "not found")
        return json_answer(json.loads(request.body), 201)


@pytest.mark.parametrize("refused", ["namespaces", "secrets"])
def test_what_the_api_server_refuses_is_said_without_secrets(directory: Path, refused: str) -> None:
    with serving(Refusing(refused).answer) as server:
        write_kubeconfig(directory / "kubeconfig", server.port)
        status, said, results = play(directory, entry_point="configure")
    assert status != 0
    assert "Forbidden" in said
    assert (
        "pod-security.kubernetes.io" if refused == "namespaces" else "Secrets postgresql and business-logic"
    ) in said
    passwords = [path.read_text().strip() for path in (directory / "secrets").iterdir()]
    assert len(passwords) == (0 if refused == "namespaces" else 2)
    told = json.dumps(results)
    assert not any(word in told for plain in passwords for word in (plain, base64.b64encode(plain.encode()).decode()))


def test_the_jobs_own_words_come_before_helms_patience_ends() -> None:
    values = load(REPOSITORY / "roles/apps/files/values/business-logic.yaml")["hookJobs"]["migrate"]
    (wait,) = [line.split()[-1] for line in values["args"][0].splitlines() if "wait_for_database" in line]
    tries = values["backoffLimit"] + 1
    # Kubernetes pauses for 10 s, then for twice as long; 15 s to start and to end each time on a busy machine.
    needed = tries * (int(wait) + 15) + 10 * (2 ** (tries - 1) - 1)
    assert needed < load(REPOSITORY / "roles/apps/defaults/main.yml")["apps_timeout"]
