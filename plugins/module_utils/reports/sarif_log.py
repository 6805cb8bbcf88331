# Copyright: cicd.sandbox contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""SARIF 2.1.0 as any scanner writes it (kube-score, govulncheck, Semgrep, CodeQL, these modules).

A log has runs. A run has a tool, whose driver and extensions have the rules, and results. A result is a finding unless
its kind says that nothing is wrong; its level may be left to its rule's configuration, which a run may override.
Numbers in brackets are sections of the standard.
"""

from __future__ import annotations

import re
from typing import Any, Final
from urllib.parse import unquote

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
    as_time,
    safe,
)
from ansible_collections.cicd.sandbox.plugins.module_utils.reports.severity import (
    RANK,
    severity_of,
    severity_of_security_severity,
)
from ansible_collections.cicd.sandbox.plugins.module_utils.reports.stream import Cursor

TOOL: Final = "sarif"
VERSION: Final = "2.1.0"

_LONGEST_NAME: Final = 100
_MOST_LINES: Final = 10**9
# What a run may have that is no finding (3.14); whatever else there is may be one.
_RUN_KEYS: Final = {
    "addresses", "artifacts", "automationDetails", "baselineGuid", "columnKind", "conversion", "defaultEncoding",
    "defaultSourceLanguage", "externalPropertyFileReferences", "graphs", "invocations", "language", "logicalLocations",
    "newlineSequences", "originalUriBaseIds", "policies", "properties", "redactionTokens", "results", "runAggregates",
    "specialLocations", "taxonomies", "threadFlowLocations", "tool", "translations", "versionControlProvenance",
    "webRequests", "webResponses",
}  # fmt: skip
# Kinds of results that are no findings (3.27.9), and why such a check was skipped.
_PASSED: Final = "pass"
_SKIPPED: Final = {"notApplicable": "not applicable", "review": "somebody has to look at it"}
_UNDECIDED: Final = "open"
_PLACEHOLDER: Final = re.compile(r"\{\{|\}\}|\{(\d{1,4})\}")
_CVE: Final = re.compile(r"CVE-\d{4}-\d+")


def _text_of(value: object) -> str:
    """Return the text of a message or a multiformatMessageString (3.11, 3.12), which may have Markdown alone."""
    message = as_dict(value)
    return as_text(message.get("text")) or as_text(message.get("markdown"))


def _element(values: object, index: object) -> dict[str, Any]:
    """Return an element of a list; an empty object where there is none. An absent index may be written as -1."""
    listed = as_list(values)
    if isinstance(index, bool) or not isinstance(index, int) or not 0 <= index < len(listed):
        return {}
    return as_dict(listed[index])


class _Run:
    """Reads a run into a report."""

    def __init__(self, report: Report, run: dict[str, Any]) -> None:
        self.report = report
        self.run = run
        tool = report.part(run.get("tool"), "the tool of a run")
        self.driver = as_dict(tool.get("driver"))
        self.extensions = as_list(tool.get("extensions"))
        self.name = safe(as_text(self.driver.get("name")).strip())[:_LONGEST_NAME] or TOOL
        self.version = as_text(self.driver.get("semanticVersion")) or as_text(self.driver.get("version"))
        # By the component's identity and the id that results have.
        self._rules: dict[tuple[int, str], Rule] = {}
        self._by_id: dict[int, dict[str, dict[str, Any]]] = {}
        # Levels that this run gave to rules, by their ids.
        self._overrides: dict[str, str] = {}

    def read(self) -> None:
        """Read what the run says of itself, then its results."""
        self._about()
        for invocation in self.report.objects(self.run.get("invocations"), f"invocations of {self.name}"):
            self._invocation(invocation)
        if as_dict(self.run.get("externalPropertyFileReferences")).get("results"):
            self.report.degrade(f"not read: results of {self.name} that are in other files")
        for result in self.report.objects(self.run.get("results"), f"results of {self.name}"):
            self._result(result)
        unknown = {key: value for key, value in self.run.items() if key not in _RUN_KEYS}
        self.report.unread(unknown, f"a run of {self.name}")

    def _about(self) -> None:
        source = _element(self.run.get("versionControlProvenance"), 0)
        self.report.target = self.report.target or as_text(source.get("repositoryUri"))
        category = as_text(as_dict(self.run.get("automationDetails")).get("id"))
        named = {"Branch": source.get("branch"), "Commit": source.get("revisionId"), "Category": category}
        for name, value in named.items():
            if text := as_text(value):
                self.report.about.setdefault(name, text)

    def _invocation(self, invocation: dict[str, Any]) -> None:
        self.report.scanned_at = self.report.scanned_at or as_time(invocation.get("endTimeUtc"))
        if invocation.get("executionSuccessful") is False:
            keys = ("exitCodeDescription", "processStartFailureMessage", "exitSignalName", "exitCode")
            why = next((text for key in keys if (text := as_text(invocation.get(key)))), "it does not say why")
            self.report.degrade(f"{self.name} did not end well: {why}")
        for key in ("toolExecutionNotifications", "toolConfigurationNotifications"):
            for note in as_dicts(invocation.get(key)):
                if note.get("level") == "error":
                    self.report.degrade(f"{self.name}: {self._message(note.get('message'), {}) or 'an error'}")
        for override in as_dicts(invocation.get("ruleConfigurationOverrides")):
            level = as_dict(override.get("configuration")).get("level")
            descriptor = as_dict(override.get("descriptor"))
            described = _element(self.driver.get("rules"), descriptor.get("index"))
            if level is not None and (name := as_text(descriptor.get("id")) or as_text(described.get("id"))):
                self._overrides[name] = as_text(level)

    def _result(self, result: dict[str, Any]) -> None:
        name, descriptor = self._descriptor(result)
        message = self._message(result.get("message"), descriptor)
        kind = as_text(result.get("kind"))
        # It was there in the run before, and is no more (3.27.24).
        if result.get("baselineState") == "absent":
            return
        # One that passed and has a level all the same contradicts itself, and counts.
        if result.get("level") in (None, "none") and self._is_no_finding(kind, name, message):
            return
        severity, level = self._severity(result, name, descriptor)
        resource, location, line = self._place(result)
        rule = self._rule(name, descriptor)
        finding = DetailedFinding(rule, severity, resource, message or rule.title, level)
        finding.location, finding.line = location, line
        finding.exception = self._exception(result, name)
        finding.remedy = self._message(_element(result.get("fixes"), 0).get("description"), descriptor)
        if prints := as_dict(result.get("fingerprints")):
            finding.key = "\0".join(f"{key}={as_text(prints[key])}" for key in sorted(prints))
        self.report.has_exceptions = self.report.has_exceptions or finding.exception is not None
        self.report.findings.append(finding)

    def _is_no_finding(self, kind: str, name: str, message: str) -> bool:
        """Count a result that says that nothing is wrong, or that nobody knows; say whether it is one."""
        if kind == _PASSED:
            self.report.passed += 1
        elif kind in _SKIPPED:
            self.report.skipped += 1
            self.report.skips.setdefault(_SKIPPED[kind], []).append(name)
        elif kind == _UNDECIDED:
            self.report.degrade(f"{name} could not be evaluated: {message or 'it does not say why'}")
        else:
            return False
        return True

    def _descriptor(self, result: dict[str, Any]) -> tuple[str, dict[str, Any]]:
        """Return a result's rule: its id, and its description, which may be missing (3.27.5 to 3.27.7)."""
        reference = as_dict(result.get("rule"))
        component = self._component(as_dict(reference.get("toolComponent")))
        name = as_text(result.get("ruleId")) or as_text(reference.get("id"))
        index = result.get("ruleIndex")
        descriptor = _element(component.get("rules"), reference.get("index") if index is None else index)
        described = as_text(descriptor.get("id"))
        # What is counted from 1, or belongs to another component, is found by its id.
        if name and described != name and not name.startswith(f"{described}/"):
            descriptor = self._find(component, name)
        return name or described or TOOL, descriptor

    def _component(self, reference: dict[str, Any]) -> dict[str, Any]:
        """Return the driver, or the extension that a rule is said to be of."""
        if extension := _element(self.extensions, reference.get("index")):
            return extension
        for extension in as_dicts(self.extensions):
            if any(reference.get(key) and reference[key] == extension.get(key) for key in ("guid", "name")):
                return extension
        return self.driver

    def _find(self, component: dict[str, Any], name: str) -> dict[str, Any]:
        """Return the description of a rule; that of CA1000 is CA1000/1's, too."""
        known = self._by_id.get(id(component))
        if known is None:
            known = self._by_id[id(component)] = {
                as_text(rule.get("id")): rule for rule in as_dicts(component.get("rules"))
            }
        while name not in known and "/" in name:
            name = name.rpartition("/")[0]
        return known.get(name, {})

    def _rule(self, name: str, descriptor: dict[str, Any]) -> Rule:
        key = (id(descriptor) if descriptor else 0, name)
        rule = self._rules.get(key)
        if rule is None:
            full = _text_of(descriptor.get("fullDescription"))
            tags = as_list(as_dict(descriptor.get("properties")).get("tags"))
            rule = self._rules[key] = Rule(
                id=name,
                title=_text_of(descriptor.get("shortDescription")) or full or as_text(descriptor.get("name")),
                link=as_text(descriptor.get("helpUri")),
                remediation=_text_of(descriptor.get("help")),
                description=full,
                # govulncheck's own ids are those of Go's database.
                alias=next((tag for tag in tags if isinstance(tag, str) and _CVE.fullmatch(tag)), ""),
            )
            self.report.rules.setdefault(name, rule)
        return rule

    def _severity(self, result: dict[str, Any], name: str, descriptor: dict[str, Any]) -> tuple[str, str]:
        """Return the severity, and the tool's own word for it: one of the five, a score, or a level."""
        bags = [as_dict(result.get("properties")), as_dict(descriptor.get("properties"))]
        word = as_text(bags[0].get("severity")).lower()
        if word in RANK:
            return word, word
        for bag in bags:
            score = as_number(bag.get("security-severity"))
            if score is not None and score > 0:
                return severity_of_security_severity(score), f"security-severity {score:g}"
        level = self._level(result, name, descriptor)
        return severity_of(TOOL, level), level

    def _level(self, result: dict[str, Any], name: str, descriptor: dict[str, Any]) -> str:
        """Return a result's level as the standard finds it (3.27.10)."""
        if result.get("level") is not None:
            return as_text(result["level"])
        if result.get("kind") == "informational":
            return "none"
        for rule in (name, as_text(descriptor.get("id"))):
            if rule in self._overrides:
                return self._overrides[rule]
        level = as_dict(descriptor.get("defaultConfiguration")).get("level")
        return "warning" if level is None else as_text(level)

    def _exception(self, result: dict[str, Any], name: str) -> str | None:
        """Return why a result is suppressed; None where it is not, or not by all who were asked (3.27.23)."""
        listed = self.report.objects(result.get("suppressions"), f"suppressions of {name}")
        if not listed or any(item.get("status") not in (None, "accepted") for item in listed):
            return None
        reasons = (as_text(item.get("justification")).strip() for item in listed)
        place = "in the source" if listed[0].get("kind") == "inSource" else "outside of the source"
        return f"suppressed {place}: {next(filter(None, reasons), 'without a reason')}"

    def _place(self, result: dict[str, Any]) -> tuple[Resource, str, int]:
        """Return what a result is about, the file, and the line in it."""
        place = _element(result.get("locations"), 0)
        physical = as_dict(place.get("physicalLocation"))
        path = self._path(physical.get("artifactLocation")) or self._path(result.get("analysisTarget"))
        lines = (as_count(as_dict(physical.get(key)).get("startLine")) for key in ("region", "contextRegion"))
        line = next((line for line in lines if 0 < line < _MOST_LINES), 0)
        logical = _element(place.get("logicalLocations"), 0)
        logical = {**_element(self.run.get("logicalLocations"), logical.get("index")), **logical}
        if name := as_text(logical.get("fullyQualifiedName")) or as_text(logical.get("name")):
            return self.report.resource("", as_text(logical.get("kind")), "", name), path, line
        return self.report.resource("", "File" if path else "", "", path), path, line

    def _path(self, value: object) -> str:
        """Return the file of an artifactLocation (3.4), relative to whatever it is relative to."""
        artifact = as_dict(value)
        uri = as_text(artifact.get("uri"))
        if not uri:
            listed = _element(self.run.get("artifacts"), artifact.get("index"))
            uri = as_text(as_dict(listed.get("location")).get("uri"))
        # Of relative names, too: kube-score writes file://web.yaml.
        return unquote(uri.removeprefix("file://"))

    def _message(self, value: object, descriptor: dict[str, Any]) -> str:
        """Return a message (3.11): its text, or the rule's or the driver's of that id, with its arguments in it."""
        message = as_dict(value)
        text = _text_of(message)
        if not text and (name := as_text(message.get("id"))):
            places = (descriptor.get("messageStrings"), self.driver.get("globalMessageStrings"))
            text = next((found for place in places if (found := _text_of(as_dict(place).get(name)))), name)
        arguments = as_list(message.get("arguments"))
        if not arguments:
            return text

        def filled_in(match: re.Match[str]) -> str:
            if match[1] is None:
                return match[0][0]
            number = int(match[1])
            return as_text(arguments[number]) if number < len(arguments) else match[0]

        return _PLACEHOLDER.sub(filled_in, text)


def read(cursor: Cursor) -> Report | None:
    """Read the log at the cursor; None where it is not SARIF. The report's tool is what wrote it, by its own name."""
    report = Report(TOOL)
    if cursor.kind() != "{":
        return None
    runs: list[_Run] = []
    rest: dict[str, Any] = {}
    for key in cursor.members():
        if key == "runs" and cursor.kind() == "[":
            rest[key] = None
            runs += [_Run(report, run) for run in report.objects(cursor.value(), "runs of the log")]
        else:
            rest[key] = cursor.value()
    if "runs" not in rest or not {"$schema", "version"} & rest.keys():
        return None
    report.objects(rest.pop("runs"), "runs of the log")
    version = rest.pop("version", None)
    if version not in (None, VERSION):
        report.degrade(f"version is {as_text(version)[:40]}, known is {VERSION}")
    for run in runs:
        run.read()
    _name(report, runs)
    report.empty = not runs
    report.unread({key: value for key, value in rest.items() if key not in ("$schema", "properties")}, "the log")
    return report


def _name(report: Report, runs: list[_Run]) -> None:
    """Say which tools a log is of."""
    report.tool = ", ".join(dict.fromkeys(run.name for run in runs))[:_LONGEST_NAME] or TOOL
    report.tool_version = ", ".join(dict.fromkeys(run.version for run in runs if run.version))[:_LONGEST_NAME]
    report.home = next((text for run in runs if (text := as_text(run.driver.get("informationUri")))), "")
