# Copyright: cicd.sandbox contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Pages by https: who signed the certificate, for which names, and what visitors notice when it is renewed."""

from __future__ import annotations

import http.client
import json
import os
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Self

import pytest
from cryptography import x509
from live_cluster import KUBECONFIG, STATE, get, on

PORT = int(os.environ.get("SANDBOX_LOCAL_ENDPOINT_PORT", "8080"))
HTTPS_PORT = PORT + 363
ROOT = STATE / "pki/pages/ca.crt"
GATEWAY_PORT = 30443
PROGRAM = "/usr/local/lib/cicd-sandbox/renew_certificates.py /etc/cicd-sandbox/certificates/settings.json"
AUTHORITY_PORT = 14000


def renew(*words: str) -> dict[str, Any]:
    known: dict[str, Any] = json.loads(on("infra-1", f"{PROGRAM} {' '.join(words)}"))
    return known


# Where infra-1 was started again, its authority has another root than the certificate that is there.
NEXT_ROOTS: list[str] = []
READ_ROOT = """
import ssl, urllib.request
context = ssl.create_default_context(cafile="/etc/cicd-sandbox/pebble/ca.crt")
print(urllib.request.urlopen("https://127.0.0.1:15000/roots/0", context=context).read().decode())
"""


@pytest.fixture(scope="module", autouse=True)
def trust_what_comes_next() -> None:
    """Trust what the authority signs from now on too, as the next run will; smoke checks know the run's root alone."""
    NEXT_ROOTS[:] = [on("infra-1", f"python3 -c '{READ_ROOT}'")]


def trusting() -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=str(ROOT))
    for root in NEXT_ROOTS:
        context.load_verify_locations(cadata=root)
    return context


def served(host: str, address: str = "127.0.0.1", port: int = HTTPS_PORT) -> x509.Certificate:
    """The certificate under a name; its chain and the name are verified."""
    with (
        socket.create_connection((address, port), timeout=10) as plain,
        trusting().wrap_socket(plain, server_hostname=host) as connection,
    ):
        der = connection.getpeercert(binary_form=True)
    assert der
    return x509.load_der_x509_certificate(der)


def names(certificate: x509.Certificate) -> set[str]:
    found = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    return set(found.get_values_for_type(x509.DNSName))


def workers() -> list[str]:
    return [
        address["address"]
        for node in get("nodes", "--selector=!node-role.kubernetes.io/control-plane")["items"]
        for address in node["status"]["addresses"]
        if address["type"] == "InternalIP"
    ]


def page(host: str, path: str = "/") -> tuple[int, str]:
    connection = http.client.HTTPSConnection("127.0.0.1", HTTPS_PORT, timeout=20, context=trusting())
    connection.sock = trusting().wrap_socket(
        socket.create_connection(("127.0.0.1", HTTPS_PORT), timeout=20), server_hostname=host
    )
    try:
        connection.request("GET", path, headers={"Host": f"{host}:{HTTPS_PORT}"})
        answer = connection.getresponse()
        return answer.status, answer.read().decode()
    finally:
        connection.close()


def test_the_certificate_is_the_authoritys_and_for_all_pages() -> None:
    certificate = served("sandbox.localhost")
    routes = get("httproutes.gateway.networking.k8s.io", "--all-namespaces")["items"]
    hosts = {
        host
        for route in routes
        for host in route["spec"].get("hostnames", [])
        for parent in route.get("status", {}).get("parents", [])
        if parent["parentRef"]["name"] == "sandbox"
        and any(each["type"] == "Accepted" and each["status"] == "True" for each in parent["conditions"])
    }
    assert {"website.localhost"} <= hosts
    assert names(certificate) >= {"sandbox.localhost"} | hosts
    assert served("website.localhost").serial_number == certificate.serial_number


def test_no_other_trust_knows_the_authority() -> None:
    with (
        socket.create_connection(("127.0.0.1", HTTPS_PORT), timeout=10) as plain,
        pytest.raises(ssl.SSLCertVerificationError),
    ):
        ssl.create_default_context().wrap_socket(plain, server_hostname="website.localhost")


def test_the_gateway_serves_the_same_one_from_its_secret() -> None:
    serial = served("website.localhost").serial_number
    found = {served("website.localhost", address, GATEWAY_PORT).serial_number for address in workers()}
    assert found == {serial}
    gateway = get("gateways.gateway.networking.k8s.io", "sandbox", "--namespace=istio-ingress")
    (listener,) = [each for each in gateway["status"]["listeners"] if each["name"] == "https"]
    conditions = {each["type"]: each["status"] for each in listener["conditions"]}
    assert (conditions["ResolvedRefs"], conditions["Programmed"]) == ("True", "True")


def test_pages_answer_by_https_and_a_stranger_is_refused() -> None:
    status, body = page("website.localhost")
    assert (status, '<th scope="row">' in body) == (200, True)
    assert page("sandbox.localhost")[0] == 200
    with (
        socket.create_connection(("127.0.0.1", HTTPS_PORT), timeout=10) as plain,
        pytest.raises((ssl.SSLError, ConnectionError)),
    ):
        trusting().wrap_socket(plain, server_hostname="no-such-page.localhost")


def test_who_renews_may_do_nothing_else() -> None:
    who = "system:serviceaccount:istio-ingress:sandbox-pages-renewer"

    def may(*words: str) -> bool:
        line = [str(STATE / "bin/kubectl"), f"--kubeconfig={KUBECONFIG}", f"--as={who}", "auth", "can-i", *words]
        answer = subprocess.run(line, check=False, capture_output=True, text=True)
        assert answer.stdout.strip() in {"yes", "no"}, answer.stderr
        return answer.stdout.strip() == "yes"

    place = "--namespace=istio-ingress"
    assert may("patch", "secrets/sandbox-pages", place)
    assert may("get", "secrets/sandbox-pages", place)
    for others in (
        ("list", "secrets", place),
        ("create", "secrets", place),
        ("delete", "secrets/sandbox-pages", place),
        ("get", "secrets/sandbox-pages-renewer", place),
        ("get", "secrets/sandbox-pages", "--namespace=apps"),
        ("get", "pods", place),
    ):
        assert not may(*others), others


class Visitors:
    """Threads that ask for a page by https all the time; what did not go well."""

    def __init__(self, count: int = 4) -> None:
        self.failures: list[str] = []
        self.answers = 0
        self._ended = threading.Event()
        self._threads = [threading.Thread(target=self._visit, daemon=True) for _ in range(count)]

    def _visit(self) -> None:
        while not self._ended.is_set():
            try:
                status, _body = page("website.localhost")
            except (OSError, http.client.HTTPException) as error:
                self.failures.append(repr(error))
            else:
                self.answers += 1
                if status != 200:
                    self.failures.append(str(status))
            time.sleep(0.05)

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        for thread in self._threads:
            thread.join(30)


def test_a_renewed_certificate_is_served_within_a_minute_and_no_request_fails() -> None:
    before = served("website.localhost").serial_number
    with Visitors() as visitors:
        time.sleep(2)
        known = renew("--force")
        renewed = time.monotonic()
        assert (known["problem"], known["undelivered"], known["changed"]) == ("", "", True)
        serial = int(known["serial"], 16)
        assert serial != before
        waiting = {("127.0.0.1", HTTPS_PORT), *((address, GATEWAY_PORT) for address in workers())}
        while waiting and time.monotonic() - renewed < 60:
            waiting -= {place for place in waiting if served("website.localhost", *place).serial_number == serial}
            time.sleep(0.5)
        assert waiting == set()
        time.sleep(2)
    assert visitors.failures == []
    assert visitors.answers > 20


@contextmanager
def authority_away() -> Iterator[None]:
    """Nothing answers at the authority's port. It is not stopped: it would forget its root."""
    rule = f"add rule inet away out tcp dport {AUTHORITY_PORT} reject with tcp reset"
    chain = "add chain inet away out { type filter hook output priority 0; }"
    on("infra-1", f"nft add table inet away && nft '{chain}' && nft '{rule}'")
    try:
        yield
    finally:
        on("infra-1", "nft delete table inet away")


def test_an_authority_that_is_away_leaves_the_certificate_and_says_so() -> None:
    before = served("website.localhost").serial_number
    with authority_away():
        known = renew("--force")
    assert known["problem"] == f"https://127.0.0.1:{AUTHORITY_PORT}/dir does not answer: Connection refused"
    assert (known["valid"], int(known["serial"], 16)) == (True, before)
    assert 0 < known["days_left"] <= 90
    assert served("website.localhost").serial_number == before
    assert page("website.localhost")[0] == 200
    # What is still good is not asked for: the problem is over, and nothing changes.
    known = renew()
    assert (known["problem"], known["changed"], int(known["serial"], 16)) == ("", False, before)
