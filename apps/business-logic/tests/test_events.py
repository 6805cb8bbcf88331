"""The stream of new quotes, on a real Valkey: ids, resumption, gaps, and what is stored while it is away."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import valkey
from django.core.management import CommandError, call_command
from django.test import Client

from business_logic import health, streams
from quotes import events, relay
from quotes.models import Quote
from tests.conftest import Post, problem
from tests.valkey_server import USER, ValkeyServer

pytestmark = pytest.mark.django_db
STREAM = "/api/quotes/events/stream/"
RECENT = "/api/quotes/events/recent/"


@pytest.fixture
def server(valkey_server: ValkeyServer, settings: Any) -> ValkeyServer:
    settings.VALKEY = valkey_server.settings()
    settings.STREAM_HEARTBEAT = 1
    return valkey_server


@pytest.fixture
def drain(monkeypatch: pytest.MonkeyPatch) -> Iterator[threading.Event]:
    """Ends streams at the end of the test."""
    draining = threading.Event()
    monkeypatch.setattr(health, "draining", draining)
    yield draining
    draining.set()


def add(post: Post, *prices: int, symbol: str = "ACME") -> None:
    for price in prices:
        response = post({"symbol": symbol, "price": price})
        assert response.status_code == 201, response.content


def read(client: Client, query: str = "") -> tuple[list[tuple[str, str]], str]:
    """(id, price without decimals) of each event after an id, and the newest one's id."""
    document = client.get(RECENT + query).json()
    found = [(event["id"], event["quote"]["price"].partition(".")[0]) for event in document["events"]]
    return found, document["last_event_id"]


def fields(part: bytes) -> list[dict[str, str]]:
    """Events of a part of a stream."""
    blocks = part.decode().strip().split("\n\n")
    return [dict(line.split(": ", 1) for line in block.split("\n") if not line.startswith(":")) for block in blocks]


def opened(client: Client, query: str = "", **headers: str) -> Iterator[bytes]:
    response: Any = client.get(STREAM + query, headers=headers)
    assert response.status_code == 200, response.content
    assert response["Content-Type"] == "text/event-stream"
    assert response["Cache-Control"] == "no-store, no-transform"
    assert response["X-Accel-Buffering"] == "no"
    return iter(response.streaming_content)


class TestRecent:
    def test_each_quote_is_an_event_in_order(self, server: ValkeyServer, client: Client, post: Post) -> None:
        assert read(client) == ([], "0-0")
        add(post, 1, 2, 3)
        found, last = read(client)
        assert [price for _id, price in found] == ["1", "2", "3"]
        assert last == found[-1][0]
        ids = [tuple(map(int, event_id.split("-"))) for event_id, _price in found]
        assert ids == sorted(set(ids))
        assert client.get(RECENT).json()["events"][0]["quote"] == client.get("/api/quotes/").json()["quotes"][-1]
        assert read(client, f"?after={found[0][0]}") == (found[1:], last)
        assert read(client, f"?after={found[0][0]}&limit=1") == (found[1:2], last)
        assert read(client, f"?after={last}") == ([], last)

    def test_the_list_of_quotes_tells_where_to_go_on(self, server: ValkeyServer, client: Client, post: Post) -> None:
        assert client.get("/api/quotes/").json()["last_event_id"] == "0-0"
        add(post, 1)
        position = client.get("/api/quotes/").json()["last_event_id"]
        assert read(client)[1] == position
        add(post, 2)
        assert [price for _id, price in read(client, f"?after={position}")[0]] == ["2"]

    @pytest.mark.parametrize("query", ["?after=x", "?after=1", "?after=1-2-3", f"?after={2**64}-0", "?limit=0", "?x=1"])
    def test_wrong_parameters(self, server: ValkeyServer, client: Client, query: str) -> None:
        problem(client.get(RECENT + query), 400, "invalid-parameters")
        if "limit" not in query:
            problem(client.get(STREAM + query), 400, "invalid-parameters")

    def test_an_id_that_never_was_or_is_no_more(
        self, server: ValkeyServer, client: Client, post: Post, settings: Any
    ) -> None:
        add(post, 1, 2)
        (first, _), (second, _) = read(client)[0]
        for unknown in ("1-0", f"{2**64 - 1}-0", f"{int(first.split('-')[0]) - 1}-7"):
            document = problem(client.get(f"{RECENT}?after={unknown}"), 410, "events-gone")
            assert document["last_event_id"] == second
        server.admin().xtrim(events.STREAM, maxlen=1, approximate=False)
        assert problem(client.get(f"{RECENT}?after={first}"), 410, "events-gone")
        assert problem(client.get(f"{RECENT}?after=0-0"), 410, "events-gone")
        assert read(client, f"?after={second}") == ([], second)

    def test_the_stream_is_capped(self, server: ValkeyServer, post: Post, settings: Any) -> None:
        settings.STREAM_LENGTH = 100
        store = events.store()
        assert store is not None
        for number in range(450):
            now = datetime.now(UTC)
            store.publish(Quote(pk=number, symbol="ACME", price=1, quoted_at=now, created_at=now))
        # Whole nodes of 100 entries are taken away.
        assert 100 <= server.admin().xlen(events.STREAM) < 300

    def test_without_valkey_in_the_settings(self, client: Client, post: Post) -> None:
        add(post, 1)
        assert client.get("/api/quotes/").json()["last_event_id"] is None
        for path in (RECENT, STREAM):
            assert "VALKEY_HOST" in problem(client.get(path), 503, "events-unavailable")["detail"]


class TestStream:
    def test_goes_on_after_the_id(
        self, server: ValkeyServer, client: Client, post: Post, drain: threading.Event
    ) -> None:
        add(post, 1, 2, 3)
        ids = [event_id for event_id, _price in read(client)[0]]
        # The header wins: a browser that comes again sends both.
        for query, headers, expected in (
            (f"?after={ids[0]}", {}, ids[1:]),
            (f"?after={ids[0]}", {"Last-Event-ID": ids[1]}, ids[2:]),
            ("", {"Last-Event-ID": "0-0"}, ids),
        ):
            stream = opened(client, query, **headers)
            assert fields(next(stream))[0]["retry"] == "1000"
            found = fields(next(stream))
            assert [event["id"] for event in found] == expected
            assert {event["event"] for event in found} == {"quote"}
            assert json.loads(found[-1]["data"])["price"] == "3.0000"

    def test_from_now_on_without_an_id(
        self, server: ValkeyServer, client: Client, post: Post, drain: threading.Event
    ) -> None:
        add(post, 1)
        stream = opened(client)
        # Known before the first event, so that nothing is lost where the connection breaks before it.
        assert fields(next(stream)) == [{"retry": "1000", "id": read(client)[1]}]
        add(post, 2)
        (event,) = fields(next(stream))
        assert json.loads(event["data"])["price"] == "2.0000"

    def test_signs_of_life(self, server: ValkeyServer, client: Client, drain: threading.Event) -> None:
        stream = opened(client)
        next(stream)
        began = time.monotonic()
        assert next(stream) == b": heartbeat\n\n"
        assert time.monotonic() - began < 10
        drain.set()
        assert list(stream) == []

    def test_a_gap_is_told(self, server: ValkeyServer, client: Client, post: Post, drain: threading.Event) -> None:
        add(post, 1)
        stream = opened(client, "?after=5-0")
        next(stream)
        last = read(client)[1]
        assert fields(next(stream)) == [{"id": last, "event": "reset", "data": "{}"}]
        add(post, 2)
        assert json.loads(fields(next(stream))[0]["data"])["price"] == "2.0000"

    @pytest.mark.parametrize("kill", [False, True])
    def test_outlives_valkey(
        self, server: ValkeyServer, client: Client, post: Post, drain: threading.Event, kill: bool
    ) -> None:
        stream = opened(client)
        next(stream)
        add(post, 1)
        first = fields(next(stream))[0]
        server.restart(kill=kill)
        add_when_back(post, 2)
        # Signs of life meanwhile, then what was published after the first, once.
        second = next(fields(part)[0] for part in stream if not part.startswith(b":"))
        assert json.loads(second["data"])["price"] == "2.0000"
        assert [event_id for event_id, _price in read(client)[0]] == [first["id"], second["id"]]

    def test_valkey_that_comes_back_without_its_data(
        self, server: ValkeyServer, client: Client, post: Post, drain: threading.Event
    ) -> None:
        add(post, 1)
        stream = opened(client)
        next(stream)
        server.lose_everything()
        add_when_back(post, 2)
        told = next(fields(part)[0] for part in stream if not part.startswith(b":"))
        assert told["event"] == "reset"

    def test_no_more_than_may_be(
        self,
        server: ValkeyServer,
        client: Client,
        drain: threading.Event,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        monkeypatch.setattr("quotes.views.streams_left", threading.BoundedSemaphore(1))
        first: Any = client.get(STREAM)
        assert problem(client.get(STREAM), 503, "too-many-streams")
        first.close()
        assert client.head(STREAM).status_code == 200
        assert client.get(STREAM).status_code == 200

    def test_not_while_the_server_stops_or_valkey_is_away(
        self, server: ValkeyServer, client: Client, drain: threading.Event
    ) -> None:
        server.stop()
        for path in (RECENT, STREAM):
            response = client.get(path)
            problem(response, 503, "events-unavailable")
            assert response["Retry-After"] == "2"
        drain.set()
        assert "shutting down" in problem(client.get(STREAM), 503, "events-unavailable")["detail"]

    def test_has_a_line_in_the_log_when_it_ends(
        self, server: ValkeyServer, client: Client, drain: threading.Event, log_lines: Callable[[], list[Any]]
    ) -> None:
        response: Any = client.get(STREAM, headers={"X-Request-Id": "of-the-stream"})
        sent = next(iter(response.streaming_content))
        assert log_lines() == []
        response.close()
        (line,) = log_lines()
        assert (line["request_id"], line["status"], line["bytes"]) == ("of-the-stream", 200, len(sent))


def add_when_back(post: Post, price: int) -> None:
    """After Valkey has come back it is asked again within a second; the relay would do the same."""
    add(post, price)
    deadline = time.monotonic() + 20
    while True:
        try:
            relay.publish_the_rest()
        except streams.Away:
            assert time.monotonic() < deadline
            time.sleep(0.1)
        else:
            return


class TestNothingIsLost:
    def test_quotes_are_stored_while_valkey_is_away(self, server: ValkeyServer, client: Client, post: Post) -> None:
        add(post, 1)
        server.stop()
        began = time.monotonic()
        add(post, 2, 3)
        assert client.get("/api/quotes/").json()["last_event_id"] is None
        assert time.monotonic() - began < 5
        assert list(Quote.objects.filter(published=False).values_list("price", flat=True).order_by("id")) == [2, 3]
        server.start()
        add_when_back(post, 4)
        assert [price for _id, price in read(client)[0]] == ["1", "2", "3", "4"]
        assert not Quote.objects.filter(published=False).exists()

    def test_valkey_that_is_full_costs_no_quote(self, server: ValkeyServer, client: Client, post: Post) -> None:
        server.admin().config_set("maxmemory", 1)
        add(post, 1)
        assert Quote.objects.filter(published=False).count() == 1
        server.admin().config_set("maxmemory", "64mb")
        add_when_back(post, 2)
        assert [price for _id, price in read(client)[0]] == ["1", "2"]

    def test_what_was_published_and_not_noted_is_not_published_again(
        self, server: ValkeyServer, client: Client, post: Post
    ) -> None:
        add(post, 1)
        # As when the process ended between the two.
        Quote.objects.update(published=False)
        assert relay.publish_the_rest() == 1
        assert len(read(client)[0]) == 1
        assert relay.publish_the_rest() == 0
        # Others that were added since, and time that went by, change nothing.
        add(post, 2, 3)
        Quote.objects.update(published=False, created_at=datetime.now(UTC) - timedelta(days=2))
        assert relay.publish_the_rest() == 3
        assert [price for _id, price in read(client)[0]] == ["1", "2", "3"]

    def test_demonstration_quotes_are_no_news(self, server: ValkeyServer, client: Client) -> None:
        call_command("seed_quotes")
        assert relay.publish_the_rest() == 0
        assert read(client) == ([], "0-0")


class TestPassword:
    def run(self, settings: Any, server: ValkeyServer, *passwords: str, timeout: float = 5) -> None:
        settings.VALKEY = server.settings(*passwords)
        events.store.cache_clear()
        call_command("set_valkey_password", timeout=timeout)

    def test_the_new_and_the_earlier_one_are_tried(
        self, server: ValkeyServer, settings: Any, client: Client, capsys: pytest.CaptureFixture[str]
    ) -> None:
        settings.VALKEY = server.settings("it's\\new", "never was", "first")
        store = events.store()
        assert store is not None
        assert store.last() == "0-0"
        self.run(settings, server, "it's\\new", "never was", "first")
        assert capsys.readouterr().out == "The password was changed from an earlier one.\n"
        # The connection that stood goes on, and one that is made anew has the new password.
        assert store.last() == "0-0"
        server.restart()
        assert eventually_last(store) == "0-0"
        with pytest.raises(valkey.AuthenticationError):
            streams.connect(server.settings("first")).xinfo_stream("x")
        self.run(settings, server, "it's\\new", "never was", "first")
        assert capsys.readouterr().out == "The password is Valkey's.\n"

    def test_both_are_good_until_it_is_set(self, server: ValkeyServer, settings: Any) -> None:
        server.admin().execute_command("ACL SETUSER", USER, ">second")
        self.run(settings, server, "second", "first")
        with pytest.raises(valkey.AuthenticationError):
            streams.connect(server.settings("first")).xinfo_stream("x")

    def test_a_password_that_never_was_is_told_at_once(self, server: ValkeyServer, settings: Any) -> None:
        began = time.monotonic()
        with pytest.raises(CommandError, match="refuses the password and all earlier ones"):
            self.run(settings, server, "wrong", "wrong too", timeout=60)
        assert time.monotonic() - began < 20

    def test_where_valkey_is_away_it_says_so(self, server: ValkeyServer, settings: Any) -> None:
        server.stop()
        with pytest.raises(CommandError, match=r"does not answer: .*refused"):
            self.run(settings, server, "first", timeout=0)

    def test_where_there_is_none(self) -> None:
        with pytest.raises(CommandError, match="VALKEY_HOST"):
            call_command("set_valkey_password")


def eventually_last(store: events.Store) -> str:
    deadline = time.monotonic() + 20
    while True:
        try:
            return store.last()
        except streams.Away:
            assert time.monotonic() < deadline
            time.sleep(0.1)
