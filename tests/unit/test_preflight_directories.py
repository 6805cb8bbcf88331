# Copyright: cicd.sandbox contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""File systems that do, or do not, what the sandbox needs: real ones, in a mount namespace of root's."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from ansible_collections.cicd.sandbox.plugins.module_utils.preflight.directories import NEEDS, check_directories
from checkout import REPOSITORY

ALL = sorted(NEEDS)
MACHINES = ["layers", "owners", "programs"]
# What a mount namespace has at $1, before the directory is tried.
MOUNTS = {
    "tmpfs": "mount -t tmpfs tmpfs $1",
    "noexec": "mount -t tmpfs -o noexec tmpfs $1",
    "nodev": "mount -t tmpfs -o nodev tmpfs $1",
    "nosuid": "mount -t tmpfs -o nosuid tmpfs $1",
    "read-only": "mount -t tmpfs -o ro tmpfs $1",
    "overlay": "mount -t tmpfs tmpfs /mnt && mkdir /mnt/lower /mnt/upper /mnt/work"
    " && mount -t overlay overlay -o lowerdir=/mnt/lower,upperdir=/mnt/upper,workdir=/mnt/work $1",
    # It stores neither owners nor permissions.
    "proc": "mount -t proc proc $1",
}
LOWER = "lower"
TRY = f"""
import json, sys
sys.path.insert(0, {str(REPOSITORY / "tests")!r})
import conftest
conftest.pytest_configure()
from ansible_collections.cicd.sandbox.plugins.module_utils.preflight.directories import check_directories
wanted = [{{"path": sys.argv[1] + "/library/dev", "needs": sys.argv[2].split(",")}}]
print(json.dumps([finding.fields() for finding in check_directories("here", wanted)]))
"""


def tried(mount: str, directory: Path, needs: list[str]) -> list[tuple[str, bool]]:
    """Return what is found of a directory below a mount, and whether it is a warning."""
    script = f'{MOUNTS[mount]} && exec "$2" -c "$3" "$1" "$4"'
    user = [] if os.geteuid() == 0 else ["--user", "--map-root-user"]
    line = ["unshare", "--mount", "--pid", "--fork", *user, "sh", "-ec", script, "sh", str(directory)]
    done = subprocess.run([*line, sys.executable, TRY, ",".join(needs)], check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return [(finding["found"], finding["warning"]) for finding in json.loads(done.stdout)]


@pytest.mark.parametrize("needs", [["programs", "private", "locks"], MACHINES, ["devices", "owners", "programs"]])
def test_an_ordinary_directory_does_all_and_keeps_no_trace(needs: list[str], tmp_path: Path) -> None:
    if os.geteuid() != 0:
        needs = [need for need in needs if need in {"programs", "private", "locks"}]
    found = check_directories("here", [{"path": str(tmp_path / "library/dev"), "needs": needs}])
    assert [finding.text() for finding in found if not finding.warning] == []
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("mount", "needs", "words"),
    [
        ("overlay", MACHINES, ["layers of machines and containers (overlayfs) can't lie there"]),
        ("noexec", ["programs", "locks"], ["programs can't be run there"]),
        ("nodev", ["devices", "owners", "programs"], ["devices can't be used there"]),
        ("nosuid", MACHINES, ["lies in memory"]),
        ("read-only", MACHINES, ["nothing can be written there"]),
        ("proc", ["private"], ["nothing can be written there"]),
        ("tmpfs", MACHINES, ["lies in memory"]),
    ],
)
def test_what_a_file_system_does_not_do_is_told(mount: str, needs: list[str], words: list[str], tmp_path: Path) -> None:
    found = tried(mount, tmp_path, needs)
    assert [word for word in words if not any(word in text for text, _ in found)] == [], found
    assert len(found) == len(words)
    # What can be used is no more than a warning.
    assert [warning for _, warning in found] == ["lies in memory" in word for word in words]


def test_all_that_is_missing_is_told_at_once(tmp_path: Path) -> None:
    MOUNTS["both"] = "mount -t tmpfs -o noexec,nodev tmpfs $1"
    found = tried("both", tmp_path, ["devices", "owners", "programs"])
    assert len(found) == 2


@pytest.mark.parametrize(("kind", "said"), [("file", "is no directory"), ("link", "is a link that leads nowhere")])
def test_something_else_is_in_its_place(kind: str, said: str, tmp_path: Path) -> None:
    place = tmp_path / "library"
    if kind == "file":
        place.touch()
    else:
        place.symlink_to(tmp_path / "none")
    (finding,) = check_directories("here", [{"path": str(place / "dev"), "needs": ["locks"]}])
    assert f"{place} {said}" in finding.found


def test_a_path_that_is_no_option_of_mount(tmp_path: Path) -> None:
    """Commas and colons divide the options of overlayfs: machines could not be mounted there."""
    if os.geteuid() == 0:
        (finding,) = check_directories("here", [{"path": str(tmp_path / "a,b"), "needs": ["layers"]}])
        assert "overlayfs" in finding.found
