"""The quotes API."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterator
from http import HTTPStatus

from django.conf import settings
from django.db import IntegrityError, transaction
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.urls import reverse
from opentelemetry.trace import SpanContext, SpanKind

from business_logic import health, metrics, telemetry
from business_logic.database import RETRY_AFTER, UNAVAILABLE, gate, reason
from business_logic.http import Stream, read_json, read_query
from business_logic.problems import Problem
from business_logic.streams import Away
from quotes import events, relay
from quotes.models import Quote
from quotes.validation import (
    Invalid,
    parse_symbol,
    validate_events_query,
    validate_query,
    validate_quote,
)

# Events that a stream sends, or a list has, at a time.
PORTION = 200
# Seconds before Valkey is asked again.
RECONNECT = 0.2
HEARTBEAT = b": heartbeat\n\n"

log = logging.getLogger("business_logic.quotes")
streams_left = threading.BoundedSemaphore(settings.STREAM_LIMIT)


def list_quotes(request: HttpRequest) -> JsonResponse:
    """The newest quotes of all symbols or of one, newest first."""
    symbol, limit = validate_query(read_query(request, "symbol", "limit"))
    quotes = Quote.objects.all() if symbol is None else Quote.objects.filter(symbol=symbol)
    # Before the quotes: what is published after it may be among them, what was before it is.
    position = events.position()
    with gate.passage(), telemetry.step("read quotes", {"quote.symbol": symbol, "quotes.limit": limit}) as span:
        found = [quote.as_json() for quote in quotes[:limit]]
        span.set_attribute("quotes.count", len(found))
    return JsonResponse({"quotes": found, "last_event_id": position})


def show_symbol(request: HttpRequest, symbol: str) -> JsonResponse:
    """A symbol's latest quote and its history, newest first, the latest included."""
    _, limit = validate_query(read_query(request, "limit"))
    unknown = Problem("unknown-symbol", "No quote has this symbol.")
    try:
        symbol = parse_symbol(symbol)
    except Invalid as error:
        raise unknown from error
    with gate.passage(), telemetry.step("read quotes", {"quote.symbol": symbol, "quotes.limit": limit}) as span:
        history = [quote.as_json() for quote in Quote.objects.filter(symbol=symbol)[:limit]]
        span.set_attribute("quotes.count", len(history))
    if not history:
        raise unknown
    return JsonResponse({"symbol": symbol, "latest": history[0], "history": history})


def add_quote(request: HttpRequest) -> JsonResponse:
    read_query(request)
    with telemetry.step("validate quote") as span:
        values = validate_quote(read_json(request))
        described = {"quote.symbol": values["symbol"], "quote.currency": values["currency"]}
        span.set_attributes(described)
    traceparent = telemetry.carrier().get("traceparent", "")
    with gate.passage(), telemetry.step("store quote", described) as span:
        try:
            with transaction.atomic():
                quote = Quote.objects.create(**values, traceparent=traceparent)
            span.set_attribute("quote.id", quote.pk)
        except IntegrityError as error:
            if not Quote.objects.filter(symbol=values["symbol"], quoted_at=values["quoted_at"]).exists():
                raise
            detail = f"{values['symbol']} has a quote at {values['quoted_at'].isoformat()} already."
            raise Problem("duplicate-quote", detail) from error
    metrics.quotes_created.inc()
    try:
        relay.publish(quote)
    except (*UNAVAILABLE, Away) as error:
        # It is stored, and the relay does the rest.
        log.warning("A quote is published later: %s", reason(error))
    location = reverse("symbol", kwargs={"symbol": quote.symbol})
    return JsonResponse(quote.as_json(), status=HTTPStatus.CREATED, headers={"Location": location})


def _unavailable(kind: str, detail: str) -> Problem:
    return Problem(kind, detail, headers={"Retry-After": RETRY_AFTER})


def _store() -> events.Store:
    if (store := events.store()) is None:
        raise _unavailable("events-unavailable", "This installation publishes no events (see VALKEY_HOST).")
    return store


def list_events(request: HttpRequest) -> JsonResponse:
    """The first events after an id, the oldest first."""
    after, limit = validate_events_query(read_query(request, "after", "limit"))
    try:
        with telemetry.step("read events", {"events.after": after, "events.limit": limit}, (events.Gone,)) as span:
            found, last = _store().since(after, limit)
            span.set_attribute("events.count", len(found))
    except events.Gone as gone:
        detail = f"Events after {after} are not all there; read the quotes anew and go on after {gone.last}."
        raise Problem("events-gone", detail, last_event_id=gone.last) from gone
    except Away as error:
        raise _unavailable("events-unavailable", "The stream of events can't be reached at present.") from error
    return JsonResponse({"events": [event.as_json() for event in found], "last_event_id": last})


def stream_events(request: HttpRequest) -> HttpResponse | Stream:
    """Events as they come, as server-sent events: after Last-Event-ID, else after an id, else from now on."""
    query = read_query(request, "after")
    # A browser that comes again sends the header, and the same query as at first.
    given = request.headers.get("Last-Event-ID") or query.get("after")
    after = validate_events_query({"after": given})[0] if given else None
    store = _store()
    if health.draining.is_set():
        raise _unavailable("events-unavailable", "The server is shutting down; another one has the stream, too.")
    try:
        position = after or store.last()
    except Away as error:
        raise _unavailable("events-unavailable", "The stream of events can't be reached at present.") from error
    headers = {"Cache-Control": "no-store, no-transform", "X-Accel-Buffering": "no"}
    if request.method == "HEAD":
        return HttpResponse(content_type="text/event-stream", headers=headers)
    if not streams_left.acquire(blocking=False):
        raise _unavailable("too-many-streams", f"{settings.STREAM_LIMIT} streams are open already.")
    metrics.event_streams.inc()
    response = Stream(_follow(store, position, telemetry.current()), content_type="text/event-stream", headers=headers)
    response.at_end += [streams_left.release, metrics.event_streams.dec]
    return response


def _deliver(event: events.Event, stream: SpanContext | None) -> str:
    """An event as text for a reader. Its span belongs to the request that published it, and is linked to that and to
    the reader's own, which ended when its stream began."""
    publisher = telemetry.context_of(event.context)
    with telemetry.tracer.start_as_current_span(
        f"deliver {events.STREAM}",
        context=publisher,
        kind=SpanKind.CONSUMER,
        links=telemetry.links_to(publisher, stream),
        attributes={
            "messaging.system": "valkey",
            "messaging.destination.name": events.STREAM,
            "messaging.operation.name": "deliver",
            "messaging.operation.type": "process",
            "messaging.message.id": event.id,
        },
    ):
        # Where there are no spans it goes on with the publisher's context.
        return event.as_text(telemetry.carrier())


def _follow(store: events.Store, position: str, stream: SpanContext | None) -> Iterator[bytes]:
    """Events after a position until the server is to stop; signs of life where there are none. `stream`: its span.

    While Valkey is away the stream stays, and goes on where it was.
    """
    yield f"retry: 1000\nid: {position}\n\n".encode()
    known = False
    silent_since = time.monotonic()
    while not health.draining.is_set():
        found: list[events.Event] = []
        text = ""
        try:
            if not known:
                # Also after Valkey was away: it may have come back without what it had.
                found, _last = store.since(position, PORTION)
                known = True
            found = found or store.wait(position, PORTION)
        except events.Gone as gone:
            position = gone.last
            text = f"id: {position}\nevent: reset\ndata: {{}}\n\n"
        except Away:
            known = False
            health.draining.wait(RECONNECT)
        if found:
            position = found[-1].id
            text = "".join(_deliver(event, stream) for event in found)
        if text:
            silent_since = time.monotonic()
            yield text.encode()
        elif time.monotonic() - silent_since >= settings.STREAM_HEARTBEAT:
            silent_since = time.monotonic()
            yield HEARTBEAT
