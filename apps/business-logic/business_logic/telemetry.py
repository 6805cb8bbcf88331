"""Traces by OpenTelemetry: what a request did, sent to the collector that OTEL_EXPORTER_OTLP_ENDPOINT names.

Code makes spans by OpenTelemetry's interface, which does nothing where no collector is named. The SDK's own variables
(https://opentelemetry.io/docs/specs/otel/configuration/sdk-environment-variables/) say the rest.

Spans are made here and not by opentelemetry-instrumentation-django, whose middleware asks for the host name of each
request: probes come by address, and would be refused. Nor by one for the database driver: what polls in the background,
and asks without a request, would be a trace of its own each second.
"""

from __future__ import annotations

import logging
import os
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from http import HTTPStatus
from pathlib import Path
from types import CodeType, FrameType, FunctionType
from typing import Any

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import SERVICE_NAME, SERVICE_VERSION, Resource
from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor, TracerProvider
from opentelemetry.sdk.trace import Span as RecordedSpan
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.trace import Link, Span, SpanContext, SpanKind, Status, StatusCode
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from business_logic import __version__

ENDPOINTS = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
TIMEOUTS = ("OTEL_EXPORTER_OTLP_TIMEOUT", "OTEL_EXPORTER_OTLP_TRACES_TIMEOUT")
# Seconds for one attempt to send, where the variables above say nothing; OpenTelemetry's own default is 10.
TIMEOUT = 3
# Seconds that the end of the process may wait for spans to be sent.
PATIENCE = 2
# Characters of a tracestate that are passed on (https://www.w3.org/TR/trace-context/#tracestate-limits).
TRACESTATE_LENGTH = 512
# Where what this service is for stands; all else is how it is served.
APPLICATION = f"{Path(__file__).parents[1] / 'quotes'}{os.sep}"

tracer = trace.get_tracer("business_logic", __version__)
log = logging.getLogger("business_logic.telemetry")
_propagator = TraceContextTextMapPropagator()


class Exporter(SpanExporter):
    """Says once that spans are lost, and once that they are sent again, whatever the SDK has to say each time."""

    def __init__(self, inner: SpanExporter, where: str) -> None:
        self._inner = inner
        self._where = where
        self._losing = False
        self._full = False
        self._reason = ""
        self._loggers = _loggers("opentelemetry.exporter", "opentelemetry.sdk._shared_internal")
        for logger in self._loggers:
            logger.addFilter(self._keep)

    def _keep(self, record: logging.LogRecord) -> bool:
        """A logger's filter: what is said of failures is kept for the one line about them."""
        if record.levelno < logging.WARNING:
            return True
        if threading.current_thread().name.startswith("OtelBatch"):
            self._reason = record.getMessage()
        else:
            # The queue is full, for whoever ended a span.
            self._full = True
        return False

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        try:
            result = self._inner.export(spans)
        except Exception as error:
            self._reason = f"{type(error).__name__}: {error}"
            result = SpanExportResult.FAILURE
        failed = result is not SpanExportResult.SUCCESS
        losing = failed or self._full
        if losing and not self._losing:
            reason = self._reason if failed else "more end than are sent"
            log.warning("Spans are lost, %s does not take them: %s", self._where, reason)
        elif self._losing and not losing:
            log.info("Spans are sent again.")
        self._losing, self._full = losing, False
        return result

    def shutdown(self) -> None:
        self._inner.shutdown()
        for logger in self._loggers:
            logger.removeFilter(self._keep)


class Places(SpanProcessor):
    """Says of each span which line of the application's code it is of, a statement's too."""

    def on_start(self, span: RecordedSpan, parent_context: Context | None = None) -> None:
        frame: FrameType | None = sys._getframe(1)
        while frame is not None and not frame.f_code.co_filename.startswith(APPLICATION):
            frame = frame.f_back
        if frame is not None:
            span.set_attributes(_place(frame.f_globals["__name__"], frame.f_code, frame.f_lineno))


def answered_by(view: object) -> None:
    """The request that work is being done for is answered by this function."""
    if isinstance(view, FunctionType):
        code = view.__code__
        trace.get_current_span().set_attributes(_place(view.__module__, code, code.co_firstlineno))


def _place(module: str, code: CodeType, line: int) -> dict[str, str | int]:
    """Attributes: https://opentelemetry.io/docs/specs/semconv/registry/attributes/code/."""
    return {
        "code.file.path": code.co_filename,
        "code.line.number": line,
        "code.function.name": f"{module}.{code.co_qualname}",
    }


def _loggers(*prefixes: str) -> list[logging.Logger]:
    """The loggers there are by these names and below: a logger's filter does not hold for those below it."""
    known = logging.Logger.manager.loggerDict.items()
    return [logger for name, logger in known if name.startswith(prefixes) and isinstance(logger, logging.Logger)]


def _endpoint(environment: Mapping[str, str]) -> str:
    """Where spans go; empty where nobody wants them."""
    disabled = environment.get("OTEL_SDK_DISABLED", "").strip().lower() == "true"
    if disabled or environment.get("OTEL_TRACES_EXPORTER", "").strip().lower() == "none":
        return ""
    return next(filter(None, (environment.get(name, "").strip() for name in reversed(ENDPOINTS))), "")


def resource(service: str) -> Resource:
    """What the environment says of this process (OTEL_SERVICE_NAME, OTEL_RESOURCE_ATTRIBUTES), completed."""
    found = Resource.create()
    missing = {} if SERVICE_VERSION in found.attributes else {SERVICE_VERSION: __version__}
    if str(found.attributes[SERVICE_NAME]).startswith("unknown_service"):
        missing[SERVICE_NAME] = service
    return found.merge(Resource(missing))


def start(service: str) -> TracerProvider | None:
    """Send the spans of this process, from a thread: to be called after the last fork. None where nobody wants them.

    Nothing here keeps the service from its work: settings that OpenTelemetry does not take are told in the log.
    """
    where = _endpoint(os.environ)
    if not where:
        return None
    try:
        timeout = None if any(os.environ.get(name) for name in TIMEOUTS) else TIMEOUT
        exporter = Exporter(OTLPSpanExporter(timeout=timeout), where)
        provider = TracerProvider(resource=resource(service), shutdown_on_exit=False)
        provider.add_span_processor(Places())
        # What is more than its queue holds is dropped (OTEL_BSP_MAX_QUEUE_SIZE): nobody ever waits for it.
        provider.add_span_processor(BatchSpanProcessor(exporter))
    except Exception:
        log.exception("There are no traces: OpenTelemetry does not take its settings.")
        return None
    trace.set_tracer_provider(provider)
    return provider


def stop() -> None:
    """Send what is left, for PATIENCE seconds at most."""
    provider = trace.get_tracer_provider()
    if isinstance(provider, TracerProvider):
        sending = threading.Thread(target=provider.shutdown, name="telemetry", daemon=True)
        sending.start()
        sending.join(PATIENCE)


def current() -> SpanContext | None:
    """The span that work is being done for; None where there is none."""
    found = trace.get_current_span().get_span_context()
    return found if found.is_valid else None


def identifiers(context: SpanContext | None) -> dict[str, str | None]:
    """trace_id and span_id, in hexadecimal digits as everywhere, or None."""
    if context is None:
        return {"trace_id": None, "span_id": None}
    return {
        "trace_id": trace.format_trace_id(context.trace_id),
        "span_id": trace.format_span_id(context.span_id),
    }


def exemplar() -> dict[str, str] | None:
    """Labels of an exemplar: only of a trace that can be looked up."""
    found = current()
    if found is None or not found.trace_flags.sampled:
        return None
    return {name: value for name, value in identifiers(found).items() if value}


def carrier() -> dict[str, str]:
    """The current context for another process: traceparent and tracestate (W3C Trace Context), or nothing."""
    headers: dict[str, str] = {}
    _propagator.inject(headers)
    if len(headers.get("tracestate", "")) > TRACESTATE_LENGTH:
        del headers["tracestate"]
    return headers


def context_of(headers: Mapping[str, str]) -> Context:
    """The context that another process, or another request, has sent; an empty one where it is none."""
    return _propagator.extract(dict(headers), context=Context())


def links_to(*contexts: Context | SpanContext | None) -> list[Link]:
    """A link to each of them that names a span."""
    found = [
        trace.get_current_span(context).get_span_context() if isinstance(context, Context) else context
        for context in contexts
    ]
    return [Link(context) for context in found if context is not None and context.is_valid]


@contextmanager
def step(
    name: str, attributes: Mapping[str, Any] | None = None, expected: tuple[type[Exception], ...] = ()
) -> Iterator[Span]:
    """A span of a step of the work at hand.

    What a client did wrong (a Problem below 500) and exceptions that are expected are no errors of the step.
    """
    given = {key: value for key, value in (attributes or {}).items() if value is not None}
    with tracer.start_as_current_span(
        name, attributes=given, record_exception=False, set_status_on_exception=False
    ) as span:
        try:
            yield span
        except Exception as error:
            status = getattr(error, "status", HTTPStatus.INTERNAL_SERVER_ERROR)
            if isinstance(error, expected) or status < HTTPStatus.INTERNAL_SERVER_ERROR:
                span.set_attribute("refused.reason", str(error))
            else:
                span.record_exception(error)
                mark_failed(span, str(error))
            raise


@contextmanager
def call(name: str, attributes: Mapping[str, Any]) -> Iterator[None]:
    """A span of a call of another server, where it is made for a request: what only polls is not worth a trace."""
    if current() is None:
        yield
        return
    with tracer.start_as_current_span(name, kind=SpanKind.CLIENT, attributes=dict(attributes)) as span:
        try:
            yield
        except Exception as error:
            span.set_attribute("error.type", type(error).__name__)
            raise


def mark_failed(span: Span, reason: str | None) -> None:
    span.set_status(Status(StatusCode.ERROR, reason))
