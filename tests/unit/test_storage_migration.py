# Copyright: cicd.sandbox contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a cluster stored is written anew by its own controller; the fake one needs some looks for each resource."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from local_server import Answer, FakeKubernetes, Received, json_answer, serving_kubernetes
from modules import run_module

MIGRATIONS = "/apis/storagemigration.k8s.io/v1/storageversionmigrations"
# Path → what is stored there and what is not, as the API server lists it.
APIS: dict[str, list[dict[str, Any]]] = {
    "/api/v1": [
        {"name": "secrets", "storageVersionHash": "a"},
        {"name": "configmaps", "storageVersionHash": "b"},
        {"name": "bindings"},
    ],
    "/apis/apps/v1": [{"name": "deployments", "storageVersionHash": "c"}, {"name": "deployments/scale"}],
    "/apis/metrics.k8s.io/v1beta1": [{"name": "pods"}],
}


class Cluster(FakeKubernetes):
    """Migrations succeed at the second look, but those that are told to fail or to hang."""

    def __init__(self) -> None:
        super().__init__([])
        self.migrations: dict[str, dict[str, Any]] = {}
        self.migrated: list[str] = []
        self.outcomes: dict[str, dict[str, str]] = {}
        self.served = True
        self.away = False

    def answer(self, request: Received) -> Answer:
        if request.path == "/apis":
            groups = [("apps", "apps/v1"), ("metrics.k8s.io", "metrics.k8s.io/v1beta1")]
            listed = [{"name": name, "versions": [{"groupVersion": version}]} for name, version in groups]
            return json_answer({"groups": listed})
        if request.path in APIS:
            if self.away and "metrics" in request.path:
                return self.status(503, "ServiceUnavailable", "nobody is there")
            return json_answer({"resources": APIS[request.path]})
        if not request.path.startswith(MIGRATIONS) or not self.served:
            return self.status(404, "NotFound", "the server could not find the requested resource")
        return self.migration(request)

    def migration(self, request: Received) -> Answer:
        if request.method == "DELETE":
            return json_answer(self.migrations.pop(request.path.removeprefix(MIGRATIONS).strip("/")))
        if request.method == "POST":
            made = json.loads(request.body)
            assert made["metadata"]["name"] not in self.migrations
            self.migrations[made["metadata"]["name"]] = made
            self.migrated.append(".".join(made["spec"]["resource"].values()))
            return json_answer(made, 201)
        items = [dict(item) for item in self.migrations.values()]
        for name, item in self.migrations.items():
            outcome = self.outcomes.get(name, {"type": "Succeeded", "status": "True", "reason": "", "message": ""})
            item["status"] = {"conditions": [outcome]}
        return json_answer({"items": items})


@pytest.fixture
def cluster() -> Cluster:
    return Cluster()


@pytest.fixture
def kubeconfig(cluster: Cluster, tmp_path: Path) -> Iterator[Path]:
    with serving_kubernetes(cluster, tmp_path / "kubeconfig"):
        yield tmp_path / "kubeconfig"


def run(
    kubeconfig: Path, capsys: pytest.CaptureFixture[str], *resources: str, check: bool = False, timeout: float = 20
) -> dict[str, Any]:
    arguments = {"kubeconfig": str(kubeconfig), "resources": list(resources), "timeout": timeout}
    return run_module("storage_migration", arguments, capsys, check=check)


@pytest.mark.parametrize(
    ("patterns", "wanted"),
    [
        (["secrets"], ["secrets"]),
        (["secrets", "deployments.apps"], ["secrets", "deployments.apps"]),
        (["*."], ["configmaps", "secrets"]),
        (["*.apps", "secrets"], ["secrets", "deployments.apps"]),
        (["*.*"], ["configmaps", "secrets", "deployments.apps"]),
    ],
)
def test_what_is_meant_is_written_anew_and_nothing_is_left(
    cluster: Cluster, kubeconfig: Path, capsys: pytest.CaptureFixture[str], patterns: list[str], wanted: list[str]
) -> None:
    result = run(kubeconfig, capsys, *patterns)
    assert (result["changed"], result["resources"]) == (True, wanted)
    assert sorted(cluster.migrated) == sorted(
        ".".join(reversed(name.split("."))) if "." in name else f".{name}" for name in wanted
    )
    assert cluster.migrations == {}


def test_in_check_mode_it_is_only_said(cluster: Cluster, kubeconfig: Path, capsys: pytest.CaptureFixture[str]) -> None:
    result = run(kubeconfig, capsys, "secrets", check=True)
    assert (result["changed"], result["resources"], cluster.migrated) == (True, ["secrets"], [])


def test_what_a_killed_run_left_is_begun_anew(
    cluster: Cluster, kubeconfig: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cluster.migrations = {
        name: {"metadata": {"name": name}, "spec": {}} for name in ("cicd-sandbox-secrets", "somebody-elses")
    }
    run(kubeconfig, capsys, "secrets")
    assert cluster.migrated == [".secrets"]
    assert list(cluster.migrations) == ["somebody-elses"]


def test_an_api_that_is_away_hides_nothing(
    cluster: Cluster, kubeconfig: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cluster.away = True
    assert run(kubeconfig, capsys, "*.*")["resources"] == ["configmaps", "secrets", "deployments.apps"]


@pytest.mark.parametrize("check", [True, False])
@pytest.mark.parametrize(
    ("pattern", "served", "words"),
    [
        ("secret", True, "resources: the API server stores nothing that is called secret"),
        ("pods.metrics.k8s.io", True, "stores nothing that is called pods.metrics.k8s.io"),
        ("secrets", False, "does not serve storagemigration.k8s.io/v1, which Kubernetes has from 1.37"),
    ],
)
def test_what_can_not_be_is_said_before_anything_is_made(
    cluster: Cluster,
    kubeconfig: Path,
    capsys: pytest.CaptureFixture[str],
    check: bool,
    pattern: str,
    served: bool,
    words: str,
) -> None:
    cluster.served = served
    result = run(kubeconfig, capsys, "configmaps", pattern, check=check)
    assert words in result["msg"]
    assert cluster.migrated == []


@pytest.mark.parametrize(
    ("outcome", "words"),
    [
        (
            {"type": "Failed", "status": "True", "reason": "Stuck", "message": "can't decrypt a/b"},
            "configmaps: is not written anew: Stuck: can't decrypt a/b",
        ),
        (
            {"type": "Running", "status": "True", "reason": "Slow", "message": "in progress"},
            "configmaps: is not written anew after 0.5 s: Slow: in progress",
        ),
        (
            {"type": "Other", "status": "True", "reason": "", "message": ""},
            "configmaps: is not written anew after 0.5 s: nobody has begun",
        ),
    ],
)
def test_what_does_not_succeed_says_why(
    cluster: Cluster, kubeconfig: Path, capsys: pytest.CaptureFixture[str], outcome: dict[str, str], words: str
) -> None:
    cluster.outcomes["cicd-sandbox-configmaps"] = outcome
    assert run(kubeconfig, capsys, "secrets", "configmaps", timeout=0.5)["msg"] == words
