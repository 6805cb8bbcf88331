# Copyright: cicd.sandbox contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Large reports are decoded in pieces and counted; what comes out is the same as one by one."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Callable
from random import Random
from typing import Any

import pytest
from ansible_collections.cicd.sandbox.plugins.module_utils.reports import stream
from ansible_collections.cicd.sandbox.plugins.module_utils.reports.gate import Policy, judge
from ansible_collections.cicd.sandbox.plugins.module_utils.reports.model import (
    Finding,
    Findings,
    LazyResource,
    ReportError,
    Rule,
)
from ansible_collections.cicd.sandbox.plugins.module_utils.reports.reading import read_report
from ansible_collections.cicd.sandbox.plugins.module_utils.reports.running import answer
from ansible_collections.cicd.sandbox.plugins.module_utils.reports.shared import as_json
from ansible_collections.cicd.sandbox.plugins.module_utils.reports.waivers import read_waivers
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

# The fixture only sets what each example sets again.
QUICK = settings(
    derandomize=True,
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)

ODD_TEXTS = ('],"x":[', '},{"level":3', '"level":3', 'a "level" b', "},\n{", "\\", "é\u2028", "[POP-", "\x1b[31m")


def popeye(chance: Random) -> dict[str, Any]:
    """A report with the usual, and a little of all that is not."""

    def issue() -> Any:
        code = chance.randint(100, 110)
        text = f"[POP-{code}] {chance.choice(ODD_TEXTS) if chance.random() < 0.2 else 'as usual'}"
        usual = {"group": chance.choice(("__root__", "app")), "gvr": "v1/pods", "level": chance.choice((1, 2, 3))}
        odd = chance.random()
        if odd < 0.02:
            usual["level"] = chance.choice((0, "2", None, 7, 2.0, True, False, [], 1.5))
        elif odd < 0.04:
            usual.pop(chance.choice(("group", "level")))
        elif odd < 0.05:
            return chance.choice((None, "text", ["level"], {"level": 2}))
        elif odd < 0.06:
            text = "without a code"
        return {**usual, "message": text}

    def section(linter: str) -> dict[str, Any]:
        names = [f"team-{chance.randint(0, 3)}/pod-{chance.randint(0, 400)}" for _ in range(200)]
        issues: dict[str, Any] = {name: [issue() for _ in range(chance.randint(0, 4))] for name in names}
        if chance.random() < 0.5:
            issues[""] = [{"group": "__root__", "gvr": "x", "level": 3, "message": "refused"}]
            issues["odd"] = chance.choice((None, {}, {"level": 1}, "text"))
        return {"linter": linter, "tally": {"ok": 1}, "issues": issues}

    sections = [section(linter) for linter in ("pods", "pods", "services", "pods")]
    return {"popeye": {"score": 50, "sections": sections}}


def istioctl(chance: Random) -> list[dict[str, Any]]:
    def message(number: int) -> dict[str, Any]:
        item: dict[str, Any] = {
            "code": f"IST{100 + chance.randint(1, 5):04d}",
            "documentationUrl": "https://istio.io/x",
            "level": chance.choice(("Error", "Warning", "Info")),
            "message": chance.choice(ODD_TEXTS) if chance.random() < 0.2 else f"message {number}",
            "origin": f"Service team-{chance.randint(0, 3)}/service-{chance.randint(0, 300)}",
        }
        odd = chance.random()
        if odd < 0.05:
            item["cluster"] = chance.choice(("one", "two", 3))
        elif odd < 0.08:
            item["reference"] = "file.yaml:7"
        elif odd < 0.10:
            item[chance.choice(("level", "origin", "message", "code"))] = chance.choice((None, 3, True, "Fatal", [1]))
        elif odd < 0.11:
            item["code"] = "IST0001"
        elif odd < 0.12:
            del item[chance.choice(("origin", "message"))]
        return item

    return [message(number) for number in range(600)]


def control(chance: Random) -> Any:
    """A control of kubescape's, mostly as usual."""
    number = chance.randint(1, 9)
    status = chance.choice(("failed", "failed", "passed", "skipped"))
    failed = {"failedPath": chance.choice(ODD_TEXTS)}
    rule: dict[str, Any] = {"name": "rule", "status": status, "paths": [failed] * chance.randint(0, 4)}
    item: dict[str, Any] = {"controlID": f"C-{number:04d}", "name": f"control {number}", "rules": [rule]}
    item["status"] = {"status": status}
    odd = chance.random()
    if odd < 0.01:
        rule["exception"] = [{"name": "accepted"}]
    elif odd < 0.02:
        item["status"]["subStatus"] = chance.choice(("w/exceptions", "irrelevant", "new", "", None, []))
    elif odd < 0.03:
        item["status"] = chance.choice(("failed", None, {}, {"status": "odd"}))
    elif odd < 0.06:
        item["severity"] = chance.choice(("Low", "Critical", "Odd", None, 3, [2]))
    elif odd < 0.07:
        item["controlID"] = chance.choice((None, 7, ["C-1"], ""))
    elif odd < 0.08:
        del item[chance.choice(("controlID", "name", "rules", "status"))]
    elif odd < 0.085:
        return chance.choice((None, "text", []))
    return item


def kubescape(chance: Random) -> dict[str, Any]:
    """Results of some, resources of most, a summary that comes last."""

    def result(number: int) -> Any:
        item: dict[str, Any] = {
            "resourceID": f"apps/v1/team-{number % 4}/Deployment/app-{number % 90}",
            "controls": [control(chance) for _ in range(chance.randint(0, 5))],
        }
        odd = chance.random()
        if odd < 0.02:
            item["rawResource"] = {"object": {"kind": "Pod", "metadata": {"name": "raw"}}}
        elif odd < 0.03:
            item[chance.choice(("resourceID", "controls"))] = chance.choice((None, 4, ["x"], {}))
        return item

    def resource(number: int) -> dict[str, Any]:
        found = {"kind": "Deployment", "metadata": {"name": f"app-{number // 2}", "namespace": f"team-{number % 4}"}}
        return {
            "resourceID": f"apps/v1/team-{number % 4}/Deployment/app-{number}",
            "object": found,
            "source": {"relativePath": f"file-{number % 7}.yaml"} if number % 3 else {},
        }

    controls = {f"C-{number:04d}": {"name": f"control {number}", "scoreFactor": number} for number in range(1, 8)}
    return {
        "results": [result(number) for number in range(300)],
        "resources": [resource(number) for number in range(80)],
        "summaryDetails": {"complianceScore": 50, "controls": controls},
    }


MAKERS: dict[str, Callable[[Random], Any]] = {"popeye": popeye, "istioctl": istioctl, "kubescape": kubescape}
DUMPS: dict[str, Callable[[Any], str]] = {
    "compact": lambda value: json.dumps(value, separators=(",", ":")),
    "pretty": lambda value: json.dumps(value, indent="\t"),
    "plain": json.dumps,
}


def outcome(tool: str, text: str, policy: Policy) -> tuple[Any, ...]:
    """Say all that is said of a report: first what a module returns, then everything."""
    try:
        report = read_report(tool, text, "x")
    except ReportError as exc:
        return (str(exc),)
    judgement = judge(report, policy)
    returned = answer(judgement, 7)
    everything = json.loads(as_json(judgement))
    assert judgement.counts == {
        severity: sum(finding.severity == severity for finding in judgement.counting) for severity in judgement.counts
    }
    assert len(report.findings) == len(list(report.findings))
    # The title of popeye's rules is that of the first issue looked at, whichever that is.
    for finding in (*returned["findings"], *returned["waived"], *everything["findings"]):
        finding.pop("title")
    return returned, everything, len(report.findings), report.errors, report.cluster


@pytest.fixture(name="small")
def small_pieces(monkeypatch: pytest.MonkeyPatch) -> Callable[[bool], None]:
    """Choose pieces of a few values, or none at all."""

    def choose(yes: bool) -> None:
        monkeypatch.setattr(stream, "_FEW", 3)
        monkeypatch.setattr(stream, "_PIECE", 200 if yes else 1 << 40)

    return choose


@pytest.mark.parametrize("form", DUMPS)
@pytest.mark.parametrize("tool", MAKERS)
@settings(QUICK, max_examples=4)
@given(chance=st.randoms(use_true_random=True))
def test_pieces_change_nothing(tool: str, form: str, chance: Random, small: Callable[[bool], None]) -> None:
    text = DUMPS[form](MAKERS[tool](chance))
    small(False)
    slowly = outcome(tool, text, Policy())
    small(True)
    assert outcome(tool, text, Policy()) == slowly


@pytest.mark.parametrize("tool", MAKERS)
@settings(QUICK, max_examples=2)
@given(chance=st.randoms(use_true_random=True))
def test_pieces_under_a_policy(tool: str, chance: Random, small: Callable[[bool], None]) -> None:
    """Waivers, namespaces and baselines look at every finding."""
    text = DUMPS["compact"](MAKERS[tool](chance))
    results = []
    for pieces in (False, True):
        small(pieces)
        reason = {"reason": "known", "expires": "2027-01-01"}
        waivers = read_waivers([{"rule": "*3", "resource": "*7", **reason}, {"rule": "nothing", **reason}], "waivers")
        baseline: dict[str, Any] = {
            item["fingerprint"]: item for item in outcome(tool, text, Policy())[1]["findings"][::3]
        }
        today = dt.date(2026, 1, 1)
        policy = Policy(exclude_namespaces=["team-1"], waivers=waivers, baseline=baseline, today=today)
        results.append(outcome(tool, text, policy))
    assert results[0] == results[1]


@pytest.mark.parametrize("tool", MAKERS)
@settings(QUICK, max_examples=2)
@given(chance=st.randoms(use_true_random=True))
def test_broken_in_a_piece(tool: str, chance: Random, small: Callable[[bool], None]) -> None:
    """Errors in the middle are named at the same place."""
    text = DUMPS["pretty"](MAKERS[tool](chance))
    for _ in range(15):
        at = chance.randrange(len(text) // 4, len(text))
        for broken in (text[:at], text[:at] + chance.choice('{}[]",:x\x00') + text[at:]):
            small(False)
            slowly = outcome(tool, broken, Policy())
            small(True)
            assert outcome(tool, broken, Policy()) == slowly


def test_a_name_that_repeats_loses_nothing(small: Callable[[bool], None]) -> None:
    """Of keys that repeat in an object, decoders keep the last."""
    issue = '[{"group":"__root__","level":3,"message":"[POP-106] x"}]'
    issues = ",".join(f'"a/pod-{number % 20}":{issue}' for number in range(200))
    small(True)
    text = f'{{"popeye":{{"sections":[{{"linter":"pods","issues":{{{issues}}}}}]}}}}'
    assert len(read_report("popeye", text, "x").findings) == 200


def test_findings_are_not_made_to_be_counted() -> None:
    def never() -> list[Finding]:
        raise AssertionError("nobody asked for it")

    rule = Rule("R")
    resource = LazyResource("a", lambda raw: ("", "Pod", "", raw))
    findings = Findings()
    findings.append(Finding(rule, "high", resource, "first", "3"))
    findings.later({"low": 3}, never, {"b"})
    findings.append(Finding(rule, "low", resource, "last", "1"))
    findings.later({"high": 1}, lambda: [Finding(rule, "high", resource, "middle", "3")], {"a"})
    assert len(findings) == 6
    assert findings.counts() == {"high": 2, "low": 4}
    assert [finding.message for finding in findings.of_severity("high")] == ["first", "middle"]
    assert [finding.message for finding in findings.of_resources({resource})] == ["first", "last", "middle"]
    with pytest.raises(AssertionError):
        list(findings)
