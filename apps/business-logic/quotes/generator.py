"""Adds a made-up quote now and then, through the API as any client: `python -m quotes.generator`.

API_URL says where the API is, INTERVAL the seconds between two quotes, SYMBOLS what they are of.
"""

from __future__ import annotations

import json
import logging
import logging.config
import os
import signal
import sys
import time
from decimal import Decimal
from http import HTTPStatus
from http.client import HTTPConnection, HTTPException
from random import SystemRandom
from typing import Any
from urllib.parse import urlsplit

from opentelemetry.trace import SpanKind

from business_logic import logs, telemetry

TIMEOUT = 10
HTTP_PORT = 80
FIRST_PRICE = Decimal(100)
# Greatest change from one quote to the next.
SPREAD = 0.01
LEAST = Decimal("0.01")
MOST = Decimal(100_000)

log = logging.getLogger("generator")


class Market:
    """Prices that wander from where the API has them. Errors are OSError or HTTPException."""

    def __init__(self, api: str) -> None:
        self._host = urlsplit(api).netloc
        self._prices: dict[str, Decimal] = {}
        self._random = SystemRandom()

    def add(self, symbol: str) -> Any:
        """The quote that was added."""
        if symbol not in self._prices:
            self._prices[symbol] = self._latest(symbol)
        price = self._prices[symbol] * Decimal(1 + self._random.uniform(-SPREAD, SPREAD))
        price = min(max(price, LEAST), MOST).quantize(Decimal("0.0001"))
        added = self._ask("POST", "", {"symbol": symbol, "price": str(price)})
        self._prices[symbol] = price
        return added

    def _latest(self, symbol: str) -> Decimal:
        found = self._ask("GET", f"?symbol={symbol}&limit=1")["quotes"]
        return Decimal(found[0]["price"]) if found else FIRST_PRICE

    def _ask(self, method: str, query: str, document: Any = None) -> Any:
        """Attributes: https://opentelemetry.io/docs/specs/semconv/http/http-spans/#http-client-span."""
        url = urlsplit(f"//{self._host}")
        attributes: dict[str, Any] = {
            "http.request.method": method,
            "url.full": f"http://{self._host}/api/quotes/{query}",
            "server.address": url.hostname or "",
            "server.port": url.port or HTTP_PORT,
        }
        with telemetry.tracer.start_as_current_span(method, kind=SpanKind.CLIENT, attributes=attributes) as span:
            answer, text = self._exchange(method, query, document)
            span.set_attribute("http.response.status_code", answer)
            if answer not in (HTTPStatus.OK, HTTPStatus.CREATED):
                span.set_attribute("error.type", str(answer))
                raise HTTPException(f"status {answer}: {text[:200]}")
            return json.loads(text)

    def _exchange(self, method: str, query: str, document: Any) -> tuple[int, str]:
        headers = {"Content-Type": "application/json", **telemetry.carrier()}
        connection = HTTPConnection(self._host, timeout=TIMEOUT)
        try:
            body = None if document is None else json.dumps(document)
            connection.request(method, f"/api/quotes/{query}", body, headers)
            answer = connection.getresponse()
            return answer.status, answer.read().decode()
        finally:
            connection.close()


def add(market: Market, symbol: str) -> None:
    """Add a quote, in a trace of its own, and say so or why not."""
    with telemetry.step("add quote", {"quote.symbol": symbol}) as span:
        try:
            log.info("added", extra={"fields": market.add(symbol)})
        except (OSError, HTTPException, ValueError) as error:
            telemetry.mark_failed(span, str(error))
            log.warning("The API did not take a quote of %s: %s", symbol, error)


def main() -> None:
    try:
        interval = float(os.environ.get("INTERVAL", "2"))
        api = os.environ["API_URL"]
    except (KeyError, ValueError) as error:
        sys.exit(f"generator: API_URL must be set, and INTERVAL be a number of seconds ({error!r})")
    symbols = os.environ.get("SYMBOLS", "ACME,GLOBEX,HOOLI,INITECH,UMBRELLA").split(",")
    # The first process of a container ends at no signal that it does not know.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    logging.config.dictConfig(logs.configuration("INFO"))
    telemetry.start("quote-generator")
    market = Market(api)
    try:
        while True:
            for symbol in symbols:
                add(market, symbol)
                time.sleep(interval)
    finally:
        telemetry.stop()


if __name__ == "__main__":
    main()
