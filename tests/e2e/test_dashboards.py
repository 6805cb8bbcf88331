# Copyright: cicd.sandbox contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Dashboards: their login, what they may ask, that every panel shows something, and the way from a point to a line."""

from __future__ import annotations

import functools
import json
import secrets
import subprocess
import time
import urllib.parse
from collections.abc import Iterator
from typing import NamedTuple

import pytest
import yaml
from ansible_collections.cicd.sandbox.plugins.module_utils.dashboards.definition import (
    VARIABLE,
    Dashboard,
    Panel,
    Query,
    read_dashboard,
)
from browsing import PORT, STATE, chromium, screenshot, still_context
from checkout import REPOSITORY
from live_cluster import KUBECTL, get, until
from live_pages import Answer, ask
from playwright.sync_api import Browser, Locator, Page, ViewportSize, expect

PAGE = f"http://dashboards.localhost:{PORT}"
JSON = {"Content-Type": "application/json"}
# Seconds within which a request has to be found.
SOON = 15
# Milliseconds that a page may take to be drawn, on a machine that has other work.
SHOWN = 90_000
# Panels out of sight are not drawn: room for the spans and the lines of a request, and for a dashboard.
WINDOW: ViewportSize = {"width": 1400, "height": 1500}
ALL: ViewportSize = {"width": 1400, "height": 3300}
FILES = sorted((REPOSITORY / "dashboards").glob("*.yaml"))
PANELS = [
    (dashboard, panel)
    for path in FILES
    for dashboard in [read_dashboard(yaml.safe_load(path.read_text()))]
    for panel in dashboard.panels
]
PROXY = {
    "metrics": "/proxy/globaldatasources/prometheus/api/v1/query",
    "exemplars": "/proxy/globaldatasources/prometheus/api/v1/query_exemplars",
    "logs": "/proxy/globaldatasources/victorialogs/select/logsql/query",
    "log_numbers": "/proxy/globaldatasources/victorialogs/select/logsql/stats_query_range",
    "traces": "/proxy/globaldatasources/jaeger/api/v3/traces",
}


def password() -> str:
    return (STATE / "secrets/perses-password").read_text().split()[0]


def login(user: str, word: str) -> Answer:
    content = json.dumps({"login": user, "password": word}).encode()
    return ask("dashboards", "/api/auth/providers/native/login", JSON, content)


@functools.cache
def token() -> str:
    answer = login("admin", password())
    assert answer.status == 200, answer
    word: str = json.loads(answer.text)["access_token"]
    return word


def asked(path: str, **parameters: str) -> Answer:
    """What the page answers its user."""
    query = f"?{urllib.parse.urlencode(parameters)}" if parameters else ""
    return ask("dashboards", path + query, authorized())


def authorized() -> dict[str, str]:
    return {"Authorization": f"Bearer {token()}"}


# --- who may come in --------------------------------------------------------------------------------------------------


def test_who_has_no_login_sees_nothing() -> None:
    for path in ("/api/v1/projects", "/api/v1/globaldatasources", PROXY["metrics"] + "?query=up"):
        answer = ask("dashboards", path)
        assert answer.status in (400, 401), path
        assert "jwt" in answer.text, path


def test_a_wrong_password_is_refused_and_nobody_makes_a_user() -> None:
    for word in ("", "password", "admin", password()[:-1]):
        assert login("admin", word).status in (400, 401), word
    user = {"kind": "User", "metadata": {"name": "eve"}, "spec": {"nativeProvider": {"password": "x" * 12}}}
    assert ask("dashboards", "/api/v1/users", JSON, json.dumps(user).encode()).status >= 400
    assert "eve" not in asked("/api/v1/users").text


def test_stores_are_asked_and_not_changed() -> None:
    for path in (
        "/proxy/globaldatasources/prometheus/api/v1/admin/tsdb/delete_series",
        "/proxy/globaldatasources/prometheus/-/reload",
        "/proxy/globaldatasources/victorialogs/insert/jsonline",
        "/proxy/globaldatasources/victorialogs/x/select/logsql/query",
        "/proxy/globaldatasources/jaeger/api/traces",
    ):
        assert asked(path).status == 403, path


def test_the_password_is_its_owners_alone_and_the_pod_has_no_token() -> None:
    for name in ("perses-password", "perses-user.yaml", "perses-encryption-key"):
        assert (STATE / "secrets" / name).stat().st_mode & 0o777 == 0o600
    (pod,) = get("pods", "--namespace=observability", "--selector=app.kubernetes.io/name=perses")["items"]
    assert pod["spec"]["automountServiceAccountToken"] is False
    assert not [volume for volume in pod["spec"]["volumes"] if "projected" in volume]


# --- what is shown ----------------------------------------------------------------------------------------------------


def test_all_plugins_and_dashboards_are_there() -> None:
    modules = json.loads(asked("/api/v1/plugins").text)
    assert [module for module in modules if not module["status"]["isLoaded"]] == []
    assert "Observability" in [module["metadata"]["name"] for module in modules]
    dashboards = json.loads(asked("/api/v1/projects/sandbox/dashboards").text)
    assert {item["metadata"]["name"] for item in dashboards} >= {path.stem for path in FILES}


def value_of(dashboard: Dashboard, namespace: str) -> dict[str, str]:
    """What is chosen: a namespace, and all that there is in it."""
    return {variable.name: ".*" for variable in dashboard.variables} | {"namespace": namespace}


def amount(query: Query, values: dict[str, str]) -> int:
    """How many series, lines or traces the stores have, asked as the page asks."""
    text = VARIABLE.sub(lambda found: values.get(found[1] or found[2], found[0]), query.text)
    now = time.time()
    span = {"start": str(int(now - 3600)), "end": str(int(now) + 1)}
    parameters: dict[str, str] = {"query": text}
    if query.language == "exemplars":
        parameters |= span
    elif query.language in ("logs", "log_numbers"):
        parameters |= {**span, "limit": "10"} if query.language == "logs" else {**span, "step": "1m"}
    elif query.language == "traces":
        iso = {name: time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(int(value))) for name, value in span.items()}
        parameters = {"query.start_time_min": iso["start"], "query.start_time_max": iso["end"]}
        parameters |= {"query.service_name": "front-end", "query.num_traces": "5"}
    path = PROXY[query.language]
    status, _headers, answer = (
        ask("dashboards", path, authorized(), **parameters)
        if query.language == "metrics"
        else asked(path, **parameters)
    )
    if query.language == "traces" and status == 404:
        return 0
    assert status == 200, f"{text}\n{answer}"
    if query.language == "logs":
        return len(answer.splitlines())
    body = json.loads(answer)
    if query.language == "traces":
        return len(body["result"]["resourceSpans"])
    return len(body["data"] if query.language == "exemplars" else body["data"]["result"])


@pytest.mark.parametrize(("dashboard", "panel"), PANELS, ids=[f"{d.name}: {p.title}" for d, p in PANELS])
def test_a_panel_shows_something_unless_it_says_why_not(dashboard: Dashboard, panel: Panel) -> None:
    queries = [query for query in panel.queries if query.text != "$trace"]

    def found() -> int:
        # All are asked, so that one that can't be asked is found where another has data.
        return sum([amount(query, value_of(dashboard, "apps")) for query in queries])

    assert found() or panel.empty or until(found, 2 * SOON)


@pytest.mark.parametrize("namespace", ["apps", "istio-ingress", "istio-system", "kube-system", "observability"])
def test_processors_and_memory_of_each_namespace_are_shown(namespace: str) -> None:
    (workloads,) = {dashboard.name: dashboard for dashboard, _ in PANELS if dashboard.name == "workloads"}.values()
    for panel in workloads.panels:
        if panel.title.startswith("Use of"):
            assert amount(panel.queries[0], value_of(workloads, namespace)) > 0, panel.title


# --- from a point to a line, by clicks --------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as started:
        yield started


@pytest.fixture(scope="module")
def page(browser: Browser) -> Iterator[Page]:
    """A page of who has logged in as a person does."""
    context = still_context(browser)
    context.set_default_timeout(SHOWN)
    opened = context.new_page()
    opened.set_viewport_size(WINDOW)
    opened.goto(f"{PAGE}/projects/sandbox/dashboards/workloads")
    opened.get_by_label("Username").fill("admin")
    opened.get_by_label("Password").fill(password())
    opened.get_by_role("button", name="Sign in").click()
    expect(opened.get_by_role("button", name="Sign in")).to_have_count(0, timeout=SHOWN)
    yield opened
    context.close()


@pytest.fixture(scope="module")
def trace() -> str:
    """A request whose trace has come."""
    number = secrets.token_hex(16)
    headers = {"traceparent": f"00-{number}-{secrets.token_hex(8)}-01"}
    assert ask("website", "/", headers).status == 200
    assert until(lambda: asked(f"{PROXY['traces']}/{number}").status == 200, SOON)
    return number


@pytest.mark.parametrize("name", ["workloads", "platform"])
def test_every_panel_is_drawn(page: Page, name: str) -> None:
    (path,) = (path for path in FILES if path.stem == name)
    dashboard = read_dashboard(yaml.safe_load(path.read_text()))
    page.set_viewport_size(ALL)
    page.goto(f"{PAGE}/projects/sandbox/dashboards/{name}?start=30m&refresh=0s")
    for panel in dashboard.panels:
        expect(page.get_by_role("heading", name=panel.title, exact=True).first).to_be_attached(timeout=SHOWN)
    expect(page.locator("canvas").first).to_be_visible(timeout=SHOWN)
    expect(page.locator(".MuiSkeleton-root")).to_have_count(0, timeout=SHOWN)
    expect(page.get_by_role("alert")).to_have_count(0)
    screenshot(page, f"dashboard-{name}")
    page.set_viewport_size(WINDOW)


def test_a_trace_has_its_spans_and_its_lines_and_a_line_leads_on(page: Page, trace: str) -> None:
    page.goto(f"{PAGE}/projects/sandbox/dashboards/trace?var-trace={trace}&start=30m&refresh=0s")
    expect(page.get_by_text("front-end").first).to_be_visible(timeout=SHOWN)
    table = page.get_by_role("table", name="Log lines")
    expect(table.get_by_role("row").first).to_be_visible(timeout=SHOWN)
    screenshot(page, "dashboard-trace")
    table.get_by_role("button").first.click()
    table.get_by_role("link").first.click()
    # Of the pod, and with a time range.
    page.wait_for_url(lambda url: "/dashboards/workloads" in url and "var-pod=" in url and "start=" in url)


def test_a_line_of_the_workloads_leads_to_its_trace(page: Page, trace: str) -> None:
    page.set_viewport_size(ALL)
    page.goto(f"{PAGE}/projects/sandbox/dashboards/workloads?var-namespace=apps&start=15m&refresh=0s")
    link = page.get_by_role("table", name="Log lines").first.get_by_role("link").first
    expect(link).to_be_visible(timeout=SHOWN)
    number = link.inner_text()
    link.click()
    page.set_viewport_size(WINDOW)
    page.wait_for_url(lambda url: f"var-trace={number}" in url and "start=" in url and "end=" in url)
    expect(page.get_by_role("table", name="Log lines").get_by_role("row").first).to_be_visible(timeout=SHOWN)


def test_what_a_store_refuses_is_said_in_the_panel(page: Page) -> None:
    none = "f" * 32
    page.goto(f"{PAGE}/projects/sandbox/dashboards/trace?var-trace={none}&start=30m&refresh=0s")
    expect(page.get_by_text(f"Jaeger has no trace {none}").first).to_be_visible(timeout=SHOWN)


# --- from "it is slow" to the line of code, as docs/how-to/dashboards.md has it ---------------------------------------

# Seconds that the table of quotes is locked for: less than the mesh waits for the API before it asks once more.
LOCKED = 1.5
# Reads its password from standard input, and the statements from the argument.
PSQL = """\
read -r PGPASSWORD
export PGPASSWORD
exec psql --host=127.0.0.1 --username=quotes --dbname=quotes --command="$0"
"""
# The highest of a chart's points, in parts of its width and height: all else that is drawn is dark or pale.
HIGHEST = """chart => {
  const { width, height } = chart;
  const { data } = chart.getContext("2d").getImageData(0, 0, width, height);
  for (let at = 0; at < data.length; at += 4) {
    const colours = data.slice(at, at + 3);
    if (Math.max(...colours) > 150 && Math.min(...colours) < 90)
      return [((at / 4) % width) / width, Math.floor(at / 4 / width) / height];
  }
}"""


class Slow(NamedTuple):
    """The trace of a request that had to wait in the database, and when it came."""

    trace: str
    came: float


@pytest.fixture(scope="module")
def slow() -> Slow:
    statements = f"BEGIN; LOCK TABLE quotes_quote; SELECT pg_sleep({LOCKED}); COMMIT"
    pod = ["--namespace=apps", "postgresql-0", "--container=postgresql"]
    line = [*KUBECTL, "exec", "--stdin", *pod, "--", "sh", "-c", PSQL, statements]
    with subprocess.Popen(line, stdin=subprocess.PIPE, text=True) as holder:
        assert holder.stdin
        holder.stdin.write((STATE / "secrets/postgresql-password").read_text().strip() + "\n")
        holder.stdin.flush()
        found = None
        while found is None and holder.poll() is None:
            asked_for = Slow(secrets.token_hex(16), time.time())
            headers = {"traceparent": f"00-{asked_for.trace}-{secrets.token_hex(8)}-01"}
            assert ask("website", "/", headers).status == 200
            if time.time() - asked_for.came > LOCKED / 2:
                found = asked_for
    assert found, "nobody waited"
    query = 'http_request_duration_seconds_bucket{namespace="apps"}'
    span = {"start": str(found.came - 60), "end": str(found.came + 300)}
    assert until(lambda: found.trace in asked(PROXY["exemplars"], query=query, **span).text, 3 * SOON)
    assert until(lambda: asked(f"{PROXY['traces']}/{found.trace}").status == 200, SOON)
    return found


def panel(page: Page, title: str) -> Locator:
    return page.get_by_test_id("panel").filter(has=page.get_by_role("heading", name=title, exact=True))


# A trial, as whoever waits for the lock a moment longer has the highest point.
@pytest.mark.trial
def test_a_slow_request_leads_to_the_line_of_code(page: Page, slow: Slow) -> None:
    page.set_viewport_size(ALL)
    span = f"start={int(slow.came - 60) * 1000}&end={int(time.time()) * 1000}"
    page.goto(f"{PAGE}/projects/sandbox/dashboards/workloads?var-namespace=apps&{span}&refresh=0s")
    points = panel(page, "Single requests").locator("canvas")
    expect(points).to_be_visible(timeout=SHOWN)
    right, down = until(lambda: points.evaluate(HIGHEST), SOON)
    screenshot(page, "slow-workloads")
    box = points.bounding_box()
    assert box
    # The uppermost of its pixels was found.
    page.mouse.click(box["x"] + right * box["width"], box["y"] + down * box["height"] + 4)
    page.set_viewport_size(WINDOW)
    page.wait_for_url(lambda url: f"var-trace={slow.trace}" in url and "start=" in url)
    page.get_by_text("SELECT quotes_quote").first.click()
    line = page.get_by_text("code.line.number").locator("xpath=..")
    expect(line).to_be_visible()
    screenshot(page, "slow-span")
    number = int("".join(filter(str.isdigit, line.inner_text())))
    source = (REPOSITORY / "apps/business-logic/quotes/views.py").read_text().splitlines()[number - 1]
    assert "quote.as_json() for quote in quotes" in source
