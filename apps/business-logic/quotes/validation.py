"""Checks of what clients send. Each parser returns the value or raises Invalid with words that follow its name."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Context, Decimal, Inexact, InvalidOperation
from typing import Any

from business_logic.http import JsonNumber, invalid_members, invalid_parameters
from business_logic.problems import Problem
from quotes import events
from quotes.models import CURRENCY_PATTERN, PRICE_DIGITS, PRICE_PLACES, PRICE_SUPREMUM, SYMBOL_PATTERN

DEFAULT_LIMIT = 100
GREATEST_LIMIT = 500
DEFAULT_CURRENCY = "USD"
EARLIEST = datetime(1970, 1, 1, tzinfo=UTC)
# A quote's moment may lie this far ahead: clocks differ.
TOLERANCE = timedelta(minutes=5)

_DECIMAL = re.compile(r"[0-9]{1,40}(\.[0-9]{1,40})?")
_JSON_NUMBER = re.compile(r"-?[0-9]{1,40}(\.[0-9]{1,40})?([eE][+-]?[0-9]{1,2})?")
_MOMENT = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt][0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{1,6})?([Zz]|[+-][0-9]{2}:[0-9]{2})"
)


class Invalid(ValueError):
    """What is wrong with a value."""


def parse_symbol(value: Any) -> str:
    """A symbol in capital letters. ASCII only: other letters have capitals that are ASCII, such as U+0131 (I)."""
    if type(value) is str and value.isascii() and re.fullmatch(SYMBOL_PATTERN, value.upper()):
        return value.upper()
    raise Invalid('must be a string of 1 to 12 letters A-Z, digits, "." or "-" that begins with a letter or digit')


def parse_currency(value: Any) -> str:
    if type(value) is str and re.fullmatch(CURRENCY_PATTERN, value):
        return value
    raise Invalid("must be a string of three letters A-Z, such as USD (ISO 4217)")


def parse_price(value: Any) -> Decimal:
    """An exact positive decimal; never rounded."""
    grammar = _JSON_NUMBER if type(value) is JsonNumber else _DECIMAL
    if not isinstance(value, str) or not grammar.fullmatch(value):
        raise Invalid('must be a decimal number, or a string with one, such as "123.45"')
    price = Decimal(value)
    if price <= 0:
        raise Invalid("must be greater than 0")
    if price >= PRICE_SUPREMUM:
        raise Invalid(f"must be less than {PRICE_SUPREMUM}")
    exact = Context(prec=PRICE_DIGITS, traps=[Inexact, InvalidOperation])
    try:
        return price.quantize(Decimal(10) ** -PRICE_PLACES, context=exact)
    except (Inexact, InvalidOperation) as error:
        raise Invalid(f"must have at most {PRICE_PLACES} decimal places") from error


def parse_moment(value: Any) -> datetime:
    if type(value) is not str or not _MOMENT.fullmatch(value):
        raise Invalid("must be a date and time with a time zone, such as 2026-01-05T16:00:00Z (RFC 3339)")
    try:
        moment = datetime.fromisoformat(value.upper()).astimezone(UTC)
    except (ValueError, OverflowError) as error:
        raise Invalid("is no moment of the calendar") from error
    if moment < EARLIEST:
        raise Invalid("must not be before 1970")
    if moment > datetime.now(UTC) + TOLERANCE:
        raise Invalid("must not be in the future")
    return moment


def parse_limit(value: str) -> int:
    if re.fullmatch(r"[0-9]{1,9}", value) and 1 <= int(value) <= GREATEST_LIMIT:
        return int(value)
    raise Invalid(f"must be a whole number from 1 to {GREATEST_LIMIT}")


_REQUIRED: dict[str, Callable[[Any], Any]] = {"symbol": parse_symbol, "price": parse_price}
_OPTIONAL: dict[str, Callable[[Any], Any]] = {"currency": parse_currency, "quoted_at": parse_moment}
_MEMBERS = _REQUIRED | _OPTIONAL


def validate_quote(document: Any) -> dict[str, Any]:
    """Values of a new quote's fields; raises Problem that names every wrong, missing and unknown member."""
    if not isinstance(document, dict):
        raise Problem("invalid-quote", "The body must be a JSON object.")
    errors = {name: ["is required"] for name in _REQUIRED if name not in document}
    values: dict[str, Any] = {"currency": DEFAULT_CURRENCY}
    for name, value in document.items():
        if name not in _MEMBERS:
            errors[name] = [f"is not a member of a quote; known: {', '.join(_MEMBERS)}"]
            continue
        try:
            values[name] = _MEMBERS[name](value)
        except Invalid as error:
            errors[name] = [str(error)]
    if errors:
        raise invalid_members("invalid-quote", "The quote", errors)
    values.setdefault("quoted_at", datetime.now(UTC))
    return values


def parse_event_id(value: str) -> str:
    if events.is_id(value):
        return value
    raise Invalid("must be the id of an event, such as 1767646800000-0")


def validate_events_query(parameters: dict[str, str]) -> tuple[str, int]:
    """(id, limit) of a query; raises Problem."""
    errors: dict[str, list[str]] = {}
    after, limit = events.BEGINNING, DEFAULT_LIMIT
    try:
        after = parse_event_id(parameters.get("after", after))
    except Invalid as error:
        errors["after"] = [str(error)]
    try:
        limit = parse_limit(parameters["limit"]) if "limit" in parameters else DEFAULT_LIMIT
    except Invalid as error:
        errors["limit"] = [str(error)]
    if errors:
        raise invalid_parameters(errors)
    return after, limit


def validate_query(parameters: dict[str, str]) -> tuple[str | None, int]:
    """(symbol or None, limit) of a query; raises Problem."""
    errors: dict[str, list[str]] = {}
    symbol, limit = None, DEFAULT_LIMIT
    try:
        symbol = parse_symbol(parameters["symbol"]) if "symbol" in parameters else None
    except Invalid as error:
        errors["symbol"] = [str(error)]
    try:
        limit = parse_limit(parameters["limit"]) if "limit" in parameters else DEFAULT_LIMIT
    except Invalid as error:
        errors["limit"] = [str(error)]
    if errors:
        raise invalid_parameters(errors)
    return symbol, limit
