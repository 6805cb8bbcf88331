# Copyright: cicd.sandbox contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The shared model as JSON: written for ``json_path``, read as a baseline."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from ansible_collections.cicd.sandbox.plugins.module_utils.reports.gate import Judgement
from ansible_collections.cicd.sandbox.plugins.module_utils.reports.model import (
    FORMAT,
    Finding,
    Report,
    ReportError,
    as_dict,
    as_dicts,
    as_text,
    fingerprints,
    safe,
)
from ansible_collections.cicd.sandbox.plugins.module_utils.reports.reading import read_report
from ansible_collections.cicd.sandbox.plugins.module_utils.reports.source import as_json_text
from ansible_collections.cicd.sandbox.plugins.module_utils.reports.stream import explain


def header(report: Report) -> dict[str, Any]:
    """Return what is said of a report as a whole."""
    return {
        "tool": report.tool,
        "tool_version": safe(report.tool_version),
        "scanned_at": safe(report.scanned_at),
        "target": safe(report.target),
        "about": {safe(name): safe(text) for name, text in report.about.items()},
        "cluster": safe(report.cluster),
        "context": safe(report.context),
        "score": report.score,
        "grade": safe(report.grade),
        "passed": report.passed,
        "skipped": report.skipped,
        "skips": [
            {"reason": safe(reason), "checks": [safe(name) for name in names]} for reason, names in report.skips.items()
        ],
        "empty": report.empty,
        "degraded": [safe(error) for error in report.errors],
    }


def entries(judgement: Judgement) -> Iterator[dict[str, Any]]:
    """Give all findings with their status: counts, known or waived; the worst of each first."""
    counting = judgement.worst(len(judgement.counting))
    waived = {id(finding): (reason, waiver) for finding, reason, waiver in judgement.waived}
    findings: list[Finding] = [*counting, *judgement.known, *(finding for finding, _, _ in judgement.waived)]
    edges = len(counting), len(counting) + len(judgement.known)
    for number, (finding, name) in enumerate(zip(findings, judgement.fingerprints(findings), strict=True)):
        entry = finding.as_dict(judgement.report.tool, name)
        entry["status"] = "counts" if number < edges[0] else "known" if number < edges[1] else "waived"
        if entry["status"] == "waived":
            reason, waiver = waived[id(finding)]
            entry["reason"] = safe(reason)
            entry["expires"] = waiver.expires.isoformat() if waiver and waiver.expires else None
        yield entry


def as_json(judgement: Judgement) -> bytes:
    """Return the shared model of a judged report."""
    document = {
        "format": FORMAT,
        **header(judgement.report),
        "gate": {"passed": judgement.passed, "reasons": judgement.reasons},
        "summary": judgement.policy_line(),
        "counts": judgement.counts,
        "findings": list(entries(judgement)),
    }
    # One line per finding: a file that can be compared and searched.
    findings = ",\n".join(json.dumps(item, sort_keys=True) for item in document.pop("findings"))
    rest = json.dumps(document, indent=2)
    return f'{rest[:-2]},\n  "findings": [\n{findings}\n  ]\n}}\n'.encode()


def read_baseline(tool: str, data: bytes, name: str) -> dict[str, Mapping[str, Any]]:
    """Return an earlier report's findings by fingerprint: from the tool's own report, or from the shared model.

    What was waived is no part of a baseline: when the waiver ends, the finding counts.
    """
    text = as_json_text(data, name)
    if FORMAT in text[:200]:
        return _from_shared(tool, text, name)
    report = read_report(tool, text, name)
    findings = [finding for finding in report.findings if finding.exception is None]
    names = fingerprints(tool, findings, report.findings)
    return {name: finding.as_dict(tool, name) for name, finding in zip(names, findings, strict=True)}


def _from_shared(tool: str, text: str, name: str) -> dict[str, Mapping[str, Any]]:
    try:
        document = as_dict(json.loads(text, parse_constant=lambda _: None))
    except (ValueError, RecursionError) as exc:
        raise explain(exc, text, name) from None
    writer = as_text(document.get("tool"))
    if writer != tool:
        raise ReportError(f"{name} is a report on {writer[:40]!r}, a baseline for {tool} is needed")
    return {
        as_text(item.get("fingerprint")): {**item, "resource": as_dict(item.get("resource"))}
        for item in as_dicts(document.get("findings"))
        if item.get("status") != "waived"
    }
