"""What is stored."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from django.db import models

# An exchange's short name for something with a price, such as ACME, BRK.B or 0700-HK.
SYMBOL_PATTERN = r"[A-Z0-9][A-Z0-9.-]{0,11}"
CURRENCY_PATTERN = r"[A-Z]{3}"
PRICE_DIGITS = 14
PRICE_PLACES = 4
# The least price that is too high.
PRICE_SUPREMUM = Decimal(10) ** (PRICE_DIGITS - PRICE_PLACES)


class Quote(models.Model):
    """The price of a symbol at a moment. The database itself holds the rules; the API explains them."""

    symbol = models.CharField(max_length=12)
    price = models.DecimalField(max_digits=PRICE_DIGITS, decimal_places=PRICE_PLACES)
    currency = models.CharField(max_length=3, default="USD")
    quoted_at = models.DateTimeField()
    created_at = models.DateTimeField(auto_now_add=True)
    # Whether its event is in the stream. The database has the default too: the version before knows nothing of it.
    published = models.BooleanField(default=False, db_default=False)
    # The request that stored it (W3C Trace Context), for as long as it is not published.
    traceparent = models.CharField(max_length=55, default="", db_default="")

    class Meta:
        ordering = ("-quoted_at", "symbol")
        constraints = (
            # Its index, read backwards, also gives a symbol's history.
            models.UniqueConstraint(fields=("symbol", "quoted_at"), name="quotes_quote_symbol_quoted_at"),
            # The upper end keeps PostgreSQL's NaN out, which is greater than all numbers.
            models.CheckConstraint(
                condition=models.Q(price__gt=Decimal(0), price__lt=PRICE_SUPREMUM), name="quotes_quote_price_range"
            ),
            models.CheckConstraint(condition=models.Q(symbol__regex=f"^{SYMBOL_PATTERN}$"), name="quotes_quote_symbol"),
            models.CheckConstraint(
                condition=models.Q(currency__regex=f"^{CURRENCY_PATTERN}$"), name="quotes_quote_currency"
            ),
        )
        indexes = (
            models.Index(fields=("-quoted_at", "symbol"), name="quotes_quote_newest"),
            models.Index(fields=("id",), name="quotes_quote_unpublished", condition=models.Q(published=False)),
        )

    def __str__(self) -> str:
        return f"{self.symbol} {self.price} {self.currency} at {self.quoted_at.isoformat()}"

    def as_json(self) -> dict[str, Any]:
        """Members as in the API. The price is a string: a JSON number would be read as floating point."""
        return {
            "symbol": self.symbol,
            "price": f"{self.price:.{PRICE_PLACES}f}",
            "currency": self.currency,
            "quoted_at": self.quoted_at.isoformat().replace("+00:00", "Z"),
        }
