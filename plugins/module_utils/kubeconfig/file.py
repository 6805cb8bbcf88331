# Copyright: cicd.sandbox contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The file that a kubeconfig stands in: links followed, locked as kubectl does, replaced in one step."""

from __future__ import annotations

import contextlib
import errno
import os
import stat
import time
from collections.abc import Iterator
from pathlib import Path

from ansible_collections.cicd.sandbox.plugins.module_utils.host import files
from ansible_collections.cicd.sandbox.plugins.module_utils.kubeconfig.merging import KubeconfigError


class KubeconfigFile:
    """A kubeconfig's path, and what it leads to."""

    def __init__(self, path: str) -> None:
        self.path = Path(path).expanduser().absolute()
        try:
            self.target = self.path.resolve()
        except RuntimeError:
            raise KubeconfigError(f"{self.path}: too many symbolic links") from None

    def read(self) -> str | None:
        """Return the content; None when there is no file."""
        try:
            return self.target.read_bytes().decode("utf-8-sig")
        except FileNotFoundError:
            return None
        except UnicodeDecodeError as exc:
            line = exc.object.count(b"\n", 0, exc.start) + 1
            raise KubeconfigError(f"{self.path}: line {line}: is not UTF-8, so not a kubeconfig") from None
        except OSError as exc:
            raise KubeconfigError(f"{self.path}: {exc.strerror}") from None

    def missing(self) -> str:
        """Return what is not there: ``directory`` (then the file neither), ``file`` or nothing."""
        if self.target.exists():
            return ""
        return "file" if self.target.parent.is_dir() else "directory"

    @contextlib.contextmanager
    def locked(self, timeout: float) -> Iterator[None]:
        """Hold ``<path>.lock``, made exclusively, as client-go does; also the one of a link's target.

        Raise KubeconfigError naming the lock when it isn't free within ``timeout`` seconds.
        """
        deadline = time.monotonic() + timeout
        with contextlib.ExitStack() as held:
            for path in sorted({self.path, self.target}):
                lock = path.with_name(f"{path.name}.lock")
                lock.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
                _acquire(lock, deadline, timeout)
                held.callback(lock.unlink)
            yield

    def mode(self) -> int | None:
        """Return the permission bits; None when there is no file."""
        try:
            return stat.S_IMODE(self.target.stat().st_mode)
        except FileNotFoundError:
            return None

    def restrict(self) -> None:
        """Take their rights from group and others."""
        self.target.chmod(private_mode(self.target.stat().st_mode))

    def write(self, text: str, *, private: bool = False) -> None:
        """Replace the content in one step; owner and mode stay, a new file is the user's alone (0600).

        With ``private`` group and others lose their rights.
        """
        try:
            before = self.target.stat()
        except FileNotFoundError:
            before = None
        mode = 0o600 if before is None else stat.S_IMODE(before.st_mode)
        with files.replacing(self.target, private_mode(mode) if private else mode, sync=True) as stream:
            stream.write(text.encode())
            if before is not None:
                _same_owner(stream.fileno(), before, self.path)

    def delete(self) -> None:
        """Remove the file."""
        self.target.unlink()

    def delete_directory(self) -> None:
        """Remove the file's directory if nothing is left in it."""
        try:
            self.target.parent.rmdir()
        except OSError as exc:
            if exc.errno not in {errno.ENOTEMPTY, errno.EEXIST, errno.ENOENT}:
                raise


def private_mode(mode: int) -> int:
    """Return the permission bits without those of group and others."""
    return mode & stat.S_IRWXU


def _acquire(lock: Path, deadline: float, timeout: float) -> None:
    while True:
        try:
            os.close(os.open(lock, os.O_CREAT | os.O_EXCL, 0))
            return
        except FileExistsError:
            if time.monotonic() >= deadline:
                raise KubeconfigError(_held(lock, timeout)) from None
            time.sleep(0.1)


def _held(lock: Path, timeout: float) -> str:
    try:
        age = f", {max(0, round(time.time() - lock.stat().st_mtime))} s old,"
    except OSError:
        age = ""
    return (
        f"the lock {lock}{age} was still held after {timeout:g} s; nothing was changed. "
        "If no kubectl or other program is writing the file, remove the lock"
    )


def _same_owner(descriptor: int, before: os.stat_result, path: Path) -> None:
    now = os.fstat(descriptor)
    if (now.st_uid, now.st_gid) != (before.st_uid, before.st_gid):
        try:
            os.fchown(descriptor, before.st_uid, before.st_gid)
        except PermissionError:
            raise KubeconfigError(
                f"{path}: belongs to uid {before.st_uid}, gid {before.st_gid}, which can't be kept as uid "
                f"{now.st_uid}; nothing was changed. Run as its owner"
            ) from None
