# Copyright: cicd.sandbox contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What somebody finds who runs commands in a pod of the sample application, and in one that no policy holds back.

The second shows what refuses by itself: it is in a namespace of its own, without the mesh and without network policies.
"""

from __future__ import annotations

import base64
import json
import secrets
import ssl
import tomllib
import urllib.error
import urllib.request
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlsplit

import pytest
import yaml
from live_cluster import (
    KUBECONFIG,
    STATE,
    Object,
    apply,
    get,
    kubectl,
    on,
    ready,
    sleeper,
    standing,
    try_kubectl,
    until,
    workers,
)

APPS = "apps"
SUFFIX = secrets.token_hex(3)
FREE, PROD = f"free-{SUFFIX}", f"server-{SUFFIX}"
CLUSTER = yaml.safe_load(KUBECONFIG.read_text())["clusters"][0]["cluster"]
SERVER = CLUSTER["server"]
INFRA = str(urlsplit(SERVER).hostname)

# Asks all addresses at once. An answer is a status of HTTP, "open" for a server that speaks by itself, and "" where
# nobody says anything: a proxy of the mesh takes every connection and closes those that lead nowhere.
CLIENT = """
import concurrent.futures, http.client, json, socket, ssl, sys
def ask(probe):
    host, port, scheme, path = probe
    try:
        if scheme == "tcp":
            with socket.create_connection((host, port), timeout=4) as connection:
                connection.settimeout(4)
                return "open" if connection.recv(1) else ""
        kind = {"http": http.client.HTTPConnection, "https": http.client.HTTPSConnection}[scheme]
        options = {"context": ssl._create_unverified_context()} if scheme == "https" else {}
        connection = kind(host, port, timeout=4, **options)
        connection.request("GET", path)
        return str(connection.getresponse().status)
    except (OSError, http.client.HTTPException):
        return ""
probes = json.loads(sys.argv[1])
with concurrent.futures.ThreadPoolExecutor(32) as pool:
    print(json.dumps(list(pool.map(ask, probes))))
"""


def addresses(selector: str) -> list[str]:
    nodes = get("nodes", f"--selector={selector}")["items"]
    return [
        entry["address"] for node in nodes for entry in node["status"]["addresses"] if entry["type"] == "InternalIP"
    ]


def etcd() -> list[str]:
    configuration = get("configmap", "kubeadm-config", "--namespace=kube-system")["data"]["ClusterConfiguration"]
    return [str(urlsplit(url).hostname) for url in yaml.safe_load(configuration)["etcd"]["external"]["endpoints"]]


Probe = tuple[str, int, str, str]


def probes() -> dict[str, list[Probe]]:
    """What is tried, by what it is."""
    planes, workers = addresses("node-role.kubernetes.io/control-plane"), addresses("node-role.kubernetes.io/worker")
    nodes, gate = [*planes, *workers], INFRA.rpartition(".")[0] + ".1"
    return {
        "kubelet": [
            (node, 10250, "https", path) for node in nodes for path in ("/pods", "/configz", "/exec/apps/front-end/x")
        ],
        "kubelet, read-only": [(node, 10255, "http", "/pods") for node in nodes],
        "etcd": [
            (host, port, scheme, "/version") for host in etcd() for port, scheme in ((2379, "https"), (2380, "https"))
        ],
        "registry": [(INFRA, port, "https", "/v2/_catalog") for port in (5000, 5002)],
        "API server": [
            (host, port, "https", path)
            for host, port in (("kubernetes.default.svc", 443), (INFRA, 6443), *((plane, 6443) for plane in planes))
            for path in ("/api/v1/secrets", "/api/v1/namespaces/apps/pods", "/apis", "/openapi/v3")
        ],
        "control plane": [
            (plane, port, "https", path)
            for plane in planes
            for port in (10257, 10259)
            for path in ("/metrics", "/configz")
        ],
        "machines": [(host, 22, "tcp", "") for host in (*nodes, *etcd(), INFRA)],
        "artifact store": [(INFRA, 8443, "https", "/")],
        "this computer": [
            (gate, port, kind, "/") for port, kind in ((22, "tcp"), (53, "tcp"), (80, "http"), (8080, "http"))
        ],
        "cloud metadata": [("169.254.169.254", 80, "http", "/latest/meta-data/")],
    }


def asked(namespace: str, pod: str, container: str, found: dict[str, list[Probe]]) -> dict[str, list[str]]:
    """Ask from inside a pod: what is tried → the answers."""
    line = [f"--namespace={namespace}", "exec", pod, f"--container={container}", "--"]
    flat = [probe for several in found.values() for probe in several]
    answers = iter(json.loads(kubectl(*line, "python", "-c", CLIENT, json.dumps(flat))))
    return {what: [next(answers) for _ in several] for what, several in found.items()}


def image() -> str:
    """An image with Python, which every node may have."""
    api = get("deployment", "business-logic", f"--namespace={APPS}")
    return str(api["spec"]["template"]["spec"]["containers"][0]["image"])


@pytest.fixture(scope="module")
def compromised() -> str:
    """The pod of the sample application in which somebody runs commands."""
    pods = get("pods", f"--namespace={APPS}", "--selector=app=business-logic", "--field-selector=status.phase=Running")
    names = [item["metadata"]["name"] for item in pods["items"] if "migrate" not in item["metadata"]["name"]]
    return f"pod/{names[0]}"


@pytest.fixture(scope="module")
def from_the_application(compromised: str) -> dict[str, list[str]]:
    return asked(APPS, compromised, "business-logic", probes())


@pytest.fixture(scope="module")
def from_a_free_pod() -> Iterator[dict[str, list[str]]]:
    with standing({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": FREE}}):
        apply(*sleeper("free", FREE, image=image()))
        ready(FREE, "free")
        yield asked(FREE, "pod/free", "main", probes())


def test_the_application_reaches_nothing_that_is_not_declared(from_the_application: dict[str, list[str]]) -> None:
    reached = {what: answers for what, answers in from_the_application.items() if any(answers)}
    # A proxy of the mesh may say for plain HTTP that there is no such service.
    assert {what: set(answers) - {"", "502", "503"} for what, answers in reached.items()} == {
        what: set() for what in reached
    }


def test_what_it_asks_with_would_be_answered(compromised: str) -> None:
    """The way of asking is able to see an answer."""
    own = {"own": [("127.0.0.1", 8000, "http", "/livez")]}
    assert asked(APPS, compromised, "business-logic", own) == {"own": ["200"]}


def test_kubelets_answer_nobody_without_a_certificate(from_a_free_pod: dict[str, list[str]]) -> None:
    assert set(from_a_free_pod["kubelet"]) == {"401"}
    assert set(from_a_free_pod["kubelet, read-only"]) == {""}


def test_etcd_answers_nobody_without_a_certificate(from_a_free_pod: dict[str, list[str]]) -> None:
    assert set(from_a_free_pod["etcd"]) == {""}


def test_the_registry_wants_a_password(from_a_free_pod: dict[str, list[str]]) -> None:
    assert from_a_free_pod["registry"] == ["401", "401"]


def test_what_a_node_has_writes_no_image() -> None:
    """Whoever gets hold of a node has its password for images."""
    (node, *_) = workers()
    settings = tomllib.loads(on(node, "cat", "/etc/containerd/certs.d/_default/hosts.toml"))
    ((url, host),) = settings["host"].items()
    (authorization,) = host["header"]["Authorization"]
    pulls = urlsplit(url)
    context = ssl.create_default_context(cafile=str(STATE / "pki/sandbox/ca.crt"))

    def status(port: int | None, path: str, method: str = "GET") -> int:
        request = urllib.request.Request(
            f"https://{pulls.hostname}:{port}/v2/{path}", method=method, headers={"Authorization": authorization}
        )
        try:
            with urllib.request.urlopen(request, timeout=20, context=context) as answer:
                return int(answer.status)
        except urllib.error.HTTPError as error:
            return error.code

    # Whether there is such an image does not matter.
    repository = "docker.io/library/busybox"
    assert status(pulls.port, "") == 200
    # Begin to write a layer, replace an image, remove one.
    ways = [("POST", "blobs/uploads/"), ("PUT", "manifests/latest"), ("DELETE", f"manifests/sha256:{'0' * 64}")]
    for method, path in ways:
        assert status(pulls.port, f"{repository}/{path}", method) == 405, method
        # Where images are written, nobody knows it.
        assert status(5000, f"{repository}/{path}", method) == 401, method
    assert status(5000, "") == 401


def test_the_control_plane_wants_to_know_who_asks(from_a_free_pod: dict[str, list[str]]) -> None:
    assert set(from_a_free_pod["API server"]) == {"401"}
    assert set(from_a_free_pod["control plane"]) <= {"", "401", "403"}


def test_nobody_gives_a_pod_the_clouds_credentials(from_a_free_pod: dict[str, list[str]]) -> None:
    assert set(from_a_free_pod["cloud metadata"]) == {""}


def test_the_application_has_no_token(compromised: str) -> None:
    look = "import os, sys; sys.exit(any(os.path.lexists(path) for path in sys.argv[1:]))"
    paths = [f"{run}/secrets/kubernetes.io/serviceaccount" for run in ("/var/run", "/run")]
    line = [f"--namespace={APPS}", "exec", compromised, "--container=business-logic", "--"]
    kubectl(*line, "python", "-c", look, *paths)


def test_anonymous_requests_are_answered_for_health_alone() -> None:
    def status(path: str) -> int:
        context = ssl.create_default_context(cadata=base64.b64decode(CLUSTER["certificate-authority-data"]).decode())
        try:
            with urllib.request.urlopen(f"{SERVER}{path}", timeout=20, context=context) as answer:
                return int(answer.status)
        except urllib.error.HTTPError as error:
            return error.code

    assert {path: status(path) for path in ("/livez", "/readyz", "/healthz")} == dict.fromkeys(
        ("/livez", "/readyz", "/healthz"), 200
    )
    others = ("/", "/version", "/api", "/apis", "/metrics", "/logs/", "/debug/pprof/", "/openapi/v2", "/livez/etcd")
    assert {path: status(path) for path in others} == dict.fromkeys(others, 401)


def test_a_join_token_of_yesterday_joins_nothing() -> None:
    """Runs delete theirs. One that was left is good for nothing when its time is over, one that is deleted at once."""
    kind = "--field-selector=type=bootstrap.kubernetes.io/token"
    assert get("secrets", "--namespace=kube-system", kind)["items"] == []
    context = ssl.create_default_context(cadata=base64.b64decode(CLUSTER["certificate-authority-data"]).decode())

    def token(number: int, hours: int) -> tuple[str, Object]:
        name, secret = f"{number}{secrets.token_hex(3)}"[:6], secrets.token_hex(8)
        expiration = (datetime.now(UTC) + timedelta(hours=hours)).strftime("%Y-%m-%dT%H:%M:%SZ")
        described: Object = {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": f"bootstrap-token-{name}", "namespace": "kube-system"},
            "type": "bootstrap.kubernetes.io/token",
            "stringData": {
                "token-id": name,
                "token-secret": secret,
                "expiration": expiration,
                "usage-bootstrap-authentication": "true",
                "usage-bootstrap-signing": "true",
                "auth-extra-groups": "system:bootstrappers:kubeadm:default-node-token",
            },
        }
        return f"{name}.{secret}", described

    def status(credential: str) -> int:
        # What a joining node asks first.
        request = urllib.request.Request(
            f"{SERVER}/api/v1/namespaces/kube-system/configmaps/kubeadm-config",
            headers={"Authorization": f"Bearer {credential}"},
        )
        try:
            with urllib.request.urlopen(request, timeout=20, context=context) as answer:
                return int(answer.status)
        except urllib.error.HTTPError as error:
            return error.code

    (fresh, described), (old, of_yesterday) = token(1, 1), token(2, -24)
    with standing(described, of_yesterday):
        # Whoever asks like this is heard while a token is good.
        assert until(lambda: status(fresh) == 200, 10)
        assert status(old) == 401
    assert until(lambda: status(fresh) == 401, 10)


# --- other tenants ---------------------------------------------------------------------------------------------------


def test_a_tenants_pods_reach_no_other_tenants_services(compromised: str) -> None:
    server = sleeper(PROD, "prod", "python", "-m", "http.server", "8080", image=image())
    service: Object = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": PROD, "namespace": "prod"},
        "spec": {"selector": {"app": PROD}, "ports": [{"name": "http", "port": 80, "targetPort": 8080}]},
    }
    client, neighbour = sleeper(PROD, "dev", image=image()), sleeper(f"{PROD}-near", "prod", image=image())
    with standing(*server, service, *client, *neighbour):
        ready("prod", PROD, f"{PROD}-near")
        ready("dev", PROD)
        there = {"server": [(f"{PROD}.prod.svc", 80, "http", "/")]}
        assert asked("prod", f"pod/{PROD}-near", "main", there) == {"server": ["200"]}
        for namespace, pod, container in (("dev", f"pod/{PROD}", "main"), (APPS, compromised, "business-logic")):
            (answer,) = asked(namespace, pod, container, there)["server"]
            assert answer in {"", "502", "503", "504"}, namespace


# --- out of the pod --------------------------------------------------------------------------------------------------

HOST_PATH = {"volumes": [{"name": "host", "hostPath": {"path": "/"}}]}
ESCAPES: dict[str, tuple[Object, Object]] = {
    "privileged": ({}, {"securityContext": {"privileged": True}}),
    "host path": (HOST_PATH, {"volumeMounts": [{"name": "host", "mountPath": "/host"}]}),
    "host network": ({"hostNetwork": True}, {}),
    "host processes": ({"hostPID": True}, {}),
    "host memory": ({"hostIPC": True}, {}),
    "host port": ({}, {"ports": [{"containerPort": 8080, "hostPort": 8080}]}),
    "root": ({"securityContext": {"runAsUser": 0}}, {}),
    "capability": ({}, {"securityContext": {"capabilities": {"add": ["SYS_ADMIN"]}}}),
    "new privileges": ({}, {"securityContext": {"allowPrivilegeEscalation": True}}),
    "no seccomp": ({"securityContext": {"seccompProfile": {"type": "Unconfined"}}}, {}),
}


@pytest.mark.parametrize("way", ESCAPES)
@pytest.mark.parametrize("namespace", ["apps", "dev", "prod"])
def test_no_pod_gets_hold_of_its_node(namespace: str, way: str) -> None:
    """Not even one that the admin brings: who does it by mistake is told."""
    (described,) = sleeper("escape", namespace, account="default")
    spec, container = ESCAPES[way]
    described["spec"] |= spec
    described["spec"]["containers"][0] |= container
    line = ["create", "--dry-run=server", "--filename=-"]
    refused = try_kubectl(*line, stdin=yaml.safe_dump(described))
    assert refused.returncode != 0
    assert 'violates PodSecurity "restricted:latest"' in refused.stderr


def test_a_pod_that_is_no_escape_passes() -> None:
    for namespace in ("apps", "dev", "prod"):
        described: Any = sleeper("escape", namespace, account="default")
        done = try_kubectl("create", "--dry-run=server", "--filename=-", stdin=yaml.safe_dump_all(described))
        assert done.returncode == 0, done.stderr
