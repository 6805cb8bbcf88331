# Copyright: cicd.sandbox contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The module that writes one page for all reports of a run."""

from __future__ import annotations

import datetime as dt
import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible.module_utils.testing import patch_module_args
from ansible_collections.cicd.sandbox.plugins.module_utils.reports.gate import Policy, judge
from ansible_collections.cicd.sandbox.plugins.module_utils.reports.page import readable, wrapped
from ansible_collections.cicd.sandbox.plugins.module_utils.reports.reading import READERS, read_report
from ansible_collections.cicd.sandbox.plugins.module_utils.reports.shared import as_json
from ansible_collections.cicd.sandbox.plugins.modules import report_index

FIXTURES = Path(__file__).parent / "fixtures"


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setattr("ansible.module_utils._internal.is_controller", False)

    def runner(*, check: bool = False, **arguments: Any) -> dict[str, Any]:
        with patch_module_args({**arguments, "_ansible_check_mode": check}), pytest.raises(SystemExit):
            report_index.main()
        returned: dict[str, Any] = json.loads(capsys.readouterr().out)
        return returned

    return runner


@pytest.fixture
def reports(tmp_path: Path) -> Path:
    """Give a directory with a report of each tool, and what is none."""
    for tool in READERS:
        path = max((FIXTURES / tool).iterdir())
        judgement = judge(read_report(tool, path.read_bytes(), "x"), Policy(today=dt.date(2026, 11, 29)))
        (tmp_path / f"{tool}.json").write_bytes(as_json(judgement))
    (tmp_path / "trivy.html").write_text("a page")
    (tmp_path / "notes.json").write_text("{}")
    (tmp_path / "broken.json").write_text('{"format": "cicd.sandbox/report-1"')
    return tmp_path


def test_a_directory(run: Any, reports: Path) -> None:
    returned = run(path=str(reports / "index.html"), directory=str(reports))
    assert (returned["changed"], returned["passed"]) == (True, False)
    assert [item["name"] for item in returned["reports"]] == sorted(READERS)
    # SARIF is its scanner's.
    assert {item["tool"] for item in returned["reports"]} == set(READERS) - {"sarif"} | {"Checker"}
    assert all(item["summary"].endswith("passed" if item["passed"] else "failed") for item in returned["reports"])
    assert {item["html_path"] for item in returned["reports"]} == {"", str(reports / "trivy.html")}
    page = (reports / "index.html").read_text()
    assert 'href="./trivy.html"' in page
    assert "<script" not in page
    assert run(path=str(reports / "index.html"), directory=str(reports))["changed"] is False
    documented = yaml.safe_load(report_index.RETURN)
    assert set(documented) == set(returned) - {"changed", "diff", "invocation"}
    assert set(documented["reports"]["contains"]) == set(returned["reports"][0])


def test_a_report_that_is_expected_and_not_there_has_not_passed(run: Any, tmp_path: Path) -> None:
    wanted = [{"json_path": str(tmp_path / "mesh.json"), "name": "mesh"}]
    returned = run(path=str(tmp_path / "index.html"), reports=wanted, check=True)
    assert (returned["changed"], returned["passed"], returned["summary"]) == (
        True,
        False,
        "1 report: 1 failed, 0 passed",
    )
    assert returned["reports"][0]["problem"] == "can't be read: No such file or directory"
    assert not (tmp_path / "index.html").exists()
    (tmp_path / "mesh.json").write_text("[]")
    returned = run(path=str(tmp_path / "index.html"), reports=wanted)
    assert "is no report that these modules wrote" in returned["reports"][0]["problem"]


def test_nothing_has_not_passed(run: Any, tmp_path: Path) -> None:
    returned = run(path=str(tmp_path / "index.html"), directory=str(tmp_path))
    assert (returned["passed"], returned["summary"]) == (False, "no reports")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"directory": "/nonexistent"}, "did the scans write their reports there?"),
        ({"path": "/nonexistent/index.html", "directory": "/tmp"}, "the directory /nonexistent does not exist"),
        ({}, "one of the following is required"),
    ],
)
def test_wrong_arguments(run: Any, tmp_path: Path, arguments: dict[str, Any], words: str) -> None:
    returned = run(**{"path": str(tmp_path / "index.html"), **arguments})
    assert returned["failed"] is True
    assert words in returned["msg"]


def test_arguments_are_documented_and_examples_work(run: Any, reports: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(reports.parent)
    reports.rename("reports")
    for task in yaml.safe_load(report_index.EXAMPLES):
        assert "summary" in run(**task["cicd.sandbox.report_index"])


@pytest.mark.parametrize(
    ("time", "said"),
    [
        ("2026-11-23T14:28:14.791075766Z", "23 November 2026, 14:28 UTC"),
        ("2026-01-01T00:00:00+00:00", "1 January 2026, 00:00 UTC"),
        ("2026-01-01T09:05:00+01:00", "1 January 2026, 09:05 UTC+01:00"),
        ("2026-13-01T09:05:00Z", "2026-13-01T09:05:00Z"),
        ("yesterday", "yesterday"),
        ("", ""),
    ],
)
def test_readable_times(time: str, said: str) -> None:
    assert readable(time) == said


def test_wrapped_names_are_no_markup() -> None:
    assert wrapped("apps/web-7<b>&-x") == "apps/<wbr>web-7&lt;b&gt;&amp;-x"
