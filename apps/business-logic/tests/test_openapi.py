"""The OpenAPI document is valid and says what the service does."""

from __future__ import annotations

import io
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.core.management import call_command
from django.test import Client
from django.urls import URLPattern, URLResolver, get_resolver
from jsonschema import Draft202012Validator
from openapi_spec_validator import validate

from business_logic import openapi, problems
from business_logic.http import Endpoint
from quotes import validation
from quotes.models import SYMBOL_PATTERN

DOCUMENT = openapi.document()
WITHOUT_MENTION = {"head", "options"}  # the document says once that every route has them


def routes(resolver: URLResolver, prefix: str = "/") -> Iterator[tuple[str, Endpoint]]:
    for pattern in resolver.url_patterns:
        path = prefix + str(pattern.pattern)
        if isinstance(pattern, URLResolver):
            yield from routes(pattern, path)
        else:
            assert isinstance(pattern, URLPattern)
            assert isinstance(pattern.callback, Endpoint)
            yield re.sub(r"<(?:\w+:)?(\w+)>", r"{\1}", path), pattern.callback


def check(response: Any, path: str, method: str = "get") -> None:
    """An answer's status, media type and body are as the document has them."""
    described = DOCUMENT["paths"][path][method]["responses"][str(response.status_code)]
    if "$ref" in described:
        described = DOCUMENT["components"]["responses"][described["$ref"].rpartition("/")[2]]
    media_type = response["Content-Type"].partition(";")[0]
    schema = described["content"][media_type]["schema"]
    assert set(described.get("headers", {})) <= set(response.headers)
    if media_type.endswith("json"):
        Draft202012Validator({**schema, "components": DOCUMENT["components"]}).validate(response.json())


def test_is_valid() -> None:
    validate(DOCUMENT)


@pytest.mark.django_db
def test_is_served_with_the_version_of_the_project(client: Client) -> None:
    response = client.get("/api/openapi.json")
    project = tomllib.loads(Path("pyproject.toml").read_text())["project"]
    assert response.json()["info"]["version"] == project["version"]
    assert response.json() == DOCUMENT


def test_has_every_route_and_method() -> None:
    served = {path: {method.lower() for method in view.methods} for path, view in routes(get_resolver())}
    described = {path: set(operations) for path, operations in DOCUMENT["paths"].items()}
    assert described == {path: methods - WITHOUT_MENTION for path, methods in served.items()}


def test_has_every_problem() -> None:
    described = {kind: (entry["status"], entry["title"]) for kind, entry in DOCUMENT["x-problems"].items()}
    assert described == problems.KINDS


def test_has_the_limits_of_the_code() -> None:
    limit = DOCUMENT["components"]["parameters"]["Limit"]["schema"]
    assert (limit["default"], limit["maximum"]) == (validation.DEFAULT_LIMIT, validation.GREATEST_LIMIT)
    schemas = DOCUMENT["components"]["schemas"]
    assert schemas["Symbol"]["pattern"] == f"^{SYMBOL_PATTERN}$"
    assert schemas["NewQuote"]["required"] == ["symbol", "price"]
    assert list(schemas["NewQuote"]["properties"]) == ["symbol", "price", "currency", "quoted_at"]
    assert schemas["NewQuote"]["properties"]["currency"]["default"] == validation.DEFAULT_CURRENCY


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("path", "query"),
    [
        ("/api/quotes/", ""),
        ("/api/quotes/", "?limit=2&symbol=acme"),
        ("/api/quotes/", "?limit=0&x=1"),
        ("/api/quotes/{symbol}/", ""),
        ("/api/quotes/{symbol}/", "?limit=x"),
        ("/livez", ""),
        ("/readyz", ""),
        ("/metrics", ""),
        ("/api/openapi.json", ""),
    ],
)
def test_answers(client: Client, path: str, query: str) -> None:
    call_command("seed_quotes", stdout=io.StringIO())
    check(client.get(path.replace("{symbol}", "ACME") + query), path)


@pytest.mark.django_db
def test_answers_to_errors(client: Client) -> None:
    check(client.get("/api/quotes/NONE/"), "/api/quotes/{symbol}/")


@pytest.mark.django_db
@pytest.mark.usefixtures("database_away")
def test_answers_while_the_database_is_away(client: Client) -> None:
    check(client.get("/api/quotes/"), "/api/quotes/")
    check(client.get("/readyz"), "/readyz")


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("body", "content_type", "status"),
    [
        ('{"symbol": "A", "price": 1}', "application/json", 201),
        ("{", "application/json", 400),
        (" " * 20000, "application/json", 413),
        ("{}", "text/plain", 415),
        ('{"x": 1}', "application/json", 422),
    ],
)
def test_answers_to_post(client: Client, body: str, content_type: str, status: int) -> None:
    response = client.post("/api/quotes/", data=body, content_type=content_type)
    assert response.status_code == status
    check(response, "/api/quotes/", "post")


@pytest.mark.django_db
def test_examples_can_be_sent(client: Client) -> None:
    properties = DOCUMENT["components"]["schemas"]["NewQuote"]["properties"]
    quote = {name: schema["examples"][0] for name, schema in properties.items() if "examples" in schema}
    Draft202012Validator(
        {**DOCUMENT["components"]["schemas"]["NewQuote"], "components": DOCUMENT["components"]}
    ).validate(quote)
    assert client.post("/api/quotes/", data=quote, content_type="application/json").status_code == 201
