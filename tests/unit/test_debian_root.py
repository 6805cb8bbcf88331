"""Debian roots: the key, the mirrors, and what a killed or failed run leaves."""

from __future__ import annotations

import json
import os
import stat
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from ansible.module_utils.testing import patch_module_args
from ansible_collections.cicd.sandbox.plugins.module_utils.nspawn import debian_root as _debian_root
from ansible_collections.cicd.sandbox.plugins.module_utils.nspawn.debian_root import (
    MARKER,
    DebianRootError,
    Recipe,
    command,
    debian_sources,
    ensure,
)
from ansible_collections.cicd.sandbox.plugins.modules import debian_root

RECIPE = Recipe("bookworm", ("systemd", "python3"), disabled_services=("nginx",))


@pytest.fixture
def mmdebstrap(tmp_path: Path, monkeypatch: Any) -> Path:
    """A mmdebstrap that makes its target, or fails where a file `fail` lies beside it."""
    directory = tmp_path / "bin"
    directory.mkdir()
    program = directory / "mmdebstrap"
    program.write_text(
        '#!/bin/sh\nif [ -e "$(dirname "$0")/fail" ]; then echo "E: no such package"; exit 25; fi\n'
        'for a in "$@"; do case "$a" in *.partial) mkdir "$a" && echo made > "$a/file";; esac; done\n'
    )
    program.chmod(program.stat().st_mode | stat.S_IEXEC)
    monkeypatch.setenv("PATH", f"{directory}:/usr/bin:/bin")
    monkeypatch.setattr(_debian_root, "configured_sources", lambda _: [])
    return directory


def test_the_key_knows_content_not_order() -> None:
    assert RECIPE.key == Recipe("bookworm", ("python3", "systemd"), disabled_services=("nginx",)).key
    assert RECIPE.key != Recipe("bookworm", ("python3",), disabled_services=("nginx",)).key
    assert RECIPE.key != Recipe("trixie", ("systemd", "python3"), disabled_services=("nginx",)).key


def test_sources_come_from_the_mirrors_apt_uses() -> None:
    targets = [
        "http://mirror.example/debian/ bookworm main",
        "http://mirror.example/debian-security/ bookworm-security main",
        "https://other.example/node nodistro main",
    ]
    assert debian_sources("trixie", targets) == [
        "deb http://mirror.example/debian trixie main",
        "deb http://mirror.example/debian trixie-updates main",
        "deb http://mirror.example/debian-security trixie-security main",
    ]
    assert debian_sources("trixie", ["http://archive.example/ubuntu noble main"]) == []


def test_the_command_disables_services_in_the_root() -> None:
    line = command(RECIPE, Path("/target"), ["deb http://mirror.example/debian bookworm main"])
    assert '--customize-hook=chroot "$1" systemctl disable nginx' in line
    assert '--customize-hook=rm -f "$1"/etc/ssh/ssh_host_*' in line
    assert "--include=systemd,python3" in line
    assert line[-3:] == ["bookworm", "/target", "deb http://mirror.example/debian bookworm main"]


def test_a_root_is_made_once(tmp_path: Path, mmdebstrap: Path) -> None:
    root, changed = ensure(tmp_path / "cache", RECIPE, dry_run=True)
    assert (changed, root.exists()) == (True, False)
    root, changed = ensure(tmp_path / "cache", RECIPE)
    assert (changed, (root / "file").exists()) == (True, True)
    assert ensure(tmp_path / "cache", RECIPE) == (root, False)


def test_what_a_killed_run_left_is_made_anew(tmp_path: Path, mmdebstrap: Path) -> None:
    cache = tmp_path / "cache"
    (cache / f"{RECIPE.key}.partial" / "half").mkdir(parents=True)
    (cache / RECIPE.key / "without-marker").mkdir(parents=True)
    root, changed = ensure(cache, RECIPE)
    assert changed
    assert not (root / "half").exists()
    assert not (root / "without-marker").exists()


def test_a_failure_says_what_mmdebstrap_said_and_leaves_nothing(tmp_path: Path, mmdebstrap: Path) -> None:
    (mmdebstrap / "fail").touch()
    with pytest.raises(DebianRootError, match="ended with 25") as error:
        ensure(tmp_path / "cache", RECIPE)
    assert "E: no such package" in error.value.log
    assert not (tmp_path / "cache" / RECIPE.key).exists()


def test_a_missing_mmdebstrap_is_named(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(DebianRootError, match="Debian package mmdebstrap"):
        ensure(tmp_path / "cache", RECIPE)


# --- age --------------------------------------------------------------------------------------------------------------


def made_at(root: Path, time: datetime) -> None:
    os.utime(root / MARKER, (time.timestamp(), time.timestamp()))


def test_a_root_that_is_too_old_gets_another_beside_it(tmp_path: Path, mmdebstrap: Path) -> None:
    cache, now = tmp_path / "cache", datetime(2026, 11, 29, 12, tzinfo=UTC)
    old, _ = ensure(cache, RECIPE, now=now)
    made_at(old, now - timedelta(days=31))
    assert ensure(cache, RECIPE, now=now) == (old, False)
    assert ensure(cache, RECIPE, max_age_days=31, now=now) == (old, False)
    foreseen, changed = ensure(cache, RECIPE, max_age_days=30, now=now, dry_run=True)
    assert (changed, foreseen.exists()) == (True, False)
    new, changed = ensure(cache, RECIPE, max_age_days=30, now=now)
    assert (new, changed) == (foreseen, True)
    # Machines stand on the old one.
    assert (old / "file").exists()
    made_at(new, now)
    for later in (timedelta(), timedelta(hours=1), timedelta(days=30)):
        assert ensure(cache, RECIPE, max_age_days=30, now=now + later) == (new, False)
    # Whoever does not ask for its age gets the same one.
    assert ensure(cache, RECIPE, now=now) == (new, False)


def test_a_root_is_kept_while_no_machine_is_made(
    tmp_path: Path, mmdebstrap: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def call(**more: Any) -> dict[str, Any]:
        arguments = {"cache": str(tmp_path / "cache"), "suite": "bookworm", "max_age_days": 30, **more}
        with patch_module_args(arguments), pytest.raises(SystemExit):
            debian_root.main()
        result: dict[str, Any] = json.loads(capsys.readouterr().out)
        return result

    first = call()
    assert (first["changed"], first["refreshed"]) == (True, False)
    made_at(Path(first["path"]), datetime.now(UTC) - timedelta(days=31))
    layer, other = tmp_path / "worker-1/lower", tmp_path / "worker-2/lower"
    layer.parent.mkdir()
    layer.touch()
    assert call(kept_for=[str(layer)])["changed"] is False
    foreseen = call(kept_for=[str(layer), str(other)], _ansible_check_mode=True)
    assert (foreseen["changed"], foreseen["refreshed"]) == (True, True)
    second = call(kept_for=[str(layer), str(other)])
    assert (second["changed"], second["refreshed"], second["path"]) == (True, True, foreseen["path"])
    assert call()["changed"] is False
