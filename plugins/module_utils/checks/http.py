# Copyright: cicd.sandbox contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""One HTTP request as curl sends it, bounded in time and size, and in the user's words why there was no answer.

``localhost`` and every name below it are this machine (RFC 6761, section 6.3), which not every resolver knows. Proxies
are not used: what is tested is the server. Safe to use from several threads.
"""

from __future__ import annotations

import base64
import contextlib
import dataclasses
import http.client
import io
import ipaddress
import re
import socket
import ssl
import string
import time
import urllib.parse
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from ansible_collections.cicd.sandbox.plugins.module_utils.host.bounded import within

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

BODY_LIMIT = 4 * 1024 * 1024
# Of everything that one answer has, in whatever small chunks it comes.
_RECEIVED_LIMIT = 16 * BODY_LIMIT
_INTERIM_LIMIT = 20
_REDIRECTS = 5
_REDIRECT_STATUSES = frozenset({301, 302, 303, 307, 308})
SECRET_HEADERS = re.compile(r"authorization|cookie|token|secret|password|api-?key", re.IGNORECASE)


# The first that fits.
_WORDS: tuple[tuple[type[Exception], str], ...] = (
    (ConnectionRefusedError, "connection refused, nothing listens there"),
    (http.client.RemoteDisconnected, "the server closed the connection without an answer"),
    (ConnectionResetError, "the server reset the connection"),
    (BrokenPipeError, "the server closed the connection"),
    (http.client.UnknownProtocol, "the answer is of a version of HTTP that was not asked for"),
    (http.client.BadStatusLine, "the answer is not HTTP"),
)


class HttpError(Exception):
    """Why there was no answer. ``final`` when asking again can't help."""

    def __init__(self, message: str, *, final: bool = False) -> None:
        super().__init__(message)
        self.final = final


@dataclasses.dataclass(frozen=True)
class Request:
    """A request. ``tls`` is the context for https; headers of the user's stand above those made here.

    ``server_name`` is whom the server has to prove to be, where that is not the address's host.
    """

    url: str
    method: str = "GET"
    headers: Mapping[str, str] = dataclasses.field(default_factory=dict)
    body: bytes | None = None
    tls: ssl.SSLContext | None = None
    follow_redirects: bool = False
    server_name: str = ""


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
        """The body as text, as UTF-8 where its charset is none that Python knows."""
        charset = "utf-8"
        for parameter in self.headers.get("content-type", "").split(";")[1:]:
            key, _, value = parameter.strip().partition("=")
            if key.lower() == "charset":
                charset = value.strip('"')
        try:
            return self.body.decode(charset, errors="replace")
        except (LookupError, ValueError):
            # Python's names of encodings have some that are none of text, or take no replacement: idna, undefined.
            return self.body.decode(errors="replace")


@dataclasses.dataclass(frozen=True)
class Address:
    """An address, taken apart. ``host`` as sockets and certificates have it: ASCII, an IPv6 one without brackets."""

    scheme: str
    host: str
    port: int
    authority: str  # as in the header Host
    target: str  # as in the request's first line
    user: str = ""  # user:password

    @property
    def where(self) -> str:
        """Host and port, for a person."""
        return f"{self.host}:{self.port}"

    @property
    def origin(self) -> tuple[str, str, int]:
        """What makes it another server."""
        return self.scheme, self.host, self.port

    @property
    def name(self) -> str:
        """What the server's certificate has to be for."""
        return self.host.partition("%")[0].removesuffix(".")


def is_loopback_name(host: str) -> bool:
    """Tell whether a name means this machine, whatever a resolver says."""
    name = host.lower().removesuffix(".")
    return name == "localhost" or name.endswith(".localhost")


def read_address(url: str) -> Address:
    """Take an address apart. ValueError says what is wrong with it, as in ``is not an address of http or https``."""
    try:
        parts = urllib.parse.urlsplit(url)
        port, hostname = parts.port, parts.hostname
    except ValueError as exc:
        raise ValueError(f"is not an address: {exc}") from None
    if parts.scheme not in {"http", "https"} or not hostname or port == 0:
        raise ValueError("is not an address of http or https")
    try:
        host = _host(hostname)
    except ValueError:
        # Python's codec for such names speaks of its own steps.
        raise ValueError(f"has no host name: {hostname!r} has a part that is empty, too long or odd") from None
    name = f"[{host.partition('%')[0]}]" if ":" in host else host
    user = ":".join(urllib.parse.unquote(part or "") for part in (parts.username, parts.password))
    return Address(
        scheme=parts.scheme,
        host=host,
        port=port or (443 if parts.scheme == "https" else 80),
        authority=name if port is None else f"{name}:{port}",
        target=(parts.path or "/") + (f"?{parts.query}" if parts.query else ""),
        user=user if parts.username is not None else "",
    )


def _host(name: str) -> str:
    """Return a host as sockets take it. ValueError where it is none."""
    if ":" in name:
        # A zone is written `%25eth0` in an address (RFC 6874).
        address, _, zone = urllib.parse.unquote(name).partition("%")
        return f"{ipaddress.IPv6Address(address)}{f'%{zone}' if zone else ''}"
    if re.search(r"[\x00-\x20\x7f%]", name):
        raise ValueError(name)
    return name.encode("idna").decode()


def send(request: Request, limit: float) -> Response:
    """Send a request; the answer is complete within ``limit`` seconds, or HttpError says why not."""
    begin = time.monotonic()
    try:
        first = address = read_address(request.url)
    except ValueError as exc:
        raise HttpError(f"{request.url!r} {exc}", final=True) from None
    for _hop in range(_REDIRECTS + 1):
        response = _exchange(request, first, address, begin, limit)
        location = response.headers.get("location")
        moved = response.status in _REDIRECT_STATUSES and location
        if not (request.follow_redirects and moved and request.method in {"GET", "HEAD"}):
            return response
        address = _redirected(address, str(location))
    raise HttpError(f"more than {_REDIRECTS} redirects, the last to {_url(address)}")


def _url(address: Address) -> str:
    return f"{address.scheme}://{address.authority}{address.target}"


def _redirected(address: Address, location: str) -> Address:
    # A header is read as latin-1. What it holds is mostly UTF-8, and has to be quoted whatever it is.
    quoted = urllib.parse.quote(location.strip().encode("latin-1", "replace"), safe=string.punctuation)
    try:
        return read_address(urllib.parse.urljoin(_url(address), quoted))
    except ValueError as exc:
        clause = str(exc) if str(exc).startswith(("is ", "has ")) else f"is not an address: {exc}"
        raise HttpError(f"redirected to {location!r}, which {clause}") from None


def _headers(request: Request, first: Address, address: Address) -> dict[str, str]:
    """Return the headers to send to an address, the first one or one that it redirected to."""
    headers = {"Host": address.authority, "User-Agent": "cicd.sandbox", "Accept": "*/*", "Accept-Encoding": "identity"}
    headers |= {"Connection": "close"}
    if address.user:
        headers["Authorization"] = f"Basic {base64.b64encode(address.user.encode()).decode()}"
    given = dict(request.headers)
    if address.origin != first.origin:
        # Another server: neither the secrets nor the virtual host are for it.
        given = {key: value for key, value in given.items() if key.lower() != "host" and not SECRET_HEADERS.search(key)}
    names = {key.lower() for key in given}
    return {key: value for key, value in headers.items() if key.lower() not in names} | given


def _exchange(request: Request, first: Address, address: Address, begin: float, limit: float) -> Response:
    until = begin + limit
    try:
        connection = _connect(address, until)
    except TimeoutError:
        raise HttpError(f"{address.where}: no connection within {limit:.3g} s") from None
    try:
        with contextlib.closing(connection):
            if address.scheme == "https":
                context = request.tls or ssl.create_default_context()
                connection.settimeout(_remaining(until))
                name = request.server_name if address.origin == first.origin else ""
                connection = context.wrap_socket(connection, server_hostname=name or address.name)
            with contextlib.closing(connection):
                return _talk(connection, request, _headers(request, first, address), address.target, (begin, until))
    except TimeoutError:
        raise HttpError(f"{address.where}: connected, but the answer was not complete within {limit:g} s") from None
    except (OSError, http.client.HTTPException, ValueError) as exc:
        raise HttpError(f"{address.where}: {_words(exc)}") from None


def _remaining(until: float) -> float:
    remaining = until - time.monotonic()
    if remaining <= 0:
        raise TimeoutError
    return remaining


def _connect(address: Address, until: float) -> socket.socket:
    """Return a connection, to the first of the host's addresses that takes it. TimeoutError when it is too late."""
    errors: list[OSError] = []
    places = _places(address, until)
    for number, (family, place) in enumerate(places):
        # One that is silent leaves time for the others.
        patience = _remaining(until) / (len(places) - number)
        try:
            connection = socket.socket(family, socket.SOCK_STREAM)
        except OSError as exc:  # a host without IPv6
            errors.append(exc)
            continue
        try:
            connection.settimeout(patience)
            connection.connect(place)
        except OSError as exc:
            connection.close()
            errors.append(exc)
        else:
            return connection
    # The one that says most: of several addresses, some may be of a kind that is not used here.
    refused = [exc for exc in errors if isinstance(exc, ConnectionRefusedError)]
    late = [exc for exc in errors if isinstance(exc, TimeoutError)]
    if late and not refused:
        raise TimeoutError
    raise HttpError(f"{address.where}: {_words((refused or errors or [OSError('the name has no address')])[0])}")


def _places(address: Address, until: float) -> list[tuple[socket.AddressFamily, Any]]:
    """Return family and socket address of everything that a host's name means."""
    if is_loopback_name(address.host):
        return [(socket.AF_INET, ("127.0.0.1", address.port)), (socket.AF_INET6, ("::1", address.port))]
    host, patience = address.host, _remaining(until)
    try:
        found = within(patience, lambda: socket.getaddrinfo(host, address.port, type=socket.SOCK_STREAM))
    except TimeoutError:
        raise HttpError(f"the name {host} was not resolved within {patience:.3g} s: no name server answers") from None
    except (OSError, ValueError) as exc:
        raise HttpError(f"the name {host} can't be resolved: {getattr(exc, 'strerror', None) or exc}") from None
    return [(family, place) for family, _, _, _, place in found]


class _Incoming(io.RawIOBase):
    """What comes from a connection, until a moment of the monotonic clock and up to a number of bytes."""

    def __init__(self, connection: socket.socket, until: float) -> None:
        super().__init__()
        self._connection = connection
        self._until = until
        self._left = _RECEIVED_LIMIT

    def readable(self) -> bool:
        """Tell a reader that it may read."""
        return True

    def readinto(self, buffer: WriteableBuffer) -> int:
        """Read into a buffer and return how many bytes came, 0 at the end."""
        self._connection.settimeout(_remaining(self._until))
        count = self._connection.recv_into(buffer)
        self._left -= count
        if self._left < 0:
            raise http.client.HTTPException(f"more than {_RECEIVED_LIMIT >> 20} MiB came, in whatever small parts")
        return count


class _Stream:
    """What http.client makes its answers of, one after the other, without losing what is read ahead."""

    def __init__(self, connection: socket.socket, until: float) -> None:
        self._file = io.BufferedReader(_Incoming(connection, until))

    def makefile(self, _mode: str) -> io.BufferedIOBase:
        """Return the one reader of all answers."""
        return self._file


def _talk(
    connection: socket.socket, request: Request, headers: Mapping[str, str], target: str, times: tuple[float, float]
) -> Response:
    begin, until = times
    sender = http.client.HTTPConnection("unused")
    sender.sock = connection
    connection.settimeout(_remaining(until))
    # A server may refuse a body before all of it was sent: its answer says why.
    with contextlib.suppress(BrokenPipeError, ConnectionResetError):
        sender.request(request.method, target, body=request.body, headers=dict(headers))
    stream: Any = _Stream(connection, until)
    # An answer that is thrown away closes the stream.
    interim: list[http.client.HTTPResponse] = []
    while True:
        response = http.client.HTTPResponse(stream, method=request.method)
        response.begin()
        # What a server says before its answer: 102, 103. http.client knows only 100.
        if response.status >= 200 or response.status == 101:
            break
        interim.append(response)
        if len(interim) > _INTERIM_LIMIT:
            raise http.client.HTTPException(f"more than {_INTERIM_LIMIT} interim answers, the last {response.status}")
    with response:
        body = response.read(BODY_LIMIT + 1)
        truncated = len(body) > BODY_LIMIT
        # Reading a part, http.client takes an early end for the end.
        if response.length and not truncated:
            raise http.client.IncompleteRead(body, response.length)
    answered: dict[str, str] = {}
    for key, value in response.getheaders():
        name = key.lower()
        # The first place that an answer names is where it leads.
        if name not in answered:
            answered[name] = value
        elif name != "location":
            answered[name] += f", {value}"
    return Response(response.status, answered, body[:BODY_LIMIT], truncated, time.monotonic() - begin)


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
