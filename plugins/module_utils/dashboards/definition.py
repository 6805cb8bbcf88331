# Copyright: cicd.sandbox contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reads what is on a dashboard, in the words of no program: the files of ``dashboards/``."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, TypeVar

# A panel's kind → what its queries may be.
KINDS = {
    "time_series": {"metrics", "log_numbers"},
    "stat": {"metrics"},
    "table": {"metrics"},
    "log_lines": {"logs"},
    "trace_points": {"exemplars", "traces"},
    "trace_list": {"exemplars", "traces"},
    "trace": {"traces"},
}
LANGUAGES = ("metrics", "logs", "log_numbers", "exemplars", "traces")
# Where other stores are asked in other words: the member of a query that has these → languages that need it.
COUNTERPARTS = {"logql": ("logs", "log_numbers"), "traceql": ("traces",)}
STACKS = ("perses", "grafana")
UNITS = ("cores", "bytes", "bytes/second", "seconds", "ratio", "number", "per_second")
STYLES = ("line", "dashed", "dotted", "bars")
COLUMNS = 24
# A variable as it stands in a query: $name, ${name} or ${name:format}.
VARIABLE = re.compile(r"\$(?:\{(\w+)(?::\w+)?\}|(\w+))")


class DashboardError(Exception):
    """A definition can't be meant."""


@dataclass(frozen=True)
class Query:
    """What a panel asks; one of `LANGUAGES` and its text.

    legend: name of a series, {{label}} standing for the value of a label.
    limit: lines, points or traces at most.
    order: of traces: "newest" or "slowest".
    style: how a series is drawn: one of `STYLES`.
    logql, traceql: the same for Loki and Tempo, of which the text is not understood.
    """

    language: str
    text: str
    legend: str = ""
    limit: int = 0
    order: str = ""
    style: str = "line"
    logql: str = ""
    traceql: str = ""

    @property
    def texts(self) -> list[str]:
        """What is asked, in all languages."""
        return [text for text in (self.text, self.logql, self.traceql) if text]


@dataclass(frozen=True)
class Page:
    """A page of the sandbox's where the same can be looked at further.

    name: the first label of its host; path: may have variables.
    stack: the one whose program has that path; nothing where it is so with all.
    """

    name: str
    title: str
    path: str = "/"
    stack: str = ""


@dataclass(frozen=True)
class Panel:
    """One panel.

    width, height: of `COLUMNS` columns, and rows.
    columns: of a table label → heading; of log lines the fields between time and text.
    links: field of a line or attribute of a span → name of a link of the dashboard.
    leads_to: name of the link that a trace of a list or a point leads to.
    empty: why there may be no data; nothing where there has to be some.
    """

    title: str
    kind: str
    queries: list[Query]
    width: int = COLUMNS
    height: int = 7
    description: str = ""
    unit: str = "number"
    stacked: bool = False
    columns: dict[str, str] = field(default_factory=dict)
    links: dict[str, str] = field(default_factory=dict)
    leads_to: str = ""
    page: Page | None = None
    empty: str = ""


@dataclass(frozen=True)
class Group:
    """Panels below a heading."""

    title: str
    panels: list[Panel]


@dataclass(frozen=True)
class Variable:
    """What can be chosen above the panels: values of a label of some series, or any text.

    label, of: the label, and the selector of the series (PromQL).
    text: what stands there at first, for a variable without `label`.
    default: values that are chosen at first, or "all".
    several: more than one can be chosen, and all.
    everything: what queries get for all instead of each of the values, such as .*; they need not wait for them then.
    """

    name: str
    title: str
    label: str = ""
    of: str = ""
    text: str = ""
    default: str | list[str] = ""
    several: bool = False
    everything: str = ""


@dataclass(frozen=True)
class Link:
    """Leads to a dashboard with variables set.

    variables: variable of that dashboard → what stands for its value, such as trace_id.
    """

    dashboard: str
    variables: dict[str, str]


@dataclass(frozen=True)
class Dashboard:
    """A dashboard; `range` and `refresh` are durations such as 1h."""

    name: str
    title: str
    groups: list[Group]
    description: str = ""
    range: str = "1h"
    refresh: str = ""
    variables: list[Variable] = field(default_factory=list)
    links: dict[str, Link] = field(default_factory=dict)

    @property
    def panels(self) -> list[Panel]:
        """All panels."""
        return [panel for group in self.groups for panel in group.panels]


Part = TypeVar("Part", Query, Page, Panel, Group, Variable, Link, Dashboard)


def read_dashboard(data: Mapping[str, Any]) -> Dashboard:
    """Read a definition as its file has it. Raises DashboardError with the place of what can't be meant."""
    where = f"dashboard {data.get('name', '(without a name)')}"
    values = {
        **data,
        "variables": [_part(Variable, where, item) for item in data.get("variables", [])],
        "links": {name: _part(Link, f"{where}, link {name}", item) for name, item in data.get("links", {}).items()},
        "groups": [_group(where, item) for item in data.get("groups", [])],
    }
    dashboard = _part(Dashboard, where, values)
    _check(where, dashboard)
    return dashboard


def _part(kind: type[Part], where: str, values: Mapping[str, Any]) -> Part:
    known = {item.name for item in fields(kind)}
    if unknown := set(values) - known:
        raise DashboardError(f"{where}: {', '.join(sorted(unknown))} is unknown, there are {', '.join(sorted(known))}")
    try:
        return kind(**values)
    except TypeError as error:
        raise DashboardError(f"{where}: {error}") from error


def _group(where: str, data: Mapping[str, Any]) -> Group:
    panels = [_panel(where, item) for item in data.get("panels", [])]
    return _part(Group, where, {**data, "panels": panels})


def _panel(where: str, data: Mapping[str, Any]) -> Panel:
    where = f"{where}, panel {data.get('title', '(without a title)')}"
    columns = data.get("columns", {})
    values = {
        **data,
        "queries": [_query(where, item) for item in data.get("queries", [])],
        "columns": columns if isinstance(columns, Mapping) else {name: name for name in columns},
    }
    if "page" in data:
        values["page"] = _part(Page, where, data["page"])
        if values["page"].stack not in ("", *STACKS):
            raise DashboardError(f"{where}: stack is {values['page'].stack!r}, not one of {', '.join(STACKS)}")
    panel = _part(Panel, where, values)
    if panel.kind not in KINDS:
        raise DashboardError(f"{where}: kind is {panel.kind!r}, not one of {', '.join(KINDS)}")
    if panel.unit not in UNITS:
        raise DashboardError(f"{where}: unit is {panel.unit!r}, not one of {', '.join(UNITS)}")
    if not 0 < panel.width <= COLUMNS:
        raise DashboardError(f"{where}: width is {panel.width}, not from 1 to {COLUMNS}")
    if not panel.queries:
        raise DashboardError(f"{where}: it has no queries")
    for query in panel.queries:
        if query.language not in KINDS[panel.kind]:
            raise DashboardError(f"{where}: {panel.kind} does not show {query.language}")
    return panel


def _query(where: str, data: Mapping[str, Any]) -> Query:
    languages = [name for name in LANGUAGES if name in data]
    if len(languages) != 1:
        raise DashboardError(
            f"{where}: a query has one of {', '.join(LANGUAGES)}, not {', '.join(languages) or 'none'}"
        )
    (language,) = languages
    rest = {name: value for name, value in data.items() if name != language}
    rest |= {name: str(rest[name]).strip() for name in COUNTERPARTS if name in rest}
    query = _part(Query, where, {"language": language, "text": str(data[language]).strip(), **rest})
    for name, same in COUNTERPARTS.items():
        if name in rest and language not in same:
            raise DashboardError(f"{where}: {name} says the same as {' or '.join(same)}, not as {language}")
    if query.style not in STYLES:
        raise DashboardError(f"{where}: style is {query.style!r}, not one of {', '.join(STYLES)}")
    if query.order not in ("", "newest", "slowest"):
        raise DashboardError(f"{where}: order is {query.order!r}, not newest or slowest")
    return query


def variables_in(text: str) -> set[str]:
    """Variables that a text makes use of, without those that dashboards have by themselves ($__…)."""
    names = {braced or plain for braced, plain in VARIABLE.findall(text)}
    return {name for name in names if not name.startswith("__")}


def _check(where: str, dashboard: Dashboard) -> None:
    known: set[str] = set()
    for variable in dashboard.variables:
        # They are filled in one after another.
        _check_names(f"{where}, variable {variable.name}", variables_in(variable.of), known)
        if bool(variable.label) != bool(variable.of):
            raise DashboardError(f"{where}, variable {variable.name}: label and of belong together")
        known.add(variable.name)
    for panel in dashboard.panels:
        place = f"{where}, panel {panel.title}"
        texts = [text for query in panel.queries for text in query.texts] + ([panel.page.path] if panel.page else [])
        for text in texts:
            _check_names(place, variables_in(text), known)
        for link in [*panel.links.values(), *([panel.leads_to] if panel.leads_to else [])]:
            if link not in dashboard.links:
                raise DashboardError(f"{place}: there is no link {link!r} on this dashboard")


def _check_names(where: str, used: set[str], known: set[str]) -> None:
    if missing := used - known:
        raise DashboardError(f"{where}: there is no variable {', '.join(sorted(missing))} before it")
