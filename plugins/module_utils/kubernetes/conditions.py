# Copyright: cicd.sandbox contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tell from an object of the Kubernetes API, as JSON gives it, whether it is ready and, if not, why.

What ready means follows `kubectl rollout status` and `kubectl wait`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

Object = dict[str, Any]

# Kinds that are ready by one condition; others by `Ready` or `Available` where they have it.
_READY_CONDITIONS = {
    "APIService": "Available",
    "CustomResourceDefinition": "Established",
}
# A Ready node with one of these has a taint that keeps pods off it.
_NODE_TROUBLES = ("MemoryPressure", "DiskPressure", "PIDPressure", "NetworkUnavailable")
_READY_PHASES = {"PersistentVolumeClaim": "Bound", "Namespace": "Active"}


def name_of(obj: Object) -> str:
    """Return kind, namespace and name, as in ``Pod apps/front-end-abc``."""
    meta = obj.get("metadata") or {}
    namespace = f"{meta['namespace']}/" if meta.get("namespace") else ""
    return f"{obj.get('kind', 'Object')} {namespace}{meta.get('name', '?')}"


def condition_of(obj: Object, kind: str) -> Object | None:
    """Return an object's condition of that type."""
    conditions = (obj.get("status") or {}).get("conditions") or []
    return next((condition for condition in conditions if condition.get("type") == kind), None)


def why(condition: Object) -> str:
    """Return a condition's reason and message, as ``: reason: message``; empty when it has none."""
    words = [str(condition[key]).strip() for key in ("reason", "message") if condition.get(key)]
    return "".join(f": {word}" for word in words)


def condition_problem(obj: Object, kind: str, status: str) -> str | None:
    """Return why an object's condition does not have the status asked for; None when it has."""
    condition = condition_of(obj, kind)
    if condition is None:
        return f"has no condition {kind} yet"
    if condition.get("status") == status:
        return None
    return f"condition {kind} is {condition.get('status')}{why(condition)}"


def ready_problem(obj: Object) -> str | None:
    """Return why an object is not ready, or None.

    Deployment, StatefulSet, DaemonSet: rolled out completely. Job: complete. Pod: ready, or ran to its end.
    Node: Ready, and no pressure keeps pods off it.
    Others: by their phase or condition; one that has neither only has to exist.
    """
    kind = str(obj.get("kind"))
    if (obj.get("metadata") or {}).get("deletionTimestamp"):
        return "is being deleted"
    if kind in _BY_KIND:
        return _BY_KIND[kind](obj)
    if kind in _READY_PHASES:
        phase = (obj.get("status") or {}).get("phase")
        return None if phase == _READY_PHASES[kind] else f"is {phase or 'without a phase'}"
    for condition in [_READY_CONDITIONS[kind]] if kind in _READY_CONDITIONS else ["Ready", "Available"]:
        if kind in _READY_CONDITIONS or condition_of(obj, condition):
            return condition_problem(obj, condition, "True")
    return None


def is_hopeless(obj: Object) -> bool:
    """Tell whether waiting can't help: a Job that failed for good."""
    failed = condition_of(obj, "Failed")
    return obj.get("kind") == "Job" and failed is not None and failed.get("status") == "True"


def container_problems(pod: Object) -> Iterator[str]:
    """Yield what keeps a pod's containers from being ready: waiting reasons, exit codes, failing probes."""
    status = pod.get("status") or {}
    for init in status.get("initContainerStatuses") or []:
        if not init.get("ready") and not init.get("started"):
            yield from _state(init, "init container")
    if status.get("phase") == "Succeeded":
        return
    for container in status.get("containerStatuses") or []:
        if not container.get("ready"):
            yield from _state(container, "container")


def _state(container: Object, what: str) -> Iterator[str]:
    state = container.get("state") or {}
    name = f"{what} {container.get('name')}"
    waiting, terminated = state.get("waiting"), state.get("terminated")
    before = (container.get("lastState") or {}).get("terminated")
    if waiting:
        yield f"{name}: waiting{why(waiting) or ': no reason given'}"
    elif terminated:
        yield f"{name}: {_ended(terminated)}"
    elif state.get("running"):
        yield f"{name}: runs, but is not ready: its readiness or startup probe has not succeeded"
    if before and not terminated:
        times = container.get("restartCount", 0)
        yield f"{name}: restarted {times} time{'' if times == 1 else 's'}; before, it {_ended(before)}"


def _ended(terminated: Object) -> str:
    signal = f", signal {terminated['signal']}" if terminated.get("signal") else ""
    return f"ended with exit code {terminated.get('exitCode')}{signal}{why(terminated)}"


def pod_problem(pod: Object) -> str | None:
    """Return why a pod is neither ready nor ran to its end, without what :func:`container_problems` says."""
    status = pod.get("status") or {}
    ready = condition_of(pod, "Ready")
    if status.get("phase") == "Succeeded" or (ready and ready.get("status") == "True"):
        return None
    scheduled = condition_of(pod, "PodScheduled")
    if scheduled and scheduled.get("status") == "False":
        return f"is not scheduled{why(scheduled)}"
    # A pod that was evicted, or refused by its node, says so itself.
    return f"is {status.get('phase', 'unknown')}, not ready{why(status)}"


def _pod(pod: Object) -> str | None:
    problem = pod_problem(pod)
    return problem and "; ".join([problem, *container_problems(pod)])


def _counts(obj: Object, *keys: str) -> list[int]:
    status = obj.get("status") or {}
    return [int(status.get(key) or 0) for key in keys]


def _not_seen(obj: Object) -> bool:
    generation = (obj.get("metadata") or {}).get("generation") or 0
    return int((obj.get("status") or {}).get("observedGeneration") or 0) < int(generation)


def _wanted(obj: Object) -> int:
    replicas = (obj.get("spec") or {}).get("replicas")
    return 1 if replicas is None else int(replicas)


def _deployment(obj: Object) -> str | None:
    if _not_seen(obj):
        return "its controller has not seen the latest change yet"
    wanted = _wanted(obj)
    replicas, updated, available = _counts(obj, "replicas", "updatedReplicas", "availableReplicas")
    progress = condition_of(obj, "Progressing")
    stuck = why(progress) if progress and progress.get("status") == "False" else ""
    if updated < wanted:
        return f"{updated} of {wanted} replicas updated{stuck}"
    if available < wanted:
        return f"{available} of {wanted} replicas available{stuck}"
    if replicas > updated:
        return f"{replicas - updated} old replicas are still to end{stuck}"
    return None


def _stateful_set(obj: Object) -> str | None:
    if _not_seen(obj):
        return "its controller has not seen the latest change yet"
    wanted = _wanted(obj)
    ready, updated = _counts(obj, "readyReplicas", "updatedReplicas")
    if ready < wanted:
        return f"{ready} of {wanted} replicas ready"
    status = obj.get("status") or {}
    strategy = (obj.get("spec") or {}).get("updateStrategy") or {}
    kept = (strategy.get("rollingUpdate") or {}).get("partition") or 0
    rolling = strategy.get("type", "RollingUpdate") == "RollingUpdate"
    if rolling and status.get("currentRevision") != status.get("updateRevision") and updated < wanted - kept:
        return f"{updated} of {wanted - kept} replicas updated"
    return None


def _daemon_set(obj: Object) -> str | None:
    if _not_seen(obj):
        return "its controller has not seen the latest change yet"
    wanted, updated, available = _counts(obj, "desiredNumberScheduled", "updatedNumberScheduled", "numberAvailable")
    rolling = ((obj.get("spec") or {}).get("updateStrategy") or {}).get("type", "RollingUpdate") == "RollingUpdate"
    if rolling and updated < wanted:
        return f"updated on {updated} of {wanted} nodes"
    if available < wanted:
        return f"available on {available} of {wanted} nodes"
    return None


def _node(obj: Object) -> str | None:
    problem = condition_problem(obj, "Ready", "True")
    there = [kind for kind in _NODE_TROUBLES if condition_of(obj, kind)]
    troubles = (condition_problem(obj, kind, "False") for kind in there)
    return problem or next(filter(None, troubles), None)


def _replica_set(obj: Object) -> str | None:
    wanted, (available,) = _wanted(obj), _counts(obj, "availableReplicas")
    return f"{available} of {wanted} replicas available" if available < wanted else None


def _job(obj: Object) -> str | None:
    complete = condition_of(obj, "Complete")
    if complete and complete.get("status") == "True":
        return None
    failed = condition_of(obj, "Failed")
    if failed and failed.get("status") == "True":
        return f"failed{why(failed)}"
    active, succeeded, lost = _counts(obj, "active", "succeeded", "failed")
    return f"is not complete: {active} active, {succeeded} succeeded, {lost} failed"


_BY_KIND: dict[str, Callable[[Object], str | None]] = {
    "DaemonSet": _daemon_set,
    "Deployment": _deployment,
    "Job": _job,
    "Node": _node,
    "Pod": _pod,
    "ReplicaSet": _replica_set,
    "StatefulSet": _stateful_set,
}
