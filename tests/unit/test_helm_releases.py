# Copyright: cicd.sandbox contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Modules helm_releases and release_info, with a Helm and an API server that only pretend."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.cicd.sandbox.plugins.module_utils.helm import running
from helm_records import deployment, helm_secret, make_chart
from kubernetes_objects import fixture
from local_server import FakeKubernetes, Server, serving_kubernetes
from modules import run_module

# Notes each call: when it began and ended, its arguments, the environment that speaks of clusters, its values.
HELM = """#!/bin/sh
name=$2
begin=$(date +%s.%N)
sleep "$(cat "$(dirname "$0")/seconds" 2>/dev/null || echo 0)"
for word; do case $previous in --values) cp "$word" "$0.$name.values" ;; esac; previous=$word; done
echo "$begin $(date +%s.%N) $*" > "$0.$name"
env | grep -E '^(HELM_|KUBE)' > "$0.$name.environment"
if [ -e "$(dirname "$0")/refuse-$name" ]; then cat "$(dirname "$0")/refuse-$name" >&2; exit 1; fi
"""
LOG = "django.db.utils.ProgrammingError: relation quotes_quote does not exist"


@pytest.fixture
def chart(tmp_path: Path) -> Path:
    return make_chart(tmp_path / "chart")


@pytest.fixture
def helm(tmp_path: Path) -> Path:
    path = tmp_path / "bin/helm"
    path.parent.mkdir()
    path.write_text(HELM)
    path.chmod(0o755)
    return path


@pytest.fixture
def fake() -> FakeKubernetes:
    return FakeKubernetes([])


@pytest.fixture
def server(fake: FakeKubernetes, tmp_path: Path) -> Iterator[Server]:
    with serving_kubernetes(fake, tmp_path / "kubeconfig") as serving:
        yield serving


Bring = Callable[..., dict[str, Any]]


@pytest.fixture
def bring(chart: Path, helm: Path, server: Server, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Bring:
    """Run the module on releases; each is of the chart and in the namespace `shop`."""
    assert server.port

    def run(*releases: dict[str, Any], check: bool = False, timeout: float = 1) -> dict[str, Any]:
        arguments = {
            "releases": [{"namespace": "shop", "chart": str(chart), **release} for release in releases],
            "kubeconfig": str(tmp_path / "kubeconfig"),
            "binary_path": str(helm),
            "timeout": timeout,
        }
        return run_module("helm_releases", arguments, capsys, check=check)

    return run


def called(helm: Path) -> list[str]:
    return sorted(path.name.removeprefix("helm.") for path in helm.parent.glob("helm.*") if path.name.count(".") == 1)


def test_what_is_missing_is_installed(bring: Bring, helm: Path, chart: Path, tmp_path: Path) -> None:
    result = bring({"name": "web", "values": {"replicas": 2}})
    assert result["changed"]
    assert [(one["state"], one["applied"]) for one in result["releases"]] == [("absent", True)]
    words = (helm.parent / "helm.web").read_text().split()[2:]
    assert words[:4] == ["upgrade", "web", str(chart), "--install"]
    assert words[words.index("--kubeconfig") + 1] == str(tmp_path / "kubeconfig")
    assert "--reset-values" in words
    assert yaml.safe_load((helm.parent / "helm.web.values").read_text()) == {"replicas": 2}


def test_what_is_current_costs_no_call(bring: Bring, fake: FakeKubernetes, helm: Path, chart: Path) -> None:
    fake.objects = [helm_secret("web", chart), deployment("web")]
    result = bring({"name": "web"})
    assert (result["changed"], called(helm)) == (False, [])


def test_check_mode_says_what_would_change(bring: Bring, fake: FakeKubernetes, helm: Path, chart: Path) -> None:
    fake.objects = [helm_secret("web", chart, {"replicas": 1}), deployment("web", ready=False)]
    result = bring({"name": "web", "values": {"replicas": 2}}, {"name": "api"}, check=True)
    assert (result["changed"], called(helm)) == (True, [])
    assert [one["state"] for one in result["releases"]] == ["outdated", "absent"]
    assert result["diff"][0]["after_header"] == "release shop/web (outdated: values of replicas)"
    assert (result["diff"][0]["before"], result["diff"][0]["after"]) == (
        "# chart 0.1.0\nreplicas: 1\n",
        "# chart 0.1.0\nreplicas: 2\n",
    )


def test_other_clusters_of_the_environment_have_no_effect(
    bring: Bring, helm: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("HELM_KUBECONTEXT", "HELM_NAMESPACE", "HELM_DRIVER", "KUBECONFIG", "HELM_KUBETOKEN"):
        monkeypatch.setenv(name, "elsewhere")
    bring({"name": "web"})
    assert "elsewhere" not in (helm.parent / "helm.web.environment").read_text()


def times(helm: Path, name: str) -> tuple[float, float]:
    begin, end = (helm.parent / f"helm.{name}").read_text().split()[:2]
    return float(begin), float(end)


def test_releases_are_worked_on_side_by_side_and_after_each_other(bring: Bring, helm: Path) -> None:
    (helm.parent / "seconds").write_text("0.5")
    bring({"name": "web", "after": ["api", "db"]}, {"name": "api"}, {"name": "db"})
    spans = {name: times(helm, name) for name in ("web", "api", "db")}
    assert max(spans["api"][0], spans["db"][0]) < min(spans["api"][1], spans["db"][1])
    assert spans["web"][0] >= max(spans["api"][1], spans["db"][1])


def test_what_comes_after_a_failure_is_not_tried_and_the_rest_is(bring: Bring, helm: Path) -> None:
    (helm.parent / "refuse-db").write_text("Error: values don't meet the specifications of the schema")
    result = bring({"name": "db"}, {"name": "api", "after": ["db"]}, {"name": "web"})
    assert result["failed"]
    assert result["msg"] == (
        "db (namespace shop): values don't meet the specifications of the schema\n"
        "api (namespace shop): not tried: db failed"
    )
    assert called(helm) == ["db", "web"]


def test_a_hook_that_fails_says_why(bring: Bring, fake: FakeKubernetes, helm: Path) -> None:
    job, pod = fixture("job_failed"), fixture("pod_init_failed")
    job["metadata"].setdefault("labels", {})["app.kubernetes.io/instance"] = "api"
    pod["metadata"].setdefault("labels", {})["job-name"] = "migrate"
    pod["status"]["initContainerStatuses"] = []
    pod["status"]["containerStatuses"][0]["state"] = {"terminated": {"exitCode": 1, "reason": "Error"}}
    fake.objects = [job, pod]
    fake.logs = {f"{pod['metadata']['name']}/main": LOG}
    (helm.parent / "refuse-api").write_text("Error: pre-install hooks failed: BackoffLimitExceeded")
    result = bring({"name": "api", "namespace": job["metadata"]["namespace"]})
    assert result["msg"].startswith("api (namespace apps): pre-install hooks failed: BackoffLimitExceeded\n")
    assert "Job apps/migrate: failed: BackoffLimitExceeded" in result["msg"]
    assert LOG in result["msg"]


def test_a_release_that_does_not_get_ready_says_why(bring: Bring, fake: FakeKubernetes, chart: Path) -> None:
    fake.objects = [helm_secret("web", chart), deployment("web", ready=False)]
    result = bring({"name": "web"})
    assert result["failed"]
    assert "web (namespace shop): not ready: Deployment shop/web: 0 of 1 replicas available" in result["msg"]
    # Nobody waits for it.
    assert not bring({"name": "web", "wait": False}).get("failed")


def test_a_release_that_can_t_get_ready_is_not_waited_for(
    bring: Bring, fake: FakeKubernetes, chart: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its image has no name; pods of the release before it, which are broken in the same way, are about to go."""
    monkeypatch.setattr(running, "_POLL", 0.01)
    revision = {"deployment.kubernetes.io/revision": "2"}
    broken = deployment("web", ready=False)
    broken["metadata"] |= {"uid": "u", "annotations": revision}
    broken["spec"]["selector"] = {"matchLabels": {"app": "web"}}
    replicas = {
        "apiVersion": "apps/v1",
        "kind": "ReplicaSet",
        "metadata": {
            "name": "web-b",
            "namespace": "shop",
            "annotations": revision,
            "labels": {"pod-template-hash": "b"},
            "ownerReferences": [{"uid": "u"}],
        },
    }
    pod = fixture("pod_crash_loop")
    pod["metadata"] |= {"namespace": "shop", "labels": {"app": "web", "pod-template-hash": "a"}}
    pod["status"]["containerStatuses"][0]["state"] = {"waiting": {"reason": "InvalidImageName"}}
    fake.objects = [helm_secret("web", chart), broken, replicas, pod]
    assert "not waited for" not in bring({"name": "web"})["msg"]
    pod["metadata"]["labels"]["pod-template-hash"] = "b"
    begin = time.monotonic()
    result = bring({"name": "web"}, timeout=60)
    assert time.monotonic() - begin < 30
    assert "; not waited for any longer: Pod shop/front-end-5d4-crash: container front-end: " in result["msg"]


def test_one_release_s_oddity_is_its_own(bring: Bring, helm: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    apply = running.Helm.apply

    def odd(helm: running.Helm, release: Any) -> str:
        if release.name == "odd":
            raise TypeError("odd\nerror")
        return apply(helm, release)

    monkeypatch.setattr(running.Helm, "apply", odd)
    result = bring({"name": "web"}, {"name": "odd"})
    assert result["msg"].splitlines()[-1] == "odd (namespace shop): TypeError: odd error"
    assert called(helm) == ["web"]
    assert [one["name"] for one in result["releases"]] == ["web", "odd"]


def test_a_release_gets_ready_while_it_is_waited_for(bring: Bring, fake: FakeKubernetes, chart: Path) -> None:
    fake.objects = [helm_secret("web", chart), deployment("web", ready=False)]

    class Healing(list[dict[str, Any]]):
        begun = time.monotonic()

        def __iter__(self) -> Iterator[dict[str, Any]]:
            return iter([self[0], deployment("web", ready=time.monotonic() > self.begun + 1.5)])

    fake.objects = Healing(fake.objects)
    result = bring({"name": "web"}, timeout=20)
    assert 0 < result["releases"][0]["seconds"] < 15


def test_what_was_installed_is_asked_for_alone(bring: Bring, fake: FakeKubernetes, server: Server, chart: Path) -> None:
    """Records are large, and there is one for every revision of every release."""
    fake.objects = [helm_secret("web", chart, {"replicas": 1}), deployment("web"), helm_secret("other", chart)]
    assert not bring({"name": "web", "values": {"replicas": 2}}).get("failed")
    asked = [request for request in server.received if request.path.endswith("/secrets")]
    assert [request.query["labelSelector"] for request in asked] == [["owner=helm"], ["owner=helm,name=web"]]
    assert asked[1].path == "/api/v1/namespaces/shop/secrets"


def test_a_helm_that_is_not_there_is_named(bring: Bring, helm: Path) -> None:
    helm.unlink()
    assert f"{helm} can't be started" in bring({"name": "web"})["msg"]


def test_a_cluster_that_does_not_answer_is_named(bring: Bring, tmp_path: Path) -> None:
    (tmp_path / "kubeconfig").write_text((tmp_path / "kubeconfig").read_text().replace("127.0.0.1:", "127.0.0.1:1"))
    result = bring({"name": "web"})
    assert result["failed"]
    assert "the API server http://127.0.0.1:1" in result["msg"]


# --- release_info -----------------------------------------------------------------------------------------------------


@pytest.fixture
def look(chart: Path, server: Server, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Bring:
    assert server.port

    def run(**arguments: Any) -> dict[str, Any]:
        described = {"releases": [{"name": "web", "namespace": "shop", "chart": str(chart)}]}
        return run_module(
            "release_info", {**described, **arguments, "kubeconfig": str(tmp_path / "kubeconfig")}, capsys
        )

    return run


def namespace(name: str, **labels: str) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}}


def secret(name: str, **data: str) -> dict[str, Any]:
    encoded = {key: base64.b64encode(value.encode()).decode() for key, value in data.items()}
    metadata = {"name": name, "namespace": "shop"}
    return {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "data": encoded}


def test_all_that_is_there_needs_nothing(look: Bring, fake: FakeKubernetes, chart: Path, tmp_path: Path) -> None:
    (tmp_path / "db-password").write_text("hunter2\n")
    fake.objects = [
        namespace("shop", team="web", other="label"),
        secret("db", password="hunter2", more="of somebody else"),
        helm_secret("web", chart),
        deployment("web"),
    ]
    wanted = {"namespace": "shop", "name": "db", "files": {"password": str(tmp_path / "db-password")}}
    found = look(namespaces={"shop": {"team": "web"}}, secrets=[wanted])
    assert found["settled"]
    assert (found["namespaces"], found["secrets"], found["unfinished"]) == ([], [], [])
    assert "hunter2" not in json.dumps(found)

    (tmp_path / "db-password").write_text("another")
    assert look(secrets=[wanted])["secrets"] == [{"namespace": "shop", "name": "db"}]
    (tmp_path / "db-password").unlink()
    assert not look(secrets=[wanted])["settled"]


def test_what_is_missing_is_told(look: Bring, fake: FakeKubernetes, chart: Path, tmp_path: Path) -> None:
    fake.objects = [namespace("shop"), helm_secret("web", chart, status="pending-install")]
    wanted = {"namespace": "shop", "name": "db", "files": {"password": str(tmp_path / "none")}}
    found = look(namespaces={"shop": {"team": "web"}, "more": {}}, secrets=[wanted])
    assert not found["settled"]
    assert [(item["metadata"]["name"], item["metadata"]["labels"]) for item in found["namespaces"]] == [
        ("shop", {"team": "web"}),
        ("more", {}),
    ]
    assert found["secrets"] == [{"namespace": "shop", "name": "db"}]
    assert [item["metadata"]["name"] for item in found["unfinished"]] == ["sh.helm.release.v1.web.v1"]
    assert [(one["state"], one["reason"]) for one in found["releases"]] == [
        ("unfinished", "revision 1 is pending-install")
    ]
