# Copyright: cicd.sandbox contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The cache of artifacts: keys, sums, damage, locks, and what a killed process leaves."""

from __future__ import annotations

import itertools
import json
import os
import subprocess
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from ansible_collections.cicd.sandbox.plugins.module_utils.artifacts.cache import (
    SUMS,
    ArtifactError,
    Entry,
    Runner,
    Status,
    content_files,
    content_key,
    format_sums,
    making,
    one_slot,
    parse_sums,
    remove_tree,
    words,
)
from ansible_collections.cicd.sandbox.plugins.module_utils.artifacts.effort import Effort


@pytest.fixture
def entry(tmp_path: Path) -> Entry:
    return Entry(tmp_path, "tool", "1.2.3", "0123abcd")


def make(entry: Entry, **files: str) -> None:
    with making(entry) as partial:
        for name, content in files.items():
            (partial / name).write_text(content)


def test_the_key_knows_content_not_order() -> None:
    assert content_key({"a": 1, "b": [2]}) == content_key({"b": [2], "a": 1})
    assert content_key({"a": 1}) != content_key({"a": 2})
    assert len(content_key({})) == 8


def test_sums_are_read_as_sha256sum_writes_them(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("content")
    text = subprocess.run(["sha256sum", "--binary", "./a"], cwd=tmp_path, capture_output=True, text=True, check=True)
    sums = parse_sums(text.stdout)
    assert list(sums) == ["a"]
    assert parse_sums(format_sums(sums)) == sums


def test_an_entry_appears_whole_or_not_at_all(entry: Entry) -> None:
    def interrupted() -> None:
        with making(entry) as partial:
            (partial / "tool").write_text("half")
            raise ArtifactError("no")

    with pytest.raises(ArtifactError):
        interrupted()
    assert not entry.directory.exists()
    assert not entry.partial.exists()
    assert not entry.usable()

    make(entry, tool="whole", other="too")
    assert entry.usable()
    assert sorted(entry.sums()) == ["other", "tool"]
    assert content_files(entry.directory) == ["other", "tool"]


def test_a_file_that_changed_is_damage(entry: Entry) -> None:
    make(entry, tool="whole")
    assert entry.damage() is None

    tool = entry.directory / "tool"
    before = tool.stat()
    tool.write_text("other")
    assert "tool has the sum" in str(entry.damage())

    # Same size and time: only a thorough look finds it.
    os.utime(tool, ns=(before.st_mtime_ns, before.st_mtime_ns))
    assert entry.damage() is None
    assert "tool has the sum" in str(entry.damage(thorough=True))

    tool.unlink()
    assert entry.damage() == "tool is missing"


def test_a_touched_file_is_no_damage(entry: Entry) -> None:
    make(entry, tool="whole")
    os.utime(entry.directory / "tool", ns=(1, 1))
    assert entry.usable()


def test_damaged_book_keeping_is_damage(entry: Entry) -> None:
    make(entry, tool="whole")
    (entry.directory / SUMS).write_text("0" * 64 + "  tool\n")
    assert entry.damage() == f"{SUMS} was changed"
    (entry.directory / SUMS).write_text("")
    assert "name different files" in str(entry.damage())
    (entry.directory / ".stamp.json").write_text("{")
    assert "can't be read" in str(entry.damage())


def test_a_damaged_entry_is_replaced(entry: Entry) -> None:
    make(entry, tool="whole")
    (entry.directory / "tool").write_text("broken")
    make(entry, tool="whole")
    assert entry.usable()


def test_remnants_of_a_killed_build_give_way(entry: Entry) -> None:
    entry.partial.mkdir(parents=True)
    (entry.partial / "half").write_text("half")
    make(entry, tool="whole")
    assert content_files(entry.directory) == ["tool"]


def test_a_full_disk_is_told(entry: Entry) -> None:
    def full() -> None:
        with making(entry):
            raise OSError(28, "No space left on device")

    with pytest.raises(ArtifactError, match=r"tool 1\.2\.3: .*No space left on device"):
        full()


def test_read_only_folders_can_be_removed(tmp_path: Path) -> None:
    module = tmp_path / "module"
    (module / "inner").mkdir(parents=True)
    (module / "inner" / "file").write_text("")
    (module / "link").symlink_to("/usr")
    (module / "inner").chmod(0o500)
    remove_tree(module)
    assert not module.exists()
    remove_tree(module)


def test_slots_limit_what_runs_at_once(tmp_path: Path) -> None:
    """Each waits in its slot for another one; the log shows that no third was there."""
    pair = threading.Barrier(2)
    log: list[int] = []

    def work(_number: int) -> None:
        with one_slot(tmp_path, 2, interval=0.01):
            log.append(1)
            pair.wait(60)
            log.append(-1)

    # Threads will do: each opens a slot's file for itself, and that is whose the lock is.
    with ThreadPoolExecutor(6) as pool:
        list(pool.map(work, range(6)))
    running = list(itertools.accumulate(log))
    assert running[-1] == 0
    assert max(running) == 2


def test_status_is_read_by_others(entry: Entry) -> None:
    assert Status.read(entry) is None
    status = Status.of(entry)
    status.write(entry, state="building", step="compiling")
    read = Status.read(entry)
    assert read is not None
    assert (read.component, read.state, read.step, read.pid) == ("tool", "building", "compiling", os.getpid())
    entry.status.write_text("{")
    assert Status.read(entry) is None
    entry.status.write_text(json.dumps({"unknown": 1}))
    assert Status.read(entry) is None


def test_a_tools_output_is_kept_and_its_last_words_are_told(entry: Entry) -> None:
    runner = Runner(entry, Status.of(entry), effort=Effort(0))
    assert runner.run(["sh", "-c", "echo out; echo err >&2"], capture=True) == "out\n"
    script = "echo k8s.io/api/core/v1; echo '# example/main'; echo 'main.go:3:5: undefined: x' >&2; exit 2"
    with pytest.raises(ArtifactError) as caught:
        runner.run(["sh", "-c", script])
    assert str(caught.value).splitlines()[1:] == ["# example/main", "main.go:3:5: undefined: x"]
    log = entry.log.read_text()
    assert "err\n" in log
    assert "$ sh -c" in log
    assert "k8s.io/api/core/v1" in log


def test_a_missing_tool_is_told(entry: Entry) -> None:
    with pytest.raises(ArtifactError, match="no-such-tool"):
        Runner(entry, Status.of(entry)).run(["no-such-tool"])


def test_words_leave_progress_out() -> None:
    lines = ["go: downloading example.com/x v1.0.0", "example.com/x/y", "", "x.go:1:1: no", "FAIL"]
    assert words(lines) == ["x.go:1:1: no", "FAIL"]
