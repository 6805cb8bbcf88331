# Copyright: cicd.sandbox contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The decision whether what was found lets a pipeline go on."""

from __future__ import annotations

import dataclasses
import datetime as dt
import difflib
import itertools
from collections.abc import Mapping, Sequence
from typing import Any, Final

from ansible_collections.cicd.sandbox.plugins.module_utils.reports.model import (
    Finding,
    Findings,
    Report,
    counted,
    fingerprints,
    name_all,
    safe,
)
from ansible_collections.cicd.sandbox.plugins.module_utils.reports.severity import RANK, SEVERITIES
from ansible_collections.cicd.sandbox.plugins.module_utils.reports.waivers import Matcher, Waiver

NEVER: Final = "never"
# So many findings are named one by one.
_FEW: Final = 1000


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
    allow_unmatched: bool = False
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
    # Of those that count: in the baseline, and less severe there; with the severity that they had.
    worse: list[tuple[Finding, str]] = dataclasses.field(default_factory=list)
    # Chosen or excluded namespaces that the report does not know, with what may be meant.
    unmatched: dict[str, str] = dataclasses.field(default_factory=dict)
    _names: dict[int, str] | None = None

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
        # A few are looked for; of many, all are as fast.
        if self._names is None and len(wanted) < _FEW:
            return fingerprints(self.report.tool, wanted, self.report.findings)
        names = self.names()
        return [names[id(finding)] for finding in wanted]

    def names(self) -> dict[int, str]:
        """Return the fingerprints of all findings by the id() of each."""
        if self._names is None:
            self._names = name_all(self.report.tool, self.report.findings)
        return self._names

    @property
    def target(self) -> str:
        """What was scanned, in a few words; empty where the report does not say."""
        report = self.report
        return report.target or report.cluster or report.context

    def policy_line(self) -> str:
        """Say what was asked, what was found, how it ended: "fail_on high: 0 critical, 97 medium; passed"."""
        policy = self.policy
        limits = [f"at most {most} {severity}" for severity, most in policy.max_findings.items()]
        asked = [f"fail_on {policy.fail_on}", *limits]
        if policy.min_score is not None:
            asked.append(f"score at least {policy.min_score:g}")
        # What can close the gate is told also where there is none of it.
        told = [
            f"{self.counts[severity]:,} {severity}"
            for severity in SEVERITIES
            if self.counts[severity] or severity in policy.max_findings or fails(severity, policy)
        ]
        found = ", ".join(told) or "no findings"
        if self.report.empty:
            found += ", nothing was scanned"
        return f"{', '.join(asked)}: {found}; {'passed' if self.passed else 'failed'}"

    def message(self) -> str:
        """Say what, how many, the worst three, which waivers ended."""
        said = "; ".join(self.reasons)
        worst = "; ".join(one_line(finding) for finding in self.worst(3))
        parts = [f"{self.report.tool}: {said}.", f"The worst: {worst}" if worst else "", *self.expired()]
        return " ".join(part for part in parts if part)

    def expired(self) -> list[str]:
        """Say of each waiver that ended, and of which there still are findings, that they count again."""
        return [
            f"The waiver of {safe(waiver.rule)} ended on {waiver.expires}: "
            f"{counted(waiver.again, 'finding counts', 'findings count')} again."
            for waiver in self.policy.waivers
            if waiver.again
        ]


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
                match(finding, wanted=False)
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
    judgement = Judgement(report, policy, counting, waived, [], [], {}, [])
    if policy.baseline is not None:
        _compare(judgement, findings, policy.baseline)
    judgement.counts = dict.fromkeys(SEVERITIES, 0) | judgement.counting.counts()
    judgement.unmatched = _unmatched(report, policy)
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


def _unmatched(report: Report, policy: Policy) -> dict[str, str]:
    """Return the namespaces that were asked for and are not in the report, with the name that may be meant.

    An empty name stands for what is in no namespace: it can't be mistyped.
    """
    asked = [name for name in (*policy.namespaces, *policy.exclude_namespaces) if name]
    if not asked:
        return {}
    known = report.all_namespaces()
    return {
        name: next(iter(difflib.get_close_matches(name, known, 1)), "")
        for name in dict.fromkeys(asked)
        if name not in known
    }


def _compare(judgement: Judgement, findings: Findings, baseline: Mapping[str, Mapping[str, Any]]) -> None:
    """Tell what is new from what is known; what got more severe since is new."""
    names = judgement.names()
    new = Findings()
    for finding in judgement.counting:
        before = baseline.get(names[id(finding)])
        if before is None:
            new.append(finding)
            continue
        was = str(before.get("severity", ""))
        if RANK[finding.severity] < RANK.get(was, 0):
            new.append(finding)
            judgement.worse.append((finding, was))
        else:
            judgement.known.append(finding)
    judgement.counting = new
    everything = findings is judgement.report.findings
    present = set(names.values()) if everything else {names[id(finding)] for finding in findings}
    judgement.fixed = [
        item
        for name, item in baseline.items()
        if name not in present and _wanted(str(item.get("resource", {}).get("namespace", "")), judgement.policy)
    ]


def _reasons(judgement: Judgement) -> list[str]:
    report, policy, counts = judgement.report, judgement.policy, judgement.counts
    reasons = []
    if report.empty and not policy.allow_empty:
        reasons.append("nothing was scanned (allow_empty lets that pass)")
    if report.errors and not policy.allow_degraded:
        more = f" and {len(report.errors) - 1} more" if len(report.errors) > 1 else ""
        reasons.append(f"the scan is partial: {safe(report.errors[0])[:200]}{more} (allow_degraded lets that pass)")
    if judgement.unmatched and not policy.allow_unmatched:
        names = ", ".join(
            f"{safe(name)!r}" + (f" (is {safe(meant)!r} meant?)" if meant else "")
            for name, meant in judgement.unmatched.items()
        )
        reasons.append(f"the report has no namespace {names} (allow_unmatched lets that pass)")
    new = "new " if policy.baseline is not None else ""
    failing = [
        f"{counts[severity]} {severity}"
        for severity in SEVERITIES
        if counts[severity] and severity not in policy.max_findings and fails(severity, policy)
    ]
    if failing:
        worse = f" ({len(judgement.worse)} less severe in the baseline)" if judgement.worse else ""
        reasons.append(f"{new}findings that must not be: {', '.join(failing)}{worse}")
    reasons += [
        f"{counted(counts[severity], f'{new}{severity} finding')}, {most} {'is' if most == 1 else 'are'} let pass"
        for severity in SEVERITIES
        if (most := policy.max_findings.get(severity)) is not None and counts[severity] > most
    ]
    if policy.min_score is not None:
        if report.score is None:
            reasons.append(f"the report has no score, at least {policy.min_score:g} is asked for")
        elif report.score < policy.min_score:
            reasons.append(f"score {round(report.score, 2):g}, at least {policy.min_score:g} is asked for")
    return reasons


def fails(severity: str, policy: Policy) -> bool:
    """Say whether a single finding of a severity closes the gate."""
    return policy.fail_on != NEVER and RANK[severity] <= RANK[policy.fail_on]
