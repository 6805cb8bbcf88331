# Copyright: cicd.sandbox contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Smoke checks side by side, and the whole module."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.cicd.sandbox.plugins.module_utils.checks import arguments
from ansible_collections.cicd.sandbox.plugins.module_utils.checks import running as checks_running
from ansible_collections.cicd.sandbox.plugins.module_utils.checks.arguments import HttpArguments, read_checks
from ansible_collections.cicd.sandbox.plugins.module_utils.checks.http import HttpError, Request, Response
from ansible_collections.cicd.sandbox.plugins.module_utils.checks.running import Result, Runner, http_problems, received
from ansible_collections.cicd.sandbox.plugins.module_utils.kubernetes.api import KubernetesApi, KubernetesError
from kubernetes_objects import fixture
from local_server import (
    Answer,
    FakeKubernetes,
    Received,
    Server,
    json_answer,
    make_authority,
    serving,
    serving_kubernetes,
    write_kubeconfig,
)
from modules import run_module

QUOTES = {"items": [{"symbol": "ACME", "price": 12.5}], "count": 1}
BEHIND = {"kind": "Deployment", "namespace": "apps", "name": "front-end"}


class Site:
    """A website that one can break."""

    def __init__(self) -> None:
        self.failures = 0
        self.hold: threading.Barrier | None = None

    def answer(self, request: Received) -> Answer:
        if self.hold:
            self.hold.wait(5)
        if self.failures:
            self.failures -= 1
            return Answer(503, b"no healthy\x1b upstream\r\n", {"Content-Type": "text/plain"})
        if request.path == "/api/quotes/":
            return json_answer(QUOTES, 201 if request.method == "POST" else 200)
        return Answer(200, b"<h1>Quotes</h1>", {"Content-Type": "text/html; charset=utf-8"})


@pytest.fixture
def site() -> Site:
    return Site()


@pytest.fixture
def server(site: Site) -> Iterator[Server]:
    with serving(site.answer) as running:
        yield running


@pytest.fixture
def url(server: Server) -> str:
    return f"http://website.localhost:{server.port}"


@pytest.fixture
def fake(tmp_path: Path) -> Iterator[FakeKubernetes]:
    """A cluster; its kubeconfig is `kubeconfig` in tmp_path."""
    cluster = FakeKubernetes([fixture("deployment_unavailable"), fixture("pod_crash_loop"), *fixture("events")])
    with serving_kubernetes(cluster, tmp_path / "kubeconfig"):
        yield cluster


class Clock:
    """Time that passes only when somebody sleeps."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.pauses: list[float] = []

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.pauses.append(seconds)
        self.now += seconds


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    stopped = Clock()
    monkeypatch.setattr(checks_running.time, "monotonic", stopped.monotonic)
    return stopped


Run = Callable[..., list[Result]]


@pytest.fixture
def run(clock: Clock, tmp_path: Path) -> Run:
    """Run checks until 60 seconds of the clock's are over."""

    def do(*checks: dict[str, Any], only_read: bool = False) -> list[Result]:
        api = KubernetesApi(str(tmp_path / "kubeconfig"))
        return Runner(api, only_read=only_read, sleep=clock.sleep).run(read_checks(checks, 5, 60))

    return do


class TestRetries:
    def test_none_where_it_passes(self, run: Run, url: str, clock: Clock) -> None:
        (result,) = run({"name": "website", "url": url, "contains": "Quotes"})
        assert (result.passed, result.attempts, result.status, result.reason) == (True, 1, 200, "")
        assert clock.pauses == []

    def test_until_it_passes(self, run: Run, url: str, site: Site, clock: Clock) -> None:
        site.failures = 3
        (result,) = run({"name": "website", "url": url})
        assert (result.passed, result.attempts, result.diagnosis) == (True, 4, [])
        assert clock.pauses == [0.5, 1.0, 2.0]

    def test_until_the_deadline(self, run: Run, url: str, site: Site, clock: Clock) -> None:
        site.failures = 1000
        (result,) = run({"name": "website", "url": url, "deadline": 20})
        assert not result.passed
        assert sum(clock.pauses) == 20
        assert clock.pauses == [0.5, 1, 2, 4, 5, 5, 2.5]
        assert (result.attempts, result.elapsed) == (8, 20)
        assert (result.status, result.reason) == (503, "status 503, expected 200")
        assert result.diagnosis[0].startswith("received: status 503, text/plain, 22 bytes in ")
        assert result.diagnosis[1:] == ["  no healthy� upstream"]

    def test_none_without_a_deadline(self, run: Run, url: str, site: Site) -> None:
        site.failures = 1
        assert run({"name": "website", "url": url, "deadline": 0})[0].attempts == 1

    def test_one_try_may_take_all_of_its_time(self, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
        limits = []

        def send(request: Request, limit: float) -> Response:
            limits.append(limit)
            raise HttpError("no answer")

        monkeypatch.setattr(checks_running, "send", send)
        run({"name": "once", "url": "http://a", "deadline": 0, "timeout": 10})
        run({"name": "repeated", "url": "http://a", "deadline": 8, "timeout": 10})
        assert limits[0] == 10
        assert limits[1:] == [8, 7.5, 6.5, 4.5, 1, 1]

    def test_objects_are_looked_at_every_second(self, run: Run, fake: FakeKubernetes, clock: Clock) -> None:
        (result,) = run({"name": "front-end", "kubernetes": BEHIND, "deadline": 3})
        assert clock.pauses == [1.0, 1.0, 1.0]
        assert result.attempts == 4

    def test_objects_that_become_ready(
        self, run: Run, fake: FakeKubernetes, clock: Clock, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def sleep(_seconds: float) -> None:
            fake.objects[0]["status"].update(readyReplicas=2, availableReplicas=2)

        monkeypatch.setattr(clock, "sleep", sleep)
        (result,) = run({"name": "front-end", "kubernetes": BEHIND})
        assert (result.passed, result.attempts) == (True, 2)

    def test_none_for_what_is_hopeless(self, run: Run, fake: FakeKubernetes) -> None:
        fake.objects.append(fixture("job_failed"))
        job = {"kind": "Job", "namespace": "apps", "name": "migrate"}
        hopeless, awaited = run(
            {"name": "complete", "kubernetes": job}, {"name": "failed", "kubernetes": job | {"condition": "Failed"}}
        )
        assert (hopeless.attempts, hopeless.reason) == (
            1,
            "Job apps/migrate: failed: BackoffLimitExceeded: Job has reached the specified backoff limit",
        )
        assert awaited.passed

    def test_no_more_for_a_pod_that_stays_broken(self, run: Run, fake: FakeKubernetes) -> None:
        """Pods are looked into every fifth time; what may heal is waited for."""
        (container,) = fake.objects[1]["status"]["containerStatuses"]
        pod = {"name": "pod", "kubernetes": {"kind": "Pod", "namespace": "apps", "name": "front-end-5d4-crash"}}
        assert run(pod)[0].attempts == 61
        container["state"] = {"waiting": {"reason": "InvalidImageName"}}
        (result,) = run(pod)
        assert result.attempts == 5
        assert "; not waited for any longer: Pod apps/front-end-5d4-crash: container front-end: " in result.reason

    def test_none_for_what_is_no_address(self, run: Run) -> None:
        (result,) = run({"name": "dots", "url": "http://a..b/"})
        assert (result.passed, result.attempts) == (False, 1)
        assert result.reason == "'http://a..b/' has no host name: 'a..b' has a part that is empty, too long or odd"

    def test_none_for_a_bad_kubeconfig(self, run: Run) -> None:
        (result,) = run({"name": "nodes", "kubernetes": {"kind": "Node"}})
        assert (result.passed, result.attempts) == (False, 1)
        assert "kubeconfig" in result.reason


def test_checks_run_side_by_side(run: Run, url: str, site: Site) -> None:
    """All requests are there before the first is answered."""
    site.hold = threading.Barrier(8)
    results = run(*({"name": str(number), "url": url} for number in range(8)))
    assert [(result.name, result.passed) for result in results] == [(str(number), True) for number in range(8)]


def test_only_reading_checks_run_in_check_mode(run: Run, url: str, server: Server) -> None:
    get, head, post = run(
        {"name": "get", "url": url},
        {"name": "head", "url": url, "method": "HEAD"},
        {"name": "post", "url": f"{url}/api/quotes/", "method": "POST", "status": 201},
        only_read=True,
    )
    assert (get.passed, head.passed) == (True, True)
    assert (post.passed, post.skipped, post.attempts) == (False, True, 0)
    assert post.reason == "check mode: POST may change"
    assert sorted(request.method for request in server.received) == ["GET", "HEAD"]


class TestAnswers:
    @staticmethod
    def problems(body: bytes, headers: dict[str, str] | None = None, **expected: Any) -> list[str]:
        (check,) = read_checks([{"name": "x", "url": "http://a", **expected}], 1, 1)
        assert isinstance(check.what, HttpArguments)
        response = Response(200, headers or {}, body, truncated=False, elapsed=0.25)
        return http_problems(check.what.expected, response)

    def test_as_expected(self) -> None:
        body = b'{"items": [{"symbol": "ACME"}]}'
        values = [{"query": "items[0].symbol", "equals": "ACME"}, {"query": "length(items)", "gte": 1}]
        headers = {"content-type": "application/json"}
        expected = {"response_headers": {"Content-Type": "application/json"}, "contains": "ACME", "matches": "A.ME"}
        assert self.problems(body, headers, status=[200, 204], values=values, max_time=1, **expected) == []

    def test_all_that_differs_is_said(self) -> None:
        expected = {"response_headers": {"a": "1", "b": "1"}, "contains": ["x", "y"], "matches": "^z", "max_time": 0.2}
        assert self.problems(b"x", {"a": "2"}, status=[201, 204], **expected) == [
            "status 200, expected 201 or 204",
            'header a is "2", expected "1"',
            "header b is missing",
            'the answer does not contain "y"',
            "the answer does not match '^z'",
            "the answer took 0.250 s, expected at most 0.2 s",
        ]

    @pytest.mark.parametrize(
        ("body", "query", "problem"),
        [
            (b"<html>", "a", "the answer is not JSON: Expecting value: line 1 column 1 (char 0)"),
            (b"\xff", "a", "the answer is not JSON: "),
            (b"{}", "a.b", "a.b is null or missing"),
            (b'{"a": 1}', "length(a)", "length(a): In function length(), invalid type for value: 1"),
        ],
    )
    def test_values(self, body: bytes, query: str, problem: str) -> None:
        (found,) = self.problems(body, values=[{"query": query}])
        assert found.startswith(problem)

    def test_an_expression_that_explodes_is_said(self) -> None:
        """In a page, in a header and in a value; all of them in the time that one attempt has."""
        explodes = {"matches": r"^(\w+\s?)+$"}
        word = "a" * 60
        begin = time.monotonic()
        (check,) = read_checks(
            [
                {
                    "name": "x",
                    "url": "http://a",
                    **explodes,
                    "response_headers": {"a": explodes},
                    "values": [{"query": "a", **explodes}],
                }
            ],
            1,
            1,
        )
        assert isinstance(check.what, HttpArguments)
        answer = Response(200, {"a": f"{word}!"}, json.dumps({"a": f"{word}!"}).encode(), truncated=False, elapsed=0.1)
        found = http_problems(check.what.expected, answer, time.monotonic() + 1)
        assert time.monotonic() - begin < 4
        assert [problem.partition("'^(")[0] for problem in found] == [
            f'header a is "{word}!", expected to match; ',
            "whether the answer matches ",
            f'a is "{word}!", expected to match; ',
        ]
        assert "was not found out within" in found[0]
        assert found[2].endswith("was not looked at: no time was left")

    def test_what_was_received_is_cut_and_harmless(self) -> None:
        response = Response(200, {}, b"\x1b[31m" + b"x" * 5000, truncated=True, elapsed=0.1)
        first, second = received(response)
        assert first == "received: status 200, no content type, more than 5005 bytes in 0.100 s"
        assert (len(second), second[:6], second[-1]) == (503, "  �[31m"[:6], "…")
        (check,) = read_checks([{"name": "x", "url": "http://a", "contains": "x"}], 1, 1)
        assert isinstance(check.what, HttpArguments)
        assert http_problems(check.what.expected, response) == [
            "the answer is longer than 5005 bytes, only these were looked at"
        ]


class TestDiagnosisInTime:
    """A node is off: the API server answers, but not where it has to ask the kubelet of that node."""

    SILENT = 20.0

    @pytest.fixture
    def silent(self, fake: FakeKubernetes, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeKubernetes]:
        over = threading.Event()

        def log(pod: str, request: Received) -> Answer:
            over.wait(self.SILENT)
            return Answer(504)

        monkeypatch.setattr(fake, "log", log)
        for number in range(3):
            pod = fixture("pod_crash_loop")
            pod["metadata"]["name"] += f"-{number}"
            (container,) = pod["status"]["containerStatuses"]
            pod["status"]["containerStatuses"].append(container | {"name": "proxy"})
            fake.objects.append(pod)
        yield fake
        over.set()

    def test_logs_are_asked_for_side_by_side_and_last(self, silent: FakeKubernetes, tmp_path: Path, url: str) -> None:
        checks = [
            {"name": "objects", "kubernetes": {"kind": "Deployment", "namespace": "apps"}},
            {"name": "page", "url": url, "status": 204, "behind": [BEHIND] * 3},
        ]
        begin = time.monotonic()
        results = Runner(KubernetesApi(str(tmp_path / "kubeconfig"))).run(read_checks(checks, 1, 0))
        assert time.monotonic() - begin < 5
        for result in results:
            assert not result.passed
            said = "\n".join(result.diagnosis)
            assert "Deployment apps/front-end: 1 of 2 replicas available" in said
            assert "Back-off restarting failed container" in said
            assert "log of previous container proxy: the API server http://127.0.0.1" in said

    def test_looks_for_what_is_hopeless_are_bounded(self, silent: FakeKubernetes, tmp_path: Path) -> None:
        """A view of a cluster has one end for all of its requests."""
        api = KubernetesApi(str(tmp_path / "kubeconfig")).by(time.monotonic() - 1)
        with pytest.raises(KubernetesError, match="no time was left to ask for /api/v1/namespaces/apps/events"):
            api.warnings("apps")


class TestObjects:
    def test_that_are_too_few(self, run: Run, fake: FakeKubernetes) -> None:
        fake.objects.append(fixture("pod_ready"))
        pods = {"kind": "Pod", "namespace": "other", "label_selector": "app=front-end"}
        (result,) = run({"name": "pods", "kubernetes": pods, "deadline": 0})
        assert result.reason == ("found 0 Pod objects that match app=front-end in namespace other, expected at least 1")
        (result,) = run({"name": "pods", "kubernetes": pods | {"minimum": 0}, "deadline": 0})
        assert result.passed

    def test_many_that_are_not_ready(self, run: Run, fake: FakeKubernetes) -> None:
        for number in range(8):
            node = fixture("node_not_ready")
            node["metadata"]["name"] = f"worker-{number}"
            fake.objects.append(node)
        (result,) = run({"name": "nodes", "kubernetes": {"kind": "Node"}, "deadline": 0})
        assert result.reason.count("condition Ready is False: KubeletNotReady") == 5
        assert result.reason.endswith("; … and 3 more")
        assert "  taint node.kubernetes.io/not-ready:NoSchedule" in result.diagnosis

    def test_that_do_not_exist(self, run: Run, fake: FakeKubernetes) -> None:
        (result,) = run({"name": "x", "kubernetes": BEHIND | {"name": "other"}, "deadline": 0})
        assert result.reason == "Deployment apps/other does not exist"

    def test_with_other_values(self, run: Run, fake: FakeKubernetes) -> None:
        values = [{"query": 'metadata.labels."app"', "equals": "other"}, {"query": "spec.replicas", "equals": 2}]
        (result,) = run({"name": "x", "kubernetes": BEHIND | {"values": values}, "deadline": 0})
        assert result.reason.startswith(
            'Deployment apps/front-end: metadata.labels."app" is "front-end", expected "other"; 1 of 2 replicas avail'
        )
        stuck = BEHIND | {"condition": "Progressing", "condition_status": "False", "values": values[1:]}
        assert run({"name": "x", "kubernetes": stuck})[0].passed

    def test_with_another_status_of_a_condition(self, run: Run, fake: FakeKubernetes) -> None:
        stuck = BEHIND | {"condition": "Progressing", "condition_status": "False"}
        assert run({"name": "x", "kubernetes": stuck})[0].passed


class Odd:
    """What nobody thought of."""

    def __init__(self, error: Exception) -> None:
        self.error = error

    def search(self, _document: object) -> object:
        raise self.error


class TestOddities:
    """One check's oddity never takes the other results with it, and all come in their order."""

    @pytest.mark.parametrize("error", [TypeError("odd\nerror"), KeyboardInterrupt(), RecursionError()])
    def test_that_nobody_thought_of(
        self, run: Run, url: str, monkeypatch: pytest.MonkeyPatch, error: Exception
    ) -> None:
        monkeypatch.setattr(arguments.jmespath, "compile", lambda _text: Odd(error))
        odd = {"name": "odd", "url": f"{url}/api/quotes/", "values": [{"query": "a"}]}
        before, result, after = run({"name": "before", "url": url}, odd, {"name": "after", "url": url})
        assert (before.name, before.passed, after.name, after.passed) == ("before", True, "after", True)
        assert (result.passed, result.attempts) == (False, 1)
        words = " ".join(str(error).split())
        assert result.reason.startswith(f"the check itself failed: {type(error).__name__}: {words} (test_smoke.py:")

    def test_of_a_diagnosis(self, run: Run, url: str, fake: FakeKubernetes) -> None:
        """What was received is told all the same."""
        fake.objects[0]["spec"] = 5
        odd, after = run(
            {"name": "odd", "url": url, "status": 204, "behind": BEHIND, "deadline": 0}, {"name": "after", "url": url}
        )
        assert (odd.reason, after.passed) == ("status 200, expected 204", True)
        assert odd.diagnosis[0].startswith("received: status 200")
        assert odd.diagnosis[-1].startswith("no more is known: the check itself failed: AttributeError")

    @pytest.mark.parametrize(
        "kubeconfig",
        [
            "[]",
            "[a, b]",
            "5",
            "text",
            "clusters: {a: 1}",
            "{current-context: a, contexts: [5]}",
            "{current-context: a, contexts: [{name: a, context: []}]}",
            "a: [",
        ],
    )
    def test_of_a_kubeconfig(self, run: Run, url: str, tmp_path: Path, kubeconfig: str) -> None:
        (tmp_path / "kubeconfig").write_text(kubeconfig, encoding="utf-8")
        nodes, after = run({"name": "nodes", "kubernetes": {"kind": "Node"}}, {"name": "after", "url": url})
        assert (nodes.passed, nodes.attempts, after.passed) == (False, 1, True)
        assert nodes.reason.startswith(f"kubeconfig {tmp_path}/kubeconfig: ")

    def test_of_what_is_said(self, run: Run, url: str, fake: FakeKubernetes) -> None:
        """No terminal's controls, and nothing that UTF-8 can't carry, reaches a person or a report."""
        odd = json_answer({"a": "\ud800\x9b31m\x07"})
        odd.headers = {"Content-Type": "a\x1b[31m", "Content-Encoding": "gzip"}
        with serving(lambda request: odd) as server:
            values = [{"query": "a", "equals": 1}]
            (result,) = run({"name": "x", "url": f"http://127.0.0.1:{server.port}/", "values": values, "deadline": 0})
        told = "\n".join([result.reason, *result.diagnosis])
        assert all(line.isprintable() for line in told.split("\n"))
        assert told.encode()
        assert "its body is encoded (gzip), which nobody asked for" in told


class TestModule:
    @pytest.fixture
    def smoke(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
    ) -> Callable[..., dict[str, Any]]:
        """The whole module, on a network without proxies and with a cluster that may not be there."""
        monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
        monkeypatch.setenv("NO_PROXY", "127.0.0.1")
        arguments = {
            "deadline": 0,
            "kubeconfig": str(tmp_path / "kubeconfig"),
            "junit": str(tmp_path / "out/smoke.xml"),
        }

        def do(*checks: dict[str, Any], check: bool = False, **changes: Any) -> dict[str, Any]:
            return run_module("health_check", arguments | {"checks": list(checks)} | changes, capsys, check=check)

        return do

    def test_passes(self, smoke: Callable[..., dict[str, Any]], url: str, tmp_path: Path) -> None:
        values = [{"query": "items[?symbol=='ACME'].price | [0]", "gt": 10}]
        result = smoke(
            {"name": "website", "url": url}, {"name": "quotes", "url": f"{url}/api/quotes/", "values": values}
        )
        assert not result.get("failed")
        assert not result["changed"]
        assert [entry["passed"] for entry in result["results"]] == [True, True]
        assert b'tests="2" failures="0"' in (tmp_path / "out/smoke.xml").read_bytes()

    def test_fails_with_all_results(
        self, smoke: Callable[..., dict[str, Any]], url: str, site: Site, fake: FakeKubernetes, tmp_path: Path
    ) -> None:
        fake.logs["front-end-5d4-crash/front-end/previous"] = "Error: API_URL is not set"
        result = smoke(
            {"name": "website", "url": url, "status": 204, "behind": BEHIND},
            {"name": "front-end", "kubernetes": BEHIND},
            {"name": "quotes", "url": f"{url}/api/quotes/"},
        )
        assert result["failed"]
        assert [entry["passed"] for entry in result["results"]] == [False, False, True]
        lines = result["msg"].splitlines()
        assert lines[0] == "2 of 3 checks failed"
        assert lines[1].startswith("website: status 200, expected 204 (1 attempt in ")
        assert lines[2].startswith("  received: status 200, text/html; charset=utf-8, 15 bytes in ")
        assert "    Error: API_URL is not set" in [line.removeprefix("  ") for line in lines]
        assert any(line.startswith("front-end: Deployment apps/front-end: 1 of 2 replicas available") for line in lines)
        report = (tmp_path / "out/smoke.xml").read_text(encoding="utf-8")
        assert 'tests="3" failures="2"' in report
        assert "Error: API_URL is not set" in report

    def test_secrets_are_not_returned(self, smoke: Callable[..., dict[str, Any]], tmp_path: Path) -> None:
        (tmp_path / "password").write_text("hunter2-hunter2\n", encoding="utf-8")
        authority = make_authority(tmp_path)

        def answer(request: Received) -> Answer:
            return Answer(401, request.headers["authorization"].encode() + b" hunter2-hunter2")

        with serving(answer, authority.server_context()) as secure:
            check = {"name": "registry", "url": f"https://127.0.0.1:{secure.port}/v2/", "ca_path": str(authority.ca)}
            result = smoke(check | {"username": "sandbox", "password_file": str(tmp_path / "password")})
        assert result["results"][0]["reason"] == "status 401, expected 200"
        assert result["results"][0]["diagnosis"][1] == "  Basic ******** ********"
        assert "hunter2" not in result["msg"]
        assert "hunter2" not in (tmp_path / "out/smoke.xml").read_text(encoding="utf-8")

    def test_check_mode_reads(self, smoke: Callable[..., dict[str, Any]], url: str, tmp_path: Path) -> None:
        result = smoke({"name": "get", "url": url}, {"name": "post", "url": url, "method": "POST"}, check=True)
        assert not result.get("failed")
        assert [entry["skipped"] for entry in result["results"]] == [False, True]
        assert not (tmp_path / "out").exists()

    def test_bad_arguments_come_before_the_first_request(
        self, smoke: Callable[..., dict[str, Any]], url: str, server: Server
    ) -> None:
        result = smoke({"name": "a", "url": url}, {"name": "b", "url": url, "status": 99}, deadline=-1)
        assert result["msg"].splitlines() == [
            "deadline: -1.0 is negative",
            "checks[1].status: 99 is not an HTTP status, a number from 100 to 599",
        ]
        assert "results" not in result
        assert server.received == []

    def test_a_missing_kubeconfig_is_named(self, smoke: Callable[..., dict[str, Any]], tmp_path: Path) -> None:
        result = smoke({"name": "nodes", "kubernetes": {"kind": "Node"}})
        assert result["msg"] == f"kubeconfig: {tmp_path}/kubeconfig: no such file"

    def test_a_report_that_cannot_be_written_is_named(
        self, smoke: Callable[..., dict[str, Any]], url: str, tmp_path: Path
    ) -> None:
        (tmp_path / "file").touch()
        result = smoke({"name": "get", "url": url}, junit=str(tmp_path / "file/smoke.xml"))
        assert result["msg"] == f"junit: {tmp_path}/file/smoke.xml: can't be written: File exists"
        assert result["results"][0]["passed"]


def test_a_slow_check_does_not_hold_up_the_others(tmp_path: Path) -> None:
    """The module ends with its slowest check, not with their sum."""
    release = threading.Event()

    def answer(_request: Received) -> Answer:
        release.wait(60)
        return Answer()

    with serving(answer) as server:
        checks = [{"name": str(n), "url": f"http://127.0.0.1:{server.port}/", "timeout": 1} for n in range(10)]
        begin = time.monotonic()
        results = Runner(KubernetesApi(str(tmp_path / "none"))).run(read_checks(checks, 1, 0))
        elapsed = time.monotonic() - begin
        release.set()
    assert {result.passed for result in results} == {False}
    assert results[0].reason.endswith("connected, but the answer was not complete within 1 s")
    assert elapsed < 5


@pytest.mark.parametrize(("timeout", "deadline"), [(0.5, 0), (300.0, 0.1)], ids=["timeout", "deadline"])
def test_an_api_server_that_is_silent_does_not_hold_up_a_check(tmp_path: Path, timeout: float, deadline: float) -> None:
    """The smaller of both limits counts, not the client's own."""
    release = threading.Event()

    def answer(_request: Received) -> Answer:
        release.wait(60)
        return Answer()

    with serving(answer) as server:
        write_kubeconfig(tmp_path / "kubeconfig", server.port)
        begin = time.monotonic()
        checks = read_checks([{"name": "nodes", "kubernetes": {"kind": "Node"}}], timeout, deadline)
        (result,) = Runner(KubernetesApi(str(tmp_path / "kubeconfig"), timeout=300)).run(checks)
        elapsed = time.monotonic() - begin
        release.set()
    assert not result.passed
    assert "can't be reached" in result.reason
    assert "timed out" in result.reason
    assert elapsed < 30
