# Copyright: cicd.sandbox contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What OpenTelemetry costs the API: latencies with the SDK, as ratios to those without.

    make -C apps/business-logic environment
    apps/business-logic/.venv/bin/python benchmarks/telemetry.py

Three servers stand side by side, each on an SQLite file of its own: without the SDK; with it and a collector that takes
all spans; with it and a collector that takes connections and never answers. One client asks them in turns, so that what
else the machine does hits all alike. SQLite answers faster than a server over a network would: the ratios are an upper
limit.
"""

from __future__ import annotations

import argparse
import http.client
import os
import socket
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import ExitStack, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from latencies import table

APPLICATION = Path(__file__).resolve().parent.parent / "apps/business-logic"
PATH = "/api/quotes/?limit=20"


class Sink(BaseHTTPRequestHandler):
    """Takes spans and forgets them."""

    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        """Answer as a collector does."""
        self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_arguments: object) -> None:
        """Say nothing."""


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


class Api:
    """A server with the demonstration quotes; `request` gives the seconds until its answer is read."""

    def __init__(self, directory: Path, **variables: str) -> None:
        port = free_port()
        environment = {
            "PATH": os.environ["PATH"],
            "SECRET_KEY": "only-for-this-benchmark-and-never-in-use",
            "ALLOWED_HOSTS": "127.0.0.1",
            "DATABASE_URL": f"sqlite:///{directory}/db.sqlite3",
            "DRAIN_SECONDS": "0",
            "PORT": str(port),
            **variables,
        }
        for words in (["migrate", "--verbosity=0"], ["seed_quotes"]):
            line = [sys.executable, "manage.py", *words]
            subprocess.run(line, cwd=APPLICATION, env=environment, check=True, stdout=subprocess.DEVNULL)
        line = [sys.executable, "-m", "gunicorn"]
        self.process = subprocess.Popen(line, cwd=APPLICATION, env=environment, stdout=subprocess.DEVNULL)
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)

    def request(self) -> float:
        """Ask once, on a connection that is kept."""
        begun = time.perf_counter()
        self._connection.request("GET", PATH)
        answer = self._connection.getresponse()
        answer.read()
        if answer.status != http.HTTPStatus.OK:
            message = f"{PATH} was answered with {answer.status}"
            raise RuntimeError(message)
        return time.perf_counter() - begun

    def wait(self) -> None:
        """Wait until it answers."""
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            with suppress(OSError, http.client.HTTPException):
                self.request()
                return
            self._connection.close()
            time.sleep(0.1)
        message = "the server did not answer within 60 s"
        raise RuntimeError(message)

    def stop(self) -> None:
        """End it."""
        self._connection.close()
        self.process.terminate()
        self.process.wait(30)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--requests", type=int, default=3000, help="of each server")
    requests = parser.parse_args().requests
    with ExitStack() as stack:
        sink = stack.enter_context(ThreadingHTTPServer(("127.0.0.1", 0), Sink))
        threading.Thread(target=sink.serve_forever, daemon=True).start()
        stack.callback(sink.shutdown)
        silent = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        endpoints = {
            "without the SDK": "",
            "with it": f"http://127.0.0.1:{sink.server_port}",
            "collector silent": f"http://127.0.0.1:{silent.getsockname()[1]}",
        }
        apis = {}
        for name, endpoint in endpoints.items():
            directory = Path(stack.enter_context(tempfile.TemporaryDirectory()))
            apis[name] = Api(directory, OTEL_EXPORTER_OTLP_ENDPOINT=endpoint)
            stack.callback(apis[name].stop)
        times: dict[str, list[float]] = {name: [] for name in apis}
        for api in apis.values():
            api.wait()
            for _ in range(100):
                api.request()
        for _ in range(requests):
            for name, api in apis.items():
                times[name].append(api.request())
    print(f"{requests} requests of each, GET {PATH}", *table(times), sep="\n")


if __name__ == "__main__":
    main()
