# Copyright: cicd.sandbox contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""From bytes to JSON text: files, compression, encodings, terminals' colours, and what is no JSON at all."""

from __future__ import annotations

import gzip
import io
import re
import stat
import zlib
from pathlib import Path
from typing import Final

from ansible_collections.cicd.sandbox.plugins.module_utils.reports.identify import of_kubernetes
from ansible_collections.cicd.sandbox.plugins.module_utils.reports.model import ReportError, safe

_GZIP: Final = b"\x1f\x8b"
# Colours, cursor movements and titles that programs send to terminals.
_ANSI: Final = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)|[@-Z\\^_])")
_BOMS: Final = {
    b"\xff\xfe\x00\x00": "utf-32",
    b"\x00\x00\xfe\xff": "utf-32",
    b"\xff\xfe": "utf-16",
    b"\xfe\xff": "utf-16",
}
# A decompressed report larger than this is an attack, not a report.
LARGEST: Final = 4 * 1024**3


def read_file(path: Path) -> bytes:
    """Return a file's content, decompressed; ReportError says why it can't be had."""
    try:
        mode = path.stat().st_mode
        if stat.S_ISDIR(mode):
            raise ReportError(f"{path} is a directory; name the report's file in it")
        if not stat.S_ISREG(mode):
            raise ReportError(f"{path} is not a regular file")
        data = path.read_bytes()
    except FileNotFoundError:
        raise ReportError(f"{path} does not exist; did the scan run?") from None
    except (OSError, ValueError) as exc:
        raise ReportError(f"{path} can't be read: {getattr(exc, 'strerror', None) or exc}") from None
    return _decompressed(data, path) if data.startswith(_GZIP) else data


def _decompressed(data: bytes, path: Path) -> bytes:
    parts: list[bytes] = []
    size = 0
    try:
        with gzip.open(io.BytesIO(data)) as file:
            while part := file.read(1 << 24):
                size += len(part)
                if size > LARGEST:
                    raise ReportError(f"{path} holds more than {LARGEST >> 30} GiB once decompressed")
                parts.append(part)
    except (OSError, EOFError, zlib.error) as exc:
        raise ReportError(f"{path} is a broken gzip file: {exc}") from None
    return b"".join(parts)


def as_json_text(data: bytes | str, name: str) -> str:
    """Return a report's text, which begins with JSON; ReportError says what it is instead."""
    text = data if isinstance(data, str) else _decoded(data, name)
    text = text.removeprefix("\ufeff")
    if "\x1b" in text:
        text = _ANSI.sub("", text)
    start = text[:4096].lstrip()[:400]
    if not start:
        if text.strip():
            raise ReportError(f"{name} begins with more than 4096 blanks")
        raise ReportError(f"{name} is empty; the scanner wrote nothing: look at its standard error and exit code")
    # Booleans, numbers and texts are JSON, too, but no scanner's report.
    if start[0] not in "{[" and not re.match(r"null\s*\Z", start):
        raise ReportError(f"{name} is {_what_else(start, text[:4096])}")
    if start[0] == "[" and _LOG_LINE.match(start):
        raise ReportError(f"{name} is {_what_else(start, text[:4096])}")
    return text


_BOOM: Final = re.compile(r"^Boom! \S+ (.+)", re.MULTILINE)
_LOG_LINE: Final = re.compile(r"\[(?:info|warn|warning|error|fatal|debug|trace|\d{4}-\d\d|\d\d:\d\d)\b", re.IGNORECASE)


def _is_utf_16(data: bytes) -> bool:
    """Say whether every other byte is null, as in UTF-16's plain letters: PowerShell writes it also without a mark."""
    start = data[: min(len(data), 64) & ~1]
    if len(start) < 2:
        return False
    even, odd = start[::2], start[1::2]
    return (not any(odd) and all(even)) or (not any(even) and all(odd))


def _decoded(data: bytes, name: str) -> str:
    if _is_utf_16(data):
        raise ReportError(f"{name} is UTF-16; write it as UTF-8 (PowerShell: Out-File -Encoding utf8)")
    for bom, encoding in _BOMS.items():
        if data.startswith(bom):
            raise ReportError(f"{name} is {encoding.upper()}; write it as UTF-8 (PowerShell: Out-File -Encoding utf8)")
    try:
        return str(data, "utf-8")
    except UnicodeDecodeError as exc:
        line = data.count(b"\n", 0, exc.start) + 1
        column = exc.start - data.rfind(b"\n", 0, exc.start)
        what = "binary data" if b"\0" in data[:1024] else "not UTF-8"
        raise ReportError(
            f"{name} is {what}: byte 0x{data[exc.start]:02x} at line {line}, byte {column}; expected JSON in UTF-8"
        ) from None


# What only one tool's YAML has, and how it is asked for JSON.
_YAMLS: Final = (
    (re.compile(r"^-? *code: \"?IST\d", re.MULTILINE), "istioctl analyze's YAML, not JSON; ask for -o json"),
    (re.compile(r"^popeye:", re.MULTILINE), "popeye's YAML, not JSON; ask for -o json"),
    (
        re.compile(r"^ *(?:summaryDetails|controlID):", re.MULTILINE),
        "kubescape's YAML, not JSON; ask for --format json",
    ),
)
_YAML_KIND: Final = re.compile(r"^(?:- )? *(kind|apiVersion): *[\"']?([\w./-]+)", re.MULTILINE)


def _yaml(text: str, line: str) -> str:
    for form, words in _YAMLS:
        if form.search(text):
            return words
    known = dict(reversed(_YAML_KIND.findall(text)))
    if len(known) == 2:
        return f"YAML, not JSON: {of_kubernetes(known['kind'], known['apiVersion'].partition('/')[0])}"
    return f"YAML, not JSON: {line}"


def _what_else(start: str, more: str) -> str:
    line = safe(start.splitlines()[0].strip())[:120]
    # Below its logo, on standard output.
    if boom := _BOOM.search(more):
        return f"no report but the last words of popeye, which gave up: {safe(boom[1])[:400]}"
    lowered = start.lower()
    if lowered.startswith(("<!doctype html", "<html")) or "<html" in lowered:
        return f"HTML, not JSON (an error page, or the scanner's HTML output?): {line}"
    if start.startswith("<"):
        return f"XML, not JSON: {line}"
    if re.match(r"(?:---|(?:- )?[\w.-]+:(?:\s|\Z))", start) and not re.match(r"\w+: \S.*\s\S", line):
        return _yaml(more, line)
    return (
        f"not JSON but text, probably the scanner's log or table: {line!r}; "
        "ask it for JSON and capture its standard output alone"
    )
