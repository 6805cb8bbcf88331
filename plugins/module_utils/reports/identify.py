# Copyright: cicd.sandbox contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whose JSON is it? For messages about the wrong one."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, Final

from ansible_collections.cicd.sandbox.plugins.module_utils.reports.model import FORMAT

Keys = dict[str, Any]


def _has(*names: str) -> Callable[[Keys], bool]:
    return lambda keys: all(name in keys for name in names)


_OPERATOR_KINDS: Final = (
    "VulnerabilityReport", "ConfigAuditReport", "ExposedSecretReport", "RbacAssessmentReport", "InfraAssessmentReport",
    "ClusterComplianceReport", "SbomReport",
)  # fmt: skip

# The first that fits; the more telling come first.
_OBJECTS: Final[tuple[tuple[Callable[[Keys], bool], str], ...]] = (
    (lambda keys: keys.get("format") == FORMAT, "a report that these modules wrote (json_path)"),
    (_has("popeye"), "a popeye report"),
    (lambda keys: "runs" in keys and ("$schema" in keys or "version" in keys), "SARIF"),
    (
        lambda keys: "matches" in keys and ("descriptor" in keys or "source" in keys),
        "Grype's (also kubescape scan image)",
    ),
    (_has("bomFormat"), "a CycloneDX bill of materials"),
    (_has("spdxVersion"), "an SPDX bill of materials"),
    (_has("summaryDetails"), "a kubescape report"),
    (_has("controlReports"), "a kubescape report"),
    (_has("policyType"), "a kubescape exception"),
    (_has("controls", "name"), "a kubescape framework or control policy, not a scan's result"),
    (_has("rules", "controlID"), "a kubescape control, not a scan's result"),
    (_has("formatVersion"), "something that looks like kubescape's output but has no summaryDetails"),
    (lambda keys: "SchemaVersion" in keys or "ArtifactName" in keys, "a Trivy report"),
    (lambda keys: "ClusterName" in keys and ("Resources" in keys or "Findings" in keys), "a Trivy report"),
    (lambda keys: "code" in keys and "level" in keys and "message" in keys, "a single message of istioctl analyze"),
)


def whose(value: Any) -> str:
    """Say in a few words what a decoded JSON document is."""
    if isinstance(value, dict):
        return _object(value)
    if isinstance(value, list):
        return _array(value)
    return (
        f"JSON's {json.dumps(value)[:40]}" if value is None or isinstance(value, (bool, int, float)) else "a JSON text"
    )


def _object(keys: Keys) -> str:
    kind = keys.get("kind")
    if isinstance(kind, str) and "apiVersion" in keys:
        if kind in _OPERATOR_KINDS:
            return f"a {kind} of trivy-operator, which has another schema than Trivy's own reports"
        items = keys.get("items")
        if isinstance(items, list) and items and isinstance(items[0], dict):
            inner = _object(items[0])
            return inner.replace("a ", "a list whose first item is a ", 1)
        return f"a Kubernetes object of kind {kind[:60]!r}"
    for fits, name in _OBJECTS:
        if fits(keys):
            return name
    if not keys:
        return "an empty JSON object"
    return "a JSON object with the keys " + ", ".join(repr(key[:40]) for key in list(keys)[:6])


_ELEMENTS: Final[tuple[tuple[Callable[[Keys], bool], str], ...]] = (
    (_has("policyType"), "a kubescape exceptions file, not a scan's result"),
    (_has("controlReports"), "a kubescape report"),
    (_has("Target"), "a Trivy report"),
    (_has("code", "level"), "a report of istioctl analyze"),
)


def _array(items: list[Any]) -> str:
    first = items[0] if items else None
    if not isinstance(first, dict):
        return "a JSON array of what are no objects" if items else "an empty JSON array"
    for fits, name in _ELEMENTS:
        if fits(first):
            return name
    return "a JSON array of objects with the keys " + ", ".join(repr(key[:40]) for key in list(first)[:6])
