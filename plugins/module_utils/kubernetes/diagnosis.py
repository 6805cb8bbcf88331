# Copyright: cicd.sandbox contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Say in a few lines what ails an object of Kubernetes and the pods behind it: state, events, last log lines."""

from __future__ import annotations

import concurrent.futures
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Protocol

from ansible_collections.cicd.sandbox.plugins.module_utils.kubernetes.api import (
    KubernetesError,
    Object,
    Target,
    last_seen,
)
from ansible_collections.cicd.sandbox.plugins.module_utils.kubernetes.conditions import (
    condition_of,
    condition_problem,
    container_problems,
    name_of,
    pod_problem,
    ready_problem,
    why,
)

# How much is said: enough to see the cause, little enough to be read.
_TARGETS, _PODS, _EVENTS, _LOG_LINES, _WIDTH = 3, 3, 5, 10, 300

_HEALTHY_NODE = {"Ready": "True"}

# Why a container waits whose pod lacks a volume or a variable.
_NOT_GIVEN = frozenset({"ContainerCreating", "CreateContainerConfigError", "PodInitializing"})
_EXTERNAL_SECRET = ("ExternalSecret", "external-secrets.io/v1")


class Api(Protocol):
    """What a diagnosis asks of the API server."""

    def objects(self, target: Target) -> list[Object]:
        """Return the objects of a target."""

    def warnings(self, namespace: str) -> list[Object]:
        """Return a namespace's warning events, the oldest first."""

    def log(self, namespace: str, pod: str, container: str, lines: int, *, previous: bool = ...) -> list[str]:
        """Return a container's last log lines."""


def pods_of(api: Api, obj: Object) -> list[Object]:
    """Return the pods behind a workload, those that are not ready first. Raises KubernetesError."""
    selector = _selector(obj)
    return _pods(api, str((obj.get("metadata") or {}).get("namespace") or "default"), selector) if selector else []


def diagnose(api: Api, targets: Sequence[Target]) -> list[str]:
    """Return what ails the targets, looked at side by side. What can't be read is said, never raised."""
    if not targets:
        return []
    with concurrent.futures.ThreadPoolExecutor(_TARGETS) as pool:
        told = list(pool.map(lambda target: _target_lines(api, target), targets[:_TARGETS]))
    return [line for lines in told for line in lines]


def _target_lines(api: Api, target: Target) -> list[str]:
    try:
        return diagnose_objects(api, api.objects(target)[:_TARGETS])
    except KubernetesError as exc:
        return [str(exc) if exc.absent else f"{target}: {exc}"]


def diagnose_objects(api: Api, objects: Sequence[Object]) -> list[str]:
    """Return what ails objects, as the API gave them, looked at side by side."""
    if not objects:
        return []
    with concurrent.futures.ThreadPoolExecutor(len(objects)) as pool:
        told = list(pool.map(lambda obj: diagnose_object(api, obj), objects))
    return [line for lines in told for line in lines]


def diagnose_object(api: Api, obj: Object) -> list[str]:
    """Return what ails one object, as the API gave it."""
    try:
        return [_cut(line) for line in _object_lines(api, obj)]
    except KubernetesError as exc:
        return [f"{name_of(obj)}: no more is known: {exc}"]


def _object_lines(api: Api, obj: Object) -> Iterator[str]:
    kind, meta = obj.get("kind"), obj.get("metadata") or {}
    yield f"{name_of(obj)}: {(pod_problem(obj) if kind == 'Pod' else ready_problem(obj)) or 'ready'}"
    if kind == "Node":
        yield from _node_lines(obj)
    if kind == "APIService" and (service := (obj.get("spec") or {}).get("service")):
        yield from diagnose(api, [Target("Service", "v1", str(service["namespace"]), str(service["name"]))])
        return
    # Events about objects without a namespace stand in `default`.
    namespace = str(meta.get("namespace") or "default")
    events = api.warnings(namespace)
    if kind == "Pod":
        off_limits = [*_off_limits(api, [obj]), *_unsynced(api, namespace, [obj])]
        yield from _pod_lines(obj, events, _logs(api, [obj]))
        yield from off_limits
        return
    selector = _selector(obj)
    pods = _pods(api, namespace, selector) if selector else []
    pod_names = [str(pod["metadata"]["name"]) for pod in pods]
    name = str(meta.get("name"))
    # Those of a Deployment's ReplicaSets, too: a quota or a policy that refuses pods speaks there.
    yield from _event_lines([event for event in events if _is_about(event, name, pod_names)])
    if selector and not pods:
        yield f"no pod matches {selector}"
    off_limits = [*_off_limits(api, pods), *_unsynced(api, namespace, pods)]
    logs = _logs(api, pods[:_PODS])
    for pod in pods[:_PODS]:
        node = (pod.get("spec") or {}).get("nodeName") or "no node"
        yield f"{name_of(pod)} on {node}: {pod_problem(pod) or 'ready'}"
        yield from _pod_lines(pod, events, logs)
    if len(pods) > _PODS:
        yield f"… and {len(pods) - _PODS} more pods"
    yield from off_limits


def _node_lines(node: Object) -> Iterator[str]:
    for condition in (node.get("status") or {}).get("conditions") or []:
        if condition.get("status") != _HEALTHY_NODE.get(str(condition.get("type")), "False"):
            yield f"  condition {condition.get('type')} is {condition.get('status')}{why(condition)}"
    for taint in (node.get("spec") or {}).get("taints") or []:
        yield f"  taint {taint.get('key')}:{taint.get('effect')}"


def _off_limits(api: Api, pods: Sequence[Object]) -> Iterator[str]:
    """Where a pod was put on no node: say what keeps pods off nodes; the scheduler only counts them."""
    if not any((condition_of(pod, "PodScheduled") or {}).get("status") == "False" for pod in pods):
        return
    try:
        nodes = api.objects(Target("Node", "v1"))
    except KubernetesError as exc:
        yield f"nodes: {exc}"
        return
    for node in nodes:
        lines = list(_node_lines(node))
        if lines:
            yield f"{name_of(node)}:"
            yield from lines


def _unsynced(api: Api, namespace: str, pods: Sequence[Object]) -> Iterator[str]:
    """Where a pod waits for what it is given: say which of its Secrets a store has not given, and why."""
    wanted = {name for pod in pods if _waits(pod) for name in _secrets(pod)}
    if not wanted:
        return
    try:
        found = api.objects(Target(*_EXTERNAL_SECRET, namespace))
    except KubernetesError as exc:
        # Most clusters have no such kind.
        if not exc.unserved:
            yield f"ExternalSecrets: {exc}"
        return
    for item in found:
        target = ((item.get("spec") or {}).get("target") or {}).get("name") or item["metadata"]["name"]
        if target in wanted and (problem := condition_problem(item, "Ready", "True")):
            yield f"Secret {namespace}/{target} comes from a store: {name_of(item)}: {problem}"


def _waits(pod: Object) -> bool:
    status = pod.get("status") or {}
    containers = [*(status.get("initContainerStatuses") or []), *(status.get("containerStatuses") or [])]
    reasons = (((container.get("state") or {}).get("waiting") or {}).get("reason") for container in containers)
    return any(reason in _NOT_GIVEN for reason in reasons)


def _secrets(pod: Object) -> Iterator[str]:
    """Yield the names of the Secrets that a pod's volumes and variables are of."""
    spec = pod.get("spec") or {}
    for volume in spec.get("volumes") or []:
        yield from filter(None, [(volume.get("secret") or {}).get("secretName")])
        for source in (volume.get("projected") or {}).get("sources") or []:
            yield from filter(None, [(source.get("secret") or {}).get("name")])
    for container in [*(spec.get("initContainers") or []), *(spec.get("containers") or [])]:
        for variable in container.get("env") or []:
            yield from filter(None, [((variable.get("valueFrom") or {}).get("secretKeyRef") or {}).get("name")])
        for source in container.get("envFrom") or []:
            yield from filter(None, [(source.get("secretRef") or {}).get("name")])


def _logs(api: Api, pods: Sequence[Object]) -> dict[tuple[str, str, bool], list[str] | KubernetesError]:
    """Read the logs of containers that may tell: (pod, container, whether that of the one before it) → lines.

    Last of all, and side by side: the kubelet of a node that is off does not answer, whatever time it has.
    """

    def read(pod: Object, container: str, previous: bool) -> list[str] | KubernetesError:
        metadata = pod["metadata"]
        namespace = str(metadata.get("namespace") or "default")
        try:
            return api.log(namespace, str(metadata["name"]), container, _LOG_LINES, previous=previous)
        except KubernetesError as exc:
            return exc

    wanted = [(pod, *which) for pod in pods for which in _containers_to_read(pod)]
    if not wanted:
        return {}
    with concurrent.futures.ThreadPoolExecutor(len(wanted)) as pool:
        found = pool.map(lambda which: read(*which), wanted)
        return {
            (str(pod["metadata"]["name"]), container, previous): log
            for (pod, container, previous), log in zip(wanted, found, strict=True)
        }


def _pod_lines(
    pod: Object, events: list[Object], logs: Mapping[tuple[str, str, bool], list[str] | KubernetesError]
) -> Iterator[str]:
    name = str(pod["metadata"]["name"])
    yield from (f"  {problem}" for problem in container_problems(pod))
    yield from _event_lines([event for event in events if _subject(event) == name])
    for container, previous in _containers_to_read(pod):
        whose = f"{'previous ' if previous else ''}container {container}"
        lines = logs[name, container, previous]
        if isinstance(lines, KubernetesError):
            yield f"  log of {whose}: {lines}"
            continue
        yield f"  last log lines of {whose}:" if lines else f"  log of {whose}: empty"
        yield from (f"    {line}" for line in lines[-_LOG_LINES:])


def _containers_to_read(pod: Object) -> list[tuple[str, bool]]:
    """Return the containers whose logs may tell, those that are not ready where there are any, and which run."""
    status = pod.get("status") or {}
    started = [
        container
        for container in [*(status.get("initContainerStatuses") or []), *(status.get("containerStatuses") or [])]
        if container.get("restartCount") or not (container.get("state") or {}).get("waiting")
    ]
    chosen = [container for container in started if not _is_fine(container)]
    chosen = chosen or [container for container in started if (container.get("state") or {}).get("running")]
    return [(str(container["name"]), bool((container.get("state") or {}).get("waiting"))) for container in chosen]


def _is_fine(container: dict[str, Any]) -> bool:
    ended = (container.get("state") or {}).get("terminated")
    return bool(container.get("ready")) or (ended is not None and ended.get("exitCode") == 0)


def _selector(obj: Object) -> str:
    """Return the label selector of the pods behind a workload or a Service; empty when there is none."""
    spec = obj.get("spec") or {}
    selector = spec.get("selector") or {}
    if obj.get("kind") == "Service":
        return ",".join(f"{key}={value}" for key, value in sorted(selector.items()))
    parts = [f"{key}={value}" for key, value in sorted((selector.get("matchLabels") or {}).items())]
    for expression in selector.get("matchExpressions") or []:
        key, values = expression["key"], ",".join(expression.get("values") or [])
        parts.append(
            {
                "In": f"{key} in ({values})",
                "NotIn": f"{key} notin ({values})",
                "Exists": key,
                "DoesNotExist": f"!{key}",
            }[expression["operator"]]
        )
    return ",".join(parts)


def _pods(api: Api, namespace: str, selector: str) -> list[Object]:
    """Return the pods behind a selector, those that are not ready first, of these the latest first."""
    pods = api.objects(Target("Pod", "v1", namespace, label_selector=selector))
    pods.sort(key=lambda pod: str((pod.get("metadata") or {}).get("creationTimestamp")), reverse=True)
    pods.sort(key=lambda pod: (condition_of(pod, "Ready") or {}).get("status") == "True")
    return pods


def _subject(event: Object) -> str:
    return str((event.get("involvedObject") or {}).get("name"))


def _is_about(event: Object, name: str, pods: list[str]) -> bool:
    """Tell whether an event is about an object or what it owns; pods have lines of their own."""
    subject = _subject(event)
    return subject not in pods and (subject == name or subject.startswith(f"{name}-"))


def _event_lines(events: list[Object]) -> Iterator[str]:
    for event in events[-_EVENTS:]:
        count = int((event.get("series") or {}).get("count") or event.get("count") or 1)
        times = f" ({count} times)" if count > 1 else ""
        message = " ".join(str(event.get("message") or "").split())
        yield f"  event {last_seen(event)} {event.get('reason')}{times}: {message}"


def _cut(line: str) -> str:
    line = line.rstrip()
    return line if len(line) <= _WIDTH else f"{line[: _WIDTH - 1]}…"
