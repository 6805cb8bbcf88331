# Copyright: cicd.sandbox contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reports of kubescape, ``--format json``: v1 (frameworks of controls of alerts) and v2 (2.0 to 4.0: results joined).

v1 is a framework or an array of them; each alert under ``ruleResponses`` failed, unless it carries an exception. v2 has
``results`` (controls by resource), ``resources`` (what the ids stand for) and ``summaryDetails`` (what controls are).
"""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from ansible_collections.cicd.sandbox.plugins.module_utils.reports.kubescape_controls import (
    TOOL,
    exception_names,
    named,
    rule_of,
    severity_of_control,
)
from ansible_collections.cicd.sandbox.plugins.module_utils.reports.kubescape_summary import (
    EXPECTED,
    add_failed_controls,
    add_vulnerabilities,
    check_counters,
    describe,
    looked_at,
    note_coverage,
    note_skipped,
)
from ansible_collections.cicd.sandbox.plugins.module_utils.reports.kubescape_v1 import Frameworks
from ansible_collections.cicd.sandbox.plugins.module_utils.reports.model import (
    DetailedFinding,
    Finding,
    Report,
    Resource,
    Rule,
    as_count,
    as_dict,
    as_dicts,
    as_number,
    as_text,
    as_time,
    form_of,
)
from ansible_collections.cicd.sandbox.plugins.module_utils.reports.severity import severity_of
from ansible_collections.cicd.sandbox.plugins.module_utils.reports.stream import Cursor, Piece

_EXCEPTION: Final = "w/exceptions"
# With these, a piece of a report is read one by one.
_UNUSUAL: Final = ('"exception"', '"rawResource"')
_PASSED: Final = {"passed", "irrelevant"}
_SKIPPED: Final = {"skipped"}
_WAIVED: Final = {"excluded", "ignored", "warning"}
_ROOT_KEYS: Final = {
    "resources", "resource", "attributes", "metadata", "summaryDetails", "results", "scanCoverage", "exceptionAudit",
    "rbacObjects", "paginationInfo", "clusterAPIServerInfo", "resourceLabels", "namespaceSummaries", "frameworks",
}  # fmt: skip
_CONTROL_KEYS: Final = {"controlID", "name", "status", "statusInfo", "severity", "scoreFactor", "ResourceCounters"}
_SUMMARY_KEYS: Final = {"controls", "frameworks", "vulnerabilities", "status", "score", "complianceScore"}


class _Pair(NamedTuple):
    """A control that does not hold for a resource, until both are known."""

    resource: str
    control: str
    name: str
    severity: str
    message: str
    exception: str | None


def _place(path: dict[str, Any]) -> str:
    """Say where a rule fails, or what would mend it."""
    fix = as_dict(path.get("fixPath"))
    if wanted := as_text(fix.get("path")):
        return f"set {wanted} to {as_text(fix.get('value'))}"
    failed = path.get("failedPath") or path.get("reviewPath") or path.get("deletePath")
    return as_text(failed or path.get("fixCommand"))


def _places(rules: list[dict[str, Any]]) -> str:
    said = [place for rule in rules for path in as_dicts(rule.get("paths")) if (place := _place(path))]
    more = f" and {len(said) - 3} more" if len(said) > 3 else ""
    return "; ".join(said[:3]) + more


def _exception(rules: list[dict[str, Any]]) -> str | None:
    """Name the exceptions that let failed rules pass; None unless each of them has one."""
    failed = [rule for rule in rules if as_text(rule.get("status")) not in _PASSED | _SKIPPED]
    names = [exception_names(rule.get("exception")) for rule in failed]
    return named(names) if names and all(names) else None


def _status_by_rules(rules: list[dict[str, Any]]) -> str:
    """Return the status of a control that says none, as in 2.0: that of its rules."""
    words = {as_text(rule.get("status")) for rule in rules}
    for word in ("failed", "skipped", "passed"):
        if word in words and words <= _PASSED | _SKIPPED | {"failed"}:
            return word
    return ""


class _Counted(NamedTuple):
    """Pairs that are still text: how many, by control and severity, and of which resources."""

    failed: Mapping[tuple[str, object], int]
    resources: set[str]
    text: str
    start: int
    end: int


class _Results:
    """Reads v2 results."""

    def __init__(self, report: Report) -> None:
        self.report = report
        # Pairs of a resource and a control that were evaluated.
        self.evaluated = 0
        # Those that were not, by control, sub-status and reason.
        self.skipped: Counter[tuple[str, str, str]] = Counter()
        self._parts: list[_Pair | _Counted] = []
        # Of controls that were counted.
        self._names: dict[str, str] = {}
        self._severities: dict[str, tuple[str, str]] = {}
        self._resources: dict[str, Resource] = {}
        # Files, by resource id.
        self._files: dict[str, str] = {}

    def read(self, cursor: Cursor) -> None:
        """Consume the results."""
        for piece in cursor.pieces():
            if piece.end and self._count(cursor.text, piece):
                continue
            for item in piece.values:
                self._result(item)

    def _count(self, text: str, piece: Piece) -> bool:
        """Count what does not hold, to be made when somebody asks; say whether all is as usual."""
        # Exceptions and files stand in what is not looked at here.
        unusual = any(text.find(word, piece.start, piece.end) >= 0 for word in _UNUSUAL)
        if unusual or not all(type(item) is dict and type(item.get("controls")) is list for item in piece.values):
            return False
        failed: Counter[tuple[str, object]] = Counter()
        skipped: Counter[tuple[str, str, str]] = Counter()
        resources: set[str] = set()
        passed = irrelevant = 0
        try:
            for item in piece.values:
                resources.add(item["resourceID"])
                for control in item["controls"]:
                    status = control["status"]
                    word, sub = status["status"], status.get("subStatus", "")
                    if word == "failed" and sub == "":
                        failed[control["controlID"], control.get("severity")] += 1
                    elif word == "passed" and sub in EXPECTED:
                        passed += 1
                        irrelevant += sub == "irrelevant"
                    elif word == "skipped" and sub != _EXCEPTION:
                        skipped[control["controlID"], sub, status.get("info", "")] += 1
                    else:
                        return False
            # TypeErrors where one is no text.
            "".join(resources)
            "".join(name for name, _ in failed)
            "".join("".join(texts) for texts in skipped)
        except (AttributeError, KeyError, TypeError):
            return False
        self.evaluated += passed - irrelevant + failed.total()
        self.report.passed += passed
        self.skipped.update(skipped)
        if not {name for name, _ in failed} <= self._names.keys():
            for control in (control for item in piece.values for control in item["controls"]):
                if control["status"]["status"] == "failed":
                    self._names.setdefault(control["controlID"], as_text(control.get("name")))
        if failed:
            self._parts.append(_Counted(failed, resources, text, piece.start, piece.end))
        return True

    def _result(self, item: Any) -> None:
        """Add what does not hold for a resource."""
        if not isinstance(item, dict):
            self.report.degrade(f"not read: a result, which is {form_of(item)} and no object")
            return
        resource = as_text(item.get("resourceID"))
        raw = as_dict(item.get("rawResource"))
        if as_dict(raw.get("object")):
            self.resource(raw)
        for control in self.report.objects(item.get("controls"), f"controls of {resource or 'a result'}"):
            status = control.get("status")
            sub: Any = ""
            info: Any = ""
            if type(status) is dict:
                sub, info = status.get("subStatus") or "", status.get("info") or ""
                status = status.get("status")
            if status == "passed" and sub == "":
                self.report.passed += 1
                self.evaluated += 1
            else:
                self._not_plainly_passed(resource, control, as_text(status), (as_text(sub), as_text(info)))

    def _not_plainly_passed(self, resource: str, control: dict[str, Any], status: str, why: tuple[str, str]) -> None:
        name = as_text(control.get("controlID"))
        rules = as_dicts(control.get("rules"))
        sub, info = why
        status = status or _status_by_rules(rules)
        exception = _exception(rules)
        if sub == _EXCEPTION or status in _WAIVED:
            # 2.1 to 3 say failed, 4.0 says passed.
            exception = exception or named([exception_names(rule.get("exception")) for rule in rules])
        elif status in _SKIPPED:
            self.skipped[name, sub, info] += 1
            return
        elif status in _PASSED:
            if sub in EXPECTED:
                self.report.passed += 1
                self.evaluated += sub != "irrelevant" and status != "irrelevant"
            else:
                self.skipped[name, sub, info] += 1
            return
        elif status != "failed":
            self.report.degrade(f"{name} has the unknown status {status[:40]!r}")
            exception = None
        self.evaluated += 1
        severity = as_text(control.get("severity"))
        self._parts.append(_Pair(resource, name, as_text(control.get("name")), severity, _places(rules), exception))

    def resource(self, item: Any) -> None:
        """Remember who a resource id is."""
        if not isinstance(item, dict):
            self.report.degrade(f"not read: a resource, which is {form_of(item)} and no object")
            return
        found = as_dict(item.get("object"))
        metadata = as_dict(found.get("metadata"))
        name = as_text(item.get("resourceID"))
        if kind := as_text(found.get("kind")):
            self._resources[name] = self.report.resource(
                as_text(found.get("apiVersion") or found.get("apiGroup")),
                kind,
                as_text(metadata.get("namespace") or found.get("namespace")),
                as_text(metadata.get("name") or found.get("name")),
            )
        source = as_dict(item.get("source"))
        if place := as_text(source.get("relativePath") or source.get("path")):
            self._files[name] = place

    def _resource_of(self, name: str) -> Resource:
        known = self._resources.get(name)
        if known is None:
            # group/version/namespace/Kind/name, with a path before it when files were scanned.
            parts = name.split("/")
            if len(parts) >= 4:
                group = "/".join(part for part in parts[-5:-3] if part and "=" not in part)
                known = self.report.resource(group, parts[-2], parts[-3], parts[-1])
            else:
                known = self.report.resource("", "", "", name)
            self._resources[name] = known
        return known

    def join(self, controls: dict[str, Any]) -> None:
        """Turn pairs into findings, by what the summary says of controls."""
        findings = self.report.findings
        for part in self._parts:
            if isinstance(part, _Pair):
                findings.append(self._finding(part, controls))
                self.report.has_exceptions |= part.exception is not None
                continue
            counts: Counter[str] = Counter()
            for (name, word), count in part.failed.items():
                self._rule(name, self._names[name], controls)
                counts[self._severity(name, as_text(word))[0]] += count
            resources = {id(self._resource_of(name)) for name in part.resources}
            findings.later(counts, functools.partial(self._again, part, controls), resources)

    def _again(self, part: _Counted, controls: dict[str, Any]) -> list[Finding]:
        found: list[Finding] = []
        for item in Cursor(f"[{part.text[part.start : part.end]}]").value():
            for control in item["controls"]:
                if control["status"]["status"] == "failed":
                    words = (as_text(control.get("name")), as_text(control.get("severity")))
                    places = _places(as_dicts(control.get("rules")))
                    pair = _Pair(item["resourceID"], control["controlID"], *words, places, None)
                    found.append(self._finding(pair, controls))
        return found

    def _rule(self, name: str, title: str, controls: dict[str, Any]) -> Rule:
        rule = self.report.rules.get(name)
        if rule is None:
            about = as_dict(controls.get(name))
            rule = self.report.rules[name] = rule_of(name, about, title)
            self._severities[name] = severity_of_control(about)
        return rule

    def _severity(self, name: str, word: str) -> tuple[str, str]:
        return (severity_of(TOOL, word), word) if word else self._severities[name]

    def _finding(self, pair: _Pair, controls: dict[str, Any]) -> Finding:
        rule = self._rule(pair.control, pair.name, controls)
        severity, level = self._severity(pair.control, pair.severity)
        message = f"{rule.title}: {pair.message}" if pair.message else rule.title
        finding = DetailedFinding(rule, severity, self._resource_of(pair.resource), message, level)
        finding.exception = pair.exception
        finding.location = finding.key = self._files.get(pair.resource, "")
        return finding


def read(cursor: Cursor) -> Report | None:
    """Read the report at the cursor; None where it is not kubescape's."""
    report = Report(TOOL)
    if cursor.kind() == "[":
        return _array(report, cursor)
    if cursor.kind() != "{":
        return None
    results, frameworks = _Results(report), Frameworks(report)
    rest = _members(cursor, results, frameworks)
    if isinstance(rest.get("summaryDetails"), dict):
        whole: Report | None = _v2(report, results, rest)
    else:
        whole = _v1(report, frameworks, rest)
    for key in ("results", "resources", "frameworks"):
        if rest.get(key) is not None:
            report.degrade(f"not read: {key}, which is {form_of(rest[key])} and no list")
    report.unread({key: rest[key] for key in rest.keys() - _ROOT_KEYS}, "the report")
    return whole


def _members(cursor: Cursor, results: _Results, frameworks: Frameworks) -> dict[str, Any]:
    """Consume the report; return what is not read as it goes by."""
    rest: dict[str, Any] = {}
    for key in cursor.members():
        kind = cursor.kind()
        if key == "results" and kind == "[":
            results.read(cursor)
        elif key == "resources" and kind == "[":
            for resource in cursor.elements():
                results.resource(resource)
        elif key == "frameworks" and kind == "[":
            for _ in cursor.places():
                frameworks.framework(cursor)
        elif key == "controlReports":
            frameworks.control_reports(cursor)
        else:
            rest[key] = cursor.value()
    return rest


def _array(report: Report, cursor: Cursor) -> Report | None:
    frameworks = Frameworks(report)
    count = 0
    for _ in cursor.places():
        count += 1
        frameworks.framework(cursor)
    if not count:
        report.empty = True
        return report
    return _v1(report, frameworks, {})


def _v1(report: Report, frameworks: Frameworks, rest: dict[str, Any]) -> Report | None:
    if not frameworks.found:
        return None
    report.empty = not frameworks.evaluated
    # That nothing keeps all controls is no merit.
    report.score = None if report.empty else frameworks.score
    report.cluster = as_text(rest.get("clusterName"))
    report.scanned_at = as_time(rest.get("generationTime"))
    return report


def _v2(report: Report, results: _Results, rest: dict[str, Any]) -> Report:
    summary = as_dict(rest["summaryDetails"])
    controls = _controls(report, summary)
    results.join(controls)
    metadata = as_dict(rest.get("metadata"))
    report.tool_version = as_text(as_dict(metadata.get("scanMetadata")).get("kubescapeVersion"))
    report.scanned_at = as_time(rest.get("generationTime"))
    report.context = _context(metadata)
    report.cluster = as_text(rest.get("clusterName")) or report.context
    note_skipped(report, controls, results.skipped, report.tool_version)
    if not results.evaluated:
        counters = [as_dict(as_dict(about).get("ResourceCounters")) for about in controls.values()]
        report.passed += sum(as_count(counter.get("passedResources")) for counter in counters)
    add_failed_controls(report, controls, report.rules)
    check_counters(report, summary)
    add_vulnerabilities(report, summary.get("vulnerabilities"))
    note_coverage(report, as_dict(rest.get("scanCoverage")))
    describe(report, metadata, summary)
    report.unread({key: summary[key] for key in summary.keys() - _SUMMARY_KEYS}, "summaryDetails")
    scanned = results.evaluated or report.findings or "Images" in report.about
    report.empty = not scanned and not any(looked_at(as_dict(about)) for about in controls.values())
    # That nothing keeps all controls is no merit.
    report.score = None if report.empty else _compliance(summary, controls)
    return report


def _controls(report: Report, summary: dict[str, Any]) -> dict[str, Any]:
    """Return what the summary says of controls, by id; where it says nothing, what it says of its frameworks' own."""
    controls = report.part(summary.get("controls"), "the summary's controls")
    for framework in report.objects(summary.get("frameworks"), "the summary's frameworks"):
        for name, about in report.part(framework.get("controls"), "controls of a framework").items():
            controls.setdefault(name, about)
    for name, about in controls.items():
        if not _CONTROL_KEYS & as_dict(about).keys():
            report.degrade(f"not read: {name[:60]!r} of the summary's controls, {form_of(about)}")
    return controls


def _context(metadata: dict[str, Any]) -> str:
    for key in ("targetMetadata", "contextMetadata"):
        cluster = as_dict(as_dict(metadata.get(key)).get("clusterContextMetadata"))
        if name := as_text(cluster.get("contextName")):
            return name
    return as_text(as_dict(metadata.get("clusterMetadata")).get("contextName"))


def _compliance(summary: dict[str, Any], controls: dict[str, Any]) -> float | None:
    """Return the compliance score, 100 is best; ``score`` is a risk and no substitute."""
    own = as_number(summary.get("complianceScore"))
    if own is not None:
        return own
    for parts in (as_dicts(summary.get("frameworks")), as_dicts(list(controls.values()))):
        scores = [number for part in parts if (number := as_number(part.get("complianceScore"))) is not None]
        if scores:
            return round(sum(scores) / len(scores), 2)
    return None
