"""The real server as a child process, and a door before the database that can be shut."""

from __future__ import annotations

import http.client
import json
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Self

PROJECT = Path(__file__).resolve().parent.parent
CLOSED_PORT = "1"  # nothing listens on it


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def eventually(condition: Callable[[], bool], what: str, seconds: float = 60) -> None:
    """Wait until a condition holds; fail with `what` where it does not come."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"not within {seconds:g} s: {what}"
        time.sleep(0.05)


@dataclass
class Answer:
    status: int
    headers: http.client.HTTPMessage
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


def environment(**changes: str) -> dict[str, str]:
    """Variables for a server whose database is not there."""
    return {
        "PATH": os.environ["PATH"],
        "SECRET_KEY": "only-for-tests-and-never-in-real-use",
        "ALLOWED_HOSTS": "127.0.0.1",
        "PGHOST": "127.0.0.1",
        "PGPORT": CLOSED_PORT,
        "PGUSER": "quotes",
        "PGDATABASE": "quotes",
        "DRAIN_SECONDS": "0",
        **changes,
    }


class Server:
    """gunicorn with the service, as in the image."""

    def __init__(self, log: Path, **variables: str) -> None:
        self.port = free_port()
        self.log = log
        with log.open("wb") as file:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "gunicorn"],
                cwd=PROJECT,
                env=environment(PORT=str(self.port), **variables),
                stdout=file,
                stderr=subprocess.STDOUT,
            )

    def __enter__(self) -> Self:
        try:
            eventually(self._answers, "the server answers")
        except AssertionError as error:
            self.__exit__()
            raise AssertionError(f"{error}; its log:\n{self.log.read_text()}") from error
        return self

    def __exit__(self, *exception: object) -> None:
        if self.process.poll() is None:
            self.process.terminate()
        try:
            self.process.wait(timeout=30)
        finally:
            self.process.kill()

    def _answers(self) -> bool:
        with suppress(OSError):
            return self.get("/livez").status == 200
        return False

    def connect(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), timeout=15)

    def request(self, method: str, path: str, body: bytes | None = None, timeout: float = 15, **headers: str) -> Answer:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout)
        try:
            connection.request(method, path, body, {name.replace("_", "-"): value for name, value in headers.items()})
            response = connection.getresponse()
            return Answer(response.status, response.headers, response.read())
        finally:
            connection.close()

    def get(self, path: str, **arguments: Any) -> Answer:
        return self.request("GET", path, **arguments)

    def post(self, document: Any, **arguments: Any) -> Answer:
        body = document if isinstance(document, bytes) else json.dumps(document).encode()
        return self.request("POST", "/api/quotes/", body, Content_Type="application/json", **arguments)

    def send(self, *parts: bytes, pause: float = 0) -> Answer:
        """Send bytes as they are, read one answer."""
        with self.connect() as connection:
            for part in parts:
                connection.sendall(part)
                time.sleep(pause)
            return read_answer(connection)

    def lines(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.log.read_text().splitlines()]


def read_answer(connection: socket.socket) -> Answer:
    response = http.client.HTTPResponse(connection)
    response.begin()
    return Answer(response.status, response.headers, response.read())


class Door:
    """A TCP forwarder to the database: open, shut (refuses and cuts), or silent (takes and never answers)."""

    def __init__(self, host: str, port: int) -> None:
        self.target = (host, port)
        self.port = free_port()
        self.state: Literal["open", "shut", "silent"] = "shut"
        self._listener: socket.socket | None = None
        self._ends: list[socket.socket] = []

    def __enter__(self) -> Self:
        self.open()
        return self

    def __exit__(self, *exception: object) -> None:
        self.shut()

    def _listen(self) -> None:
        if self._listener is None:
            self._listener = socket.create_server(("127.0.0.1", self.port))
            threading.Thread(target=self._accept, args=(self._listener,), daemon=True).start()

    def open(self) -> None:
        self.state = "open"
        self._listen()

    def silence(self) -> None:
        self.shut()
        self.state = "silent"
        self._listen()

    def shut(self) -> None:
        self.state = "shut"
        if self._listener is not None:
            # Closing alone would leave the thread in accept(), and with it the port.
            self._listener.shutdown(socket.SHUT_RDWR)
            self._listener.close()
            self._listener = None
        for end in self._ends:
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()
        self._ends.clear()

    def _accept(self, listener: socket.socket) -> None:
        with suppress(OSError):
            while True:
                client, _ = listener.accept()
                self._ends.append(client)
                if self.state == "open":
                    server = socket.create_connection(self.target)
                    self._ends.append(server)
                    for source, target in ((client, server), (server, client)):
                        threading.Thread(target=self._copy, args=(source, target), daemon=True).start()

    @staticmethod
    def _copy(source: socket.socket, target: socket.socket) -> None:
        with suppress(OSError):
            while data := source.recv(65536):
                target.sendall(data)
        for end in (source, target):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
