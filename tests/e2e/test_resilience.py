# Copyright: cicd.sandbox contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What visitors of the website notice of an API that is ill: its proxies answer in its place, or not at all."""

from __future__ import annotations

import concurrent.futures
import secrets
import time
from collections.abc import Iterator
from typing import Any, NamedTuple

import pytest
from live_cluster import Object, get, kubectl, ready, sleeper, standing, until
from live_pages import ask

pytestmark = pytest.mark.trial

APPS = "apps"
API = {"app.kubernetes.io/name": "business-logic", "app.kubernetes.io/component": "main"}
VISITS, VISITORS = 400, 4
# What the website grants the API for one answer, in seconds: API_TIMEOUT.
PATIENCE = 4.0
SUFFIX = secrets.token_hex(3)
CLIENT = f"client-{SUFFIX}"
# Asks the API what no proxy repeats; prints the statuses.
ASK = """
import http.client, sys
for _ in range(int(sys.argv[1])):
    connection = http.client.HTTPConnection("business-logic", 8000, timeout=10)
    connection.request("POST", "/api/quotes/", headers={"Connection": "close"})
    print(connection.getresponse().status)
"""


class Visit(NamedTuple):
    status: int
    seconds: float


def visit(_number: int) -> Visit:
    begin = time.monotonic()
    status = ask("website").status
    return Visit(status, time.monotonic() - begin)


def visits(number: int = VISITS) -> list[Visit]:
    with concurrent.futures.ThreadPoolExecutor(VISITORS) as pool:
        return list(pool.map(visit, range(number)))


def ill(name: str, labels: dict[str, str], **fault: Any) -> Object:
    """Describe what has the proxies of some pods answer in their place."""
    kind = "type.googleapis.com/envoy.extensions.filters.http.fault.v3.HTTPFault"
    manager = "envoy.filters.network.http_connection_manager"
    router = {"name": manager, "subFilter": {"name": "envoy.filters.http.router"}}
    return {
        "apiVersion": "networking.istio.io/v1alpha3",
        "kind": "EnvoyFilter",
        "metadata": {"name": f"{name}-{SUFFIX}", "namespace": APPS},
        "spec": {
            "workloadSelector": {"labels": labels},
            "configPatches": [
                {
                    "applyTo": "HTTP_FILTER",
                    "match": {"context": "SIDECAR_INBOUND", "listener": {"filterChain": {"filter": router}}},
                    "patch": {
                        "operation": "INSERT_BEFORE",
                        "value": {"name": f"{name}-{SUFFIX}", "typed_config": {"@type": kind, **fault}},
                    },
                }
            ],
        },
    }


def share(hundredths: int) -> Object:
    return {"numerator": hundredths, "denominator": "HUNDRED"}


@pytest.fixture(scope="module", autouse=True)
def client() -> Iterator[None]:
    """A pod with the website's identity."""
    api = get("deployment", "business-logic", f"--namespace={APPS}")
    image = str(api["spec"]["template"]["spec"]["containers"][0]["image"])
    pod: Object = sleeper(CLIENT, APPS, account="front-end", image=image)[0]
    # The network's rules go by these labels; no Service does, as the instance is another.
    pod["metadata"]["labels"]["app.kubernetes.io/name"] = "front-end"
    rule: Object = {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": {"name": CLIENT, "namespace": APPS},
        "spec": {"podSelector": {"matchLabels": {"app": CLIENT}}, "policyTypes": ["Egress"], "egress": [{}]},
    }
    with standing(pod, rule):
        ready(APPS, CLIENT)
        yield


def asked(number: int) -> list[int]:
    words = kubectl(f"--namespace={APPS}", "exec", CLIENT, "--container=main", "--", "python", "-c", ASK, str(number))
    return [int(word) for word in words.split()]


def well() -> bool:
    return set(asked(20)) == {415} and all(one.status == 200 for one in visits(8))


def test_visitors_do_not_notice_that_a_third_of_the_answers_fails() -> None:
    assert until(well, 60)
    with standing(ill("failing", API, abort={"http_status": 503, "percentage": share(30)})):
        assert until(lambda: 503 in asked(20), 30)
        found = visits()
        failing = asked(200)
    # It was as ill as it should be.
    assert 0.15 < failing.count(503) / len(failing) < 0.45
    answered = sum(one.status == 200 for one in found)
    assert answered >= 0.995 * len(found), f"{answered} of {len(found)}"


def test_visitors_wait_less_than_the_timeout_for_a_pod_that_hangs() -> None:
    assert until(well, 60)
    selector = ",".join(f"{key}={value}" for key, value in API.items())
    running = ["--field-selector=status.phase=Running", f"--namespace={APPS}", f"--selector={selector}"]
    first, *_others = get("pods", *running)["items"]
    name = first["metadata"]["name"]
    kubectl(f"--namespace={APPS}", "label", "pod", name, f"hangs={SUFFIX}")
    try:
        hanging = ill("hanging", {"hangs": SUFFIX}, delay={"fixed_delay": "60s", "percentage": share(100)})
        with standing(hanging):
            slow = until(lambda: max(one.seconds for one in visits(8)) > 1, 30)
            found = visits()
    finally:
        kubectl(f"--namespace={APPS}", "label", "pod", name, "hangs-")
    assert slow, "no pod hangs"
    seconds = sorted(one.seconds for one in found)
    assert seconds[int(0.99 * len(seconds))] < PATIENCE, seconds[-8:]
    answered = sum(one.status == 200 for one in found)
    assert answered >= 0.995 * len(found), f"{answered} of {len(found)}"
