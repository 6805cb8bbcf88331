"""Debian roots: the key, the mirrors, and what a killed or failed run leaves."""

from __future__ import annotations

import stat
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.cicd.sandbox.plugins.module_utils.nspawn import debian_root as _debian_root
from ansible_collections.cicd.sandbox.plugins.module_utils.nspawn.debian_root import (
    DebianRootError,
    Recipe,
    command,
    debian_sources,
    ensure,
)

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
