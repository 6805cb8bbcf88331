# Copyright: cicd.sandbox contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Kiali: the mesh with its traffic, as its API tells and its page draws it, and that it changes nothing."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlencode

import pytest
from browsing import PORT, STATE, chromium, screenshot, still_context
from live_cluster import get, kubectl, until
from live_pages import ask, series, shown
from playwright.sync_api import HttpCredentials, Page, expect

PAGE = f"http://kiali.localhost:{PORT}"
ACCOUNT = "--as=system:serviceaccount:observability:kiali"
# Seconds within which traffic has to be drawn: two looks at the proxies, and the rules after the second.
SOON = 90
# Milliseconds that the page may take to be drawn, on a machine that has other work.
SHOWN = 90_000
# Who asks whom, by what.
WAYS = {
    ("istio-ingressgateway", "front-end", "http"),
    ("front-end", "business-logic", "http"),
    ("business-logic", "postgresql", "tcp"),
}
# What the page has drawn, as the library that draws it knows it.
DRAWN = """() => {
  const all = [...document.querySelectorAll('#cytoscape-graph, #cytoscape-graph *')];
  const cy = all.find(element => element._cyreg)?._cyreg?.cy;
  const ends = edge => [edge.source().data('workload'), edge.target().data('workload'), edge.data('protocol')];
  return cy ? cy.edges().map(ends) : [];
}"""


def visit() -> None:
    """Ask for the website some times. Tests before may have changed who reaches it: each is answered before long."""
    for _ in range(5):
        assert until(lambda: ask("website").status == 200)


def graph() -> dict[str, Any]:
    query = {
        "namespaces": "apps,istio-ingress",
        "graphType": "workload",
        "duration": "300s",
        # A Service between two workloads would be a node of its own.
        "injectServiceNodes": "false",
    }
    elements: dict[str, Any] = json.loads(shown("kiali", f"/api/namespaces/graph?{urlencode(query)}"))["elements"]
    return elements


def ways() -> dict[tuple[str, str, str], dict[str, Any]]:
    """Whose workload asks whose, by which protocol → what is told of it."""
    elements = graph()
    names = {node["data"]["id"]: node["data"].get("workload", "") for node in elements["nodes"]}
    return {
        (names[edge["source"]], names[edge["target"]], edge["traffic"]["protocol"]): edge
        for edge in (item["data"] for item in elements["edges"])
        if edge["traffic"].get("protocol")
    }


def test_the_way_of_a_request_has_traffic() -> None:
    def found() -> bool:
        visit()
        return ways().keys() >= WAYS

    assert until(found, SOON), sorted(ways())
    for way in WAYS:
        rates = ways()[way]["traffic"]["rates"]
        assert any(float(rate) > 0 for rate in rates.values()), (way, rates)


def test_times_and_versions_are_known() -> None:
    visit()
    ends = 'source_workload="front-end",destination_workload="business-logic"'
    found = until(lambda: series(f"istio_request_duration_milliseconds_count{{{ends}}} > 0"), SOON)
    pods = get("deployments", "business-logic", "--namespace=apps")["spec"]["template"]
    assert pods["metadata"]["labels"]["version"] in {one["metric"]["destination_canonical_revision"] for one in found}


def test_it_looks_and_changes_nothing() -> None:
    for line in (
        "get secrets",
        "list secrets",
        "get pods --subresource=log",
        "create pods --subresource=portforward",
        "create pods --subresource=exec",
        "get pods --subresource=proxy",
        "create serviceaccounts --subresource=token",
        "patch deployments.apps",
        "delete virtualservices.networking.istio.io",
    ):
        said = kubectl("auth", "can-i", *line.split(), "--namespace=apps", ACCOUNT, fails=True)
        assert said.splitlines()[-1] == "no", line
    assert kubectl("auth", "can-i", "list", "virtualservices.networking.istio.io", "--all-namespaces", ACCOUNT) == "yes"
    service = {"apiVersion": "networking.istio.io/v1", "kind": "VirtualService", "metadata": {"name": "kiali-try"}}
    service["spec"] = {"hosts": ["try.example.com"], "http": [{"directResponse": {"status": 200}}]}
    content = json.dumps(service).encode()
    answer = ask("kiali", "/api/namespaces/apps/istio/virtualservices", {"Content-Type": "application/json"}, content)
    assert answer.status >= 400, answer
    assert 'User \\"system:serviceaccount:observability:kiali\\" cannot create' in answer.text, answer


@pytest.mark.parametrize("kind", ["app", "workload", "service"])
def test_it_knows_how_well_all_are(kind: str) -> None:
    query = {"namespaces": "apps", "type": kind, "rateInterval": "300s"}
    found = json.loads(shown("kiali", f"/api/clusters/health?{urlencode(query)}"))
    health = found[f"namespace{kind.capitalize()}Health"]["apps"]
    assert health.keys() >= {"front-end", "business-logic", "postgresql"}


def test_it_has_the_traces_of_a_program() -> None:
    visit()
    start = int((time.time() - 600) * 1_000_000)
    path = f"/api/namespaces/apps/workloads/front-end/traces?startMicros={start}&limit=5"
    assert until(lambda: json.loads(shown("kiali", path))["data"], SOON)


def test_it_keeps_within_its_memory() -> None:
    (limit,) = series('sum(pod:memory_limit_bytes:sum{namespace="observability",pod=~"kiali-.*"})')
    (used,) = until(lambda: series('sum(pod:memory_working_set_bytes:sum{namespace="observability",pod=~"kiali-.*"})'))
    assert 0 < float(used["value"][1]) < 0.8 * float(limit["value"][1])
    pods = get("pods", "--namespace=observability", "--selector=app.kubernetes.io/name=kiali")["items"]
    assert [pod["status"]["containerStatuses"][0]["restartCount"] for pod in pods] == [0]


@pytest.fixture(scope="module")
def page() -> Iterator[Page]:
    with chromium() as browser:
        login: HttpCredentials = {
            "username": "sandbox",
            "password": (STATE / "secrets/pages-password").read_text().strip(),
        }
        context = still_context(browser, http_credentials=login)
        context.set_default_timeout(SHOWN)
        yield context.new_page()


def test_the_way_of_a_request_is_drawn(page: Page) -> None:
    visit()
    query = {
        "namespaces": "apps,istio-ingress",
        "graphType": "workload",
        "duration": "300",
        "refresh": "0",
        "injectServiceNodes": "false",
        "edges": "trafficRate",
    }
    page.goto(f"{PAGE}/console/graph/namespaces?{urlencode(query)}")
    expect(page.locator("#cytoscape-graph")).to_be_visible(timeout=SHOWN)
    page.wait_for_function(f"() => ({DRAWN})().length >= {len(WAYS)}")
    assert {tuple(way) for way in page.evaluate(DRAWN)} >= WAYS
    for name in ("front-end", "business-logic", "postgresql"):
        expect(page.locator("#cytoscape-graph").get_by_text(name, exact=True).first).to_be_visible()
    screenshot(page, "kiali-graph")
