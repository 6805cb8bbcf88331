# Copyright: cicd.sandbox contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Secrets and ConfigMaps that pods of the chart `workload` read but that are not of its release.

A program reads most of them when it starts. Their checksum is an annotation of the pods, by the values
``podAnnotations`` of the workload and of its hook Jobs, so that a release is outdated when one of them has changed, and
its pods are replaced as by any upgrade.
"""

from __future__ import annotations

import copy
import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from ansible_collections.cicd.sandbox.plugins.module_utils.helm.charts import CHART, read_yaml
from ansible_collections.cicd.sandbox.plugins.module_utils.helm.plan import ANNOTATIONS, CHECKSUMS, Api, Release
from ansible_collections.cicd.sandbox.plugins.module_utils.kubernetes.api import KubernetesError, Target

# The chart whose values are understood here.
WORKLOAD = "workload"
# Values that a hook Job has from the workload where it says nothing else.
_INHERITED = ("env", "envFrom", "secretFiles", "extraVolumes")

Reference = tuple[str, str]


def references(values: Mapping[str, Any], *, all_of_them: bool = True) -> set[Reference]:
    """(kind, name) of what pods of these values read; or without those whose change they take in while they run."""
    return set(_environment(values)) | set(_files(values, all_of_them))


def _environment(values: Mapping[str, Any]) -> Iterator[Reference]:
    for source in (values.get("env") or {}).values():
        if isinstance(source, Mapping):
            yield from _named(source.get("secretKeyRef"), "Secret")
            yield from _named(source.get("configMapKeyRef"), "ConfigMap")
    for source in values.get("envFrom") or []:
        yield from _named(source.get("secretRef"), "Secret")
        yield from _named(source.get("configMapRef"), "ConfigMap")


def _files(values: Mapping[str, Any], all_of_them: bool) -> Iterator[Reference]:
    for files in (values.get("secretFiles") or {}).values():
        if files.get("secret") and (all_of_them or files.get("restart", True)):
            yield "Secret", str(files["secret"])
    for volume in values.get("extraVolumes") or []:
        for source in [volume, *((volume.get("projected") or {}).get("sources") or [])]:
            yield from _named(source.get("secret"), "Secret")
            yield from _named(source.get("configMap"), "ConfigMap")


def _named(reference: object, kind: str) -> Iterator[Reference]:
    """A volume of a Secret has ``secretName``, all else ``name``."""
    if isinstance(reference, Mapping):
        name = reference.get("secretName") or reference.get("name")
        if name:
            yield kind, str(name)


def with_checksums(api: Api, releases: Sequence[Release]) -> list[Release]:
    """The releases, those of the chart `workload` with checksums of what their pods read. Raises KubernetesError."""
    known: dict[tuple[str, Reference], str] = {}

    def annotations(namespace: str, found: set[Reference]) -> dict[str, str]:
        for reference in found:
            if (namespace, reference) not in known:
                known[namespace, reference] = _content(api, namespace, reference)
        result = {}
        for kind, annotation in CHECKSUMS.items():
            content = [[name, known[namespace, (kind, name)]] for of, name in sorted(found) if of == kind]
            if content:
                result[annotation] = hashlib.sha256(json.dumps(content).encode()).hexdigest()
        return result

    def annotate(release: Release) -> Release:
        if read_yaml(release.chart / CHART).get("name") != WORKLOAD:
            return release
        values: dict[str, Any] = copy.deepcopy(dict(release.values))
        _annotate(values, annotations(release.namespace, references(values, all_of_them=False)))
        for job in (values.get("hookJobs") or {}).values():
            own = {key: _merged(values.get(key), job.get(key)) for key in _INHERITED}
            _annotate(job, annotations(release.namespace, references(own)))
        return replace(release, values=values)

    return [annotate(release) for release in releases]


def _annotate(values: dict[str, Any], annotations: Mapping[str, str]) -> None:
    if annotations:
        values[ANNOTATIONS] = {**annotations, **(values.get(ANNOTATIONS) or {})}


def _merged(inherited: Any, own: Any) -> Any:
    """As the chart merges a hook Job's values over the workload's: mappings by key, lists as a whole."""
    if isinstance(inherited, Mapping) and isinstance(own, Mapping):
        return {**inherited, **own}
    return inherited if own is None else own


def _content(api: Api, namespace: str, reference: Reference) -> str:
    """What is in it, as a text that changes with it; empty where it is not there (yet)."""
    kind, name = reference
    try:
        (item,) = api.objects(Target(kind, "v1", namespace, name))
    except KubernetesError as error:
        if error.absent:
            return ""
        raise
    return json.dumps([item.get("data") or {}, item.get("binaryData") or {}], sort_keys=True)
