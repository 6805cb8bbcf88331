# Copyright: cicd.sandbox contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""One HTTP request, bounded in time and size, and in the user's words why there was no answer.

``localhost`` and every name below it are this machine (RFC 6761, section 6.3), which not every resolver knows. Proxies
are not used: what is tested is the server. Safe to use from several threads.
"""

from __future__ import annotations

import contextlib
import dataclasses
import http.client
import socket
import ssl
import threading
import time
import urllib.parse
from collections.abc import Iterator, Mapping

BODY_LIMIT = 4 * 1024 * 1024
_REDIRECTS = 5
_REDIRECT_STATUSES = frozenset({301, 302, 303, 307, 308})


# The first that fits.
_WORDS: tuple[tuple[type[Exception], str], ...] = (
    (ConnectionRefusedError, "connection refused, nothing listens there"),
    (ConnectionResetError, "the server closed the connection without an answer"),
    (http.client.BadStatusLine, "the answer is not HTTP"),
)


class HttpError(Exception):
    """Why there was no answer."""


@dataclasses.dataclass(frozen=True)
class Request:
    """A request. ``tls`` is the context for https; headers of the user's stand above those made here."""

    url: str
    method: str = "GET"
    headers: Mapping[str, str] = dataclasses.field(default_factory=dict)
    body: bytes | None = None
    tls: ssl.SSLContext | None = None
    follow_redirects: bool = False


@dataclasses.dataclass(frozen=True)
class Response:
    """An answer. Header names are in lower case; ``truncated`` when the body is longer than BODY_LIMIT bytes."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    truncated: bool
    elapsed: float  # seconds from the connection's begin to the body's end

    @property
    def text(self) -> str:
        """The body as text."""
        charset = "utf-8"
        for parameter in self.headers.get("content-type", "").split(";")[1:]:
            key, _, value = parameter.strip().partition("=")
            if key.lower() == "charset":
                charset = value.strip('"')
        try:
            return self.body.decode(charset, errors="replace")
        except LookupError:
            return self.body.decode(errors="replace")


def is_loopback_name(host: str) -> bool:
    """Tell whether a name means this machine, whatever a resolver says."""
    name = host.lower().removesuffix(".")
    return name == "localhost" or name.endswith(".localhost")


def send(request: Request, limit: float) -> Response:
    """Send a request; the answer is complete within ``limit`` seconds, or HttpError says why not."""
    begin = time.monotonic()
    for _hop in range(_REDIRECTS + 1):
        response = _exchange(request, begin, limit)
        location = response.headers.get("location")
        moved = response.status in _REDIRECT_STATUSES and location
        if not (request.follow_redirects and moved and request.method in {"GET", "HEAD"}):
            return response
        request = _redirected(request, str(location))
    raise HttpError(f"more than {_REDIRECTS} redirects, the last to {request.url}")


def _redirected(request: Request, location: str) -> Request:
    url = urllib.parse.urljoin(request.url, location)
    parts = urllib.parse.urlsplit(url)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise HttpError(f"redirected to {location!r}, which is not an address of http or https")
    headers = dict(request.headers)
    if parts[:2] != urllib.parse.urlsplit(request.url)[:2]:
        # Another server: neither the secrets nor the virtual host are for it.
        headers = {
            key: value for key, value in headers.items() if key.lower() not in {"authorization", "cookie", "host"}
        }
    return dataclasses.replace(request, url=url, headers=headers)


def _exchange(request: Request, begin: float, limit: float) -> Response:
    parts = urllib.parse.urlsplit(request.url)
    host = str(parts.hostname)
    port = parts.port or (443 if parts.scheme == "https" else 80)
    where = f"{host}:{port}"
    remaining = begin + limit - time.monotonic()
    if remaining <= 0:
        raise HttpError(f"no answer within {limit:g} s")
    connection = _connect(host, port, remaining)
    with contextlib.closing(connection), _cut_off(connection, remaining) as expired:
        try:
            if parts.scheme == "https":
                context = request.tls or ssl.create_default_context()
                connection = context.wrap_socket(connection, server_hostname=host)
            with contextlib.closing(connection):
                response = _talk(connection, request, parts, begin)
            # A body without a length ends where the connection does, also when it was cut off here.
            if expired.is_set():
                raise TimeoutError
            return response
        except (OSError, http.client.HTTPException, ValueError) as exc:
            if expired.is_set() or isinstance(exc, TimeoutError):
                raise HttpError(f"{where}: connected, but the answer was not complete within {limit:g} s") from None
            raise HttpError(f"{where}: {_words(exc)}") from None


@contextlib.contextmanager
def _cut_off(connection: socket.socket, seconds: float) -> Iterator[threading.Event]:
    """End a connection after some seconds, also one that sends a byte now and then. Yield what tells that it did."""
    expired = threading.Event()
    descriptor = connection.dup()

    def cut() -> None:
        expired.set()
        with contextlib.suppress(OSError):
            descriptor.shutdown(socket.SHUT_RDWR)

    timer = threading.Timer(seconds, cut)
    timer.daemon = True
    timer.start()
    try:
        yield expired
    finally:
        timer.cancel()
        timer.join()
        descriptor.close()


def _talk(connection: socket.socket, request: Request, parts: urllib.parse.SplitResult, begin: float) -> Response:
    http_connection = http.client.HTTPConnection(str(parts.hostname))
    http_connection.sock = connection
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    headers = {"Host": parts.netloc, "User-Agent": "cicd.sandbox", "Accept": "*/*", "Accept-Encoding": "identity"}
    headers |= {"Connection": "close"}
    given = {key.lower() for key in request.headers}
    headers = {key: value for key, value in headers.items() if key.lower() not in given} | dict(request.headers)
    http_connection.request(request.method, target, body=request.body, headers=headers)
    with http_connection.getresponse() as response:
        body = response.read(BODY_LIMIT + 1)
    answered: dict[str, str] = {}
    for key, value in response.getheaders():
        name = key.lower()
        answered[name] = f"{answered[name]}, {value}" if name in answered else value
    truncated = len(body) > BODY_LIMIT
    announced = response.getheader("content-length") or ""
    if request.method != "HEAD" and announced.isdigit() and len(body) < int(announced) and not truncated:
        raise http.client.IncompleteRead(body, int(announced) - len(body))
    return Response(response.status, answered, body[:BODY_LIMIT], truncated, time.monotonic() - begin)


def _connect(host: str, port: int, timeout: float) -> socket.socket:
    addresses = ["127.0.0.1", "::1"] if is_loopback_name(host) else [host]
    last = OSError("no address")
    for address in addresses:
        try:
            return socket.create_connection((address, port), timeout)
        except OSError as exc:
            last = exc
    if isinstance(last, socket.gaierror):
        raise HttpError(f"the name {host} can't be resolved: {last.strerror}")
    if isinstance(last, TimeoutError):
        raise HttpError(f"{host}:{port}: no connection within {timeout:.3g} s")
    raise HttpError(f"{host}:{port}: {_words(last)}")


def _words(exc: Exception) -> str:
    """Return an error in words that say what to look at."""
    if isinstance(exc, ssl.SSLCertVerificationError):
        return f"the certificate is not trusted: {exc.verify_message}"
    if isinstance(exc, ssl.SSLError):
        reason = str(exc.reason or exc).replace("_", " ").lower()
        hint = " (does the server speak TLS on this port?)" if "wrong version" in reason else ""
        return f"TLS failed: {reason}{hint}"
    if isinstance(exc, http.client.IncompleteRead):
        return f"the answer broke off after {len(exc.partial)} bytes"
    for kind, words in _WORDS:
        if isinstance(exc, kind):
            return words
    return str(getattr(exc, "strerror", None) or exc or type(exc).__name__)
