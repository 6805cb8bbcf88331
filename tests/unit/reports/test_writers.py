# Copyright: cicd.sandbox contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""JUnit, SARIF, HTML, JSON: valid, and harmless whatever the report says."""

from __future__ import annotations

import datetime as dt
import json
import re
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import jsonschema
import pytest
import xmlschema
from ansible_collections.cicd.sandbox.plugins.module_utils.reports.gate import Judgement, Policy, judge
from ansible_collections.cicd.sandbox.plugins.module_utils.reports.junit import as_junit
from ansible_collections.cicd.sandbox.plugins.module_utils.reports.page import as_html
from ansible_collections.cicd.sandbox.plugins.module_utils.reports.reading import READERS, read_report
from ansible_collections.cicd.sandbox.plugins.module_utils.reports.sarif import as_sarif, is_link
from ansible_collections.cicd.sandbox.plugins.module_utils.reports.shared import as_json, read_baseline
from ansible_collections.cicd.sandbox.plugins.module_utils.reports.waivers import read_waivers

FIXTURES = Path(__file__).parent / "fixtures"
NAMES = [f"{tool}/{path.name}" for tool in READERS for path in sorted((FIXTURES / tool).iterdir())]
EVIL = "<script>alert(1)</script>]]>&\"'\x00\x1b[31m\ud800\u202e\ufffe --> \r\n</title>\u2028"


def judged(name: str, **policy: Any) -> Judgement:
    report = read_report(name.partition("/")[0], (FIXTURES / name).read_bytes(), "x")
    return judge(report, Policy(today=dt.date(2026, 11, 23), **policy))


def evil() -> Judgement:
    """Judge a report in which every text is an attack."""
    issue = {"group": EVIL, "level": 3, "message": f"[POP-1] {EVIL}"}
    section = {"linter": EVIL, "gvr": EVIL, "issues": {f"{EVIL}/{EVIL}": [issue], "": [{"level": 3, "message": EVIL}]}}
    document = {"popeye": {"grade": EVIL, "report_time": EVIL, "sections": [section]}, "ClusterName": EVIL}
    waivers = read_waivers([{"rule": "nothing", "reason": EVIL}], "w")
    return judge(read_report("popeye", json.dumps(document), "x"), Policy(waivers=waivers))


@pytest.fixture(params=[*NAMES, "evil"])
def judgement(request: pytest.FixtureRequest) -> Judgement:
    if request.param == "evil":
        return evil()
    waivers = read_waivers([{"rule": "*", "resource": "*/cart", "reason": "a & b", "expires": "2099-01-01"}], "w")
    return judged(request.param, waivers=waivers)


@pytest.fixture(scope="module")
def sarif_schema() -> Any:
    """Give the validator of OASIS' schema."""
    return jsonschema.Draft4Validator(json.loads((Path(__file__).parent / "schemas/sarif-2.1.0.json").read_text()))


@pytest.fixture(scope="module")
def junit_schema() -> xmlschema.XMLSchema:
    """Give the validator of what both Jenkins' and Ant's schemas ask for."""
    return xmlschema.XMLSchema(str(Path(__file__).parent / "schemas/junit.xsd"))


def test_junit_by_its_schema(judgement: Judgement, junit_schema: xmlschema.XMLSchema) -> None:
    assert [error.reason for error in junit_schema.iter_errors(as_junit(judgement).decode())] == []


def test_its_schema_refuses_other_junit(junit_schema: xmlschema.XMLSchema) -> None:
    good = as_junit(judged("popeye/0.8.0.json")).decode()
    assert junit_schema.is_valid(good)
    for right, wrong in (
        (' hostname="', ' host="'),
        ("<properties/>", ""),
        ("<system-out/>", "<system-out/><system-out/>"),
        ('timestamp="', 'timestamp="on '),
        ('tests="', 'tests="-'),
        ("</failure>", "</failure><failure/>"),
        ('id="1"', 'id="0"'),
    ):
        assert right in good
        assert not junit_schema.is_valid(good.replace(right, wrong)), wrong


def test_junit_adds_up(judgement: Judgement) -> None:
    root = ET.XML(as_junit(judgement))
    suites = list(root)
    for number, suite in enumerate(suites):
        assert suite.get("id") == str(number)
        assert suite.get("tests") == str(len(suite.findall("testcase")))
        assert suite.get("failures") == str(len(suite.findall("testcase/failure")))
        assert suite.get("skipped") == str(len(suite.findall("testcase/skipped")))
    assert len(suites) == 1 + len({finding.resource.namespace for finding in judgement.shown})
    assert sum(int(suite.attrib["tests"]) for suite in suites) == 1 + len(judgement.shown)
    assert (sum(int(suite.attrib["failures"]) for suite in suites) == 0) is judgement.passed
    reasons = [item.attrib["message"] for item in root.iter("skipped")]
    assert len(reasons) == len(judgement.waived)
    assert all("waived: " in reason for reason in reasons)


def test_sarif(judgement: Judgement) -> None:
    """Hold what the schema asks for, and what GitHub asks for beyond it."""
    log = json.loads(as_sarif(judgement))
    assert set(log) == {"$schema", "version", "runs"}
    assert log["version"] == "2.1.0"
    (run,) = log["runs"]
    driver = run["tool"]["driver"]
    # Of SARIF, as far as its scanner said it.
    if judgement.report.tool in set(READERS) - {"sarif"} or judgement.report.home:
        assert urlsplit(driver["informationUri"]).scheme == "https"
    assert len(run["results"]) == len(judgement.shown)
    for rule in driver["rules"]:
        assert rule["id"]
        assert all(rule[key]["text"] for key in ("shortDescription", "fullDescription", "help"))
        assert rule["defaultConfiguration"]["level"] in {"error", "warning", "note"}
        assert 0 < float(rule["properties"]["security-severity"]) <= 10
    names = []
    for result in run["results"]:
        assert driver["rules"][result["ruleIndex"]]["id"] == result["ruleId"]
        assert result["level"] in {"error", "warning", "note"}
        assert result["message"]["text"]
        (location,) = result["locations"]
        physical = location["physicalLocation"]
        assert re.fullmatch(r"[A-Za-z0-9._~%-]+(/[A-Za-z0-9._~%-]+)*", physical["artifactLocation"]["uri"])
        assert physical["region"]["startLine"] >= 1
        names.append(result["partialFingerprints"]["cicdSandbox/v1"])
        for suppression in result.get("suppressions", ()):
            assert suppression["kind"] == "external"
            assert suppression["justification"]
    assert len(set(names)) == len(names)
    assert sum("suppressions" in result for result in run["results"]) == len(judgement.waived)


def test_sarif_by_its_schema(judgement: Judgement, sarif_schema: Any) -> None:
    assert [error.message for error in sarif_schema.iter_errors(json.loads(as_sarif(judgement)))] == []


def test_sarif_is_read_again(judgement: Judgement) -> None:
    """What counts and what is waived is the same, with the severities that it had."""
    again = judge(read_report("sarif", as_sarif(judgement), "x"), Policy())
    assert again.report.tool == judgement.report.tool
    assert again.counts == judgement.counts
    assert len(again.waived) == len(judgement.waived)


def test_sarif_names_what_is_new() -> None:
    assert {
        result["baselineState"] for result in json.loads(as_sarif(judged(NAMES[0], baseline={})))["runs"][0]["results"]
    } == {"new"}


def test_html_has_no_markup_of_the_report() -> None:
    page = as_html(evil()).decode()
    assert page.count("<script") == 2
    assert page.count("</script>") == 2
    assert "alert(1)<" not in page
    assert "\x1b" not in page
    assert "\x00" not in page
    data = json.loads(page.partition('id="data">')[2].partition("</script>")[0])
    assert "<script>alert(1)</script>" in data["rows"][0][4]
    for address in re.findall(r"(?:src|href)=", page):
        pytest.fail(address)


def test_html_of_all(judgement: Judgement) -> None:
    page = as_html(judgement).decode()
    assert ("The gate is open" in page) is judgement.passed
    assert page.startswith("<!doctype html>")
    assert "Content-Security-Policy" in page


def test_json_of_all(judgement: Judgement) -> None:
    document = json.loads(as_json(judgement))
    statuses = [item["status"] for item in document["findings"]]
    assert statuses.count("counts") == sum(document["counts"].values())
    assert statuses.count("waived") == len(judgement.waived)
    assert as_json(judgement).isascii()
    # Made in parts of text, it is what each finding says of itself.
    names = judgement.names()
    shown = {
        names[id(finding)]: finding.as_dict(judgement.report.tool, names[id(finding)]) for finding in judgement.shown
    }
    for item in document["findings"]:
        assert {key: item[key] for key in item if key not in {"status", "reason", "expires"}} == shown[
            item["fingerprint"]
        ]
        assert list(item) == sorted(item)


def test_json_is_a_baseline(judgement: Judgement) -> None:
    """Read line by line, it is the same as decoded."""
    tool, data = judgement.report.tool, as_json(judgement)
    quick = read_baseline(tool, data, "b")
    slow = read_baseline(tool, json.dumps(json.loads(data)).encode(), "b")
    assert {name: dict(item) for name, item in quick.items()} == {name: dict(item) for name, item in slow.items()}
    assert all(item["severity"] == slow[name]["severity"] for name, item in quick.items())
    assert len(quick) == len(judgement.shown) - len(judgement.waived)


@pytest.mark.parametrize(
    ("text", "is_one"),
    [
        ("https://istio.io/latest/docs/#x?y=1", True),
        ("javascript:alert(1)", False),
        ("https://a b", False),
        ("https://a/\n", False),
        ('https://a/"onclick=', False),
        ("//a/b", False),
        ("", False),
    ],
)
def test_links(text: str, is_one: bool) -> None:
    assert is_link(text) is is_one
