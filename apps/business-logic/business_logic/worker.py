"""gunicorn's threaded worker, with an orderly end and errors in the service's own format."""

from __future__ import annotations

import json
import os
import select
import socket
import struct
import time
from types import FrameType
from typing import Any

from django.conf import settings
from gunicorn import util
from gunicorn.workers.gthread import ThreadWorker

from business_logic import health, logs
from business_logic.middleware import choose_request_id


def write_problem(sock: socket.socket, status: int, reason: str, message: str) -> None:
    """Answer what never became a request, such as an invalid request line; gunicorn's own answer is HTML."""
    content = json.dumps(
        {
            "type": "about:blank",
            "title": reason,
            "status": status,
            "detail": message or "Something went wrong here.",
            "request_id": logs.request_id.get(),
        }
    )
    head = (
        f"HTTP/1.1 {status} {reason}\r\nConnection: close\r\nContent-Type: application/problem+json\r\n"
        f"Content-Length: {len(content)}\r\nX-Request-Id: {logs.request_id.get()}\r\n\r\n"
    )
    util.write_nonblock(sock, (head + content).encode("ascii"))


class Worker(ThreadWorker):
    """Told to stop, it serves on for DRAIN_SECONDS.

    Meanwhile load balancers learn that the pod is going: readiness fails, and every answer closes its connection.
    Then it takes what still waits to be accepted, closes the listener, and ends when the last answer is out.

    A client may take CLIENT_TIMEOUT seconds between two parts of its request, or to take the next part of the answer.
    """

    alive: bool
    _stop_at: float | None = None

    @classmethod
    def setup(cls) -> None:
        util.write_error = write_problem

    def load_wsgi(self) -> None:
        super().load_wsgi()  # sets Django up
        limit = struct.pack("ll", settings.CLIENT_TIMEOUT, 0)
        for listener in self.sockets:  # accepted connections inherit it
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, limit)
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, limit)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        if self._stop_at is None:
            self._stop_at = time.monotonic() + settings.DRAIN_SECONDS
            health.draining.set()
            self.method_queue.defer(lambda: None)  # wakes the main loop

    def handle_quit(self, sig: int, frame: FrameType | None) -> None:
        # ThreadWorker's own shuts its thread pool down and raises SystemExit. Where the signal comes while this thread
        # hands a request to the pool, it waits for a lock of its own, or leaves a thread behind that nobody wakes:
        # the process would hang until it is killed. At once means at once.
        self.cfg.worker_int(self)
        os._exit(0)

    def wait_for_and_dispatch_events(self, timeout: float) -> None:
        if self.alive and self._stop_at is not None:
            timeout = min(timeout, max(self._stop_at - time.monotonic(), 0))
        super().wait_for_and_dispatch_events(timeout)
        if self._stop_at is not None and time.monotonic() >= self._stop_at:
            self.alive = False

    def set_accept_enabled(self, enabled: bool) -> None:
        super().set_accept_enabled(enabled)
        if not self.alive:
            self._accept_the_last()

    def _accept_the_last(self) -> None:
        """Without this, closing the listener would reset connections the kernel has taken already.

        One that comes between the last look and the closing is reset still; nobody should send any, DRAIN_SECONDS
        after readiness failed.
        """
        for listener in self.sockets:
            waiting = select.poll()
            waiting.register(listener, select.POLLIN)
            for _ in range(self.cfg.backlog):
                if not waiting.poll(0):
                    break
                self.accept(listener)
            listener.close()

    def handle_request(self, req: Any, conn: Any) -> bool:
        if self._stop_at is not None:
            req.force_close()
        return bool(super().handle_request(req, conn))

    def handle_error(self, req: Any, client: socket.socket, addr: Any, exc: BaseException) -> None:
        token = logs.request_id.set(choose_request_id(None))
        try:
            super().handle_error(req, client, addr, exc)
        finally:
            logs.request_id.reset(token)
