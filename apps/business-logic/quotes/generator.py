"""Adds a made-up quote now and then, through the API as any client: `python -m quotes.generator`.

API_URL says where the API is, INTERVAL the seconds between two quotes, SYMBOLS what they are of.
"""

from __future__ import annotations

import json
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

TIMEOUT = 10
FIRST_PRICE = Decimal(100)
# Greatest change from one quote to the next.
SPREAD = 0.01
LEAST = Decimal("0.01")
MOST = Decimal(100_000)


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
        connection = HTTPConnection(self._host, timeout=TIMEOUT)
        try:
            body = None if document is None else json.dumps(document)
            connection.request(method, f"/api/quotes/{query}", body, {"Content-Type": "application/json"})
            answer = connection.getresponse()
            text = answer.read().decode()
        finally:
            connection.close()
        if answer.status not in (HTTPStatus.OK, HTTPStatus.CREATED):
            raise HTTPException(f"status {answer.status}: {text[:200]}")
        return json.loads(text)


def main() -> None:
    try:
        interval = float(os.environ.get("INTERVAL", "2"))
        api = os.environ["API_URL"]
    except (KeyError, ValueError) as error:
        sys.exit(f"generator: API_URL must be set, and INTERVAL be a number of seconds ({error!r})")
    symbols = os.environ.get("SYMBOLS", "ACME,GLOBEX,HOOLI,INITECH,UMBRELLA").split(",")
    # The first process of a container ends at no signal that it does not know.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    market = Market(api)
    while True:
        for symbol in symbols:
            try:
                line = {"level": "info", "message": "added", **market.add(symbol)}
            except (OSError, HTTPException, ValueError) as error:
                line = {"level": "warning", "message": f"The API did not take a quote of {symbol}: {error}"}
            print(json.dumps({"logger": "generator", **line}), flush=True)
            time.sleep(interval)


if __name__ == "__main__":
    main()
