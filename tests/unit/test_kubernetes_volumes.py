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
from ansible_collections.cicd.sandbox.plugins.module_utils.kubernetes.volumes import (
    claiming_pods,
    local_volumes,
    lost_volumes,
)
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
    assert found == [{"node": "worker-1", "path": path, "namespace": "shop", "claim": "data-a", "older": False}]
    by_chart = volume("a", metadata={"annotations": {PROVISIONED_BY: "cluster.local/local-path-provisioner"}})
    assert local_volumes([by_chart], "worker-1") == found
    # The other type that local-path makes.
    (other,) = local_volumes([volume("d", spec={"hostPath": None, "local": {"path": "/data/d"}})], "worker-1")
    assert other["path"] == "/data/d"


@pytest.mark.parametrize(
    "changes",
    [
        {"metadata": {"annotations": {PROVISIONED_BY: "nfs.example.com"}}},
        {"spec": {"volumeMode": "Block", "hostPath": None, "local": {"path": "/mnt/disk"}}},
        {"spec": {"hostPath": None, "local": {"path": "/dev/vdb", "fsType": "ext4"}}},
        {"spec": {"hostPath": {"path": "/run/x.sock", "type": "Socket"}}},
        {"spec": {"hostPath": {"path": "/srv/x", "type": "FileOrCreate"}}},
        {"status": {"phase": "Released"}},
        {"spec": {"claimRef": None}},
        {"spec": {"nodeAffinity": None}},
    ],
)
def test_what_is_not_local_paths_or_nobodys_is_left_alone(changes: dict[str, Any]) -> None:
    assert local_volumes([volume("a", **changes)], "worker-1") == []


def test_directories_that_people_made_volumes_of() -> None:
    """With their claim, where there is one: a directory that is lost before anything claims it is one all the same."""
    static: dict[str, Any] = {"metadata": {"annotations": None}}
    free = volume("d", **static, spec={"claimRef": None}, status={"phase": "Available"})
    places = {"b": {"hostPath": None, "local": {"path": "/srv/b"}}, "c": {"hostPath": {"path": "/srv/c"}}}
    volumes = [free, *(volume(name, **static, spec=spec) for name, spec in places.items())]
    found = local_volumes(volumes, "worker-1")
    assert [(one["path"], one["namespace"], one["claim"]) for one in found] == [
        ("/opt/local-path-provisioner/d", "", ""),
        ("/srv/b", "shop", "data-b"),
        ("/srv/c", "shop", "data-c"),
    ]


def pod(name: str, node: str, claim_name: str, namespace: str = "shop") -> dict[str, Any]:
    volumes: list[dict[str, Any]] = [{"name": "tmp", "emptyDir": {}}]
    volumes.append({"name": "data", "persistentVolumeClaim": {"claimName": claim_name}})
    spec = {"nodeName": node, "volumes": volumes}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "namespace": namespace}, "spec": spec}


def test_a_directory_of_no_node_is_where_it_is_used() -> None:
    anywhere = volume("a", metadata={"annotations": {}}, spec={"nodeAffinity": None})
    pods = [pod("db-0", "worker-2", "data-a"), pod("db-0", "worker-1", "data-a", "other")]
    assert local_volumes([anywhere], "worker-1", pods) == []
    (found,) = local_volumes([anywhere], "worker-2", pods)
    assert (found["node"], found["claim"]) == ("worker-2", "data-a")
    assert claiming_pods(pods, [found]) == [{"namespace": "shop", "name": "db-0"}]


@pytest.mark.parametrize(
    ("made", "told", "older"),
    [
        ("2026-10-02T10:00:00Z", None, True),
        ("2026-10-02T12:00:00Z", None, False),
        # Lost before, with the node before this one; lost with this one, and that was said.
        ("2026-10-02T10:00:00Z", 1_700_000_000, True),
        ("2026-10-02T10:00:00Z", 1_900_000_000, False),
    ],
)
def test_volumes_that_are_older_than_their_node(made: str, told: int | None, older: bool) -> None:
    node = {"kind": "Node", "metadata": {"name": "worker-1", "creationTimestamp": "2026-10-02T11:00:00Z"}}
    one = volume("a")
    one["metadata"]["creationTimestamp"] = made
    (found,) = local_volumes([one], "worker-1", [node, claim("data-a", told)])
    assert found["older"] is older


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
