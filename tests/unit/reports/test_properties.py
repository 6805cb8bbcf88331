# Copyright: cicd.sandbox contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""No JSON value crashes a parser, and counts add up."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.cicd.sandbox.plugins.module_utils.reports.gate import Policy, judge
from ansible_collections.cicd.sandbox.plugins.module_utils.reports.model import Report, ReportError, fingerprints
from ansible_collections.cicd.sandbox.plugins.module_utils.reports.outputs import WRITERS
from ansible_collections.cicd.sandbox.plugins.module_utils.reports.reading import READERS, read_report
from ansible_collections.cicd.sandbox.plugins.module_utils.reports.severity import SEVERITIES
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

FIXTURES = Path(__file__).parent / "fixtures"
DOCUMENTS = {
    f"{tool}/{path.name}": path.read_text() for tool in READERS for path in sorted((FIXTURES / tool).iterdir())
}
VALID = {name: json.loads(text) for name, text in DOCUMENTS.items() if "odd-name" not in name}


def keys_of(value: Any) -> set[str]:
    if isinstance(value, dict):
        return set(value) | {key for item in value.values() for key in keys_of(item)}
    return {key for item in value for key in keys_of(item)} if isinstance(value, list) else set()


# The tools' own keys, so that made-up documents get past the first look.
KEYS = sorted(key for key in set().union(*map(keys_of, VALID.values())) if key.isidentifier())
SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(KEYS), inner, max_size=5),
    max_leaves=20,
)
QUICK = settings(
    derandomize=True, max_examples=50, deadline=None, database=None, suppress_health_check=[HealthCheck.too_slow]
)


def check(report: Report) -> None:
    """Hold what has to be true of any report."""
    judgement = judge(report, Policy(max_findings={"low": 1}))
    assert sum(judgement.counts.values()) == len(judgement.counting)
    assert len(report.findings) == len(judgement.counting) + len(judgement.waived)
    assert {finding.severity for finding in report.findings} <= set(SEVERITIES)
    names = fingerprints(report.tool, report.findings, report.findings)
    assert len(set(names)) == len(names)
    # A few have the names that all have.
    assert fingerprints(report.tool, report.findings[1:3], report.findings) == names[1:3]
    assert report.score is None or abs(report.score) < float("inf")
    for writer in WRITERS.values():
        "".join(writer(judgement)).encode()


def attempt(tool: str, data: bytes | str) -> None:
    """Read what may be no report: then it is said so, and nothing else happens."""
    try:
        report = read_report(tool, data, "x")
    except ReportError as exc:
        problem = str(exc)
    else:
        check(report)
        return
    assert problem.startswith("x ")


@pytest.mark.parametrize("tool", READERS)
@QUICK
@given(value=VALUES)
def test_any_value(tool: str, value: Any) -> None:
    attempt(tool, json.dumps(value))


@pytest.mark.parametrize("name", VALID)
@settings(QUICK, max_examples=10)
@given(data=st.data())
def test_mutated_fixtures(name: str, data: st.DataObject) -> None:
    """Any value in the place of any other."""
    document = json.loads(DOCUMENTS[name])
    whole = [document]
    parent: Any = whole
    key: Any = 0
    while isinstance(parent[key], (dict, list)) and parent[key] and data.draw(st.integers(0, 7)):
        parent = parent[key]
        key = data.draw(st.sampled_from(sorted(parent) if isinstance(parent, dict) else range(len(parent))))
    parent[key] = data.draw(VALUES)
    tool = name.partition("/")[0]
    attempt(tool, json.dumps(whole[0]))


@pytest.mark.parametrize("name", VALID)
def test_missing_keys(name: str) -> None:
    """Every key may be missing: one after the other is taken away."""
    paths: list[tuple[Any, ...]] = []

    def walk(value: Any, path: tuple[Any, ...]) -> None:
        items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
        for key, item in items:
            if isinstance(value, dict):
                paths.append((*path, key))
            walk(item, (*path, key))

    walk(VALID[name], ())
    for path in paths:
        document = json.loads(DOCUMENTS[name])
        parent = document
        for key in path[:-1]:
            parent = parent[key]
        del parent[path[-1]]
        try:
            report = read_report(name.partition("/")[0], json.dumps(document), "x")
        except ReportError:
            continue
        judge(report, Policy())


@pytest.mark.parametrize("tool", READERS)
@settings(QUICK, max_examples=60)
@given(data=st.binary(max_size=60) | st.text(max_size=60).map(str.encode))
def test_any_bytes(tool: str, data: bytes) -> None:
    attempt(tool, data)


@pytest.mark.parametrize("name", VALID)
def test_order_of_keys_does_not_matter(name: str) -> None:
    def turned(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: turned(item) for key, item in reversed(list(value.items()))}
        return [turned(item) for item in value] if isinstance(value, list) else value

    tool = name.partition("/")[0]
    here, there = (read_report(tool, json.dumps(value), "x") for value in (VALID[name], turned(VALID[name])))
    names = [sorted(fingerprints(tool, report.findings, report.findings)) for report in (here, there)]
    assert names[0] == names[1]
