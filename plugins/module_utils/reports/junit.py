# Copyright: cicd.sandbox contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""JUnit: what a CI server shows as tests. A suite per namespace; its failures are what closes the gate."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final, NamedTuple
from xml.sax.saxutils import escape, quoteattr

from ansible_collections.cicd.sandbox.plugins.module_utils.reports.gate import Judgement, fails, one_line
from ansible_collections.cicd.sandbox.plugins.module_utils.reports.model import Finding, safe
from ansible_collections.cicd.sandbox.plugins.module_utils.reports.severity import SEVERITIES

_TIME: Final = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d")
_MARKUP: Final = re.compile('[&<>"]')


class _Suite(NamedTuple):
    """The findings of a namespace: those that count, the worst first; known ones; waived ones with what is said."""

    counting: list[Finding]
    known: list[Finding]
    waived: list[tuple[Finding, str]]


def junit_parts(judgement: Judgement) -> Iterator[str]:
    """Give a report, valid by Jenkins' schema, in parts.

    Its only time is the scan's: the same report gives the same file.
    """
    tool = judgement.report.tool
    yield '<?xml version="1.0" encoding="utf-8"?>\n<testsuites>\n'
    gate = "" if judgement.passed else _failed("gate", "; ".join(judgement.reasons), judgement.message())
    yield _head(tool, 0, judgement, (1, int(not judgement.passed), 0))
    yield _case("gate", _attribute(tool), gate)
    yield _END
    closing = {severity: _closes(judgement, severity) for severity in SEVERITIES}
    suites = _suites(judgement)
    for number, namespace in enumerate(sorted(suites), 1):
        suite = suites[namespace]
        failures = sum(closing[finding.severity] for finding in suite.counting)
        skipped = len(suite.known) + len(suite.waived)
        yield _head(
            f"{tool}: {namespace or 'no namespace'}",
            number,
            judgement,
            (len(suite.counting) + skipped, failures, skipped),
        )
        group = _attribute(namespace or "no namespace")
        for finding in suite.counting:
            yield _case(_name(finding), group, _failure(finding) if closing[finding.severity] else "")
        for finding in suite.known:
            yield _case(_name(finding), group, _skipped("known: in the baseline"))
        for finding, why in suite.waived:
            yield _case(_name(finding), group, _skipped(why))
        yield _END
    yield "</testsuites>\n"


def as_junit(judgement: Judgement) -> bytes:
    """Return a report, valid by Jenkins' schema."""
    return "".join(junit_parts(judgement)).encode()


def _suites(judgement: Judgement) -> dict[str, _Suite]:
    suites: dict[str, _Suite] = {}

    def suite(finding: Finding) -> _Suite:
        namespace = finding.resource.namespace
        known = suites.get(namespace)
        if known is None:
            known = suites[namespace] = suites.setdefault(safe(namespace), _Suite([], [], []))
        return known

    for finding in judgement.worst(len(judgement.counting)):
        suite(finding).counting.append(finding)
    for finding in judgement.known:
        suite(finding).known.append(finding)
    for finding, reason, waiver in judgement.waived:
        until = f", until {waiver.expires}" if waiver and waiver.expires else ""
        suite(finding).waived.append((finding, f"waived: {reason}{until}"))
    return {namespace: suite for namespace, suite in suites.items() if namespace == safe(namespace)}


def _closes(judgement: Judgement, severity: str) -> bool:
    most = judgement.policy.max_findings.get(severity)
    return fails(severity, judgement.policy) if most is None else judgement.counts[severity] > most


def _name(finding: Finding) -> str:
    resource = finding.resource
    parts = (finding.severity, finding.rule.id, resource.label, finding.container, finding.package, finding.location)
    return " ".join([part for part in parts if part])


def _attribute(text: str) -> str:
    text = safe(text)
    if _MARKUP.search(text) is None and text.isprintable():
        return f'"{text}"'
    return quoteattr(text, {"\n": "&#10;", "\t": "&#9;"})


def _case(name: str, group: str, outcome: str) -> str:
    head = f'    <testcase name={_attribute(name)} classname={group} time="0"'
    return f"{head}>{outcome}</testcase>\n" if outcome else f"{head}/>\n"


def _failed(kind: str, message: str, text: str) -> str:
    text = safe(text)
    content = text if _MARKUP.search(text) is None else escape(text)
    return f"<failure type={_attribute(kind)} message={_attribute(message)}>{content}</failure>"


def _failure(finding: Finding) -> str:
    more = [finding.message, finding.remedy or finding.rule.remediation, finding.rule.link]
    return _failed(finding.severity, one_line(finding), "\n".join([part for part in more if part]))


def _skipped(why: str) -> str:
    return f"<skipped message={_attribute(why)}/>"


def _head(name: str, number: int, judgement: Judgement, counts: tuple[int, int, int]) -> str:
    """Return a suite's beginning; ``counts`` are tests, failures and skipped ones."""
    report = judgement.report
    time = _TIME.match(report.scanned_at)
    attributes = {
        "name": name,
        "package": report.tool,
        "id": str(number),
        "timestamp": time.group() if time else "1970-01-01T00:00:00",
        "hostname": report.cluster or "localhost",
        "tests": str(counts[0]),
        "failures": str(counts[1]),
        "errors": "0",
        "skipped": str(counts[2]),
        "time": "0",
    }
    said = " ".join(f"{key}={_attribute(value)}" for key, value in attributes.items())
    return f"  <testsuite {said}>\n    <properties/>\n"


_END: Final = "    <system-out/>\n    <system-err/>\n  </testsuite>\n"
