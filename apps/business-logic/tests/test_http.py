"""Conventions of the HTTP interface: errors, methods, bodies, headers, request ids, log lines, metrics."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from django.test import Client

from tests.conftest import Post, problem

pytestmark = pytest.mark.django_db

Lines = Callable[[], list[dict[str, Any]]]


class TestRoutes:
    def test_nothing_there(self, client: Client) -> None:
        document = problem(client.get("/nothing/\N{SNOWMAN}"), 404)
        assert document["title"] == "Not Found"
        assert document["instance"] == "/nothing/%E2%98%83"

    @pytest.mark.parametrize("path", ["/", "/api/", "/api/quotes/A/B/", "/livez/", "/admin/", "/api/quotes//", "/%FF"])
    def test_unknown_paths(self, client: Client, path: str) -> None:
        assert "slash" not in problem(client.get(path), 404)["detail"]

    @pytest.mark.parametrize("path", ["/api/quotes", "/api/quotes/ACME"])
    def test_missing_slash(self, client: Client, path: str) -> None:
        assert "with a slash at the end" in problem(client.post(path), 404)["detail"]

    @pytest.mark.parametrize(
        ("path", "allow"),
        [
            ("/api/quotes/", "GET, HEAD, OPTIONS, POST"),
            ("/api/quotes/ACME/", "GET, HEAD, OPTIONS"),
            ("/api/openapi.json", "GET, HEAD, OPTIONS"),
            ("/livez", "GET, HEAD, OPTIONS"),
            ("/readyz", "GET, HEAD, OPTIONS"),
            ("/metrics", "GET, HEAD, OPTIONS"),
        ],
    )
    def test_methods(self, client: Client, path: str, allow: str) -> None:
        for method in ("PUT", "PATCH", "DELETE", "TRACE", "BREW"):
            response = client.generic(method, path)
            assert method in problem(response, 405)["detail"]
            assert response["Allow"] == allow
        response = client.options(path)
        assert (response.status_code, response["Allow"], response.content) == (204, allow, b"")

    def test_head(self, client: Client) -> None:
        get, head = client.get("/api/quotes/"), client.head("/api/quotes/")
        assert head.status_code == 200
        assert head.content == b""
        assert head["Content-Length"] == get["Content-Length"] == str(len(get.content))
        missing = client.head("/api/quotes/NONE/")
        assert (missing.status_code, missing.content) == (404, b"")


class TestHosts:
    @pytest.mark.parametrize("host", ["evil.test", "testserver.evil.test", "a b", "", "testserver:port", "[::1"])
    def test_unknown(self, client: Client, host: str, log_lines: Lines) -> None:
        assert "ALLOWED_HOSTS" in problem(client.get("/api/quotes/", headers={"host": host}), 400)["detail"]
        (line,) = log_lines()
        assert "ALLOWED_HOSTS" in line["reason"]

    @pytest.mark.parametrize("host", ["testserver", "TESTSERVER:8000", "a.example.test"])
    def test_known(self, client: Client, host: str) -> None:
        assert client.get("/api/quotes/", headers={"host": host}).status_code == 200

    @pytest.mark.parametrize("path", ["/livez", "/readyz", "/metrics"])
    def test_probes_come_by_address(self, client: Client, path: str) -> None:
        assert client.get(path, headers={"host": "10.244.1.7:8000"}).status_code == 200


def test_far_too_many_parameters(client: Client, log_lines: Lines) -> None:
    document = problem(client.get("/api/quotes/?" + "x&" * 1500), 400)
    assert "DATA_UPLOAD_MAX_NUMBER_FIELDS" in document["detail"]
    assert len(log_lines()) == 1


class TestBody:
    @pytest.mark.parametrize(
        ("body", "words"),
        [
            ("{", "at line 1, column 2"),
            ("{'symbol': 'A'}", "not JSON"),
            ('{"symbol": "A",}', "not JSON"),
            ('{"price": NaN}', "NaN is not a number"),
            ('{"price": Infinity}', "Infinity is not a number"),
            ('{"price": -Infinity}', "-Infinity is not a number"),
            ('{"price": 01}', "not JSON"),
            ('{"price": 1.}', "not JSON"),
            ('{"price": 1} {"price": 2}', "Extra data"),
            ('{"symbol": "A\n"}', "not JSON"),
            (b'{"symbol": "\xff"}', "not UTF-8 (byte 12)"),
            (b"\xef\xbb\xbf{}", "not JSON"),
            ("[" * 16000, "The body is n"),  # in one version nested too deeply, in another not JSON
            ('{"a":' * 2700, "The body is n"),
        ],
    )
    def test_malformed(self, post: Post, body: str | bytes, words: str) -> None:
        assert words in problem(post(body), 400, "malformed-body")["detail"]

    def test_member_twice(self, post: Post) -> None:
        document = problem(post('{"symbol": "A", "price": 1, "price": 2, "symbol": "A"}'), 400, "malformed-body")
        twice = ["is given more than once"]
        assert document["errors"] == {"price": twice, "symbol": twice}

    @pytest.mark.parametrize(
        ("content_type", "words"),
        [
            ("", "is missing"),
            ("text/plain", '"text/plain"'),
            ("application/x-www-form-urlencoded", "expected application/json"),
            ("multipart/form-data; boundary=x", "expected application/json"),
            ("application/json; charset=latin-1", "must be UTF-8"),
        ],
    )
    def test_wrong_media_type(self, post: Post, content_type: str, words: str) -> None:
        response = post("{}", content_type=content_type)
        assert words in problem(response, 415)["detail"]
        assert response["Accept"] == "application/json"

    @pytest.mark.parametrize("content_type", ["application/json", "Application/JSON; charset=UTF-8"])
    def test_right_media_type(self, post: Post, content_type: str) -> None:
        problem(post("{}", content_type=content_type), 422, "invalid-quote")

    def test_compressed(self, post: Post) -> None:
        assert "compressed" in problem(post(b"\x1f\x8b", headers={"content-encoding": "gzip"}), 415)["detail"]

    def test_size_limit(self, post: Post) -> None:
        just_right = json.dumps({"x": "y" * (16384 - 9)})
        assert len(just_right) == 16384
        problem(post(just_right), 422, "invalid-quote")
        assert "16384" in problem(post(just_right + " "), 413)["detail"]
        problem(post(b" " * 3_000_000), 413)


class TestServerError:
    @pytest.fixture(autouse=True)
    def _break(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def fail(*arguments: Any) -> None:
            raise RuntimeError("secret words")

        monkeypatch.setattr("quotes.models.Quote.as_json", fail)
        monkeypatch.setattr("quotes.views.validate_query", fail)

    def test_says_nothing_but_the_id(self, client: Client, log_lines: Lines) -> None:
        response = client.get("/api/quotes/")
        document = problem(response, 500)
        assert b"secret words" not in response.content
        lines = log_lines()
        assert {line["request_id"] for line in lines} == {document["request_id"]}
        (traceback,) = (line for line in lines if "exception" in line)
        assert "RuntimeError: secret words" in traceback["exception"]
        assert [line["level"] for line in lines if line["logger"] == "business_logic.request"] == ["error"]


@pytest.mark.usefixtures("database_away")
class TestDatabaseAway:
    @pytest.mark.parametrize("path", ["/api/quotes/", "/api/quotes/ACME/"])
    def test_reading(self, client: Client, path: str, log_lines: Lines) -> None:
        response = client.get(path)
        document = problem(response, 503, "database-unavailable")
        assert response["Retry-After"] == "2"
        assert "refused" not in document["detail"]
        (line,) = log_lines()
        assert "Connection refused" in line["reason"]

    def test_adding(self, post: Post) -> None:
        problem(post({"symbol": "A", "price": 1}), 503, "database-unavailable")
        problem(post({"symbol": "A"}), 422, "invalid-quote")


class TestHeaders:
    @pytest.mark.parametrize("path", ["/api/quotes/", "/nothing", "/livez", "/metrics", "/api/openapi.json"])
    def test_on_every_answer(self, client: Client, path: str) -> None:
        response = client.get(path)
        expected = {
            "Cache-Control": "no-store",
            "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
            "Cross-Origin-Opener-Policy": "same-origin",
            "Referrer-Policy": "no-referrer",
            "X-Content-Type-Options": "nosniff",
            "X-Frame-Options": "DENY",
        }
        assert {name: response.get(name) for name in expected} == expected

    @pytest.mark.parametrize("given", ["a", "A-b_c.9:1", "x" * 128])
    def test_request_id_is_kept(self, client: Client, given: str, log_lines: Lines) -> None:
        assert client.get("/api/quotes/", headers={"x-request-id": given})["X-Request-Id"] == given
        assert [line["request_id"] for line in log_lines()] == [given]

    @pytest.mark.parametrize("given", ["", "a b", "x" * 129, "é", 'a"', "a\r\nSet-Cookie: x", "<b>", "a,b"])
    def test_request_id_is_replaced(self, client: Client, given: str) -> None:
        first, second = (client.get("/livez", headers={"x-request-id": given})["X-Request-Id"] for _ in range(2))
        assert first != second
        assert len(first) == 32


class TestLogs:
    def test_one_line_per_request(self, client: Client, log_lines: Lines) -> None:
        client.get("/api/quotes/?limit=5", headers={"user-agent": "tests", "x-forwarded-for": "10.0.0.9"})
        (line,) = log_lines()
        assert line.pop("time").endswith("Z")
        assert line.pop("duration_ms") >= 0
        assert len(line.pop("request_id")) == 32
        # See test_telemetry.py.
        assert {"trace_id", "span_id"} <= line.keys()
        del line["trace_id"], line["span_id"]
        assert line == {
            "level": "info",
            "logger": "business_logic.request",
            "message": "GET /api/quotes/ 200",
            "method": "GET",
            "path": "/api/quotes/",
            "query": "limit=5",
            "route": "/api/quotes/",
            "status": 200,
            "bytes": 37,
            "remote_address": "127.0.0.1",
            "forwarded_for": "10.0.0.9",
            "user_agent": "tests",
        }

    @pytest.mark.parametrize("path", ["/nothing", "/api/quotes/?limit=x", "/api/quotes/NONE/"])
    def test_errors_too(self, client: Client, path: str, log_lines: Lines) -> None:
        client.get(path)
        client.delete(path)
        client.get("/api/quotes/", headers={"host": "evil.test"})
        assert len(log_lines()) == 3

    def test_hostile_values_stay_in_their_line(self, client: Client, log_lines: Lines) -> None:
        client.get("/a%0A{}%00%E2%80%A8", headers={"user-agent": 'x"\\' + "y" * 9000})
        (line,) = log_lines()
        assert line["path"] == "/a\n{}\0\u2028"
        assert len(line["user_agent"]) == 512

    def test_probes_can_be_left_out(self, client: Client, settings: Any, log_lines: Lines) -> None:
        client.get("/livez")
        settings.LOG_PROBES = False
        client.get("/livez")
        client.get("/livez/")
        assert [line["path"] for line in log_lines()] == ["/livez", "/livez/"]


class TestMetrics:
    def test_requests_by_route(self, client: Client) -> None:
        client.get("/api/quotes/ABC/")
        client.get("/api/quotes/DEF/")
        client.get("/nothing-1")
        client.generic("BREW", "/api/quotes/ABC/")
        response = client.get("/metrics")
        assert response["Content-Type"].startswith("text/plain; version=")
        text = response.content.decode()
        for sample in (
            'http_requests_total{method="GET",route="/api/quotes/{symbol}/",status="404"} ',
            'http_requests_total{method="GET",route="unmatched",status="404"} ',
            'http_requests_total{method="other",route="/api/quotes/{symbol}/",status="405"} ',
            'http_request_duration_seconds_bucket{le="0.005",method="GET",route="/api/quotes/{symbol}/"} ',
            "http_requests_in_progress 1.0",
            'business_logic_build_info{version="1.0.0"} 1.0',
            "process_resident_memory_bytes ",
        ):
            assert sample in text, sample
        assert "ABC" not in text
        assert "nothing-1" not in text

    def test_added_quotes_and_database(self, client: Client, post: Post) -> None:
        def value(name: str) -> float:
            lines = client.get("/metrics").content.decode().splitlines()
            return next(float(line.split()[1]) for line in lines if line.startswith(f"{name} "))

        before = value("quotes_created_total")
        for _ in range(2):
            post({"symbol": "A", "price": 1, "quoted_at": "2026-01-05T21:00:00Z"})
        assert value("quotes_created_total") == before + 1
        assert value("database_up") == 1
