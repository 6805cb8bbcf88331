# Copyright: cicd.sandbox contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Commands of the host, and its trees."""

from __future__ import annotations

from pathlib import Path

import pytest
from ansible_collections.cicd.sandbox.plugins.module_utils.nspawn import system
from ansible_collections.cicd.sandbox.plugins.module_utils.nspawn.system import NspawnError


def test_trees_are_removed_with_all_that_is_in_them(tmp_path: Path) -> None:
    kept = tmp_path / "kept"
    kept.mkdir()
    for name in ("one", "two"):
        deep = tmp_path / name / "a/b/c/d/e/f/g"
        deep.mkdir(parents=True)
        (deep / "file").write_text("x")
        (tmp_path / name / "a/link").symlink_to(kept)
    system.remove_trees([tmp_path / "one", tmp_path / "two"])
    assert list(tmp_path.iterdir()) == [kept]
    system.remove_trees([])


def test_a_command_that_is_missing_or_fails_is_named() -> None:
    with pytest.raises(NspawnError, match="no-such-program is not installed"):
        system.run(["no-such-program"])
    with pytest.raises(NspawnError, match="false ended with 1"):
        system.run(["false"])
