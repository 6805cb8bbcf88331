# Copyright: cicd.sandbox contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Files that are replaced in one step."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from ansible_collections.cicd.sandbox.plugins.module_utils.host import files


def test_a_file_is_written_only_when_it_differs(tmp_path: Path) -> None:
    path = tmp_path / "a" / "b"
    assert files.write_changed(path, "x", 0o600)
    assert not files.write_changed(path, "x", 0o600)
    assert files.write_changed(path, "x", 0o644)
    assert files.write_changed(path, "y", 0o644)
    assert [entry.name for entry in path.parent.iterdir()] == ["b"]


def test_a_writer_that_fails_leaves_the_file_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "b"
    files.write(path, "old")
    with pytest.raises(UnicodeEncodeError):
        files.write(path, "new\ud800")
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_what_a_killed_writer_left_is_used_again(tmp_path: Path) -> None:
    path = tmp_path / "b"
    partial = tmp_path / ".b.partial"
    partial.write_text("half of a longer text")
    partial.chmod(0o644)
    with files.replacing(path, 0o640) as stream:
        assert partial.stat().st_mode & 0o777 == 0o600
        stream.write(b"new")
    assert (path.read_text(), path.stat().st_mode & 0o777) == ("new", 0o640)
    assert list(tmp_path.iterdir()) == [path]


def test_writers_at_the_same_time_write_whole_files(tmp_path: Path) -> None:
    path = tmp_path / "b"
    texts = [str(number) * 100_000 for number in range(8)]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda text: files.write(path, text), texts * 4))
    assert path.read_text() in texts
    assert list(tmp_path.iterdir()) == [path]


def test_bytes_that_are_no_text_stay_what_they_were(tmp_path: Path) -> None:
    path = tmp_path / "b"
    path.write_bytes(b"caf\xe9\n")
    text = path.read_text(encoding="utf-8", errors="surrogateescape")
    assert not files.write_changed(path, text, path.stat().st_mode & 0o7777)
    files.write(path, text)
    assert path.read_bytes() == b"caf\xe9\n"
