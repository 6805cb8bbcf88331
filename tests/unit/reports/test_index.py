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


def counted_report(path: Path, *, passed: bool = True, **counts: int) -> None:
    document = {
        "format": "cicd.sandbox/report-1",
        "tool": "Checker",
        "gate": {"passed": passed, "reasons": []},
        "counts": counts,
    }
    path.write_text(json.dumps(document))


def test_how_findings_went_is_remembered(run: Any, tmp_path: Path) -> None:
    report, history, page = tmp_path / "web.json", tmp_path / "history.json", tmp_path / "index.html"
    wanted = {
        "path": str(page),
        "reports": [{"json_path": str(report)}],
        "history_path": str(history),
        "history_size": 3,
    }
    counted_report(report, high=2)
    first = run(**wanted)
    assert [item["reports"]["web"]["counts"]["high"] for item in first["history"]] == [2]
    assert "first run" in page.read_text()
    assert "Runs that ended differently" not in page.read_text()
    # Nothing is added by a run that found the same.
    again = run(**wanted)
    assert (again["changed"], again["history"]) == (False, first["history"])
    counted_report(report, passed=False, high=7)
    kept = history.read_text()
    shown = run(**wanted, check=True)
    assert (shown["changed"], len(shown["history"]), len(shown["diff"])) == (True, 2, 2)
    assert history.read_text() == kept
    run(**wanted)
    assert "+5" in page.read_text()
    assert "failed: web" in page.read_text()
    counted_report(report, low=3)
    run(**wanted)
    assert "\N{MINUS SIGN}4" in page.read_text()
    # Of a report that is not there nobody knows how many findings it has, and a line is drawn of the others.
    report.unlink()
    last = run(**wanted)
    assert [item["reports"]["web"]["counts"] is None for item in last["history"]] == [False, False, True]
    assert "no report" in page.read_text()
    assert page.read_text().count("<polyline") == 1
    assert "<script" not in page.read_text()


def test_a_history_that_is_somebody_elses_is_left_alone(run: Any, reports: Path) -> None:
    other = reports / "history.json"
    other.write_text('{"runs": []}')
    returned = run(path=str(reports / "index.html"), directory=str(reports), history_path=str(other))
    assert f"history_path: {other} is no history that this module wrote" in returned["msg"]
    assert other.read_text() == '{"runs": []}'
    assert not (reports / "index.html").exists()


def test_a_history_that_can_not_be_meant_is_refused(run: Any, reports: Path) -> None:
    page = str(reports / "index.html")
    for said, wrong in {
        "history_path and path are the same file": {"history_path": page},
        "history_size: 0 is less than one run": {"history_path": str(reports / "history.json"), "history_size": 0},
        "is a directory": {"history_path": str(reports)},
    }.items():
        assert said in run(path=page, directory=str(reports), **wrong)["msg"]
    twice = [{"json_path": str(reports / "trivy.json"), "name": name} for name in ("image", "image")]
    returned = run(path=page, reports=twice, history_path=str(reports / "history.json"))
    assert "reports: image is there twice" in returned["msg"]
