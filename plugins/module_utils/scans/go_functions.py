# Copyright: cicd.sandbox contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which functions a Go program has in it, also one without symbols.

A program of Go 1.20 or later has a table of its functions' names for its own stack traces (section .gopclntab), which
no linker flag takes away: runtime/symtab.go, type pcHeader. Inlined functions are in it, too.
"""

from __future__ import annotations

import mmap
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Final
from urllib.parse import unquote

_ELF64_LITTLE_ENDIAN: Final = b"\x7fELF\x02\x01"
_SECTIONS: Final = (b".gopclntab", b".data.rel.ro.gopclntab")
_MAGIC: Final = 0xFFFFFFF1  # Go 1.20 and later


def functions(program: Path) -> set[tuple[str, str]]:
    """Return package path and name (``Type.Method`` of methods) of each function in a program.

    Empty where its table can't be read: another format than 64 bit ELF, or a Go before 1.20. OSError where the file
    can't be.
    """
    with program.open("rb") as file:
        try:
            mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        except ValueError:  # an empty file
            return set()
        with mapped as data:
            try:
                names = _names(data)
            except (struct.error, IndexError):  # it breaks off
                return set()
    return {found for name in names if (found := split(name.decode("utf-8", "replace"))) is not None}


def _names(data: mmap.mmap) -> list[bytes]:
    if data[: len(_ELF64_LITTLE_ENDIAN)] != _ELF64_LITTLE_ENDIAN:
        return []
    for start in _tables(data):
        (magic,) = struct.unpack_from("<I", data, start)
        if magic == _MAGIC and data[start + 7] == 8:  # bytes of a pointer
            # Numbers of functions and files, start of the code, then where names begin, and what follows them.
            first, end = struct.unpack_from("<QQ", data, start + 32)
            return [name for name in data[start + first : start + end].split(b"\0") if name]
    return []


def _tables(data: mmap.mmap) -> Iterator[int]:
    """Give where in the file the sections begin that may have the table (ELF-64, section headers)."""
    (headers,) = struct.unpack_from("<Q", data, 0x28)
    size, count, names = struct.unpack_from("<HHH", data, 0x3A)
    sections = [struct.unpack_from("<IIQQQQ", data, headers + size * number) for number in range(count)]
    for section in sections:
        name = sections[names][4] + section[0]
        if data[name : data.find(b"\0", name)] in _SECTIONS:
            yield section[4]


def split(name: str) -> tuple[str, str] | None:
    """Return package path and function of a linker's name; None of what the compiler made for itself.

    As govulncheck has them: no type arguments, no pointers of receivers.
    """
    opening, closing = name.find("["), name.rfind("]")
    if 0 <= opening < closing:
        name = name[:opening] + name[closing + 1 :]
    if name.startswith(("go:", "type:")):
        return None
    slash = max(name.rfind("/"), 0)
    dot = name.find(".", slash)
    if dot < 0:
        return None
    receiver, _, function = name[dot + 1 :].rpartition(".")
    if receiver.startswith("(*"):
        receiver = receiver.strip("(*)")
    return unquote(name[:dot]), f"{receiver}.{function}" if receiver else function
