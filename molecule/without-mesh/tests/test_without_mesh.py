"""The site without a mesh, as seen from outside."""

from __future__ import annotations

import http.client
import os
import socket
import ssl
from pathlib import Path

import pytest
from live_cluster import get, try_kubectl
from page_rows import rows
from site_run import changes

STATE = Path(os.environ["SANDBOX_STATE_DIRECTORY"])
PORT = int(os.environ["SANDBOX_LOCAL_ENDPOINT_PORT"])
# Where the pages are by https, see sandbox_local_endpoint_https_port.
HTTPS_PORT = PORT + 363


def test_there_is_no_mesh() -> None:
    assert get("pods", "--all-namespaces", "--selector=service.istio.io/canonical-name")["items"] == []
    assert try_kubectl("get", "namespace", "istio-system").returncode != 0


def test_the_website_shows_what_is_in_the_database() -> None:
    assert rows("ACME") != []


@pytest.mark.parametrize("name", ["website", "prometheus", "alerts", "sandbox"])
def test_pages_answer_by_https(name: str) -> None:
    trust = ssl.create_default_context(cafile=str(STATE / "pki/pages/ca.crt"))
    page = http.client.HTTPSConnection("127.0.0.1", HTTPS_PORT, timeout=10, context=trust)
    plain = socket.create_connection(("127.0.0.1", HTTPS_PORT), timeout=10)
    page.sock = trust.wrap_socket(plain, server_hostname=f"{name}.localhost")
    page.request("GET", "/", headers={"Host": f"{name}.localhost:{HTTPS_PORT}"})
    # The landing page asks who it is, and Prometheus leads on to where it is.
    assert page.getresponse().status == {"sandbox": 401, "prometheus": 302}.get(name, 200)


@pytest.mark.parametrize("arguments", [["--check"], ["--tags", "apps,certificates"]])
def test_a_standing_site_is_not_changed_by(arguments: list[str]) -> None:
    assert changes(*arguments) == []
