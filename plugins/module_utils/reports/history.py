# Copyright: cicd.sandbox contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""How earlier runs ended: a file beside the reports, and what the page of all reports shows of it.

The file is JSON, the oldest run first::

    {"format": "cicd.sandbox/report-history-1",
     "runs": [{"at": "2026-11-30T19:20:00Z",
               "reports": {"trivy": {"passed": true, "counts": {"critical": 0, "high": 2, ...}}}}]}

``counts`` are findings that count, by severity; a report that could not be read has none, and has not passed.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
import json
from collections.abc import Iterator, Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any, Final

from ansible_collections.cicd.sandbox.plugins.module_utils.host import files
from ansible_collections.cicd.sandbox.plugins.module_utils.reports.model import (
    ReportError,
    as_count,
    as_dict,
    as_dicts,
    as_text,
    counted,
    safe,
)
from ansible_collections.cicd.sandbox.plugins.module_utils.reports.page import readable
from ansible_collections.cicd.sandbox.plugins.module_utils.reports.severity import SEVERITIES

FORMAT: Final = "cicd.sandbox/report-history-1"

# Of a line of so many runs each is still to be told from the next.
_MOST_POINTS: Final = 30
_MOST_ROWS: Final = 10
_WIDTH: Final = 96
_HEIGHT: Final = 24
_MARGIN: Final = 3


@dataclasses.dataclass(slots=True, frozen=True)
class Outcome:
    """How one report of a run ended. ``counts`` is None where it could not be read."""

    passed: bool
    counts: Mapping[str, int] | None

    @property
    def total(self) -> int | None:
        """How many findings counted."""
        return None if self.counts is None else sum(self.counts.values())


@dataclasses.dataclass(slots=True, frozen=True)
class Run:
    """How the reports of one run ended, by name. ``at`` is when they were put together, in UTC."""

    at: str
    reports: Mapping[str, Outcome]

    def as_dict(self) -> dict[str, Any]:
        """Return it as it is kept."""
        return {
            "at": self.at,
            "reports": {
                safe(name): {"passed": outcome.passed, "counts": None if outcome.counts is None else {**outcome.counts}}
                for name, outcome in self.reports.items()
            },
        }


def read_history(path: Path) -> list[Run]:
    """Return the runs that a file tells of, the oldest first; none where there is no file.

    Raise ReportError where it is something else, so that nothing of anybody's is written over.
    """
    try:
        content = files.read_regular(path)
    except FileNotFoundError:
        return []
    except OSError as exc:
        raise ReportError(f"history_path: {path} can't be read: {exc.strerror or exc}") from None
    try:
        said = as_dict(json.loads(content))
    except (ValueError, RecursionError):
        said = {}
    if said.get("format") != FORMAT:
        raise ReportError(
            f"history_path: {path} is no history that this module wrote; move it away, or name another file"
        )
    return [
        Run(
            as_text(run.get("at")),
            {as_text(name): _outcome(as_dict(value)) for name, value in as_dict(run.get("reports")).items()},
        )
        for run in as_dicts(said.get("runs"))
    ]


def _outcome(said: Mapping[str, Any]) -> Outcome:
    counts = said.get("counts")
    if not isinstance(counts, dict):
        return Outcome(False, None)
    return Outcome(said.get("passed") is True, {severity: as_count(counts.get(severity)) for severity in SEVERITIES})


def extended(runs: Sequence[Run], reports: Mapping[str, Outcome], at: dt.datetime, size: int) -> list[Run]:
    """Return the last ``size`` runs with this one; as they are where it ended as the one before did."""
    if runs and runs[-1].reports == reports:
        return [*runs]
    return [*runs, Run(at.astimezone(dt.UTC).strftime("%Y-%m-%dT%H:%M:%SZ"), reports)][-size:]


def history_parts(runs: Sequence[Run]) -> Iterator[str]:
    """Give the file in parts: one line a run."""
    lines = ",\n".join(f"  {json.dumps(run.as_dict(), sort_keys=True)}" for run in runs)
    yield f'{{"format": "{FORMAT}", "runs": [\n{lines}\n]}}\n'


def trend(runs: Sequence[Run], name: str) -> str:
    """Return markup that shows how the findings of a report went: a line, and what changed since the run before."""
    totals = [outcome.total for run in runs[-_MOST_POINTS:] if (outcome := run.reports.get(name))]
    known = [total for total in totals if total is not None]
    if not known:
        return ""
    if len(totals) < 2:
        return "first run"
    before, now = totals[-2:]
    if now is None:
        said = "no report"
    elif before is None:
        said = "no report before"
    else:
        said = "unchanged" if now == before else f"{now - before:+,}".replace("-", "\N{MINUS SIGN}")
    return f"{_line(totals, counted(known[-1], 'finding'))}<small>{said}</small>"


def _line(totals: Sequence[int | None], now: str) -> str:
    """Return a drawing of numbers, of which some are missing; its scale begins at zero."""
    most = max(total for total in totals if total is not None) or 1
    step = (_WIDTH - 2 * _MARGIN) / (len(totals) - 1)
    points = [
        f"{_MARGIN + step * index:.1f},{_HEIGHT - _MARGIN - (_HEIGHT - 2 * _MARGIN) * total / most:.1f}"
        for index, total in enumerate(totals)
        if total is not None
    ]
    x, y = points[-1].split(",")
    said = f"findings of {counted(len(totals), 'run')}, {now} in the last"
    return (
        f'<svg class="line" role="img" aria-label="{escape(said)}" width="{_WIDTH}" height="{_HEIGHT}">'
        f'<polyline points="{" ".join(points)}"/><circle cx="{x}" cy="{y}" r="2.5"/></svg>'
    )


def history_table(runs: Sequence[Run]) -> str:
    """Return markup that shows how the last runs ended, the newest first; nothing where there is but one."""
    if len(runs) < 2:
        return ""
    heads = "".join(f'<th scope="col" class="number">{severity.capitalize()}</th>' for severity in SEVERITIES)
    rows = "".join(_row(run) for run in reversed(runs[-_MOST_ROWS:]))
    return (
        '<section aria-labelledby="history"><h2 id="history">Runs that ended differently</h2>'
        f'<table class="index"><thead><tr><th scope="col">Run</th><th scope="col">Verdict</th>{heads}</tr></thead>'
        f"<tbody>\n{rows}</tbody></table></section>\n"
    )


def _row(run: Run) -> str:
    failed = [name for name, outcome in run.reports.items() if not outcome.passed]
    state, verdict = ("shut", f"failed: {', '.join(failed)}") if failed else ("open", "passed")
    known = [outcome.counts for outcome in run.reports.values() if outcome.counts is not None]
    counts = "".join(
        f'<td data-name="{severity.capitalize()}" class="number">{sum(counts[severity] for counts in known):,}</td>'
        for severity in SEVERITIES
    )
    return (
        f'<tr><td data-name="Run">{escape(readable(run.at))}</td>'
        f'<td data-name="Verdict" class="verdict {state}">{escape(safe(verdict))}</td>{counts}</tr>\n'
    )
