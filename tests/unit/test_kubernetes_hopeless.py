# Copyright: cicd.sandbox contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What waiting can't help, and what it may."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from typing import Any

import pytest
from ansible_collections.cicd.sandbox.plugins.module_utils.kubernetes.api import KubernetesError, Target
from ansible_collections.cicd.sandbox.plugins.module_utils.kubernetes.hopeless import PATIENCE, why_hopeless
from kubernetes_objects import fixture

BORN = dt.datetime(2026, 10, 2, 10, 0, 5, tzinfo=dt.UTC)
LATER = BORN + dt.timedelta(seconds=PATIENCE + 1)
MISSING = 'Back-off pulling image "registry/a:1": ErrImagePull: failed to resolve reference "registry/a:1": not found'

Object = dict[str, Any]


class Cluster:
    """An API server out of objects."""

    def __init__(self, *objects: Object) -> None:
        self.all = list(objects)
        self.error: KubernetesError | None = None

    def objects(self, target: Target) -> list[Object]:
        if self.error:
            raise self.error
        found = [item for item in self.all if item["kind"] == target.kind]
        if target.name:
            found = [item for item in found if item["metadata"]["name"] == target.name]
            if not found:
                raise KubernetesError(f"{target} does not exist", absent=True)
        return found

    def warnings(self, namespace: str) -> list[Object]:
        return []

    def log(self, namespace: str, pod: str, container: str, lines: int, *, previous: bool = False) -> list[str]:
        return []


def pod(*, reason: str, message: str = "", restarts: int = 0, ended: Object | None = None, of: str = "new") -> Object:
    one: Object = fixture("pod_crash_loop")
    one["metadata"]["labels"]["pod-template-hash"] = of
    (container,) = one["status"]["containerStatuses"]
    container |= {"state": {"waiting": {"reason": reason, "message": message}}, "restartCount": restarts}
    container["lastState"] = {"terminated": ended} if ended else {}
    return one


@pytest.mark.parametrize(
    ("broken", "words"),
    [
        (pod(reason="InvalidImageName"), "is no name of an image"),
        (pod(reason="ImagePullBackOff", message=MISSING), "the registry does not have its image: Back-off pulling"),
        (
            pod(reason="CrashLoopBackOff", restarts=3, ended={"exitCode": 127}),
            "its program is not there, after 3 restarts",
        ),
        (
            pod(reason="CrashLoopBackOff", restarts=9, ended={"exitCode": 78}),
            "its configuration is wrong, after 9 restarts",
        ),
        (
            pod(
                reason="CrashLoopBackOff",
                restarts=3,
                ended={"exitCode": 128, "reason": "StartError", "message": 'exec: "/nope": no such file'},
            ),
            'it can\'t be started: exec: "/nope": no such file',
        ),
    ],
)
def test_a_pod_that_stays_broken(broken: Object, words: str) -> None:
    reason = why_hopeless(Cluster(), broken, LATER)
    assert reason.startswith("Pod apps/front-end-5d4-crash: container front-end: ")
    assert words in reason


@pytest.mark.parametrize(
    "broken",
    [
        fixture("pod_ready"),
        fixture("pod_crash_loop"),  # exit code 1: of something that may come yet
        pod(reason="CrashLoopBackOff", restarts=2, ended={"exitCode": 127}),
        pod(reason="CrashLoopBackOff", restarts=99, ended={"exitCode": 137, "reason": "OOMKilled"}),
        pod(reason="ErrImagePull", message=MISSING),
        pod(reason="ImagePullBackOff", message="connection refused"),
        pod(reason="CreateContainerConfigError", message='secret "a" not found'),
        pod(reason="ContainerCreating"),
        fixture("pod_unschedulable"),
    ],
    ids=lambda broken: str(broken["status"].get("containerStatuses", [{}])[0].get("state")),
)
def test_a_pod_that_may_heal(broken: Object) -> None:
    assert why_hopeless(Cluster(), broken, LATER) == ""


def test_an_image_may_be_published_in_a_moment() -> None:
    broken = pod(reason="ImagePullBackOff", message=MISSING)
    assert why_hopeless(Cluster(), broken, BORN + dt.timedelta(seconds=PATIENCE - 1)) == ""
    broken["metadata"]["creationTimestamp"] = None
    assert why_hopeless(Cluster(), broken, LATER) == ""


@pytest.fixture
def deployment() -> Object:
    one: Object = fixture("deployment_unavailable")
    one["metadata"] |= {"uid": "u", "annotations": {"deployment.kubernetes.io/revision": "2"}}
    return one


def replica_set(name: str, revision: str, owner: str = "u") -> Object:
    metadata = {
        "name": f"front-end-{name}",
        "labels": {"pod-template-hash": name},
        "annotations": {"deployment.kubernetes.io/revision": revision},
        "ownerReferences": [{"uid": owner}],
    }
    return {"kind": "ReplicaSet", "metadata": metadata}


class TestDeployment:
    def test_pods_of_the_latest_change_count(self, deployment: Object) -> None:
        sets = replica_set("old", "1"), replica_set("new", "2"), replica_set("other", "2", owner="v")
        new, old = pod(reason="InvalidImageName"), pod(reason="InvalidImageName", of="old")
        assert "is no name of an image" in why_hopeless(Cluster(*sets, new), deployment, LATER)
        assert why_hopeless(Cluster(*sets, old), deployment, LATER) == ""
        assert why_hopeless(Cluster(new), deployment, LATER) == ""

    def test_not_before_the_change_was_seen(self, deployment: Object) -> None:
        deployment["metadata"]["generation"] += 1
        cluster = Cluster(replica_set("new", "2"), pod(reason="InvalidImageName"))
        assert why_hopeless(cluster, deployment, LATER) == ""

    def test_what_can_t_be_read_is_no_reason(self, deployment: Object) -> None:
        cluster = Cluster(replica_set("new", "2"), pod(reason="InvalidImageName"))
        cluster.error = KubernetesError("gone")
        assert why_hopeless(cluster, deployment, LATER) == ""


@pytest.mark.parametrize("kind", ["StatefulSet", "DaemonSet"])
def test_revisions_of_other_workloads(kind: str) -> None:
    workload = fixture("deployment_unavailable") | {"kind": kind}
    workload["status"]["updateRevision"] = "b"
    old, new = pod(reason="InvalidImageName"), fixture("pod_crash_loop")
    old["metadata"]["labels"]["controller-revision-hash"] = "a"
    new["metadata"]["labels"]["controller-revision-hash"] = "b"
    new["metadata"]["creationTimestamp"] = "2026-10-02T11:00:00Z"
    assert why_hopeless(Cluster(old, new), workload, LATER) == ""
    old["metadata"]["labels"]["controller-revision-hash"] = "b"
    assert "is no name of an image" in why_hopeless(Cluster(old, new), workload, LATER)


def test_a_job_that_failed() -> None:
    assert why_hopeless(Cluster(), fixture("job_failed")) == "it has failed for good"
    assert why_hopeless(Cluster(), fixture("node_not_ready"), LATER) == ""


class TestClaims:
    @pytest.fixture
    def waiting(self) -> Object:
        one: Object = fixture("pod_unschedulable")
        one["metadata"]["creationTimestamp"] = BORN.isoformat()
        one["spec"]["volumes"] = [{"emptyDir": {}}, {"persistentVolumeClaim": {"claimName": "data"}}]
        return one

    @pytest.fixture
    def claim(self) -> Callable[..., Object]:
        def make(phase: str = "Pending", storage_class: str | None = "fast") -> Object:
            spec = {"storageClassName": storage_class} if storage_class else {}
            metadata = {"name": "data"}
            return {"kind": "PersistentVolumeClaim", "metadata": metadata, "spec": spec, "status": {"phase": phase}}

        return make

    def test_of_a_class_that_does_not_exist(self, waiting: Object, claim: Callable[..., Object]) -> None:
        reason = why_hopeless(Cluster(claim()), waiting, LATER)
        assert reason.endswith("/data asks for StorageClass fast, which does not exist")
        assert why_hopeless(Cluster(claim()), waiting, BORN) == ""

    def test_that_may_be_bound(self, waiting: Object, claim: Callable[..., Object]) -> None:
        fast = {"kind": "StorageClass", "metadata": {"name": "fast"}}
        for cluster in (Cluster(claim(), fast), Cluster(claim("Bound")), Cluster(claim(storage_class=None)), Cluster()):
            assert why_hopeless(cluster, waiting, LATER) == ""
