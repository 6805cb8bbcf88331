# Copyright: cicd.sandbox contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""One request against a server that may do anything."""

from __future__ import annotations

import base64
import dataclasses
import socket
import ssl
import struct
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
from ansible_collections.cicd.sandbox.plugins.module_utils.checks import http
from ansible_collections.cicd.sandbox.plugins.module_utils.checks.http import HttpError, Request, is_loopback_name, send
from local_server import Answer, Authority, Received, Server, make_authority, serving

LIMIT = 5.0


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return make_authority(tmp_path_factory.mktemp("tls"))


PAGES = {
    "/moved": Answer(302, headers={"Location": "/page"}),
    "/circle": Answer(301, headers={"Location": "/circle"}),
    "/odd": Answer(302, headers={"Location": "file:///etc/passwd"}),
    "/latin": Answer(200, "grün".encode("latin-1"), {"Content-Type": 'text/plain; charset="latin-1"'}),
    "/endless": Answer(200, b"x" * 100, {"Content-Length": None}),
    "/broken": Answer(200, b"short", {"Content-Length": "100"}),
    "/nonsense": Answer(raw=b"220 mail.example.org ESMTP\r\n\r\n"),
    "/silent": Answer(raw=b""),
    "/early": Answer(
        raw=b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 102 Processing\r\n\r\n"
        b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"
        b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\npage"
    ),
    "/hints": Answer(raw=b"HTTP/1.1 103 Early Hints\r\n\r\n" * 100),
    "/none": Answer(204, headers={"Content-Length": "9"}),
    "/kept": Answer(304, headers={"Content-Length": "9"}),
    "/chunks": Answer(
        raw=b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 99\r\n\r\n"
        b"2;a=b\r\npa\r\n2\r\nge\r\n0\r\nX-Sum: 1\r\n\r\n"
    ),
    "/no-chunks": Answer(raw=b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
    "/odd-chunks": Answer(raw=b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\npage"),
    "/headers": Answer(raw=b"HTTP/1.1 200 OK\r\n" + b"X-A: b\r\n" * 9999 + b"\r\n"),
    "/header": Answer(raw=b"HTTP/1.1 200 OK\r\nX-A: " + b"b" * 99999 + b"\r\n\r\n"),
    "/status": Answer(raw=b"HTTP/1.1 2xx OK\r\n\r\n"),
    "/http2": Answer(raw=b"HTTP/2 200\r\n\r\n"),
    "/gzip": Answer(200, b"\x1f\x8bgarbage", {"Content-Encoding": "gzip"}),
    "/codec": Answer(200, b"page", {"Content-Type": "text/plain; charset=idna"}),
    "/nul": Answer(200, b"page", {"Content-Type": "text/plain; charset=a\0b"}),
    "/nowhere": Answer(302),
    "/relative": Answer(302, headers={"Location": "a/../page?q=1"}),
    "/spaces": Answer(302, headers={"Location": "/a page/gr\xc3\xbcn#part"}),
    "/port": Answer(302, headers={"Location": "http://127.0.0.1:99999/"}),
    "/letters": Answer(302, headers={"Location": "http://127.0.0.1:http/"}),
    "/dots": Answer(302, headers={"Location": "http://a..b/"}),
    "/brackets": Answer(302, headers={"Location": "http://[::1/"}),
    "/no-host": Answer(302, headers={"Location": "http://:80/"}),
}


def pages(request: Received) -> Answer:
    """What the server of most tests answers."""
    port = request.headers["host"].rpartition(":")[2]
    if request.path == "/user":
        return Answer(302, headers={"Location": f"http://me:s%20cret@127.0.0.1:{port}/page"})
    if request.path == "/back":
        return Answer(302, headers={"Location": f"http://127.0.0.1:{port}/page"})
    if request.path == "/away":
        return Answer(307, headers={"Location": f"http://other.localhost:{port}/page"})
    return PAGES.get(request.path, Answer(200, b"page", {"X-One": "1"}))


@pytest.fixture
def server() -> Iterator[Server]:
    with serving(pages) as running:
        yield running


@pytest.mark.parametrize("name", ["localhost", "LOCALHOST.", "website.localhost", "a.b.localhost"])
def test_names_below_localhost_are_this_machine(name: str) -> None:
    assert is_loopback_name(name)


@pytest.mark.parametrize("name", ["localhost.example.org", "notlocalhost", "127.0.0.1"])
def test_other_names_are_not(name: str) -> None:
    assert not is_loopback_name(name)


def test_no_resolver_is_asked_for_them(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    resolve = socket.getaddrinfo

    def resolver(host: str, *arguments: Any, **options: Any) -> object:
        if host != "127.0.0.1":
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return resolve(host, *arguments, **options)

    monkeypatch.setattr(socket, "getaddrinfo", resolver)
    assert send(Request(f"http://website.localhost:{server.port}/"), LIMIT).body == b"page"
    assert server.received[0].headers["host"] == f"website.localhost:{server.port}"
    with pytest.raises(HttpError, match=r"^the name website\.example can't be resolved: Name or service not known$"):
        send(Request("http://website.example/"), LIMIT)


def test_headers_and_body_are_sent(server: Server) -> None:
    request = Request(
        f"http://127.0.0.1:{server.port}/a%20b?x=1&y", "POST", {"host": "website.localhost", "X-Test": "yes"}, b"{}"
    )
    response = send(request, LIMIT)
    (received,) = server.received
    assert (received.method, received.path, received.body) == ("POST", "/a%20b", b"{}")
    assert received.query == {"x": ["1"]}
    assert (received.headers["host"], received.headers["x-test"]) == ("website.localhost", "yes")
    assert (response.status, response.headers["x-one"], response.truncated) == (200, "1", False)
    assert 0 < response.elapsed < LIMIT


def test_head_has_no_body(server: Server) -> None:
    response = send(Request(f"http://127.0.0.1:{server.port}/", "HEAD"), LIMIT)
    assert (response.headers["content-length"], response.body) == ("4", b"")


def test_charset_is_that_of_the_answer(server: Server) -> None:
    assert send(Request(f"http://127.0.0.1:{server.port}/latin"), LIMIT).text == "grün"


@pytest.mark.parametrize("path", ["codec", "nul"])
def test_a_charset_that_is_none_is_not_used(server: Server, path: str) -> None:
    assert send(Request(f"http://127.0.0.1:{server.port}/{path}"), LIMIT).text == "page"


@pytest.mark.parametrize(
    ("path", "status", "body"),
    [
        ("early", 200, b"page"),
        ("none", 204, b""),
        ("kept", 304, b""),
        ("chunks", 200, b"page"),
        ("no-chunks", 200, b""),
        ("gzip", 200, b"\x1f\x8bgarbage"),
    ],
)
def test_answers_are_read_as_curl_reads_them(server: Server, path: str, status: int, body: bytes) -> None:
    response = send(Request(f"http://127.0.0.1:{server.port}/{path}"), LIMIT)
    assert (response.status, response.body) == (status, body)
    assert "link" not in response.headers


@pytest.mark.parametrize(
    ("url", "host", "authority"),
    [
        ("http://[::1]:81/", "::1", "[::1]:81"),
        ("https://[::0001]/", "::1", "[::1]"),
        ("http://[fe80::1%25eth0]/", "fe80::1%eth0", "[fe80::1]"),
        ("http://gr\xfcn.example:80/", "xn--grn-ioa.example", "xn--grn-ioa.example:80"),
        ("http://me:secret@a.example./", "a.example.", "a.example."),
    ],
)
def test_hosts_are_taken_as_sockets_take_them(url: str, host: str, authority: str) -> None:
    address = http.read_address(url)
    assert (address.host, address.authority) == (host, authority)


def test_an_address_of_ipv6_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whether or not this computer has IPv6: what would be connected to is looked at."""
    asked: list[Any] = []

    class Connection(socket.socket):
        def __init__(self, family: int, kind: int) -> None:
            super().__init__(socket.AF_INET, kind)

        def connect(self, place: Any) -> None:
            asked.append(place)
            raise ConnectionRefusedError

    monkeypatch.setattr(socket, "socket", Connection)
    with pytest.raises(HttpError, match=r"^::1:9: connection refused"):
        send(Request("http://[::1]:9/"), LIMIT)
    assert [place[:2] for place in asked] == [("::1", 9)]


@pytest.mark.parametrize(
    ("url", "problem"),
    [
        ("http://a..b/", "has no host name: 'a..b' has a part that is empty, too long or odd"),
        (f"http://{'a' * 64}.b/", "has a part that is empty, too long or odd"),
        ("http://.a/", "has no host name: '.a'"),
        ("http://a%00b/", "has no host name"),
        ("http://[::1/", "is not an address: Invalid IPv6 URL"),
        ("http://[::g]/", "is not an address: '::g' does not appear to be an IPv4 or IPv6 address"),
        ("http://a:99999/", "is not an address: Port out of range 0-65535"),
        ("file:///etc/passwd", "is not an address of http or https"),
    ],
)
def test_an_address_that_is_none_is_said_at_once(url: str, problem: str) -> None:
    with pytest.raises(HttpError) as caught:
        send(Request(url), LIMIT)
    assert problem in str(caught.value)
    assert caught.value.final


def test_a_name_server_that_is_silent_has_no_more_time_than_the_request(monkeypatch: pytest.MonkeyPatch) -> None:
    release = threading.Event()

    def resolver(*_arguments: Any, **_options: Any) -> object:
        release.wait(30)
        raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")

    monkeypatch.setattr(socket, "getaddrinfo", resolver)
    begin = time.monotonic()
    with pytest.raises(
        HttpError, match=r"^the name website\.example was not resolved within 0\.5 s: no name server answers"
    ):
        send(Request("http://website.example/"), 0.5)
    assert time.monotonic() - begin < 5
    release.set()


def test_a_name_without_an_address_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_arguments, **_options: [])
    with pytest.raises(HttpError, match=r"^website\.example:80: the name has no address$"):
        send(Request("http://website.example/"), LIMIT)


def test_addresses_of_a_name_share_the_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """One that is silent leaves time for the next; all of them together have no more than the request."""
    with serving(pages) as server:
        silent = ("192.0.2.1", server.port)
        found = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", place) for place in (silent, ("127.0.0.1", server.port))]
        monkeypatch.setattr(socket, "getaddrinfo", lambda *_arguments, **_options: found)
        connect = socket.socket.connect

        def connecting(connection: socket.socket, place: Any) -> None:
            if place == silent:
                time.sleep(connection.gettimeout() or 60)
                raise TimeoutError
            connect(connection, place)

        monkeypatch.setattr(socket.socket, "connect", connecting)
        assert send(Request(f"http://website.example:{server.port}/"), 2).body == b"page"
        found[1:] = found[:1] * 3
        begin = time.monotonic()
        with pytest.raises(HttpError, match=r"no connection within 1 s$"):
            send(Request(f"http://website.example:{server.port}/"), 1)
        assert time.monotonic() - begin < 1.9


def test_an_answer_to_half_a_body_is_read() -> None:
    """A server that refuses a large body answers and goes, before all of it is there."""

    def refuse(listener: socket.socket) -> None:
        connection, _address = listener.accept()
        with connection:
            connection.recv(100)
            connection.sendall(b"HTTP/1.1 413 Content Too Large\r\nContent-Length: 0\r\n\r\n")
            connection.shutdown(socket.SHUT_WR)
            while connection.recv(1 << 16):
                pass

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=refuse, args=(listener,), daemon=True)
        thread.start()
        request = Request(f"http://127.0.0.1:{listener.getsockname()[1]}/", "POST", body=b"x" * (1 << 22))
        assert send(request, LIMIT).status == 413
        thread.join()


def test_a_long_body_is_cut(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http, "BODY_LIMIT", 10)
    response = send(Request(f"http://127.0.0.1:{server.port}/endless"), LIMIT)
    assert (response.body, response.truncated) == (b"x" * 10, True)


class TestRedirects:
    def test_are_an_answer_like_any_other(self, server: Server) -> None:
        assert send(Request(f"http://127.0.0.1:{server.port}/moved"), LIMIT).status == 302

    def test_are_followed_where_wanted(self, server: Server) -> None:
        request = Request(f"http://127.0.0.1:{server.port}/moved", follow_redirects=True)
        assert send(request, LIMIT).body == b"page"
        assert send(dataclasses.replace(request, method="POST"), LIMIT).status == 302

    def test_secrets_stay_with_their_server(self, server: Server) -> None:
        headers = {"Authorization": "Basic x", "Host": f"website.localhost:{server.port}", "X-Test": "yes"}
        send(Request(f"http://127.0.0.1:{server.port}/away", headers=headers, follow_redirects=True), LIMIT)
        first, second = (received.headers for received in server.received)
        assert first["authorization"] == "Basic x"
        assert "authorization" not in second
        assert (second["host"], second["x-test"]) == (f"other.localhost:{server.port}", "yes")

    def test_secrets_are_whatever_is_called_like_one(self, server: Server) -> None:
        headers = {"X-Api-Key": "k", "X-Auth-Token": "t", "cookie": "c", "X-Test": "yes"}
        send(Request(f"http://127.0.0.1:{server.port}/away", headers=headers, follow_redirects=True), LIMIT)
        second = server.received[1].headers
        assert not {"x-api-key", "x-auth-token", "cookie"} & second.keys()
        assert second["x-test"] == "yes"

    def test_secrets_are_for_the_first_server_also_on_the_way_back(self, server: Server) -> None:
        """Away by a name of this machine, and back by its address."""
        first = Request(
            f"http://other.localhost:{server.port}/back", headers={"Authorization": "Basic x"}, follow_redirects=True
        )
        send(first, LIMIT)
        send(dataclasses.replace(first, url=f"http://127.0.0.1:{server.port}/back"), LIMIT)
        assert [request.headers.get("authorization") for request in server.received] == [
            "Basic x",
            None,
            "Basic x",
            "Basic x",
        ]

    def test_a_user_in_the_new_address_is_sent(self, server: Server) -> None:
        send(Request(f"http://127.0.0.1:{server.port}/user", follow_redirects=True), LIMIT)
        assert server.received[1].headers["authorization"] == "Basic " + base64.b64encode(b"me:s cret").decode()
        assert server.received[1].headers["host"] == f"127.0.0.1:{server.port}"

    def test_to_nowhere_is_an_answer(self, server: Server) -> None:
        assert send(Request(f"http://127.0.0.1:{server.port}/nowhere", follow_redirects=True), LIMIT).status == 302

    @pytest.mark.parametrize(
        ("path", "target", "query"), [("relative", "/page", {"q": ["1"]}), ("spaces", "/a%20page/gr%C3%BCn", {})]
    )
    def test_are_read_as_browsers_do(self, server: Server, path: str, target: str, query: dict[str, list[str]]) -> None:
        send(Request(f"http://127.0.0.1:{server.port}/{path}", follow_redirects=True), LIMIT)
        assert (server.received[1].path, server.received[1].query) == (target, query)

    @pytest.mark.parametrize(
        ("path", "words"),
        [
            ("circle", "more than 5 redirects"),
            ("odd", "'file:///etc/passwd', which is not an address"),
            ("port", "'http://127.0.0.1:99999/', which is not an address: Port out of range"),
            ("letters", "which is not an address: Port could not be cast to integer"),
            ("dots", "'http://a..b/', which has no host name: 'a..b' has a part that is empty"),
            ("brackets", "which is not an address: Invalid IPv6 URL"),
            ("no-host", "which is not an address of http or https"),
        ],
    )
    def test_have_an_end(self, server: Server, path: str, words: str) -> None:
        with pytest.raises(HttpError, match=words):
            send(Request(f"http://127.0.0.1:{server.port}/{path}", follow_redirects=True), LIMIT)


class TestNoAnswer:
    @pytest.mark.parametrize(
        ("path", "words"),
        [
            ("nonsense", "the answer is not HTTP"),
            ("silent", "the server closed the connection without an answer"),
            ("broken", "the answer broke off after 5 bytes"),
            ("odd-chunks", "the answer broke off after 0 bytes"),
            ("hints", "more than 20 interim answers, the last 103"),
            ("headers", "got more than 100 headers"),
            ("header", "got more than 65536 bytes when reading header line"),
            ("status", "the answer is not HTTP"),
            ("http2", "the answer is of a version of HTTP that was not asked for"),
        ],
    )
    def test_says_why(self, server: Server, path: str, words: str) -> None:
        with pytest.raises(HttpError) as caught:
            send(Request(f"http://127.0.0.1:{server.port}/{path}"), LIMIT)
        assert str(caught.value) == f"127.0.0.1:{server.port}: {words}"

    def test_because_the_connection_was_reset(self) -> None:
        def reset(listener: socket.socket) -> None:
            connection, _address = listener.accept()
            connection.recv(1 << 16)
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nbegin")
            time.sleep(0.2)
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            connection.close()

        with socket.create_server(("127.0.0.1", 0)) as listener:
            thread = threading.Thread(target=reset, args=(listener,), daemon=True)
            thread.start()
            with pytest.raises(HttpError, match=r"the server reset the connection$"):
                send(Request(f"http://127.0.0.1:{listener.getsockname()[1]}/"), LIMIT)
            thread.join()

    def test_that_has_an_end(self, server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
        """Also one whose parts are so small, or so odd, that no limit of the body stops it."""
        monkeypatch.setattr(http, "_RECEIVED_LIMIT", 1 << 20)
        monkeypatch.setitem(
            PAGES,
            "/trailers",
            Answer(
                raw=b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\npage\r\n0\r\n"
                + b"X-A: b\r\n" * (1 << 18)
            ),
        )
        with pytest.raises(HttpError, match="more than 1 MiB came, in whatever small parts"):
            send(Request(f"http://127.0.0.1:{server.port}/trailers"), LIMIT)

    def test_because_nothing_listens(self) -> None:
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            port = taken.getsockname()[1]
            with pytest.raises(HttpError, match=f"website.localhost:{port}: connection refused, nothing listens there"):
                send(Request(f"http://website.localhost:{port}/"), LIMIT)

    @pytest.mark.parametrize(
        "first", [b"", b"HTTP/1.1 200 OK\r\n\r\nbegin", b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n"]
    )
    def test_in_time(self, first: bytes) -> None:
        """A server that sends a byte now and then is cut off, too."""
        stop = threading.Event()

        def drip(listener: socket.socket) -> None:
            connection, _address = listener.accept()
            with connection:
                connection.sendall(first)
                while not stop.wait(0.05):
                    try:
                        connection.sendall(b"x")
                    except OSError:
                        return

        with socket.create_server(("127.0.0.1", 0)) as listener:
            thread = threading.Thread(target=drip, args=(listener,), daemon=True)
            thread.start()
            words = "connected, but the answer was not complete within 1.5 s"
            with pytest.raises(HttpError, match=words):
                send(Request(f"http://127.0.0.1:{listener.getsockname()[1]}/"), 1.5)
            stop.set()
            thread.join()


class TestTls:
    @pytest.fixture
    def secure(self, authority: Authority) -> Iterator[Server]:
        with serving(pages, authority.server_context()) as running:
            yield running

    @pytest.mark.parametrize("host", ["website.localhost", "127.0.0.1"])
    def test_is_checked_against_the_ca(self, secure: Server, authority: Authority, host: str) -> None:
        context = ssl.create_default_context(cafile=authority.ca)
        assert send(Request(f"https://{host}:{secure.port}/", tls=context), LIMIT).body == b"page"

    def test_distrust_is_said(self, secure: Server, authority: Authority) -> None:
        with pytest.raises(HttpError, match="the certificate is not trusted: unable to get local issuer certificate"):
            send(Request(f"https://website.localhost:{secure.port}/"), LIMIT)
        context = ssl.create_default_context(cafile=authority.ca)
        with pytest.raises(HttpError, match="not trusted: Hostname mismatch"):
            send(Request(f"https://other.localhost:{secure.port}/", tls=context), LIMIT)

    def test_another_name_than_the_addresss_can_be_asked_for(self, secure: Server, authority: Authority) -> None:
        context = ssl.create_default_context(cafile=authority.ca)
        request = Request(f"https://other.localhost:{secure.port}/", tls=context, server_name="website.localhost")
        assert send(request, LIMIT).body == b"page"
        with pytest.raises(HttpError, match="not trusted: Hostname mismatch"):
            send(dataclasses.replace(request, server_name="third.localhost"), LIMIT)

    def test_plain_http_on_its_port_is_said(self, server: Server) -> None:
        with pytest.raises(
            HttpError, match=r"TLS failed: wrong version number \(does the server speak TLS on this port"
        ):
            send(Request(f"https://website.localhost:{server.port}/"), LIMIT)

    def test_after_a_redirect_from_http(self, secure: Server, authority: Authority) -> None:
        """What is trusted is so after a redirect, too; and from https to http one is followed as well."""
        context = ssl.create_default_context(cafile=authority.ca)
        location = {"Location": f"https://website.localhost:{secure.port}/page"}
        with serving(lambda request: Answer(302, headers=location)) as plain:
            request = Request(f"http://127.0.0.1:{plain.port}/", tls=context, follow_redirects=True)
            assert send(request, LIMIT).body == b"page"
            with pytest.raises(HttpError, match="the certificate is not trusted"):
                send(dataclasses.replace(request, tls=None), LIMIT)
        with serving(pages) as plain:
            location["Location"] = f"http://127.0.0.1:{plain.port}/page"
            with serving(lambda request: Answer(302, headers=location), authority.server_context()) as first:
                url = f"https://127.0.0.1:{first.port}/"
                assert send(dataclasses.replace(request, url=url), LIMIT).body == b"page"

    def test_that_hangs_is_cut_off(self, authority: Authority) -> None:
        with socket.create_server(("127.0.0.1", 0)) as silent:
            begin = time.monotonic()
            with pytest.raises(HttpError, match=r"connected, but the answer was not complete within 0\.5 s"):
                send(Request(f"https://127.0.0.1:{silent.getsockname()[1]}/"), 0.5)
            assert time.monotonic() - begin < 5

    def test_client_certificate(self, authority: Authority) -> None:
        with serving(pages, authority.server_context(ask_client=True)) as secure:
            context = ssl.create_default_context(cafile=authority.ca)
            url = f"https://127.0.0.1:{secure.port}/"
            with pytest.raises(HttpError, match=r"TLS failed|closed the connection"):
                send(Request(url, tls=context), LIMIT)
            context = ssl.create_default_context(cafile=authority.ca)
            context.load_cert_chain(authority.certificate, authority.key)
            assert send(Request(url, tls=context), LIMIT).status == 200
