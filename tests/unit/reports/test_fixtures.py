# Copyright: cicd.sandbox contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Every known version of every tool's report is understood."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from ansible_collections.cicd.sandbox.plugins.module_utils.reports.gate import Policy, judge
from ansible_collections.cicd.sandbox.plugins.module_utils.reports.model import Report
from ansible_collections.cicd.sandbox.plugins.module_utils.reports.reading import READERS, read_report
from ansible_collections.cicd.sandbox.plugins.module_utils.reports.waivers import read_waivers

FIXTURES = Path(__file__).parent / "fixtures"

# By file: what counts, by severity; what the tool itself lets pass; passed; score; reasons for a partial scan.
EXPECTED: dict[str, tuple[dict[str, int], int, int, float | None, int]] = {
    "popeye/0.8.0.json": ({"high": 1, "medium": 2}, 0, 2, 66, 0),
    "popeye/0.11.3.json": ({"medium": 1, "info": 1}, 0, 3, 88, 2),
    "popeye/0.20.0.json": ({"high": 1, "medium": 1, "info": 1}, 0, 2, 75, 2),
    "popeye/0.22.1.json": ({"medium": 1}, 0, 2, 91, 1),
    "popeye/0.22.1-odd-name.json": ({"info": 1}, 0, 0, 100, 0),
    "popeye/0.22.1-tally-without-issues.json": ({"high": 1}, 0, 10, 90, 2),
    "popeye/0.22.1-recorded-all.json": ({"high": 17, "medium": 139, "info": 36}, 0, 264, 70, 0),
    "popeye/0.22.1-recorded-apps.json": ({"high": 2, "medium": 2, "info": 2}, 0, 3, 66, 1),
    "popeye/0.22.1-recorded-refused.json": ({}, 0, 0, 100, 2),
    "kubescape/1.0.130-framework.json": ({"critical": 1, "medium": 1}, 1, 4, 75, 0),
    "kubescape/1.0.138-array.json": ({"critical": 1, "medium": 1}, 1, 8, 81.25, 1),
    "kubescape/1.0.138-alert-on-two-objects.json": ({"critical": 1}, 0, 0, 95, 0),
    "kubescape/1.0.138-nothing-scanned.json": ({}, 0, 0, None, 0),
    "kubescape/2.0.150-v2.json": ({"high": 1, "medium": 1}, 1, 1, None, 0),
    "kubescape/2.9.2.json": ({"high": 1}, 1, 1, 71.25, 0),
    "kubescape/3.0.1-controls-not-evaluated.json": ({}, 0, 1, 100, 1),
    "kubescape/3.0.34-nothing-scanned.json": ({}, 0, 0, None, 0),
    "kubescape/3.0.34-scan-images.json": ({"critical": 1, "high": 1}, 0, 1, 100, 0),
    "kubescape/3.0.3-summary-only.json": ({"high": 1, "medium": 1}, 0, 3, 50, 1),
    "kubescape/3.0.47.json": ({"high": 2}, 0, 1, 60, 1),
    "kubescape/4.0.10-vacuous-framework.json": ({}, 0, 0, None, 0),
    "kubescape/4.0.11-evaluation-failed.json": ({}, 0, 1, 100, 2),
    "kubescape/4.0.11.json": ({"critical": 1, "low": 1}, 1, 0, 82.4, 3),
    "trivy/0.18.0-array.json": ({"critical": 1, "high": 1}, 0, 0, None, 0),
    "trivy/0.19.0-null.json": ({}, 0, 0, None, 0),
    "trivy/0.20.0-image.json": ({"critical": 1, "low": 1}, 0, 0, None, 0),
    "trivy/0.28.0-k8s.json": ({"high": 1, "medium": 1}, 0, 1, None, 0),
    "trivy/0.45.0-config.json": ({"medium": 1}, 1, 40, None, 0),
    "trivy/0.50.0-k8s-all.json": ({"critical": 1, "medium": 1}, 0, 50, None, 1),
    "trivy/0.50.0-k8s-summary.json": ({"medium": 1}, 0, 50, None, 0),
    "trivy/0.56.0-fs.json": ({"critical": 1, "high": 3, "medium": 1}, 0, 0, None, 0),
    "trivy/0.60.0-image-clean.json": ({}, 0, 0, None, 0),
    "trivy/0.60.0-image-nothing.json": ({}, 0, 0, None, 0),
    "trivy/0.74.0-config-nothing.json": ({}, 0, 0, None, 0),
    "trivy/0.74.0-end-of-support.json": ({"high": 1}, 0, 0, None, 0),
    "trivy/0.74.0-results-of-nulls.json": ({}, 0, 0, None, 0),
    "trivy/0.74.0-vex-affected.json": ({"high": 1}, 1, 0, None, 0),
    "trivy/0.74.0-config.json": ({"medium": 1}, 0, 41, None, 0),
    "trivy/0.74.0-image-vex.json": ({"high": 1}, 1, 1, None, 0),
    "trivy/0.74.0-recorded-config.json": ({"high": 3, "medium": 4, "low": 10}, 0, 81, None, 0),
    "trivy/0.74.0-recorded-fs-nothing.json": ({}, 0, 0, None, 0),
    "trivy/0.74.0-recorded-fs.json": ({"critical": 3, "high": 8, "medium": 8, "low": 12}, 2, 100, None, 0),
    "trivy/0.74.0-recorded-image.json": ({"critical": 2, "high": 3, "medium": 3, "low": 4}, 0, 25, None, 0),
    "trivy/0.74.0-recorded-k8s-all.json": ({"high": 3}, 0, 20, None, 0),
    "trivy/0.74.0-recorded-k8s-summary-clean.json": ({}, 0, 0, None, 0),
    "trivy/0.74.0-recorded-k8s-summary.json": ({"high": 3}, 0, 20, None, 0),
    "istioctl/1.8.0.json": ({"high": 1, "info": 1}, 0, 0, None, 0),
    "istioctl/1.10.0.json": ({"high": 1}, 0, 0, None, 0),
    "istioctl/1.25.0-clusters.json": ({"high": 3}, 0, 0, None, 1),
    "istioctl/1.31.0.json": ({"high": 1, "medium": 2, "info": 1}, 0, 0, None, 0),
    "istioctl/1.31.0-clean.json": ({}, 0, 0, None, 0),
    "sarif/2.1.0-kube-score-1.20.0.json": ({"high": 2, "medium": 1}, 0, 0, None, 0),
    "sarif/2.1.0-kube-score-1.20.0-clean.json": ({}, 0, 0, None, 0),
    "sarif/2.1.0-govulncheck-1.9.0.json": ({"high": 1, "medium": 1, "low": 1}, 0, 0, None, 0),
    "sarif/2.1.0-trivy-0.74.0.json": ({"critical": 1, "high": 1, "medium": 1, "low": 1}, 0, 0, None, 0),
    "sarif/2.1.0-whole-standard.json": ({"high": 3, "medium": 1, "low": 2, "info": 1}, 2, 1, None, 0),
    "sarif/2.1.0-partial.json": ({"high": 1}, 0, 0, None, 4),
    "sarif/2.1.0-no-runs.json": ({}, 0, 0, None, 0),
}

NOTHING_SCANNED = {
    "kubescape/1.0.138-nothing-scanned.json",
    "kubescape/3.0.34-nothing-scanned.json",
    "kubescape/4.0.10-vacuous-framework.json",
    "trivy/0.74.0-config-nothing.json",
    "trivy/0.74.0-results-of-nulls.json",
    "popeye/0.22.1-recorded-refused.json",
    "trivy/0.19.0-null.json",
    "trivy/0.60.0-image-nothing.json",
    "trivy/0.74.0-recorded-fs-nothing.json",
    # It has no word of what was scanned, either.
    "trivy/0.74.0-recorded-k8s-summary-clean.json",
    "sarif/2.1.0-no-runs.json",
}


def report(name: str) -> Report:
    return read_report(name.partition("/")[0], (FIXTURES / name).read_bytes(), name)


def finding(name: str, rule: str) -> dict[str, Any]:
    return next(item.as_dict("x", "x") for item in report(name).findings if item.rule.id == rule)


def test_all_fixtures_are_expected() -> None:
    found = {f"{tool}/{path.name}" for tool in READERS for path in (FIXTURES / tool).iterdir()}
    assert found == set(EXPECTED)


@pytest.mark.parametrize("name", EXPECTED)
def test_known_versions(name: str) -> None:
    counts, waived, passed, score, errors = EXPECTED[name]
    read = report(name)
    judgement = judge(read, Policy())
    assert {severity: count for severity, count in judgement.counts.items() if count} == counts
    assert len(judgement.waived) == waived
    assert (read.passed, read.score, len(read.errors)) == (passed, score, errors)
    assert read.empty == (name in NOTHING_SCANNED)
    assert len(judgement.shown) == len(read.findings)


def test_popeye_says_who_and_what() -> None:
    said = finding("popeye/0.20.0.json", "POP-106")
    assert said["resource"] == {
        "api_version": "v1",
        "kind": "Pod",
        "namespace": "shop",
        "name": "cart-0",
        "container": "cart",
    }
    assert said["message"] == "[POP-106] No resources requests/limits defined"
    assert (said["severity"], said["level"]) == ("medium", "warning")
    assert finding("popeye/0.8.0.json", "POP-202")["resource"]["kind"] == "Pod"
    cluster_role = finding("popeye/0.20.0.json", "POP-400")["resource"]
    assert (cluster_role["namespace"], cluster_role["name"]) == ("", "system:old")
    # The key "error" twice.
    assert [error.partition(" ")[0] for error in report("popeye/0.20.0.json").errors] == ["ingresses:", "nodes"]


def test_popeye_rules_are_about_no_resource() -> None:
    """Popeye's reports have a rule's message only with what it was filled in with."""
    titles = {item.rule.id: item.rule.title for item in report("popeye/0.22.1-recorded-all.json").findings}
    assert titles["POP-106"] == "No resources requests/limits defined"
    assert titles["POP-401"] == 'Key "…" used? Unable to locate key reference'
    assert titles["POP-501"] == "Unhealthy … desired but have … available"
    assert titles["POP-505"] == "At current load, Memory under allocated. Current:… vs Requested:… (…)"
    assert titles["POP-1300"] == "References a ServiceAccount (…) which does not exist"


def test_a_refused_popeye_does_not_pass() -> None:
    """It says score 100, grade A, and ends well; the errors are under one key that repeats."""
    read = report("popeye/0.22.1-recorded-refused.json")
    assert (read.grade, [error.partition(" ")[0] for error in read.errors]) == (
        "A",
        ["deployments.apps", "cronjobs.batch"],
    )
    assert not judge(read, Policy(min_score=90)).passed


def test_popeye_names_that_only_go_may_escape() -> None:
    (found,) = report("popeye/0.22.1-odd-name.json").findings
    assert found.resource.name == "odd\x07\x07\U0001f600\\x41"
    assert found.as_dict("popeye", "")["resource"]["name"] == "odd\\x07\\x07\U0001f600\\x41"


def test_kubescape_joins_results_to_resources() -> None:
    said = finding("kubescape/2.0.150-v2.json", "C-0057")
    assert said["resource"]["api_version"] == "apps/v1"
    assert (said["resource"]["namespace"], said["resource"]["name"]) == ("shop", "cart")
    assert said["level"] == "scoreFactor 8"
    assert said["link"].endswith("/c-0057/")
    assert finding("kubescape/4.0.11.json", "C-0017")["location"] == "deploy/files.yaml"
    assert "and 1 more" in finding("kubescape/2.9.2.json", "C-0057")["message"]
    assert finding("kubescape/3.0.47.json", "C-0099")["severity"] == "high"


@pytest.mark.parametrize("name", [name for name in EXPECTED if name.startswith("kubescape/") and EXPECTED[name][1]])
def test_kubescape_names_its_exceptions(name: str) -> None:
    ((_, reason, waiver),) = judge(report(name), Policy()).waived
    assert reason == "exception in kubescape: accepted-for-cart"
    assert waiver is None


def test_an_alert_is_about_who_does_it() -> None:
    """It names the role and the binding by which the group has its rights, too."""
    (found,) = report("kubescape/1.0.138-alert-on-two-objects.json").findings
    assert found.resource.label == "Group/system:masters"


def test_kubescape_says_why_controls_were_skipped() -> None:
    read = report("kubescape/3.0.1-controls-not-evaluated.json")
    assert read.skipped == 2
    assert read.skips == {
        "This control requires the Kubescape operator installed.": [
            "C-0069 Disable anonymous access to Kubelet service"
        ],
        "failed to get cloud provider, cluster: dev": ["C-0066 Secret/etcd encryption enabled"],
    }
    # What needs an operator is no fault of the scan.
    assert read.errors == [
        "1 control was not evaluated: failed to get cloud provider, cluster: dev: C-0066 Secret/etcd encryption enabled"
    ]
    evaluated = report("kubescape/4.0.11-evaluation-failed.json")
    assert (evaluated.skipped, evaluated.scanned_at) == (1, "")
    assert evaluated.errors == [
        "1 control was not evaluated: evaluation failed, without a reason: C-0057 for 1 resource",
        "1 kind was listed in part: /v1/pods (forbidden)",
    ]


def test_kubescape_reads_what_it_found_in_images() -> None:
    said = finding("kubescape/3.0.34-scan-images.json", "CVE-2026-0001")
    assert (said["resource"]["kind"], said["resource"]["name"]) == ("Image", "shop/web:1.2")
    assert (said["package"], said["remediation"]) == ("openssl@3.0.1", "Update openssl to 3.0.9.")


def test_trivy_says_what_was_scanned() -> None:
    image = report("trivy/0.74.0-end-of-support.json")
    assert image.target == "registry.example/shop/web:1.2"
    assert image.about["Digest"] == "sha256:" + "2" * 64
    assert image.about["Operating system"] == "debian 9.13"
    assert image.scanned_at == ""
    assert report("trivy/0.74.0-vex-affected.json").about == {
        "Repository": "https://git.example/shop",
        "Branch": "main",
        "Commit": "abc123",
    }


def test_trivy_says_who_and_what() -> None:
    said = finding("trivy/0.56.0-fs.json", "CVE-2024-2001")
    assert (said["package"], said["location"]) == ("left-pad@1.0.0", "node_modules/left-pad")
    assert said["remediation"] == "Update left-pad to 1.0.1."
    assert "AWS_KEY" not in str(finding("trivy/0.56.0-fs.json", "aws-access-key-id"))
    assert finding("trivy/0.50.0-k8s-all.json", "KSV001")["resource"]["namespace"] == "shop"
    assert finding("trivy/0.56.0-fs.json", "GHSA-xxxx")["severity"] == "high"
    assert report("trivy/0.74.0-config.json").tool_version == "0.74.0"


def test_trivy_says_where() -> None:
    """A location is a file: what is called so in the report may be a heading or the resource once more."""
    assert finding("trivy/0.74.0-recorded-fs.json", "KSV-0017")["location"] == "k8s/cart.yaml"
    assert finding("trivy/0.74.0-recorded-fs.json", "license-MIT")["location"] == "package-lock.json"
    assert finding("trivy/0.74.0-recorded-image.json", "license-OpenSSL")["location"] == ""
    assert finding("trivy/0.74.0-recorded-image.json", "CVE-2019-1549")["location"] == ""
    assert finding("trivy/0.74.0-recorded-image.json", "CVE-2020-28724")["location"].endswith("/METADATA")
    said = finding("trivy/0.74.0-recorded-k8s-all.json", "KSV-0014")
    assert (said["resource"]["kind"], said["resource"]["name"]) == ("Deployment", "local-path-provisioner")
    # A line of what Kubernetes was asked, which nobody can look up.
    assert (said["location"], said["line"]) == ("", 0)


def test_what_trivy_was_told_to_ignore_has_its_reason() -> None:
    waived = judge(report("trivy/0.74.0-recorded-fs.json"), Policy()).waived
    assert {finding.rule.id: reason for finding, reason, _ in waived} == {
        "CVE-2019-14806": "ignored: only the debugger has it: ignore.yaml",
        "DS-0026": "ignored: the platform checks health: ignore.yaml",
    }


def test_istio_says_who_and_what() -> None:
    for name in ("istioctl/1.8.0.json", "istioctl/1.10.0.json", "istioctl/1.31.0.json"):
        said = finding(name, "IST0101")
        assert (said["resource"]["kind"], said["resource"]["namespace"]) == ("VirtualService", "shop")
        assert said["resource"]["name"] == "web"
        assert said["link"].endswith("/ist0101/")
    assert finding("istioctl/1.10.0.json", "IST0101")["line"] == 12


def test_sarif_is_its_scanners() -> None:
    """Whoever wrote it, its own name is told, and what it says of itself."""
    scanners = {name: report(name).tool for name in EXPECTED if name.startswith("sarif/")}
    assert scanners == {
        "sarif/2.1.0-kube-score-1.20.0.json": "kube-score",
        "sarif/2.1.0-kube-score-1.20.0-clean.json": "kube-score",
        "sarif/2.1.0-govulncheck-1.9.0.json": "govulncheck",
        "sarif/2.1.0-trivy-0.74.0.json": "Trivy",
        "sarif/2.1.0-whole-standard.json": "Checker",
        "sarif/2.1.0-partial.json": "Checker, Linter",
        "sarif/2.1.0-no-runs.json": "sarif",
    }
    whole = report("sarif/2.1.0-whole-standard.json")
    assert (whole.tool_version, whole.scanned_at, whole.target) == (
        "3",
        "2026-11-23T10:00:00Z",
        "https://git.example/shop",
    )
    assert whole.about == {"Branch": "main", "Commit": "abc123"}
    assert report("sarif/2.1.0-govulncheck-1.9.0.json").home.startswith("https://pkg.go.dev/")


def test_sarif_says_where() -> None:
    said = finding("sarif/2.1.0-kube-score-1.20.0.json", "deployment-replicas")
    assert (said["resource"]["kind"], said["resource"]["name"]) == ("File", "shop/web.yaml")
    assert (said["location"], said["line"], said["level"]) == ("shop/web.yaml", 1, "warning")
    said = finding("sarif/2.1.0-whole-standard.json", "C1")
    assert (said["resource"]["kind"], said["resource"]["name"]) == ("module", "shop::web")
    assert (said["location"], said["line"]) == ("src/a b.go", 7)
    assert finding("sarif/2.1.0-whole-standard.json", "C2/1")["location"] == "/srv/shop/b.go"
    # A program has no place.
    said = finding("sarif/2.1.0-govulncheck-1.9.0.json", "GO-2026-0001")
    assert (said["resource"]["name"], said["location"], said["line"]) == ("", "", 0)


def test_sarif_leaves_words_to_rules() -> None:
    said = finding("sarif/2.1.0-whole-standard.json", "C1")
    assert (said["title"], said["message"], said["level"]) == ("*First*", "lock of {web} is open", "error")
    # By the number of a rule in another component, and by a level that a run gave to a rule of a longer id's beginning.
    plugin = finding("sarif/2.1.0-whole-standard.json", "P1")
    assert (plugin["severity"], plugin["title"], plugin["link"]) == ("low", "PluginRule", "https://plugin.example/p1")
    odd = finding("sarif/2.1.0-whole-standard.json", "C2/1")
    assert (odd["message"], odd["severity"]) == ("odd", "low")


def test_sarif_severities() -> None:
    """A score is more telling than a level."""
    said = {item.rule.id: (item.severity, item.level) for item in report("sarif/2.1.0-trivy-0.74.0.json").findings}
    assert said["CVE-2026-0001"] == ("critical", "security-severity 9.8")
    assert said["KSV-0011"] == ("low", "security-severity 2")


def test_sarif_results_that_are_no_findings() -> None:
    whole = report("sarif/2.1.0-whole-standard.json")
    assert (whole.passed, whole.skipped) == (1, 2)
    assert whole.skips == {"not applicable": ["C1"], "somebody has to look at it": ["C2"]}
    assert report("sarif/2.1.0-partial.json").errors == [
        "Checker did not end well: out of memory",
        "Checker: src/big.go was left out",
        "not read: results of Checker that are in other files",
        "C2 could not be evaluated: no types",
    ]


def test_sarif_suppressions() -> None:
    """One that nobody has accepted yet lets nothing pass."""
    waived = judge(report("sarif/2.1.0-whole-standard.json"), Policy()).waived
    assert {item.message: reason for item, reason, _ in waived} == {
        "accepted": "suppressed outside of the source: tried and harmless",
        "accepted in the source": "suppressed in the source: without a reason",
    }


def test_sarif_rules_have_the_names_of_their_flaws() -> None:
    (waiver,) = read_waivers([{"rule": "CVE-2026-1002", "reason": "not called"}], "x")
    judgement = judge(report("sarif/2.1.0-govulncheck-1.9.0.json"), Policy(waivers=[waiver]))
    assert [item.rule.id for item, _, _ in judgement.waived] == ["GO-2026-0002"]
