"""Streams of the real server, on a real PostgreSQL and Valkey: restarts and cut connections lose and double nothing."""

from __future__ import annotations

import http.client
import itertools
import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import pytest
from django.db import connection

from tests.servers import Door, Server, eventually
from tests.test_postgresql import manage, variables
from tests.valkey_server import ValkeyServer

pytestmark = [
    pytest.mark.skipif(connection.vendor != "postgresql", reason="PGHOST is not set"),
    pytest.mark.django_db(transaction=True),
]
STREAM = "/api/quotes/events/stream/"


class Follower(threading.Thread):
    """A client that comes again, after the last id, whenever its stream ends; `events` are (id, price)."""

    def __init__(self, port: Callable[[], int]) -> None:
        super().__init__(daemon=True)
        self._port = port
        self._enough = threading.Event()
        self._last = ""
        self.events: list[tuple[str, str]] = []
        self.resets = 0
        self.connections = 0
        self.clean_ends = 0

    def run(self) -> None:
        while not self._enough.is_set():
            with suppress(OSError, http.client.HTTPException):
                self._follow()
            self._enough.wait(0.1)

    def _follow(self) -> None:
        stream = http.client.HTTPConnection("127.0.0.1", self._port(), timeout=6)
        try:
            stream.request("GET", STREAM, headers={"Last-Event-ID": self._last} if self._last else {})
            answer = stream.getresponse()
            if answer.status != http.client.OK:
                answer.read()
                return
            self.connections += 1
            kind, data = "", ""
            while line := answer.readline().decode():
                name, _colon, value = line.rstrip("\n").partition(": ")
                if name == "id":
                    self._last = value
                elif name == "event":
                    kind = value
                elif name == "data":
                    data = value
                elif not line.strip():
                    if kind == "quote":
                        self.events.append((self._last, json.loads(data)["price"].partition(".")[0]))
                    self.resets += kind == "reset"
                    kind = ""
                if self._enough.is_set():
                    return
            self.clean_ends += 1
        finally:
            stream.close()

    def __enter__(self) -> Follower:
        self.start()
        eventually(lambda: self.connections > 0, "the stream begins")
        return self

    def __exit__(self, *exception: object) -> None:
        self._enough.set()
        self.join(timeout=20)


class Poster(threading.Thread):
    """Adds quotes with the prices 1, 2, 3 …, each until it was taken; `refused` are answers other than 201."""

    def __init__(self, port: Callable[[], int]) -> None:
        super().__init__(daemon=True)
        self._port = port
        self._enough = threading.Event()
        self.taken = 0
        self.refused: list[Any] = []

    def run(self) -> None:
        for price in itertools.count(1):
            moment = f"2026-01-05T{price // 3600:02}:{price // 60 % 60:02}:{price % 60:02}Z"
            body = json.dumps({"symbol": "ACME", "price": price, "quoted_at": moment})
            while not self._post(body):
                if self._enough.wait(0.05):
                    return
            self.taken = price
            if self._enough.wait(0.02):
                return

    def _post(self, body: str) -> bool:
        client = http.client.HTTPConnection("127.0.0.1", self._port(), timeout=10)
        try:
            client.request("POST", "/api/quotes/", body, {"Content-Type": "application/json"})
            answer = client.getresponse()
            text = answer.read().decode()
        except (OSError, http.client.HTTPException) as error:
            self.refused.append(repr(error))
            return False
        finally:
            client.close()
        if answer.status != http.client.CREATED:
            self.refused.append((answer.status, text))
        # One that was stored before its answer was lost is there.
        return answer.status in (http.client.CREATED, http.client.CONFLICT)

    def __enter__(self) -> Poster:
        self.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._enough.set()
        self.join(timeout=20)


def settings(valkey_server: ValkeyServer, directory: Path, *passwords: str, **changes: str) -> dict[str, str]:
    return variables(**valkey_server.variables(directory, *passwords), STREAM_HEARTBEAT="1", **changes)


@pytest.fixture
def server(tmp_path: Path, valkey_server: ValkeyServer) -> Iterator[Server]:
    with Server(tmp_path / "log", **settings(valkey_server, tmp_path)) as running:
        yield running


def check(follower: Follower, poster: Poster, what: str) -> None:
    """All that was taken came, once each; in the order of the ids."""
    expected = {str(price) for price in range(1, poster.taken + 1)}
    eventually(lambda: {price for _id, price in follower.events} >= expected, f"all quotes came after {what}", 30)
    time.sleep(0.5)
    prices = [price for _id, price in follower.events]
    assert len(prices) == len(set(prices)), f"doubled after {what}"
    ids = [tuple(map(int, event_id.split("-"))) for event_id, _price in follower.events]
    assert ids == sorted(set(ids))
    assert follower.resets == 0


def busy(poster: Poster, more: int = 15) -> None:
    enough = poster.taken + more
    eventually(lambda: poster.taken >= enough, "quotes are taken")


def test_streams_do_not_take_the_threads_of_requests(server: Server, valkey_server: ValkeyServer) -> None:
    """Three times as many streams as there are threads: requests are answered, and each stream has its events."""
    with ExitStack() as stack:
        followers = [stack.enter_context(Follower(lambda: server.port)) for _ in range(24)]
        began = time.monotonic()
        for price in (1, 2, 3):
            assert server.post({"symbol": "ACME", "price": price}).status == 201
        eventually(lambda: all(len(follower.events) == 3 for follower in followers), "all streams have all events")
        assert time.monotonic() - began < 5
        assert b"event_streams 24.0" in server.get("/metrics").body
        # More often than the heart beats: streams stay.
        time.sleep(2.5)
        assert {follower.connections for follower in followers} == {1}
    eventually(lambda: b"event_streams 0.0" in server.get("/metrics").body, "streams whose clients have gone end")


def test_a_quote_is_there_at_once(server: Server) -> None:
    with Follower(lambda: server.port) as follower:
        delays: list[float] = []
        for price in range(1, 11):
            began = time.monotonic()
            assert server.post({"symbol": "ACME", "price": price}).status == 201
            eventually(lambda: len(follower.events) == len(delays) + 1, "the event comes", 5)
            delays.append(time.monotonic() - began)
        assert sorted(delays)[5] < 0.5, delays


def test_the_end_of_the_server_ends_streams_soon_and_wholly(tmp_path: Path, valkey_server: ValkeyServer) -> None:
    with (
        Server(tmp_path / "log", **settings(valkey_server, tmp_path, DRAIN_SECONDS="2")) as server,
        Follower(lambda: server.port) as follower,
    ):
        began = time.monotonic()
        server.process.terminate()
        # While it drains it refuses new streams, so that clients find another server.
        eventually(lambda: follower.clean_ends == 1, "the stream ends with its last chunk", 10)
        assert server.get(STREAM).status == 503
        assert follower.connections == 1
        assert server.process.wait(timeout=20) == 0
        assert time.monotonic() - began < 10


@pytest.mark.parametrize("kill", [False, True], ids=["stopped", "killed"])
def test_restarts_of_valkey(server: Server, valkey_server: ValkeyServer, kill: bool) -> None:
    with Follower(lambda: server.port) as follower, Poster(lambda: server.port) as poster:
        for _ in range(2):
            busy(poster)
            valkey_server.restart(kill=kill, seconds_away=1.5)
        busy(poster)
        check(follower, poster, "restarts of Valkey")
        # The stream to the client stayed all the while.
        assert follower.connections == 1
        assert poster.refused == []


def test_a_restart_of_the_server(tmp_path: Path, valkey_server: ValkeyServer) -> None:
    with ExitStack() as stack:
        running = stack.enter_context(Server(tmp_path / "log-0", **settings(valkey_server, tmp_path)))
        current = [running]
        follower = stack.enter_context(Follower(lambda: current[0].port))
        poster = stack.enter_context(Poster(lambda: current[0].port))
        for number in (1, 2):
            busy(poster)
            new = stack.enter_context(Server(tmp_path / f"log-{number}", **settings(valkey_server, tmp_path)))
            old, current[0] = current[0], new
            if number == 1:
                old.process.terminate()
            else:
                old.process.kill()
        busy(poster)
        eventually(lambda: follower.connections == 3, "the stream goes on at each server")
        check(follower, poster, "restarts of the server")


def test_cut_connections(server: Server, valkey_server: ValkeyServer) -> None:
    with (
        Door("127.0.0.1", server.port) as door,
        Follower(lambda: door.port) as follower,
        Poster(lambda: server.port) as poster,
    ):
        for _ in range(4):
            busy(poster, 8)
            door.shut()
            busy(poster, 4)
            door.open()
        check(follower, poster, "cuts")
        assert follower.connections == 5


def test_a_new_password_costs_no_request(tmp_path: Path, valkey_server: ValkeyServer) -> None:
    """As where it is deployed: first the servers know the new one, then it is Valkey's."""
    new = settings(valkey_server, tmp_path, "second", "first")
    with ExitStack() as stack:
        before = stack.enter_context(Server(tmp_path / "log-0", **settings(valkey_server, tmp_path)))
        current = [before]
        follower = stack.enter_context(Follower(lambda: current[0].port))
        poster = stack.enter_context(Poster(lambda: current[0].port))
        busy(poster)
        current[0] = stack.enter_context(Server(tmp_path / "log-1", **new))
        busy(poster)
        before.process.terminate()
        assert before.process.wait(timeout=20) == 0
        done = manage("set_valkey_password", **new)
        assert done.stdout == "The password was changed from an earlier one.\n", done.stderr
        busy(poster)
        valkey_server.restart()
        busy(poster)
        check(follower, poster, "another password")
        assert poster.refused == []
        log = (tmp_path / "log-1").read_text()
        assert "second" not in log
        assert "first" not in log
