# Copyright: cicd.sandbox contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is said of an object that is not ready."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.cicd.sandbox.plugins.module_utils.kubernetes.api import KubernetesApi, Target
from ansible_collections.cicd.sandbox.plugins.module_utils.kubernetes.diagnosis import diagnose
from kubernetes_objects import fixture
from local_server import FakeKubernetes, serving_kubernetes

Diagnose = Callable[..., list[str]]

DEPLOYMENT = Target("Deployment", "apps/v1", "apps", "front-end")
STUCK = 'ProgressDeadlineExceeded: ReplicaSet "front-end-5d4" has timed out progressing.'

FORBIDDEN = 'pods "front-end-5d4-x" is forbidden: violates PodSecurity "restricted:latest"'
BACK_OFF = "Back-off restarting failed container front-end in pod front-end-5d4-crash_apps"
NO_NETWORK = "KubeletNotReady: container runtime network not ready: cni plugin not initialized"


@pytest.fixture
def diagnosis(tmp_path: Path) -> Iterator[Diagnose]:
    """Diagnose a target in a cluster of the objects given."""
    with ExitStack() as stack:

        def run(target: Target, objects: list[dict[str, Any]], **logs: str) -> list[str]:
            fake = FakeKubernetes(objects, {key.replace("__", "/").replace("_", "-"): log for key, log in logs.items()})
            stack.enter_context(serving_kubernetes(fake, tmp_path / "kubeconfig"))
            return diagnose(KubernetesApi(str(tmp_path / "kubeconfig")), [target])

        yield run


def test_deployment_with_a_pod_that_crashes(diagnosis: Diagnose) -> None:
    objects = [fixture("deployment_unavailable"), fixture("pod_ready"), fixture("pod_crash_loop"), *fixture("events")]
    log = "\n".join(f"line {number}" for number in range(30)) + "\nError: API_URL is not set"
    lines = diagnosis(DEPLOYMENT, objects, front_end_5d4_crash__front_end__previous=log)
    crash = "container front-end: waiting: CrashLoopBackOff: back-off 1m20s restarting failed container=front-end "
    crash += "pod=front-end-5d4-crash_apps"
    before = "container front-end: restarted 4 times; before, it ended with exit code 1: Error"
    assert lines[:9] == [
        f"Deployment apps/front-end: 1 of 2 replicas available: {STUCK}",
        f"  event 2026-10-02T09:59:00Z FailedCreate: {FORBIDDEN}",
        "Pod apps/front-end-5d4-crash on worker-1: is Running, not ready",
        f"  {crash}",
        f"  {before}",
        "  event 2026-10-02T10:02:00.000000Z Unhealthy (3 times): Startup probe failed: connection refused",
        f"  event 2026-10-02T10:04:00Z BackOff (12 times): {BACK_OFF}",
        "  last log lines of previous container front-end:",
        "    line 21",
    ]
    assert lines[17:19] == ["    Error: API_URL is not set", "Pod apps/front-end-5d4-good on worker-2: ready"]
    no_log = "the API server answers 400 Bad Request: container in pod front-end-5d4-good has no log"
    assert lines[19:] == [f"  log of container front-end: {no_log}"]


def test_long_lines_and_many_pods_are_cut(diagnosis: Diagnose) -> None:
    pods = [fixture("pod_ready") for _pod in range(5)]
    for number, pod in enumerate(pods):
        pod["metadata"]["name"] = f"front-end-{number}"
    lines = diagnosis(DEPLOYMENT, [fixture("deployment_unavailable"), *pods], front_end_0__front_end="x" * 1000)
    assert lines[-1] == "… and 2 more pods"
    assert max(map(len, lines)) == 300


def test_service_without_pods(diagnosis: Diagnose) -> None:
    service = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "front-end", "namespace": "apps"},
        "spec": {"selector": {"app": "front-end", "tier": "web"}},
    }
    assert diagnosis(Target("Service", "v1", "apps", "front-end"), [service]) == [
        "Service apps/front-end: ready",
        "no pod matches app=front-end,tier=web",
    ]


def test_an_extension_of_the_api_leads_to_its_pods(diagnosis: Diagnose) -> None:
    extension = {
        "apiVersion": "apiregistration.k8s.io/v1",
        "kind": "APIService",
        "metadata": {"name": "v1beta1.metrics.k8s.io"},
        "spec": {"service": {"namespace": "apps", "name": "front-end"}},
    }
    service = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "front-end", "namespace": "apps"},
        "spec": {"selector": fixture("pod_crash_loop")["metadata"]["labels"]},
    }
    target = Target("APIService", "apiregistration.k8s.io/v1", name="v1beta1.metrics.k8s.io")
    lines = diagnosis(
        target, [extension, service, fixture("pod_crash_loop")], front_end_5d4_crash__front_end__previous="panic"
    )
    assert lines[0].startswith("APIService v1beta1.metrics.k8s.io: ")
    assert lines[1:3] == [
        "Service apps/front-end: ready",
        "Pod apps/front-end-5d4-crash on worker-1: is Running, not ready",
    ]
    assert lines[-1] == "    panic"


def test_pod_without_a_node(diagnosis: Diagnose) -> None:
    lines = diagnosis(Target("Pod", "v1", "apps", "big"), [fixture("pod_unschedulable")])
    assert lines[0].startswith("Pod apps/big: is not scheduled: Unschedulable: 0/3 nodes are available")
    assert len(lines) == 1


def test_a_pod_without_a_node_is_told_what_keeps_it_off_nodes(diagnosis: Diagnose) -> None:
    good = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": "worker-2"}}
    objects = [fixture("pod_unschedulable"), good, fixture("node_not_ready")]
    lines = diagnosis(Target("Pod", "v1", "apps", "big"), objects)
    assert lines[1:] == [
        "Node worker-1:",
        "  condition DiskPressure is True: KubeletHasDiskPressure: kubelet has disk pressure",
        f"  condition Ready is False: {NO_NETWORK}",
        "  taint node.kubernetes.io/not-ready:NoSchedule",
    ]


def test_pod_whose_init_container_failed(diagnosis: Diagnose) -> None:
    lines = diagnosis(Target("Pod", "v1", "apps", "waiting"), [fixture("pod_init_failed")], waiting__wait="no database")
    assert lines[-2:] == ["  last log lines of container wait:", "    no database"]


def test_node(diagnosis: Diagnose) -> None:
    assert diagnosis(Target("Node", "v1", name="worker-1"), [fixture("node_not_ready")]) == [
        f"Node worker-1: condition Ready is False: {NO_NETWORK}",
        "  condition DiskPressure is True: KubeletHasDiskPressure: kubelet has disk pressure",
        f"  condition Ready is False: {NO_NETWORK}",
        "  taint node.kubernetes.io/not-ready:NoSchedule",
    ]


def test_what_is_not_there(diagnosis: Diagnose, tmp_path: Path) -> None:
    assert diagnosis(DEPLOYMENT, []) == ["Deployment apps/front-end does not exist"]
    lines = diagnose(KubernetesApi(str(tmp_path / "nothing")), [DEPLOYMENT])
    assert lines[0].startswith("Deployment apps/front-end: kubeconfig ")


@pytest.mark.parametrize(
    ("expression", "words"),
    [
        ({"key": "a", "operator": "In", "values": ["x", "y"]}, "a in (x,y)"),
        ({"key": "a", "operator": "NotIn", "values": ["x"]}, "a notin (x)"),
        ({"key": "a", "operator": "Exists"}, "a"),
        ({"key": "a", "operator": "DoesNotExist"}, "!a"),
    ],
)
def test_selectors_by_expressions(expression: dict[str, Any], words: str) -> None:
    class Cluster:
        """A cluster without pods."""

        asked: str | None = None

        def objects(self, target: Target) -> list[dict[str, Any]]:
            if target.kind == "Pod":
                self.asked = target.label_selector
                return []
            deployment: dict[str, Any] = fixture("deployment_unavailable")
            deployment["spec"]["selector"] = {"matchExpressions": [expression]}
            return [deployment]

        def warnings(self, namespace: str) -> list[dict[str, Any]]:
            return []

        def log(self, namespace: str, pod: str, container: str, lines: int, *, previous: bool = False) -> list[str]:
            return []

    cluster = Cluster()
    assert diagnose(cluster, [DEPLOYMENT])[-1] == f"no pod matches {words}"
    assert cluster.asked == words


def external_secret(name: str, ready: str, message: str) -> dict[str, Any]:
    condition = {"type": "Ready", "status": ready, "reason": "SecretSyncedError", "message": message}
    return {
        "apiVersion": "external-secrets.io/v1",
        "kind": "ExternalSecret",
        "metadata": {"name": name, "namespace": "apps"},
        "spec": {"target": {"name": name}},
        "status": {"conditions": [condition]},
    }


def waiting_pod(reason: str = "ContainerCreating") -> dict[str, Any]:
    pod: dict[str, Any] = fixture("pod_crash_loop")
    pod["status"]["containerStatuses"] = [{"name": "front-end", "state": {"waiting": {"reason": reason}}}]
    pod["spec"]["volumes"] = [{"name": "database", "secret": {"secretName": "database"}}]
    return pod


@pytest.mark.parametrize(("kind", "name"), [("Pod", "front-end-5d4-crash"), ("Deployment", "front-end")])
def test_a_pod_that_waits_for_a_store_says_why_its_secret_is_not_there(
    diagnosis: Diagnose, kind: str, name: str
) -> None:
    objects = [
        fixture("deployment_unavailable"),
        waiting_pod(),
        external_secret("database", "False", "connection refused"),
        # What it does not wait for.
        external_secret("another", "False", "no such key"),
    ]
    target = Target(kind, {"Pod": "v1", "Deployment": "apps/v1"}[kind], "apps", name)
    assert diagnosis(target, objects)[-1] == (
        "Secret apps/database comes from a store: ExternalSecret apps/database: condition Ready is False: "
        "SecretSyncedError: connection refused"
    )


@pytest.mark.parametrize("reason", ["CrashLoopBackOff", "ContainerCreating"])
def test_a_store_is_no_reason_where_it_gave_the_secret_or_nobody_waits_for_it(diagnosis: Diagnose, reason: str) -> None:
    status = "False" if reason == "CrashLoopBackOff" else "True"
    objects = [waiting_pod(reason), external_secret("database", status, "")]
    target = Target("Pod", "v1", "apps", "front-end-5d4-crash")
    assert not [line for line in diagnosis(target, objects) if "store" in line]


def test_a_cluster_that_has_no_store_says_nothing_of_one(tmp_path: Path) -> None:
    fake = FakeKubernetes([waiting_pod()], {}, unserved=["external-secrets.io/v1"])
    with serving_kubernetes(fake, tmp_path / "kubeconfig"):
        api = KubernetesApi(str(tmp_path / "kubeconfig"))
        lines = diagnose(api, [Target("Pod", "v1", "apps", "front-end-5d4-crash")])
    assert lines[-1] == "  container front-end: waiting: ContainerCreating"
