# Copyright: cicd.sandbox contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Renders dashboards for Perses (https://perses.dev/perses/docs/api/dashboard/)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from ansible_collections.cicd.sandbox.plugins.module_utils.dashboards.definition import (
    COLUMNS,
    Dashboard,
    Link,
    Panel,
    Query,
    Variable,
)

UNITS: dict[str, dict[str, Any]] = {
    "cores": {"unit": "decimal", "decimalPlaces": 2},
    "bytes": {"unit": "bytes", "shortValues": True},
    "bytes/second": {"unit": "bytes/sec", "shortValues": True},
    "seconds": {"unit": "seconds"},
    "ratio": {"unit": "percent-decimal"},
    "number": {"unit": "decimal", "shortValues": True},
    "per_second": {"unit": "requests/sec"},
}
PANELS = {
    "time_series": "TimeSeriesChart",
    "stat": "StatChart",
    "table": "Table",
    "log_lines": "LogsTable",
    "trace_points": "ScatterChart",
    "trace_list": "TraceTable",
    "trace": "TracingGanttChart",
}
# Language → kind of Perses' query, and of the plugin that asks.
QUERIES = {
    "metrics": ("TimeSeriesQuery", "PrometheusTimeSeriesQuery"),
    "logs": ("LogQuery", "VictoriaLogsLogQuery"),
    "log_numbers": ("TimeSeriesQuery", "VictoriaLogsTimeSeriesQuery"),
    "exemplars": ("TraceQuery", "PrometheusExemplarsQuery"),
    "traces": ("TraceQuery", "JaegerTraceQuery"),
}
ALL = "$__all"


def render_dashboard(dashboard: Dashboard, project: str, page_url: str) -> dict[str, Any]:
    """The resource Dashboard; page_url: address of a page, with {name} for the first label of its host."""
    panels: dict[str, Any] = {}
    layouts = []
    for number, group in enumerate(dashboard.groups):
        items = []
        x = y = row = 0
        for place, panel in enumerate(group.panels):
            if x + panel.width > COLUMNS:
                x, y, row = 0, y + row, 0
            key = f"{number}_{place}"
            panels[key] = _panel(dashboard, panel, project, page_url)
            content = {"$ref": f"#/spec/panels/{key}"}
            items.append({"x": x, "y": y, "width": panel.width, "height": panel.height, "content": content})
            x, row = x + panel.width, max(row, panel.height)
        display = {"title": group.title, "collapse": {"open": True}}
        layouts.append({"kind": "Grid", "spec": {"display": display, "items": items}})
    spec = {
        "display": {"name": dashboard.title, "description": dashboard.description},
        "duration": dashboard.range,
        "variables": [_variable(variable) for variable in dashboard.variables],
        "panels": panels,
        "layouts": layouts,
    }
    if dashboard.refresh:
        spec["refreshInterval"] = dashboard.refresh
    return {"kind": "Dashboard", "metadata": {"name": dashboard.name, "project": project}, "spec": spec}


def _variable(variable: Variable) -> dict[str, Any]:
    display = {"name": variable.title}
    if not variable.label:
        return {"kind": "TextVariable", "spec": {"name": variable.name, "display": display, "value": variable.text}}
    spec: dict[str, Any] = {
        "name": variable.name,
        "display": display,
        "allowAllValue": variable.several,
        "allowMultiple": variable.several,
        "sort": "alphabetical-asc",
        "plugin": {
            "kind": "PrometheusLabelValuesVariable",
            "spec": {"labelName": variable.label, "matchers": [variable.of]},
        },
    }
    if variable.everything:
        spec["customAllValue"] = variable.everything
    if variable.default == "all":
        spec["defaultValue"] = [ALL]
    elif variable.default:
        spec["defaultValue"] = variable.default
    return {"kind": "ListVariable", "spec": spec}


def link_url(link: Link, project: str, placeholders: Mapping[str, str]) -> str:
    """Where a link leads, with the time range that is shown; placeholders: what a panel calls things otherwise."""
    values = [f"var-{name}=${{{placeholders.get(value, value)}}}" for name, value in link.variables.items()]
    query = "&".join([*values, "start=${__from}", "end=${__to}"])
    return f"/projects/{project}/dashboards/{link.dashboard}?{query}"


def _panel(dashboard: Dashboard, panel: Panel, project: str, page_url: str) -> dict[str, Any]:
    description = panel.description
    if panel.empty:
        description = f"{description} No data: {panel.empty}.".strip()
    spec: dict[str, Any] = {
        "display": {"name": panel.title, "description": description},
        "plugin": {"kind": PANELS[panel.kind], "spec": _plugin(dashboard, panel, project)},
        "queries": [_query(query) for query in panel.queries],
    }
    if panel.page:
        url = page_url.format(name=panel.page.name) + panel.page.path
        spec["links"] = [{"name": panel.page.title, "url": url, "targetBlank": True, "renderVariables": True}]
    return {"kind": "Panel", "spec": spec}


def _plugin(dashboard: Dashboard, panel: Panel, project: str) -> dict[str, Any]:
    links = {name: link_url(dashboard.links[link], project, {}) for name, link in panel.links.items()}
    to_trace = ""
    if panel.leads_to:
        to_trace = link_url(dashboard.links[panel.leads_to], project, {"trace_id": "traceId"})
    shown = [{"name": label, "header": heading} for label, heading in panel.columns.items()]
    hidden = [{"name": name, "hide": True} for name in ("timestamp", "value")]
    attributes = [{"name": name, "link": url} for name, url in links.items()]
    specs: dict[str, dict[str, Any]] = {
        "stat": {"calculation": "last-number", "format": UNITS[panel.unit]},
        "table": {"density": "compact", "columnSettings": [*shown, *hidden]},
        "log_lines": {
            "columns": list(panel.columns),
            "links": [{"field": name, "link": url} for name, url in links.items()],
        },
        "trace_points": {"link": to_trace} if to_trace else {},
        "trace_list": {"links": {"trace": to_trace}} if to_trace else {},
        "trace": {"links": {"attributes": attributes}},
    }
    return _time_series(panel) if panel.kind == "time_series" else specs[panel.kind]


def _time_series(panel: Panel) -> dict[str, Any]:
    styles = {number: query.style for number, query in enumerate(panel.queries)}
    visual: dict[str, Any] = {
        "lineWidth": 1.25,
        "areaOpacity": 0.1 if panel.stacked else 0,
        "palette": {"mode": "auto"},
    }
    if "bars" in styles.values():
        visual["display"] = "bar"
    if panel.stacked:
        visual |= {"stack": "all", "areaOpacity": 0.1}
    spec: dict[str, Any] = {
        "legend": {"position": "bottom", "mode": "list"},
        "yAxis": {"format": UNITS[panel.unit], "min": 0},
        "tooltip": {"enablePinning": True},
        "visual": visual,
    }
    settings = [
        {"queryIndex": number, "lineStyle": style} for number, style in styles.items() if style in ("dashed", "dotted")
    ]
    if settings:
        spec["querySettings"] = settings
    return spec


def _query(query: Query) -> dict[str, Any]:
    kind, plugin = QUERIES[query.language]
    spec: dict[str, Any] = {"query": query.text}
    if query.legend and query.language == "metrics":
        spec["seriesNameFormat"] = query.legend
    if query.limit:
        spec["limit"] = query.limit
    if query.order:
        spec["order"] = query.order
    return {"kind": kind, "spec": {"plugin": {"kind": plugin, "spec": spec}}}


def render_surroundings(project: str, title: str, addresses: Mapping[str, str], user: str) -> list[dict[str, Any]]:
    """What dashboards need: rights of the one user, the project, datasources.

    addresses: prometheus, victorialogs, jaeger → URL, which the server asks.
    """
    everything = {"actions": ["*"], "scopes": ["*"]}
    return [
        {"kind": "GlobalRole", "metadata": {"name": user}, "spec": {"permissions": [everything]}},
        {
            "kind": "GlobalRoleBinding",
            "metadata": {"name": user},
            "spec": {"role": user, "subjects": [{"kind": "User", "name": user}]},
        },
        _datasource("prometheus", "PrometheusDatasource", addresses, PROMETHEUS),
        _datasource("victorialogs", "VictoriaLogsDatasource", addresses, [("GET", "/select/logsql/.*")]),
        _datasource("jaeger", "JaegerDatasource", addresses, [("GET", "/api/v3/.*")]),
        {"kind": "Project", "metadata": {"name": project}, "spec": {"display": {"name": title}}},
    ]


# What upstream's plugin asks, and exemplars; nothing that changes anything.
PROMETHEUS = [
    *(("POST", f"/api/v1/{path}") for path in ("labels", "query", "query_range", "series", "parse_query")),
    *(
        ("GET", f"/api/v1/{path}")
        for path in ("labels", "label/[a-zA-Z0-9_]+/values", "metadata", "parse_query", "query_exemplars", "series")
    ),
]


def _datasource(name: str, kind: str, addresses: Mapping[str, str], endpoints: list[tuple[str, str]]) -> dict[str, Any]:
    allowed = [{"method": method, "endpointPattern": f"^{pattern}$"} for method, pattern in endpoints]
    proxy = {"kind": "HTTPProxy", "spec": {"url": addresses[name], "allowedEndpoints": allowed}}
    return {
        "kind": "GlobalDatasource",
        "metadata": {"name": name},
        "spec": {"default": True, "plugin": {"kind": kind, "spec": {"proxy": proxy}}},
    }


def file_name(number: int, resource: Mapping[str, Any]) -> str:
    """Name of a resource's file: Perses takes files in the order of their names."""
    metadata = resource["metadata"]
    return f"{number:02}-{resource['kind'].lower()}-{re.sub(r'[^a-z0-9]+', '-', metadata['name'].lower())}.json"
