"""The quotes API."""

from __future__ import annotations

from http import HTTPStatus

from django.db import IntegrityError, transaction
from django.http import HttpRequest, JsonResponse
from django.urls import reverse

from business_logic import metrics
from business_logic.database import gate
from business_logic.http import read_json, read_query
from business_logic.problems import Problem
from quotes.models import Quote
from quotes.validation import Invalid, parse_symbol, validate_query, validate_quote


def list_quotes(request: HttpRequest) -> JsonResponse:
    """The newest quotes of all symbols or of one, newest first."""
    symbol, limit = validate_query(read_query(request, "symbol", "limit"))
    quotes = Quote.objects.all() if symbol is None else Quote.objects.filter(symbol=symbol)
    with gate.passage():
        return JsonResponse({"quotes": [quote.as_json() for quote in quotes[:limit]]})


def show_symbol(request: HttpRequest, symbol: str) -> JsonResponse:
    """A symbol's latest quote and its history, newest first, the latest included."""
    _, limit = validate_query(read_query(request, "limit"))
    unknown = Problem("unknown-symbol", "No quote has this symbol.")
    try:
        symbol = parse_symbol(symbol)
    except Invalid as error:
        raise unknown from error
    with gate.passage():
        history = [quote.as_json() for quote in Quote.objects.filter(symbol=symbol)[:limit]]
    if not history:
        raise unknown
    return JsonResponse({"symbol": symbol, "latest": history[0], "history": history})


def add_quote(request: HttpRequest) -> JsonResponse:
    read_query(request)
    values = validate_quote(read_json(request))
    with gate.passage():
        try:
            with transaction.atomic():
                quote = Quote.objects.create(**values)
        except IntegrityError as error:
            if not Quote.objects.filter(symbol=values["symbol"], quoted_at=values["quoted_at"]).exists():
                raise
            detail = f"{values['symbol']} has a quote at {values['quoted_at'].isoformat()} already."
            raise Problem("duplicate-quote", detail) from error
    metrics.quotes_created.inc()
    location = reverse("symbol", kwargs={"symbol": quote.symbol})
    return JsonResponse(quote.as_json(), status=HTTPStatus.CREATED, headers={"Location": location})
