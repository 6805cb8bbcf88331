"""What to do while the database is away: answer 503, soon, and notice by itself when it is back.

Spans of statements, where they are made for a request.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from django.db import InterfaceError, OperationalError
from django.db.backends.base.base import BaseDatabaseWrapper

from business_logic import metrics, telemetry
from business_logic.problems import Problem

UNAVAILABLE = (OperationalError, InterfaceError)
RETRY_AFTER = "2"
# The server's words for the state 28P01, which libpq does not hand on for a connection that never was.
REFUSED = "password authentication failed"


def reason(error: BaseException) -> str:
    """The database driver's words in one line. They name host, port and user, never the password."""
    return " ".join(str(error).split()) or type(error).__name__


def is_refusal(error: BaseException) -> bool:
    """Whether the database does not take the password, nor an earlier one: asking again does not help."""
    return REFUSED in str(error)


def unavailable() -> Problem:
    detail = "The database can't be reached at present. Try again in a moment."
    return Problem("database-unavailable", detail, headers={"Retry-After": RETRY_AFTER})


# What a statement is about, in the way that Django writes it.
_TABLE = re.compile(r'\b(?:FROM|INTO|UPDATE)\s+"([^"]+)"')


def trace_statements(sender: object, connection: BaseDatabaseWrapper, **arguments: Any) -> None:
    """Have each statement of a connection in a span; a receiver of Django's signal connection_created."""
    if _in_a_span not in connection.execute_wrappers:
        connection.execute_wrappers.append(_in_a_span)


def _in_a_span(execute: Callable[..., Any], sql: str, params: Any, many: bool, context: dict[str, Any]) -> Any:
    """Attributes: https://opentelemetry.io/docs/specs/semconv/database/postgresql/. Parameters are left out."""
    if telemetry.current() is None:
        return execute(sql, params, many, context)
    words = sql.split(maxsplit=1)
    operation = words[0].upper() if words else "SQL"
    table = _TABLE.search(sql)
    settings = context["connection"].settings_dict
    attributes = {
        "db.system.name": context["connection"].vendor,
        "db.namespace": str(settings["NAME"]),
        "db.operation.name": operation,
        "db.query.text": sql[:2048],
        "peer.service": context["connection"].vendor,
    }
    if table:
        attributes["db.collection.name"] = table[1]
    if settings["HOST"]:
        attributes |= {"server.address": settings["HOST"], "server.port": int(settings["PORT"])}
    with telemetry.call(f"{operation} {table[1]}" if table else operation, attributes):
        return execute(sql, params, many, context)


class Gate:
    """While the database is away, lets one request at a time try it and refuses the others at once.

    An attempt to connect can take as long as DATABASE_CONNECT_TIMEOUT. Without the gate every thread would soon wait
    for one, nobody would answer the liveness probe, and the kubelet would restart a healthy process.
    """

    def __init__(self) -> None:
        self._away = False
        self._attempt = threading.Lock()

    @contextmanager
    def passage(self) -> Iterator[None]:
        """Around work that needs the database; raises Problem where it is away."""
        single = self._away
        if single and not self._attempt.acquire(blocking=False):
            raise unavailable()
        try:
            yield
        except UNAVAILABLE as error:
            self._away = True
            metrics.database_up.set(0)
            raise unavailable() from error
        else:
            self._away = False
            metrics.database_up.set(1)
        finally:
            if single:
                self._attempt.release()


gate = Gate()
