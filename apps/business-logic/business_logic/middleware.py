"""What every request goes through: its record (id, log line, metrics) and the conversion of errors."""

from __future__ import annotations

import logging
import re
import time
import uuid
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager
from http import HTTPStatus
from typing import Any, cast

from django.conf import settings
from django.core.exceptions import DisallowedHost, SuspiciousOperation
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from opentelemetry import context as telemetry_context
from opentelemetry import trace
from opentelemetry.trace import Span, SpanKind

from business_logic import database, logs, metrics, telemetry
from business_logic.http import Stream
from business_logic.problems import Problem

GetResponse = Callable[[HttpRequest], HttpResponse | Stream]

# Asked by address and not by name, by the kubelet and by Prometheus.
PROBES = frozenset({"/livez", "/readyz", "/metrics"})
# Member of request.META: why the request failed, for the log.
REASON = "business_logic.reason"
_SANE_REQUEST_ID = re.compile(r"[A-Za-z0-9._:-]{1,128}")

log = logging.getLogger("business_logic.request")


def choose_request_id(given: str | None) -> str:
    """The client's X-Request-Id where it is harmless in a log and a header, else a new one."""
    return given if given and _SANE_REQUEST_ID.fullmatch(given) else uuid.uuid4().hex


def server_span(request: HttpRequest) -> AbstractContextManager[Span]:
    """The request's span, below the one that its headers name; a stream's ends when its answer begins.

    Attributes: https://opentelemetry.io/docs/specs/semconv/http/http-spans/#http-server-span.
    """
    name, _, port = request.META.get("HTTP_HOST", "")[:255].rpartition(":")
    attributes = {
        "http.request.method": request.method if request.method in metrics.METHODS else "_OTHER",
        "url.scheme": request.scheme,
        "url.path": request.path[:512],
        "url.query": request.META.get("QUERY_STRING", "")[:512],
        "server.address": name if port.isdecimal() else request.META.get("HTTP_HOST", "")[:255],
        "server.port": int(port) if name and port.isdecimal() and port.isascii() else None,
        "client.address": request.META.get("REMOTE_ADDR"),
        "network.protocol.version": request.META.get("SERVER_PROTOCOL", "").removeprefix("HTTP/"),
        "user_agent.original": request.META.get("HTTP_USER_AGENT", "")[:512],
        "request.id": logs.request_id.get(),
    }
    return telemetry.tracer.start_as_current_span(
        str(attributes["http.request.method"]),
        context=telemetry.context_of({name: request.headers.get(name, "") for name in ("traceparent", "tracestate")}),
        kind=SpanKind.SERVER,
        attributes={name: value for name, value in attributes.items() if value not in (None, "")},
    )


def complete(span: Span, request: HttpRequest, status: int) -> None:
    """What is known of a request's span when its answer is."""
    route = metrics.route(request)
    if route != metrics.UNMATCHED:
        span.set_attribute("http.route", route)
        span.update_name(f"{request.method} {route}")
    span.set_attribute("http.response.status_code", status)
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        span.set_attribute("error.type", str(status))
        telemetry.mark_failed(span, request.META.get(REASON))


class RequestRecord:
    """Gives the request its id and its span; writes its log line and metrics; sets the headers of every answer."""

    def __init__(self, get_response: GetResponse) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse | Stream:
        token = logs.request_id.set(choose_request_id(request.headers.get("X-Request-Id")))
        try:
            if request.path in PROBES:
                return self._answer(request)
            with server_span(request) as span:
                response = self._answer(request)
                complete(span, request, response.status_code)
                return response
        finally:
            logs.request_id.reset(token)

    def _answer(self, request: HttpRequest) -> HttpResponse | Stream:
        start = time.perf_counter()
        with metrics.requests_in_progress.track_inprogress():
            response = self.get_response(request)
        seconds = time.perf_counter() - start
        response.headers["X-Request-Id"] = str(logs.request_id.get())
        response.headers.setdefault("Cache-Control", "no-store")
        response.headers.setdefault("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'")
        if isinstance(response, Stream):
            self._record_at_the_end(request, response, start)
            return response
        length = len(response.content)
        if response.status_code != HTTPStatus.NO_CONTENT:
            response.headers["Content-Length"] = str(length)
        if request.method == "HEAD":
            response.content = b""
        metrics.record(request, response.status_code, seconds)
        if settings.LOG_PROBES or request.path not in PROBES or response.status_code >= HTTPStatus.BAD_REQUEST:
            self._write_line(request, response, seconds, length)
        return response

    def _record_at_the_end(self, request: HttpRequest, response: Stream, start: float) -> None:
        """A stream's line tells how long it was open; the server closes the answer when it has ended."""
        request_id = str(logs.request_id.get())
        context = telemetry_context.get_current()
        sent = 0

        def count(parts: Iterable[bytes]) -> Iterator[bytes]:
            nonlocal sent
            for part in parts:
                sent += len(part)
                yield part

        def record() -> None:
            token = logs.request_id.set(request_id)
            span = telemetry_context.attach(context)
            try:
                metrics.record(request, response.status_code, None)
                self._write_line(request, response, time.perf_counter() - start, sent)
            finally:
                telemetry_context.detach(span)
                logs.request_id.reset(token)

        response.streaming_content = count(cast("Iterable[bytes]", response.streaming_content))
        response.at_end.append(record)

    @staticmethod
    def _write_line(request: HttpRequest, response: HttpResponseBase, seconds: float, length: int) -> None:
        fields: dict[str, Any] = {
            "method": request.method,
            "path": request.path,
            "query": request.META.get("QUERY_STRING", ""),
            "route": metrics.route(request),
            "status": response.status_code,
            "duration_ms": round(seconds * 1000, 1),
            "bytes": length,
            "reason": request.META.get(REASON),
            "remote_address": request.META.get("REMOTE_ADDR"),
            "forwarded_for": request.headers.get("X-Forwarded-For"),
            "user_agent": request.headers.get("User-Agent"),
        }
        level = logging.ERROR if response.status_code >= HTTPStatus.INTERNAL_SERVER_ERROR else logging.INFO
        # A client may send kilobytes of each; a line needs no more of them than this.
        fields = {name: value[:512] if isinstance(value, str) else value for name, value in fields.items()}
        fields = {name: value for name, value in fields.items() if value not in (None, "")}
        log.log(level, "%s %s %s", fields["method"], fields["path"], response.status_code, extra={"fields": fields})


class Problems:
    """Refuses unknown host names; turns exceptions of views into problem documents."""

    def __init__(self, get_response: GetResponse) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse | Stream:
        if request.path not in PROBES:
            try:
                request.get_host()
            except DisallowedHost:
                detail = "The service does not go by the name in the header Host (see ALLOWED_HOSTS)."
                return self._answer(request, Problem(HTTPStatus.BAD_REQUEST, detail))
        return self.get_response(request)

    def process_exception(self, request: HttpRequest, exception: Exception) -> HttpResponseBase | None:
        if isinstance(exception, Problem):
            return self._answer(request, exception)
        if isinstance(exception, SuspiciousOperation):
            detail = f"The request can't be understood: {exception}"
            return self._answer(request, Problem(HTTPStatus.BAD_REQUEST, detail))
        trace.get_current_span().record_exception(exception)
        return None

    @staticmethod
    def _answer(request: HttpRequest, problem: Problem) -> HttpResponse:
        # The log gets the cause of a failure too, which clients are not told.
        cause = problem.__cause__ if problem.status >= HTTPStatus.INTERNAL_SERVER_ERROR else None
        request.META[REASON] = f"{problem.detail} ({database.reason(cause)})" if cause else problem.detail
        return problem.response(request)
