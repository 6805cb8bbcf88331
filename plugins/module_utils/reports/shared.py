# Copyright: cicd.sandbox contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The shared model as JSON: written for ``json_path``, read as a baseline."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

from ansible_collections.cicd.sandbox.plugins.module_utils.reports.gate import Judgement
from ansible_collections.cicd.sandbox.plugins.module_utils.reports.model import (
    FORMAT,
    Finding,
    Report,
    ReportError,
    as_dict,
    as_dicts,
    as_text,
    name_all,
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


def json_parts(judgement: Judgement) -> Iterator[str]:
    """Give the shared model of a judged report in parts: one line per finding, which can be compared and searched."""
    document = {
        "format": FORMAT,
        **header(judgement.report),
        "gate": {"passed": judgement.passed, "reasons": judgement.reasons},
        "summary": judgement.policy_line(),
        "counts": judgement.counts,
    }
    yield f'{json.dumps(document, indent=2)[:-2]},\n  "findings": ['
    end = "\n"
    for line in _lines(judgement):
        yield f"{end}{line}"
        end = ",\n"
    yield "\n  ]\n}\n"


def as_json(judgement: Judgement) -> bytes:
    """Return the shared model of a judged report."""
    return "".join(json_parts(judgement)).encode()


def _lines(judgement: Judgement) -> Iterator[str]:
    """Give each finding as JSON: Finding.as_dict with its status, keys in order, the parts it shares made once."""
    names = judgement.names()
    tool, text, none = _quote(judgement.report.tool), _text, '""'
    # The words of the tools that most findings have.
    levels = {level: text(level) for level in {finding.level for finding in judgement.worst(_FEW)}}
    rules: dict[int, tuple[str, str, str, str]] = {}
    resources: dict[int, tuple[str, str]] = {}
    for finding, status, expires, reason in _sorted(judgement):
        rule, resource = finding.rule, finding.resource
        known = rules.get(id(rule))
        if known is None:
            known = rules[id(rule)] = (text(rule.link), text(rule.remediation), text(rule.id), text(rule.title))
        link, remediation, name, title = known
        place = resources.get(id(resource))
        if place is None:
            kind, own_name, namespace = text(resource.kind), text(resource.name), text(resource.namespace)
            place = resources[id(resource)] = (
                f'{{"api_version": {text(resource.api_version)}, "container": ',
                f', "kind": {kind}, "name": {own_name}, "namespace": {namespace}}}',
            )
        if finding.remedy:
            remediation = text(finding.remedy)
        level, location, package, container = finding.level, finding.location, finding.package, finding.container
        yield (
            f'{{{expires}"fingerprint": "{names[id(finding)]}", "level": {levels.get(level) or text(level)}, '
            f'"line": {finding.line}, "link": {link}, "location": {text(location) if location else none}, '
            f'"message": {text(finding.message)}, "package": {text(package) if package else none}, {reason}'
            f'"remediation": {remediation}, '
            f'"resource": {place[0]}{text(container) if container else none}{place[1]}, '
            f'"rule": {name}, "severity": "{finding.severity}", "status": "{status}", "title": {title}, '
            f'"tool": {tool}}}'
        )


# The standard library's C function, which has no type hints.
_quote: Final[Callable[[str], str]] = json.encoder.encode_basestring_ascii


_FEW: Final = 1000


def _text(value: str) -> str:
    return _quote(value if value.isascii() and value.isprintable() else safe(value))


def _sorted(judgement: Judgement) -> Iterator[tuple[Finding, str, str, str]]:
    """Give the findings that count, the worst first, known and waived ones: with status, end and reason as JSON."""
    for finding in judgement.worst(len(judgement.counting)):
        yield finding, "counts", "", ""
    for finding in judgement.known:
        yield finding, "known", "", ""
    for finding, reason, waiver in judgement.waived:
        expires = f'"{waiver.expires.isoformat()}"' if waiver and waiver.expires else "null"
        yield finding, "waived", f'"expires": {expires}, ', f'"reason": {_text(reason)}, '


def read_baseline(
    tool: str, data: bytes, name: str, read: Callable[[str, str], Report] | None = None
) -> Mapping[str, Mapping[str, Any]]:
    """Return an earlier report's findings by fingerprint: from the tool's own report, or from the shared model.

    ``read`` makes a report of its text and its name, where it is another tool's reader that does.
    What was waived is no part of a baseline: when the waiver ends, the finding counts.
    """
    if FORMAT.encode() in data[:200]:
        known = _from_lines(tool, data)
        return _from_shared(tool, as_json_text(data, name), name) if known is None else known
    text = as_json_text(data, name)
    if FORMAT in text[:200]:
        return _from_shared(tool, text, name)
    report = read(text, name) if read else read_report(tool, text, name)
    if report.tool != tool:
        raise _foreign(name, report.tool, tool)
    findings = [finding for finding in report.findings if finding.exception is None]
    names = name_all(tool, report.findings)
    return {names[id(finding)]: finding.as_dict(tool, names[id(finding)]) for finding in findings}


class _Line(Mapping[str, Any]):
    """A finding in a line of the shared model, decoded when somebody asks for more than its severity."""

    __slots__ = ("_data", "_end", "_start", "severity")

    def __init__(self, data: bytes, start: int, end: int, severity: str) -> None:
        self._data = data
        self._start = start
        self._end = end
        self.severity = severity

    def __getitem__(self, key: str) -> Any:
        return self.severity if key == "severity" else self._decoded()[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._decoded())

    def __len__(self) -> int:
        return len(self._decoded())

    def _decoded(self) -> dict[str, Any]:
        item: dict[str, Any] = json.loads(self._data[self._start : self._end])
        return item


# In JSON a quotation mark inside a text is never bare: these stand where they seem to.
_LINE: Final = re.compile(
    rb'^(\{(?:"expires": (?:null|"[-\d]+"), )?"fingerprint": "([0-9a-f]{32})"'
    rb'.*"severity": "([a-z]+)", "status": "([a-z]+)", "title": ".*\}),?$',
    re.MULTILINE,
)
_TOOL: Final = re.compile(rb'^  "tool": "([^"\n]*)"', re.MULTILINE)
_HEAD_END: Final = b'\n  "findings": [\n'


def _from_lines(tool: str, data: bytes) -> dict[str, Mapping[str, Any]] | None:
    """Read the shared model as json_parts writes it, without decoding it; None where it is written otherwise."""
    head = data.find(_HEAD_END)
    writer = _TOOL.search(data, 0, max(head, 0))
    if head < 0 or writer is None or writer[1].decode("utf-8", "replace") != tool or not data.endswith(b"\n  ]\n}\n"):
        return None
    known: dict[str, Mapping[str, Any]] = {}
    lines = 0
    for match in _LINE.finditer(data, head + len(_HEAD_END)):
        lines += 1
        if match[4] != b"waived":
            known[match[2].decode()] = _Line(data, match.start(1), match.end(1), sys.intern(match[3].decode()))
    # As many lines as there are, less those around them.
    return known if lines == data.count(b"\n", head + len(_HEAD_END)) - 2 else None


def _foreign(name: str, writer: str, tool: str) -> ReportError:
    return ReportError(f"{name} is a report on {writer[:40]!r}, a baseline for {tool} is needed")


def _from_shared(tool: str, text: str, name: str) -> dict[str, Mapping[str, Any]]:
    try:
        document = as_dict(json.loads(text, parse_constant=lambda _: None))
    except (ValueError, RecursionError) as exc:
        raise explain(exc, text, name) from None
    writer = as_text(document.get("tool"))
    if writer != tool:
        raise _foreign(name, writer, tool)
    return {
        as_text(item.get("fingerprint")): {**item, "resource": as_dict(item.get("resource"))}
        for item in as_dicts(document.get("findings"))
        if item.get("status") != "waived"
    }
