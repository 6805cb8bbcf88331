# Copyright: cicd.sandbox contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Dashboards: definitions that can be meant, queries that the stores take, what Perses gets of them."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.cicd.sandbox.plugins.filter.perses_files import perses_files
from ansible_collections.cicd.sandbox.plugins.module_utils.dashboards.definition import (
    KINDS,
    VARIABLE,
    Dashboard,
    DashboardError,
    Panel,
    read_dashboard,
    variables_in,
)
from ansible_collections.cicd.sandbox.plugins.module_utils.dashboards.perses import (
    QUERIES,
    link_url,
    render_dashboard,
    render_surroundings,
)
from checkout import REPOSITORY, load
from helm import CACHE, run, tool, try_run
from observability import free_ports, releases, running

FILES = sorted((REPOSITORY / "dashboards").glob("*.yaml"))
RULES = sorted((REPOSITORY / "roles/observability/files/rules").glob("*.rules.yml"))
METRICS: dict[str, list[str]] = load(REPOSITORY / "tests/unit/fixtures/observability/metrics.yml")
ADDRESSES = {
    "prometheus": "http://prometheus:9090",
    "victorialogs": "http://victorialogs:9428",
    "jaeger": "http://jaeger:16686",
}
PAGE = "http://{name}.localhost:8080"
OURS = [read_dashboard(load(path)) for path in FILES]
NAMES = [dashboard.name for dashboard in OURS]
PANELS = [(dashboard, panel) for dashboard in OURS for panel in dashboard.panels]
PANEL = {
    "title": "P",
    "kind": "time_series",
    "queries": [{"metrics": "up"}],
}


def definition(panel: dict[str, Any] | None = None, **values: Any) -> dict[str, Any]:
    return {
        "name": "d",
        "title": "D",
        "groups": [{"title": "G", "panels": [{**PANEL, **(panel or {})}]}],
        **values,
    }


def rendered(data: dict[str, Any]) -> dict[str, Any]:
    return render_dashboard(read_dashboard(data), "p", PAGE)


def filled(text: str) -> str:
    """A query as it is asked when all is chosen."""
    return VARIABLE.sub(".*", text)


def promql() -> list[str]:
    queries = [
        query.text for _, panel in PANELS for query in panel.queries if query.language in ("metrics", "exemplars")
    ]
    return [*queries, *(variable.of for dashboard in OURS for variable in dashboard.variables if variable.of)]


# --- definitions ------------------------------------------------------------------------------------------------------


def test_files_are_named_as_their_dashboards() -> None:
    assert [path.stem for path in FILES] == NAMES == ["platform", "trace", "workloads"]


@pytest.mark.parametrize(
    ("data", "words"),
    [
        ({"panel": {"kind": "pie"}}, "dashboard d, panel P: kind is 'pie', not one of time_series, stat"),
        ({"panel": {"unit": "apples"}}, "panel P: unit is 'apples', not one of cores"),
        ({"panel": {"width": 25}}, "panel P: width is 25, not from 1 to 24"),
        ({"panel": {"widht": 3}}, "panel P: widht is unknown, there are "),
        ({"panel": {"queries": []}}, "panel P: it has no queries"),
        ({"panel": {"queries": [{"metrics": "up", "logs": "*"}]}}, "panel P: a query has one of metrics, logs"),
        ({"panel": {"queries": [{"legend": "x"}]}}, "not none"),
        ({"panel": {"queries": [{"logs": "*"}]}}, "panel P: time_series does not show logs"),
        ({"panel": {"queries": [{"metrics": "up", "style": "wavy"}]}}, "style is 'wavy', not one of line"),
        ({"panel": {"queries": [{"metrics": "up", "order": "up"}]}}, "order is 'up', not newest or slowest"),
        ({"panel": {"queries": [{"metrics": 'up{a="$b"}'}]}}, "panel P: there is no variable b before it"),
        ({"panel": {"leads_to": "trace"}}, "panel P: there is no link 'trace' on this dashboard"),
        ({"panel": {"links": {"a": "b"}}}, "panel P: there is no link 'b' on this dashboard"),
        ({"colour": "red"}, "dashboard d: colour is unknown"),
        ({"title": None, "links": {"a": {"dashboard": "x"}}}, "dashboard d, link a: "),
        ({"variables": [{"name": "a", "title": "A", "label": "x"}]}, "variable a: label and of belong together"),
        (
            {
                "variables": [
                    {"name": "a", "title": "A", "label": "x", "of": 'up{b="$b"}'},
                    {"name": "b", "title": "B", "label": "x", "of": "up"},
                ]
            },
            "variable a: there is no variable b before it",
        ),
    ],
)
def test_what_can_not_be_meant_is_refused_with_its_place(data: dict[str, Any], words: str) -> None:
    with pytest.raises(DashboardError, match=re.escape(words)):
        read_dashboard(definition(**data))


def test_variables_are_found_in_all_their_forms() -> None:
    assert variables_in('{a="$b", c=~"${d:csv}", e="${f}"}[$__rate_interval]') == {"b", "d", "f"}


def test_what_shows_all_that_was_asked_for_is_on_a_dashboard() -> None:
    (workloads,) = (dashboard for dashboard in OURS if dashboard.name == "workloads")
    text = " ".join(query.text for panel in workloads.panels for query in panel.queries)
    for metric in (
        "pod:cpu_usage_cores:rate2m",
        "pod:cpu_request_cores:sum",
        "pod:cpu_limit_cores:sum",
        "pod:cpu_throttled:ratio_rate2m",
        "pod:memory_limit_bytes:sum",
        "OOMKilled",
        "pod:restarts:sum",
        "service:errors:ratio_rate5m",
        "ALERTS",
    ):
        assert metric in text
    assert [variable.name for variable in workloads.variables][:3] == ["namespace", "workload", "pod"]
    assert {panel.kind for panel in workloads.panels} >= {"trace_points", "trace_list", "log_lines", "table"}


def test_links_lead_to_dashboards_and_variables_that_are_there() -> None:
    known = {dashboard.name: {variable.name for variable in dashboard.variables} for dashboard in OURS}
    for dashboard in OURS:
        for link in dashboard.links.values():
            assert set(link.variables) <= known[link.dashboard], dashboard.name


@pytest.mark.parametrize(("dashboard", "panel"), PANELS, ids=[f"{d.name}: {p.title}" for d, p in PANELS])
def test_titles_tell_panels_apart(dashboard: Dashboard, panel: Panel) -> None:
    assert [other.title for other in dashboard.panels].count(panel.title) == 1


# --- queries ----------------------------------------------------------------------------------------------------------


def test_prometheus_takes_every_query(tmp_path: Path) -> None:
    rules = [{"record": f"query:{number}", "expr": filled(text)} for number, text in enumerate(promql())]
    path = tmp_path / "queries.yml"
    path.write_text(yaml.safe_dump({"groups": [{"name": "queries", "rules": rules}]}))
    assert f"{len(rules)} rules found" in run("promtool", "check", "rules", "--lint=none", str(path))


def names_in(text: str) -> set[str]:
    """Names of metrics in PromQL: words that are no function, keyword or label, and not between quotes or braces."""
    bare = re.sub(r'"(?:[^"\\]|\\.)*"', '""', filled(text))
    bare = re.sub(r"\{[^}]*\}|\[[^]]*\]", " ", bare)
    bare = re.sub(r"\b(?:by|on|without|ignoring|group_left|group_right)\s*\([^)]*\)", " ", bare)
    words = set(re.findall(r"(?<![\w:.])[a-zA-Z_:][\w:]*(?!\s*\(|[\w:])", bare))
    return words - {"and", "or", "unless", "by", "on", "bool", "offset", "sum", "max", "min", "avg", "count"}


def test_names_of_metrics_are_found() -> None:
    text = 'sum by (a, b) (rate(x_total{c="y_total"}[5m])) / on (a) group_left () s:b:c > 0.5 or vector(0)'
    assert names_in(text) == {"x_total", "s:b:c"}


def test_every_metric_is_given_by_a_job_or_a_rule() -> None:
    recorded = {
        rule["record"]
        for path in RULES
        for group in load(path)["groups"]
        for rule in group["rules"]
        if "record" in rule
    }
    given = recorded | {name for names in METRICS.values() for name in names}
    used = {name for text in promql() for name in names_in(text)}
    assert used <= given
    # Nothing is listed that no dashboard asks for.
    assert given - recorded <= used


def test_no_job_drops_what_dashboards_show(tmp_path: Path) -> None:
    files = releases(tmp_path)["prometheus"]["values"]["config"]["files"]
    jobs = {job["job_name"]: job for job in yaml.safe_load(files["prometheus.yml"])["scrape_configs"]}
    assert set(METRICS) - {""} <= set(jobs)
    for name, metrics in METRICS.items():
        for rule in jobs.get(name, {}).get("metric_relabel_configs", []):
            if rule.get("action") == "drop" and rule["source_labels"] == ["__name__"]:
                assert [metric for metric in metrics if re.fullmatch(rule["regex"], metric)] == [], name


def test_pods_are_their_workloads(tmp_path: Path) -> None:
    """A workload that can be chosen is what a person made: a Deployment and not its ReplicaSets."""
    owned = {
        "front-end-6b7c8d9f5-x2k4z": ("ReplicaSet", "front-end-6b7c8d9f5", "front-end"),
        "postgresql-0": ("StatefulSet", "postgresql", "postgresql"),
        "postgresql-password-8gkzt": ("Job", "postgresql-password", "postgresql-password"),
        "agent-7xkcd": ("DaemonSet", "agent", "agent"),
        "kube-apiserver-cp-1": ("Node", "cp-1", "kube-apiserver-cp-1"),
        "by-hand": ("", "", "by-hand"),
    }
    labels = {pod: f'pod="{pod}",owner_kind="{kind}",owner_name="{name}"' for pod, (kind, name, _) in owned.items()}
    series = [{"series": f'kube_pod_owner{{namespace="a",{text}}}', "values": "1x9"} for text in labels.values()]
    record = "namespace_workload_pod:kube_pod_owner:relabel"
    expected = [
        {"labels": f'{record}{{namespace="a",pod="{pod}",workload="{workload}"}}', "value": 1}
        for pod, (_, _, workload) in owned.items()
    ]
    asked = {"expr": record, "eval_time": "5m", "exp_samples": expected}
    tests = [{"interval": "1m", "input_series": series, "promql_expr_test": [asked]}]
    path = tmp_path / "pods.test.yml"
    path.write_text(yaml.safe_dump({"rule_files": [str(path.parent / "pods.rules.yml")], "tests": tests}))
    shutil.copy(next(rules for rules in RULES if rules.name == "pods.rules.yml"), tmp_path)
    assert "SUCCESS" in run("promtool", "test", "rules", str(path))


@pytest.fixture(scope="module")
def victorialogs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    directory = tmp_path_factory.mktemp("victorialogs")
    (port,) = free_ports(1)
    address = f"http://127.0.0.1:{port}"
    program = tool("victoria-logs-prod")
    arguments = [
        f"-storageDataPath={directory}/data",
        f"-httpListenAddr=127.0.0.1:{port}",
        "-memory.allowedBytes=64MiB",
    ]
    with running(directory / "log", program, *arguments, "-memory.allowedBytes=64MiB"):
        for _ in range(100):
            try:
                ask(f"{address}/health")
                break
            except OSError:
                time.sleep(0.1)
        yield address


def ask(url: str, **parameters: str) -> tuple[int, str]:
    content = urllib.parse.urlencode(parameters).encode() if parameters else None
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(urllib.request.Request(url, content), timeout=30) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def test_victorialogs_takes_every_query(victorialogs: str) -> None:
    asked = 0
    for _, panel in PANELS:
        for query in panel.queries:
            if query.language == "logs":
                answer = ask(f"{victorialogs}/select/logsql/query", query=filled(query.text), limit="1")
            elif query.language == "log_numbers":
                answer = ask(f"{victorialogs}/select/logsql/stats_query_range", query=filled(query.text), step="1m")
            else:
                continue
            asked += 1
            assert answer[0] == 200, (panel.title, answer[1])
    assert asked >= 4
    # It would say so if it did not.
    assert ask(f"{victorialogs}/select/logsql/query", query='{a="')[0] == 400


# --- what Perses gets -------------------------------------------------------------------------------------------------


def test_panels_stand_side_by_side_as_far_as_they_fit() -> None:
    panels = [{**PANEL, "title": str(number), "width": 10, "height": 4 + number} for number in range(3)]
    spec = rendered({"name": "d", "title": "D", "groups": [{"title": "G", "panels": panels}]})["spec"]
    items = spec["layouts"][0]["spec"]["items"]
    assert [(item["x"], item["y"], item["height"]) for item in items] == [(0, 0, 4), (10, 0, 5), (0, 5, 6)]
    for item in items:
        assert item["content"]["$ref"].removeprefix("#/spec/panels/") in spec["panels"]


def test_links_keep_the_time_range() -> None:
    (trace,) = (dashboard for dashboard in OURS if dashboard.name == "trace")
    url = link_url(trace.links["pod"], "sandbox", {})
    assert url == (
        "/projects/sandbox/dashboards/workloads?var-namespace=${k8s_namespace_name}&var-pod=${k8s_pod_name}"
        "&start=${__from}&end=${__to}"
    )


def test_a_point_a_trace_and_a_line_lead_to_the_trace() -> None:
    (workloads,) = (dashboard for dashboard in OURS if dashboard.name == "workloads")
    panels = render_dashboard(workloads, "sandbox", PAGE)["spec"]["panels"]
    specs = {item["spec"]["plugin"]["kind"]: item["spec"]["plugin"]["spec"] for item in panels.values()}
    target = "/projects/sandbox/dashboards/trace?var-trace=${%s}&start=${__from}&end=${__to}"
    assert specs["ScatterChart"]["link"] == target % "traceId"
    assert specs["TraceTable"]["links"]["trace"] == target % "traceId"
    assert specs["LogsTable"]["links"] == [{"field": "trace_id", "link": target % "trace_id"}]


def test_a_panel_leads_to_a_page_with_what_was_chosen() -> None:
    data = definition({"page": {"name": "logs", "title": "Search", "path": "/x?q=$namespace"}})
    with pytest.raises(DashboardError, match="panel P: there is no variable namespace before it"):
        read_dashboard(data)
    text = {"name": "namespace", "title": "N", "text": ""}
    (link,) = rendered({**data, "variables": [text]})["spec"]["panels"]["0_0"]["spec"]["links"]
    assert link["url"] == "http://logs.localhost:8080/x?q=$namespace"
    assert link["renderVariables"] is True


def test_a_panel_says_why_it_may_be_empty() -> None:
    panel = rendered(definition({"description": "What.", "empty": "nobody came"}))["spec"]["panels"]["0_0"]
    assert panel["spec"]["display"]["description"] == "What. No data: nobody came."


def test_lines_are_drawn_as_they_are_told() -> None:
    queries = [{"metrics": "up"}, {"metrics": "up", "style": "dashed", "legend": "{{job}} limit"}]
    panel = rendered(definition({"queries": queries, "unit": "bytes"}))["spec"]["panels"]["0_0"]["spec"]
    assert panel["plugin"]["spec"]["querySettings"] == [{"queryIndex": 1, "lineStyle": "dashed"}]
    assert panel["plugin"]["spec"]["yAxis"]["format"]["unit"] == "bytes"
    assert panel["queries"][1]["spec"]["plugin"]["spec"] == {"query": "up", "seriesNameFormat": "{{job}} limit"}


def test_variables_come_of_labels_or_are_text() -> None:
    of = {"name": "namespace", "title": "Namespace", "label": "namespace", "of": "up", "several": True}
    text = {"name": "trace", "title": "Trace", "text": "abc"}
    listed, free = rendered(definition(variables=[{**of, "default": "all", "everything": ".*"}, text]))["spec"][
        "variables"
    ]
    assert listed["spec"]["plugin"]["spec"] == {"labelName": "namespace", "matchers": ["up"]}
    assert listed["spec"]["defaultValue"] == ["$__all"]
    assert listed["spec"]["customAllValue"] == ".*"
    assert "customAllValue" not in rendered(definition(variables=[of]))["spec"]["variables"][0]["spec"]
    assert free == {"kind": "TextVariable", "spec": {"name": "trace", "display": {"name": "Trace"}, "value": "abc"}}


def test_files_come_in_the_order_in_which_things_need_each_other() -> None:
    files = perses_files([load(path) for path in FILES], "sandbox", "dev", ADDRESSES, "admin", PAGE)
    kinds = [json.loads(text)["kind"] for _, text in sorted(files.items())]
    assert kinds == [
        "GlobalRole",
        "GlobalRoleBinding",
        *["GlobalDatasource"] * 3,
        "Project",
        *["Dashboard"] * len(FILES),
    ]
    assert all(re.fullmatch(r"[-a-z0-9]+\.json", name) for name in files)


def test_datasources_can_be_asked_and_not_changed() -> None:
    found = render_surroundings("p", "P", ADDRESSES, "admin")
    datasources = {item["metadata"]["name"]: item["spec"] for item in found if item["kind"] == "GlobalDatasource"}
    assert set(datasources) == set(ADDRESSES)
    for name, spec in datasources.items():
        assert spec["default"] is True
        proxy = spec["plugin"]["spec"]["proxy"]["spec"]
        assert proxy["url"] == ADDRESSES[name]
        patterns = [re.compile(item["endpointPattern"]) for item in proxy["allowedEndpoints"]]
        for path in (
            "/api/v1/admin/tsdb/delete_series",
            "/delete/run_task",
            "/insert/jsonline",
            "/-/reload",
            "/api/v1/write",
        ):
            assert not [pattern for pattern in patterns if pattern.match(path)], (name, path)
    prometheus = datasources["prometheus"]["plugin"]["spec"]["proxy"]["spec"]["allowedEndpoints"]
    assert {"method": "GET", "endpointPattern": "^/api/v1/query_exemplars$"} in prometheus


def test_whatever_is_asked_for_has_a_plugin() -> None:
    """Those of the collection, and those of the packages in the catalogue, of which each has a schema."""
    ours = json.loads((REPOSITORY / "dashboards/plugin/package.json").read_text())["perses"]["plugins"]
    plugins = {plugin["spec"]["name"] for plugin in ours}
    for schema in (REPOSITORY / "images/perses/schemas").rglob("*.cue"):
        plugins |= set(re.findall(r'^kind: "(\w+)"$', schema.read_text(), re.MULTILINE))
    resources = [
        *render_surroundings("p", "P", ADDRESSES, "admin"),
        *(render_dashboard(dashboard, "p", PAGE) for dashboard in OURS),
    ]
    used = set(re.findall(r'"plugin": \{"kind": "(\w+)"', json.dumps(resources)))
    assert used <= plugins
    assert {plugin for _, plugin in QUERIES.values()} <= plugins


def test_what_has_schemas_is_in_the_image_and_the_other_way_round() -> None:
    component = load(REPOSITORY / "roles/sandbox/vars/main/components/perses.yml")["sandbox_component_perses"]
    packages = {Path(folder).name for package in component["packages"]["npm"] for folder in package["folders"]}
    assert {path.name for path in (REPOSITORY / "images/perses/schemas").iterdir()} == packages


@pytest.fixture(scope="module")
def plugins(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Plugins as the image has them; of ours what schemas are read from, as its pages need not be built for that."""
    directory = tmp_path_factory.mktemp("perses") / "plugins"
    cached = sorted(CACHE.glob("perses/*/plugins"), key=lambda path: path.stat().st_mtime)
    if not cached:
        pytest.fail(f"{CACHE} has no Perses; `make up` or `make artifacts` builds it", pytrace=False)
    shutil.copytree(cached[-1], directory, ignore=shutil.ignore_patterns("lib", "__mf"))
    shutil.copytree(REPOSITORY / "images/perses/schemas", directory, dirs_exist_ok=True)
    ours = directory / "observability"
    source = REPOSITORY / "dashboards/plugin"
    shutil.copytree(source / "schemas", ours / "schemas")
    shutil.copy(source / "package.json", ours)
    manifest = {"id": "Observability", "name": "Observability", "metaData": {"buildInfo": {"buildVersion": "0"}}}
    (ours / "mf-manifest.json").write_text(json.dumps(manifest))
    return directory


def lint(directory: Path, plugins: Path) -> subprocess.CompletedProcess[str]:
    return try_run("percli", "lint", f"--directory={directory}", f"--plugin.path={plugins}")


def test_perses_takes_every_dashboard(tmp_path: Path, plugins: Path) -> None:
    files = perses_files([load(path) for path in FILES], "sandbox", "dev", ADDRESSES, "admin", PAGE)
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    done = lint(tmp_path, plugins)
    assert (done.returncode, "look good" in done.stdout) == (0, True), done.stdout + done.stderr


@pytest.mark.parametrize("language", QUERIES)
def test_perses_refuses_what_a_schema_does_not_know(tmp_path: Path, plugins: Path, language: str) -> None:
    """Without schemas it would take anything."""
    kind = next(kind for kind, languages in KINDS.items() if language in languages)
    dashboard = rendered(definition({"kind": kind, "queries": [{language: "up"}]}))
    path = tmp_path / "dashboard.json"
    path.write_text(json.dumps(dashboard))
    assert lint(tmp_path, plugins).returncode == 0
    spec = dashboard["spec"]["panels"]["0_0"]["spec"]
    for part in (spec["plugin"]["spec"], spec["queries"][0]["spec"]["plugin"]["spec"]):
        part["colour"] = "red"
        path.write_text(json.dumps(dashboard))
        assert lint(tmp_path, plugins).returncode != 0
        del part["colour"]
