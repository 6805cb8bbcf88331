"""An application that only the inventory knows: deployed, opened and tested like the sample application."""

from __future__ import annotations

import base64
import json
import os
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playbook_run import run_playbook
from site_run import changes

STATE = Path(os.environ["SANDBOX_STATE_DIRECTORY"])
PORT = os.environ["SANDBOX_LOCAL_ENDPOINT_PORT"]


def kubectl(*arguments: str, given: dict[str, Any] | None = None) -> str:
    command = [str(STATE / "bin/kubectl"), "--kubeconfig", str(STATE / "kubeconfig"), *arguments]
    document = json.dumps(given) if given else None
    return subprocess.run(command, check=True, capture_output=True, text=True, input=document).stdout


def page(name: str) -> tuple[int, str]:
    """Status and body of a page, as a browser asks for it."""
    request = urllib.request.Request(f"http://127.0.0.1:{PORT}/", headers={"Host": f"{name}.localhost:{PORT}"})
    try:
        with urllib.request.urlopen(request, timeout=20) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def run_step(name: str) -> str:
    return run_playbook(f"playbooks/{name}.yml", "--inventory", os.environ["SANDBOX_INVENTORY"]).text


def test_its_page_answers() -> None:
    assert page("hello") == (200, "<!doctype html><title>Hello</title><h1>Hello, visitor</h1>")


def test_the_landing_page_and_open_show_it() -> None:
    status, body = page("sandbox")
    assert status == 200
    assert f'<a href="http://hello.localhost:{PORT}/">Greetings</a>' in body
    assert "Greets whoever comes." in body
    assert f"http://hello.localhost:{PORT}/" in run_step("open")


def test_the_smoke_tests_ask_for_it() -> None:
    assert '<testcase name="hello"' in (STATE / "reports/smoke.xml").read_text()


def test_its_secret_is_made_once() -> None:
    data = json.loads(kubectl("--namespace=hello", "get", "secret", "hello", "--output=json"))["data"]
    file = STATE / "secrets/hello-password"
    password = file.read_text().strip()
    assert len(password) == 24
    assert file.stat().st_mode & 0o777 == 0o600
    assert base64.b64decode(data["password"]).decode() == password


@pytest.fixture
def routes() -> Iterator[None]:
    """Two HTTPRoutes by hand: one that is a page, and one that wants to be the website."""

    def route(name: str, host: str) -> dict[str, Any]:
        return {
            "apiVersion": "gateway.networking.k8s.io/v1",
            "kind": "HTTPRoute",
            "metadata": {"name": name, "namespace": "hello", "annotations": {"cicd.sandbox/title": "By hand"}},
            "spec": {
                "parentRefs": [{"namespace": "istio-ingress", "name": "sandbox"}],
                "hostnames": [f"{host}.localhost"],
                "rules": [{"backendRefs": [{"name": "hello", "port": 8080}]}],
            },
        }

    made = [route("by-hand", "by-hand"), route("imitation", "website")]
    assert page("by-hand")[0] == 404
    kubectl("apply", "--filename=-", given={"apiVersion": "v1", "kind": "List", "items": made})
    yield
    kubectl("--namespace=hello", "delete", "httproute", "by-hand", "imitation")
    assert answers("by-hand", 404)


def answers(name: str, status: int, seconds: float = 30) -> bool:
    """Whether a page answers so before long: the gateway is told of a route within moments."""
    deadline = time.monotonic() + seconds
    while page(name)[0] != status and time.monotonic() < deadline:
        time.sleep(0.5)
    return page(name)[0] == status


@pytest.mark.usefixtures("routes")
def test_a_route_made_by_hand_becomes_a_page() -> None:
    assert answers("by-hand", 200)
    assert page("by-hand")[1].endswith("<h1>Hello, visitor</h1>")
    # Nobody's page is taken by a younger route, and that is said.
    assert "<th scope=" in page("website")[1]
    said = " ".join(run_step("summary").split())
    assert f"http://by-hand.localhost:{PORT}/ By hand" in said
    assert "HTTPRoute hello/imitation: the page website.localhost is that of HTTPRoute apps/front-end" in said


def test_what_was_interrupted_or_removed_is_taken_up_by_the_next_run() -> None:
    kubectl("--namespace=hello", "delete", "deployment", "hello")
    kubectl("--namespace=hello", "label", "secret", "--selector=owner=helm", "status=pending-upgrade", "--overwrite")
    assert changes("--tags", "apps") != []
    assert page("hello")[0] == 200
    revision = json.loads(kubectl("--namespace=hello", "get", "secret", "--selector=owner=helm", "--output=json"))
    assert [item["metadata"]["labels"]["status"] for item in revision["items"]] == ["deployed"]
