# Copyright: cicd.sandbox contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The filter free_gib."""

from __future__ import annotations

import os
from pathlib import Path
from types import SimpleNamespace

import pytest
from ansible_collections.cicd.sandbox.plugins.filter.free_gib import free_gib


def test_asks_the_nearest_directory_that_is_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Path] = []

    def statvfs(path: Path) -> SimpleNamespace:
        asked.append(path)
        # A byte less than 3 GiB; more of it is root's.
        return SimpleNamespace(f_bavail=3 * (1 << 18) - 1, f_bfree=1 << 30, f_frsize=4096)

    monkeypatch.setattr(os, "statvfs", statvfs)
    assert free_gib(f"{tmp_path}/cache/of/ours") == 2
    (tmp_path / "cache").mkdir()
    free_gib(f"{tmp_path}/cache/of/ours")
    (tmp_path / "cache/of").write_text("a file")
    free_gib(f"{tmp_path}/cache/of/ours")
    assert asked == [tmp_path, tmp_path / "cache", tmp_path / "cache"]
