# Copyright: cicd.sandbox contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Compliance reports of Trivy: a control is not passed by what nobody looked at."""

from __future__ import annotations

import json
from typing import Any

from ansible_collections.cicd.sandbox.plugins.module_utils.reports.model import Report
from ansible_collections.cicd.sandbox.plugins.module_utils.reports.reading import read_report

UNSEEN = "Trivy saw nothing that it is about"


def result(target: str, check: str, status: str = "PASS") -> dict[str, Any]:
    checked = {"ID": check, "Title": check, "Message": f"{check} of {target}", "Severity": "HIGH", "Status": status}
    summary = {"Successes": int(status == "PASS"), "Failures": int(status == "FAIL")}
    base = {"Target": target, "Class": "config", "Type": "kubernetes"}
    return {**base, "MisconfSummary": summary, "Misconfigurations": [checked]}


def control(number: str, *results: dict[str, Any], name: str = "Ensure something") -> dict[str, Any]:
    return {"ID": number, "Name": name, "Description": name, "Severity": "HIGH", "Results": list(results) or None}


def compliance(*controls: Any, specification: str = "k8s-cis-1.23") -> Report:
    head = {"ID": specification, "Title": "A benchmark", "Description": "", "Version": "1", "RelatedResources": None}
    return read_report("trivy", json.dumps({**head, "Results": list(controls)}), "x")


def test_what_failed_is_found_once_and_what_passed_is_counted() -> None:
    failed = result("DaemonSet/agent", "KSV-0017", "FAIL")
    report = compliance(control("5.2.2", failed, result("Pod/web", "KSV-0017")), control("5.7.3", failed))
    (finding,) = report.findings
    assert (finding.rule.id, finding.resource.label, finding.severity) == ("KSV-0017", "DaemonSet/agent", "high")
    assert (report.passed, report.skipped, report.errors, report.empty) == (1, 0, [], False)
    assert report.target == "A benchmark"


def test_controls_of_which_nothing_was_looked_at_are_left_out_by_name() -> None:
    report = compliance(
        # Files and kubelets, which the node collector would look at.
        control("1.1.1", name="Ensure the mode of a file"),
        control("3.2.1", name="Ensure that there is a policy (Manual)"),
        # Each other object passes what is asked of a server's arguments.
        control("1.2.2", result("ClusterRole/admin", "KCV-0002"), result("Pod/kube-apiserver-cp-1", "KCV-0002")),
        control("2.2", result("ClusterRole/admin", "KCV-0043"), name="Ensure that clients have certificates"),
    )
    assert report.skips == {
        UNSEEN: ["1.1.1 Ensure the mode of a file", "2.2 Ensure that clients have certificates"],
        "somebody has to look at it": ["3.2.1 Ensure that there is a policy (Manual)"],
    }
    assert (report.skipped, report.passed, report.errors) == (3, 2, [])


def test_sections_of_other_benchmarks_are_about_anything() -> None:
    report = compliance(control("2.0", result("Service/web", "KSV-0038")), specification="k8s-nsa-1.0")
    assert (report.passed, report.skipped) == (1, 0)


def test_a_report_without_anything_seen_is_empty_and_what_is_no_control_is_named() -> None:
    assert compliance(control("1.1.1")).empty
    assert compliance({"Name": "x"}, control("5.2.2", result("Pod/web", "KSV-0017"))).errors == [
        "not read: a control that is none of Trivy's, an object"
    ]
