"""gunicorn's threaded worker, with an orderly end and errors in the service's own format."""

from __future__ import annotations

import json
import os
import select
import socket
import struct
import threading
import time
from concurrent.futures import Future
from types import FrameType
from typing import Any

from django.conf import settings
from django.utils.module_loading import import_string
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


# What `handle` gives for a connection that a thread of its own goes on with.
_HANDED_OVER = object()


class Worker(ThreadWorker):
    """Told to stop, it serves on for DRAIN_SECONDS.

    Meanwhile load balancers learn that the pod is going: readiness fails, and every answer closes its connection.
    Then it takes what still waits to be accepted, closes the listener, and ends when the last answer is out.

    A client may take CLIENT_TIMEOUT seconds between two parts of its request, or to take the next part of the answer.

    Answers at STREAM_PATH don't end. Each gets a thread of its own, so that those of the pool stay free for requests.
    """

    alive: bool
    _stop_at: float | None = None

    @classmethod
    def setup(cls) -> None:
        util.write_error = write_problem

    def load_wsgi(self) -> None:
        super().load_wsgi()  # sets Django up
        import_string("quotes.relay.start")()  # needs Django's models
        limit = struct.pack("ll", settings.CLIENT_TIMEOUT, 0)
        for listener in self.sockets:  # accepted connections inherit it
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, limit)
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, limit)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        if self._stop_at is None:
            self._stop_at = time.monotonic() + settings.DRAIN_SECONDS
            health.draining.set()
            self.method_queue.defer(lambda: None)  # wakes the main loop

    def is_parent_alive(self) -> bool:
        alive = bool(super().is_parent_alive())
        if not alive:
            # What goes on must not hold a worker that nobody can tell to stop any more.
            health.draining.set()
        return alive

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

    def handle_request(self, req: Any, conn: Any) -> Any:
        if self._stop_at is not None:
            req.force_close()
        if req.path == settings.STREAM_PATH:
            req.force_close()
            threading.Thread(target=self._handle_stream, args=(req, conn), name="stream", daemon=True).start()
            return _HANDED_OVER
        return super().handle_request(req, conn)

    def _handle_stream(self, req: Any, conn: Any) -> None:
        try:
            super().handle_request(req, conn)
        except (OSError, StopIteration):
            pass  # The client has gone, or takes nothing any more.
        except Exception as error:
            self.handle_error(req, conn.sock, conn.client, error)
        finally:
            ended: Future[bool] = Future()
            ended.set_result(False)
            self.method_queue.defer(self.finish_request, conn, ended)

    def _keepalive_after(self, conn: Any, keepalive: Any) -> Any:
        return keepalive if keepalive is _HANDED_OVER else super()._keepalive_after(conn, keepalive)

    def finish_request(self, conn: Any, fs: Future[Any]) -> None:
        if not fs.cancelled() and fs.exception() is None and fs.result() is _HANDED_OVER:
            return  # The thread that has it comes back here with another.
        super().finish_request(conn, fs)

    def handle_error(self, req: Any, client: socket.socket, addr: Any, exc: BaseException) -> None:
        token = logs.request_id.set(choose_request_id(None))
        try:
            super().handle_error(req, client, addr, exc)
        finally:
            logs.request_id.reset(token)
