# Copyright: cicd.sandbox contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Kernel settings of the host that sandboxes need, and that are as they were when the last one has gone."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from ansible_collections.cicd.sandbox.plugins.module_utils.host import settings
from ansible_collections.cicd.sandbox.plugins.module_utils.host.settings import SettingsError, Wanted, ensure

NAME = "fs.inotify.max_user_instances"
MANY = Wanted(NAME, minimum=8192)
FORWARDING = Wanted("net.ipv4.ip_forward", value="1")


@pytest.fixture
def kernel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Give the files of a kernel's settings."""
    for name, text in {"fs/inotify/max_user_instances": "128\n", "net/ipv4/ip_forward": "0\n"}.items():
        (tmp_path / "sys" / name).parent.mkdir(parents=True)
        (tmp_path / "sys" / name).write_text(text)
    monkeypatch.setattr(settings, "SYSCTLS", tmp_path / "sys")
    return tmp_path / "sys"


@pytest.fixture
def record(tmp_path: Path) -> Path:
    return tmp_path / "cicd-sandbox/host-settings.json"


def value(kernel: Path, name: str = NAME) -> str:
    return (kernel / name.replace(".", "/")).read_text().strip()


def put(kernel: Path, text: str) -> None:
    (kernel / NAME.replace(".", "/")).write_text(f"{text}\n")


def test_what_is_raised_is_set_back_and_nothing_is_left(kernel: Path, record: Path) -> None:
    assert [str(change) for change in ensure(record, "dev", [MANY, FORWARDING])] == [
        f"{NAME}: 128 -> 8192",
        "net.ipv4.ip_forward: 0 -> 1",
    ]
    assert (value(kernel), value(kernel, FORWARDING.name)) == ("8192", "1")
    assert ensure(record, "dev", [MANY, FORWARDING]) == []
    assert [str(change) for change in ensure(record, "dev", [])] == [
        f"{NAME}: 8192 -> 128",
        "net.ipv4.ip_forward: 1 -> 0",
    ]
    assert (value(kernel), value(kernel, FORWARDING.name)) == ("128", "0")
    assert not record.parent.exists()
    assert ensure(record, "dev", []) == []


@pytest.mark.parametrize("found", ["8192", "65536"])
def test_what_is_good_is_neither_written_nor_remembered(kernel: Path, record: Path, found: str) -> None:
    put(kernel, found)
    assert ensure(record, "dev", [MANY]) == []
    assert not record.exists()
    assert ensure(record, "dev", []) == []
    assert value(kernel) == found


def test_a_check_changes_nothing(kernel: Path, record: Path) -> None:
    assert len(ensure(record, "dev", [MANY], dry_run=True)) == 1
    assert value(kernel) == "128"
    assert not record.parent.exists()
    ensure(record, "dev", [MANY])
    assert len(ensure(record, "dev", [], dry_run=True)) == 1
    assert value(kernel) == "8192"
    assert json.loads(record.read_text())[NAME]["sandboxes"] == ["dev"]


@pytest.mark.parametrize("first", ["dev", "t-site"])
def test_the_last_of_two_sandboxes_sets_it_back(kernel: Path, record: Path, first: str) -> None:
    ensure(record, "dev", [MANY])
    ensure(record, "t-site", [MANY])
    last = {"dev": "t-site", "t-site": "dev"}[first]
    assert ensure(record, first, []) == []
    assert value(kernel) == "8192"
    assert len(ensure(record, last, [])) == 1
    assert value(kernel) == "128"


def test_a_second_sandbox_that_needs_more_does_not_hide_what_was_before(kernel: Path, record: Path) -> None:
    ensure(record, "dev", [MANY])
    ensure(record, "t-site", [Wanted(NAME, minimum=16384)])
    ensure(record, "t-site", [])
    assert value(kernel) == "16384"
    ensure(record, "dev", [])
    assert value(kernel) == "128"


@pytest.mark.parametrize("since", ["512", "65536"])
def test_what_others_have_set_since_stays_and_is_told(kernel: Path, record: Path, since: str) -> None:
    ensure(record, "dev", [MANY])
    put(kernel, since)
    changes = ensure(record, "dev", [])
    assert [str(change) for change in changes] == [f"{NAME} stays {since}, which was set by others since"]
    assert value(kernel) == since
    assert not record.exists()


def test_after_a_boot_what_was_before_is_what_the_host_has_then(kernel: Path, record: Path) -> None:
    ensure(record, "dev", [MANY])
    put(kernel, "256")
    assert [str(change) for change in ensure(record, "dev", [MANY])] == [f"{NAME}: 256 -> 8192"]
    ensure(record, "dev", [])
    assert value(kernel) == "256"
    ensure(record, "dev", [MANY])
    put(kernel, "256")
    assert ensure(record, "dev", []) == []
    assert value(kernel) == "256"


def test_a_run_that_is_killed_before_it_wrote_leaves_nothing_unknown(
    kernel: Path, record: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(name: str, text: str) -> None:
        raise KeyboardInterrupt

    real = settings._set
    monkeypatch.setattr(settings, "_set", killed)
    with pytest.raises(KeyboardInterrupt):
        ensure(record, "dev", [MANY])
    assert json.loads(record.read_text())[NAME]["before"] == "128"
    assert ensure(record, "dev", []) == []
    assert not record.exists()
    monkeypatch.setattr(settings, "_set", real)
    ensure(record, "dev", [MANY])
    monkeypatch.setattr(settings, "_remember", killed)
    with pytest.raises(KeyboardInterrupt):
        ensure(record, "dev", [])
    assert value(kernel) == "128"
    monkeypatch.undo()
    monkeypatch.setattr(settings, "SYSCTLS", kernel)
    assert ensure(record, "dev", []) == []
    assert not record.exists()


def test_what_a_sandbox_no_longer_needs_is_set_back(kernel: Path, record: Path) -> None:
    ensure(record, "dev", [MANY, FORWARDING])
    assert [change.name for change in ensure(record, "dev", [MANY])] == [FORWARDING.name]
    assert (value(kernel), value(kernel, FORWARDING.name)) == ("8192", "0")


def test_what_the_directory_has_besides_stays(record: Path, kernel: Path) -> None:
    (record.parent / "dev").mkdir(parents=True)
    ensure(record, "dev", [MANY])
    ensure(record, "dev", [])
    assert [path.name for path in record.parent.iterdir()] == ["dev"]


def test_a_setting_that_the_kernel_lacks_is_named(kernel: Path, record: Path) -> None:
    with pytest.raises(SettingsError, match=r"fs\.none: this kernel does not tell it"):
        ensure(record, "dev", [Wanted("fs.none", minimum=1)])
    assert not record.parent.exists()


@pytest.mark.parametrize("text", ["", "[]", "{", '{"a": 1}', '{"a": {"before": "1"}}'])
def test_a_broken_record_is_named(kernel: Path, record: Path, text: str) -> None:
    record.parent.mkdir()
    record.write_text(text)
    with pytest.raises(SettingsError, match=r"host-settings\.json can't be read"):
        ensure(record, "dev", [MANY])
    assert value(kernel) == "128"
