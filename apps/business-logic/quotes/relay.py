"""Publishes quotes that are stored and not published yet: nothing is lost while Valkey is away, or when a process ends.

A quote and its need to be published are stored in one transaction. Who stored it publishes it at once; what is left,
whoever left it, is published by the relay of any process.
"""

from __future__ import annotations

import logging
import threading
from typing import Any

from django.db import connection
from opentelemetry.trace import SpanKind

from business_logic import database, metrics, streams, telemetry
from quotes import events
from quotes.models import Quote

# Seconds between looks at what is left.
PAUSE = 1.0
# Quotes that one look takes.
PORTION = 200

log = logging.getLogger("business_logic.relay")


def publish(quote: Quote) -> None:
    """Publish a stored quote and note that. Raises streams.Away, or the database's errors, where one of them is.

    Its span belongs to the request that stored the quote, whoever publishes it.
    """
    if (store := events.store()) is None:
        return
    attributes: dict[str, Any] = {
        "messaging.system": "valkey",
        "messaging.destination.name": events.STREAM,
        "messaging.operation.name": "publish",
        "messaging.operation.type": "send",
        "quote.id": quote.pk,
        "quote.symbol": quote.symbol,
    }
    context = None if telemetry.current() else telemetry.context_of({"traceparent": quote.traceparent})
    with telemetry.tracer.start_as_current_span(
        f"publish {events.STREAM}", context=context, kind=SpanKind.PRODUCER, attributes=attributes
    ) as span:
        if event_id := store.publish(quote):
            metrics.quotes_published.inc()
            span.set_attribute("messaging.message.id", event_id)
        Quote.objects.filter(pk=quote.pk).update(published=True, traceparent="")


def publish_the_rest() -> int:
    """Publish what is left, the oldest first; how many there were."""
    quotes = Quote.objects.filter(published=False).order_by("id")[:PORTION]
    for number, quote in enumerate(quotes, 1):
        publish(quote)
        if number == len(quotes):
            return number
    return 0


class Relay(threading.Thread):
    """Looks for what is left as long as the process lives."""

    def __init__(self) -> None:
        super().__init__(name="relay", daemon=True)
        self._away = False

    def run(self) -> None:
        pause = threading.Event()
        while True:
            if self._look() < PORTION:
                pause.wait(PAUSE)

    def _look(self) -> int:
        try:
            done = publish_the_rest()
        except (*database.UNAVAILABLE, streams.Away) as error:
            if not self._away:
                log.warning("Quotes can't be published now: %s", database.reason(error))
            self._away = True
            done = 0
        except Exception:
            log.exception("The relay goes on.")
            done = 0
        else:
            if self._away:
                log.info("Quotes are published again.")
            self._away = False
        finally:
            connection.close_if_unusable_or_obsolete()
        return done


def start() -> None:
    """Start the relay of this process, where there is a stream."""
    if events.store() is not None:
        Relay().start()
