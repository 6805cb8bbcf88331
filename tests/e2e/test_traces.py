# Copyright: cicd.sandbox contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""One request, from its trace to a metric and to a line of a log, each found at its page."""

from __future__ import annotations

import http.client
import json
import secrets
import time
from pathlib import Path

import pytest
from checkout import REPOSITORY
from live_cluster import Object, get, until
from live_pages import PORT, ask, prometheus, series, shown

# Seconds within which a request has to be found.
SOON = 15
GATEWAY = "istio-ingressgateway.istio-ingress"


def visit(trace: str, parent: str, flags: str = "01") -> None:
    headers = {"traceparent": f"00-{trace}-{parent}-{flags}"}
    assert ask("website", f"/?access_token={trace[:8]}", headers).status == 200


def spans(trace: str) -> dict[str, list[Object]]:
    """Spans by the service that they are of."""
    answer = ask("traces", f"/api/traces/{trace}")
    if answer.status != 200:
        return {}
    (found,) = json.loads(answer.text)["data"]
    services = {name: process["serviceName"] for name, process in found["processes"].items()}
    by_service: dict[str, list[Object]] = {}
    for span in found["spans"]:
        by_service.setdefault(services[span["processID"]], []).append(span)
    return by_service


@pytest.fixture(scope="module")
def request_made() -> tuple[str, str]:
    """A trace and the span that its caller says is its own."""
    trace, parent = secrets.token_hex(16), secrets.token_hex(8)
    visit(trace, parent)
    return trace, parent


def test_a_request_is_soon_found_by_its_trace_with_the_gateways_span(request_made: tuple[str, str]) -> None:
    trace, parent = request_made

    def complete() -> dict[str, list[Object]]:
        """Spans of whoever it passed; none as long as the parent of one of the application's proxy is missing."""
        by = spans(trace)
        ids = {span["spanID"] for service in by.values() for span in service}
        # The application's proxy goes on where the gateway was, and where the application was.
        parents = {reference["spanID"] for span in by.get("front-end.apps", []) for reference in span["references"]}
        return by if {GATEWAY, "front-end.apps"} <= set(by) and parents <= ids else {}

    found = until(complete, SOON)
    assert found, sorted(spans(trace))
    first = [span for span in found[GATEWAY] if parent in [reference["spanID"] for reference in span["references"]]]
    assert len(first) == 1
    tags = {tag["key"]: tag["value"] for tag in first[0]["tags"]}
    assert "access_token=[redacted]" in tags["http.url"]
    assert trace[:8] not in json.dumps(tags)


def test_a_span_says_which_pod_it_is_of(request_made: tuple[str, str]) -> None:
    trace, _parent = request_made
    until(lambda: GATEWAY in spans(trace), SOON)
    found = json.loads(shown("traces", f"/api/traces/{trace}"))
    (process,) = [p for p in found["data"][0]["processes"].values() if p["serviceName"] == GATEWAY]
    tags = {tag["key"]: tag["value"] for tag in process["tags"]}
    pods = {item["metadata"]["name"] for item in get("pods", "--namespace=istio-ingress")["items"]}
    assert tags["k8s.pod.name"] in pods
    assert tags["k8s.namespace.name"] == "istio-ingress"


def test_the_gateways_access_log_leads_to_the_trace(request_made: tuple[str, str]) -> None:
    trace, _parent = request_made
    query = f'_time:5m {{k8s.namespace.name="istio-ingress"}} trace_id:="{trace}"'
    text = until(lambda: shown("logs", "/select/logsql/query", query=query), SOON)
    (line,) = [json.loads(each) for each in text.splitlines()]
    assert (line["method"], line["response_code"]) == ("GET", "200")
    assert line["path"] == "/?access_token=[redacted]"


def test_who_decides_against_a_trace_has_none() -> None:
    trace, parent = secrets.token_hex(16), secrets.token_hex(8)
    visit(trace, parent, flags="00")
    visit(later := secrets.token_hex(16), parent)
    assert until(lambda: spans(later), SOON)
    assert spans(trace) == {}


def test_services_and_who_asks_whom_are_counted() -> None:
    def names(query: str) -> set[str]:
        return {next(iter(each["metric"].values())) for each in series(query)}

    assert until(lambda: GATEWAY in names("sum by (service_name) (traces_span_metrics_calls_total)"), 2 * SOON)
    query = f'sum by (server) (traces_service_graph_request_total{{client="{GATEWAY}"}})'
    assert until(lambda: "front-end.apps" in names(query), 2 * SOON)


def published(trace: str, parent: str) -> str:
    """The id of a visitor's trace, to whom a quote was delivered that another one has just added."""
    visitor = secrets.token_hex(16)
    headers = {"Host": f"website.localhost:{PORT}", "traceparent": f"00-{visitor}-{parent}-01"}
    connection = http.client.HTTPConnection("127.0.0.1", int(PORT), timeout=30)
    try:
        connection.request("GET", "/events", headers=headers)
        stream = connection.getresponse()
        # The id tells that the visitor is live.
        while not stream.readline().startswith(b"id: "):
            pass
        context = {"traceparent": f"00-{trace}-{parent}-01"}
        ask("website", "/", context, symbol="TRACED", price="1.5", currency="USD")
        while b"TRACED" not in stream.readline():
            pass
    finally:
        connection.close()
    return visitor


@pytest.fixture(scope="module")
def quote_added() -> tuple[str, str, str]:
    """A trace, the span that its caller says is its own, and the trace of the visitor who watched."""
    trace, parent = secrets.token_hex(16), secrets.token_hex(8)
    return trace, parent, published(trace, parent)


def applications(trace: str) -> dict[str, Object]:
    """Spans that the applications have themselves, by name."""
    by = spans(trace)
    return {span["operationName"]: span for name in ("front-end", "business-logic") for span in by.get(name, [])}


def ancestors(trace: str, span: Object) -> list[str]:
    """Names of the spans above one, the nearest first, and at last the id of the caller's."""
    known = {one["spanID"]: one for service in spans(trace).values() for one in service}
    names: list[str] = []
    found: Object | None = span
    while found is not None:
        above = next(str(reference["spanID"]) for reference in found["references"] if reference["traceID"] == trace)
        found = known.get(above)
        names.append(above if found is None else found["operationName"])
    return names


def test_a_quote_is_one_trace_from_the_gateway_to_the_database(quote_added: tuple[str, str, str]) -> None:
    trace, parent, _visitor = quote_added
    expected = {"POST /", "POST /api/quotes/", "validate quote", "store quote", "INSERT quotes_quote"}
    expected |= {"publish quotes:events", "EVAL quotes:events", "deliver quotes:events", "deliver to visitors"}
    assert until(lambda: expected <= applications(trace).keys(), SOON), applications(trace).keys()
    found = applications(trace)
    above = ancestors(trace, found["INSERT quotes_quote"])
    own = [name for name in above if name in found]
    assert own == ["store quote", "POST /api/quotes/", "POST", "request handler /", "POST /"]
    assert above[-1] == parent
    assert ancestors(trace, found["EVAL quotes:events"])[:2] == ["publish quotes:events", "POST /api/quotes/"]


def test_a_statement_names_the_line_of_code_that_it_is_of(quote_added: tuple[str, str, str]) -> None:
    trace, _parent, _visitor = quote_added
    found = until(lambda: applications(trace).get("INSERT quotes_quote"), SOON)
    tags = {tag["key"]: tag["value"] for tag in found["tags"]}
    assert tags["code.function.name"] == "quotes.views.add_quote"
    source = REPOSITORY / "apps/business-logic" / Path(tags["code.file.path"]).relative_to("/opt/app")
    assert "Quote.objects.create(" in source.read_text().splitlines()[tags["code.line.number"] - 1]


def test_its_delivery_belongs_to_it_and_is_linked_to_the_visitors_stream(quote_added: tuple[str, str, str]) -> None:
    trace, _parent, visitor = quote_added

    def links() -> set[str]:
        found = [span for span in spans(trace).get("front-end", []) if span["operationName"] == "deliver to visitors"]
        return {reference["traceID"] for span in found for reference in span["references"]}

    assert until(lambda: {trace, visitor} <= links(), SOON), links()
    deliver = applications(trace)["deliver to visitors"]
    assert ancestors(trace, deliver)[:2] == ["deliver quotes:events", "publish quotes:events"]


@pytest.mark.parametrize("application", ["front-end", "business-logic"])
def test_a_line_of_each_application_leads_to_its_span(application: str, quote_added: tuple[str, str, str]) -> None:
    trace, _parent, _visitor = quote_added
    query = f'_time:5m {{k8s.namespace.name="apps"}} trace_id:="{trace}" k8s.container.name:="{application}"'
    text = until(lambda: shown("logs", "/select/logsql/query", query=query), SOON)
    lines = [json.loads(each) for each in text.splitlines()]
    assert lines, query
    ids = {line["span_id"] for line in lines}
    assert until(lambda: ids <= {span["spanID"] for span in spans(trace)[application]}, SOON), ids


@pytest.mark.parametrize(
    "buckets",
    [
        f'traces_span_metrics_duration_seconds_bucket{{service_name="{GATEWAY}"}}',
        'http_request_duration_seconds_bucket{namespace="apps",app="front-end"}',
        'http_request_duration_seconds_bucket{namespace="apps",app="business-logic"}',
    ],
    ids=["gateway", "front-end", "business-logic"],
)
def test_a_trace_is_an_exemplar_of_each_duration(buckets: str) -> None:
    trace = secrets.token_hex(16)

    def found() -> bool:
        # Again each time: of a bucket's requests the last one before Prometheus looks is kept.
        visit(trace, secrets.token_hex(8))
        now = time.time()
        told = prometheus("query_exemplars", query=buckets, start=str(now - 300), end=str(now))
        return any(each["labels"]["trace_id"] == trace for one in told for each in one["exemplars"])

    assert until(found, 3 * SOON)
