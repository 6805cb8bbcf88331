# Copyright: cicd.sandbox contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The collection can be built, installed in an empty place and used from there by its full name."""

from __future__ import annotations

import os
import subprocess
import tarfile
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from ansible_collections.cicd.sandbox.plugins.module_utils.runs.guard import Holder, hold
from checkout import REPOSITORY, files, relative

MADE_BY_GALAXY = {"MANIFEST.json", "FILES.json"}
# With a role that is in no collection.
PROBE = """
- hosts: localhost
  gather_facts: false
  tags: [probe]
  roles: [probe]
"""
Play = Callable[..., subprocess.CompletedProcess[str]]


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
    # The collections it depends on come with the `ansible` package; there is the checkout itself, too.
    install = ["ansible-galaxy", "collection", "install", "--offline", "--no-deps", "--force", "-p", str(folder)]
    install.append(str(archive))
    run(*install, cwd=folder)
    return folder


def test_archive_holds_what_git_holds(archive: Path) -> None:
    with tarfile.open(archive) as members:
        packed = {member.name for member in members if not member.isdir()}
    tracked = {relative(path) for path in files()}
    assert packed - tracked - MADE_BY_GALAXY == set()
    # What a user of the collection has no use for stays out.
    assert tracked - packed <= {"galaxy.yml", ".gitattributes", ".gitignore"} | {
        name for name in tracked if name.endswith("/.gitignore")
    }


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
        # Another name: a sandbox of this computer's, with another home, would be somebody else's.
        *("ansible-playbook", "cicd.sandbox.open", "-i", inventory, "-e", f"sandbox_name=t-{uuid.uuid4().hex[:8]}"),
        cwd=tmp_path,
        ANSIBLE_COLLECTIONS_PATH=str(installed),
        HOME=str(home),
        DISPLAY="",
        WAYLAND_DISPLAY="",
    )
    assert "http://sandbox.localhost:8080" in printed


class TestRunsOfTheInstalledCollection:
    """Without this checkout's ansible.cfg, and with callbacks that somebody enabled for themselves."""

    @pytest.fixture
    def play(self, installed: Path, tmp_path: Path) -> Play:
        (tmp_path / "ansible.cfg").write_text("[defaults]\n", encoding="utf-8")
        tasks = tmp_path / "roles/probe/tasks/main.yml"
        tasks.parent.mkdir(parents=True)
        tasks.write_text("- ansible.builtin.debug: {msg: it ran}\n", encoding="utf-8")
        (tmp_path / "hosts").write_text("localhost ansible_connection=local\n", encoding="utf-8")
        settings = {
            "ANSIBLE_CONFIG": str(tmp_path / "ansible.cfg"),
            "ANSIBLE_COLLECTIONS_PATH": str(installed),
            "ANSIBLE_ROLES_PATH": str(tmp_path / "roles"),
            "ANSIBLE_CALLBACKS_ENABLED": "ansible.posix.timer",
        }

        def run_it(*arguments: str) -> subprocess.CompletedProcess[str]:
            command = ["ansible-playbook", "-i", str(tmp_path / "hosts"), *arguments]
            environment = {**os.environ, **settings}
            return subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path, env=environment)

        return run_it

    @pytest.fixture
    def probe(self, installed: Path) -> Iterator[str]:
        """Give the name of a playbook of the collection that changes nothing."""
        playbook = installed / "ansible_collections/cicd/sandbox/playbooks/probe.yml"
        playbook.write_text(PROBE, encoding="utf-8")
        yield "cicd.sandbox.probe"
        playbook.unlink()

    def test_one_at_a_time(self, play: Play, probe: str) -> None:
        sandbox = f"t-{uuid.uuid4().hex[:12]}"
        lock = hold(sandbox)
        assert not isinstance(lock, Holder)
        with lock:
            refused = play(probe, "-e", f"sandbox_name={sandbox}")
            assert refused.returncode == 1
            assert f"Another run works on the sandbox {sandbox}" in refused.stderr
            assert f"process {os.getpid()} of" in refused.stderr
            assert "it ran" not in refused.stdout
            assert "it ran" in play(probe, "-e", f"sandbox_name={sandbox}", "--check").stdout
        free = play(probe, "-e", f"sandbox_name={sandbox}")
        assert free.returncode == 0
        assert "it ran" in free.stdout
        assert "Playbook run took" in free.stdout, "what somebody enabled runs, too"
        assert free.stdout.count("SECONDS BY ROLE") == 1

    def test_unknown_tags(self, play: Play) -> None:
        refused = play("cicd.sandbox.site", "--tags", "ectd")
        assert refused.returncode == 1
        assert "No step carries the tag ectd. There are: apps, " in refused.stderr

    def test_in_a_playbook_of_ones_own(self, play: Play, probe: str, tmp_path: Path) -> None:
        (tmp_path / "own.yml").write_text(f"- ansible.builtin.import_playbook: {probe}\n", encoding="utf-8")
        refused = play("own.yml", "--skip-tags", "porbe")
        assert "No step carries the tag porbe. There are: probe." in refused.stderr
