"""Traces: spans of requests, of statements, of Valkey and of steps; the way of a context across the stream; a collector
that is away, slow or takes nothing; ids in log lines and in exemplars."""

from __future__ import annotations

import json
import logging
import os
import re
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from django.db import OperationalError, connection
from django.test import Client
from opentelemetry import trace
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor, SpanExportResult
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode

from business_logic import health, streams, telemetry
from quotes import events, relay
from quotes.models import Quote
from tests.conftest import Post
from tests.servers import CLOSED_PORT, PROJECT, Server, eventually
from tests.test_events import fields, opened
from tests.valkey_server import ValkeyServer

TRACE = "0af7651916cd43dd8448eb211c80319c"
CALLER = "b7ad6b7169203331"
TRACEPARENT = f"00-{TRACE}-{CALLER}-01"
Lines = Callable[[], list[dict[str, Any]]]
Spans = Callable[[], dict[str, ReadableSpan]]

_exporter = InMemorySpanExporter()


@pytest.fixture(scope="module")
def provider() -> TracerProvider:
    """OpenTelemetry takes one provider in the life of a process."""
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(telemetry.Places())
    provider.add_span_processor(SimpleSpanProcessor(_exporter))
    trace.set_tracer_provider(provider)
    return provider


@pytest.fixture
def spans(provider: TracerProvider) -> Spans:
    """The spans that ended in this test, by name; a name comes once."""
    _exporter.clear()

    def found() -> dict[str, ReadableSpan]:
        ended = {span.name: span for span in _exporter.get_finished_spans()}
        assert len(ended) == len(_exporter.get_finished_spans()), [s.name for s in _exporter.get_finished_spans()]
        return ended

    return found


@pytest.fixture
def server(valkey_server: ValkeyServer, settings: Any) -> ValkeyServer:
    settings.VALKEY = valkey_server.settings()
    return valkey_server


@pytest.fixture
def drain(monkeypatch: pytest.MonkeyPatch) -> Iterator[threading.Event]:
    draining = threading.Event()
    monkeypatch.setattr(health, "draining", draining)
    yield draining
    draining.set()


def trace_id(span: ReadableSpan) -> str:
    assert span.context is not None
    return trace.format_trace_id(span.context.trace_id)


def span_id(span: ReadableSpan) -> str:
    assert span.context is not None
    return trace.format_span_id(span.context.span_id)


def parent_id(span: ReadableSpan) -> str | None:
    return None if span.parent is None else trace.format_span_id(span.parent.span_id)


def attributes(span: ReadableSpan) -> dict[str, Any]:
    """Without those of its place."""
    return {name: value for name, value in (span.attributes or {}).items() if not name.startswith("code.")}


def place(span: ReadableSpan) -> tuple[str, str, str]:
    """File and function that a span names, and the line of the file that it does."""
    found = span.attributes or {}
    path = Path(str(found["code.file.path"]))
    line = path.read_text().splitlines()[int(str(found["code.line.number"])) - 1]
    return str(path.relative_to(PROJECT)), str(found["code.function.name"]), line.strip()


def statements() -> list[ReadableSpan]:
    return [span for span in _exporter.get_finished_spans() if "db.query.text" in attributes(span)]


@pytest.mark.django_db
class TestRequest:
    def test_continues_the_callers_trace(self, client: Client, spans: Spans) -> None:
        client.get(
            "/api/quotes/?limit=5", headers={"Host": "testserver", "traceparent": TRACEPARENT, "X-Request-Id": "r-1"}
        )
        served, read = spans()["GET /api/quotes/"], spans()["read quotes"]
        assert (trace_id(served), parent_id(served)) == (TRACE, CALLER)
        assert (trace_id(read), parent_id(read)) == (TRACE, span_id(served))
        assert served.kind is SpanKind.SERVER
        expected = {
            "http.request.method": "GET",
            "http.route": "/api/quotes/",
            "http.response.status_code": 200,
            "url.path": "/api/quotes/",
            "url.query": "limit=5",
            "url.scheme": "http",
            "server.address": "testserver",
            "request.id": "r-1",
        }
        assert expected.items() <= attributes(served).items()
        assert attributes(read) == {"quotes.limit": 5, "quotes.count": 0}
        (statement,) = statements()
        assert parent_id(statement) == span_id(read)
        assert statement.name == "SELECT quotes_quote"

    def test_route_and_not_path(self, client: Client, spans: Spans) -> None:
        client.get("/api/quotes/ACME/")
        client.get("/nowhere/17")
        assert {"GET /api/quotes/{symbol}/", "GET"} <= spans().keys()

    @pytest.mark.parametrize("traceparent", ["", "00-0-0-00", f"00-{'0' * 32}-{CALLER}-01", "é", "x" * 5000])
    def test_begins_a_trace_where_the_callers_is_none(self, client: Client, spans: Spans, traceparent: str) -> None:
        client.get("/api/quotes/", headers={"traceparent": traceparent})
        assert parent_id(spans()["GET /api/quotes/"]) is None

    def test_what_the_caller_does_not_sample_is_not(self, client: Client, spans: Spans) -> None:
        response = client.get("/api/quotes/", headers={"traceparent": f"00-{TRACE}-{CALLER}-00"})
        assert response.status_code == 200
        assert spans() == {}

    @pytest.mark.parametrize("path", ["/livez", "/readyz", "/metrics"])
    @pytest.mark.parametrize("host", ["testserver", "10.244.1.7:8000"])
    def test_probes_make_no_spans(self, client: Client, spans: Spans, path: str, host: str) -> None:
        assert client.get(path, headers={"Host": host}).status_code == 200
        assert spans() == {}

    def test_unknown_host_is_refused_as_ever(self, client: Client, spans: Spans) -> None:
        response = client.get("/api/quotes/", headers={"Host": "a b:"})
        assert (response.status_code, response["Content-Type"]) == (400, "application/problem+json")
        assert spans()["GET"].status.status_code is StatusCode.UNSET

    def test_failures_of_the_service_are_errors(
        self, client: Client, spans: Spans, database_away: None, log_lines: Lines
    ) -> None:
        assert client.get("/api/quotes/").status_code == 503
        served, read, statement = (spans()[name] for name in ("GET /api/quotes/", "read quotes", "SELECT quotes_quote"))
        assert attributes(served)["error.type"] == "503"
        for span in (served, read, statement):
            assert span.status.status_code is StatusCode.ERROR
            assert "Connection refused" in str(span.status.description)
        assert attributes(statement)["error.type"] == "OperationalError"

    def test_an_unexpected_exception_is_in_the_span(
        self, client: Client, spans: Spans, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("quotes.views.events.position", lambda: 1 / 0)
        assert client.get("/api/quotes/").status_code == 500
        served = spans()["GET /api/quotes/"]
        assert [event.name for event in served.events] == ["exception"]
        assert served.status.status_code is StatusCode.ERROR


@pytest.mark.django_db
class TestSteps:
    def test_of_a_quote_that_is_added(self, server: ValkeyServer, post: Post, spans: Spans) -> None:
        response = post({"symbol": "acme", "price": 1}, headers={"traceparent": TRACEPARENT})
        assert response.status_code == 201
        found = {span.name: span for span in _exporter.get_finished_spans()}
        served = found["POST /api/quotes/"]
        steps = [found[name] for name in ("validate quote", "store quote", f"publish {events.STREAM}")]
        assert {parent_id(span) for span in steps} == {span_id(served)}
        assert [span.start_time for span in steps] == sorted(span.start_time or 0 for span in steps)
        validate, store, publish = steps
        assert attributes(validate) == {"quote.symbol": "ACME", "quote.currency": "USD"}
        number = Quote.objects.get().pk
        assert attributes(store) == {"quote.symbol": "ACME", "quote.currency": "USD", "quote.id": number}
        assert parent_id(found["INSERT quotes_quote"]) == span_id(store)
        assert publish.kind is SpanKind.PRODUCER
        ((entry_id, _entry),) = server.admin().xrange(events.STREAM)
        expected = {"messaging.destination.name": events.STREAM, "messaging.message.id": entry_id, "quote.id": number}
        assert expected.items() <= attributes(publish).items()
        asked = found[f"EVAL {events.STREAM}"]
        assert (parent_id(asked), asked.kind) == (span_id(publish), SpanKind.CLIENT)
        expected = {"db.system.name": "valkey", "server.address": "127.0.0.1", "server.port": server.port}
        assert expected.items() <= attributes(asked).items()
        assert parent_id(found["UPDATE quotes_quote"]) == span_id(publish)

    def test_each_names_the_line_of_code_that_it_is_of(self, server: ValkeyServer, post: Post, spans: Spans) -> None:
        post({"symbol": "ACME", "price": 1})
        found = {span.name: place(span) for span in _exporter.get_finished_spans()}
        add = "quotes/views.py", "quotes.views.add_quote"
        assert found["POST /api/quotes/"] == (*add, "def add_quote(request: HttpRequest) -> JsonResponse:")
        assert found["store quote"] == (*add, 'with gate.passage(), telemetry.step("store quote", described) as span:')
        assert found["INSERT quotes_quote"] == (
            *add,
            "quote = Quote.objects.create(**values, traceparent=traceparent)",
        )
        assert found[f"publish {events.STREAM}"][:2] == ("quotes/relay.py", "quotes.relay.publish")

    def test_a_request_that_no_code_answers_names_none(self, client: Client, spans: Spans) -> None:
        client.get("/nowhere/17")
        assert not [name for name in spans()["GET"].attributes or {} if name.startswith("code.")]

    def test_statements_say_what_but_not_with_which_values(self, post: Post, spans: Spans) -> None:
        post({"symbol": "SECRET", "price": 1})
        insert = spans()["INSERT quotes_quote"]
        found = attributes(insert)
        assert insert.kind is SpanKind.CLIENT
        assert found["db.system.name"] == connection.vendor
        assert (found["db.operation.name"], found["db.collection.name"]) == ("INSERT", "quotes_quote")
        assert found["db.query.text"].startswith('INSERT INTO "quotes_quote"')
        assert "SECRET" not in json.dumps(found)
        if connection.vendor == "postgresql":
            assert found["server.address"] == connection.settings_dict["HOST"]

    @pytest.mark.parametrize(
        ("body", "status", "step"), [({"symbol": "ACME"}, 422, "validate quote"), ("{", 400, "validate quote")]
    )
    def test_a_clients_mistake_is_no_error(self, post: Post, spans: Spans, body: Any, status: int, step: str) -> None:
        assert post(body).status_code == status
        assert spans()[step].status.status_code is StatusCode.UNSET
        assert attributes(spans()[step])["refused.reason"]
        assert spans()["POST /api/quotes/"].status.status_code is StatusCode.UNSET

    def test_events_that_are_gone_are_no_error(self, server: ValkeyServer, client: Client, spans: Spans) -> None:
        assert client.get("/api/quotes/events/recent/?after=5-5").status_code == 410
        assert spans()["read events"].status.status_code is StatusCode.UNSET

    def test_valkey_away(self, server: ValkeyServer, post: Post, spans: Spans) -> None:
        server.stop()
        assert post({"symbol": "ACME", "price": 1}).status_code == 201
        found = {span.name: span for span in _exporter.get_finished_spans()}
        assert found[f"EVAL {events.STREAM}"].status.status_code is StatusCode.ERROR
        assert found[f"publish {events.STREAM}"].status.status_code is StatusCode.ERROR
        assert found["POST /api/quotes/"].status.status_code is StatusCode.UNSET


@pytest.mark.django_db
class TestAcrossTheStream:
    def test_publishing_and_delivery_are_linked(
        self, server: ValkeyServer, client: Client, post: Post, spans: Spans, drain: threading.Event
    ) -> None:
        stream = opened(client, traceparent=f"00-{'1' * 32}-{'2' * 16}-01")
        next(stream)
        post({"symbol": "ACME", "price": 1}, headers={"traceparent": TRACEPARENT, "tracestate": "a=1,b=2"})
        (event,) = fields(next(stream))
        found = {span.name: span for span in _exporter.get_finished_spans()}
        publish, deliver = found[f"publish {events.STREAM}"], found[f"deliver {events.STREAM}"]
        opening = found["GET /api/quotes/events/stream/"]
        ((entry_id, entry),) = server.admin().xrange(events.STREAM)
        assert entry["traceparent"] == f"00-{TRACE}-{span_id(publish)}-01"
        assert entry["tracestate"] == event["tracestate"] == "a=1,b=2"
        assert deliver.kind is SpanKind.CONSUMER
        assert (trace_id(deliver), parent_id(deliver)) == (TRACE, span_id(publish))
        linked = [trace.format_span_id(link.context.span_id) for link in deliver.links]
        assert linked == [span_id(publish), span_id(opening)]
        assert attributes(deliver)["messaging.message.id"] == entry_id == event["id"]
        # The reader goes on with the delivery.
        assert event["traceparent"] == f"00-{TRACE}-{span_id(deliver)}-01"
        assert json.loads(event["data"]).keys() == {"symbol", "price", "currency", "quoted_at"}

    def test_the_streams_own_span_ends_when_it_begins(
        self, server: ValkeyServer, client: Client, spans: Spans, drain: threading.Event
    ) -> None:
        stream = opened(client)
        assert spans()["GET /api/quotes/events/stream/"].end_time
        next(stream)

    def test_a_list_of_events_tells_the_context(
        self, server: ValkeyServer, client: Client, post: Post, spans: Spans
    ) -> None:
        post({"symbol": "ACME", "price": 1}, headers={"traceparent": TRACEPARENT})
        publish = next(span for span in _exporter.get_finished_spans() if span.kind is SpanKind.PRODUCER)
        (event,) = client.get("/api/quotes/events/recent/").json()["events"]
        assert event["traceparent"] == f"00-{TRACE}-{span_id(publish)}-01"

    def test_what_the_relay_publishes_belongs_to_the_request_that_stored_it(
        self, server: ValkeyServer, post: Post, spans: Spans
    ) -> None:
        server.stop()
        post({"symbol": "ACME", "price": 1}, headers={"traceparent": TRACEPARENT})
        served = next(span for span in _exporter.get_finished_spans() if span.kind is SpanKind.SERVER)
        assert Quote.objects.get().traceparent == f"00-{TRACE}-{span_id(served)}-01"
        server.start()
        _exporter.clear()
        eventually(relayed, "Valkey is asked again")
        publish = next(span for span in _exporter.get_finished_spans() if "messaging.message.id" in attributes(span))
        assert (trace_id(publish), parent_id(publish)) == (TRACE, span_id(served))
        ((_id, entry),) = server.admin().xrange(events.STREAM)
        assert entry["traceparent"] == f"00-{TRACE}-{span_id(publish)}-01"
        quote = Quote.objects.get()
        assert (quote.published, quote.traceparent) == (True, "")

    def test_what_polls_makes_no_spans(self, server: ValkeyServer, spans: Spans, drain: threading.Event) -> None:
        assert relay.publish_the_rest() == 0
        store = events.store()
        assert store is not None
        store.last()
        assert store.wait("0-0", 1) == []
        assert spans() == {}

    def test_entries_of_the_version_before(
        self, server: ValkeyServer, client: Client, spans: Spans, drain: threading.Event
    ) -> None:
        server.admin().xadd(events.STREAM, {"number": "1", "quote": json.dumps({"symbol": "ACME"})})
        stream = opened(client, "?after=0-0")
        next(stream)
        (event,) = fields(next(stream))
        deliver = spans()[f"deliver {events.STREAM}"]
        assert deliver.parent is None
        assert event["traceparent"].startswith(f"00-{trace_id(deliver)}-{span_id(deliver)}-")

    def test_a_tracestate_that_is_too_long_is_left_out(self, spans: Spans) -> None:
        state = ",".join(f"member{number}={'x' * 100}" for number in range(10))
        context = telemetry.context_of({"traceparent": TRACEPARENT, "tracestate": state})
        with telemetry.tracer.start_as_current_span("long", context=context):
            assert telemetry.carrier().keys() == {"traceparent"}


def relayed() -> bool:
    try:
        return relay.publish_the_rest() == 1
    except streams.Away:
        return False


@pytest.mark.django_db
class TestCorrelation:
    def test_log_lines_carry_the_ids(self, server: ValkeyServer, post: Post, spans: Spans, log_lines: Lines) -> None:
        server.stop()
        post({"symbol": "ACME", "price": 1}, headers={"traceparent": TRACEPARENT})
        # Streams of tests before may end, and be told, only now.
        warning, line = (one for one in log_lines() if one["trace_id"] == TRACE)
        served = next(span for span in _exporter.get_finished_spans() if span.kind is SpanKind.SERVER)
        for one in (warning, line):
            assert (one["trace_id"], one["span_id"]) == (TRACE, span_id(served))

    def test_a_streams_line_too(
        self, server: ValkeyServer, client: Client, spans: Spans, drain: threading.Event, log_lines: Lines
    ) -> None:
        response: Any = client.get("/api/quotes/events/stream/", headers={"traceparent": TRACEPARENT})
        next(iter(response.streaming_content))
        response.close()
        (line,) = log_lines()
        assert (line["trace_id"], line["span_id"]) == (TRACE, span_id(spans()["GET /api/quotes/events/stream/"]))

    def test_without_a_request_they_are_null(self, log_lines: Lines) -> None:
        telemetry.log.warning("alone")
        (line,) = log_lines()
        assert (line["trace_id"], line["span_id"]) == (None, None)

    def test_exemplars(self, client: Client, spans: Spans) -> None:
        client.get("/api/quotes/", headers={"traceparent": TRACEPARENT})
        served = spans()["GET /api/quotes/"]
        response = client.get("/metrics", headers={"Accept": "application/openmetrics-text;version=1.0.0,text/plain"})
        assert response["Content-Type"].startswith("application/openmetrics-text; version=1.0.0")
        text = response.content.decode()
        assert text.endswith("# EOF\n")
        bucket = r'^http_request_duration_seconds_bucket\{le="[^"]+",method="GET",route="/api/quotes/"\} \S+'
        labels = rf'\{{span_id="{span_id(served)}",trace_id="{TRACE}"\}}'
        assert re.search(rf"{bucket} # {labels} \S+ \S+$", text, re.MULTILINE), text

    def test_no_exemplar_of_a_trace_that_is_not_kept(self, client: Client, spans: Spans) -> None:
        client.get("/api/quotes/NEVER/", headers={"traceparent": f"00-{'3' * 32}-{CALLER}-00"})
        text = client.get("/metrics", headers={"Accept": "application/openmetrics-text"}).content.decode()
        assert "3" * 32 not in text

    @pytest.mark.parametrize("accept", ["", "*/*", "text/plain", "application/openmetrics-text;version=x", "é;;=,"])
    def test_metrics_for_everybody_else(self, client: Client, spans: Spans, accept: str) -> None:
        client.get("/api/quotes/")
        response = client.get("/metrics", headers={"Accept": accept})
        assert response.status_code == 200
        assert b'http_requests_total{method="GET",route="/api/quotes/",status="200"}' in response.content
        if "openmetrics" not in accept:
            assert response["Content-Type"].startswith("text/plain")
            assert b"trace_id" not in response.content


class Collector(ThreadingHTTPServer):
    """Takes spans by OTLP over HTTP as the real one does; `status` is what it answers, after `delay` seconds."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), CollectorHandler)
        self.resources: list[Any] = []
        self.status = 200
        self.delay = 0.0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def spans(self) -> dict[str, Any]:
        scopes = [scope for resource in self.resources for scope in resource.scope_spans]
        return {span.name: span for scope in scopes for span in scope.spans}


class CollectorHandler(BaseHTTPRequestHandler):
    server: Collector

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        time.sleep(self.server.delay)
        if self.server.status == 200:
            assert self.path == "/v1/traces"
            self.server.resources += ExportTraceServiceRequest.FromString(body).resource_spans
        self.send_response(self.server.status)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_arguments: Any) -> None:
        pass


@pytest.fixture
def collector() -> Iterator[Collector]:
    with Collector() as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


def variables(endpoint: str, directory: Path, **more: str) -> dict[str, str]:
    database = f"sqlite:///{directory}/db.sqlite3"
    return {"DATABASE_URL": database, "OTEL_EXPORTER_OTLP_ENDPOINT": endpoint, "OTEL_BSP_SCHEDULE_DELAY": "100", **more}


class TestProcess:
    """The real server with gunicorn's fork, and a collector beside it."""

    def test_spans_arrive_and_name_their_resource(self, collector: Collector, tmp_path: Path) -> None:
        found = "k8s.pod.name=api-1,k8s.namespace.name=apps"
        with Server(tmp_path / "log", **variables(collector.url, tmp_path, OTEL_RESOURCE_ATTRIBUTES=found)) as server:
            assert server.get("/api/openapi.json", traceparent=TRACEPARENT).status == 200
            server.get("/api/quotes/")
            eventually(lambda: {"GET /api/openapi.json", "read quotes"} <= collector.spans().keys(), "spans arrive")
        span = collector.spans()["GET /api/openapi.json"]
        assert (span.trace_id.hex(), span.parent_span_id.hex()) == (TRACE, CALLER)
        resource = {one.key: one.value.string_value for one in collector.resources[0].resource.attributes}
        expected = {"service.name": "business-logic", "k8s.pod.name": "api-1", "k8s.namespace.name": "apps"}
        assert expected.items() <= resource.items()
        assert re.fullmatch(r"\d+\.\d+\.\d+", resource["service.version"])
        step = {one.key: one.value.string_value for one in collector.spans()["read quotes"].attributes}
        assert step["code.function.name"] == "quotes.views.list_quotes"

    def test_the_last_spans_are_sent_at_the_end(self, collector: Collector, tmp_path: Path) -> None:
        settings = variables(collector.url, tmp_path, OTEL_BSP_SCHEDULE_DELAY="60000")
        with Server(tmp_path / "log", **settings) as server:
            server.get("/api/openapi.json")
        assert "GET /api/openapi.json" in collector.spans()

    @pytest.mark.parametrize("kind", ["refuses", "is silent", "answers 503", "has no name"])
    def test_a_collector_that_is_away_costs_nothing(self, collector: Collector, tmp_path: Path, kind: str) -> None:
        collector.status = 503
        with socket.create_server(("127.0.0.1", 0)) as silent:
            endpoint = {
                "refuses": f"http://127.0.0.1:{CLOSED_PORT}",
                "is silent": f"http://127.0.0.1:{silent.getsockname()[1]}",
                "answers 503": collector.url,
                "has no name": "http://collector.observability.invalid:4318",
            }[kind]
            settings = variables(endpoint, tmp_path, OTEL_BSP_MAX_QUEUE_SIZE="64", OTEL_BSP_MAX_EXPORT_BATCH_SIZE="16")
            settings["OTEL_EXPORTER_OTLP_TIMEOUT"] = "5"
            with Server(tmp_path / "log", **settings) as server:
                slowest = 0.0
                for _ in range(100):
                    began = time.monotonic()
                    assert server.get("/api/openapi.json").status == 200
                    slowest = max(slowest, time.monotonic() - began)
                # Whoever waited for the collector would wait for as long as an attempt may take.
                assert slowest < 4
                eventually(lambda: len(complaints(server)) > 0, "the log says so")
                server.get("/api/openapi.json")
                began = time.monotonic()
            assert time.monotonic() - began < 15
        assert len(complaints(server)) == 1, complaints(server)
        (line,) = complaints(server)
        assert line["level"] == "warning"
        assert endpoint in line["message"]

    def test_a_collector_that_comes_back(self, collector: Collector, tmp_path: Path) -> None:
        collector.status = 400
        with Server(tmp_path / "log", **variables(collector.url, tmp_path)) as server:
            server.get("/api/openapi.json")
            eventually(lambda: len(complaints(server)) == 1, "the log says that it is away")
            collector.status = 200
            server.get("/api/quotes/", traceparent=TRACEPARENT)
            eventually(lambda: len(complaints(server)) == 2, "the log says that it is back")
            assert complaints(server)[1]["message"] == "Spans are sent again."

    @pytest.mark.parametrize(
        "change",
        [
            {"OTEL_SDK_DISABLED": "true"},
            {"OTEL_TRACES_EXPORTER": "none"},
            {"OTEL_EXPORTER_OTLP_ENDPOINT": ""},
            {"OTEL_TRACES_SAMPLER": "always_off"},
        ],
    )
    def test_off(self, collector: Collector, tmp_path: Path, change: dict[str, str]) -> None:
        with Server(tmp_path / "log", **{**variables(collector.url, tmp_path), **change}) as server:
            assert server.get("/api/openapi.json").status == 200
        assert collector.resources == []
        assert all(line["level"] == "info" for line in server.lines())

    def test_a_share_of_traces(self, collector: Collector, tmp_path: Path) -> None:
        share = {"OTEL_TRACES_SAMPLER": "parentbased_traceidratio", "OTEL_TRACES_SAMPLER_ARG": "0"}
        with Server(tmp_path / "log", **variables(collector.url, tmp_path), **share) as server:
            server.get("/api/quotes/ACME/")
            server.get("/api/openapi.json", traceparent=TRACEPARENT)
        assert collector.spans().keys() == {"GET /api/openapi.json"}

    @pytest.mark.parametrize(
        ("change", "words"),
        [
            ({"OTEL_EXPORTER_OTLP_TIMEOUT": "soon"}, "Invalid timeout value 'soon'"),
            ({"OTEL_EXPORTER_OTLP_COMPRESSION": "best"}, "Unsupported compression type: best"),
            ({"OTEL_TRACES_SAMPLER": "some"}, "Couldn't recognize sampler some"),
            ({"OTEL_BSP_MAX_QUEUE_SIZE": "9"}, "OpenTelemetry does not take its settings"),
            ({"OTEL_EXPORTER_OTLP_ENDPOINT": "nonsense"}, "Spans are lost, nonsense does not take them"),
        ],
    )
    def test_wrong_settings_stop_nobody(
        self, collector: Collector, tmp_path: Path, change: dict[str, str], words: str
    ) -> None:
        with Server(tmp_path / "log", **{**variables(collector.url, tmp_path), **change}) as server:
            assert server.get("/api/openapi.json").status == 200
            eventually(lambda: any(words in line["message"] for line in server.lines()), words)

    def test_the_generator_is_the_root_of_its_traces(self, collector: Collector, tmp_path: Path) -> None:
        environment = {"PATH": os.environ["PATH"], "INTERVAL": "0.05", "SYMBOLS": "A", "OTEL_BSP_SCHEDULE_DELAY": "50"}
        with Collector() as api:
            # It refuses all quotes: spans tell that, too.
            api.status = 503
            environment |= {"API_URL": api.url, "OTEL_EXPORTER_OTLP_ENDPOINT": collector.url}
            threading.Thread(target=api.serve_forever, daemon=True).start()
            process = subprocess.Popen(
                [sys.executable, "-m", "quotes.generator"], cwd=PROJECT, env=environment, stdout=subprocess.PIPE
            )
            eventually(lambda: {"add quote", "GET"} <= collector.spans().keys(), "spans arrive")
            process.terminate()
            said, _ = process.communicate(timeout=20)
            api.shutdown()
        root, asked = collector.spans()["add quote"], collector.spans()["GET"]
        assert (root.parent_span_id, asked.parent_span_id) == (b"", root.span_id) or asked.trace_id != root.trace_id
        line = json.loads(said.splitlines()[0])
        assert re.fullmatch("[0-9a-f]{32}", line["trace_id"])
        resource = {one.key: one.value.string_value for one in collector.resources[0].resource.attributes}
        assert resource["service.name"] == "quote-generator"


def complaints(server: Server) -> list[dict[str, Any]]:
    """Lines about telemetry, whoever wrote them."""
    return [line for line in server.lines() if re.search("telemetry|urllib3", line["logger"])]


def test_an_exporter_that_raises_says_so_once(log_lines: Lines) -> None:
    class Broken(InMemorySpanExporter):
        def export(self, spans: Any) -> SpanExportResult:
            raise OperationalError("out of order")

    exporter = telemetry.Exporter(Broken(), "http://collector.test")
    for _ in range(3):
        assert exporter.export([]) is SpanExportResult.FAILURE
    exporter.shutdown()
    (line,) = log_lines()
    assert line["message"] == "Spans are lost, http://collector.test does not take them: OperationalError: out of order"


def test_spans_that_come_too_fast_are_told_of_once(log_lines: Lines) -> None:
    exporter = telemetry.Exporter(InMemorySpanExporter(), "http://collector.test")
    for _ in range(3):
        logging.getLogger("opentelemetry.sdk._shared_internal").warning("Queue full, dropping Span.")
    exporter.export([])
    exporter.export([])
    exporter.shutdown()
    assert [line["message"] for line in log_lines()] == [
        "Spans are lost, http://collector.test does not take them: more end than are sent",
        "Spans are sent again.",
    ]
