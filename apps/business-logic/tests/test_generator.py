"""The generator of quotes, as a process, against an API that only pretends."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from decimal import Decimal
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from tests.servers import PROJECT, eventually


class Api(ThreadingHTTPServer):
    """Has a quote of A, and refuses as many of those that are added as `refuse` says."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.added: list[dict[str, Any]] = []
        self.refuse = 0


class Handler(BaseHTTPRequestHandler):
    server: Api

    def do_GET(self) -> None:
        assert self.path in ("/api/quotes/?symbol=A&limit=1", "/api/quotes/?symbol=B&limit=1")
        self._answer(200, {"quotes": [{"price": "250.0000"}] if "=A&" in self.path else []})

    def do_POST(self) -> None:
        quote = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        assert self.path == "/api/quotes/"
        if self.server.refuse:
            self.server.refuse -= 1
            self._answer(503, {"title": "away"})
            return
        self.server.added.append(quote)
        self._answer(201, quote)

    def _answer(self, status: int, document: Any) -> None:
        body = json.dumps(document).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_arguments: Any) -> None:
        pass


@pytest.fixture
def api() -> Iterator[Api]:
    with Api() as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


def start(**variables: str) -> subprocess.Popen[str]:
    line = [sys.executable, "-m", "quotes.generator"]
    environment = {"PATH": os.environ["PATH"], **variables}
    return subprocess.Popen(
        line, cwd=PROJECT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def test_prices_wander_from_where_they_are_and_outages_are_outlived(api: Api) -> None:
    api.refuse = 3
    process = start(API_URL=f"http://127.0.0.1:{api.server_port}", INTERVAL="0.01", SYMBOLS="A,B")
    eventually(lambda: len(api.added) >= 20, "quotes are added")
    process.send_signal(signal.SIGTERM)
    said, errors = process.communicate(timeout=20)
    assert (process.returncode, errors) == (0, "")
    for symbol, last in (("A", Decimal(250)), ("B", Decimal(100))):
        prices = [Decimal(quote["price"]) for quote in api.added if quote["symbol"] == symbol]
        assert len(prices) >= 9
        for before, price in zip([last, *prices], prices, strict=False):
            assert abs(price / before - 1) < Decimal("0.0101")
            assert price == round(price, 4)
    lines = [json.loads(line) for line in said.splitlines()]
    assert [line["level"] for line in lines].count("warning") == 3
    assert "status 503" in lines[0]["message"]


@pytest.mark.parametrize("variables", [{}, {"API_URL": "http://127.0.0.1:1", "INTERVAL": "soon"}])
def test_wrong_settings_end_it(variables: dict[str, str]) -> None:
    process = start(**variables)
    _said, errors = process.communicate(timeout=20)
    assert process.returncode == 1
    assert errors.startswith("generator: API_URL must be set, and INTERVAL be a number of seconds")
