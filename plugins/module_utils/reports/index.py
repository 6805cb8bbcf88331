# Copyright: cicd.sandbox contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""One page for all reports of a run: what was scanned by which tool, how it ended, where its page is."""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Iterator, Sequence
from html import escape
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

from ansible_collections.cicd.sandbox.plugins.module_utils.reports.history import Outcome, Run, history_table, trend
from ansible_collections.cicd.sandbox.plugins.module_utils.reports.model import (
    FORMAT,
    as_count,
    as_dict,
    as_list,
    as_text,
    counted,
    safe,
)
from ansible_collections.cicd.sandbox.plugins.module_utils.reports.page import beginning, readable, wrapped
from ansible_collections.cicd.sandbox.plugins.module_utils.reports.severity import SEVERITIES

# What stands before the findings is a few kilobytes.
_LONGEST_HEAD: Final = 4_000_000
_FINDINGS: Final = b'\n  "findings": ['


@dataclasses.dataclass(slots=True)
class Entry:
    """A report of a run. ``problem`` is why it can't be read: then nobody knows whether it passed."""

    source: Path
    # Its page, if there is one.
    page: Path | None
    name: str
    tool: str = ""
    target: str = ""
    passed: bool = False
    summary: str = ""
    counts: dict[str, int] = dataclasses.field(default_factory=dict)
    reasons: list[str] = dataclasses.field(default_factory=list)
    scanned_at: str = ""
    empty: bool = False
    degraded: int = 0
    skipped: int = 0
    problem: str = ""

    def outcome(self) -> Outcome:
        """Return how it ended."""
        return Outcome(self.passed, None if self.problem else self.counts)

    def as_dict(self) -> dict[str, Any]:
        """Return it as the module does."""
        return {
            "name": self.name,
            "tool": self.tool,
            "target": self.target,
            "passed": self.passed,
            "summary": self.summary,
            "counts": self.counts,
            "reasons": self.reasons,
            "json_path": str(self.source),
            "html_path": str(self.page) if self.page else "",
            "problem": self.problem,
        }


def read_entry(source: Path, page: Path | None = None, name: str = "") -> Entry:
    """Return what a report that was written for ``json_path`` says before its findings, of which it may have a million.

    The page is the one named, or the file beside the report that is called as it is, with .html.
    """
    beside = source.with_suffix(".html")
    entry = Entry(source, page or (beside if beside.is_file() else None), name or source.stem)
    try:
        with source.open("rb") as stream:
            head = stream.read(_LONGEST_HEAD)
    except (OSError, ValueError) as exc:
        entry.problem = f"can't be read: {getattr(exc, 'strerror', None) or exc}"
        return entry
    end = head.find(_FINDINGS)
    try:
        said = as_dict(json.loads(head[:end].rstrip(b",") + b"}" if end >= 0 else head))
    except (ValueError, RecursionError):
        said = {}
    gate = as_dict(said.get("gate"))
    if said.get("format") != FORMAT or not isinstance(gate.get("passed"), bool):
        entry.problem = "is no report that these modules wrote for json_path"
        return entry
    entry.tool = as_text(said.get("tool"))
    entry.target = next((text for key in ("target", "cluster", "context") if (text := as_text(said.get(key)))), "")
    entry.passed = gate["passed"]
    entry.reasons = [as_text(reason) for reason in as_list(gate.get("reasons"))]
    entry.summary = as_text(said.get("summary"))
    counts = as_dict(said.get("counts"))
    entry.counts = {severity: as_count(counts.get(severity)) for severity in SEVERITIES}
    entry.scanned_at = as_text(said.get("scanned_at"))
    entry.empty = said.get("empty") is True
    entry.degraded = len(as_list(said.get("degraded")))
    entry.skipped = as_count(said.get("skipped"))
    return entry


def summary(entries: Sequence[Entry]) -> str:
    """Say how a run ended: "4 reports: 1 failed, 3 passed"."""
    if not entries:
        return "no reports"
    passed = sum(entry.passed for entry in entries)
    said = f"{counted(len(entries), 'report')}: "
    return said + (f"{len(entries) - passed} failed, {passed} passed" if passed < len(entries) else "all passed")


def index_parts(entries: Sequence[Entry], title: str, place: Path, runs: Sequence[Run] = ()) -> Iterator[str]:
    """Give the page in parts; ``place`` is the directory in which it will be, which its links start from.

    ``runs`` are those that a history tells of, with this one.
    """
    line = summary(entries)
    state = "open" if entries and all(entry.passed for entry in entries) else "shut"
    yield beginning(f"{safe(title)}: {line}")
    yield f'<header><h1>{wrapped(safe(title))}</h1><p class="policy {state}">{escape(line)}</p></header>\n<main>'
    yield '<section aria-label="Reports"><table class="index"><thead><tr>'
    for name in ("Verdict", "Report", "Target", "Tool"):
        yield f'<th scope="col">{name}</th>'
    for severity in SEVERITIES:
        yield f'<th scope="col" class="number">{severity.capitalize()}</th>'
    if runs:
        yield '<th scope="col">Trend</th>'
    yield '<th scope="col">Scanned</th></tr></thead><tbody>\n'
    # What has to be seen to stands first.
    for entry in sorted(entries, key=lambda entry: entry.passed):
        yield _row(entry, place, runs)
    yield "</tbody></table></section>\n"
    yield history_table(runs)
    yield "</main></body></html>\n"


def _row(entry: Entry, place: Path, runs: Sequence[Run]) -> str:
    verdict, state = ("passed", "open") if entry.passed else ("failed", "shut")
    if entry.problem:
        verdict = "no report"
    link = wrapped(safe(entry.name))
    if entry.page is not None:
        address = quote(os.path.relpath(entry.page, place), errors="surrogateescape")
        # A name with a colon would be taken for a scheme.
        link = f'<a href="./{address}">{link}</a>'
    notes = [entry.problem, *entry.reasons]
    if entry.passed:
        # What was let pass: of failed ones it is among the reasons.
        notes += ["nothing was scanned"] if entry.empty else []
        notes += ["the scan is partial"] if entry.degraded else []
    notes += [f"{counted(entry.skipped, 'check')} skipped"] if entry.skipped else []
    said = "".join(f"<small>{escape(safe(note))}</small>" for note in notes if note)
    cells = [
        ("Verdict", f"verdict {state}", verdict),
        ("Report", "", f"<span>{link}</span>{said}"),
        ("Target", "", wrapped(safe(entry.target))),
        ("Tool", "", escape(safe(entry.tool))),
        *((severity.capitalize(), "number", f"{entry.counts.get(severity, 0):,}") for severity in SEVERITIES),
        *([("Trend", "", trend(runs, entry.name))] if runs else []),
        ("Scanned", "", escape(readable(entry.scanned_at))),
    ]
    if entry.problem:
        cells = [(label, kind, "" if kind == "number" else text) for label, kind, text in cells]
    tags = (f'<td data-name="{label}"{f" class={kind!r}" if kind else ""}>{text}</td>' for label, kind, text in cells)
    return f"<tr>{''.join(tags)}</tr>\n"
