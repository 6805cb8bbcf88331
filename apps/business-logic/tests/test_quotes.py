"""The quotes API: what is stored and what is read."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.core.management import call_command
from django.test import Client

from quotes.models import Quote
from tests.conftest import Post, problem

pytestmark = pytest.mark.django_db

Add = Callable[..., Quote]
VALID = {"symbol": "ACME", "price": "123.45", "currency": "EUR", "quoted_at": "2026-01-05T21:00:00Z"}


def errors(response: Any) -> dict[str, list[str]]:
    found: dict[str, list[str]] = problem(response, 422, "invalid-quote")["errors"]
    return found


class TestList:
    def test_empty(self, client: Client) -> None:
        response = client.get("/api/quotes/")
        assert response.status_code == 200
        assert response.json() == {"quotes": [], "last_event_id": None}

    def test_newest_first(self, client: Client, add: Add) -> None:
        add(at="2026-01-05T21:00:00Z", price="1")
        add(at="2026-01-07T21:00:00Z", price="3")
        add(at="2026-01-06T21:00:00Z", price="2", symbol="HOOLI")
        quotes = client.get("/api/quotes/").json()["quotes"]
        assert [quote["price"] for quote in quotes] == ["3.0000", "2.0000", "1.0000"]
        assert quotes[1] == {
            "symbol": "HOOLI",
            "price": "2.0000",
            "currency": "USD",
            "quoted_at": "2026-01-06T21:00:00Z",
        }

    def test_of_one_symbol(self, client: Client, add: Add) -> None:
        add("ACME")
        add("HOOLI")
        for query in ("symbol=ACME", "symbol=acme", "symbol=ACME&limit="):
            quotes = client.get(f"/api/quotes/?{query}").json()["quotes"]
            assert [quote["symbol"] for quote in quotes] == ["ACME"], query
        assert client.get("/api/quotes/?symbol=NONE").json() == {"quotes": [], "last_event_id": None}
        assert len(client.get("/api/quotes/?symbol=&limit=").json()["quotes"]) == 2

    def test_limit(self, client: Client) -> None:
        start = datetime(2026, 1, 1, tzinfo=UTC)
        moments = [start + timedelta(minutes=minute) for minute in range(520)]
        Quote.objects.bulk_create(Quote(symbol="A", price=1, quoted_at=moment) for moment in moments)
        for query, count in (("", 100), ("?limit=1", 1), ("?limit=500", 500)):
            assert len(client.get(f"/api/quotes/{query}").json()["quotes"]) == count
        assert len(client.get("/api/quotes/A/").json()["history"]) == 100
        assert len(client.get("/api/quotes/A/?limit=3").json()["history"]) == 3

    @pytest.mark.parametrize(
        "limit",
        ["0", "-1", "501", "1" * 5000, "1.5", "1e2", "NaN", "ten", "%20", "+5", "%D9%A1", "0x10", "%00"],
    )
    @pytest.mark.parametrize("path", ["/api/quotes/", "/api/quotes/ACME/"])
    def test_wrong_limit(self, client: Client, path: str, limit: str) -> None:
        document = problem(client.get(f"{path}?limit={limit}"), 400, "invalid-parameters")
        assert document["errors"] == {"limit": ["must be a whole number from 1 to 500"]}

    @pytest.mark.parametrize("symbol", ["%C3%89", "A%00", "A%20B", "A;DROP", "x" * 13, "-A", "%FF", "%C4%B1", "A%0A"])
    def test_wrong_symbol(self, client: Client, symbol: str) -> None:
        document = problem(client.get(f"/api/quotes/?symbol={symbol}"), 400, "invalid-parameters")
        assert list(document["errors"]) == ["symbol"]

    def test_all_wrong_parameters_are_named(self, client: Client) -> None:
        document = problem(client.get("/api/quotes/?simbol=A&limit=1&limit=2&%C3%A9=1"), 400, "invalid-parameters")
        assert document["errors"] == {
            "simbol": ["is not a parameter here; known: symbol, limit"],
            "limit": ["is given more than once"],
            "é": ["is not a parameter here; known: symbol, limit"],
        }
        document = problem(client.get("/api/quotes/?symbol=!&limit=0"), 400, "invalid-parameters")
        assert sorted(document["errors"]) == ["limit", "symbol"]


class TestSymbol:
    def test_latest_and_history(self, client: Client, add: Add) -> None:
        add(at="2026-01-05T21:00:00Z", price="1")
        add(at="2026-01-06T21:00:00Z", price="2")
        add("HOOLI")
        document = client.get("/api/quotes/acme/").json()
        assert document["symbol"] == "ACME"
        assert document["latest"]["price"] == "2.0000"
        assert [quote["price"] for quote in document["history"]] == ["2.0000", "1.0000"]

    @pytest.mark.parametrize("symbol", ["NONE", "%C3%89", "A%00", "a b", "x" * 300, "%E2%84%AA"])
    def test_unknown(self, client: Client, symbol: str) -> None:
        problem(client.get(f"/api/quotes/{symbol}/"), 404, "unknown-symbol")

    def test_symbol_is_no_parameter_here(self, client: Client) -> None:
        document = problem(client.get("/api/quotes/ACME/?symbol=B"), 400, "invalid-parameters")
        assert document["errors"] == {"symbol": ["is not a parameter here; known: limit"]}


class TestAdd:
    def test_complete(self, client: Client, post: Post) -> None:
        response = post(VALID)
        assert response.status_code == 201
        assert response.json() == {**VALID, "price": "123.4500"}
        assert response["Location"] == "/api/quotes/ACME/"
        assert client.get(response["Location"]).json()["latest"] == response.json()

    def test_defaults(self, post: Post) -> None:
        before = datetime.now(UTC)
        document = post({"symbol": "brk.b", "price": 7}).json()
        assert (document["symbol"], document["price"], document["currency"]) == ("BRK.B", "7.0000", "USD")
        assert before <= datetime.fromisoformat(document["quoted_at"]) <= datetime.now(UTC)

    @pytest.mark.parametrize(
        ("text", "expected"),
        [
            ("0.0001", "0.0001"),
            ("9999999999.9999", "9999999999.9999"),
            ("1.50000000", "1.5000"),
            ("1e2", "100.0000"),
            ("1E-4", "0.0001"),
            ("12345.6789", "12345.6789"),
            ("0.1000", "0.1000"),
            ('"0.3"', "0.3000"),
            ('"007.5"', "7.5000"),
        ],
    )
    def test_prices_are_exact(self, post: Post, text: str, expected: str) -> None:
        response = post(f'{{"symbol": "A", "price": {text}}}')
        assert response.status_code == 201, response.content
        assert response.json()["price"] == expected
        assert Quote.objects.get().price == Decimal(expected)

    @pytest.mark.parametrize(
        ("text", "words"),
        [
            ("0", "greater than 0"),
            ("-0", "greater than 0"),
            ("0.0", "greater than 0"),
            ("-1", "greater than 0"),
            ('"-1"', "must be a decimal number"),
            ("10000000000", "less than 10000000000"),
            ("1e99", "less than 10000000000"),
            ("9" * 40, "less than 10000000000"),
            ("9" * 5000, "must be a decimal number"),
            ("1e999999999", "must be a decimal number"),
            ("1e-99", "at most 4 decimal places"),
            ("1.00001", "at most 4 decimal places"),
            ("9999999999.99999", "at most 4 decimal places"),
            ('"NaN"', "must be a decimal number"),
            ('"Infinity"', "must be a decimal number"),
            ('"1e2"', "must be a decimal number"),
            ('"1_000"', "must be a decimal number"),
            ('" 1"', "must be a decimal number"),
            ('"1\\n"', "must be a decimal number"),
            ('"\N{ARABIC-INDIC DIGIT FIVE}"', "must be a decimal number"),
            ('"1,5"', "must be a decimal number"),
            ('""', "must be a decimal number"),
            ("true", "must be a decimal number"),
            ("null", "must be a decimal number"),
            ("[1]", "must be a decimal number"),
            ('{"a": 1}', "must be a decimal number"),
        ],
    )
    def test_wrong_price(self, post: Post, text: str, words: str) -> None:
        found = errors(post(f'{{"symbol": "A", "price": {text}}}'))
        assert list(found) == ["price"]
        assert words in found["price"][0]
        assert not Quote.objects.exists()

    @pytest.mark.parametrize(
        "symbol",
        ["", " ", "é", "\u0131BM", "\u212a", "ß", "A" * 13, "A B", "A\n", "A\0", ".A", "\ud800", 5, True, None, ["A"]],
    )
    def test_wrong_symbol(self, post: Post, symbol: Any) -> None:
        assert list(errors(post({**VALID, "symbol": symbol}))) == ["symbol"]

    @pytest.mark.parametrize("currency", ["", "usd", "EURO", "€€€", "US\n", 5, None, False])
    def test_wrong_currency(self, post: Post, currency: Any) -> None:
        assert list(errors(post({**VALID, "currency": currency}))) == ["currency"]

    @pytest.mark.parametrize(
        ("moment", "expected"),
        [
            ("2026-01-05T21:00:00+02:00", "2026-01-05T19:00:00Z"),
            ("2026-01-05t21:00:00.5z", "2026-01-05T21:00:00.500000Z"),
            ("2026-01-05T21:00:00.123456Z", "2026-01-05T21:00:00.123456Z"),
            ("1970-01-01T00:00:00Z", "1970-01-01T00:00:00Z"),
        ],
    )
    def test_moments(self, post: Post, moment: str, expected: str) -> None:
        assert post({**VALID, "quoted_at": moment}).json()["quoted_at"] == expected

    @pytest.mark.parametrize(
        ("moment", "words"),
        [
            ("2026-01-05T21:00:00", "with a time zone"),
            ("2026-01-05", "with a time zone"),
            ("2026-01-05 21:00:00Z", "with a time zone"),
            ("2026-W02-1T00:00:00Z", "with a time zone"),
            ("2026-01-05T21:00:00.1234567Z", "with a time zone"),
            (1767646800, "with a time zone"),
            (None, "with a time zone"),
            ("2026-02-30T00:00:00Z", "no moment"),
            ("2026-01-05T24:00:01Z", "no moment"),
            ("2026-01-05T21:00:00+99:00", "no moment"),
            ("0000-01-01T00:00:00Z", "no moment"),
            ("0001-01-01T00:00:00+23:00", "no moment"),
            ("1969-12-31T23:59:59Z", "before 1970"),
            ("9999-12-31T23:59:59Z", "in the future"),
            ("9999-12-31T23:59:59-23:00", "no moment"),
        ],
    )
    def test_wrong_moment(self, post: Post, moment: Any, words: str) -> None:
        found = errors(post({**VALID, "quoted_at": moment}))
        assert list(found) == ["quoted_at"]
        assert words in found["quoted_at"][0]

    def test_clocks_may_differ_a_little(self, post: Post) -> None:
        for ahead, status in ((timedelta(minutes=4), 201), (timedelta(minutes=6), 422)):
            assert post({**VALID, "quoted_at": (datetime.now(UTC) + ahead).isoformat()}).status_code == status

    def test_all_errors_at_once(self, post: Post) -> None:
        found = errors(post({"price": "x", "prise": 1, "\ud800": 2, "": 3}))
        assert found["symbol"] == ["is required"]
        assert found["prise"] == ["is not a member of a quote; known: symbol, price, currency, quoted_at"]
        assert sorted(found) == ["", "price", "prise", "symbol", "\ud800"]

    @pytest.mark.parametrize("document", [[], '"text"', 5, None, True, [VALID]])
    def test_no_object(self, post: Post, document: Any) -> None:
        problem(post(document), 422, "invalid-quote")

    def test_same_moment_again(self, post: Post) -> None:
        assert post(VALID).status_code == 201
        same = {**VALID, "price": 5, "quoted_at": "2026-01-05T22:00:00+01:00"}
        assert "ACME" in problem(post(same), 409, "duplicate-quote")["detail"]
        assert Quote.objects.get().price == Decimal("123.45")

    def test_takes_no_parameters(self, client: Client) -> None:
        response = client.post("/api/quotes/?limit=1", data=VALID, content_type="application/json")
        problem(response, 400, "invalid-parameters")


class TestSeed:
    def test_is_idempotent_and_deterministic(self, client: Client, capsys: pytest.CaptureFixture[str]) -> None:
        call_command("seed_quotes")
        assert capsys.readouterr().out == "100 quotes added, 0 were there already.\n"
        first = client.get("/api/quotes/?limit=500").content
        call_command("seed_quotes")
        assert capsys.readouterr().out == "0 quotes added, 100 were there already.\n"
        assert client.get("/api/quotes/?limit=500").content == first
        for symbol, price in (("ACME", "123.0827"), ("INITECH", "8.2675")):
            assert client.get(f"/api/quotes/{symbol}/").json()["latest"]["price"] == price

    def test_keeps_what_is_there(self, add: Add, capsys: pytest.CaptureFixture[str]) -> None:
        add("ACME", price="5", at="2026-01-05T21:00:00Z")
        add("OWN")
        call_command("seed_quotes")
        assert capsys.readouterr().out == "99 quotes added, 1 were there already.\n"
        assert Quote.objects.get(symbol="ACME", quoted_at="2026-01-05T21:00:00Z").price == 5
        assert Quote.objects.count() == 101
