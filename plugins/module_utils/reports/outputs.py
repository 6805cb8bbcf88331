# Copyright: cicd.sandbox contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The files that the modules write: each in parts, so that none of them is ever whole in memory."""

from __future__ import annotations

import difflib
import hashlib
import itertools
import os
import shutil
import stat
import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO, Final

from ansible_collections.cicd.sandbox.plugins.module_utils.host import files
from ansible_collections.cicd.sandbox.plugins.module_utils.reports.gate import Judgement
from ansible_collections.cicd.sandbox.plugins.module_utils.reports.junit import junit_parts
from ansible_collections.cicd.sandbox.plugins.module_utils.reports.model import ReportError, safe
from ansible_collections.cicd.sandbox.plugins.module_utils.reports.page import html_parts
from ansible_collections.cicd.sandbox.plugins.module_utils.reports.sarif import sarif_parts
from ansible_collections.cicd.sandbox.plugins.module_utils.reports.shared import json_parts

WRITERS: Final[dict[str, Callable[[Judgement], Iterator[str]]]] = {
    "junit_path": junit_parts,
    "sarif_path": sarif_parts,
    "html_path": html_parts,
    "json_path": json_parts,
}
# Larger files are not shown in a diff.
_LARGEST_DIFF: Final = 100_000
_MODE: Final = 0o644
_CHUNK: Final = 1 << 20
# So many parts are written at once.
_PARTS: Final = 1000


def check_paths(params: Mapping[str, Any], *, check_mode: bool) -> None:
    """Refuse paths that can't be meant, before anything is read."""
    taken: dict[str, str] = {}
    for name in ("path", "waivers_file", "baseline", *WRITERS):
        path = params[name]
        if not path:
            continue
        if "\0" in path:
            raise ReportError(f"{name}: a path can't have a null character: {path!r}")
        # Of links that lead in a circle, too; what is wrong with them is said where the file is opened.
        other = taken.setdefault(os.path.realpath(path), name)
        if name not in WRITERS:
            continue
        if other != name:
            raise ReportError(f"{name} and {other} are the same file, {path}")
        check_output(name, Path(path), check_mode=check_mode)


def check_output(name: str, path: Path, *, check_mode: bool) -> None:
    """Refuse a file that is a directory, or in none: made in passing, one that is mistyped would never be found."""
    if _is_directory(path):
        raise ReportError(f"{name}: {path} is a directory")
    above = path.absolute().parent
    # In check mode an earlier task may only have said that it would make the directory.
    if check_mode or _is_directory(above):
        return
    missing = above
    while not _is_directory(missing.parent) and missing.parent != missing:
        missing = missing.parent
    if missing.is_symlink() or missing.exists():
        raise ReportError(f"{name}: {path} can't be written: {missing} is no directory")
    there = [item.name for item in missing.parent.iterdir() if item.is_dir()]
    close = difflib.get_close_matches(missing.name, there, 1)
    meant = f" (is {missing.parent / close[0]} meant?)" if close else ""
    raise ReportError(
        f"{name}: {path} can't be written: the directory {missing} does not exist{meant}; "
        "make it first, or mend the path"
    )


def _is_directory(path: Path) -> bool:
    try:
        return stat.S_ISDIR(path.stat().st_mode)
    except OSError:
        # It is not there, can't be reached, or has a name that no file can have.
        return False


def write(name: str, path: Path, parts: Iterator[str], *, check_mode: bool) -> dict[str, str] | None:
    """Write a file, unless it is as it should be; return what changes, as Ansible shows it. ``name`` is the option."""
    try:
        with tempfile.TemporaryFile() as made:
            while some := "".join(itertools.islice(parts, _PARTS)):
                made.write(some.encode())
            made.flush()
            if _is_so(path, made):
                return None
            shown = {
                "before_header": str(path),
                "after_header": str(path),
                "before": _shown(path),
                "after": _text(made),
            }
            if not check_mode:
                made.seek(0)
                with files.replacing(path, _MODE) as stream:
                    shutil.copyfileobj(made, stream, _CHUNK)
            return shown
    except OSError as exc:
        raise ReportError(f"{name}: {path} can't be written: {exc.strerror or exc}") from None


def _is_so(path: Path, made: BinaryIO) -> bool:
    """Say whether a file has what was made for it, and its mode."""
    if not path.exists():
        return False
    with path.open("rb") as there:
        status = os.fstat(there.fileno())
        if stat.S_IMODE(status.st_mode) != _MODE or status.st_size != made.tell():
            return False
        made.seek(0)
        while chunk := made.read(_CHUNK):
            if there.read(_CHUNK) != chunk:
                made.seek(0, os.SEEK_END)
                return False
    return True


def _shown(path: Path) -> str:
    if not path.exists():
        return ""
    with path.open("rb") as there:
        return _text(there)


def _text(stream: BinaryIO) -> str:
    size = stream.seek(0, os.SEEK_END)
    stream.seek(0)
    if size > _LARGEST_DIFF:
        digest = hashlib.sha256()
        while chunk := stream.read(_CHUNK):
            digest.update(chunk)
        return f"({size} bytes, SHA-256 {digest.hexdigest()})\n"
    return safe(stream.read().decode("utf-8", "replace"))
