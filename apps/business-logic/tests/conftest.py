"""Fixtures of all tests."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from django.db import OperationalError, connection
from django.test import Client

from business_logic import database
from business_logic.logs import JsonFormatter
from quotes import events
from quotes.models import Quote
from tests.valkey_server import ValkeyServer

Post = Callable[..., Any]


@pytest.fixture(autouse=True)
def _fresh_gate(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("quotes.views.gate", database.Gate())


@pytest.fixture(autouse=True)
def _no_stream() -> Iterator[None]:
    """Each test begins without a connection to Valkey."""
    events.store.cache_clear()
    yield
    events.store.cache_clear()


@pytest.fixture
def valkey_server(tmp_path: Path) -> Iterator[ValkeyServer]:
    with ValkeyServer(tmp_path / "valkey") as server:
        yield server


@pytest.fixture
def client() -> Client:
    """A client that gets the answer 500 instead of the exception behind it."""
    return Client(raise_request_exception=False)


@pytest.fixture
def post(client: Client) -> Post:
    """POST to the API: text and bytes as they are, other objects as JSON."""

    def send(body: Any, content_type: str = "application/json", **arguments: Any) -> Any:
        data = body if isinstance(body, str | bytes) else json.dumps(body)
        return client.post("/api/quotes/", data=data, content_type=content_type, **arguments)

    return send


@pytest.fixture
def add() -> Callable[..., Quote]:
    """Store a quote directly."""

    def create(symbol: str = "ACME", price: str = "1", at: str = "2026-01-05T21:00:00Z") -> Quote:
        return Quote.objects.create(symbol=symbol, price=price, quoted_at=at)

    return create


@pytest.fixture
def log_lines() -> Iterator[Callable[[], list[dict[str, Any]]]]:
    """What the service logs during the test, as objects."""
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(JsonFormatter())
    logging.getLogger().addHandler(handler)
    yield lambda: [json.loads(line) for line in stream.getvalue().splitlines()]
    logging.getLogger().removeHandler(handler)


@pytest.fixture
def database_away() -> Iterator[None]:
    """Every statement fails as it does when the server has gone."""

    def fail(*arguments: Any) -> None:
        raise OperationalError('connection to server at "db" failed: Connection refused')

    with connection.execute_wrapper(fail):
        yield


def problem(response: Any, status: int, kind: str = "about:blank") -> dict[str, Any]:
    """The problem document of an answer, after checks of what all have in common."""
    assert response.status_code == status, response.content
    assert response["Content-Type"] == "application/problem+json"
    document: dict[str, Any] = json.loads(response.content)
    assert document["type"] == (kind if kind == "about:blank" else f"/api/openapi.json#/x-problems/{kind}")
    assert document["status"] == status
    assert document["title"]
    assert document["detail"]
    assert document["request_id"] == response["X-Request-Id"]
    return document
