# Copyright: cicd.sandbox contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Volumes that are lost with their node: which they are, and what comes of it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.cicd.sandbox.plugins.module_utils.helm.plan import Release, State, survey
from ansible_collections.cicd.sandbox.plugins.module_utils.kubernetes.api import KubernetesApi
from ansible_collections.cicd.sandbox.plugins.module_utils.kubernetes.volumes import local_volumes, lost_volumes
from helm_records import deployment, helm_secret, make_chart
from local_server import FakeKubernetes, serving_kubernetes

PROVISIONED_BY = "pv.kubernetes.io/provisioned-by"


def volume(name: str, node: str = "worker-1", **changes: Any) -> dict[str, Any]:
    """As local-path makes it."""
    expression = {"key": "kubernetes.io/hostname", "operator": "In", "values": [node]}
    made: dict[str, Any] = {
        "apiVersion": "v1",
        "kind": "PersistentVolume",
        "metadata": {"name": name, "annotations": {PROVISIONED_BY: "rancher.io/local-path"}},
        "spec": {
            "claimRef": {"namespace": "shop", "name": f"data-{name}"},
            "hostPath": {"path": f"/opt/local-path-provisioner/{name}", "type": "DirectoryOrCreate"},
            "nodeAffinity": {"required": {"nodeSelectorTerms": [{"matchExpressions": [expression]}]}},
        },
        "status": {"phase": "Bound"},
    }
    for key, value in changes.items():
        made[key] = {**made[key], **value}
    return made


def claim(name: str, lost: float | None, namespace: str = "shop") -> dict[str, Any]:
    labels = {} if lost is None else {"cicd.sandbox/volume-lost": str(int(lost))}
    metadata = {"name": name, "namespace": namespace, "labels": labels}
    annotations = {"annotations": {"cicd.sandbox/lost-with-node": "worker-1"}}
    return {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {**metadata, **annotations}}


@pytest.fixture
def chart(tmp_path: Path) -> Path:
    return make_chart(tmp_path / "chart")


@pytest.fixture
def fake() -> FakeKubernetes:
    return FakeKubernetes([])


@pytest.fixture
def api(fake: FakeKubernetes, tmp_path: Path) -> Iterator[KubernetesApi]:
    with serving_kubernetes(fake, tmp_path / "kubeconfig"):
        yield KubernetesApi(str(tmp_path / "kubeconfig"))


def test_directories_of_a_node() -> None:
    found = local_volumes([volume("a"), volume("b", "worker-2"), volume("c", spec={"hostPath": None})], "worker-1")
    path = "/opt/local-path-provisioner/a"
    assert found == [{"node": "worker-1", "path": path, "namespace": "shop", "claim": "data-a"}]
    by_chart = volume("a", metadata={"annotations": {PROVISIONED_BY: "cluster.local/local-path-provisioner"}})
    assert local_volumes([by_chart], "worker-1") == found
    # The other type that local-path makes.
    (other,) = local_volumes([volume("d", spec={"hostPath": None, "local": {"path": "/data/d"}})], "worker-1")
    assert other["path"] == "/data/d"


@pytest.mark.parametrize(
    "changes",
    [
        {"metadata": {"annotations": {}}},
        {"metadata": {"annotations": {PROVISIONED_BY: "nfs.example.com"}}},
        {"status": {"phase": "Released"}},
        {"spec": {"claimRef": None}},
        {"spec": {"nodeAffinity": None}},
    ],
)
def test_what_is_not_local_paths_or_nobodys_is_left_alone(changes: dict[str, Any]) -> None:
    assert local_volumes([volume("a", **changes)], "worker-1") == []


def test_losses_are_told_for_some_days() -> None:
    now = time.time()
    claims = [claim("a", now - 60), claim("b", now - 10), claim("c", now - 8 * 86400), claim("d", None)]
    claims[3]["metadata"]["labels"]["cicd.sandbox/volume-lost"] = "yesterday"
    found = lost_volumes(claims, 7)
    assert [item["claim"] for item in found] == ["shop/b", "shop/a"]
    assert found[0]["node"] == "worker-1"
    assert found[0]["at"].endswith(" UTC")


def test_hooks_run_again_after_a_loss_once(fake: FakeKubernetes, api: KubernetesApi, chart: Path) -> None:
    brought = time.strftime("%Y-%m-%dT%H:%M:%S.123456789Z", time.gmtime(time.time() - 60))
    wanted = [Release("web", "shop", chart), Release("quiet", "shop", chart)]
    fake.objects = [
        helm_secret("web", chart, hooks=[{"name": "migrate"}], deployed=brought),
        helm_secret("quiet", chart, deployed=brought),
        deployment("web"),
        deployment("quiet"),
        # The database may be anywhere.
        claim("data-db-0", time.time(), "elsewhere"),
    ]
    web, quiet = survey(api, wanted)
    assert (web.state, quiet.state) == (State.OUTDATED, State.CURRENT)
    assert web.reason == "PersistentVolumeClaim elsewhere/data-db-0 lost its data since its hooks ran"
    # Brought again since, or lost before.
    fake.objects[-1] = claim("data-db-0", time.time() - 120, "elsewhere")
    assert {one.state for one in survey(api, wanted)} == {State.CURRENT}
