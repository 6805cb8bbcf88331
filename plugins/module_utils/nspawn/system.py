# Copyright: cicd.sandbox contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The host that machines run on: its commands, its PID 1, its mounts."""

from __future__ import annotations

import os
import shlex
import subprocess
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from ansible_collections.cicd.sandbox.plugins.module_utils.host.environment import UMASK, tidied

# Processes that remove files at once; they wait for the disk.
REMOVERS = 16


class NspawnError(Exception):
    """A host command failed or a machine did not come up; the message says what and why."""


def run(line: Sequence[str], *, stdin: str | None = None) -> str:
    """Run a host command and return its standard output.

    Raises:
        NspawnError: the command is missing or ended with another code than 0.
    """
    try:
        done = subprocess.run(
            line, check=False, capture_output=True, text=True, input=stdin, env=tidied(os.environ), umask=UMASK
        )
    except FileNotFoundError as error:
        raise NspawnError(f"{line[0]} is not installed on this machine") from error
    if done.returncode != 0:
        raise NspawnError(f"{shlex.join(line)} ended with {done.returncode}: {(done.stderr or done.stdout).strip()}")
    return done.stdout


def has_systemd() -> bool:
    """Tell whether systemd is this host's PID 1 (the test of sd_booted(3))."""
    return Path("/run/systemd/system").is_dir()


def mounts() -> set[str]:
    """Return this process's mount points."""
    points = set()
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        points.add(line.split(" ")[4].replace("\\040", " "))
    return points


def remove_trees(paths: Sequence[Path]) -> None:
    """Remove directories, never anything that is mounted below them.

    Side by side: where the file system tells the disk of every block that is free again (mount option ``discard``),
    one rm spends nine tenths of its time waiting.
    """
    line = ["rm", "--recursive", "--force", "--one-file-system", "--"]
    # As deep as the layers of images, <machine>/data/var-lib-containerd/<snapshotter>/snapshots/<number>.
    parts = [str(part) for path in paths for part in _directories(path, 5)]
    batches = [batch for batch in (parts[index::REMOVERS] for index in range(REMOVERS)) if batch]
    with ThreadPoolExecutor(REMOVERS) as pool:
        for _ in pool.map(lambda batch: run([*line, *batch]), batches):
            pass
    if paths:
        run([*line, *map(str, paths)])


def _directories(path: Path, depth: int) -> Iterator[Path]:
    """Give the directories so many levels below ``path``, on its file system."""
    if depth == 0:
        yield path
        return
    with os.scandir(path) as entries:
        inner = [Path(entry.path) for entry in entries if entry.is_dir(follow_symlinks=False)]
    for directory in inner:
        if not directory.is_mount():
            yield from _directories(directory, depth - 1)


def words(path: Path) -> list[str]:
    """Return the words of a kernel's file; none where it is gone."""
    try:
        return path.read_text().split()
    except OSError:
        return []
