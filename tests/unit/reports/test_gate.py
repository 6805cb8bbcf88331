# Copyright: cicd.sandbox contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The decision, waivers, baselines, fingerprints."""

from __future__ import annotations

import datetime as dt
import json
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.cicd.sandbox.plugins.module_utils.reports.gate import Judgement, Policy, judge
from ansible_collections.cicd.sandbox.plugins.module_utils.reports.model import Report, ReportError, fingerprints
from ansible_collections.cicd.sandbox.plugins.module_utils.reports.reading import read_report
from ansible_collections.cicd.sandbox.plugins.module_utils.reports.severity import (
    TABLE,
    severity_of,
    severity_of_score_factor,
)
from ansible_collections.cicd.sandbox.plugins.module_utils.reports.shared import as_json, read_baseline
from ansible_collections.cicd.sandbox.plugins.module_utils.reports.trivy import canonical_check
from ansible_collections.cicd.sandbox.plugins.module_utils.reports.waivers import Waiver, read_waivers

FIXTURES = Path(__file__).parent / "fixtures"
TODAY = dt.date(2026, 11, 23)


def messages(*found: tuple[str, str, str]) -> Report:
    """Give istioctl's report of (code, level, origin)."""
    items = [
        {"code": code, "level": level, "origin": origin, "message": f"{code} said"} for code, level, origin in found
    ]
    return read_report("istioctl", json.dumps(items), "x")


def popeye() -> Report:
    return read_report("popeye", (FIXTURES / "popeye/0.8.0.json").read_bytes(), "x")


def waivers(*items: dict[str, Any]) -> list[Waiver]:
    return read_waivers([{"reason": "known", **item} for item in items], "waivers")


def judged(report: Report, **policy: Any) -> Judgement:
    return judge(report, Policy(today=TODAY, **policy))


@pytest.mark.parametrize(
    ("policy", "passes"),
    [
        ({}, False),
        ({"fail_on": "critical"}, True),
        ({"fail_on": "never"}, True),
        ({"fail_on": "info"}, False),
        ({"max_findings": {"high": 1}}, True),
        ({"max_findings": {"high": 0}}, False),
        ({"fail_on": "never", "max_findings": {"medium": 1}}, False),
        ({"fail_on": "never", "max_findings": {"medium": 2}}, True),
        ({"fail_on": "never", "min_score": 66}, True),
        ({"fail_on": "never", "min_score": 66.5}, False),
        ({"exclude_namespaces": ["shop"]}, True),
        ({"namespaces": ["shop"]}, False),
        ({"namespaces": ["other"]}, False),
        ({"namespaces": ["other"], "allow_unmatched": True}, True),
        ({"namespaces": ["shop", ""], "fail_on": "never"}, True),
        ({"exclude_namespaces": ["shop", "kube-sytsem"]}, False),
        ({"exclude_namespaces": ["shop", "kube-sytsem"], "allow_unmatched": True}, True),
    ],
)
def test_gate(policy: dict[str, Any], passes: bool) -> None:
    judgement = judged(popeye(), **policy)
    assert judgement.passed is passes, judgement.reasons
    assert bool(judgement.reasons) is not passes


def test_message_says_what_how_many_and_the_worst() -> None:
    said = judged(popeye(), max_findings={"medium": 1}).message()
    assert said == (
        "popeye: findings that must not be: 1 high; 2 medium findings, 1 is let pass. "
        "The worst: high shop Pod/cart-0: [POP-202] Pod is waiting [0/1]; "
        "medium shop Pod/cart-0: [POP-106] No resources requests/limits defined; "
        "medium shop Pod/web-0: [POP-102] No probes defined"
    )


def test_empty_and_partial_scans_fail() -> None:
    empty = read_report("trivy", (FIXTURES / "trivy/0.60.0-image-nothing.json").read_bytes(), "x")
    assert not judged(empty).passed
    assert judged(empty, allow_empty=True).passed
    partial = read_report("popeye", (FIXTURES / "popeye/0.22.1.json").read_bytes(), "x")
    assert "partial: CronJob: cronjobs.batch is forbidden" in judged(partial).message()
    assert judged(partial, allow_degraded=True).passed
    assert "no score" in judged(empty, allow_empty=True, min_score=1).message()


@pytest.mark.parametrize(
    ("waiver", "covers"),
    [
        ({"rule": "IST0101", "expires": "2026-11-23"}, True),
        ({"rule": "IST01*", "expires": "2099-01-01"}, True),
        ({"rule": "ist0101", "expires": "2099-01-01"}, False),
        ({"rule": "*", "resource": "Gateway/*", "expires": "2099-01-01"}, False),
        ({"rule": "*", "resource": "VirtualService/w?b", "expires": "2099-01-01"}, True),
        ({"rule": "*", "resource": "web", "expires": "2099-01-01"}, True),
        ({"rule": "*", "namespace": "sh*", "expires": "2099-01-01"}, True),
        ({"rule": "*", "namespace": "s", "expires": "2099-01-01"}, False),
        # Expired yesterday.
        ({"rule": "IST0101", "expires": "2026-11-22"}, False),
        # High needs an end.
        ({"rule": "IST0101"}, False),
    ],
)
def test_waivers(waiver: dict[str, Any], covers: bool) -> None:
    report = messages(("IST0101", "Error", "VirtualService shop/web"))
    (asked,) = listed = waivers(waiver)
    judgement = judged(report, waivers=listed)
    assert judgement.passed is covers
    assert len(judgement.waived) == covers
    assert asked.expired(TODAY) == (waiver.get("expires") == "2026-11-22")
    assert asked.refused == (waiver == {"rule": "IST0101"})


def test_waivers_without_an_end_cover_less_than_high() -> None:
    report = messages(("IST0118", "Warning", "Service shop/cart"))
    judgement = judged(report, fail_on="info", waivers=waivers({"rule": "IST0118"}, {"rule": "IST9999"}))
    assert judgement.passed
    assert [waiver.matched for waiver in judgement.policy.waivers] == [1, 0]


def test_a_waiver_may_name_several_rules_of_which_each_is_used_or_not() -> None:
    report = messages(("IST0118", "Warning", "Service shop/cart"), ("IST0102", "Warning", "Namespace other"))
    listed = waivers({"rule": ["IST0118", "IST010[29]", "IST9999"], "resource": "*"})
    assert judged(report, fail_on="info", waivers=listed).passed
    assert [(waiver.rule, waiver.matched) for waiver in listed] == [("IST0118", 1), ("IST010[29]", 1), ("IST9999", 0)]


def test_waivers_of_other_namespaces_are_used() -> None:
    report = messages(("IST0118", "Warning", "Service other/cart"))
    (waiver,) = listed = waivers({"rule": "IST0118"})
    assert judged(report, namespaces=["shop"], waivers=listed).waived == []
    assert waiver.matched == 1


def test_old_and_new_spelling_of_checks() -> None:
    old = read_report("trivy", (FIXTURES / "trivy/0.45.0-config.json").read_bytes(), "x")
    new = read_report("trivy", (FIXTURES / "trivy/0.74.0-config.json").read_bytes(), "x")
    for spelling in ("KSV001", "KSV-0001", "AVD-KSV-0001"):
        assert judged(old, fail_on="medium", waivers=waivers({"rule": spelling})).passed
    assert canonical_check("AVD-KSV-0001") == canonical_check("KSV001") == "KSV-0001"
    assert canonical_check("no-user-pods-in-system-namespace") == "no-user-pods-in-system-namespace"
    names = fingerprints("trivy", old.findings, old.findings)
    assert set(fingerprints("trivy", new.findings, new.findings)) <= set(names)


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ({"rule": "x"}, "expected a list"),
        ("x", "expected a list"),
        (["x"], "waiver 1: expected a mapping"),
        ([{"rule": "x", "reason": "r"}, {"reason": "r"}], "waiver 2: rule is missing"),
        ([{"rule": "x", "reason": " "}], "reason is missing: say why"),
        ([{"rule": [], "reason": "r"}], "waiver 1: rule is an empty list"),
        ([{"rule": ["x", ""], "reason": "r"}], "waiver 1: rule is missing"),
        ([{"rule": ["x", {}], "reason": "r"}], "waiver 1: rule is no text"),
        ([{"rule": "x", "reason": "r", "until": "x"}], "unknown until; known are"),
        ([{"rule": "x", "reason": "r", "expires": "soon"}], "expires is 'soon', not a date"),
        ([{"rule": "x", "reason": "r", "expires": "2026-02-30"}], "not a date like"),
        ([{"rule": {"x": 1}, "reason": "r"}], "rule is no text"),
    ],
)
def test_wrong_waivers(value: Any, words: str) -> None:
    with pytest.raises(ReportError, match=words):
        read_waivers(value, "waivers")


def test_waivers_may_stand_under_a_key_and_have_real_dates() -> None:
    (waiver,) = read_waivers({"waivers": [{"rule": "x", "reason": "r", "expires": dt.date(2027, 1, 1)}]}, "w")
    assert waiver.expires == dt.date(2027, 1, 1)
    assert read_waivers(None, "w") == []


def test_baseline() -> None:
    before = messages(("IST0101", "Error", "VirtualService shop/web"), ("IST0101", "Error", "VirtualService shop/old"))
    after = messages(("IST0101", "Error", "VirtualService shop/web"), ("IST0101", "Error", "VirtualService shop/new"))
    written = as_json(judged(before))
    for data in (written, json.dumps([])):
        baseline = read_baseline("istioctl", data if isinstance(data, bytes) else data.encode(), "b")
        judgement = judged(after, baseline=baseline)
        known = len(baseline) // 2
        assert (len(judgement.known), len(judgement.counting)) == (known, 2 - known)
        assert [item["resource"]["name"] for item in judgement.fixed] == ["old"] * known
    with pytest.raises(ReportError, match="b is a report on 'istioctl', a baseline for trivy"):
        read_baseline("trivy", written, "b")


def test_what_was_waived_is_no_baseline() -> None:
    report = messages(("IST0101", "Error", "VirtualService shop/web"))
    waived = judged(report, waivers=waivers({"rule": "*", "expires": "2026-12-01"}))
    assert waived.passed
    assert not judged(report, baseline=read_baseline("istioctl", as_json(waived), "b")).passed


def test_what_got_worse_is_new() -> None:
    before, after = (messages(("IST0118", level, "Service shop/cart")) for level in ("Info", "Error"))
    judgement = judged(after, baseline=read_baseline("istioctl", as_json(judged(before)), "b"))
    assert not judgement.passed
    assert [(finding.rule.id, was) for finding, was in judgement.worse] == [("IST0118", "info")]
    assert judgement.reasons == ["new findings that must not be: 1 high (1 less severe in the baseline)"]
    better = judged(before, fail_on="info", baseline=read_baseline("istioctl", as_json(judged(after)), "b"))
    assert (better.passed, len(better.known), better.worse) == (True, 1, [])


def test_what_an_expired_waiver_covered_counts_again_and_is_said_to() -> None:
    report = messages(("IST0101", "Error", "VirtualService shop/web"), ("IST0118", "Info", "Service other/cart"))
    ended = {"rule": "IST01*", "expires": "2026-11-22"}
    judgement = judged(report, waivers=waivers(ended))
    assert judgement.message().endswith("The waiver of IST01* ended on 2026-11-22: 2 findings count again.")
    assert judged(report, namespaces=["shop"], waivers=waivers(ended)).policy.waivers[0].again == 1
    # Another covers them.
    covered = judged(report, waivers=waivers(ended, {"rule": "IST*", "expires": "2027-01-01"}))
    assert (covered.passed, covered.expired()) == (True, [])


def test_names_that_no_namespace_has_are_told() -> None:
    judgement = judged(popeye(), namespaces=["shpo"], exclude_namespaces=["kube-system"])
    assert list(judgement.unmatched.items()) == [("shpo", "shop"), ("kube-system", "")]
    assert judgement.reasons == [
        "the report has no namespace 'shpo' (is 'shop' meant?), 'kube-system' (allow_unmatched lets that pass)"
    ]
    # A namespace in which nothing is wrong is known where the report lists it.
    clean = {"ClusterName": "lab", "Resources": [{"Namespace": "apps", "Kind": "Pod", "Name": "a", "Results": []}]}
    report = read_report("trivy", json.dumps(clean), "x")
    assert judged(report, allow_empty=True, namespaces=["apps"]).passed
    about = {"clusterContextMetadata": {"namespaceToNumberOfResources": {"apps": 3}}}
    report = read_report("kubescape", json.dumps({"summaryDetails": {}, "metadata": {"targetMetadata": about}}), "x")
    assert judged(report, allow_empty=True, namespaces=["apps"]).passed


def test_the_policy_in_a_line() -> None:
    assert judged(popeye()).policy_line() == "fail_on high: 0 critical, 1 high, 2 medium; failed"
    assert (
        judged(popeye(), fail_on="never", max_findings={"low": 3}, min_score=50).policy_line()
        == "fail_on never, at most 3 low, score at least 50: 1 high, 2 medium, 0 low; passed"
    )
    nothing = read_report("trivy", (FIXTURES / "trivy/0.60.0-image-nothing.json").read_bytes(), "x")
    assert judged(nothing, fail_on="never").policy_line() == "fail_on never: no findings, nothing was scanned; failed"


def test_more_of_the_same_is_new() -> None:
    item = ("IST0118", "Error", "Service shop/cart")
    baseline = read_baseline("istioctl", as_json(judged(messages(item, item))), "b")
    assert judged(messages(item, item), baseline=baseline).passed
    assert judged(messages(item, item, item), baseline=baseline).counts["high"] == 1


def test_fingerprints_outlive_numbers_tags_and_order() -> None:
    def names(tool: str, document: Any) -> set[str]:
        report = read_report(tool, json.dumps(document), "x")
        return set(fingerprints(tool, report.findings, report.findings))

    def usage(percent: int) -> dict[str, Any]:
        issue = {"group": "__root__", "level": 2, "message": f"[POP-604] Current CPU usage {percent}% is over 80%"}
        return {"popeye": {"sections": [{"linter": "hpa", "issues": {"shop/web": [issue]}}]}}

    assert names("popeye", usage(91)) == names("popeye", usage(99))

    def image(name: str, version: str) -> dict[str, Any]:
        flaws = [{"VulnerabilityID": "CVE-1", "PkgName": "bash", "InstalledVersion": version, "Severity": "LOW"}]
        result = {"Target": f"{name} (debian 12.1)", "Class": "os-pkgs", "Vulnerabilities": flaws}
        return {"SchemaVersion": 2, "ArtifactName": name, "ArtifactType": "container_image", "Results": [result]}

    here = names("trivy", image("registry:5000/shop/web:1.2", "5.1"))
    assert here == names("trivy", image("registry:5000/shop/web:1.3", "5.2"))
    assert here != names("trivy", image("registry:5000/shop/cart:1.2", "5.1"))


def test_severities() -> None:
    assert severity_of("trivy", " critical ") == "critical"
    assert severity_of("trivy", "UNKNOWN") == "medium"
    for tool in TABLE:
        assert severity_of(tool, "Blocker") == "high"
    factors = {None: "medium", 0.0: "medium", 1.0: "low", 4.0: "medium", 7.0: "high", 8.9: "high", 9.0: "critical"}
    assert {factor: severity_of_score_factor(factor) for factor in factors} == factors
