# Copyright: cicd.sandbox contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""One request against a server that may do anything."""

from __future__ import annotations

import dataclasses
import socket
import ssl
import threading
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
}


def pages(request: Received) -> Answer:
    """What the server of most tests answers."""
    if request.path == "/away":
        port = request.headers["host"].split(":")[1]
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

    @pytest.mark.parametrize(
        ("path", "words"),
        [("circle", "more than 5 redirects"), ("odd", "'file:///etc/passwd', which is not an address")],
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
        ],
    )
    def test_says_why(self, server: Server, path: str, words: str) -> None:
        with pytest.raises(HttpError) as caught:
            send(Request(f"http://127.0.0.1:{server.port}/{path}"), LIMIT)
        assert str(caught.value) == f"127.0.0.1:{server.port}: {words}"

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

    def test_plain_http_on_its_port_is_said(self, server: Server) -> None:
        with pytest.raises(
            HttpError, match=r"TLS failed: wrong version number \(does the server speak TLS on this port"
        ):
            send(Request(f"https://website.localhost:{server.port}/"), LIMIT)

    def test_client_certificate(self, authority: Authority) -> None:
        with serving(pages, authority.server_context(ask_client=True)) as secure:
            context = ssl.create_default_context(cafile=authority.ca)
            url = f"https://127.0.0.1:{secure.port}/"
            with pytest.raises(HttpError, match=r"TLS failed|closed the connection"):
                send(Request(url, tls=context), LIMIT)
            context = ssl.create_default_context(cafile=authority.ca)
            context.load_cert_chain(authority.certificate, authority.key)
            assert send(Request(url, tls=context), LIMIT).status == 200
