# Copyright: cicd.sandbox contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The file that a kubeconfig stands in: links followed, locked as kubectl does, replaced in one step."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import stat
import struct
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from ansible_collections.cicd.sandbox.plugins.module_utils.host import files
from ansible_collections.cicd.sandbox.plugins.module_utils.kubeconfig.merging import KubeconfigError

# ioctl(2) of linux/fs.h: the attributes that chattr(1) sets, as a long.
_FS_IOC_GETFLAGS = 0x80086601
_UNCHANGEABLE = {0x10: "immutable (chattr -i allows changes)", 0x20: "append-only (chattr -a allows changes)"}


class KubeconfigFile:
    """A kubeconfig's path, and what it leads to. A relative one starts at the working directory."""

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path).absolute()
        try:
            self.target = self.path.resolve()
        except RuntimeError:
            raise KubeconfigError(f"{self.path}: too many symbolic links") from None

    def read(self) -> str | None:
        """Return the content; None when there is no file. What is no regular file is refused unopened."""
        try:
            return files.read_regular(self.target).decode("utf-8-sig")
        except (FileNotFoundError, NotADirectoryError):
            return None
        except UnicodeDecodeError as exc:
            line = exc.object.count(b"\n", 0, exc.start) + 1
            raise KubeconfigError(f"{self.path}: line {line}: is not UTF-8, so not a kubeconfig") from None
        except OSError as exc:
            raise KubeconfigError(f"{self.path}: {exc.strerror}; nothing was changed") from None

    def mentions(self, word: str) -> bool:
        """Tell whether the word may be in the file, whatever else that holds."""
        try:
            return word.encode() in files.read_regular(self.target)
        except files.NotRegularError:
            return False
        except OSError as exc:
            return exc.errno not in {errno.ENOENT, errno.ENOTDIR}

    def missing(self) -> str:
        """Return what is not there: ``directory`` (then the file neither), ``file`` or nothing."""
        if self.target.exists():
            return ""
        return "file" if self.target.parent.is_dir() else "directory"

    def check_changeable(self, timeout: float) -> None:
        """Raise KubeconfigError where a write would fail, as far as that can be known without writing.

        A lock that is held is waited for, for ``timeout`` seconds.
        """
        directory = self.target.parent
        while not os.path.lexists(directory):
            directory = directory.parent
        if not directory.is_dir():
            raise KubeconfigError(f"{self.path}: {directory} is no directory; nothing was changed")
        if not os.access(directory, os.W_OK | os.X_OK):
            raise KubeconfigError(
                f"{self.path}: {directory} can't be written by uid {os.geteuid()}; nothing was changed. "
                "Allow it, or name another file in KUBECONFIG"
            )
        for path in (self.target, directory):
            why = _unchangeable(path)
            if why:
                raise KubeconfigError(f"{self.path}: {path} is {why}; nothing was changed")
        with contextlib.suppress(FileNotFoundError):
            owner = self.target.stat()
            if os.geteuid() not in {0, owner.st_uid}:
                raise KubeconfigError(_not_kept(self.path, owner, os.geteuid()))
        deadline = time.monotonic() + timeout
        for lock in self._locks():
            while lock.exists():
                _wait(lock, deadline, timeout)

    def _locks(self) -> list[Path]:
        """Return the locks of the path and of what it leads to: one where both are in the same directory."""
        locks: dict[tuple[object, str], Path] = {}
        for path in sorted({self.path, self.target}):
            lock = path.with_name(f"{path.name}.lock")
            try:
                state = lock.parent.stat()
                directory: object = (state.st_dev, state.st_ino)
            except OSError:
                directory = lock.parent.resolve()
            locks.setdefault((directory, lock.name), lock)
        return list(locks.values())

    @contextlib.contextmanager
    def locked(self, timeout: float) -> Iterator[None]:
        """Hold ``<path>.lock``, made exclusively, as client-go does; also the one of a link's target.

        Raise KubeconfigError naming the lock when it isn't free within ``timeout`` seconds.
        """
        deadline = time.monotonic() + timeout
        with contextlib.ExitStack() as held:
            for lock in self._locks():
                _make_directory(lock.parent)
                _acquire(lock, deadline, timeout)
                held.callback(lock.unlink)
            yield

    def mode(self) -> int | None:
        """Return the permission bits; None when there is no file."""
        try:
            return stat.S_IMODE(self.target.stat().st_mode)
        except (FileNotFoundError, NotADirectoryError):
            return None

    def restrict(self) -> None:
        """Take their rights from group and others."""
        self.target.chmod(private_mode(self.target.stat().st_mode))

    def write(self, text: str, *, private: bool = False) -> None:
        """Replace the content in one step; owner and mode stay, a new file is the user's alone (0600).

        With ``private`` group and others lose their rights. A file that is mounted by itself can't be replaced; it is
        written in its place.
        """
        try:
            before = self.target.stat()
        except FileNotFoundError:
            before = None
        mode = 0o600 if before is None else stat.S_IMODE(before.st_mode)
        mode = private_mode(mode) if private else mode
        try:
            with files.replacing(self.target, mode, sync=True) as stream:
                stream.write(text.encode())
                if before is not None:
                    _same_owner(stream.fileno(), before, self.path)
                elif os.geteuid() == 0:
                    # With sudo in a user's home it is the user's.
                    above = self.target.parent.stat()
                    os.fchown(stream.fileno(), above.st_uid, above.st_gid)
        except OSError as exc:
            if exc.errno != errno.EBUSY:
                raise
            self._write_in_place(text.encode())
            self.target.chmod(mode)

    def _write_in_place(self, content: bytes) -> None:
        """Write over the content; where that fails, what was there before is put back."""
        with self.target.open("r+b") as stream:
            before = stream.read()
            try:
                # The space is there before a byte is overwritten.
                os.posix_fallocate(stream.fileno(), 0, max(len(content), 1))
                _overwrite(stream.fileno(), content)
            except OSError:
                _overwrite(stream.fileno(), before)
                raise

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


def written_by_kubectl(paths: Sequence[Path]) -> Path:
    """Return which of the files of a KUBECONFIG gets a new context: the first that is there, or else the last.

    See GetDefaultFilename in https://github.com/kubernetes/client-go/blob/master/tools/clientcmd/config.go .
    """
    return next((path for path in paths if path.exists()), paths[-1])


def _overwrite(descriptor: int, content: bytes) -> None:
    done = 0
    while done < len(content):
        done += os.pwrite(descriptor, content[done:], done)
    os.ftruncate(descriptor, len(content))
    os.fsync(descriptor)


def _unchangeable(path: Path) -> str:
    """Return what keeps even root from changing a file or directory; nothing where nothing is known."""
    with contextlib.suppress(OSError):
        # A file may be mounted by itself.
        if os.statvfs(path).f_flag & os.ST_RDONLY:
            return "on a read-only file system"
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    except OSError:
        return ""
    try:
        (flags,) = struct.unpack("l", fcntl.ioctl(descriptor, _FS_IOC_GETFLAGS, struct.pack("l", 0)))
    except OSError:  # a file system without attributes
        return ""
    finally:
        os.close(descriptor)
    return next((why for flag, why in _UNCHANGEABLE.items() if flags & flag), "")


def _make_directory(directory: Path) -> None:
    """Make a directory for its user alone, and those above it; root's are of whoever has the one above."""
    if directory.is_dir():
        return
    if not os.path.lexists(directory.parent):
        _make_directory(directory.parent)
    with contextlib.suppress(FileExistsError):
        directory.mkdir(mode=0o700)
        if os.geteuid() == 0:
            above = directory.parent.stat()
            os.chown(directory, above.st_uid, above.st_gid)


def _acquire(lock: Path, deadline: float, timeout: float) -> None:
    while True:
        try:
            os.close(os.open(lock, os.O_CREAT | os.O_EXCL, 0))
            return
        except FileExistsError:
            _wait(lock, deadline, timeout)


def _wait(lock: Path, deadline: float, timeout: float) -> None:
    if time.monotonic() >= deadline:
        raise KubeconfigError(_held(lock, timeout))
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
            raise KubeconfigError(_not_kept(path, before, now.st_uid)) from None


def _not_kept(path: Path, owner: os.stat_result, uid: int) -> str:
    return (
        f"{path}: belongs to uid {owner.st_uid}, gid {owner.st_gid}, which can't be kept as uid {uid}; "
        "nothing was changed. Run as its owner"
    )
