# Copyright: cicd.sandbox contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether objects are ready, and why not."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.cicd.sandbox.plugins.module_utils.kubernetes.conditions import (
    condition_problem,
    container_problems,
    is_hopeless,
    name_of,
    ready_problem,
)
from kubernetes_objects import fixture


def workload(kind: str, status: dict[str, Any], generation: int = 1, **spec: Any) -> dict[str, Any]:
    return {
        "kind": kind,
        "metadata": {"name": "x", "generation": generation},
        "spec": {"replicas": 2} | spec,
        "status": {"observedGeneration": 1} | status,
    }


DEPLOYED = {"replicas": 2, "updatedReplicas": 2, "availableReplicas": 2}
ROLLED = {"readyReplicas": 2, "updatedReplicas": 2, "currentRevision": "a", "updateRevision": "a"}
SPREAD = {"desiredNumberScheduled": 2, "updatedNumberScheduled": 2, "numberAvailable": 2}
NOT_SEEN = "its controller has not seen the latest change yet"
PARTITION = {"type": "RollingUpdate", "rollingUpdate": {"partition": 1}}


def node(**conditions: str) -> dict[str, Any]:
    listed = [{"type": kind, "status": status} for kind, status in conditions.items()]
    return {"kind": "Node", "status": {"conditions": listed}}


@pytest.mark.parametrize(
    ("obj", "problem"),
    [
        (workload("Deployment", DEPLOYED), None),
        (workload("Deployment", DEPLOYED, generation=2), NOT_SEEN),
        (workload("Deployment", DEPLOYED | {"updatedReplicas": 1}), "1 of 2 replicas updated"),
        (workload("Deployment", DEPLOYED | {"availableReplicas": 0}), "0 of 2 replicas available"),
        (workload("Deployment", DEPLOYED | {"replicas": 3}), "1 old replicas are still to end"),
        (workload("Deployment", {}, replicas=0), None),
        (workload("Deployment", {}, replicas=None), "0 of 1 replicas updated"),
        (workload("StatefulSet", ROLLED), None),
        (workload("StatefulSet", ROLLED, generation=2), NOT_SEEN),
        (workload("StatefulSet", ROLLED | {"readyReplicas": 1}), "1 of 2 replicas ready"),
        (workload("StatefulSet", ROLLED | {"updateRevision": "b", "updatedReplicas": 1}), "1 of 2 replicas updated"),
        (
            workload(
                "StatefulSet", ROLLED | {"updateRevision": "b", "updatedReplicas": 1}, updateStrategy=PARTITION
            ),
            None,
        ),
        (workload("DaemonSet", SPREAD), None),
        (workload("DaemonSet", SPREAD, generation=2), NOT_SEEN),
        (workload("DaemonSet", SPREAD | {"updatedNumberScheduled": 1}), "updated on 1 of 2 nodes"),
        (workload("DaemonSet", SPREAD | {"numberAvailable": 0}), "available on 0 of 2 nodes"),
        (workload("ReplicaSet", {"availableReplicas": 1}), "1 of 2 replicas available"),
        (workload("Job", {"active": 1, "failed": 2}), "is not complete: 1 active, 0 succeeded, 2 failed"),
        (workload("Job", {"conditions": [{"type": "Complete", "status": "True"}]}), None),
        ({"kind": "Pod", "status": {"phase": "Succeeded"}}, None),
        (
            {"kind": "Pod", "status": {"phase": "Failed", "reason": "Evicted", "message": "low on memory"}},
            "is Failed, not ready: Evicted: low on memory",
        ),
        ({"kind": "Pod", "metadata": {"deletionTimestamp": "2026-10-02T10:00:00Z"}}, "is being deleted"),
        ({"kind": "PersistentVolumeClaim", "status": {"phase": "Pending"}}, "is Pending"),
        ({"kind": "PersistentVolumeClaim", "status": {"phase": "Bound"}}, None),
        ({"kind": "Namespace"}, "is without a phase"),
        ({"kind": "Node"}, "has no condition Ready yet"),
        (node(Ready="True", DiskPressure="False", ReadonlyFilesystem="False"), None),
        (node(DiskPressure="True", Ready="True"), "condition DiskPressure is True"),
        (node(DiskPressure="True", Ready="Unknown"), "condition Ready is Unknown"),
        ({"kind": "ConfigMap"}, None),
        ({"kind": "Certificate", "status": {"conditions": [{"type": "Ready", "status": "False", "reason": "Issuing"}]}},
         "condition Ready is False: Issuing"),
        ({"kind": "Service", "status": {"loadBalancer": {}}}, None),
    ],
)  # fmt: skip
def test_ready_in_the_way_of_the_kind(obj: dict[str, Any], problem: str | None) -> None:
    assert ready_problem(obj) == problem


STUCK = 'ProgressDeadlineExceeded: ReplicaSet "front-end-5d4" has timed out progressing.'
CRASH = "back-off 1m20s restarting failed container=front-end pod=front-end-5d4-crash_apps"
NO_NODE = "0/3 nodes are available: 1 node(s) had untolerated taint(s), 2 Insufficient memory."
NO_NETWORK = "container runtime network not ready: cni plugin not initialized"
WHY_NOT = {
    "deployment_unavailable": [f"1 of 2 replicas available: {STUCK}"],
    "pod_crash_loop": [
        "is Running, not ready",
        f"container front-end: waiting: CrashLoopBackOff: {CRASH}",
        "container front-end: restarted 4 times",
        "before, it ended with exit code 1: Error",
    ],
    "pod_unschedulable": [f"is not scheduled: Unschedulable: {NO_NODE}"],
    "pod_init_failed": [
        "is Pending, not ready",
        "init container wait: ended with exit code 137, signal 9: OOMKilled",
        "container main: waiting: PodInitializing",
    ],
    "node_not_ready": [f"condition Ready is False: KubeletNotReady: {NO_NETWORK}"],
    "job_failed": ["failed: BackoffLimitExceeded: Job has reached the specified backoff limit"],
}


@pytest.mark.parametrize(("name", "problems"), WHY_NOT.items(), ids=WHY_NOT)
def test_why_not_in_the_words_of_the_api(name: str, problems: list[str]) -> None:
    assert ready_problem(fixture(name)) == "; ".join(problems)


def test_a_ready_pod() -> None:
    assert ready_problem(fixture("pod_ready")) is None


def test_a_container_that_runs_and_is_not_ready() -> None:
    pod = fixture("pod_ready")
    pod["status"]["containerStatuses"][0]["ready"] = False
    assert list(container_problems(pod)) == [
        "container front-end: runs, but is not ready: its readiness or startup probe has not succeeded"
    ]


@pytest.mark.parametrize(
    ("kind", "status", "problem"),
    [
        ("Available", "False", None),
        (
            "Available",
            "True",
            "condition Available is False: MinimumReplicasUnavailable: Deployment does not have minimum availability.",
        ),
        ("Paused", "True", "has no condition Paused yet"),
    ],
)
def test_a_condition_by_its_type(kind: str, status: str, problem: str | None) -> None:
    assert condition_problem(fixture("deployment_unavailable"), kind, status) == problem


def test_only_a_failed_job_is_hopeless() -> None:
    assert is_hopeless(fixture("job_failed"))
    assert not is_hopeless(fixture("deployment_unavailable"))


def test_names() -> None:
    assert name_of(fixture("node_not_ready")) == "Node worker-1"
    assert name_of(fixture("pod_ready")) == "Pod apps/front-end-5d4-good"
