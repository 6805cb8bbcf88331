# Copyright: cicd.sandbox contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""JUnit: what a CI server shows as tests. A suite per namespace; its failures are what closes the gate."""

from __future__ import annotations

import re
from collections.abc import Iterable
from xml.sax.saxutils import escape, quoteattr

from ansible_collections.cicd.sandbox.plugins.module_utils.reports.gate import Judgement, fails, one_line
from ansible_collections.cicd.sandbox.plugins.module_utils.reports.model import Finding, safe

_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d")


def as_junit(judgement: Judgement) -> bytes:
    """Return a report, valid by Jenkins' schema. Its only time is the scan's: the same report gives the same file."""
    suites: dict[str, list[str]] = {}
    tool = judgement.report.tool
    for finding in judgement.worst(len(judgement.counting)):
        outcome = _failure(finding) if _closes(judgement, finding.severity) else ""
        _add(suites, finding, outcome)
    for finding in judgement.known:
        _add(suites, finding, _skipped("known: in the baseline"))
    for finding, reason, waiver in judgement.waived:
        until = f", until {waiver.expires}" if waiver and waiver.expires else ""
        _add(suites, finding, _skipped(f"waived: {reason}{until}"))
    gate = "" if judgement.passed else _failed("gate", "; ".join(judgement.reasons), judgement.message())
    parts = [_suite(tool, [_case("gate", tool, gate)], 0, judgement)]
    for number, namespace in enumerate(sorted(suites), 1):
        parts.append(_suite(f"{tool}: {namespace or 'no namespace'}", suites[namespace], number, judgement))
    text = '<?xml version="1.0" encoding="utf-8"?>\n<testsuites>\n' + "".join(parts) + "</testsuites>\n"
    return text.encode()


def _closes(judgement: Judgement, severity: str) -> bool:
    most = judgement.policy.max_findings.get(severity)
    return fails(severity, judgement.policy) if most is None else judgement.counts[severity] > most


def _add(suites: dict[str, list[str]], finding: Finding, outcome: str) -> None:
    resource = finding.resource
    namespace = safe(resource.namespace)
    parts = (finding.severity, finding.rule.id, resource.label, finding.container, finding.package, finding.location)
    case = _case(safe(" ".join(part for part in parts if part)), namespace or "no namespace", outcome)
    suites.setdefault(namespace, []).append(case)


def _attribute(text: str) -> str:
    return quoteattr(safe(text), {"\n": "&#10;", "\t": "&#9;"})


def _case(name: str, group: str, outcome: str) -> str:
    head = f'    <testcase name={_attribute(name)} classname={_attribute(group)} time="0"'
    return f"{head}>{outcome}</testcase>\n" if outcome else f"{head}/>\n"


def _failed(kind: str, message: str, text: str) -> str:
    return f"<failure type={_attribute(kind)} message={_attribute(message)}>{escape(safe(text))}</failure>"


def _failure(finding: Finding) -> str:
    more = [finding.message, finding.remedy or finding.rule.remediation, finding.rule.link]
    return _failed(finding.severity, one_line(finding), "\n".join(part for part in more if part))


def _skipped(why: str) -> str:
    return f"<skipped message={_attribute(why)}/>"


def _suite(name: str, cases: Iterable[str], number: int, judgement: Judgement) -> str:
    listed = list(cases)
    failures = sum("<failure " in case for case in listed)
    skipped = sum("<skipped " in case for case in listed)
    time = _TIME.match(judgement.report.scanned_at)
    attributes = {
        "name": name,
        "package": judgement.report.tool,
        "id": str(number),
        "timestamp": time.group() if time else "1970-01-01T00:00:00",
        "hostname": judgement.report.cluster or "localhost",
        "tests": str(len(listed)),
        "failures": str(failures),
        "errors": "0",
        "skipped": str(skipped),
        "time": "0",
    }
    said = " ".join(f"{key}={_attribute(value)}" for key, value in attributes.items())
    body = "".join(listed)
    return f"  <testsuite {said}>\n    <properties/>\n{body}    <system-out/>\n    <system-err/>\n  </testsuite>\n"
