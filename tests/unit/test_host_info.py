# Copyright: cicd.sandbox contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The module host_info, on a host whose programs are scripts."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from ansible_collections.cicd.sandbox.plugins.modules import host_info
from modules import run_module

UNITS = """\
Id=nginx.service
ActiveState=active
UnitFileState=enabled
NeedDaemonReload=no

Id=haproxy.service
ActiveState=failed
UnitFileState=enabled
NeedDaemonReload=no

Id=etcd.service
ActiveState=active
UnitFileState=disabled
NeedDaemonReload=no

Id=kubelet.service
ActiveState=active
UnitFileState=enabled
NeedDaemonReload=yes

Id=nobody.service
ActiveState=inactive
UnitFileState=
NeedDaemonReload=no
"""
PACKAGES = "installed nginx\nconfig-files haproxy\ninstalled python3\n"


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Systemctl and dpkg-query that say what a file has, and note how they were called."""
    directory = tmp_path / "bin"
    directory.mkdir()
    for name, says in {"systemctl": UNITS, "dpkg-query": PACKAGES}.items():
        (directory / f"{name}.txt").write_text(says)
        (directory / name).write_text(f'#!/bin/sh\necho "$@" >> {directory}/calls\ncat {directory}/{name}.txt\n')
        (directory / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{directory}:/usr/bin:/bin")
    return directory


def test_tells_what_there_is_in_a_call_for_each_program(programs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    units = ["nginx.service", "haproxy.service", "etcd.service", "kubelet.service", "nobody.service"]
    found = run_module("host_info", {"packages": True, "units": units}, capsys)
    assert found["packages"] == ["nginx", "python3"]
    # The others failed, do not start with the host, are known by an older file, or are not there.
    assert found["running"] == ["nginx.service"]
    assert not found["changed"]
    assert (programs / "calls").read_text().count("\nshow ") == 1


def test_asks_for_nothing_unasked(programs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = run_module("host_info", {}, capsys)
    assert (found["running"], found["paths"], found["facts"]) == ([], [], {})
    assert "packages" not in found
    assert not (programs / "calls").exists()


def test_no_unit_runs_where_there_is_no_systemd(
    tmp_path: Path, programs: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (programs / "systemctl").write_text("#!/bin/sh\necho 'System has not been booted with systemd' >&2\nexit 1\n")
    assert run_module("host_info", {"units": ["nginx.service"]}, capsys)["running"] == []
    monkeypatch.setenv("PATH", str(tmp_path))
    assert run_module("host_info", {"units": ["nginx.service"]}, capsys)["running"] == []


def test_finds_files_and_facts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(host_info, "FACTS", tmp_path)
    (tmp_path / "machine.fact").write_text(json.dumps({"provider": "nspawn"}))
    (tmp_path / "others.fact").write_text("[section]\nkey = value\n")
    (tmp_path / "list.fact").write_text("[1]")
    (tmp_path / "applied-1.37.2").touch()
    paths = [f"{tmp_path}/applied-*", f"{tmp_path}/applied-1.37.2", f"{tmp_path}/none"]
    found = run_module("host_info", {"facts": ["machine", "others", "list", "none"], "paths": paths}, capsys)
    assert found["facts"] == {"machine": {"provider": "nspawn"}}
    assert found["paths"] == [f"{tmp_path}/applied-1.37.2"]


def test_volumes_that_are_as_the_kubelet_makes_them(
    programs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    modes = {"made": 0o755, "open": 0o777, "full": 0o755, "closed": 0o700}
    for name, mode in modes.items():
        (tmp_path / "volumes" / name).mkdir(parents=True)
        (tmp_path / "volumes" / name).chmod(mode)
    (tmp_path / "volumes/full/PG_VERSION").touch()
    (tmp_path / "volumes/file").touch(0o755)
    (tmp_path / "volumes/link").symlink_to("made")
    found = run_module("host_info", {"volumes": [f"{tmp_path}/volumes/*", "/nonexistent/*"]}, capsys)
    assert found["empty_volumes"] == [f"{tmp_path}/volumes/made"]
    assert run_module("host_info", {}, capsys)["empty_volumes"] == []
