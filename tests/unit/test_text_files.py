# Copyright: cicd.sandbox contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The module text_files: many files in one task."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from ansible.module_utils.testing import patch_module_args
from ansible_collections.cicd.sandbox.plugins.modules import text_files


def run(capsys: pytest.CaptureFixture[str], *files: dict[str, Any], **arguments: Any) -> dict[str, Any]:
    with patch_module_args({"files": list(files), **arguments}), pytest.raises(SystemExit):
        text_files.main()
    answer: dict[str, Any] = json.loads(capsys.readouterr().out)
    return answer


def test_writes_and_leaves_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    one = {"path": str(tmp_path / "etc/one.conf"), "content": "a\n"}
    two = {"path": str(tmp_path / "two.key"), "content": "secret\n", "mode": "0600"}
    first = run(capsys, one, two)
    assert first["changed_paths"] == [one["path"], two["path"]]
    assert (tmp_path / "etc/one.conf").read_text() == "a\n"
    assert (tmp_path / "two.key").stat().st_mode & 0o777 == 0o600
    second = run(capsys, one, two)
    assert (second["changed"], second["changed_paths"]) == (False, [])
    third = run(capsys, one | {"content": "b\n"}, two)
    assert third["changed_paths"] == [one["path"]]
    assert (third["diff"][0]["before"], third["diff"][0]["after"]) == ("a\n", "b\n")
    assert [path.name for path in tmp_path.rglob(".*")] == []


def test_sets_a_mode_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "file"
    path.write_text("a\n")
    path.chmod(0o644)
    assert run(capsys, {"path": str(path), "content": "a\n", "mode": "0600"})["changed"]
    assert path.stat().st_mode & 0o777 == 0o600


def test_check_mode_changes_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    there = tmp_path / "there"
    there.write_text("a\n")
    answer = run(
        capsys,
        {"path": str(tmp_path / "new/file"), "content": "a\n"},
        {"path": str(there), "state": "absent"},
        _ansible_check_mode=True,
    )
    assert len(answer["changed_paths"]) == 2
    assert [path.name for path in tmp_path.iterdir()] == ["there"]


def test_leaves_what_is_there_where_it_is_told_to(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = {"path": str(tmp_path / "file"), "content": "a\n", "force": False}
    assert run(capsys, file)["changed"]
    assert not run(capsys, file | {"content": "b\n", "mode": "0600"})["changed"]
    assert (tmp_path / "file").read_text() == "a\n"
    assert (tmp_path / "file").stat().st_mode & 0o777 == 0o644
    assert run(capsys, file | {"state": "absent"})["changed"]


def test_a_text_that_is_refused_changes_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "web server.conf"
    file = {"path": str(path), "validate": "grep -q 'is good' %s"}
    assert run(capsys, file | {"content": "this is good\n"})["changed"]
    refused = run(capsys, file | {"content": "this is bad\n", "validate": "sh -c 'echo line 1 >&2; false' %s"})
    assert refused["failed"]
    assert str(path) in refused["msg"]
    assert "line 1" in refused["msg"]
    assert [(item.name, item.read_text()) for item in tmp_path.iterdir()] == [(path.name, "this is good\n")]
    # What is as it has to be is not checked again.
    assert not run(capsys, file | {"content": "this is good\n", "validate": "false"})["changed"]
    assert run(capsys, file | {"content": "this is bad\n"}, _ansible_check_mode=True)["changed"]


def test_removes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "file"
    path.write_text("a\n")
    assert run(capsys, {"path": str(path), "state": "absent"})["changed"]
    assert not run(capsys, {"path": str(path), "state": "absent"})["changed"]
    assert not path.exists()


def test_tells_no_secret(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = {"path": str(tmp_path / "key"), "content": "s3cr3t\n", "sensitive": True}
    with patch_module_args({"files": [file], "_ansible_diff": True}), pytest.raises(SystemExit):
        text_files.main()
    out = capsys.readouterr().out
    assert "s3cr3t" not in out
    assert "(sensitive" in out


def test_names_the_file_that_it_can_not_write(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").write_text("")
    answer = run(capsys, {"path": str(tmp_path / "file/below"), "content": ""})
    assert answer["failed"]
    assert answer["msg"].startswith(f"{tmp_path}/file/below: ")


def test_wants_content(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "content" in run(capsys, {"path": str(tmp_path / "file")})["msg"]
