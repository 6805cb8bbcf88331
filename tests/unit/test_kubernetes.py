# Copyright: cicd.sandbox contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reading from a Kubernetes API that answers, refuses or is not there."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from ansible_collections.cicd.sandbox.plugins.module_utils.kubernetes.api import KubernetesApi, KubernetesError, Target
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

POD = Target("Pod", "v1", "apps", "front-end-5d4-good")


@pytest.fixture
def kubeconfig(tmp_path: Path) -> Path:
    return tmp_path / "kubeconfig"


@pytest.fixture
def server(kubeconfig: Path) -> Iterator[Server]:
    objects = [fixture(name) for name in ("pod_ready", "pod_unschedulable", "node_not_ready", "deployment_unavailable")]
    fake = FakeKubernetes(objects + fixture("events"), {"front-end-5d4-good/front-end": "one\ntwo\nthree"})
    with serving_kubernetes(fake, kubeconfig) as running:
        yield running


@pytest.fixture
def api(server: Server, kubeconfig: Path) -> KubernetesApi:
    return KubernetesApi(str(kubeconfig))


def names(api: KubernetesApi, target: Target) -> list[str]:
    return [item["metadata"]["name"] for item in api.objects(target)]


def test_objects_by_name_labels_and_namespace(api: KubernetesApi, server: Server) -> None:
    assert names(api, POD) == ["front-end-5d4-good"]
    assert names(api, Target("Pod", "v1", "apps", label_selector="app=front-end")) == ["front-end-5d4-good"]
    assert names(api, Target("Pod", "v1")) == ["front-end-5d4-good", "big"]
    assert names(api, Target("Pod", "v1", "other")) == []
    assert names(api, Target("Node", "v1", "ignored", "worker-1")) == ["worker-1"]
    assert names(api, Target("Deployment", "apps/v1", "apps")) == ["front-end"]
    assert {request.headers["authorization"] for request in server.received} == {"Bearer t0k3n"}


def test_kinds_are_asked_for_once(api: KubernetesApi, server: Server) -> None:
    for _time in range(3):
        api.objects(POD)
    assert [request.path for request in server.received].count("/api/v1") == 1


def test_a_kind_that_comes_later_is_found(kubeconfig: Path) -> None:
    fake = FakeKubernetes([])
    kinds: list[dict[str, object]] = []

    def answers(request: object) -> Answer:
        path = str(getattr(request, "path", ""))
        if path == "/apis/example.org/v1":
            return Answer(200, json.dumps({"resources": kinds}).encode())
        return Answer(200, b'{"items": []}') if "widgets" in path else fake.status(404, "NotFound", "not found")

    with serving(answers) as server:
        write_kubeconfig(kubeconfig, server.port)
        api, target = KubernetesApi(str(kubeconfig)), Target("Widget", "example.org/v1")
        with pytest.raises(KubernetesError, match=r"knows no kind Widget in example\.org/v1"):
            api.objects(target)
        kinds.append({"name": "widgets", "kind": "Widget", "namespaced": True})
        assert api.objects(target) == []


def test_warnings_are_sorted_and_logs_cut(api: KubernetesApi) -> None:
    reasons = [event["reason"] for event in api.warnings("apps")]
    assert reasons == ["FailedCreate", "BackOff", "Unhealthy", "BackOff"]
    assert api.log("apps", "front-end-5d4-good", "front-end", 2) == ["two", "three"]
    with pytest.raises(
        KubernetesError, match="answers 400 Bad Request: container in pod front-end-5d4-good has no log"
    ):
        api.log("apps", "front-end-5d4-good", "front-end", 2, previous=True)


@pytest.mark.parametrize(
    ("target", "words", "absent"),
    [
        (Target("Pod", "v1", "apps", "nobody"), "Pod apps/nobody does not exist", True),
        (Target("Widget", "v1"), "the API server knows no kind Widget in v1", False),
        (Target("Widget", "example.org/v1"), "the API server does not serve example.org/v1", False),
    ],
)
def test_what_is_not_there_is_named(api: KubernetesApi, target: Target, words: str, absent: bool) -> None:
    with pytest.raises(KubernetesError) as caught:
        api.objects(target)
    assert (str(caught.value), caught.value.absent, caught.value.final) == (words, absent, False)


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (
            FakeKubernetes.status(403, "Forbidden", "no pods for you"),
            "the API server answers 403 Forbidden: no pods for you",
        ),
        (Answer(500, b"etcd is gone"), "the API server answers 500 Internal Server Error: etcd is gone"),
        (Answer(200, b"<html>"), "/api/v1: the API server's answer is not JSON: b'<html>'"),
        (Answer(200, b"[]"), "/api/v1: the API server's answer is not an object"),
        (Answer(200, b"[" * 99999), "/api/v1: the API server's answer is not JSON"),
        (Answer(200, b'{"resources": [5]}'), "/api/v1: the API server's answer is not a list of kinds"),
        (Answer(200, b'{"resources": 5}'), "/api/v1: the API server's answer is not a list of kinds"),
        (Answer(200, b"{}", {"Content-Encoding": "gzip"}), "can't be reached: "),
        (Answer(raw=b"220 mail.example.org ESMTP\r\n\r\n"), "can't be reached: "),
        (Answer(raw=b"HTTP/1.1 200 OK\r\n" + b"X-A: b\r\n" * 9999 + b"\r\n"), "can't be reached: "),
        (Answer(raw=b""), "can't be reached: "),
    ],
)
def test_a_bad_answer_is_said(kubeconfig: Path, answer: Answer, words: str) -> None:
    with serving(lambda _request: answer) as server:
        write_kubeconfig(kubeconfig, server.port)
        with pytest.raises(KubernetesError) as caught:
            KubernetesApi(str(kubeconfig)).objects(POD)
    assert words in str(caught.value)


@pytest.mark.parametrize("items", [5, [5], {"a": 1}])
def test_items_that_are_none_are_said(kubeconfig: Path, items: object) -> None:
    kinds = {"resources": [{"name": "nodes", "kind": "Node"}]}

    def answers(request: Received) -> Answer:
        return json_answer(kinds if request.path == "/api/v1" else {"items": items})

    with serving(answers) as server:
        write_kubeconfig(kubeconfig, server.port)
        with pytest.raises(KubernetesError, match="/api/v1/nodes: the API server's answer is not a list of objects"):
            KubernetesApi(str(kubeconfig)).objects(Target("Node", "v1"))


def test_names_stay_names(api: KubernetesApi, server: Server) -> None:
    """What is in an argument leads to no other path of the API."""
    with pytest.raises(KubernetesError):
        api.objects(Target("Pod", "v1", "../a?b", "c/../d?e"))
    assert server.received[-1].path == "/api/v1/namespaces/..%2Fa%3Fb/pods/c%2F..%2Fd%3Fe"


@pytest.mark.parametrize("how", ["drips", "waits for a token", "asks a name server"])
def test_nothing_takes_longer_than_it_may(kubeconfig: Path, monkeypatch: pytest.MonkeyPatch, how: str) -> None:
    """Each step is short enough, all of them are not; or a step knows no limit."""
    release = threading.Event()

    def drip(listener: socket.socket) -> None:
        with suppress(OSError):
            connection, _address = listener.accept()
            with connection:
                connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 9999\r\n\r\n")
                while not release.wait(0.05):
                    connection.sendall(b" ")

    def resolver(*_arguments: object, **_options: object) -> object:
        release.wait(30)
        raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=drip, args=(listener,), daemon=True)
        thread.start()
        write_kubeconfig(kubeconfig, listener.getsockname()[1])
        config = json.loads(kubeconfig.read_text(encoding="utf-8"))
        if how == "waits for a token":
            program = {"apiVersion": "client.authentication.k8s.io/v1", "command": "sleep", "args": ["3"]}
            config["users"][0]["user"] = {"exec": program | {"interactiveMode": "Never"}}
        if how == "asks a name server":
            config["clusters"][0]["cluster"]["server"] = "http://api.example:1"
            monkeypatch.setattr(socket, "getaddrinfo", resolver)
        kubeconfig.write_text(json.dumps(config), encoding="utf-8")
        begin = time.monotonic()
        with pytest.raises(KubernetesError, match=r"did not answer within 0\.5 s$") as caught:
            KubernetesApi(str(kubeconfig), timeout=0.5).objects(POD)
        assert time.monotonic() - begin < 2.5
        assert not caught.value.final
        release.set()


def test_a_server_that_is_not_there_is_named(server: Server, kubeconfig: Path) -> None:
    write_kubeconfig(kubeconfig, 1)
    with pytest.raises(KubernetesError) as caught:
        KubernetesApi(str(kubeconfig)).objects(POD)
    assert str(caught.value) == "the API server http://127.0.0.1:1 can't be reached: Connection refused"
    assert not caught.value.final


def test_a_server_that_is_not_trusted_is_said(kubeconfig: Path, tmp_path: Path) -> None:
    authority = make_authority(tmp_path)
    with serving(FakeKubernetes([]).answer, authority.server_context()) as server:
        write_kubeconfig(kubeconfig, server.port)
        kubeconfig.write_text(kubeconfig.read_text(encoding="utf-8").replace("http:", "https:"), encoding="utf-8")
        with pytest.raises(KubernetesError, match=r"can't be reached: .*certificate verify failed") as caught:
            KubernetesApi(str(kubeconfig)).objects(POD)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("content", "context", "words"),
    [
        (None, None, "kubeconfig"),
        ("{}", None, "kubeconfig"),
        (None, "nobody", "nobody"),
        ("a: [", None, "kubeconfig"),
        ("[a]", None, "is not a kubeconfig"),
        ("text", None, "is not a kubeconfig"),
    ],
)
def test_a_bad_kubeconfig_is_final(
    server: Server, kubeconfig: Path, content: str | None, context: str | None, words: str
) -> None:
    path = kubeconfig if context else kubeconfig.with_name("other")
    if content is not None:
        path.write_text(content, encoding="utf-8")
    with pytest.raises(KubernetesError, match=words) as caught:
        KubernetesApi(str(path), context).objects(POD)
    assert caught.value.final
