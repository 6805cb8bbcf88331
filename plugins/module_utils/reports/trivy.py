# Copyright: cicd.sandbox contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reports of Trivy, ``--format json``, 0.20 to 0.74: images, file systems, repositories, configurations, clusters.

A report has Results, each of a Target and a Class; ``trivy k8s`` has Resources (``--report all``) or Findings
(summary), which have Results each, and in 2022 had Vulnerabilities and Misconfigurations that are lists of resources.
The oldest form is an array of results, or null. ``--compliance --report all`` has controls for Results, which have
Results of their checks; what passed is among them with ``--include-non-failures`` alone.
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
    as_list,
    as_number,
    as_text,
    as_time,
    counted,
    form_of,
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
_ROOT_KEYS: Final = {
    "SchemaVersion", "Trivy", "ReportID", "CreatedAt", "ArtifactID", "ArtifactName", "ArtifactType", "Metadata",
    "Results",
}  # fmt: skip
# Of these, one is enough to tell whose report it is.
_TELLING_KEYS: Final = {"SchemaVersion", "ArtifactName", "ArtifactType"}
_CLUSTER_LISTS: Final = ("Resources", "Findings", "Vulnerabilities", "Misconfigurations")
_RESULT_KEYS: Final = {
    "Target", "Class", "Type", "Packages", "Vulnerabilities", "MisconfSummary", "Misconfigurations", "Secrets",
    "Licenses", "ExperimentalModifiedFindings",
}  # fmt: skip
# Type is in too many programs' results to tell whose they are.
_TELLING_RESULT_KEYS: Final = _RESULT_KEYS - {"Type"}
_WORKLOAD_KEYS: Final = {"Namespace", "Kind", "Name", "Metadata", "Results", "Error"}
_METADATA_KEYS: Final = {"OS", "ImageConfig", "Layers"}
# What other programs' reports have, and summaries of compliance, which call passed what nobody looked at.
_FOREIGN_KEYS: Final = {"kind", "matches", "popeye", "summaryDetails", "Target", "SummaryControls"}
_COMPLIANCE_KEYS: Final = {"ID", "Title", "RelatedResources"}
# Sections of the CIS benchmark, and the pod whose arguments they are about: each other object passes their checks.
_CIS: Final = "k8s-cis"
_SUBJECTS: Final = {
    "1.2.": "Pod/kube-apiserver-",
    "1.3.": "Pod/kube-controller-manager-",
    "1.4.": "Pod/kube-scheduler-",
    "2.": "Pod/etcd-",
}
_NEWEST_SCHEMA: Final = 2
# An ignore file's word and a VEX document's for a vulnerability that is none here; "affected" lets nothing pass.
_LET_PASS: Final = {"ignored", "not_affected", "fixed"}
_FINDING_TYPES: Final = ("vulnerability", "misconfiguration", "secret", "license")

# A distribution without support gets no fixes, and what is wrong with it is no longer told.
END_OF_SUPPORT: Final = "EOSL"


def canonical_check(name: str) -> str:
    """Return the spelling of a check's id since 0.69."""
    match = _CHECK_ID.fullmatch(name)
    return f"{match[1]}-{int(match[2]):04d}" if match and len(match[2]) < 9 else name


class _Results:
    """Reads results into a report."""

    def __init__(self, report: Report) -> None:
        self.report = report
        # Results that were read, that are empty, that are not Trivy's.
        self.seen = self.nothing = self.strange = 0
        self._severities: dict[str, str] = {}

    def add(self, result: Any, resource: Resource) -> None:
        """Add a result's findings."""
        if result is None or result == {}:
            # How Go writes a result of which there is nothing.
            self.nothing += 1
            return
        if not isinstance(result, dict) or not _TELLING_RESULT_KEYS & result.keys():
            self.strange += 1
            keys = f" with the keys {', '.join(sorted(map(str, result))[:6])}" if isinstance(result, dict) else ""
            self.report.degrade(f"not read: a result that is none of Trivy's, {form_of(result)}{keys}")
            return
        target, kind = as_text(result.get("Target")), as_text(result.get("Class"))
        # The target of OS packages is the image again, and its distribution; in a cluster it is the resource again.
        location = "" if kind == "os-pkgs" or target in _HEADINGS or target == resource.label else target
        place = target or resource.label or "a result"
        objects = self.report.objects
        for item in objects(result.get("Vulnerabilities"), f"Vulnerabilities of {place}"):
            self._vulnerability(item, resource, location)
        self._misconfigurations(result, resource, location, place)
        for item in objects(result.get("Secrets"), f"Secrets of {place}"):
            self._secret(item, resource, location)
        for item in objects(result.get("Licenses"), f"Licenses of {place}"):
            self._license(item, resource, location)
        modified = result.get("ExperimentalModifiedFindings")
        for item in objects(modified, f"ExperimentalModifiedFindings of {place}"):
            self._modified(item, resource, location)
        if unknown := result.keys() - _RESULT_KEYS:
            # What analyzers of others add (CustomResources) may be anything.
            for key in sorted(unknown):
                if entries := as_list(result[key]) or as_dict(result[key]):
                    self.report.degrade(
                        f"not read: {key[:60]!r} of {place}, with {counted(len(entries), 'entry', 'entries')}"
                    )

    def _misconfigurations(self, result: dict[str, Any], resource: Resource, location: str, place: str) -> None:
        """Add the checks that failed, count those that passed; a result in which nothing was checked is none."""
        listed = self.report.objects(result.get("Misconfigurations"), f"Misconfigurations of {place}")
        found = [self._misconfiguration(item, resource, location) for item in listed]
        failed = sum(finding is not None for finding in found)
        summary = as_dict(result.get("MisconfSummary"))
        passed = as_count(summary.get("Successes"))
        self.report.passed += max(passed, len(found) - failed)
        if (said := as_count(summary.get("Failures"))) > failed:
            checks = counted(said, "check")
            self.report.degrade(f"not read: {place} has {checks} that failed, {failed} of them listed")
        # Of a file that no check is about there is nothing but this.
        self.seen += bool(
            listed or passed or said or not summary or result.keys() - {"Target", "Class", "Type", "MisconfSummary"}
        )

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
        """Add what Trivy was told about, by a VEX document or an ignore file: as a rule, to let it pass."""
        inner = as_dict(item.get("Finding"))
        kind = as_text(item.get("Type"))
        if not inner or (kind and kind not in _FINDING_TYPES):
            self.report.degrade(f"not read: a modified finding of type {kind[:40]!r}, {form_of(item.get('Finding'))}")
            return
        finding: DetailedFinding | None
        if kind == "vulnerability" or "VulnerabilityID" in inner:
            finding = self._vulnerability({**inner, "Status": ""}, resource, location)
        elif kind == "secret" or "RuleID" in inner:
            finding = self._secret(inner, resource, location)
        elif kind == "misconfiguration" or "AVDID" in inner or "Resolution" in inner:
            finding = self._misconfiguration({**inner, "Status": "FAIL"}, resource, location)
        else:
            finding = self._license(inner, resource, location)
        status = as_text(item.get("Status"))
        if finding is not None and status in _LET_PASS:
            words = (as_text(item.get(key)) for key in ("Status", "Statement", "Source"))
            finding.exception = ": ".join(word for word in words if word)
            self.report.has_exceptions = True

    def operating_system(self, metadata: dict[str, Any], resource: Resource) -> str:
        """Return the distribution that was scanned; add a finding where its support has ended."""
        system = self.report.part(metadata.get("OS"), "the operating system")
        self.report.unread({key: system[key] for key in system.keys() - {"EOSL"}}, "the operating system")
        name = " ".join(part for part in (as_text(system.get("Family")), as_text(system.get("Name"))) if part)
        if system.get("EOSL"):
            rule = self.report.rules.setdefault(
                END_OF_SUPPORT,
                Rule(
                    END_OF_SUPPORT,
                    "The distribution's support has ended",
                    remediation="Build on a release that is supported.",
                    description="There are no fixes for it any more, and vulnerabilities found since are not told.",
                ),
            )
            message = f"{name or 'the distribution'}: support has ended; vulnerabilities found since are not told"
            finding = DetailedFinding(rule, severity_of(TOOL, END_OF_SUPPORT), resource, message, END_OF_SUPPORT)
            finding.key = as_text(system.get("Family"))
            self.report.findings.append(finding)
        return name


class _Controls:
    """Reads the controls of a compliance report into a report."""

    def __init__(self, report: Report, results: _Results, specification: str) -> None:
        self.report = report
        self.results = results
        self.subjects = _SUBJECTS if specification.startswith(_CIS) else {}
        # Target and check: a check is of several controls, and looks once.
        self._seen: set[tuple[str, str]] = set()

    def add(self, control: Any) -> None:
        """Add what a control's checks found; one of which nothing was looked at is skipped, and not passed."""
        if not isinstance(control, dict) or "Results" not in control:
            self.report.degrade(f"not read: a control that is none of Trivy's, {form_of(control)}")
            return
        number, name = as_text(control.get("ID")), as_text(control.get("Name"))
        listed = self.report.objects(control["Results"], f"Results of control {number}")
        subject = next((pod for section, pod in self.subjects.items() if number.startswith(section)), "")
        if not any(as_text(result.get("Target")).startswith(subject) for result in listed):
            why = "somebody has to look at it" if "(Manual)" in name else "Trivy saw nothing that it is about"
            self.report.skipped += 1
            self.report.skips.setdefault(why, []).append(f"{number} {name}")
            return
        for result in listed:
            target = as_text(result.get("Target"))
            checks = {(target, as_text(as_dict(item).get("ID"))) for item in as_list(result.get("Misconfigurations"))}
            if checks and checks <= self._seen:
                continue
            self._seen |= checks
            kind, slash, rest = target.partition("/")
            self.results.add(result, self.report.resource("", kind if slash else "", "", rest if slash else target))


def read(cursor: Cursor) -> Report | None:
    """Read the report at the cursor; None where it is not Trivy's."""
    report = Report(TOOL)
    results = _Results(report)
    if cursor.kind() == "n" and cursor.value() is None:
        report.empty = True
        return report
    if cursor.kind() == "[":
        for result in cursor.elements():
            if result is not None and (not isinstance(result, dict) or "Target" not in result):
                return None
            results.add(result, _of_target(report, as_dict(result)))
        report.target = ", ".join(resource.name for resource in list(report.resources.values())[:3] if resource.name)
        report.empty = not results.seen
        return report
    return _object(report, results, cursor) if cursor.kind() == "{" else None


def _of_target(report: Report, result: dict[str, Any]) -> Resource:
    """Return the resource of a result in the oldest form, which names no artifact."""
    name = as_text(result.get("Target"))
    return report.resource("", "Target", "", name.partition(" (")[0])


def _members(
    report: Report, results: _Results, cursor: Cursor, resource: Resource
) -> tuple[dict[str, Any], set[str], bool]:
    """Read the lists of an object; return its other members, the lists' names, and whether they are controls."""
    rest: dict[str, Any] = {}
    lists: set[str] = set()
    compliance = False
    for key in cursor.members():
        if key == "Results" and cursor.kind() == "[" and rest.keys() >= _COMPLIANCE_KEYS:
            compliance = True
            controls = _Controls(report, results, as_text(rest["ID"]))
            for control in cursor.elements():
                controls.add(control)
        elif key == "Results" and cursor.kind() == "[":
            lists.add(key)
            for result in cursor.elements():
                results.add(result, resource)
        elif key in _CLUSTER_LISTS and cursor.kind() == "[":
            lists.add(key)
            _workloads(report, results, cursor.elements())
        else:
            rest[key] = cursor.value()
    return rest, lists, compliance


def _object(report: Report, results: _Results, cursor: Cursor) -> Report | None:
    resource = Resource()
    rest, lists, compliance = _members(report, results, cursor, resource)
    if compliance:
        report.target = as_text(rest["Title"])
        report.empty = not results.seen
        return report
    if _FOREIGN_KEYS & rest.keys() or not _is_trivys(results, rest, lists):
        return None
    for key in ("Results", *_CLUSTER_LISTS):
        if rest.get(key) is not None:
            report.degrade(f"not read: {key}, which is {form_of(rest[key])} and no list")
    schema = as_number(rest.get("SchemaVersion"))
    if schema is not None and schema > _NEWEST_SCHEMA:
        report.degrade(f"the report's SchemaVersion is {schema:g}, known is {_NEWEST_SCHEMA}")
    if results.seen and results.nothing:
        report.degrade(f"{counted(results.nothing, 'result is', 'results are')} empty")
    report.unread({key: rest[key] for key in rest.keys() - _ROOT_KEYS - {"ClusterName", *_CLUSTER_LISTS}}, "the report")
    # The artifact may be named behind its results: the one object they share is filled in last.
    resource.name = as_text(rest.get("ArtifactName"))
    artifact = as_text(rest.get("ArtifactType"))
    resource.kind = _ARTIFACTS.get(artifact, artifact)
    report.cluster = as_text(rest.get("ClusterName"))
    report.scanned_at = as_time(rest.get("CreatedAt"))
    report.tool_version = as_text(as_dict(rest.get("Trivy")).get("Version"))
    _describe(report, results, report.part(rest.get("Metadata"), "Metadata"), resource)
    report.empty = not results.seen
    return report


def _is_trivys(results: _Results, rest: dict[str, Any], lists: set[str]) -> bool:
    """Say whether an object with these members is a report of Trivy's."""
    keys = rest.keys() | lists
    if "ClusterName" in keys and (set(_CLUSTER_LISTS) & keys or len(keys - {"SchemaVersion"}) == 1):
        return True
    if _TELLING_KEYS & keys:
        return True
    # Results alone: many programs have them.
    if "Results" not in keys or rest.get("Results") is not None or results.strange:
        return False
    return bool(results.seen) or keys <= _ROOT_KEYS


def _describe(report: Report, results: _Results, metadata: dict[str, Any], resource: Resource) -> None:
    """Note what was scanned."""
    report.target = resource.name
    system = results.operating_system(metadata, resource)
    report.unread({key: metadata[key] for key in metadata.keys() - _METADATA_KEYS}, "Metadata")
    digests = [as_text(item).rpartition("@")[2] for item in as_list(metadata.get("RepoDigests"))]
    tags = [as_text(item) for item in as_list(metadata.get("RepoTags"))]
    about = {
        "Image": as_text(metadata.get("Reference")) or ", ".join(tags[:3]),
        "Digest": ", ".join(dict.fromkeys(digests)),
        "Image ID": as_text(metadata.get("ImageID")),
        "Operating system": system,
        "Repository": as_text(metadata.get("RepoURL")),
        "Branch": as_text(metadata.get("Branch")),
        "Tags": ", ".join(as_text(item) for item in as_list(metadata.get("Tags"))[:5]),
        "Commit": as_text(metadata.get("Commit")),
    }
    report.about = {name: text for name, text in about.items() if text and text != report.target}


def _workloads(report: Report, results: _Results, items: Iterable[Any]) -> None:
    for item in items:
        if not isinstance(item, dict) or not _WORKLOAD_KEYS & item.keys():
            report.degrade(f"not read: a resource that is none of Trivy's, {form_of(item)}")
            continue
        resource = report.resource("", *(as_text(item.get(key)) for key in ("Kind", "Namespace", "Name")))
        name = resource.label or "a resource"
        if item.get("Error"):
            report.degrade(f"{name}: {as_text(item['Error'])}")
        for metadata in report.objects(item.get("Metadata"), f"Metadata of {name}"):
            results.operating_system(metadata, resource)
        listed = item.get("Results")
        if listed is not None and not isinstance(listed, list):
            report.degrade(f"not read: Results of {name}, which is {form_of(listed)} and no list")
        for result in as_list(listed):
            results.add(result, resource)
        report.unread({key: item[key] for key in item.keys() - _WORKLOAD_KEYS}, name)
