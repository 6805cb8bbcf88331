"""Logs as JSON, one object a line, each with the ids of the request and of the span it belongs to."""

from __future__ import annotations

import json
import logging
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import Any

from business_logic import telemetry

request_id: ContextVar[str | None] = ContextVar("request_id", default=None)


class JsonFormatter(logging.Formatter):
    """Members time, level, logger, message, request_id, trace_id, span_id, those of `extra={"fields": {...}}`, and
    exception."""

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC)
            .isoformat(timespec="milliseconds")
            .replace("+00:00", "Z"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            "request_id": request_id.get(),
            **telemetry.identifiers(telemetry.current()),
            **getattr(record, "fields", {}),
        }
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        # ASCII only: whatever a client sent, a line stays a line and valid UTF-8.
        return json.dumps(line, default=str)


class OnlyExceptions(logging.Filter):
    """Lets pass what carries a traceback.

    Django logs a line for every answer from 400 on; the request's own line says that already.
    """

    def filter(self, record: logging.LogRecord) -> bool:
        return bool(record.exc_info)


class SlowClients(logging.Filter):
    """Makes gunicorn's traceback about a client that was too slow (see worker.py) a plain line."""

    def filter(self, record: logging.LogRecord) -> bool:
        if record.exc_info and isinstance(record.exc_info[1], BlockingIOError):
            record.levelno, record.levelname = logging.INFO, "INFO"
            record.msg, record.args, record.exc_info = "A client was too slow; its connection is closed.", (), None
        return True


def configuration(level: str) -> dict[str, Any]:
    """For logging.config.dictConfig; Django and gunicorn both use it."""
    quiet: dict[str, Any] = {"handlers": [], "propagate": True}
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "filters": {
            "only_exceptions": {"()": "business_logic.logs.OnlyExceptions"},
            "slow_clients": {"()": "business_logic.logs.SlowClients"},
        },
        "formatters": {"json": {"()": "business_logic.logs.JsonFormatter"}},
        "handlers": {"stdout": {"class": "logging.StreamHandler", "stream": "ext://sys.stdout", "formatter": "json"}},
        "root": {"level": level, "handlers": ["stdout"]},
        "loggers": {
            "django": quiet,
            "django.request": {**quiet, "filters": ["only_exceptions"]},
            "django.db.backends": {**quiet, "level": "INFO"},
            "gunicorn.error": {**quiet, "level": level, "filters": ["slow_clients"]},
            # The application writes the line of a request; gunicorn would too, as soon as it is given any of this.
            "gunicorn.access": {"handlers": [], "propagate": False},
        },
    }
