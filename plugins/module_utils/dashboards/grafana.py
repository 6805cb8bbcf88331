# Copyright: cicd.sandbox contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Renders dashboards for Grafana, by its foundation SDK, and its files of provisioning.

https://grafana.com/docs/grafana/latest/administration/provisioning/
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from ansible_collections.cicd.sandbox.plugins.module_utils.dashboards.definition import (
    COLUMNS,
    Dashboard,
    DashboardError,
    Link,
    Panel,
    Query,
    Variable,
)
from grafana_foundation_sdk.builders import common as common_builders
from grafana_foundation_sdk.builders import dashboard as builders
from grafana_foundation_sdk.builders import logs, loki, prometheus, stat, table, tempo, timeseries
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models import common, dashboard
from grafana_foundation_sdk.models import prometheus as prometheus_models
from grafana_foundation_sdk.models import tempo as tempo_models

AnyPanel = builders.Panel | logs.Panel | stat.Panel | table.Panel | timeseries.Panel
Target = loki.Dataquery | prometheus.Dataquery | tempo.TempoQuery

# Unit → Grafana's, https://github.com/grafana/grafana/blob/main/packages/grafana-data/src/valueFormats/categories.ts
UNITS = {
    "cores": "none",
    "bytes": "bytes",
    "bytes/second": "binBps",
    "seconds": "s",
    "ratio": "percentunit",
    "number": "short",
    "per_second": "reqps",
}
# Language → the data source that is asked.
SOURCES = {
    "metrics": "prometheus",
    "exemplars": "prometheus",
    "logs": "loki",
    "log_numbers": "loki",
    "traces": "tempo",
}
LINES = {"dashed": {"fill": "dash", "dash": [8, 8]}, "dotted": {"fill": "dot", "dash": [1, 5]}}
# TraceQL has no order: the slowest are sorted from so many that are found.
LOOKED_AT = 200
# Any lines of a trace, whoever wrote them. Loki wants a label that is always there.
LINES_OF_TRACE = '{service_name=~".+"} | trace_id="${__trace.traceId}"'
# Names of Tempo's columns, as they are shown.
TRACE, DURATION = "Trace ID", "Duration"
# Where dashboards lie in the pod.
FOLDER = "/etc/grafana-config"


def _source(language: str) -> dashboard.DataSourceRef:
    return dashboard.DataSourceRef(type_val=SOURCES[language], uid=SOURCES[language])


RANGE = "${__url_time_range}"


def _url(link: Link, field: str) -> str:
    """Where a link leads from a value of a field, with the time range that is shown; of what else it needs, to all."""
    values = {name: "${__value.raw}" if value == field else "$__all" for name, value in link.variables.items()}
    return f"/d/{link.dashboard}?" + "&".join([*(f"var-{name}={value}" for name, value in values.items()), RANGE])


def render_dashboard(definition: Dashboard, page_url: str) -> dict[str, Any]:
    """The dashboard's JSON; page_url: address of a page, with {name} for the first label of its host.

    Raises DashboardError where a query has no counterpart in LogQL or TraceQL.
    """
    built = (
        builders.Dashboard(definition.title)
        .uid(definition.name)
        .description(definition.description)
        .time(f"now-{definition.range}", "now")
        .timezone("browser")
        .editable()
        .tooltip(dashboard.DashboardCursorSync.CROSSHAIR)
        .refresh(definition.refresh)
    )
    for variable in definition.variables:
        built.with_variable(_variable(variable))
    number = top = 0
    for group in definition.groups:
        number += 1
        built.with_row(builders.Row(group.title).id(number).grid_pos(dashboard.GridPos(h=1, w=COLUMNS, x=0, y=top)))
        x, y, row = 0, top + 1, 0
        for panel in group.panels:
            if x + panel.width > COLUMNS:
                x, y, row = 0, y + row, 0
            number += 1
            place = dashboard.GridPos(h=panel.height, w=panel.width, x=x, y=y)
            built.with_panel(_panel(definition, panel, page_url).id(number).grid_pos(place))
            x, row = x + panel.width, max(row, panel.height)
        top = y + row
    rendered: dict[str, Any] = json.loads(json.dumps(built.build(), cls=JSONEncoder))
    for item in rendered.get("templating", {}).get("list", []):
        # The SDK gives all variables what those of intervals have; Grafana's type has not.
        for name in ("auto", "auto_min", "auto_count"):
            item.pop(name, None)
    return rendered


def _variable(variable: Variable) -> builders.QueryVariable | builders.TextBoxVariable:
    if not variable.label:
        return builders.TextBoxVariable(variable.name).label(variable.title).default_value(variable.text)
    chosen = variable.default
    names = [chosen] if isinstance(chosen, str) else list(chosen)
    values = ["$__all" if name == "all" else name for name in names if name]
    built = (
        builders.QueryVariable(variable.name)
        .label(variable.title)
        .datasource(_source("metrics"))
        .query(f"label_values({variable.of}, {variable.label})")
        .refresh(dashboard.VariableRefresh.ON_TIME_RANGE_CHANGED)
        .sort(dashboard.VariableSort.ALPHABETICAL_ASC)
        .multi(variable.several)
        .include_all(variable.several)
    )
    if variable.everything:
        built.all_value(variable.everything)
    if values:
        texts = ["All" if value == "$__all" else value for value in values]
        option = (texts, values) if variable.several else (texts[0], values[0])
        built.current(dashboard.VariableOption(text=option[0], value=option[1], selected=True))
    return built


def _panel(definition: Dashboard, panel: Panel, page_url: str) -> AnyPanel:
    built = _drawn(definition, panel)
    description = f"{panel.description} No data: {panel.empty}." if panel.empty else panel.description
    built.title(panel.title).description(description.strip())
    built.datasource(_source(panel.queries[0].language))
    for position, query in enumerate(panel.queries):
        target = _target(f"dashboard {definition.name}, panel {panel.title}", panel, query)
        target.ref_id(_letter(position)).datasource(_source(query.language))
        built.with_target(target)
    # Of another stack's program the path means nothing here.
    if panel.page and panel.page.stack in ("", "grafana"):
        url = page_url.format(name=panel.page.name) + panel.page.path
        built.links([builders.DashboardLink(panel.page.title).url(url).target_blank(True)])
    return built


def _letter(position: int) -> str:
    return chr(ord("A") + position)


def _drawn(definition: Dashboard, panel: Panel) -> AnyPanel:
    """The panel's kind with how it is drawn."""
    if panel.kind in ("time_series", "trace_points"):
        return _time_series(panel)
    if panel.kind == "stat":
        return (
            stat.Panel()
            .unit(UNITS[panel.unit])
            .reduce_options(common_builders.ReduceDataOptions().calcs(["lastNotNull"]))
        )
    if panel.kind == "table":
        return _table(panel)
    if panel.kind == "log_lines":
        return (
            logs.Panel().show_time(True).wrap_log_message(True).enable_log_details(True).show_log_context_toggle(True)
        )
    if panel.kind == "trace_list":
        return _trace_list(definition, panel)
    # No builder of the SDK's is of this kind, which has no options.
    return builders.Panel().type("traces")


def _time_series(panel: Panel) -> timeseries.Panel:
    bars = any(query.style == "bars" for query in panel.queries)
    points = panel.kind == "trace_points"
    drawn = (
        timeseries.Panel()
        .unit("s" if points else UNITS[panel.unit])
        .min(0)
        .line_width(1.25)
        .fill_opacity(40 if bars else 10 if panel.stacked else 0)
        .draw_style(common.GraphDrawStyle.BARS if bars else common.GraphDrawStyle.LINE)
        .show_points(common.VisibilityMode.NEVER)
        .legend(
            common_builders.VizLegendOptions()
            .show_legend(True)
            .display_mode(common.LegendDisplayMode.LIST)
            .placement(common.LegendPlacement.BOTTOM)
        )
        .tooltip(common_builders.VizTooltipOptions().mode(common.TooltipDisplayMode.MULTI))
    )
    if panel.stacked:
        drawn.stacking(common_builders.StackingConfig().mode(common.StackingMode.NORMAL).group("A"))
    for position, query in enumerate(panel.queries):
        if query.style in LINES:
            style = dashboard.DynamicConfigValue("custom.lineStyle", LINES[query.style])
            drawn.override_by_query(_letter(position), [style])
    return drawn


def _table(panel: Panel) -> table.Panel:
    order = {label: position for position, label in enumerate(panel.columns)}
    organized = {
        "excludeByName": {"Time": True, "Value": True},
        "indexByName": order,
        "renameByName": dict(panel.columns),
    }
    return table.Panel().with_transformation(dashboard.DataTransformerConfig(id_val="organize", options=organized))


def _trace_list(definition: Dashboard, panel: Panel) -> table.Panel:
    drawn = table.Panel()
    if any(query.order == "slowest" for query in panel.queries):
        drawn.sort_by([common_builders.TableSortByFieldState().display_name(DURATION).desc(True)])
    if panel.leads_to:
        link = {"title": panel.title, "url": _url(definition.links[panel.leads_to], "trace_id")}
        drawn.override_by_name(TRACE, [dashboard.DynamicConfigValue("links", [link])])
    return drawn


def _target(where: str, panel: Panel, query: Query) -> Target:
    if query.language in ("logs", "log_numbers"):
        asked = loki.Dataquery().expr(_counterpart(where, query, "LogQL", query.logql)).query_type("range")
        if query.limit:
            asked.max_lines(query.limit)
        return asked.legend_format(query.legend) if query.legend else asked
    if query.language == "traces":
        return _traces(_counterpart(where, query, "TraceQL", query.traceql), query)
    if query.language == "exemplars":
        # Exemplars are drawn as points above a graph of the same series.
        slowest = f"histogram_quantile(0.99, sum by (le) (rate({query.text}[$__rate_interval])))"
        return prometheus.Dataquery().expr(slowest).range().exemplar(True).legend_format(query.legend or "99 of 100")
    asked_for = prometheus.Dataquery().expr(query.text)
    if panel.kind == "table":
        return asked_for.instant().format(prometheus_models.PromQueryFormat.TABLE)
    asked_for.range()
    return asked_for.legend_format(query.legend) if query.legend else asked_for


def _counterpart(where: str, query: Query, language: str, text: str) -> str:
    if not text:
        raise DashboardError(
            f"{where}: with the stack grafana a query of {query.language} is asked in {language}, which"
            f" {query.text!r} does not say; give it {language.lower()} too"
        )
    return text


def _traces(text: str, query: Query) -> tempo.TempoQuery:
    asked = tempo.TempoQuery().query_type("traceql").query(text).filters([])
    asked.table_type(tempo_models.SearchTableType.TRACES)
    limit = LOOKED_AT if query.order == "slowest" else query.limit
    return asked.limit(limit) if limit else asked


def datasources(dashboards: Sequence[Dashboard], addresses: Mapping[str, str]) -> dict[str, Any]:
    """The file of data sources, with the ways between them.

    addresses: prometheus, loki, tempo → URL, which the server asks.
    """
    spans = {"datasourceUid": "tempo", "urlDisplayLabel": "Spans"}
    settings: dict[str, dict[str, Any]] = {
        "prometheus": {
            "httpMethod": "POST",
            # The destinations of a point.
            "exemplarTraceIdDestinations": [
                {"name": "trace_id", **spans},
                *_from_points(dashboards),
            ],
        },
        "loki": {
            "maxLines": 1000,
            "derivedFields": [
                {"name": "Trace", "matcherType": "label", "matcherRegex": "trace_id", "url": "${__value.raw}", **spans},
                *_from_lines(dashboards),
            ],
        },
        "tempo": {
            "tracesToLogsV2": {
                "datasourceUid": "loki",
                "spanStartTimeShift": "-5m",
                "spanEndTimeShift": "5m",
                "customQuery": True,
                "query": LINES_OF_TRACE,
            },
            "tracesToMetrics": {
                "datasourceUid": "prometheus",
                "spanStartTimeShift": "-15m",
                "spanEndTimeShift": "15m",
                "tags": [
                    {"key": "k8s.namespace.name", "value": "namespace"},
                    {"key": "k8s.pod.name", "value": "pod"},
                ],
                "queries": [
                    {"name": "Processors of the pod", "query": "pod:cpu_usage_cores:rate2m{$__tags}"},
                    {"name": "Memory of the pod", "query": "pod:memory_working_set_bytes:sum{$__tags}"},
                ],
            },
            "serviceMap": {"datasourceUid": "prometheus"},
            "nodeGraph": {"enabled": True},
        },
    }
    return {
        "apiVersion": 1,
        "prune": True,
        "datasources": [
            {
                "name": name.capitalize(),
                "uid": name,
                "type": name,
                "access": "proxy",
                "url": addresses[name],
                "isDefault": name == "prometheus",
                "editable": False,
                "jsonData": _literal(data),
            }
            for name, data in settings.items()
        ],
    }


def _literal(value: Any) -> Any:
    """A value as provisioning wants it, which takes "$" for a variable of the environment."""
    if isinstance(value, dict):
        return {key: _literal(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_literal(item) for item in value]
    return value.replace("$", "$$") if isinstance(value, str) else value


def _title(dashboards: Iterable[Dashboard], link: Link) -> str:
    return next((item.title for item in dashboards if item.name == link.dashboard), link.dashboard)


def _from_points(dashboards: Sequence[Dashboard]) -> Iterator[dict[str, str]]:
    """Where points lead, each once: a data source has the links of all dashboards."""
    found = {
        _url(item.links[panel.leads_to], "trace_id"): _title(dashboards, item.links[panel.leads_to])
        for item in dashboards
        for panel in item.panels
        if panel.kind == "trace_points" and panel.leads_to
    }
    for url, title in found.items():
        yield {"name": "trace_id", "url": url, "urlDisplayLabel": title}


def _from_lines(dashboards: Sequence[Dashboard]) -> Iterator[dict[str, str]]:
    """Where fields of lines lead, each once."""
    found = {
        (field, _url(link, field.replace(".", "_"))): _title(dashboards, link)
        for item in dashboards
        for panel in item.panels
        if panel.kind == "log_lines"
        for field, link in ((name, item.links[target]) for name, target in panel.links.items())
    }
    for (field, url), title in found.items():
        yield {
            "name": f"{title} by {field}",
            "matcherType": "label",
            # Loki has no dots in names.
            "matcherRegex": field.replace(".", "_"),
            "url": url,
            "urlDisplayLabel": title,
        }


def provider(title: str) -> dict[str, Any]:
    """The file that says where dashboards are; what is made on the page is kept beside them."""
    return {
        "apiVersion": 1,
        "providers": [
            {
                "name": "sandbox",
                "folder": title,
                "type": "file",
                "allowUiUpdates": False,
                "disableDeletion": False,
                "updateIntervalSeconds": 3600,
                "options": {"path": FOLDER},
            }
        ],
    }
