# Copyright: cicd.sandbox contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reports of Trivy, ``--format json``, 0.20 to 0.74: images, file systems, repositories, configurations, clusters.

A report has Results, each of a Target and a Class; ``trivy k8s`` has Resources (``--report all``) or Findings
(summary), which have Results each, and in 2022 had Vulnerabilities and Misconfigurations that are lists of resources.
The oldest form is an array of results, or null.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any, Final

from ansible_collections.cicd.sandbox.plugins.module_utils.reports.model import (
    DetailedFinding,
    Report,
    Resource,
    Rule,
    as_count,
    as_dict,
    as_dicts,
    as_text,
)
from ansible_collections.cicd.sandbox.plugins.module_utils.reports.severity import severity_of
from ansible_collections.cicd.sandbox.plugins.module_utils.reports.stream import Cursor

TOOL: Final = "trivy"

_ARTIFACTS: Final = {
    "container_image": "Image",
    "image": "Image",
    "filesystem": "Filesystem",
    "repository": "Repository",
    "vm": "VirtualMachine",
    "aws_account": "Account",
    "cyclonedx": "SBOM",
    "spdx": "SBOM",
}
# KSV001, AVD-KSV-0001 and KSV-0001 are one rule: the spelling changed at 0.69.
_CHECK_ID: Final = re.compile(r"(?:AVD-)?([A-Z]+(?:-[A-Z]+)*)-?0*(\d+)")
# Targets that are no files.
_HEADINGS: Final = {"OS Packages", "Loose File License(s)", "Python", "Conda", "Ruby", "Node.js", "Java", "Kubernetes"}
_LISTS: Final = ("Vulnerabilities", "Misconfigurations", "Secrets", "Licenses")
_ROOT_KEYS: Final = {"SchemaVersion", "ArtifactName", "ArtifactType", "Results"}
_CLUSTER_LISTS: Final = {"Resources", "Findings", "Vulnerabilities", "Misconfigurations"}


def canonical_check(name: str) -> str:
    """Return the spelling of a check's id since 0.69."""
    match = _CHECK_ID.fullmatch(name)
    return f"{match[1]}-{int(match[2]):04d}" if match and len(match[2]) < 9 else name


class _Results:
    """Reads results into a report."""

    def __init__(self, report: Report) -> None:
        self.report = report
        self.seen = 0
        self._severities: dict[str, str] = {}

    def add(self, result: Any, resource: Resource) -> None:
        """Add a result's findings."""
        self.seen += 1
        result = as_dict(result)
        target, kind = as_text(result.get("Target")), as_text(result.get("Class"))
        # The target of OS packages is the image again, and its distribution; in a cluster it is the resource again.
        location = "" if kind == "os-pkgs" or target in _HEADINGS or target == resource.label else target
        for item in as_dicts(result.get("Vulnerabilities")):
            self._vulnerability(item, resource, location)
        shown = 0
        for item in as_dicts(result.get("Misconfigurations")):
            shown += self._misconfiguration(item, resource, location) is None
        passed = as_count(as_dict(result.get("MisconfSummary")).get("Successes"))
        self.report.passed += max(passed, shown)
        for item in as_dicts(result.get("Secrets")):
            self._secret(item, resource, location)
        for item in as_dicts(result.get("Licenses")):
            self._license(item, resource, location)
        for item in as_dicts(result.get("ExperimentalModifiedFindings")):
            self._modified(item, resource, location)

    def _finding(self, rule: Rule, item: dict[str, Any], resource: Resource, message: str) -> DetailedFinding:
        level = item.get("Severity")
        if type(level) is not str:
            level = as_text(level)
        severity = self._severities.get(level)
        if severity is None:
            severity = self._severities[level] = severity_of(TOOL, level)
        finding = DetailedFinding(rule, severity, resource, message, level)
        self.report.findings.append(finding)
        return finding

    def _rule(self, name: str, item: dict[str, Any], **more: str) -> Rule:
        rule = self.report.rules.get(name)
        if rule is None:
            rule = self.report.rules[name] = Rule(
                id=name or "TRIVY",
                title=as_text(item.get("Title")) or as_text(item.get("Description"))[:200],
                link=as_text(item.get("PrimaryURL") or item.get("Link")),
                description=as_text(item.get("Description"))[:2000],
                **more,
            )
        return rule

    def _vulnerability(self, item: dict[str, Any], resource: Resource, location: str) -> DetailedFinding | None:
        status = as_text(item.get("Status"))
        if status == "not_affected":
            self.report.passed += 1
            return None
        package, installed = as_text(item.get("PkgName")), as_text(item.get("InstalledVersion"))
        fixed = as_text(item.get("FixedVersion"))
        name = as_text(item.get("VulnerabilityID"))
        rule = self.report.rules.get(name) or self._rule(name, item)
        known = f"fixed in {fixed}" if fixed else status.replace("_", " ") or "no fix known"
        finding = self._finding(rule, item, resource, f"{package} {installed}: {known}: {rule.title}")
        finding.package = f"{package}@{installed}" if installed else package
        finding.location = as_text(item.get("PkgPath")) or location
        finding.key = f"{package}\0{finding.location}"
        if fixed:
            finding.remedy = f"Update {package} to {fixed}."
        return finding

    def _misconfiguration(self, item: dict[str, Any], resource: Resource, location: str) -> DetailedFinding | None:
        """Add a check that failed; return nothing for one that passed."""
        status = as_text(item.get("Status")).upper()
        if status == "PASS":
            return None
        if status not in ("FAIL", "EXCEPTION", ""):
            self.report.degrade(f"a check has the unknown status {status[:40]}")
        name, avd = as_text(item.get("ID")), as_text(item.get("AVDID"))
        rule = self._rule(
            name or avd,
            item,
            canonical=canonical_check(name or avd),
            alias=avd,
            remediation=as_text(item.get("Resolution")),
        )
        message = as_text(item.get("Message")) or as_text(item.get("Title"))
        finding = self._finding(rule, item, resource, message)
        cause = as_dict(item.get("CauseMetadata"))
        finding.location, finding.line = location, as_count(cause.get("StartLine")) if location else 0
        finding.key = f"{location}\0{as_text(cause.get('Resource')) or message}"
        if status == "EXCEPTION":
            finding.exception = "exception in Trivy"
            self.report.has_exceptions = True
        return finding

    def _secret(self, item: dict[str, Any], resource: Resource, location: str) -> DetailedFinding:
        rule = self._rule(as_text(item.get("RuleID")), item, remediation="Revoke the secret and remove it.")
        # Its Match stays out: it may hold more of the secret than Trivy masks.
        finding = self._finding(rule, item, resource, f"{rule.title or 'secret'} in {location or 'the image'}")
        finding.location, finding.line = location, as_count(item.get("StartLine"))
        finding.key = location
        return finding

    def _license(self, item: dict[str, Any], resource: Resource, location: str) -> DetailedFinding:
        name, package = as_text(item.get("Name")), as_text(item.get("PkgName"))
        rule = self._rule(f"license-{name}" if name else "license", item)
        rule.title = rule.title or f"License {name}, {as_text(item.get('Category')) or 'not categorised'}"
        finding = self._finding(rule, item, resource, f"{package or as_text(item.get('FilePath'))}: license {name}")
        finding.package, finding.location = package, as_text(item.get("FilePath")) or location
        finding.key = f"{package}\0{finding.location}"
        return finding

    def _modified(self, item: dict[str, Any], resource: Resource, location: str) -> None:
        """Add what Trivy was told to let pass, by a VEX document or an ignore file."""
        inner = as_dict(item.get("Finding"))
        finding: DetailedFinding | None
        if "VulnerabilityID" in inner:
            finding = self._vulnerability({**inner, "Status": ""}, resource, location)
        elif "RuleID" in inner:
            finding = self._secret(inner, resource, location)
        elif "AVDID" in inner or "Resolution" in inner:
            finding = self._misconfiguration({**inner, "Status": "FAIL"}, resource, location)
        else:
            finding = self._license(inner, resource, location)
        if finding is not None:
            words = (as_text(item.get(key)) for key in ("Status", "Statement", "Source"))
            finding.exception = ": ".join(word for word in words if word) or "let pass in Trivy"
            self.report.has_exceptions = True


def read(cursor: Cursor) -> Report | None:
    """Read the report at the cursor; None where it is not Trivy's."""
    report = Report(TOOL)
    results = _Results(report)
    if cursor.kind() == "n" and cursor.value() is None:
        report.empty = True
        return report
    if cursor.kind() == "[":
        for result in cursor.elements():
            if not isinstance(result, dict) or "Target" not in result:
                return None
            results.add(result, _of_target(report, result))
        report.empty = not results.seen
        return report
    return _object(report, results, cursor) if cursor.kind() == "{" else None


def _of_target(report: Report, result: dict[str, Any]) -> Resource:
    """Return the resource of a result in the oldest form, which names no artifact."""
    name = as_text(result.get("Target"))
    return report.resource("", "Target", "", name.partition(" (")[0])


def _object(report: Report, results: _Results, cursor: Cursor) -> Report | None:
    rest: dict[str, Any] = {}
    resource = Resource()
    lists: set[str] = set()
    for key in cursor.members():
        if key == "Results" and cursor.kind() == "[":
            lists.add(key)
            for result in cursor.elements():
                results.add(result, resource)
        elif key in _CLUSTER_LISTS and cursor.kind() == "[":
            lists.add(key)
            _workloads(report, results, cursor.elements())
        else:
            rest[key] = cursor.value()
    cluster = "ClusterName" in rest and (bool(_CLUSTER_LISTS & lists) or len(rest) == 1)
    if not cluster and not _ROOT_KEYS & (rest.keys() | lists):
        return None
    if {"kind", "matches", "popeye", "summaryDetails", "Target"} & rest.keys():
        return None
    # The artifact may be named behind its results: the one object they share is filled in last.
    resource.name = as_text(rest.get("ArtifactName"))
    artifact = as_text(rest.get("ArtifactType"))
    resource.kind = _ARTIFACTS.get(artifact, artifact)
    report.cluster = as_text(rest.get("ClusterName"))
    report.scanned_at = as_text(rest.get("CreatedAt"))
    report.tool_version = as_text(as_dict(rest.get("Trivy")).get("Version"))
    report.empty = not results.seen
    return report


def _workloads(report: Report, results: _Results, items: Iterable[Any]) -> None:
    for item in items:
        if not isinstance(item, dict):
            continue
        resource = report.resource("", *(as_text(item.get(key)) for key in ("Kind", "Namespace", "Name")))
        if item.get("Error"):
            report.degrade(f"{resource.label or 'a resource'}: {as_text(item['Error'])}")
        for result in as_dicts(item.get("Results")):
            results.add(result, resource)
