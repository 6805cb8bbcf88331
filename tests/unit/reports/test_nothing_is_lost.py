# Copyright: cicd.sandbox contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What can't be read is named: a report that has findings never passes as empty, partial or another's."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.cicd.sandbox.plugins.module_utils.reports.gate import Policy, judge
from ansible_collections.cicd.sandbox.plugins.module_utils.reports.model import Report, ReportError
from ansible_collections.cicd.sandbox.plugins.module_utils.reports.reading import READERS, read_report

FIXTURES = Path(__file__).parent / "fixtures"
# Findings are lost at any depth; the recorded ones add nothing but size.
DOCUMENTS = {
    f"{tool}/{path.name}": path.read_text()
    for tool in READERS
    for path in sorted((FIXTURES / tool).iterdir())
    if "recorded" not in path.name and "odd-name" not in path.name
}
WITH_FINDINGS = [
    name
    for name, text in DOCUMENTS.items()
    if judge(read_report(name.partition("/")[0], text, name), Policy()).counting
]

FLAW = {"VulnerabilityID": "CVE-2026-1", "PkgName": "musl", "Severity": "CRITICAL"}
ISSUE = {"group": "__root__", "gvr": "v1/pods", "level": 3, "message": "[POP-207] Pod is in an unhappy phase"}
FAILED = {"controlID": "C-0057", "name": "Privileged container", "status": {"status": "failed"}}
PASSED = {"resourceID": "apps/v1/shop/Deployment/web", "controls": [{**FAILED, "status": {"status": "passed"}}]}


def trivy(**members: Any) -> dict[str, Any]:
    return {"SchemaVersion": 2, "ArtifactName": "web", "Results": [], **members}


def result(**members: Any) -> dict[str, Any]:
    return trivy(Results=[{"Target": "web", "Class": "os-pkgs", **members}])


def popeye(**members: Any) -> dict[str, Any]:
    return {"popeye": {"sections": [{"linter": "pods", "gvr": "v1/pods", "tally": {"ok": 1}, **members}]}}


def kubescape(**members: Any) -> dict[str, Any]:
    return {"summaryDetails": {"controls": {}}, "results": [PASSED], **members}


def alerts(**members: Any) -> dict[str, Any]:
    return {"name": "NSA", "controlReports": [{"controlID": "C-0057", "totalResources": 3, **members}]}


RESULT = {"ruleId": "C1", "level": "error", "message": {"text": "open"}}


def sarif(**members: Any) -> dict[str, Any]:
    return {"version": "2.1.0", "runs": [{"tool": {"driver": {"name": "Checker"}}, "results": [], **members}]}


# By tool: what would carry findings, in a form that no version writes; and how it is named.
UNREAD: list[tuple[str, Any, str]] = [
    ("trivy", result(Vulnerabilities={"0": FLAW}), "Vulnerabilities of web, which is an object and no list"),
    ("trivy", result(Vulnerabilities="CVE-2026-1"), "Vulnerabilities of web, which is the text 'CVE-2026-1'"),
    ("trivy", result(Vulnerabilities=[FLAW, "CVE-2026-2"]), "1 entry of Vulnerabilities of web, no object"),
    ("trivy", result(Secrets={"0": {"RuleID": "key"}}), "Secrets of web"),
    ("trivy", result(Licenses=True), "Licenses of web, which is JSON's true and no list"),
    ("trivy", result(Misconfigurations={"0": {"ID": "KSV-0001"}}), "Misconfigurations of web"),
    ("trivy", result(MisconfSummary={"Successes": 1, "Failures": 3}), "web has 3 checks that failed, 0 of them listed"),
    (
        "trivy",
        result(CustomResources=[{"Type": "x", "Data": {"Severity": "HIGH"}}]),
        "'CustomResources' of web, with 1 entry",
    ),
    ("trivy", result(vulnerabilities=[FLAW]), "'vulnerabilities' of web"),
    (
        "trivy",
        result(ExperimentalModifiedFindings=[{"Type": "rootkit", "Finding": FLAW}]),
        "modified finding of type 'rootkit'",
    ),
    (
        "trivy",
        result(ExperimentalModifiedFindings=[{"Type": "secret", "Finding": None}]),
        "modified finding of type 'secret'",
    ),
    ("trivy", trivy(Results={"0": {"Vulnerabilities": [FLAW]}}), "Results, which is an object and no list"),
    ("trivy", trivy(Results=[{"Target": "a"}, None]), "1 result is empty"),
    ("trivy", trivy(Results=[{"Target": "a"}, ["b"]]), "a result that is none of Trivy's, a list"),
    (
        "trivy",
        trivy(Results=[{"ID": "1.1", "Results": [{"Vulnerabilities": [FLAW]}]}]),
        "none of Trivy's, an object with the keys ID",
    ),
    ("trivy", trivy(SchemaVersion=3), "SchemaVersion is 3, known is 2"),
    ("trivy", trivy(Issues=[FLAW]), "'Issues' of the report, with 1 entry"),
    ("trivy", {"ClusterName": "lab", "Resources": {"0": {}}}, "Resources, which is an object and no list"),
    ("trivy", {"ClusterName": "lab", "Resources": [None]}, "a resource that is none of Trivy's"),
    ("trivy", {"ClusterName": "lab", "Resources": [{"Kind": "Pod", "Name": "a", "Results": {}}]}, "Results of Pod/a"),
    (
        "popeye",
        {"popeye": {"sections": {"pods": {"issues": {"a/b": [ISSUE]}}}}},
        "sections, which is an object and no list",
    ),
    ("popeye", {"popeye": {"linters": [{"issues": {"a/b": [ISSUE]}}]}}, "'linters' of the report, with 1 entry"),
    ("popeye", {"popeye": {"sections": [[ISSUE]]}}, "a section, which is a list and no object"),
    ("popeye", popeye(issues=[ISSUE]), "issues of pods, a list and no object"),
    ("popeye", popeye(issues={"a/b": {"0": ISSUE}}), "issues of Pod/b, an object and no list"),
    ("popeye", popeye(issues={"a/b": [[ISSUE]]}), "an issue of Pod/b, a list and no object"),
    ("popeye", popeye(tally={"ok": 1, "info": 1}), "1 resource with issues by the tally, but no issues are listed"),
    (
        "popeye",
        popeye(tally={"error": 2}, issues={"a/b": [ISSUE]}),
        "2 resources with issues by the tally, but issues of 1",
    ),
    ("popeye", popeye(outcome={"a/b": [ISSUE]}), "'outcome' of pods, with 1 entry"),
    ("kubescape", kubescape(results={"0": PASSED}), "results, which is an object and no list"),
    ("kubescape", kubescape(results=[PASSED, "x"]), "a result, which is the text 'x' and no object"),
    (
        "kubescape",
        kubescape(results=[PASSED, {"resourceID": "a", "controls": {"0": FAILED}}]),
        "controls of a, which is an object",
    ),
    ("kubescape", kubescape(findings=[{"severity": "High"}]), "'findings' of the report, with 1 entry"),
    (
        "kubescape",
        kubescape(summaryDetails={"controls": [FAILED]}),
        "the summary's controls, which is a list and no object",
    ),
    (
        "kubescape",
        kubescape(summaryDetails={"controls": {"C-0057": {"status": "failed", "scoreFactor": 8}}}),
        "1 control has failed by the summary, and no result says on what: C-0057",
    ),
    (
        "kubescape",
        kubescape(summaryDetails={"frameworks": [{"name": "NSA", "controls": {"C-0057": {"status": "failed"}}}]}),
        "1 control has failed by the summary",
    ),
    (
        "kubescape",
        kubescape(summaryDetails={"controls": {}, "resourcesSeverityCounters": {"criticalSeverity": 2}}),
        "2 in the summary's resourcesSeverityCounters, and none in the results",
    ),
    (
        "kubescape",
        kubescape(summaryDetails={"vulnerabilities": {"mapsSeverityToSummary": {"Critical": {"numberOfCVEs": 2}}}}),
        "2 vulnerabilities of severity Critical, 0 of them listed",
    ),
    (
        "kubescape",
        kubescape(summaryDetails={"vulnerabilities": {"packageScores": {"musl@1": {"score": 9}}}}),
        "1 package with vulnerabilities, none of them listed",
    ),
    ("kubescape", kubescape(summaryDetails={"secrets": [{"severity": "High"}]}), "'secrets' of summaryDetails"),
    (
        "kubescape",
        kubescape(summaryDetails={"controls": {"C-1": {"status": "error"}}}),
        "C-1 has the unknown status 'error'",
    ),
    ("kubescape", kubescape(scanCoverage={"skippedManifests": ["a.yaml"]}), "1 manifest was skipped: a.yaml"),
    ("kubescape", kubescape(scanCoverage={"brokenRules": ["a"]}), "scanCoverage has 1 entry under 'brokenRules'"),
    ("kubescape", kubescape(scanCoverage={"coverageScore": 97}), "says that the scan is degraded"),
    ("kubescape", [alerts(), {"name": "MITRE"}], "the framework 'MITRE', which has no controlReports"),
    ("kubescape", [alerts(), "x"], "a framework, which is the text 'x' and no object"),
    ("kubescape", {"name": "NSA", "controlReports": {"0": {}}}, "controlReports, which is an object and no list"),
    ("kubescape", alerts(ruleReports={"0": {}}), "ruleReports of C-0057"),
    ("kubescape", alerts(ruleReports=[{"ruleResponses": {"0": {"ruleStatus": "failed"}}}]), "ruleResponses of C-0057"),
    ("kubescape", alerts(failedResources=2), "C-0057 failed 2 times by its own count"),
    ("sarif", {"version": "2.1.0", "runs": {"0": {}}}, "runs of the log, which is an object and no list"),
    ("sarif", {"version": "2.1.0", "runs": [None]}, "1 entry of runs of the log, no object"),
    ("sarif", {**sarif(), "version": "3.0"}, "version is 3.0, known is 2.1.0"),
    (
        "sarif",
        {**sarif(), "inlineExternalProperties": [{"results": [RESULT]}]},
        "'inlineExternalProperties' of the log",
    ),
    ("sarif", sarif(results={"0": RESULT}), "results of Checker, which is an object and no list"),
    ("sarif", sarif(results=[None]), "1 entry of results of Checker, no object"),
    ("sarif", sarif(findings=[RESULT]), "'findings' of a run of Checker, with 1 entry"),
    ("sarif", sarif(externalPropertyFileReferences={"results": [{}]}), "results of Checker that are in other files"),
    ("sarif", sarif(results=[{**RESULT, "suppressions": {"kind": "external"}}]), "suppressions of C1"),
    ("sarif", sarif(results=[{"ruleId": "C1", "kind": "open"}]), "C1 could not be evaluated: it does not say why"),
    ("sarif", sarif(invocations={"executionSuccessful": False}), "invocations of Checker"),
    ("sarif", sarif(invocations=[{"executionSuccessful": False, "exitCode": 137}]), "did not end well: 137"),
]


def read(tool: str, document: Any) -> Report:
    return read_report(tool, json.dumps(document), "x")


@pytest.mark.parametrize(("tool", "document", "words"), UNREAD)
def test_what_is_not_read_is_named(tool: str, document: Any, words: str) -> None:
    report = read(tool, document)
    assert words in "; ".join(report.errors)
    assert not judge(report, Policy(fail_on="never", allow_empty=True)).passed


@pytest.mark.parametrize(
    ("tool", "document"),
    [
        ("trivy", {"Results": []}),
        ("trivy", {"Results": None}),
        ("trivy", {"SchemaVersion": 2, "ArtifactName": "x", "Results": [{}]}),
        ("trivy", None),
        ("trivy", []),
        ("popeye", {"popeye": {}}),
        ("popeye", {"popeye": {"score": 100, "grade": "A", "sections": [{"linter": "pods", "tally": {"ok": 0}}]}}),
        ("kubescape", []),
        ("kubescape", {"summaryDetails": {}}),
        ("kubescape", {"summaryDetails": {"controls": {"C-1": {"status": "irrelevant"}}}, "results": []}),
        ("kubescape", {"summaryDetails": {"controls": {"C-1": {"status": "passed"}}}, "results": []}),
        ("sarif", {"version": "2.1.0", "runs": []}),
        ("sarif", {"version": "2.1.0", "runs": None}),
    ],
)
def test_nothing_scanned_is_empty_in_any_form(tool: str, document: Any) -> None:
    report = read(tool, document)
    assert (report.empty, report.errors) == (True, [])
    assert judge(report, Policy(fail_on="never")).reasons == ["nothing was scanned (allow_empty lets that pass)"]


@pytest.mark.parametrize(
    ("tool", "document"),
    [
        ("trivy", {"Results": [{"id": 1, "severity": "HIGH"}]}),
        ("trivy", {"Results": {}}),
        ("trivy", {"Results": "passed"}),
        ("trivy", {"Results": [], "Errors": []}),
        ("trivy", [{"Target": "a"}, {"id": 1}]),
        ("popeye", {"popeye": []}),
        ("popeye", {"sections": []}),
        ("kubescape", {"summaryDetails": []}),
        ("kubescape", {"controls": [], "name": "NSA"}),
        ("kubescape", [{"name": "NSA"}]),
        ("istioctl", [{"code": "SC2086", "level": "error", "message": "quote it"}]),
        ("istioctl", [None]),
        ("istioctl", {}),
        ("sarif", {"runs": []}),
        ("sarif", {"version": "2.1.0"}),
        ("sarif", [{"runs": [], "version": "2.1.0"}]),
    ],
)
def test_what_only_looks_like_a_report_is_refused(tool: str, document: Any) -> None:
    with pytest.raises(ReportError, match=r"^x is "):
        read(tool, document)


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in items:
        yield (*path, key)
        yield from places(item, (*path, key))


# What goes wrong with a value, its parts being there still.
CHANGES: dict[str, Callable[[Any], Any]] = {
    "as text": json.dumps,
    "in a list": lambda value: [value],
    "in an object": lambda value: {"items": value},
    "by number": lambda value: {str(key): item for key, item in enumerate(value)} if isinstance(value, list) else value,
    "in another word": lambda value: "melted" if isinstance(value, str) else value,
}


@pytest.mark.parametrize("name", WITH_FINDINGS)
def test_a_report_with_findings_never_passes(name: str) -> None:
    """Whatever one value of it is turned into, or its key is called: it is refused, partial, or has the findings."""
    tool = name.partition("/")[0]
    policy = Policy(fail_on="info", allow_empty=True)

    def shut(document: Any) -> bool:
        try:
            report = read(tool, document)
        except ReportError:
            return True
        return not judge(report, policy).passed

    for path in places(json.loads(DOCUMENTS[name])):
        for change in (*CHANGES, "under another key"):
            document = json.loads(DOCUMENTS[name])
            parent = document
            for key in path[:-1]:
                parent = parent[key]
            if change in CHANGES:
                parent[path[-1]] = CHANGES[change](parent[path[-1]])
            elif isinstance(parent, dict) and path[-1] != "EOSL":
                # A flag by another name is another flag.
                parent[f"{path[-1]}X"] = parent.pop(path[-1])
            assert shut(document), (path, change)
