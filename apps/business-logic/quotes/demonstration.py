"""A small set of quotes for demonstrations: invented symbols, and the same prices every time."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from hashlib import sha256

from quotes.models import Quote

# Symbol → first price, greatest change per quote in thousandths.
_SYMBOLS = {
    "ACME": (Decimal("118.4000"), 18),
    "GLOBEX": (Decimal("42.7500"), 32),
    "HOOLI": (Decimal("903.1000"), 12),
    "INITECH": (Decimal("7.3125"), 45),
    "UMBRELLA": (Decimal("64.0000"), 25),
}
_DAYS = 20
_FIRST_CLOSE = datetime(2026, 1, 5, 21, 0, tzinfo=UTC)


def quotes() -> list[Quote]:
    """A close per symbol and working day, five symbols and twenty days, as unsaved objects."""
    days = [_FIRST_CLOSE + timedelta(days=day // 5 * 7 + day % 5) for day in range(_DAYS)]
    result = []
    for symbol, (first_price, spread) in _SYMBOLS.items():
        price = first_price
        for day, moment in enumerate(days):
            # Python's random numbers may differ between versions, a hash does not.
            number = int.from_bytes(sha256(f"{symbol} {day}".encode()).digest()[:4])
            change = Decimal(number % (2 * spread + 1) - spread) / 1000
            price = (price * (1 + change)).quantize(Decimal("0.0001"))
            # Nobody waits for them as news.
            result.append(Quote(symbol=symbol, price=price, currency="USD", quoted_at=moment, published=True))
    return result
