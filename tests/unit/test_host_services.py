# Copyright: cicd.sandbox contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Services of a host that do not run, and what they wrote last."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import pytest
from ansible_collections.cicd.sandbox.plugins.module_utils.host import services
from modules import run_module

SHOWN = """\
Id=etcd.service
LoadState=loaded
ActiveState=activating
SubState=start
Result=exit-code
NRestarts=2

Id=haproxy.service
LoadState=loaded
ActiveState=active
SubState=running
Result=success
NRestarts=0
"""


def run(line: Sequence[str]) -> tuple[int, str]:
    if line[0] == "systemctl":
        assert line[-3:] == ["--", "etcd", "haproxy"]
        return 0, SHOWN
    assert line[:2] == ["journalctl", "--unit=etcd.service"]
    return 0, "one\n\ntwo\n" + "x" * 400


def test_what_does_not_run_is_said_with_its_last_words() -> None:
    told = services.problems(["etcd", "haproxy"], [], 3, run)
    assert told[:3] == [
        "etcd.service is activating (exit-code, start), after 2 restarts. It wrote last:",
        "  one",
        "  two",
    ]
    assert (len(told), len(told[3])) == (4, 302)


@pytest.mark.parametrize(
    ("unit", "words"),
    [
        ({"LoadState": "loaded", "ActiveState": "active"}, ""),
        ({"LoadState": "loaded", "ActiveState": "inactive"}, "a is inactive"),
        ({"LoadState": "not-found", "ActiveState": "inactive"}, "a is not there (not-found)"),
        ({"LoadState": "masked", "ActiveState": "inactive"}, "a is not there (masked)"),
        (
            {"LoadState": "loaded", "ActiveState": "failed", "Result": "exit-code", "NRestarts": "1"},
            "a is failed (exit-code), after 1 restart",
        ),
    ],
)
def test_states(unit: dict[str, str], words: str) -> None:
    assert services.unit_problem({"Id": "a", **unit}) == words


def test_of_several_logs_the_newest_speaks(tmp_path: Path) -> None:
    for number, text in enumerate(["old", "2026-01-01T00:00:00Z stderr F Error: unknown flag\nplain\n"]):
        (tmp_path / f"{number}.log").write_text(text, encoding="utf-8")
        os.utime(tmp_path / f"{number}.log", (number, number))
    (tmp_path / "empty").touch()
    (tmp_path / "directory").mkdir()
    logs = [str(tmp_path / pattern) for pattern in ("*.log", "empty", "directory", "nothing*")]
    assert services.problems([], logs, 5, run) == [
        f"{tmp_path}/1.log ends with:",
        "  Error: unknown flag",
        "  plain",
        f"{tmp_path}/empty is empty",
    ]


def test_the_module_says_so_on_a_host_without_systemd(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "log").write_text("last", encoding="utf-8")
    monkeypatch.setenv("PATH", str(tmp_path))
    result = run_module("host_services_info", {"units": ["etcd"], "logs": [str(tmp_path / "lo*")]}, capsys)
    assert result["problems"] == [f"{tmp_path}/log ends with:", "  last"]
    assert not result["changed"]
