# Copyright: cicd.sandbox contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The collection can be built, installed in an empty place and used from there by its full name."""

from __future__ import annotations

import os
import subprocess
import tarfile
from pathlib import Path

import pytest
from checkout import REPOSITORY, files, relative

MADE_BY_GALAXY = {"MANIFEST.json", "FILES.json"}


def run(*command: str, cwd: Path, **environment: str) -> str:
    """Run a command as somebody who has no checkout: without its ansible.cfg; give what it printed."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("ANSIBLE_")}
    finished = subprocess.run(
        command,
        cwd=cwd,
        env=inherited | environment,
        capture_output=True,
        text=True,
        check=False,
        stdin=subprocess.DEVNULL,
    )
    assert finished.returncode == 0, finished.stdout + finished.stderr
    return finished.stdout


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("build")
    run("ansible-galaxy", "collection", "build", "--output-path", str(folder), cwd=REPOSITORY)
    (archive,) = folder.glob("cicd-sandbox-*.tar.gz")
    return archive


@pytest.fixture(scope="module")
def installed(archive: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("installed")
    # The collections it depends on come with the `ansible` package.
    install = ["ansible-galaxy", "collection", "install", "--offline", "--no-deps", "-p", str(folder), str(archive)]
    run(*install, cwd=folder)
    return folder


def test_archive_holds_what_git_holds(archive: Path) -> None:
    with tarfile.open(archive) as members:
        packed = {member.name for member in members if not member.isdir()}
    tracked = {relative(path) for path in files()}
    assert packed - tracked - MADE_BY_GALAXY == set()
    # What a user of the collection has no use for stays out.
    assert tracked - packed <= {"galaxy.yml", ".gitignore"} | {name for name in tracked if name.endswith("/.gitignore")}


def test_runs_from_where_it_is_installed(installed: Path, tmp_path: Path) -> None:
    """Every playbook is found by its full name, with all roles and modules it names."""
    root = installed / "ansible_collections/cicd/sandbox"
    names = sorted(f"cicd.sandbox.{path.stem}" for path in (root / "playbooks").glob("*.yml"))
    inventory = str(root / "inventories/dev")
    run(
        "ansible-playbook",
        "--syntax-check",
        "-i",
        inventory,
        *names,
        cwd=tmp_path,
        ANSIBLE_COLLECTIONS_PATH=str(installed),
    )


def test_prints_addresses_from_where_it_is_installed(installed: Path, tmp_path: Path) -> None:
    """A playbook really runs: `open` without a display says the addresses."""
    inventory = str(installed / "ansible_collections/cicd/sandbox/inventories/dev")
    home = tmp_path / "home"
    home.mkdir()
    printed = run(
        *("ansible-playbook", "cicd.sandbox.open", "-i", inventory),
        cwd=tmp_path,
        ANSIBLE_COLLECTIONS_PATH=str(installed),
        HOME=str(home),
        DISPLAY="",
        WAYLAND_DISPLAY="",
    )
    assert "http://sandbox.localhost:8080" in printed
