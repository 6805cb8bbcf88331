# Copyright: cicd.sandbox contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""kubescape's format v1: frameworks of controls, whose rules raise alerts about objects."""

from __future__ import annotations

from typing import Any, Final

from ansible_collections.cicd.sandbox.plugins.module_utils.reports.kubescape_controls import (
    exception_names,
    named,
    rule_of,
)
from ansible_collections.cicd.sandbox.plugins.module_utils.reports.model import (
    DetailedFinding,
    Report,
    Resource,
    Rule,
    as_count,
    as_dict,
    as_dicts,
    as_list,
    as_number,
    as_text,
    form_of,
)
from ansible_collections.cicd.sandbox.plugins.module_utils.reports.severity import severity_of_score_factor
from ansible_collections.cicd.sandbox.plugins.module_utils.reports.stream import Cursor

# Members of a control that are lists of objects and no findings.
_CONTROL_LISTS: Final = {"ruleReports", "rules"}


class Frameworks:
    """Reads v1."""

    def __init__(self, report: Report) -> None:
        self.report = report
        # Whether there were controls' reports, and how many controls looked at anything.
        self.found = False
        self.evaluated = 0
        self._scores: dict[str, float] = {}
        # A control stands in every framework that has it.
        self._done: set[tuple[str, int, str]] = set()

    def framework(self, cursor: Cursor) -> None:
        """Consume a framework."""
        if cursor.kind() != "{":
            self.report.degrade(f"not read: a framework, which is {form_of(cursor.value())} and no object")
            return
        found, rest = False, {}
        for key in cursor.members():
            if key == "controlReports":
                found = True
                self.control_reports(cursor)
            else:
                rest[key] = cursor.value()
        name = as_text(rest.get("name"))
        if not found:
            self.report.degrade(f"not read: the framework {name[:60]!r}, which has no controlReports")
        self.report.unread(rest, name or "a framework")

    def control_reports(self, cursor: Cursor) -> None:
        """Consume a framework's controls."""
        self.found = True
        if cursor.kind() != "[":
            value = cursor.value()
            if value is not None:
                self.report.degrade(f"not read: controlReports, which is {form_of(value)} and no list")
            return
        for control in cursor.elements():
            if isinstance(control, dict):
                self._control(control)
            else:
                self.report.degrade(f"not read: a control, which is {form_of(control)} and no object")

    @property
    def score(self) -> float | None:
        """How well the controls are kept, 100 is best: the mean of theirs."""
        scores = self._scores.values()
        return round(sum(scores) / len(scores), 2) if scores else None

    def _control(self, control: dict[str, Any]) -> None:
        """Add a control's alerts."""
        name = as_text(control.get("controlID") or control.get("id"))
        rule = self.report.rules.get(name)
        if rule is None:
            rule = self.report.rules[name] = rule_of(name, control)
        score = as_number(control.get("score"))
        if score is not None:
            self._scores[name] = score
        alerts = inputs = 0
        for report in self.report.objects(control.get("ruleReports"), f"ruleReports of {name or 'a control'}"):
            status = as_dict(report.get("ruleStatus"))
            word = as_text(status.get("status"))
            if word not in ("", "success"):
                why = as_text(status.get("message")) or word
                self.report.degrade(f"{name}: rule {as_text(report.get('name'))} was not evaluated: {why}")
            others = {key: value for key, value in report.items() if key != "ruleResponses"}
            self.report.unread(others, f"a rule of {name or 'a control'}")
            inputs += len(as_list(report.get("listInputIDs"))) + as_count(report.get("totalResources"))
            for alert in self.report.objects(report.get("ruleResponses"), f"ruleResponses of {name or 'a control'}"):
                alerts += 1
                self._alert(rule, control, alert)
        failed = as_count(control.get("failedResources"))
        if failed and not alerts:
            self.report.degrade(f"not read: {name} failed {failed} times by its own count, without an alert")
        total = as_count(control.get("totalResources"))
        if not alerts:
            self.report.passed += total
        self.evaluated += bool(alerts or total or inputs)
        unknown = {key: value for key, value in control.items() if key not in _CONTROL_LISTS}
        self.report.unread(unknown, name or "a control")

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
        names = exception_names(alert.get("exception"))
        exception = named([names]) if names else None
        for resource in self._doers(as_dict(alert.get("alertObject"))):
            key = (rule.id, id(resource), message)
            if key in self._done:
                continue
            self._done.add(key)
            finding = DetailedFinding(rule, severity, resource, message, level)
            finding.remedy = as_text(alert.get("fixCommand"))
            finding.exception = exception
            self.report.has_exceptions |= exception is not None
            self.report.findings.append(finding)

    def _doers(self, objects: dict[str, Any]) -> list[Resource]:
        """Return who does what an alert is about, once each; a nameless resource where it does not say.

        An alert about rights names the role, its binding and, among the external objects, the subjects who have them:
        then it is about each subject. Any other is about its first object; those behind it are how it comes about.
        """
        external = as_dict(objects.get("externalObjects"))
        subject = external.get("subject")
        doers = [subject] if isinstance(subject, dict) else as_dicts(subject)
        if not doers and (external.get("kind") or external.get("name") or external.get("metadata")):
            doers = [external]
        if not doers:
            doers = as_dicts(objects.get("k8sApiObjects"))[:1] or [external]
        return list(dict.fromkeys(map(self._resource, doers)))

    def _resource(self, item: dict[str, Any]) -> Resource:
        metadata = as_dict(item.get("metadata"))
        return self.report.resource(
            as_text(item.get("apiVersion") or item.get("apiGroup")),
            as_text(item.get("kind")),
            as_text(metadata.get("namespace") or item.get("namespace")),
            as_text(metadata.get("name") or item.get("name")),
        )
