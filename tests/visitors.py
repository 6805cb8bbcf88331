# Copyright: cicd.sandbox contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Steady requests to the sample application through the local endpoint, of which none may fail."""

from __future__ import annotations

import http.client
import json
import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from helm import STATE, run

PORT = int(os.environ.get("SANDBOX_LOCAL_ENDPOINT_PORT", "8080"))
NAMESPACE = "apps"

# Requests a second of each of the two visitors, and how many each sends at most.
RATE = 5
MOST = 6000
# Seconds a visitor waits for an answer.
PATIENCE = 10
# Requests that must be answered before and after the update, so that it is known to have begun and ended well.
BEFORE_AND_AFTER = 10


class Visitor(threading.Thread):
    """Asks for the page, which asks the API for quotes, again and again; notes what was no page."""

    def __init__(self, *, keeps_connection: bool) -> None:
        super().__init__(daemon=True)
        self.keeps_connection = keeps_connection
        self.answered = 0
        self.slowest = 0.0
        self.failures: list[str] = []
        self._enough = threading.Event()
        self._connection = http.client.HTTPConnection("127.0.0.1", PORT, timeout=PATIENCE)

    def run(self) -> None:
        for _ in range(MOST):
            began = time.monotonic()
            problem = self._ask()
            seconds = time.monotonic() - began
            self.slowest = max(self.slowest, seconds)
            if problem:
                kind = "kept" if self.keeps_connection else "new"
                self.failures.append(f"{time.strftime('%T')} after {seconds:.2f} s on a {kind} connection: {problem}")
                self._connection.close()
            else:
                self.answered += 1
            if self._enough.wait(max(0.0, 1 / RATE - seconds)):
                break
        self._connection.close()

    def _ask(self) -> str:
        """Give what went wrong, nothing when the page came with quotes."""
        try:
            self._connection.request("GET", "/", headers={"Host": f"website.localhost:{PORT}"})
            answer = self._connection.getresponse()
            body = answer.read().decode("utf-8", "replace")
        except (OSError, http.client.HTTPException) as error:
            return f"{type(error).__name__}: {error}"
        if not self.keeps_connection:
            self._connection.close()
        return "" if answer.status == http.client.OK else f"status {answer.status}: {body[:300]}"

    def stop(self) -> None:
        self._enough.set()
        self.join(PATIENCE + 1)


def until(condition: Callable[[], bool], what: str, seconds: float, reason: Callable[[], str] = str) -> None:
    deadline = time.monotonic() + seconds
    pause = threading.Event()
    while not condition():
        if time.monotonic() > deadline:
            pytest.fail(f"{what}: not within {seconds:g} s\n{reason()}", pytrace=False)
        pause.wait(0.2)


@contextmanager
def visitors() -> Iterator[list[Visitor]]:
    """Have two visitors ask all the while; fail when one request did."""
    pair = [Visitor(keeps_connection=kept) for kept in (False, True)]
    for visitor in pair:
        visitor.start()
    try:
        wait_for_answers(pair)
        yield pair
        wait_for_answers(pair)
    finally:
        for visitor in pair:
            visitor.stop()
    assert not any(visitor.failures for visitor in pair), f"{failures_of(pair)}\n{warnings()}"


def failures_of(pair: list[Visitor]) -> str:
    failures = sorted(failure for visitor in pair for failure in visitor.failures)
    total = sum(visitor.answered for visitor in pair) + len(failures)
    slowest = max(visitor.slowest for visitor in pair)
    return "\n".join([f"{len(failures)} of {total} requests failed, the slowest took {slowest:.2f} s", *failures[:20]])


def wait_for_answers(pair: list[Visitor]) -> None:
    expected = [visitor.answered + BEFORE_AND_AFTER for visitor in pair]

    def came() -> bool:
        return all(visitor.answered >= count for visitor, count in zip(pair, expected, strict=True))

    what = f"{BEFORE_AND_AFTER} more answers from http://website.localhost:{PORT}/ for each visitor"
    until(came, what, 30, lambda: failures_of(pair))


def kubectl(*arguments: str) -> str:
    return run("kubectl", "--kubeconfig", str(kubeconfig()), "--namespace", NAMESPACE, *arguments)


def kubeconfig() -> Path:
    path = STATE / "kubeconfig"
    if not path.is_file():
        pytest.fail(
            f"{path} is not there: `make up` first, or name another sandbox's SANDBOX_STATE_DIRECTORY", pytrace=False
        )
    return path


def warnings() -> str:
    return kubectl("get", "events", "--sort-by=.lastTimestamp", "--field-selector=type=Warning").strip()[-3000:]


def pods(release: str) -> dict[str, Any]:
    """Give the release's pods by uid, those that are going included."""
    selector = f"app.kubernetes.io/instance={release},app.kubernetes.io/component=main"
    items = json.loads(kubectl("get", "pods", f"--selector={selector}", "--output=json"))["items"]
    return {item["metadata"]["uid"]: item for item in items}
