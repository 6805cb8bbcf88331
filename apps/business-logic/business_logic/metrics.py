"""Metrics of this process, in Prometheus' text format or OpenMetrics, which has exemplars too.

gunicorn runs one worker process with threads (see gunicorn.conf.py), so that one registry in memory has everything,
exemplars included, which prometheus_client's files for several processes don't hold.
"""

from __future__ import annotations

import re

from django.http import HttpRequest, HttpResponse
from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    GCCollector,
    Histogram,
    Info,
    PlatformCollector,
    ProcessCollector,
    disable_created_metrics,
)
from prometheus_client.exposition import choose_encoder

from business_logic import __version__, telemetry

METHODS = frozenset({"GET", "HEAD", "OPTIONS", "POST", "PUT", "PATCH", "DELETE", "TRACE", "CONNECT"})
UNMATCHED = "unmatched"

disable_created_metrics()
registry = CollectorRegistry()
ProcessCollector(registry=registry)
PlatformCollector(registry=registry)
GCCollector(registry=registry)

requests = Counter(
    "http_requests_total",
    "Requests answered, by method, route and status.",
    ("method", "route", "status"),
    registry=registry,
)
request_seconds = Histogram(
    "http_request_duration_seconds",
    "Time to answer a request, by method and route.",
    ("method", "route"),
    buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10),
    registry=registry,
)
requests_in_progress = Gauge("http_requests_in_progress", "Requests being answered.", registry=registry)
quotes_created = Counter("quotes_created_total", "Quotes added through the API.", registry=registry)
database_up = Gauge("database_up", "Whether the last use of the database succeeded (1) or not (0).", registry=registry)
valkey_up = Gauge("valkey_up", "Whether the last use of Valkey succeeded (1) or not (0).", registry=registry)
quotes_published = Counter("quotes_published_total", "Quotes that this process published.", registry=registry)
event_streams = Gauge("event_streams", "Streams of events that are open.", registry=registry)
Info("business_logic_build", "Version of the service.", registry=registry).info({"version": __version__})


def route(request: HttpRequest) -> str:
    """The path with its parameters' names, such as /api/quotes/{symbol}/: few values, whatever clients ask for."""
    if not request.resolver_match:
        return UNMATCHED
    return "/" + re.sub(r"<(?:\w+:)?(\w+)>", r"{\1}", request.resolver_match.route)


def record(request: HttpRequest, status: int, seconds: float | None) -> None:
    """Count an answer; `seconds` is None for one whose length says nothing, a stream's.

    Within the request's span, which the distribution of times names as an example.
    """
    method = request.method if request.method in METHODS else "other"
    requests.labels(method, route(request), str(status)).inc()
    if seconds is not None:
        request_seconds.labels(method, route(request)).observe(seconds, telemetry.exemplar())


def expose(request: HttpRequest) -> HttpResponse:
    try:
        encode, content_type = choose_encoder(request.headers.get("Accept", ""))
    except (TypeError, ValueError):  # a version that is no number
        encode, content_type = choose_encoder("")
    return HttpResponse(encode(registry), content_type=content_type)
