# Copyright: cicd.sandbox contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""SARIF 2.1.0, as GitHub's code scanning accepts it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any, Final
from urllib.parse import quote

from ansible_collections.cicd.sandbox.plugins.module_utils.reports.gate import Judgement
from ansible_collections.cicd.sandbox.plugins.module_utils.reports.model import Finding, Rule, safe
from ansible_collections.cicd.sandbox.plugins.module_utils.reports.severity import RANK

SCHEMA: Final = "https://json.schemastore.org/sarif-2.1.0.json"
# GitHub refuses a run with more.
MOST_RESULTS: Final = 25_000

_LEVELS: Final = {"critical": "error", "high": "error", "medium": "warning", "low": "note", "info": "note"}
# GitHub's own bounds: critical over 9.0, high from 7.0, medium from 4.0, low over 0.
_SCORES: Final = {"critical": "9.5", "high": "8.0", "medium": "5.5", "low": "2.0", "info": "0.1"}
_HOMES: Final = {
    "popeye": "https://popeyecli.io",
    "kubescape": "https://kubescape.io",
    "trivy": "https://trivy.dev",
    "istioctl": "https://istio.io/latest/docs/reference/commands/istioctl/",
}
_URL: Final = re.compile(r"https?://[A-Za-z0-9.-]+(?::\d+)?(?:[/?#][\w./?#\[\]@!$&'()*+,;=:~%-]*)?", re.ASCII)


def is_link(text: str) -> bool:
    """Say whether a text is an address that may be linked to."""
    return _URL.fullmatch(text) is not None


def sarif_parts(judgement: Judgement) -> Iterator[str]:
    """Give a log of one run in parts, a line per result. Of more than 25,000 findings, the worst are in it."""
    report = judgement.report
    reasons = {id(finding): reason for finding, reason, _ in judgement.waived}
    known = {id(finding) for finding in judgement.known}
    counting = judgement.worst(min(len(judgement.counting), MOST_RESULTS))
    findings = [*counting, *judgement.known, *(finding for finding, _, _ in judgement.waived)][:MOST_RESULTS]
    rules: dict[int, int] = {}
    listed: list[Rule] = []
    worst: list[str] = []
    for finding in findings:
        index = rules.setdefault(id(finding.rule), len(rules))
        if index == len(listed):
            listed.append(finding.rule)
            worst.append(finding.severity)
        elif RANK[finding.severity] < RANK[worst[index]]:
            worst[index] = finding.severity
    driver: dict[str, Any] = {"name": report.tool}
    if is_link(home := _HOMES.get(report.tool, report.home)):
        driver["informationUri"] = home
    if report.tool_version:
        driver["version"] = safe(report.tool_version)
    encode = json.JSONEncoder().encode
    yield f'{{"$schema": {encode(SCHEMA)}, "version": "2.1.0", "runs": [{{"columnKind": "unicodeCodePoints",\n'
    yield f'"tool": {{"driver": {encode(driver)[:-1]}, "rules": ['
    end = "\n"
    for rule, severity in zip(listed, worst, strict=True):
        yield f"{end}{encode(_rule(rule, severity))}"
        end = ",\n"
    yield ']}},\n"results": ['
    end = "\n"
    for finding, name in zip(findings, judgement.fingerprints(findings), strict=True):
        result = _result(finding, rules[id(finding.rule)], name)
        if judgement.policy.baseline is not None:
            result["baselineState"] = "unchanged" if id(finding) in known else "new"
        if id(finding) in reasons:
            result["suppressions"] = [{"kind": "external", "justification": safe(reasons[id(finding)])}]
        yield f"{end}{encode(result)}"
        end = ",\n"
    yield "]}]}\n"


def as_sarif(judgement: Judgement) -> bytes:
    """Return a log of one run. Of more than 25,000 findings, the worst are in it."""
    return "".join(sarif_parts(judgement)).encode()


def _rule(rule: Rule, severity: str) -> dict[str, Any]:
    title = safe(rule.title)[:1000] or safe(rule.id)
    entry: dict[str, Any] = {
        "id": safe(rule.id),
        "name": safe(rule.id),
        "shortDescription": {"text": title},
        "fullDescription": {"text": safe(rule.description)[:1000] or title},
        "help": {"text": safe(rule.remediation) or safe(rule.description) or title},
        "defaultConfiguration": {"level": _LEVELS[severity]},
        "properties": {"security-severity": _SCORES[severity], "tags": ["security", severity]},
    }
    if is_link(rule.link):
        entry["helpUri"] = rule.link
    return entry


def _result(finding: Finding, index: int, fingerprint: str) -> dict[str, Any]:
    resource = finding.resource
    physical: dict[str, Any] = {"artifactLocation": {"uri": _uri(finding)}}
    # GitHub shows a result only with a line.
    physical["region"] = {"startLine": max(finding.line, 1)}
    location: dict[str, Any] = {"physicalLocation": physical}
    path = "/".join(part for part in (resource.namespace, resource.kind, resource.name, finding.container) if part)
    if path:
        location["logicalLocations"] = [{"fullyQualifiedName": safe(path), "kind": "resource"}]
    return {
        "ruleId": safe(finding.rule.id),
        "ruleIndex": index,
        "level": _LEVELS[finding.severity],
        "message": {"text": safe(finding.message) or safe(finding.rule.id)},
        "locations": [location],
        "partialFingerprints": {"primaryLocationLineHash": f"{fingerprint}:1", "cicdSandbox/v1": fingerprint},
        "properties": {"severity": finding.severity, "level": safe(finding.level)},
    }


def _uri(finding: Finding) -> str:
    """Return a relative address: the file, or, for what is in no file, the resource."""
    resource = finding.resource
    parts = (resource.namespace, resource.kind, resource.name)
    path = finding.location or "/".join(part for part in parts if part) or "target"
    path = "/".join(part for part in safe(path).split("/") if part not in ("", ".", ".."))
    return quote(path or "target", safe="/-._~")
