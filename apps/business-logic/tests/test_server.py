"""The real server, without a database: start, errors below the application, logs, and the orderly end."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from http.client import HTTPException
from pathlib import Path
from types import SimpleNamespace

import pytest

from business_logic.worker import Worker
from tests.servers import PROJECT, Server, environment, eventually, read_answer

INVALID = b'{"symbol": "A"}'


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with Server(tmp_path_factory.mktemp("server") / "log", CLIENT_TIMEOUT="1") as running:
        yield running


def post_head(length: int | None = None) -> bytes:
    framing = "Transfer-Encoding: chunked" if length is None else f"Content-Length: {length}"
    head = f"POST /api/quotes/ HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n{framing}\r\n\r\n"
    return head.encode()


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(data), data)


@pytest.mark.parametrize("command", [["-m", "gunicorn"], ["manage.py", "migrate"]])
def test_wrong_settings_are_named_and_end_the_start(command: list[str]) -> None:
    variables = environment(PORT="http", PGUSER="", SECRET_KEY_FILE="/nowhere/key")
    result = subprocess.run(
        [sys.executable, *command], cwd=PROJECT, env=variables, capture_output=True, text=True, check=False
    )
    assert result.returncode == 1
    assert result.stderr == (
        "business-logic can't start:\n"
        '  - SECRET_KEY_FILE: can\'t read "/nowhere/key": No such file or directory\n'
        "  - PGUSER: not set (or give all of the database in DATABASE_URL)\n"
        '  - PORT: is "http", expected a whole number from 1 to 65535\n'
    )


def test_lives_and_says_why_it_is_not_ready(server: Server) -> None:
    assert server.get("/livez").status == 200
    answer = server.get("/readyz")
    assert answer.status == 503
    assert "port 1 failed: Connection refused" in answer.json["checks"]["database"]
    answer = server.get("/api/quotes/")
    assert (answer.status, answer.headers["Retry-After"]) == (503, "2")
    assert b"database_up 0.0" in server.get("/metrics").body


@pytest.mark.parametrize(
    ("request_bytes", "status"),
    [
        (b"NONSENSE\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: a\r\nBroken header\r\n\r\n", 400),
        (b"GET /" + b"x" * 5000 + b" HTTP/1.1\r\n\r\n", 414),
        (b"GET / HTTP/1.1\r\nX-Large: " + b"x" * 9000 + b"\r\n\r\n", 431),
        (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n", 400),
    ],
)
def test_what_is_no_request_gets_a_problem_too(server: Server, request_bytes: bytes, status: int) -> None:
    answer = server.send(request_bytes)
    assert answer.status == status
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert answer.json["status"] == status
    assert answer.json["request_id"] == answer.headers["X-Request-Id"]
    assert answer.json["request_id"] in server.log.read_text()


class TestBodies:
    def test_empty(self, server: Server) -> None:
        answer = server.post(b"")
        assert (answer.status, answer.json["detail"]) == (400, "The body is empty.")

    def test_in_chunks(self, server: Server) -> None:
        answer = server.send(post_head(), chunk(INVALID[:5]), chunk(INVALID[5:]) + b"0\r\n\r\n", pause=0.05)
        assert (answer.status, list(answer.json["errors"])) == (422, ["price"])

    def test_in_chunks_without_end(self, server: Server) -> None:
        assert server.send(post_head(), chunk(b" " * 17000)).status == 413

    def test_in_broken_chunks(self, server: Server) -> None:
        answer = server.send(post_head(), b"zz\r\n")
        assert (answer.status, answer.headers["Content-Type"]) == (400, "application/problem+json")

    def test_too_large_is_refused_before_it_is_sent(self, server: Server) -> None:
        answer = server.send(post_head(10**12))
        assert (answer.status, answer.json["type"]) == (413, "about:blank")

    def test_that_does_not_come(self, server: Server) -> None:
        start = time.monotonic()
        assert server.send(post_head(100), b"{").status == 408
        assert time.monotonic() - start < 8  # the default would be 10

    def test_that_is_cut_off(self, server: Server) -> None:
        with server.connect() as connection:
            connection.sendall(post_head(100) + b"{")
        assert server.get("/livez").status == 200


def test_connection_is_kept_after_errors_and_head(server: Server) -> None:
    with server.connect() as connection:
        for request, status in (
            (b"HEAD /api/openapi.json HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n", 200),
            (post_head(1) + b"{", 400),
            (b"OPTIONS /livez HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n", 204),
            (b"GET /livez HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n", 200),
        ):
            connection.sendall(request)
            if request.startswith(b"HEAD"):
                head = connection.recv(65536)
                assert head.startswith(b"HTTP/1.1 200 OK\r\n")
                assert head.endswith(b"\r\n\r\n")
                continue
            answer = read_answer(connection)
            assert (answer.status, answer.headers["Connection"]) == (status, "keep-alive")


def test_slow_clients_do_not_keep_threads(server: Server) -> None:
    """More half requests than there are threads: the ninth client still gets its answer."""
    connections = [server.connect() for _ in range(20)]
    for connection in connections:
        connection.sendall(b"GET /livez HTTP/1.1\r\nHost")
    start = time.monotonic()
    assert server.get("/livez").status == 200
    assert time.monotonic() - start < 10
    for connection in connections:
        connection.close()


def test_each_request_has_one_line_of_json(server: Server) -> None:
    ids = [f"test-{number}" for number in range(20)]
    paths = ["/livez", "/readyz", "/api/quotes/", "/nothing", "/metrics"] * 4
    for request_id, path in zip(ids, paths, strict=True):
        assert server.get(path, X_Request_Id=request_id).headers["X-Request-Id"] == request_id
    lines = [line for line in server.lines() if str(line["request_id"]).startswith("test-")]
    assert [(line["request_id"], line["path"]) for line in lines] == list(zip(ids, paths, strict=True))


class TestEnd:
    """SIGTERM: what was begun is finished, what comes meanwhile is served, and then the process ends."""

    @pytest.fixture
    def server(self, tmp_path: Path) -> Iterator[Server]:
        with Server(tmp_path / "log", DRAIN_SECONDS="3") as running:
            yield running

    def test_no_request_is_lost(self, tmp_path: Path) -> None:
        # Long enough for a busy computer to do all that happens meanwhile.
        with Server(tmp_path / "log", DRAIN_SECONDS="6", CLIENT_TIMEOUT="30") as server:
            self._stop_under_requests(server, 6)

    def _stop_under_requests(self, server: Server, drain: float) -> None:
        kept = server.connect()
        kept.sendall(b"GET /livez HTTP/1.1\r\nHost: a\r\n\r\n")
        assert read_answer(kept).headers["Connection"] == "keep-alive"
        begun = server.connect()
        begun.sendall(post_head(len(INVALID)) + INVALID[:5])

        statuses: list[int] = []
        failures: list[str] = []
        told_to_leave = threading.Event()
        arguments = (server, statuses, failures, told_to_leave)
        threads = [threading.Thread(target=self._request_until, args=arguments) for _ in range(4)]
        for thread in threads:
            thread.start()
        eventually(lambda: len(statuses) > 20 or bool(failures), "requests are answered")
        start = time.monotonic()
        server.process.terminate()
        eventually(lambda: server.get("/readyz").json["checks"]["server"] == "is shutting down", "the server drains")
        draining = len(statuses)
        eventually(lambda: len(statuses) > draining or bool(failures), "requests are answered while the server drains")
        kept.sendall(b"GET /livez HTTP/1.1\r\nHost: a\r\n\r\n")
        answer = read_answer(kept)
        assert (answer.status, answer.headers["Connection"]) == (200, "close")
        told_to_leave.set()
        for thread in threads:
            thread.join(timeout=20)
        time.sleep(max(start + drain + 0.5 - time.monotonic(), 0))
        begun.sendall(INVALID[5:])
        assert read_answer(begun).status == 422
        kept.close()
        begun.close()

        assert server.process.wait(timeout=20) == 0
        assert failures == []
        assert set(statuses) == {200}

    @staticmethod
    def _request_until(
        server: Server, statuses: list[int], failures: list[str], told_to_leave: threading.Event
    ) -> None:
        """Send requests as a load balancer does, until it has learned that the server is going."""
        while not told_to_leave.is_set():
            try:
                statuses.append(server.get("/livez").status)
            except (OSError, HTTPException) as error:
                failures.append(repr(error))
                return

    def test_connections_that_wait_to_be_accepted_are_taken(self, monkeypatch: pytest.MonkeyPatch) -> None:
        accepted = []
        worker = Worker.__new__(Worker)
        worker.cfg = SimpleNamespace(backlog=2048)
        monkeypatch.setattr(worker, "accept", lambda listener: accepted.append(listener.accept()[0]))
        with socket.create_server(("127.0.0.1", 0)) as listener, ExitStack() as clients:
            worker.sockets = [listener]
            for _ in range(3):
                clients.enter_context(socket.create_connection(listener.getsockname())).sendall(b"GET")
            worker._accept_the_last()
        assert [connection.recv(3) for connection in accepted] == [b"GET"] * 3
        for connection in accepted:
            connection.close()

    def test_is_soon_without_requests(self, server: Server) -> None:
        start = time.monotonic()
        server.process.terminate()
        assert server.process.wait(timeout=20) == 0
        assert time.monotonic() - start >= 3

    def test_can_be_cut_short(self, tmp_path: Path) -> None:
        with Server(tmp_path / "log", DRAIN_SECONDS="60", GRACEFUL_TIMEOUT="90") as server:
            server.process.send_signal(signal.SIGINT)
            server.process.wait(timeout=30)

    def test_can_be_cut_short_while_a_request_is_handed_to_a_thread(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """gunicorn's own handler of the signal waits for a lock that the thread it interrupted holds."""
        ended = threading.Event()
        monkeypatch.setattr("os._exit", lambda _: ended.set())
        worker = Worker.__new__(Worker)
        worker.cfg = SimpleNamespace(worker_int=lambda _: None)
        worker.tpool = ThreadPoolExecutor()
        with worker.tpool._shutdown_lock:
            threading.Thread(target=worker.handle_quit, args=(signal.SIGQUIT, None), daemon=True).start()
            assert ended.wait(timeout=10)


def test_length_and_content_of_a_large_answer(server: Server) -> None:
    answer = server.get("/api/openapi.json")
    assert json.loads(answer.body)["openapi"] == "3.1.0"
    assert int(answer.headers["Content-Length"]) == len(answer.body) > 8192
