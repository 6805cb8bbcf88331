# Copyright: cicd.sandbox contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whose JSON is it? For messages about the wrong one."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, Final

from ansible_collections.cicd.sandbox.plugins.module_utils.reports.model import FORMAT, article

Keys = dict[str, Any]


def _has(*names: str) -> Callable[[Keys], bool]:
    return lambda keys: all(name in keys for name in names)


def _is(name: str, form: type) -> Callable[[Keys], bool]:
    return lambda keys: isinstance(keys.get(name), form)


# Operators keep what they find as custom resources, by the group of their API.
_OPERATORS: Final = (
    ("aquasecurity.github.io", "trivy-operator, which has another schema than Trivy's own reports"),
    (
        "spdx.softwarecomposition.kubescape.io",
        "the kubescape operator, which has another schema than kubescape's reports",
    ),
    ("kubescape.io", "the kubescape operator, which has another schema than kubescape's reports"),
    ("wgpolicyk8s.io", "the policy reports that Kyverno, trivy-operator and others write, which have another schema"),
    ("openreports.io", "the policy reports that Kyverno, trivy-operator and others write, which have another schema"),
)

# The first that fits; the more telling come first.
_OBJECTS: Final[tuple[tuple[Callable[[Keys], bool], str], ...]] = (
    (lambda keys: keys.get("format") == FORMAT, "a report that these modules wrote (json_path)"),
    (_is("popeye", dict), "a popeye report"),
    (_has("popeye"), "something that looks like popeye's output but whose 'popeye' is no object"),
    (_has("SummaryControls"), "a summary of a compliance report of Trivy; run Trivy with --report all"),
    (
        lambda keys: "Results" in keys and ("RelatedResources" in keys or {"ID", "Title", "Version"} <= keys.keys()),
        "a compliance report of Trivy; run Trivy without --compliance",
    ),
    (lambda keys: "runs" in keys and ("$schema" in keys or "version" in keys), "SARIF"),
    (
        lambda keys: "matches" in keys and ("descriptor" in keys or "source" in keys),
        "Grype's (also kubescape scan image)",
    ),
    (_has("bomFormat"), "a CycloneDX bill of materials"),
    (_has("spdxVersion"), "an SPDX bill of materials"),
    (_is("summaryDetails", dict), "a kubescape report"),
    (_has("summaryDetails"), "something that looks like kubescape's output but whose summaryDetails are no object"),
    (_has("controlReports"), "a kubescape report"),
    (_has("check_type", "results"), "a report of Checkov"),
    (_has("Controls", "Totals"), "a report of kube-bench"),
    (_has("PolarisOutputVersion"), "a report of Polaris"),
    (_has("results", "paths", "errors"), "a report of Semgrep"),
    (_has("Issues", "Stats"), "a report of gosec"),
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
        items = keys.get("items")
        if isinstance(items, list) and items and isinstance(items[0], dict):
            return f"a list whose first item is {_object(items[0])}"
        return of_kubernetes(kind[:60], str(keys["apiVersion"]).partition("/")[0])
    for fits, name in _OBJECTS:
        if fits(keys):
            return name
    if not keys:
        return "an empty JSON object"
    results = "Results that are not Trivy's, and with " if "Results" in keys else ""
    return f"a JSON object with {results}{_names(keys)}"


def of_kubernetes(kind: str, group: str) -> str:
    """Say what an object of a kind and an API group is: what operators keep their findings in, by the tool."""
    for domain, owner in _OPERATORS:
        if group == domain or group.endswith(f".{domain}"):
            return f"{article(kind)} of {owner}"
    return f"a Kubernetes object of kind {kind!r}"


def _names(keys: Keys) -> str:
    listed = ", ".join(repr(key[:40]) for key in list(keys)[:6])
    return f"the key {listed}" if len(keys) == 1 else f"the keys {listed}"


def _is_hadolint(keys: Keys) -> bool:
    return "code" in keys and "level" in keys and "line" in keys and "file" in keys


_ELEMENTS: Final[tuple[tuple[Callable[[Keys], bool], str], ...]] = (
    (_has("policyType"), "a kubescape exceptions file, not a scan's result"),
    (_has("controlReports"), "a kubescape report"),
    (_has("Target"), "a Trivy report"),
    (_is_hadolint, "a report of hadolint or ShellCheck"),
    (_has("code", "level"), "a report of istioctl analyze"),
    (_has("object_name", "checks"), "a report of kube-score"),
    (lambda keys: "kind" in keys and "apiVersion" in keys, "a list of Kubernetes objects"),
)


def _array(items: list[Any]) -> str:
    first = items[0] if items else None
    if not isinstance(first, dict):
        return "a JSON array of what are no objects" if items else "an empty JSON array"
    for fits, name in _ELEMENTS:
        if fits(first):
            return name
    return "a JSON array of objects with " + _names(first)
