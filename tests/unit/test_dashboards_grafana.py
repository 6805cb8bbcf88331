# Copyright: cicd.sandbox contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Dashboards for Grafana: queries by published grammars, JSON by published types, links from one signal to the next."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from ansible.errors import AnsibleFilterError
from ansible_collections.cicd.sandbox.plugins.filter.grafana_files import RENDERER, grafana_files
from ansible_collections.cicd.sandbox.plugins.module_utils.dashboards.definition import (
    KINDS,
    UNITS,
    VARIABLE,
    DashboardError,
    read_dashboard,
)
from ansible_collections.cicd.sandbox.plugins.module_utils.dashboards.grafana import UNITS as RENDERED_UNITS
from ansible_collections.cicd.sandbox.plugins.module_utils.dashboards.grafana import render_dashboard
from checkout import REPOSITORY, load
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.cog.plugins import register_default_plugins
from grafana_foundation_sdk.models.dashboard import Dashboard

CHECKS = REPOSITORY / "dashboards/grafana"
FILES = sorted((REPOSITORY / "dashboards").glob("*.yaml"))
ADDRESSES = {"prometheus": "http://prometheus:9090", "loki": "http://loki:3100", "tempo": "http://tempo:3200"}
PAGE = "http://{name}.localhost:8080"
LANGUAGES = {"prometheus": "promql", "loki": "logql", "tempo": "traceql"}
PANEL = {"title": "P", "kind": "time_series", "queries": [{"metrics": "up"}]}
# Grafana puts these in by itself.
DURATION = re.compile(r"\$__(?:rate_interval|auto)")


def rendered_files() -> dict[str, Any]:
    files = grafana_files([load(path) for path in FILES], "dev", ADDRESSES, PAGE)
    return {name: json.loads(text) for name, text in files.items()}


OURS = rendered_files()
DASHBOARDS = {path.stem: OURS[f"{path.stem}.json"] for path in FILES}
SOURCES = {source["uid"]: source for source in OURS["datasources.yml"]["datasources"]}


def definition(panel: dict[str, Any] | None = None, **values: Any) -> dict[str, Any]:
    return {"name": "d", "title": "D", "groups": [{"title": "G", "panels": [{**PANEL, **(panel or {})}]}], **values}


def rendered(panel: dict[str, Any] | None = None, **values: Any) -> dict[str, Any]:
    """The one panel of a dashboard, as Grafana gets it."""
    found = render_dashboard(read_dashboard(definition(panel, **values)), PAGE)
    (shown,) = (item for item in found["panels"] if item["type"] != "row")
    return dict(shown)


def panels() -> list[tuple[str, dict[str, Any]]]:
    return [(name, item) for name, shown in DASHBOARDS.items() for item in shown["panels"] if item["type"] != "row"]


def mistakes(queries: list[dict[str, str]], dashboards: dict[str, Any] | None = None) -> list[str]:
    """What the grammars and types say."""
    if not (CHECKS / "node_modules").is_dir():
        pytest.fail(
            "dashboards/grafana has no packages; `make -C dashboards/grafana environment` gets them", pytrace=False
        )
    asked = json.dumps({"queries": queries, "dashboards": dashboards or {}})
    node = shutil.which("node")
    assert node, "node is needed (requirements-node.txt)"
    done = subprocess.run(
        [node, str(CHECKS / "check.js")], input=asked, capture_output=True, text=True, check=False, timeout=300
    )
    assert done.returncode == 0, done.stderr
    found: list[str] = json.loads(done.stdout)
    return found


def asked(target: dict[str, Any]) -> dict[str, str]:
    """A query as the store gets it when all is chosen."""
    text = DURATION.sub("5m", target.get("expr") or target["query"])
    return {"language": LANGUAGES[target["datasource"]["uid"]], "text": VARIABLE.sub(".*", text)}


# --- what is asked ----------------------------------------------------------------------------------------------------


def test_published_grammars_take_every_query() -> None:
    targets = [target for _, item in panels() for target in item["targets"]]
    # What is a trace's id alone is no TraceQL.
    queries = [asked(target) for target in targets if target.get("query") != "$trace"]
    assert len(targets) - len(queries) == 1
    tempo = SOURCES["tempo"]["jsonData"]
    lines = tempo["tracesToLogsV2"]["query"].replace("$${__trace.traceId}", "0af7651916cd43dd8448eb211c80319c")
    queries.append({"language": "logql", "text": lines})
    queries += [
        {"language": "promql", "text": query["query"].replace("$$__tags", 'pod="a"')}
        for query in tempo["tracesToMetrics"]["queries"]
    ]
    for shown in DASHBOARDS.values():
        for variable in shown["templating"].get("list", []):
            if variable["type"] == "query":
                selector = re.fullmatch(r"label_values\((.*), \w+\)", variable["query"])
                assert selector, variable
                queries.append({"language": "promql", "text": VARIABLE.sub(".*", selector[1])})
    counts = {language: sum(query["language"] == language for query in queries) for language in LANGUAGES.values()}
    assert counts["promql"] > 30
    assert counts["logql"] >= 5
    assert counts["traceql"] >= 1
    assert mistakes(queries) == []


@pytest.mark.parametrize(
    ("language", "text"),
    [
        ("promql", "sum(rate(up[5m])"),
        ("promql", "sum by pod (up)"),
        ("logql", '{a="b"} |'),
        ("logql", 'trace_id:="x"'),
        ("traceql", "{resource.service.name=~}"),
        ("traceql", "service=a"),
    ],
)
def test_the_grammars_refuse_what_is_no_query(language: str, text: str) -> None:
    """Of another language, or unfinished."""
    assert mistakes([{"language": language, "text": text}])


def test_every_query_of_the_collection_is_asked_in_both_stacks() -> None:
    for path in FILES:
        for panel in read_dashboard(load(path)).panels:
            (shown,) = (item for name, item in panels() if name == path.stem and item["title"] == panel.title)
            assert len(shown["targets"]) == len(panel.queries)
            for target, query in zip(shown["targets"], panel.queries, strict=True):
                text = target.get("expr") or target["query"]
                assert query.text in text or text in (query.logql, query.traceql)


def test_a_query_without_its_counterpart_is_refused() -> None:
    with pytest.raises(
        DashboardError, match="dashboard d, panel P: with the stack grafana a query of logs is asked in L"
    ):
        rendered({"kind": "log_lines", "queries": [{"logs": "*"}]})
    panel = {"kind": "trace", "queries": [{"traces": "$trace"}]}
    data = definition(panel, variables=[{"name": "trace", "title": "T", "text": ""}])
    with pytest.raises(AnsibleFilterError, match=re.escape("traces is asked in TraceQL, which '$trace' does not say")):
        grafana_files([data], "dev", ADDRESSES, PAGE)


def test_a_counterpart_is_of_the_language_that_needs_one() -> None:
    with pytest.raises(DashboardError, match="panel P: logql says the same as logs or log_numbers, not as metrics"):
        read_dashboard(definition({"queries": [{"metrics": "up", "logql": "{}"}]}))
    query = {"logs": "*", "logql": '{a="$b"}'}
    with pytest.raises(DashboardError, match="panel P: there is no variable b before it"):
        read_dashboard(definition({"kind": "log_lines", "queries": [query]}))
    with pytest.raises(DashboardError, match="panel P: stack is 'both', not one of perses, grafana"):
        read_dashboard(definition({"page": {"name": "logs", "title": "S", "stack": "both"}}))


# --- JSON -------------------------------------------------------------------------------------------------------------


def test_dashboards_are_as_grafanas_published_type_has_them() -> None:
    assert mistakes([], DASHBOARDS) == []
    # It would say so.
    wrong = {"unknown": {**DASHBOARDS["trace"], "colour": "red"}, "number": {**DASHBOARDS["trace"], "title": 5}}
    said = sorted(mistakes([], wrong))
    assert len(said) == len(wrong)
    assert "Type 'number' is not assignable to type 'string'" in said[0]
    assert "colour" in said[1]


def lost(before: Any, after: Any, where: str = "") -> list[str]:
    """What is in the one and not the same in the other, which may have more."""
    if isinstance(before, dict) and isinstance(after, dict):
        return [text for key, value in before.items() for text in lost(value, after.get(key), f"{where}/{key}")]
    if isinstance(before, list) and isinstance(after, list) and len(before) == len(after):
        return [
            text for at, pair in enumerate(zip(before, after, strict=True)) for text in lost(*pair, f"{where}/{at}")
        ]
    return [] if before == after else [where]


def test_panels_and_queries_have_no_member_that_their_types_do_not_know() -> None:
    """The SDK's types of panels, options and queries take what they know; the rest would be lost."""
    register_default_plugins()
    for shown in DASHBOARDS.values():
        read = json.loads(json.dumps(Dashboard.from_json(shown), cls=JSONEncoder))
        assert lost(shown, read) == []
    shown = json.loads(json.dumps(DASHBOARDS["workloads"]))
    (drawn,) = (item for item in shown["panels"] if item["title"] == "Lines")
    drawn["options"]["colour"] = drawn["targets"][0]["colour"] = "red"
    read = json.loads(json.dumps(Dashboard.from_json(shown), cls=JSONEncoder))
    assert {place.rpartition("/")[2] for place in lost(shown, read)} == {"colour"}


def test_panels_stand_as_they_do_in_the_other_stack() -> None:
    sizes = [{**PANEL, "title": str(number), "width": 10, "height": 4 + number} for number in range(3)]
    groups = [{"title": "G", "panels": sizes}, {"title": "H", "panels": [PANEL]}]
    shown = render_dashboard(read_dashboard({"name": "d", "title": "D", "groups": groups}), PAGE)
    places = [(item["title"], *(item["gridPos"][name] for name in "xywh")) for item in shown["panels"]]
    assert places == [
        ("G", 0, 0, 24, 1),
        ("0", 0, 1, 10, 4),
        ("1", 10, 1, 10, 5),
        ("2", 0, 6, 10, 6),
        ("H", 0, 12, 24, 1),
        ("P", 0, 13, 24, 7),
    ]
    numbers = [item["id"] for item in shown["panels"]]
    assert len(set(numbers)) == len(numbers)


def test_every_kind_and_unit_is_drawn() -> None:
    samples = {
        "metrics": {"metrics": "up"},
        "exemplars": {"exemplars": "a_bucket"},
        "logs": {"logs": "*", "logql": '{a="b"}'},
        "log_numbers": {"log_numbers": "*", "logql": 'count_over_time({a="b"}[5m])'},
        "traces": {"traces": "service=a", "traceql": "{}"},
    }
    expected = {
        "time_series": "timeseries",
        "stat": "stat",
        "table": "table",
        "log_lines": "logs",
        "trace_points": "timeseries",
        "trace_list": "table",
        "trace": "traces",
    }
    assert set(expected) == set(KINDS)
    for kind, languages in KINDS.items():
        for language in languages:
            assert rendered({"kind": kind, "queries": [samples[language]]})["type"] == expected[kind]
    assert set(RENDERED_UNITS) == set(UNITS)


def test_series_are_drawn_as_they_are_told() -> None:
    queries = [{"metrics": "a"}, {"metrics": "b", "style": "dashed", "legend": "{{job}} limit"}]
    shown = rendered({"queries": queries, "unit": "bytes", "stacked": True})
    assert [target.get("legendFormat") for target in shown["targets"]] == [None, "{{job}} limit"]
    defaults = shown["fieldConfig"]["defaults"]
    assert (defaults["unit"], defaults["min"]) == ("bytes", 0)
    assert defaults["custom"]["stacking"] == {"mode": "normal", "group": "A"}
    (override,) = shown["fieldConfig"]["overrides"]
    assert override["matcher"] == {"id": "byFrameRefID", "options": shown["targets"][1]["refId"]}
    assert override["properties"] == [{"id": "custom.lineStyle", "value": {"fill": "dash", "dash": [8, 8]}}]


def test_a_table_has_the_columns_that_are_named() -> None:
    shown = rendered({"kind": "table", "columns": {"job": "Job", "pod": "Pod"}})
    (target,) = shown["targets"]
    assert (target["instant"], target["format"]) == (True, "table")
    (organized,) = shown["transformations"]
    assert organized["options"]["renameByName"] == {"job": "Job", "pod": "Pod"}
    assert organized["options"]["indexByName"] == {"job": 0, "pod": 1}


def test_variables_are_chosen_as_in_the_other_stack() -> None:
    of = {"name": "namespace", "title": "Namespace", "label": "namespace", "of": "up", "several": True}
    text = {"name": "trace", "title": "Trace", "text": "abc"}
    variables = [{**of, "default": "all", "everything": ".*"}, {**of, "name": "b", "default": ["apps"]}, text]
    shown = render_dashboard(read_dashboard(definition(variables=variables)), PAGE)["templating"]["list"]
    first, second, free = shown
    assert first["query"] == "label_values(up, namespace)"
    assert (first["includeAll"], first["multi"], first["allValue"]) == (True, True, ".*")
    assert first["current"]["value"] == ["$__all"]
    assert second["current"]["value"] == ["apps"]
    assert "allValue" not in second
    assert (free["type"], free["query"]) == ("textbox", "abc")


def test_a_page_of_the_other_stack_is_not_linked() -> None:
    page = {"name": "prometheus", "title": "More", "path": "/query"}
    (link,) = rendered({"page": page})["links"]
    assert link["url"] == "http://prometheus.localhost:8080/query"
    assert "links" not in rendered({"page": {**page, "stack": "perses"}})


# --- from one signal to the next --------------------------------------------------------------------------------------


def test_a_point_leads_to_its_trace() -> None:
    points = [item for _, item in panels() if any(target.get("exemplar") for target in item["targets"])]
    assert [item["title"] for item in points] == ["Single requests"]
    destinations = SOURCES["prometheus"]["jsonData"]["exemplarTraceIdDestinations"]
    assert {item["name"] for item in destinations} == {"trace_id"}
    assert [item.get("datasourceUid") for item in destinations] == ["tempo", None]
    assert destinations[1]["url"] == "/d/trace?var-trace=$${__value.raw}&$${__url_time_range}"


def test_a_trace_of_a_list_leads_to_its_spans_and_lines() -> None:
    (shown,) = (item for _, item in panels() if item["title"] == "Slowest traces")
    (override,) = shown["fieldConfig"]["overrides"]
    assert override["properties"][0]["value"][0]["url"] == "/d/trace?var-trace=${__value.raw}&${__url_time_range}"
    assert shown["options"]["sortBy"] == [{"displayName": "Duration", "desc": True}]
    # More than are wanted: Tempo does not sort them.
    assert shown["targets"][0]["limit"] == 200


def test_a_line_leads_to_its_trace_and_its_pod() -> None:
    fields = {field["name"]: field for field in SOURCES["loki"]["jsonData"]["derivedFields"]}
    assert {field["matcherType"] for field in fields.values()} == {"label"}
    assert fields["Trace"]["datasourceUid"] == "tempo"
    assert fields["One request by trace_id"]["url"].startswith("/d/trace?var-trace=$${__value.raw}&")
    pod = fields["Workloads by k8s.pod.name"]
    assert pod["matcherRegex"] == "k8s_pod_name"
    assert pod["url"] == "/d/workloads?var-namespace=$$__all&var-pod=$${__value.raw}&$${__url_time_range}"


def test_a_span_leads_to_its_lines_and_its_pod() -> None:
    settings = SOURCES["tempo"]["jsonData"]
    assert settings["tracesToLogsV2"]["datasourceUid"] == "loki"
    assert 'trace_id="$${__trace.traceId}"' in settings["tracesToLogsV2"]["query"]
    assert settings["serviceMap"] == {"datasourceUid": "prometheus"}
    recorded = {
        rule["record"]
        for path in (REPOSITORY / "roles/observability/files/rules").glob("*.rules.yml")
        for group in load(path)["groups"]
        for rule in group["rules"]
        if "record" in rule
    }
    for query in settings["tracesToMetrics"]["queries"]:
        assert query["query"].partition("{")[0] in recorded


def test_what_is_provisioned_is_as_the_manual_has_it() -> None:
    """Members of https://grafana.com/docs/grafana/latest/administration/provisioning/, and where a dollar is one."""
    known = {"name", "uid", "type", "access", "url", "isDefault", "editable", "jsonData"}
    assert [source["isDefault"] for source in SOURCES.values()] == [True, False, False]
    for uid, source in SOURCES.items():
        assert set(source) == known
        assert (source["type"], source["access"], source["url"]) == (uid, "proxy", ADDRESSES[uid])
        # A single one would be a variable of Grafana's environment.
        assert re.search(r"(?<!\$)\$(?!\$)", json.dumps(source)) is None
    used = {target["datasource"]["uid"] for _, item in panels() for target in item["targets"]}
    assert used == set(SOURCES)
    (provider,) = OURS["dashboards.yml"]["providers"]
    assert (provider["type"], provider["allowUiUpdates"], provider["folder"]) == ("file", False, "dev")


def test_links_lead_to_dashboards_and_variables_that_there_are() -> None:
    urls = re.findall(r'"(/d/[^"]+)"', json.dumps(OURS))
    assert len(urls) >= 4
    for url in urls:
        name, _, query = url.removeprefix("/d/").partition("?")
        variables = {item["name"] for item in DASHBOARDS[name]["templating"]["list"]}
        assert set(re.findall(r"var-(\w+)=", query)) <= variables
        assert "__url_time_range}" in query


def test_without_its_library_it_is_said_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, RENDERER, None)
    with pytest.raises(AnsibleFilterError, match="grafana-foundation-sdk, which this Python has not"):
        grafana_files([], "dev", ADDRESSES, PAGE)


def test_the_library_is_pinned() -> None:
    lines = Path(REPOSITORY / "requirements.txt").read_text().splitlines()
    (pin,) = (line for line in lines if line.startswith("grafana-foundation-sdk"))
    constraints = Path(REPOSITORY / "constraints.txt").read_text().splitlines()
    assert pin.replace("-", "_") in [line.replace("-", "_") for line in constraints]
