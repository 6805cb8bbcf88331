# Copyright: cicd.sandbox contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""JSON read piece by piece.

A piece is decoded by the standard library's C scanner, looked at and dropped, so that the whole tree of a large report
never exists: that is what makes reading it about as fast as ``json.loads``, and smaller.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from typing import Any, Final, NamedTuple

from ansible_collections.cicd.sandbox.plugins.module_utils.reports.model import ReportError, safe

# The standard library's C scanner, which has no type hints.
_json: Final[Any] = json.decoder
_scanstring: Final[Callable[[str, int, bool], tuple[str, int]]] = _json.scanstring

_HALF_A_TOKEN: Final = re.compile(r"[-+.eE\d]*|t|tr|tru|f|fa|fal|fals|n|nu|nul")
_BLANKS: Final = re.compile(r"[ \t\n\r]*").match
# Up to the next neighbour's first key: within an element, too, there may be neighbours.
_BETWEEN: Final = re.compile(r'([ \t\n\r]*,[ \t\n\r]*)(?:"|\[|\{[ \t\n\r]*(?:"[^"\\]{0,99}")?)').match
# Values read one by one before a piece is tried; a piece's least size; how far to look for where it may end.
_FEW: Final = 16
_PIECE: Final = 1 << 16
_REACH: Final = 1 << 20


def _no_constant(_name: str) -> None:
    """NaN and the infinities are not JSON; as numbers they would poison scores."""


def _scanner(**settings: Any) -> Callable[[str, int], tuple[Any, int]]:
    # Control characters inside texts are let pass: scanners copy them from what they scan.
    decoder = _json.JSONDecoder(strict=False, parse_constant=_no_constant, **settings)
    scan: Callable[[str, int], tuple[Any, int]] = decoder.scan_once
    return scan


_scan: Final = _scanner()
# Objects as lists of (key, value), for those in which a key repeats.
_scan_pairs: Final = _scanner(object_pairs_hook=list)


class Piece(NamedTuple):
    """Some neighbours in an array or object.

    ``values``: a list of elements or of (key, value); or what stands in the text from ``start`` to ``end``, decoded as
    one array or object: of keys that repeat, this has the last.
    """

    values: Any
    start: int = 0
    end: int = 0


class Cursor:
    """A place in JSON text. The value at it is consumed by one of its methods; then it stands behind the value."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.at = self._skip(0)

    def _skip(self, at: int) -> int:
        match = _BLANKS(self.text, at)
        return match.end() if match else at

    def kind(self) -> str:
        """Return the first character of the value: { for an object, [ for an array."""
        return self.text[self.at : self.at + 1]

    def value(self, *, pairs: bool = False) -> Any:
        """Decode the value; with ``pairs``, objects as lists of (key, value)."""
        try:
            value, self.at = (_scan_pairs if pairs else _scan)(self.text, self.at)
        except StopIteration as exc:
            raise json.JSONDecodeError("Expecting value", self.text, exc.value) from None
        return value

    def members(self) -> Iterator[str]:
        """Give an object's keys one by one; each key's value has to be consumed before the next is asked for."""
        self.at = self._skip(self.at + 1)
        if self.kind() == "}":
            self.at += 1
            return
        yield self._key()
        yield from self._more_members()

    def _key(self) -> str:
        """Consume a key and its colon."""
        text = self.text
        if self.kind() != '"':
            raise json.JSONDecodeError("Expecting property name enclosed in double quotes", text, self.at)
        key, self.at = _scanstring(text, self.at + 1, False)
        self.at = self._skip(self.at)
        if self.kind() != ":":
            raise json.JSONDecodeError("Expecting ':' delimiter", text, self.at)
        self.at = self._skip(self.at + 1)
        return key

    def _more_members(self) -> Iterator[str]:
        """Give the keys behind a value."""
        self.at = self._skip(self.at)
        while self.kind() == ",":
            self.at = self._skip(self.at + 1)
            yield self._key()
            self.at = self._skip(self.at)
        if self.kind() != "}":
            raise json.JSONDecodeError("Expecting ',' delimiter", self.text, self.at)
        self.at += 1

    def pairs(self) -> Iterator[tuple[str, Any]]:
        """Give an object's keys with their decoded values, fast where nothing stands between them."""
        text, scan, scan_text = self.text, _scan, _scanstring
        at = self.at
        # As long as it goes on with exactly these; whatever else there is, members() reads.
        while text.startswith('{"' if at == self.at else ',"', at):
            try:
                key, end = scan_text(text, at + 2, False)
                if text[end : end + 1] != ":":
                    break
                value, end = scan(text, end + 1)
            except (StopIteration, ValueError):
                break
            yield key, value
            at = end
        if at == self.at:
            for key in self.members():
                yield key, self.value()
            return
        self.at = at
        for key in self._more_members():
            yield key, self.value()

    def pieces(self) -> Iterator[Piece]:
        """Give an array's elements or an object's members in pieces: decoding many at once is faster."""
        brackets = "{}" if self.kind() == "{" else "[]"
        few: list[Any] = []
        for key in self.members() if brackets == "{}" else self.places():
            few.append((key, self.value()) if brackets == "{}" else self.value())
            if len(few) == _FEW:
                yield Piece(few)
                few = []
                while piece := self._piece(brackets):
                    yield piece
        yield Piece(few)

    def _piece(self, brackets: str) -> Piece | None:
        """Decode neighbours behind a value as one; None where it has to be done one by one."""
        text = self.text
        between = _BETWEEN(text, self.at)
        if between is None:
            return None
        start = between.end(1)
        # What looks like a neighbour's end may be inside it; then a bracket or a quote is left open, and it fails.
        stop = text.find(text[self.at - 1] + between.group(), start + _PIECE, start + _PIECE + _REACH)
        if stop < 0:
            return None
        body = f"{brackets[0]}{text[start : stop + 1]}{brackets[1]}"
        try:
            values, end = _scan(body, 0)
        except (StopIteration, ValueError, RecursionError):
            return None
        # All of it, or as far as the array or object goes.
        self.at = stop + 1 if end == len(body) else start + end - 2
        return Piece(values, start, self.at)

    def places(self) -> Iterator[None]:
        """Stop at every value of an array; each has to be consumed before the next is asked for."""
        text = self.text
        self.at = self._skip(self.at + 1)
        if self.kind() == "]":
            self.at += 1
            return
        while True:
            yield
            self.at = self._skip(self.at)
            if self.kind() != ",":
                break
            self.at = self._skip(self.at + 1)
        if self.kind() != "]":
            raise json.JSONDecodeError("Expecting ',' delimiter", text, self.at)
        self.at += 1

    def elements(self) -> Iterator[Any]:
        """Give an array's decoded values."""
        text, scan, skip = self.text, _scan, self._skip
        at = skip(self.at + 1)
        if text[at : at + 1] == "]":
            self.at = at + 1
            return
        # What stood between two values will stand between the next.
        between = ","
        while True:
            try:
                value, at = scan(text, at)
            except StopIteration as exc:
                raise json.JSONDecodeError("Expecting value", text, exc.value) from None
            yield value
            if text.startswith(between, at):
                there = at + len(between)
                if text[there : there + 1] > " ":
                    at = there
                    continue
            end = at
            at = skip(at)
            if text[at : at + 1] != ",":
                break
            at = skip(at + 1)
            between = text[end:at]
        if text[at : at + 1] != "]":
            raise json.JSONDecodeError("Expecting ',' delimiter", text, at)
        self.at = at + 1

    def finish(self) -> None:
        """Make sure that nothing follows the value."""
        self.at = self._skip(self.at)
        if self.at < len(self.text):
            raise json.JSONDecodeError("Extra data", self.text, self.at)


def _breaks_off(exc: json.JSONDecodeError, text: str) -> bool:
    """Say whether what is wrong is that the text ends, be it in the middle of a word."""
    if exc.msg.startswith("Unterminated string") or exc.pos >= len(text.rstrip()):
        return True
    rest = text[exc.pos : exc.pos + 12]
    if exc.pos + len(rest) < len(text):
        return False
    return exc.msg.startswith("Invalid \\") or _HALF_A_TOKEN.fullmatch(rest.rstrip()) is not None


def explain(exc: Exception, text: str, name: str) -> ReportError:
    """Return what the reader of a report is told about JSON that can't be decoded."""
    if isinstance(exc, json.JSONDecodeError):
        where = f"line {exc.lineno}, column {exc.colno}"
        if _breaks_off(exc, text):
            return ReportError(
                f"{name} is truncated JSON: it breaks off at {where}; was the scan stopped, or the disk full?"
            )
        if exc.msg == "Extra data":
            rest = safe(text[exc.pos : exc.pos + 60].strip())
            if rest[:1] in "{[":
                return ReportError(
                    f"{name} has a second document after its JSON, from {where}, which begins {rest!r};"
                    " give every report a file of its own"
                )
            return ReportError(
                f"{name} has more after its JSON, from {where}: {rest!r}; capture the scanner's standard output alone"
            )
        return ReportError(f"{name} is not valid JSON: {exc.msg} at {where}")
    if isinstance(exc, RecursionError):
        return ReportError(f"{name} is nested too deep to be a report")
    # Python refuses integers of more than 4300 digits.
    return ReportError(f"{name} can't be decoded: {exc}")
