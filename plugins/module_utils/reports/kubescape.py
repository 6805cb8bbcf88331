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

from ansible_collections.cicd.sandbox.plugins.module_utils.reports.model import (
    DetailedFinding,
    Finding,
    Report,
    Resource,
    Rule,
    as_count,
    as_dict,
    as_dicts,
    as_list,
    as_number,
    as_text,
)
from ansible_collections.cicd.sandbox.plugins.module_utils.reports.severity import (
    severity_of,
    severity_of_score_factor,
)
from ansible_collections.cicd.sandbox.plugins.module_utils.reports.stream import Cursor, Piece

TOOL: Final = "kubescape"
LINK: Final = "https://kubescape.io/docs/controls/"

_EXCEPTION: Final = "w/exceptions"
# Not evaluated for a reason that the user chose or has to see to: skipped, but no gap that nobody knows of.
_EXPECTED: Final = {"", "irrelevant", "configuration", "integration", "requires review", "manual review"}
# With these, a piece of a report is read one by one.
_UNUSUAL: Final = ('"exception"', '"rawResource"')
_PASSED: Final = {"passed", "irrelevant"}
_SKIPPED: Final = {"skipped"}
_WAIVED: Final = {"excluded", "ignored", "warning"}


class _Pair(NamedTuple):
    """A control that does not hold for a resource, until both are known."""

    resource: str
    control: str
    name: str
    severity: str
    message: str
    exception: str | None


def _link(control: str) -> str:
    return f"{LINK}{control.lower()}/" if control.upper().startswith("C-") else ""


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
    names = [_exception_names(rule.get("exception")) for rule in failed]
    return _named(names) if names and all(names) else None


def _named(names: list[str]) -> str:
    said = ", ".join(dict.fromkeys(name for name in names if name))
    return f"exception in kubescape: {said or 'unnamed'}"


def _exception_names(value: object) -> str:
    listed = [value] if isinstance(value, dict) and value else as_dicts(value)
    return ", ".join(as_text(item.get("name")) or "unnamed" for item in listed)


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
        self.seen = 0
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
        if any(text.find(word, piece.start, piece.end) >= 0 for word in _UNUSUAL):
            return False
        failed: Counter[tuple[str, object]] = Counter()
        resources: set[str] = set()
        seen = passed = skipped = 0
        try:
            for item in piece.values:
                resources.add(item["resourceID"])
                controls = item["controls"]
                seen += len(controls)
                for control in controls:
                    status = control["status"]
                    word, sub = status["status"], status.get("subStatus", "")
                    if word == "failed" and sub == "":
                        failed[control["controlID"], control.get("severity")] += 1
                    elif word == "passed" and sub in _EXPECTED:
                        passed += 1
                    elif word == "skipped" and sub in _EXPECTED:
                        skipped += 1
                    else:
                        return False
            # TypeErrors where one is no text.
            "".join(resources)
            "".join(name for name, _ in failed)
        except (AttributeError, KeyError, TypeError):
            return False
        self.seen += seen
        self.report.passed += passed
        self.report.skipped += skipped
        if not {name for name, _ in failed} <= self._names.keys():
            for control in (control for item in piece.values for control in item["controls"]):
                if control["status"]["status"] == "failed":
                    self._names.setdefault(control["controlID"], as_text(control.get("name")))
        if failed:
            self._parts.append(_Counted(failed, resources, text, piece.start, piece.end))
        return True

    def _result(self, item: Any) -> None:
        """Add what does not hold for a resource."""
        item = as_dict(item)
        resource = as_text(item.get("resourceID"))
        raw = as_dict(item.get("rawResource"))
        if as_dict(raw.get("object")):
            self.resource(raw)
        for control in as_dicts(item.get("controls")):
            self.seen += 1
            status = control.get("status")
            sub: Any = ""
            if type(status) is dict:
                sub = status.get("subStatus") or ""
                status = status.get("status")
            if status == "passed" and sub == "":
                self.report.passed += 1
            else:
                self._not_plainly_passed(resource, control, as_text(status), as_text(sub))

    def _not_plainly_passed(self, resource: str, control: dict[str, Any], status: str, sub: str) -> None:
        name = as_text(control.get("controlID"))
        rules = as_dicts(control.get("rules"))
        status = status or _status_by_rules(rules)
        exception = _exception(rules)
        if sub == _EXCEPTION or status in _WAIVED:
            # 2.1 to 3 say failed, 4.0 says passed.
            exception = exception or _named([_exception_names(rule.get("exception")) for rule in rules])
        elif status in _PASSED | _SKIPPED:
            if status in _PASSED and sub in _EXPECTED:
                self.report.passed += 1
            else:
                self.report.skipped += 1
            if sub not in _EXPECTED:
                self.report.degrade(f"{name} was not evaluated ({sub[:40]})")
            return
        elif status != "failed":
            self.report.degrade(f"{name} has the unknown status {status[:40]!r}")
            exception = None
        severity = as_text(control.get("severity"))
        self._parts.append(_Pair(resource, name, as_text(control.get("name")), severity, _places(rules), exception))

    def resource(self, item: Any) -> None:
        """Remember who a resource id is."""
        item = as_dict(item)
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
            rule = self.report.rules[name] = _rule(name, about, title)
            self._severities[name] = _severity(about)
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


def _rule(name: str, about: dict[str, Any], title: str = "") -> Rule:
    return Rule(
        id=name or "C-0000",
        title=title or as_text(about.get("name")) or name,
        link=_link(name),
        remediation=as_text(about.get("remediation")),
        description=as_text(about.get("description")),
    )


def _severity(control: dict[str, Any]) -> tuple[str, str]:
    """Return a control's severity and the word it comes from."""
    word = as_text(control.get("severity"))
    if word:
        return severity_of(TOOL, word), word
    factor = as_number(control.get("scoreFactor"))
    return severity_of_score_factor(factor), "" if factor is None else f"scoreFactor {factor:g}"


class _Frameworks:
    """Reads v1."""

    def __init__(self, report: Report) -> None:
        self.report = report
        # Whether there were controls' reports, and how many.
        self.found = False
        self.controls = 0
        self._scores: dict[str, float] = {}
        # A control stands in every framework that has it.
        self._done: set[tuple[str, int, str]] = set()

    def framework(self, cursor: Cursor) -> None:
        """Consume a framework."""
        if cursor.kind() != "{":
            cursor.value()
            return
        for key in cursor.members():
            if key == "controlReports":
                self.control_reports(cursor)
            else:
                cursor.value()

    def control_reports(self, cursor: Cursor) -> None:
        """Consume a framework's controls."""
        self.found = True
        if cursor.kind() != "[":
            cursor.value()
            return
        for control in cursor.elements():
            self._control(as_dict(control))

    @property
    def score(self) -> float | None:
        """How well the controls are kept, 100 is best: the mean of theirs."""
        scores = self._scores.values()
        return round(sum(scores) / len(scores), 2) if scores else None

    def _control(self, control: dict[str, Any]) -> None:
        self.controls += 1
        name = as_text(control.get("controlID") or control.get("id"))
        rule = self.report.rules.get(name)
        if rule is None:
            rule = self.report.rules[name] = _rule(name, control)
        score = as_number(control.get("score"))
        if score is not None:
            self._scores[name] = score
        alerts = 0
        for report in as_dicts(control.get("ruleReports")):
            status = as_dict(report.get("ruleStatus"))
            word = as_text(status.get("status"))
            if word not in ("", "success"):
                why = as_text(status.get("message")) or word
                self.report.degrade(f"{name}: rule {as_text(report.get('name'))} was not evaluated: {why}")
            for alert in as_dicts(report.get("ruleResponses")):
                alerts += 1
                self._alert(rule, control, alert)
        if not alerts:
            self.report.passed += as_count(control.get("totalResources")) or 1

    def _alert(self, rule: Rule, control: dict[str, Any], alert: dict[str, Any]) -> None:
        status = as_text(alert.get("ruleStatus"))
        if status in ("success", "passed", "ignore"):
            self.report.passed += 1
            return
        if status not in ("", "failed", "warning"):
            self.report.degrade(f"{rule.id} has the unknown status {status[:40]!r}")
        message = as_text(alert.get("alertMessage")) or rule.title
        word = "baseScore" if control.get("baseScore") else "alertScore"
        # 0 is how Go writes that nobody gave one.
        factor = as_number(control.get("baseScore") or alert.get("alertScore")) or None
        severity = severity_of_score_factor(factor)
        level = "" if factor is None else f"{word} {factor:g}"
        exception = None
        if alert.get("exception") or status == "warning":
            exception = _named([_exception_names(alert.get("exception"))])
        for resource in self._resources(as_dict(alert.get("alertObject"))):
            key = (rule.id, id(resource), message)
            if key in self._done:
                continue
            self._done.add(key)
            finding = DetailedFinding(rule, severity, resource, message, level)
            finding.remedy = as_text(alert.get("fixCommand"))
            finding.exception = exception
            self.report.has_exceptions |= exception is not None
            self.report.findings.append(finding)

    def _resources(self, objects: dict[str, Any]) -> list[Resource]:
        """Return what an alert is about; a nameless resource where it does not say."""
        found = as_dicts(objects.get("k8sApiObjects"))
        if external := as_dict(objects.get("externalObjects")):
            found = [*found, external]
        resources = []
        for item in found or [{}]:
            metadata = as_dict(item.get("metadata"))
            resource = self.report.resource(
                as_text(item.get("apiVersion") or item.get("apiGroup")),
                as_text(item.get("kind")),
                as_text(metadata.get("namespace") or item.get("namespace")),
                as_text(metadata.get("name") or item.get("name")),
            )
            resources.append(resource)
        return resources


def read(cursor: Cursor) -> Report | None:
    """Read the report at the cursor; None where it is not kubescape's."""
    report = Report(TOOL)
    if cursor.kind() == "[":
        return _array(report, cursor)
    if cursor.kind() != "{":
        return None
    results, frameworks = _Results(report), _Frameworks(report)
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
    if isinstance(rest.get("summaryDetails"), dict):
        return _v2(report, results, rest)
    return _v1(report, frameworks, rest)


def _array(report: Report, cursor: Cursor) -> Report | None:
    frameworks = _Frameworks(report)
    count = 0
    for _ in cursor.places():
        count += 1
        frameworks.framework(cursor)
    if not count:
        report.empty = True
        return report
    return _v1(report, frameworks, {})


def _v1(report: Report, frameworks: _Frameworks, rest: dict[str, Any]) -> Report | None:
    if not frameworks.found:
        return None
    report.score = frameworks.score
    report.cluster = as_text(rest.get("clusterName"))
    report.scanned_at = as_text(rest.get("generationTime"))
    report.empty = not frameworks.controls
    return report


def _v2(report: Report, results: _Results, rest: dict[str, Any]) -> Report:
    summary = as_dict(rest["summaryDetails"])
    controls = as_dict(summary.get("controls"))
    results.join(controls)
    if not results.seen:
        _only_summary(report, controls)
    metadata = as_dict(rest.get("metadata"))
    report.tool_version = as_text(as_dict(metadata.get("scanMetadata")).get("kubescapeVersion"))
    report.scanned_at = as_text(rest.get("generationTime"))
    report.context = _context(metadata)
    report.cluster = as_text(rest.get("clusterName")) or report.context
    report.score = _compliance(summary, controls)
    report.empty = not results.seen and not controls
    _coverage(report, as_dict(rest.get("scanCoverage")))
    return report


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


def _only_summary(report: Report, controls: dict[str, Any]) -> None:
    """Add a finding per failed control of a report that has lost its results."""
    for name, value in controls.items():
        about = as_dict(value)
        status = as_text(as_dict(about.get("statusInfo")).get("status") or about.get("status"))
        counters = as_dict(about.get("ResourceCounters"))
        failed = as_count(counters.get("failedResources"))
        report.passed += as_count(counters.get("passedResources"))
        if status != "failed" and not failed:
            continue
        report.degrade("the summary has failed controls, but there are no results")
        rule = report.rules[name] = _rule(name, about)
        severity, level = _severity(about)
        message = f"{rule.title}: {failed} resources failed" if failed else rule.title
        report.findings.append(DetailedFinding(rule, severity, report.resource("", "", "", ""), message, level))


def _coverage(report: Report, coverage: dict[str, Any]) -> None:
    """Note what 4.0.9 and later say about coverage; that they say nothing proves nothing."""
    causes = [
        f"{len(items)} {what}: " + ", ".join(_label(item) for item in items[:5])
        for key, what in (
            ("notEvaluatedControls", "controls were not evaluated"),
            ("failedGVRPulls", "kinds could not be listed"),
            ("policyDegradations", "policies are degraded"),
        )
        if (items := as_list(coverage.get(key)))
    ]
    if coverage.get("degraded") and not causes:
        causes = ["scanCoverage says that the scan is degraded"]
    for cause in causes:
        report.degrade(cause)


def _label(item: object) -> str:
    known = as_dict(item)
    return next((as_text(known[key]) for key in ("controlID", "gvr", "name") if known.get(key)), as_text(item))
