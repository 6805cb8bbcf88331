# Copyright: cicd.sandbox contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The decision whether what was found lets a pipeline go on."""

from __future__ import annotations

import dataclasses
import datetime as dt
import itertools
from collections.abc import Mapping, Sequence
from typing import Any, Final

from ansible_collections.cicd.sandbox.plugins.module_utils.reports.model import (
    Finding,
    Findings,
    Report,
    fingerprints,
    safe,
)
from ansible_collections.cicd.sandbox.plugins.module_utils.reports.severity import RANK, SEVERITIES
from ansible_collections.cicd.sandbox.plugins.module_utils.reports.waivers import Matcher, Waiver

NEVER: Final = "never"


@dataclasses.dataclass(frozen=True)
class Policy:
    """What is asked of a report. ``baseline``: findings of an earlier one by fingerprint, None without one."""

    fail_on: str = "high"
    max_findings: Mapping[str, int] = dataclasses.field(default_factory=dict)
    min_score: float | None = None
    namespaces: Sequence[str] = ()
    exclude_namespaces: Sequence[str] = ()
    waivers: Sequence[Waiver] = ()
    baseline: Mapping[str, Mapping[str, Any]] | None = None
    allow_empty: bool = False
    allow_degraded: bool = False
    today: dt.date = dt.date.min


@dataclasses.dataclass
class Judgement:
    """A report as the policy sees it."""

    report: Report
    policy: Policy
    # Neither waived nor in the baseline.
    counting: Findings
    # With the reason, and the waiver unless the tool itself lets it pass.
    waived: list[tuple[Finding, str, Waiver | None]]
    # In the baseline.
    known: list[Finding]
    # In the baseline, and gone.
    fixed: list[Mapping[str, Any]]
    counts: dict[str, int]
    reasons: list[str]

    @property
    def passed(self) -> bool:
        """Whether the gate is open."""
        return not self.reasons

    @property
    def shown(self) -> list[Finding]:
        """All findings in the chosen namespaces."""
        return [*self.counting, *self.known, *(finding for finding, _, _ in self.waived)]

    def worst(self, most: int) -> list[Finding]:
        """Return so many of those that count, the worst first."""
        found: list[Finding] = []
        for severity in SEVERITIES:
            if self.counts[severity] and len(found) < most:
                found += itertools.islice(self.counting.of_severity(severity), most - len(found))
        return found

    def fingerprints(self, wanted: Sequence[Finding]) -> list[str]:
        """Return the fingerprints of some of the report's findings."""
        return fingerprints(self.report.tool, wanted, self.report.findings)

    def message(self) -> str:
        """Say what, how many, the worst three."""
        said = "; ".join(self.reasons)
        worst = "; ".join(one_line(finding) for finding in self.worst(3))
        return f"{self.report.tool}: {said}." + (f" The worst: {worst}" if worst else "")


def one_line(finding: Finding) -> str:
    """Say what a finding is in a line."""
    resource = finding.resource
    place = (
        f"{resource.namespace} {resource.label}".strip() or finding.location or finding.package or "the scan's target"
    )
    message = (
        finding.message
        if finding.message.startswith(f"[{finding.rule.id}]")
        else f"{finding.rule.id}: {finding.message}"
    )
    return safe(f"{finding.severity} {place}: {message[:160]}".replace("\n", " "))


def judge(report: Report, policy: Policy) -> Judgement:
    """Sort a report's findings and decide."""
    findings = _chosen(report.findings, policy)
    waived: list[tuple[Finding, str, Waiver | None]] = []
    if policy.waivers:
        match = Matcher(policy.waivers, policy.today)
        # Waivers are used or not by the whole report, whichever namespaces are looked at.
        for finding in report.findings if findings is not report.findings else ():
            if not _wanted(finding.resource.namespace, policy):
                match(finding)
        counting = Findings()
        for finding in findings:
            waiver = match(finding)
            if finding.exception is not None:
                waived.append((finding, finding.exception, None))
            elif waiver is not None:
                waived.append((finding, waiver.reason, waiver))
            else:
                counting.append(finding)
    elif report.has_exceptions:
        waived = [(item, item.exception, None) for item in findings if item.exception is not None]
        counting = Findings(finding for finding in findings if finding.exception is None)
    else:
        counting = findings
    known: list[Finding] = []
    fixed: list[Mapping[str, Any]] = []
    if policy.baseline is not None:
        counting, known, fixed = _compare(report, findings, counting, policy)
    counts = dict.fromkeys(SEVERITIES, 0) | counting.counts()
    judgement = Judgement(report, policy, counting, waived, known, fixed, counts, [])
    judgement.reasons += _reasons(judgement)
    return judgement


def _wanted(namespace: str, policy: Policy) -> bool:
    if policy.namespaces and namespace not in policy.namespaces:
        return False
    return namespace not in policy.exclude_namespaces


def _chosen(findings: Findings, policy: Policy) -> Findings:
    if not policy.namespaces and not policy.exclude_namespaces:
        return findings
    return Findings(finding for finding in findings if _wanted(finding.resource.namespace, policy))


def _compare(
    report: Report, findings: Findings, counting: Findings, policy: Policy
) -> tuple[Findings, list[Finding], list[Mapping[str, Any]]]:
    baseline = policy.baseline or {}
    names = dict(zip(map(id, findings), fingerprints(report.tool, findings, report.findings), strict=True))
    new = Findings()
    known: list[Finding] = []
    for finding in counting:
        (known if names[id(finding)] in baseline else new).append(finding)
    present = set(names.values())
    fixed = [
        item
        for name, item in baseline.items()
        if name not in present and _wanted(str(item.get("resource", {}).get("namespace", "")), policy)
    ]
    return new, known, fixed


def _reasons(judgement: Judgement) -> list[str]:
    report, policy, counts = judgement.report, judgement.policy, judgement.counts
    reasons = []
    if report.empty and not policy.allow_empty:
        reasons.append("nothing was scanned (allow_empty lets that pass)")
    if report.errors and not policy.allow_degraded:
        more = f" and {len(report.errors) - 1} more" if len(report.errors) > 1 else ""
        reasons.append(f"the scan is partial: {safe(report.errors[0])[:200]}{more} (allow_degraded lets that pass)")
    new = "new " if policy.baseline is not None else ""
    failing = [
        f"{counts[severity]} {severity}"
        for severity in SEVERITIES
        if counts[severity] and severity not in policy.max_findings and fails(severity, policy)
    ]
    if failing:
        reasons.append(f"{new}findings that must not be: {', '.join(failing)}")
    reasons += [
        f"{counts[severity]} {new}{severity} findings, {most} are let pass"
        for severity in SEVERITIES
        if (most := policy.max_findings.get(severity)) is not None and counts[severity] > most
    ]
    if policy.min_score is not None:
        if report.score is None:
            reasons.append(f"the report has no score, at least {policy.min_score:g} is asked for")
        elif report.score < policy.min_score:
            reasons.append(f"score {report.score:g}, at least {policy.min_score:g} is asked for")
    return reasons


def fails(severity: str, policy: Policy) -> bool:
    """Say whether a single finding of a severity closes the gate."""
    return policy.fail_on != NEVER and RANK[severity] <= RANK[policy.fail_on]
