# Copyright: cicd.sandbox contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Decide, from one look at the cluster, what has to be done for a list of releases."""

from __future__ import annotations

import concurrent.futures
import difflib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import Enum
from pathlib import Path
from typing import Any, Protocol

import yaml
from ansible_collections.cicd.sandbox.plugins.module_utils.helm.charts import CHART, chart_difference, read_yaml
from ansible_collections.cicd.sandbox.plugins.module_utils.helm.records import (
    DEPLOYED,
    SELECTOR,
    UNFINISHED,
    Record,
    Revision,
    decode,
    latest,
    revisions,
    targets,
)
from ansible_collections.cicd.sandbox.plugins.module_utils.kubernetes.api import KubernetesError, Object, Target
from ansible_collections.cicd.sandbox.plugins.module_utils.kubernetes.conditions import name_of, ready_problem
from ansible_collections.cicd.sandbox.plugins.module_utils.kubernetes.volumes import LOST_CLAIMS, lost_at

# Kinds that run something.
WORKLOADS = ("Deployment", "StatefulSet", "DaemonSet", "Job")
# Kinds that go by themselves when they are done.
_TRANSIENT = ("Job",)
_PARALLEL = 8
# The chart's values for annotations of pods, and those among them that tell content that pods read.
ANNOTATIONS = "podAnnotations"
CHECKSUMS = {"Secret": "checksum/secrets", "ConfigMap": "checksum/config-maps"}


class Api(Protocol):
    """What a plan asks of the API server."""

    def objects(self, target: Target, until: float | None = ...) -> list[Object]:
        """Return the objects of a target."""


class PlanError(Exception):
    """Releases that contradict each other; the message names them and what to do."""


class State(Enum):
    """How a release stands."""

    CURRENT = "current"
    ABSENT = "absent"
    OUTDATED = "outdated"
    INCOMPLETE = "incomplete"
    UNFINISHED = "unfinished"


@dataclass(frozen=True)
class Release:
    """A release as it is wanted. ``after``: releases that have to be ready before; ``wait``: whether to wait for it."""

    name: str
    namespace: str
    chart: Path
    values: Mapping[str, Any] = field(default_factory=dict)
    after: Sequence[str] = ()
    wait: bool = True


@dataclass(frozen=True)
class Found:
    """How a release stands, why it is not current, and which of its objects run something."""

    release: Release
    state: State
    reason: str = ""
    workloads: Sequence[Target] = ()
    unfinished: Sequence[Revision] = ()
    record: Record | None = None

    def diff(self) -> dict[str, str]:
        """Version of the chart and values, before and after, as Ansible shows a diff."""
        header = f"release {self.release.namespace}/{self.release.name}"
        before = ""
        if self.record is not None:
            before = _text((self.record.chart.get("metadata") or {}).get("version"), self.record.values)
        return {
            "before_header": header,
            "after_header": f"{header} ({': '.join(filter(None, [self.state.value, self.reason]))})",
            "before": before,
            "after": _text(read_yaml(self.release.chart / CHART).get("version"), self.release.values),
        }


def _text(version: object, values: Mapping[str, Any]) -> str:
    return f"# chart {version}\n{yaml.safe_dump(dict(values))}"


def release_spec() -> dict[str, Any]:
    """The options of a release, for an argument_spec."""
    return {
        "name": {"type": "str", "required": True},
        "namespace": {"type": "str", "required": True},
        "chart": {"type": "path", "required": True},
        "values": {"type": "dict", "default": {}},
        "after": {"type": "list", "elements": "str", "default": []},
        "wait": {"type": "bool", "default": True},
    }


def wanted_releases(options: Iterable[Mapping[str, Any]]) -> list[Release]:
    """The releases that options of release_spec describe."""
    return [Release(**{**item, "chart": Path(item["chart"])}) for item in options]


def check_order(releases: Sequence[Release]) -> list[Release]:
    """The releases, each behind those that it comes after. Raises PlanError."""
    names = [release.name for release in releases]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise PlanError(f"release {', '.join(twice)} is there twice; a release's name has to be its own")
    for release in releases:
        for name in release.after:
            if name not in names:
                near = difflib.get_close_matches(name, names, 1)
                hint = f"; did you mean {near[0]}?" if near else f"; there are {', '.join(names)}"
                raise PlanError(f"release {release.name} comes after {name}, which is not among the releases{hint}")
    ordered: list[Release] = []
    left = list(releases)
    while left:
        done = {release.name for release in ordered}
        free = [release for release in left if set(release.after) <= done]
        if not free:
            raise PlanError(f"releases {', '.join(release.name for release in left)} wait for each other: see `after`")
        ordered += free
        left = [release for release in left if release not in free]
    return ordered


def survey(api: Api, releases: Sequence[Release]) -> list[Found]:
    """How releases stand, in their order. Raises KubernetesError, RecordError, ChartError."""
    secrets = api.objects(Target("Secret", "v1", label_selector=SELECTOR))
    known = revisions(secrets)
    found = [_compare(release, known) for release in releases]
    present = existing(api, {target for one in found if one.record for target in _objects(one)})
    found = [_complete(one, present) for one in found]
    with_hooks = any(one.state is State.CURRENT and one.record and one.record.hooks for one in found)
    lost = api.objects(LOST_CLAIMS) if with_hooks else []
    return [_after_losses(one, lost) for one in found]


def _after_losses(found: Found, claims: Sequence[Object]) -> Found:
    """The same, outdated where a volume was lost since: hooks fill what may be in it, such as a database's tables.

    Whose volume it is does not tell who keeps data there, so that all hooks run again. They do at any upgrade.
    """
    if found.state is not State.CURRENT or found.record is None or not found.record.hooks:
        return found
    since = [claim for claim in claims if lost_at(claim) >= found.record.deployed]
    if not since:
        return found
    return replace(found, state=State.OUTDATED, reason=f"{name_of(since[0])} lost its data since its hooks ran")


def _compare(release: Release, known: Sequence[Revision]) -> Found:
    unfinished = [
        revision
        for revision in known
        if (revision.namespace, revision.name) == (release.namespace, release.name) and revision.status in UNFINISHED
    ]
    finished = [revision for revision in known if revision not in unfinished]
    revision = latest(finished, release.namespace, release.name)
    record = decode(revision) if revision is not None else None
    workloads = _workloads(record, release.namespace)
    if unfinished:
        reason = f"revision {unfinished[-1].number} is {unfinished[-1].status}"
        return Found(release, State.UNFINISHED, reason, workloads, unfinished, record)
    if revision is None or record is None:
        return Found(release, State.ABSENT)
    if revision.status != DEPLOYED:
        reason = f"revision {revision.number} is {revision.status}"
        return Found(release, State.OUTDATED, reason, workloads, record=record)
    reason = chart_difference(record.chart, release.chart)
    if not reason and dict(record.values) != dict(release.values):
        keys = sorted(
            key for key in {*record.values, *release.values} if record.values.get(key) != release.values.get(key)
        )
        reason = " and ".join(_changes(record.values, release.values, keys))
    return Found(release, State.OUTDATED if reason else State.CURRENT, reason, workloads, record=record)


def _changes(before: Mapping[str, Any], after: Mapping[str, Any], keys: Sequence[str]) -> Iterable[str]:
    """What differs, for a person: checksums, which this collection adds, are named for what they stand for."""
    own = [
        {k: v for k, v in (of.get(ANNOTATIONS) or {}).items() if k not in CHECKSUMS.values()} for of in (before, after)
    ]
    if ANNOTATIONS in keys and own[0] == own[1]:
        keys = [key for key in keys if key != ANNOTATIONS]
        yield "content of Secrets or ConfigMaps that its pods read"
    if keys:
        yield f"values of {', '.join(keys)}"


def _objects(found: Found) -> list[Target]:
    return targets(found.record.manifest, found.release.namespace) if found.record else []


def _workloads(record: Record | None, namespace: str) -> list[Target]:
    return [target for target in targets(record.manifest, namespace) if target.kind in WORKLOADS] if record else []


def _complete(found: Found, present: set[Target]) -> Found:
    """The same, incomplete where an object that Helm made was removed by somebody else."""
    if found.state is not State.CURRENT:
        return found
    missing = [target for target in _objects(found) if target not in present and target.kind not in _TRANSIENT]
    if not missing:
        return found
    more = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
    reason = f"{missing[0]}{more} {'are' if more else 'is'} missing"
    return Found(found.release, State.INCOMPLETE, reason, found.workloads, record=found.record)


def installed_workloads(api: Api, release: Release) -> Sequence[Target]:
    """What runs something of a release that was just installed. Raises KubernetesError, RecordError, ChartError."""
    own = Target("Secret", "v1", release.namespace, label_selector=f"{SELECTOR},name={release.name}")
    return _compare(release, revisions(api.objects(own))).workloads


def _by_list(targets_of_lists: Iterable[Target]) -> dict[Target, list[Target]]:
    """The list of a kind in a namespace → those of the targets that are in it."""
    groups: dict[Target, list[Target]] = {}
    for target in targets_of_lists:
        groups.setdefault(Target(target.kind, target.api_version, target.namespace), []).append(target)
    return groups


def existing(api: Api, wanted: Iterable[Target]) -> set[Target]:
    """Those of the targets that exist; asks once for each kind and namespace. Raises KubernetesError."""
    groups = _by_list(wanted)

    def ask(group: Target) -> list[Target]:
        try:
            objects = api.objects(group)
        except KubernetesError as error:
            # A kind that is gone, with its CustomResourceDefinition.
            if error.unserved:
                return []
            raise
        names = {item["metadata"]["name"] for item in objects}
        return [target for target in groups[group] if target.name in names]

    with concurrent.futures.ThreadPoolExecutor(_PARALLEL) as pool:
        return {target for found in pool.map(ask, groups) for target in found}


def not_ready(api: Api, workloads: Iterable[Target]) -> list[tuple[str, Object | None]]:
    """What is not ready, each with why and the object, if there is one. Raises KubernetesError."""
    problems: list[tuple[str, Object | None]] = []
    for group, wanted in _by_list(workloads).items():
        objects = {item["metadata"]["name"]: item for item in api.objects(group)}
        for target in wanted:
            item = objects.get(str(target.name))
            if item is None:
                problems.append((f"{target} does not exist", None))
            elif problem := ready_problem(item):
                problems.append((f"{name_of(item)}: {problem}", item))
    return problems


def settled(api: Api, found: Iterable[Found]) -> bool:
    """Whether all releases are current, and those that are waited for ready. Raises KubernetesError."""
    releases = list(found)
    workloads = [target for one in releases if one.release.wait for target in one.workloads]
    return all(one.state is State.CURRENT for one in releases) and not not_ready(api, workloads)
