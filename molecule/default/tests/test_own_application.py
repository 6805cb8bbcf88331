"""An application that only the inventory knows: deployed, opened and tested like the sample application."""

from __future__ import annotations

import base64
import json
import os
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from live_pages import ask, ask_unknown, shown
from playbook_run import run_playbook
from site_run import changes

STATE = Path(os.environ["SANDBOX_STATE_DIRECTORY"])
PORT = os.environ["SANDBOX_LOCAL_ENDPOINT_PORT"]


def kubectl(*arguments: str, given: dict[str, Any] | None = None) -> str:
    command = [str(STATE / "bin/kubectl"), "--kubeconfig", str(STATE / "kubeconfig"), *arguments]
    document = json.dumps(given) if given else None
    return subprocess.run(command, check=True, capture_output=True, text=True, input=document).stdout


def run_step(name: str) -> str:
    return run_playbook(f"playbooks/{name}.yml", "--inventory", os.environ["SANDBOX_INVENTORY"]).text


def test_its_page_answers() -> None:
    answer = ask("hello")
    assert answer.status == 200
    assert answer.text == "<!doctype html><title>Hello</title><h1>Hello, visitor</h1>"


def test_the_gateway_asks_for_a_login_before_it() -> None:
    answer = ask_unknown("hello")
    assert answer.status == 401
    assert "Hello" not in answer.text


def test_the_landing_page_and_open_show_it() -> None:
    body = shown("sandbox")
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
    assert ask("by-hand").status == 404
    kubectl("apply", "--filename=-", given={"apiVersion": "v1", "kind": "List", "items": made})
    yield
    kubectl("--namespace=hello", "delete", "httproute", "by-hand", "imitation")
    assert answers("by-hand", 404)


def answers(name: str, status: int, seconds: float = 30) -> bool:
    """Whether a page answers so before long: the gateway is told of a route within moments."""
    deadline = time.monotonic() + seconds
    while ask(name).status != status and time.monotonic() < deadline:
        time.sleep(0.5)
    return ask(name).status == status


@pytest.mark.usefixtures("routes")
def test_a_route_made_by_hand_becomes_a_page() -> None:
    assert answers("by-hand", 200)
    assert ask("by-hand").text.endswith("<h1>Hello, visitor</h1>")
    # Nobody's page is taken by a younger route, and that is said.
    assert "<th scope=" in ask("website").text
    said = " ".join(run_step("summary").split())
    assert f"http://by-hand.localhost:{PORT}/ By hand" in said
    assert "HTTPRoute hello/imitation: the page website.localhost is that of HTTPRoute apps/front-end" in said


def test_what_was_interrupted_or_removed_is_taken_up_by_the_next_run() -> None:
    kubectl("--namespace=hello", "delete", "deployment", "hello")
    kubectl("--namespace=hello", "label", "secret", "--selector=owner=helm", "status=pending-upgrade", "--overwrite")
    assert changes("--tags", "apps") != []
    assert ask("hello").status == 200
    revision = json.loads(kubectl("--namespace=hello", "get", "secret", "--selector=owner=helm", "--output=json"))
    assert [item["metadata"]["labels"]["status"] for item in revision["items"]] == ["deployed"]
