# Copyright: cicd.sandbox contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Files that are replaced in one step: who reads one sees the old content or the new, never half of it."""

from __future__ import annotations

import errno
import fcntl
import os
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO


@contextmanager
def replacing(
    path: Path, mode: int = 0o644, *, sync: bool = False, check: Callable[[Path], None] | None = None
) -> Iterator[BinaryIO]:
    """Give a new file that takes the place of ``path`` when the block ends well; otherwise ``path`` is as it was.

    Until then it is ``.<name>.partial`` in the same directory, and its owner's alone. One that a killed writer left is
    used again; two writers wait for each other. With ``sync`` the content is on the disk before it can be seen;
    ``check`` is given the new file while the old one is in its place, and raises to keep that.
    """
    partial = path.with_name(f".{path.name}.partial")
    with os.fdopen(_own(partial), "wb") as stream:
        try:
            yield stream
            stream.flush()
            os.fchmod(stream.fileno(), mode)
            if sync:
                os.fsync(stream.fileno())
            if check:
                check(partial)
            partial.replace(path)
        except BaseException:
            partial.unlink(missing_ok=True)
            raise


def _own(partial: Path) -> int:
    """Open an empty file that nobody else writes."""
    while True:
        descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW, 0o600)
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        # Whoever held the lock has put the file in its place, or removed it.
        with suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(descriptor), partial.lstat()):
                os.fchmod(descriptor, 0o600)
                os.ftruncate(descriptor, 0)
                return descriptor
        os.close(descriptor)


_KINDS = {
    stat.S_IFDIR: "directory",
    stat.S_IFIFO: "named pipe",
    stat.S_IFSOCK: "socket",
    stat.S_IFCHR: "device",
    stat.S_IFBLK: "device",
}


class NotRegularError(OSError):
    """A path leads to something else than a file."""


def read_regular(path: Path) -> bytes:
    """Return a file's content. What is no regular file is not opened: that may wait for ever, or do something.

    Raise NotRegularError saying what it is, or OSError saying why it can't be read.
    """
    kind = _KINDS.get(stat.S_IFMT(path.stat().st_mode))
    if kind:
        raise NotRegularError(errno.EINVAL, f"Is a {kind}, not a file", str(path))
    return path.read_bytes()


def write(
    path: Path,
    content: str,
    mode: int = 0o644,
    *,
    sync: bool = False,
    check: Callable[[Path], None] | None = None,
) -> None:
    """Replace a file by one with this text and mode; directories above it are made where they are missing.

    The text is written as UTF-8; a surrogate is the byte it stands for (PEP 383).
    """
    path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
    with replacing(path, mode, sync=sync, check=check) as stream:
        stream.write(content.encode(errors="surrogateescape"))


def write_changed(path: Path, content: str, mode: int = 0o644) -> bool:
    """Write a file unless it has this text and mode already; tell whether it was written."""
    with suppress(OSError):
        same_text = path.read_bytes() == content.encode(errors="surrogateescape")
        if same_text and path.stat().st_mode & 0o7777 == mode:
            return False
    write(path, content, mode)
    return True
