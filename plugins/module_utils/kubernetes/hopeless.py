# Copyright: cicd.sandbox contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tell when waiting can't help: what is wrong with an object stays so until somebody changes something.

What may heal by itself is none of this: a program that ends because another one is not there yet, a Secret that is made
in a moment, a node that comes back. Pods count only as far as they are those of the latest change.
"""

from __future__ import annotations

import datetime as dt
from typing import Any

from ansible_collections.cicd.sandbox.plugins.module_utils.kubernetes.api import KubernetesError, Object, Target
from ansible_collections.cicd.sandbox.plugins.module_utils.kubernetes.conditions import (
    condition_of,
    is_hopeless,
    name_of,
)
from ansible_collections.cicd.sandbox.plugins.module_utils.kubernetes.diagnosis import Api, pods_of

# Seconds for what somebody else may be about to bring: an image, a StorageClass.
PATIENCE = 60.0
# Starts of a container after which the same end is no accident.
_STARTS = 3
# A shell's words for a program that is not there or can't be run, and sysexits.h's for wrong usage and configuration.
_EXIT_CODES = {
    64: "it says that it is used wrongly",
    78: "it says that its configuration is wrong",
    126: "its program can't be run",
    127: "its program is not there",
}
_NOT_STARTED = frozenset({"ContainerCannotRun", "StartError"})
_NOT_FOUND = ("not found", "manifest unknown", "name unknown", "MANIFEST_UNKNOWN", "NAME_UNKNOWN")
_WORKLOADS = frozenset({"DaemonSet", "Deployment", "Job", "ReplicaSet", "StatefulSet"})


def why_hopeless(api: Api, obj: Object, now: dt.datetime | None = None) -> str:
    """Return why waiting for an object can't help; empty where it may. What can't be read is no reason.

    now: the time, with its zone.
    """
    now = now or dt.datetime.now(dt.UTC)
    if is_hopeless(obj):
        return "it has failed for good"
    try:
        pods = [obj] if obj.get("kind") == "Pod" else _latest_pods(api, obj) if obj.get("kind") in _WORKLOADS else []
        for pod in pods:
            reason = _of_containers(pod, now) or _of_volumes(api, pod, now)
            if reason:
                return f"{name_of(pod)}: {reason}"
    except KubernetesError:
        return ""
    return ""


def _latest_pods(api: Api, obj: Object) -> list[Object]:
    """Return the pods of the latest change of a workload: others are about to be replaced, or to heal with it."""
    meta, status = obj.get("metadata") or {}, obj.get("status") or {}
    if int(status.get("observedGeneration") or 0) < int(meta.get("generation") or 0):
        return []
    pods = pods_of(api, obj)
    if obj.get("kind") == "Deployment":
        return _labelled(pods, "pod-template-hash", _template_hash(api, obj))
    if obj.get("kind") == "StatefulSet":
        return _labelled(pods, "controller-revision-hash", str(status.get("updateRevision") or ""))
    if obj.get("kind") == "DaemonSet" and pods:
        # Its revision is written nowhere but on them.
        latest = max(pods, key=_born)
        revision = (latest["metadata"].get("labels") or {}).get("controller-revision-hash", "")
        return _labelled(pods, "controller-revision-hash", revision)
    return pods


def _labelled(pods: list[Object], label: str, value: str) -> list[Object]:
    return [pod for pod in pods if value and (pod["metadata"].get("labels") or {}).get(label) == value]


def _template_hash(api: Api, deployment: Object) -> str:
    meta, revision = deployment["metadata"], "deployment.kubernetes.io/revision"
    wanted = (meta.get("annotations") or {}).get(revision)
    for replicas in api.objects(Target("ReplicaSet", "apps/v1", str(meta.get("namespace") or "default"))):
        owners = replicas["metadata"].get("ownerReferences") or []
        annotations = replicas["metadata"].get("annotations") or {}
        if any(owner.get("uid") == meta.get("uid") for owner in owners) and annotations.get(revision) == wanted:
            return str((replicas["metadata"].get("labels") or {}).get("pod-template-hash") or "")
    return ""


def _of_containers(pod: Object, now: dt.datetime) -> str:
    status = pod.get("status") or {}
    for container in [*(status.get("initContainerStatuses") or []), *(status.get("containerStatuses") or [])]:
        waiting = (container.get("state") or {}).get("waiting") or {}
        reason, message = str(waiting.get("reason")), str(waiting.get("message"))
        name = f"container {container.get('name')}"
        if reason == "InvalidImageName":
            return f"{name}: {container.get('image')!r} is no name of an image"
        # The kubelet has tried more than once; who publishes images has had time to.
        if reason == "ImagePullBackOff" and any(words in message for words in _NOT_FOUND) and _age(pod, now) > PATIENCE:
            return f"{name}: the registry does not have its image: {' '.join(message.split())}"
        if reason == "CrashLoopBackOff" and int(container.get("restartCount") or 0) >= _STARTS:
            ended = (container.get("lastState") or {}).get("terminated") or {}
            words = _EXIT_CODES.get(int(ended.get("exitCode") or 0), "")
            if ended.get("reason") in _NOT_STARTED:
                words = f"it can't be started: {' '.join(str(ended.get('message') or 'no reason given').split())}"
            if words:
                return f"{name}: {words}, after {container['restartCount']} restarts"
    return ""


def _of_volumes(api: Api, pod: Object, now: dt.datetime) -> str:
    scheduled = condition_of(pod, "PodScheduled")
    if not scheduled or scheduled.get("status") != "False" or _age(pod, now) <= PATIENCE:
        return ""
    namespace = str(pod["metadata"].get("namespace") or "default")
    for volume in (pod.get("spec") or {}).get("volumes") or []:
        name = (volume.get("persistentVolumeClaim") or {}).get("claimName")
        if name and (reason := _of_claim(api, namespace, str(name))):
            return reason
    return ""


def _of_claim(api: Api, namespace: str, name: str) -> str:
    try:
        (claim,) = api.objects(Target("PersistentVolumeClaim", "v1", namespace, name))
    except KubernetesError as exc:
        if exc.absent:
            return ""
        raise
    spec: dict[str, Any] = claim.get("spec") or {}
    storage_class = spec.get("storageClassName")
    if (claim.get("status") or {}).get("phase") != "Pending" or not storage_class or spec.get("volumeName"):
        return ""
    try:
        api.objects(Target("StorageClass", "storage.k8s.io/v1", None, str(storage_class)))
    except KubernetesError as exc:
        if not exc.absent:
            raise
        return f"PersistentVolumeClaim {namespace}/{name} asks for StorageClass {storage_class}, which does not exist"
    return ""


def _born(obj: Object) -> str:
    """Return when an object was made, in UTC as ISO 8601, which sorts."""
    return str(obj["metadata"].get("creationTimestamp") or "")


def _age(obj: Object, now: dt.datetime) -> float:
    """Return how many seconds ago an object was made; 0 where it does not say."""
    try:
        return (now - dt.datetime.fromisoformat(_born(obj))).total_seconds()
    except (ValueError, TypeError):
        return 0.0
