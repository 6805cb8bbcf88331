"""New quotes as events: a stream in Valkey, which keeps the newest STREAM_LENGTH of them.

An event's id is its entry's in the stream, `<milliseconds>-<number>`: who knows the last one that reached it gets all
after it, once each and in their order.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import valkey
from django.conf import settings

from business_logic import environment, streams, telemetry
from quotes.models import Quote

STREAM = "quotes:events"
BEGINNING = "0-0"
# Milliseconds by which clocks here and there may differ: a quote is looked for among the events since it was stored.
TOLERANCE = 10_000
# Seconds that a reader waits for an event at a time.
BLOCK = 1

_ID = re.compile(r"[0-9]{1,20}-[0-9]{1,20}")
_GREATEST = 2**64

# Adds the event unless it was added already: between adding it and noting so in the database a process may end. Gives
# its id, or none. Arguments after the first four are further fields: the context of the request that publishes it.
_PUBLISH = """
for _, entry in ipairs(redis.call('XRANGE', KEYS[1], ARGV[3], '+')) do
  if entry[2][2] == ARGV[1] then return false end
end
return redis.call('XADD', KEYS[1], 'MAXLEN', '~', ARGV[4], '*', 'number', ARGV[1], 'quote', ARGV[2], unpack(ARGV, 5))
"""
# Fields of an entry that are not the quote: W3C Trace Context.
_CONTEXT = ("traceparent", "tracestate")


@dataclass(frozen=True)
class Event:
    """`data` is the quote's JSON as in the API; `context` has the headers of the span that published it, if any."""

    id: str
    data: str
    context: Mapping[str, str] = field(default_factory=dict)

    def as_text(self, context: Mapping[str, str]) -> str:
        """In the format of server-sent events, with the headers of a context as fields, which browsers leave out."""
        headers = "".join(f"{name}: {value}\n" for name, value in context.items())
        return f"id: {self.id}\nevent: quote\ndata: {self.data}\n{headers}\n"

    def as_json(self) -> dict[str, Any]:
        return {"id": self.id, "quote": json.loads(self.data), **self.context}


class Gone(Exception):
    """Not all events after an id are there any more, or the stream never had it. `last` is the newest one's id."""

    def __init__(self, last: str) -> None:
        super().__init__(f"the newest event is {last}")
        self.last = last


def is_id(text: str) -> bool:
    return bool(_ID.fullmatch(text)) and all(int(part) < _GREATEST for part in text.split("-"))


class Store:
    """The stream. All methods raise streams.Away while Valkey is."""

    def __init__(self, where: environment.Valkey, length: int) -> None:
        self._length = length
        self._address = {"server.address": where.host, "server.port": where.port, "peer.service": "valkey"}
        self._client = streams.connect(where)
        self._reader = streams.connect(where, patience=BLOCK)
        self._gate = streams.Gate()

    def _call(self, operation: str) -> AbstractContextManager[None]:
        """The span of a call of Valkey: https://opentelemetry.io/docs/specs/semconv/database/redis/."""
        attributes = {"db.system.name": "valkey", "db.operation.name": operation, "db.collection.name": STREAM}
        return telemetry.call(f"{operation} {STREAM}", {**attributes, **self._address})

    def publish(self, quote: Quote) -> str | None:
        """The event's id; None where it was published before. With it goes the context of whoever publishes it."""
        data = json.dumps(quote.as_json())
        since = max(int(quote.created_at.timestamp() * 1000) - TOLERANCE, 0)
        context = [part for header in telemetry.carrier().items() for part in header]
        with self._gate.passage(), self._call("EVAL"):
            event_id = self._client.eval(_PUBLISH, 1, STREAM, str(quote.pk), data, str(since), self._length, *context)
        return None if event_id is None else str(event_id)

    def last(self) -> str:
        """The id of the newest event there ever was."""
        with self._gate.passage(), self._call("XINFO STREAM"):
            return self._last(self._client.pipeline(transaction=False).xinfo_stream(STREAM))

    def since(self, after: str, limit: int) -> tuple[list[Event], str]:
        """The first `limit` events after an id, and the id of the newest there is. Raises Gone."""
        with self._gate.passage(), self._call("XRANGE"):
            pipeline = self._client.pipeline(transaction=True)
            pipeline.xinfo_stream(STREAM).xrange(STREAM, after, after).xrange(STREAM, f"({after}", "+", limit)
            information, entry, entries = self._found(pipeline)
        last = BEGINNING if information is None else str(information["last-generated-id"])
        untrimmed = information is None or information["entries-added"] == information["length"]
        if not (entry or after == last or (after == BEGINNING and untrimmed)):
            raise Gone(last)
        return [self._event(found) for found in entries], last

    def wait(self, after: str, limit: int) -> list[Event]:
        """The first events after an id, as soon as there is one; none where none comes in BLOCK seconds."""
        with self._gate.passage():
            answer = self._reader.xread({STREAM: after}, count=limit, block=BLOCK * 1000)
        return [self._event(found) for _stream, entries in answer or [] for found in entries]

    def _last(self, pipeline: Any) -> str:
        (information,) = self._found(pipeline)
        return BEGINNING if information is None else str(information["last-generated-id"])

    @staticmethod
    def _found(pipeline: Any) -> list[Any]:
        """Answers of a pipeline; None for a stream that is not there yet."""
        answers: list[Any] = []
        for answer in pipeline.execute(raise_on_error=False):
            if isinstance(answer, Exception):
                if not isinstance(answer, valkey.ResponseError) or "no such key" not in str(answer):
                    raise answer
                answers.append(None)
            else:
                answers.append(answer)
        return answers

    @staticmethod
    def _event(found: tuple[str, dict[str, str]]) -> Event:
        context = {name: found[1][name] for name in _CONTEXT if name in found[1]}
        return Event(found[0], found[1]["quote"], context)


@cache
def store() -> Store | None:
    """The stream of this process; None where the settings name none."""
    return Store(settings.VALKEY, settings.STREAM_LENGTH) if settings.VALKEY else None


def position() -> str | None:
    """The id of the newest event; None where it can't be had."""
    try:
        return found.last() if (found := store()) else None
    except streams.Away:
        return None
