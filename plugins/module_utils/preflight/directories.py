# Copyright: cicd.sandbox contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether a file system does what the sandbox needs of a directory: it is tried, for names (FUSE, NFS) tell little."""

from __future__ import annotations

import fcntl
import os
import shutil
import stat
import subprocess
import tempfile
from collections.abc import Callable, Iterable, Mapping
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

from ansible_collections.cicd.sandbox.plugins.module_utils.preflight.findings import Finding

MOUNTINFO = Path("/proc/self/mountinfo")
REMEDY = "Use a directory of a local file system, such as ext4 or XFS, mounted without options that forbid it."
# What machines and containers are: a layer over what others share. A file is taken out of sight, and a program is run.
LAYERS = """
set -eu
mkdir "$1/upper" "$1/work" "$1/merged"
mount -t overlay overlay -o "lowerdir=$2,upperdir=$1/upper,workdir=$1/work" "$1/merged"
rm "$1/merged/gone"
test ! -e "$1/merged/gone"
printf '#!/bin/sh\\n' >"$1/merged/program"
chmod 0755 "$1/merged/program"
chown 1:1 "$1/merged/program"
"$1/merged/program"
"""


class DirectoryError(Exception):
    """A directory does not do what is needed; the text says what, as the system says it."""


def check_directories(host: str, wanted: Iterable[Mapping[str, Any]]) -> list[Finding]:
    """Try directories, or where they would be made.

    wanted: path; needs, names of NEEDS; and lower, the path of what is below layers, where that is another.
    """
    findings = []
    for item in wanted:
        path, needs = Path(item["path"]), item["needs"]
        lower = Path(item["lower"]) if item.get("lower") else path
        wrong = problems(path, needs, lower)
        findings += [Finding(host, f"{path}: {problem}", _kind(path), REMEDY) for problem in wrong]
        if not wrong and _kind(path) in {"tmpfs", "ramfs"}:
            found = f"{path} lies in memory: it takes some, and is lost with a restart of the host"
            findings.append(Finding(host, found, _kind(path), REMEDY, warning=True))
    return findings


def problems(path: Path, needs: Iterable[str], lower: Path) -> list[str]:
    """Return what a directory does not do, of all that is needed."""
    found = []
    try:
        with ExitStack() as stack:
            directory = ground = _scratch(stack, path)
            # What is wrong with that one is told of it.
            with suppress(OSError, DirectoryError):
                ground = _scratch(stack, lower)
            for need in needs:
                try:
                    NEEDS[need](directory, ground)
                except DirectoryError as error:
                    found.append(str(error))
    except OSError as error:
        return [f"nothing can be written there ({error.filename}: {error.strerror})"]
    except DirectoryError as error:
        return [str(error)]
    return found


def _scratch(stack: ExitStack, path: Path) -> Path:
    """Make a directory in the one of that path, or in the nearest above it that is there; with the names that lack."""
    above = existing(path)
    made = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix=".preflight-", dir=above)))
    inner = made / path.expanduser().relative_to(above) / "tried"
    inner.mkdir(parents=True)
    return inner


def existing(path: Path) -> Path:
    """Return the path, or the nearest directory above it that is there.

    Raises:
        DirectoryError: something else is in its place.
    """
    path = path.expanduser()
    while not os.path.lexists(path):
        path = path.parent
    if not path.is_dir():
        what = "a link that leads nowhere" if path.is_symlink() and not path.exists() else "no directory"
        raise DirectoryError(f"{path} is {what}")
    return path


def _layers(directory: Path, ground: Path) -> None:
    inner = Path(tempfile.mkdtemp(dir=directory))
    (ground / "gone").touch()
    line = ["unshare", "--mount", "--propagation", "private", "sh", "-c", LAYERS, "sh", str(inner), str(ground)]
    done = subprocess.run(line, check=False, capture_output=True, text=True)
    # What overlayfs made belongs to root, its work directory has no permissions.
    shutil.rmtree(inner, ignore_errors=True)
    if done.returncode:
        said = (done.stderr.strip().splitlines() or ["no reason was given"])[-1]
        if "dmesg" in said and len(done.stderr.strip().splitlines()) > 1:
            said = done.stderr.strip().splitlines()[-2]
        raise DirectoryError(f"layers of machines and containers (overlayfs) can't lie there ({said})")


def _programs(directory: Path, _ground: Path) -> None:
    program = directory / "program"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    try:
        subprocess.run([program], check=True)
    except (OSError, subprocess.CalledProcessError) as error:
        raise DirectoryError(f"programs can't be run there ({getattr(error, 'strerror', error)}; noexec?)") from error


def _devices(directory: Path, _ground: Path) -> None:
    try:
        os.mknod(directory / "null", 0o600 | stat.S_IFCHR, os.makedev(1, 3))
        with (directory / "null").open("w") as null:
            null.write("x")
    except OSError as error:
        raise DirectoryError(f"devices can't be used there ({error.strerror}; nodev?)") from error


def _owners(directory: Path, _ground: Path) -> None:
    owned = directory / "owned"
    try:
        owned.touch()
        os.chown(owned, 4711, 4711)
        kept = owned.stat().st_uid == 4711
    except OSError as error:
        raise DirectoryError(f"files can't be given to other users there ({error.strerror})") from error
    if not kept:
        raise DirectoryError("files can't be given to other users there (all have one owner)")


def _private(directory: Path, _ground: Path) -> None:
    secret = directory / "secret"
    secret.touch(mode=0o600)
    secret.chmod(0o600)
    if secret.stat().st_mode & 0o777 != 0o600:
        raise DirectoryError("secrets can't be kept from other users there (permissions are not stored)")


def _locks(directory: Path, _ground: Path) -> None:
    try:
        with (directory / "lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        (directory / "link").symlink_to("lock")
        (directory / "link").rename(directory / "renamed")
    except OSError as error:
        raise DirectoryError(f"files can't be locked and linked there ({error.strerror})") from error


NEEDS: dict[str, Callable[[Path, Path], None]] = {
    "devices": _devices,
    "layers": _layers,
    "locks": _locks,
    "owners": _owners,
    "private": _private,
    "programs": _programs,
}


def _kind(path: Path) -> str:
    """Return the name of the file system where a path is, or would be made; empty where it is not known."""
    with suppress(OSError, DirectoryError):
        device = existing(path).stat().st_dev
        number = f"{os.major(device)}:{os.minor(device)}"
        for line in MOUNTINFO.read_text().splitlines():
            words = line.split()
            if words[2] == number:
                return words[words.index("-") + 1]
    return ""
