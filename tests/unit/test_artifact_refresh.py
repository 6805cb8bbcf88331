# Copyright: cicd.sandbox contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Images that others start from get security updates: they are made anew when they are too old."""

from __future__ import annotations

import json
import os
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from ansible.module_utils.testing import patch_module_args
from ansible_collections.cicd.sandbox.plugins.module_utils.artifacts.cache import STAMP, Entry, making
from ansible_collections.cicd.sandbox.plugins.module_utils.artifacts.catalogue import Catalogue, open_catalogue
from ansible_collections.cicd.sandbox.plugins.module_utils.artifacts.refresh import outdated, refresh
from ansible_collections.cicd.sandbox.plugins.modules import artifacts_queue

NOW = datetime(2026, 11, 29, 12, tzinfo=UTC)
BASE, PYTHON, OWN = "docker.io/library/debian:trixie-slim", "docker.io/library/python:3", "sandbox.internal/own:1"


@pytest.fixture
def values(tmp_path: Path) -> dict[str, Any]:
    """A catalogue of a base, an official image that starts from it, and one of ours."""
    for name, base in {"debian": "scratch", "python": BASE, "own": PYTHON}.items():
        (tmp_path / "images" / name).mkdir(parents=True)
        (tmp_path / "images" / name / "Containerfile").write_text(f"FROM {base}\n")
    images = {
        "debian": {"reference": BASE, "containerfile": "debian", "debootstrap": {"suite": "trixie"}},
        "python": {"reference": PYTHON, "containerfile": "python"},
        "own": {"reference": OWN, "containerfile": "own", "official": False},
    }
    return {
        "components": {name: {"version": "1", "images": [image]} for name, image in images.items()},
        "cache": str(tmp_path / "cache"),
        "source": "build",
        "collection": str(tmp_path),
        "go": {"minimum": "1.26", "fallback": "1.26.5"},
    }


def entries(catalogue: Catalogue) -> list[Entry]:
    return [entry for name in ("debian", "python", "own") for entry in catalogue.plan(name).entries]


def make(catalogue: Catalogue, made: datetime) -> None:
    """Have all of it in the cache, made at a time."""
    for entry in entries(catalogue):
        with making(entry) as partial:
            (partial / "layer").write_text("layer")
        os.utime(entry.directory / STAMP, (made.timestamp(), made.timestamp()))


def test_a_base_that_is_too_old_is_made_anew_with_what_starts_from_it(values: dict[str, Any]) -> None:
    before = open_catalogue(values)
    make(before, NOW - timedelta(days=31))
    assert refresh(before, 30, NOW, dry_run=True) == [BASE]
    assert all(entry.usable() for entry in entries(open_catalogue(values)))
    assert refresh(before, 30, NOW) == [BASE]
    after = open_catalogue(values)
    assert [entry.usable() for entry in entries(after)] == [False] * 3
    # Ours is rolled out under another tag.
    assert before.plan("own").images[0].reference != after.plan("own").images[0].reference

    make(after, NOW)
    for hours in (0, 1, 24 * 30):
        assert refresh(open_catalogue(values), 30, NOW + timedelta(hours=hours)) == []
    assert all(entry.usable() for entry in entries(open_catalogue(values)))
    assert refresh(open_catalogue(values), 30, NOW + timedelta(days=31)) == [BASE]


def test_what_is_young_or_missing_or_to_be_kept_is_left(values: dict[str, Any]) -> None:
    catalogue = open_catalogue(values)
    assert outdated(catalogue, 30, NOW) == []
    make(catalogue, NOW - timedelta(days=30))
    assert outdated(catalogue, 30, NOW) == []
    assert outdated(catalogue, 0, NOW + timedelta(days=999)) == []


def test_official_images_are_copied_anew(values: dict[str, Any]) -> None:
    """Upstream mends them under the same tag."""
    values = {**values, "source": "release"}
    before = open_catalogue(values)
    make(before, NOW - timedelta(days=31))
    assert refresh(before, 30, NOW) == [BASE, PYTHON]
    assert [entry.usable() for entry in entries(open_catalogue(values))] == [False] * 3


def test_the_module_says_what_was_too_old(values: dict[str, Any], capsys: pytest.CaptureFixture[str]) -> None:
    def call(**more: Any) -> dict[str, Any]:
        arguments = {"catalogue": values, "owner": "dev", "_ansible_check_mode": True, **more}
        with patch_module_args(arguments), pytest.raises(SystemExit):
            artifacts_queue.main()
        result: dict[str, Any] = json.loads(capsys.readouterr().out)
        return result

    make(open_catalogue(values), datetime.now(UTC) - timedelta(days=31))
    assert (call()["changed"], call()["refreshed"]) == (False, [])
    found = call(refresh_days=30)
    assert (found["changed"], found["refreshed"]) == (True, [BASE])
    assert call(refresh_days=32)["changed"] is False
