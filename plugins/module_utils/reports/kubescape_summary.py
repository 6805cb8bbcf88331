# Copyright: cicd.sandbox contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a report of kubescape in format v2 says outside its results: skipped controls, coverage, images, the target."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any, Final

from ansible_collections.cicd.sandbox.plugins.module_utils.reports.kubescape_controls import (
    TOOL,
    rule_of,
    severity_of_control,
)
from ansible_collections.cicd.sandbox.plugins.module_utils.reports.model import (
    DetailedFinding,
    Report,
    Rule,
    as_count,
    as_dict,
    as_dicts,
    as_list,
    as_number,
    as_text,
    counted,
)
from ansible_collections.cicd.sandbox.plugins.module_utils.reports.severity import severity_of

# Not evaluated for a reason that the user chose or has to see to: skipped, but no gap that nobody knows of.
EXPECTED: Final = {"", "irrelevant", "configuration", "integration", "requires review", "manual review"}
# A control's, a resource's or both; an empty one says nothing.
_STATUSES: Final = {"passed", "failed", "skipped", "irrelevant", "excluded", ""}
# kubescape's own words on what a control needs begin so; all others are errors of what it asked.
_NEEDS: Final = re.compile(r"(?:this )?control\b", re.IGNORECASE)
_WENT_WRONG: Final = re.compile(
    r"\b(?:fail\w*|forbidden|unauthori[sz]ed|denied|unable|timed? ?out|refused|error|not evaluated|could not)\b",
    re.IGNORECASE,
)
_COVERAGE: Final = (
    ("notEvaluatedControls", "control was not evaluated", "controls were not evaluated"),
    ("failedGVRPulls", "kind could not be listed", "kinds could not be listed"),
    ("partialGVRPulls", "kind was listed in part", "kinds were listed in part"),
    ("policyDegradations", "policy is degraded", "policies are degraded"),
    ("skippedManifests", "manifest was skipped", "manifests were skipped"),
)
_IMAGE_KEYS: Final = {"mapsSeverityToSummary", "CVEs", "packageScores", "images"}
_ADVISORIES: Final = {"CVE-": "https://nvd.nist.gov/vuln/detail/", "GHSA-": "https://github.com/advisories/"}


def status_of(control: Mapping[str, Any]) -> str:
    """Return a control's status by the summary: failed, skipped, passed, irrelevant, or nothing."""
    return as_text(as_dict(control.get("statusInfo")).get("status") or control.get("status"))


def looked_at(control: Mapping[str, Any]) -> int:
    """Return at how many resources a control has looked, by the summary."""
    counters = as_dict(control.get("ResourceCounters"))
    return sum(as_count(counters.get(f"{word}Resources")) for word in ("passed", "failed", "excluded"))


def note_skipped(
    report: Report, controls: Mapping[str, Any], pairs: Mapping[tuple[str, str, str], int], version: str
) -> None:
    """Count the controls that were skipped, note why; those that could not be evaluated make the scan partial.

    ``pairs`` are results that were skipped, how many by control, sub-status and reason.
    """
    strict = re.match(r"v?[123]\.", version) is None
    wrong: dict[str, list[str]] = {}
    whole: set[str] = set()
    for name, value in controls.items():
        control = as_dict(value)
        info = as_dict(control.get("statusInfo"))
        status = status_of(control)
        if status not in _STATUSES:
            report.degrade(f"{name} has the unknown status {status[:40]!r}")
        if status != "skipped":
            continue
        whole.add(name)
        report.skipped += 1
        sub, reason = as_text(info.get("subStatus")), as_text(info.get("info"))
        _note(report, wrong, f"{name} {as_text(control.get('name'))}".strip(), (sub, reason), strict=strict)
    for (name, sub, reason), count in pairs.items():
        if name in whole:
            continue
        report.skipped += count
        _note(report, wrong, f"{name} for {counted(count, 'resource')}", (sub, reason), strict=strict)
    for reason, names in wrong.items():
        many = counted(len(names), "control was not evaluated", "controls were not evaluated")
        report.degrade(f"{many}: {reason}: " + _some(names))


def _note(report: Report, wrong: dict[str, list[str]], name: str, why: tuple[str, str], *, strict: bool) -> None:
    sub, info = why
    reason = info or sub or "evaluation failed, without a reason"
    report.skips.setdefault(reason, []).append(name)
    if sub not in EXPECTED or _WENT_WRONG.search(info):
        failed = True
    elif sub:
        failed = False
    else:
        # From 4 on, what has no word at all is a rule that could not be evaluated.
        failed = _NEEDS.match(info) is None if info else strict
    if failed:
        wrong.setdefault(reason, []).append(name)


def _some(names: Iterable[str], most: int = 5) -> str:
    listed = list(names)
    more = f" and {len(listed) - most:,} more" if len(listed) > most else ""
    return ", ".join(listed[:most]) + more


def add_failed_controls(report: Report, controls: Mapping[str, Any], known: Iterable[str]) -> None:
    """Add a finding per control that failed by the summary and is in no result: ``known`` are those that are."""
    lost = []
    there = set(known)
    for name, value in controls.items():
        about = as_dict(value)
        counters = as_dict(about.get("ResourceCounters"))
        failed = as_count(counters.get("failedResources"))
        if name in there or (status_of(about) != "failed" and not failed):
            continue
        lost.append(name)
        rule = report.rules[name] = rule_of(name, about)
        severity, level = severity_of_control(about)
        message = f"{rule.title}: {counted(failed, 'resource')} failed" if failed else rule.title
        report.findings.append(DetailedFinding(rule, severity, report.resource("", "", "", ""), message, level))
    if lost:
        many = counted(len(lost), "control has", "controls have")
        report.degrade(f"{many} failed by the summary, and no result says on what: {_some(lost)}")


def check_counters(report: Report, summary: Mapping[str, Any]) -> None:
    """Name findings that the summary has counted where there are none."""
    if report.findings:
        return
    totals = {
        "failed resources": as_count(as_dict(summary.get("ResourceCounters")).get("failedResources")),
        **{
            key: sum(as_count(number) for number in as_dict(summary.get(key)).values())
            for key in ("resourcesSeverityCounters", "controlsSeverityCounters", "severityCounters")
        },
    }
    for what, total in totals.items():
        if total:
            report.degrade(f"not read: {total:,} in the summary's {what}, and none in the results")


def add_vulnerabilities(report: Report, value: object) -> None:
    """Add what was found in images (--scan-images): by package, as the report does not say in which image."""
    found = report.part(value, "the summary's vulnerabilities")
    report.unread({key: found[key] for key in found.keys() - _IMAGE_KEYS}, "vulnerabilities")
    images = [as_text(image) for image in as_list(found.get("images"))]
    image = images[0] if len(images) == 1 else ""
    resource = report.resource("", "Image", "", image)
    if images:
        report.about["Images"] = _some(images, 10)
    listed: Counter[str] = Counter()
    for item in report.objects(found.get("CVEs"), "the summary's CVEs"):
        level = as_text(item.get("severity"))
        listed[level] += 1
        own = as_text(item.get("image"))
        place = report.resource("", "Image", "", own) if own else resource
        name, package, version = (as_text(item.get(key)) for key in ("id", "package", "version"))
        rule = report.rules.setdefault(name, _advisory(name))
        fixes = ", ".join(as_text(fix) for fix in as_list(item.get("fixVersions")) if fix)
        state = as_text(item.get("fixedState")).replace("-", " ")
        message = f"{package} {version}: {f'fixed in {fixes}' if fixes else state or 'no fix known'}"
        if not own and len(images) > 1:
            message += f" (in one of {len(images)} images)"
        finding = DetailedFinding(rule, severity_of(TOOL, level), place, message, level)
        finding.package = finding.key = f"{package}@{version}" if version else package
        finding.key = package
        finding.remedy = f"Update {package} to {fixes}." if fixes else ""
        report.findings.append(finding)
    _check_images(report, found, listed)


def _check_images(report: Report, value: dict[str, Any], listed: Counter[str]) -> None:
    """Name vulnerabilities that are counted and not listed."""
    for level, summary in as_dict(value.get("mapsSeverityToSummary")).items():
        number = as_count(as_dict(summary).get("numberOfCVEs"))
        if number > listed[level]:
            report.degrade(
                f"not read: {counted(number, 'vulnerability', 'vulnerabilities')} of severity {level[:40]},"
                f" {listed[level]} of them listed"
            )
    packages = as_dict(value.get("packageScores"))
    if packages and not listed:
        report.degrade(f"not read: {counted(len(packages), 'package')} with vulnerabilities, none of them listed")


def _advisory(name: str) -> Rule:
    link = next((f"{address}{name}" for start, address in _ADVISORIES.items() if name.startswith(start)), "")
    return Rule(name or "CVE", title="Vulnerability in an image", link=link)


def note_coverage(report: Report, coverage: dict[str, Any]) -> None:
    """Note what 4.0.9 and later say about coverage; that they say nothing proves nothing."""
    causes = []
    known = {key for key, _, _ in _COVERAGE} | {"vacuousFrameworks"}
    for key, one, many in _COVERAGE:
        if items := as_list(coverage.get(key)):
            causes.append(f"{counted(len(items), one, many)}: {_some(map(_label, items))}")
    causes += [
        f"scanCoverage has {counted(len(items), 'entry', 'entries')} under {key[:60]!r}"
        for key in sorted(coverage.keys() - known)
        if (items := [*as_list(coverage[key]), *as_dict(coverage[key])])
    ]
    score = as_number(coverage.get("coverageScore"))
    if not causes and (coverage.get("degraded") or (score is not None and score < 100)):
        causes = ["scanCoverage says that the scan is degraded"]
    for cause in causes:
        report.degrade(cause)
    if vacuous := as_list(coverage.get("vacuousFrameworks")):
        report.about["Frameworks of which nothing was checked"] = _some(map(as_text, vacuous))


def _label(item: object) -> str:
    known = as_dict(item)
    name = next(
        (as_text(known[key]) for key in ("controlID", "gvr", "component", "name", "path") if known.get(key)), ""
    )
    missing = ", ".join(as_text(kind) for kind in as_list(known.get("missingGVRs")))
    why = as_text(known.get("reason") or known.get("error")) or (f"without {missing}" if missing else "")
    return (f"{name} ({why})" if why else name) if name else as_text(item)


def describe(report: Report, metadata: dict[str, Any], summary: Mapping[str, Any]) -> None:
    """Note what was scanned (a repository, a chart, a folder, a file; or a cluster) and which part of it."""
    scan = as_dict(metadata.get("scanMetadata"))
    places = as_dict(metadata.get("targetMetadata") or metadata.get("contextMetadata"))
    repository = as_dict(places.get("gitRepoContextMetadata"))
    names = "/".join(as_text(repository.get(key)) for key in ("owner", "repo") if repository.get(key))
    report.target = (
        as_text(repository.get("remoteURL"))
        or names
        or as_text(as_dict(places.get("helmContextMetadata")).get("chartName"))
        or as_text(as_dict(places.get("directoryContextMetadata")).get("basePath"))
        or as_text(as_dict(places.get("fileContextMetadata")).get("filePath"))
    )
    frameworks = [as_text(item.get("name")) for item in as_dicts(summary.get("frameworks")) if item.get("name")]
    included, excluded = (as_list(scan.get(key)) for key in ("includeNamespaces", "excludedNamespaces"))
    cluster = as_dict(places.get("clusterContextMetadata"))
    counts = cluster.get("namespaceToNumberOfResources")
    about = {
        "Branch": as_text(repository.get("branch")),
        "Commit": as_text(as_dict(repository.get("lastCommit")).get("hash")),
        "Frameworks": _some(dict.fromkeys(frameworks), 10),
        "Namespaces scanned": ", ".join(map(as_text, included)),
        "Namespaces not scanned": ", ".join(map(as_text, excluded)),
    }
    report.about |= {name: text for name, text in about.items() if text}
    report.namespaces |= {as_text(name) for name in (*included, *as_dict(counts)) if name}
