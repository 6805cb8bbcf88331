# Copyright: cicd.sandbox contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who reaches what of the sample application: each of two layers refuses by itself, with the other switched off.

Policies add up, so that one that allows everything switches its layer off: nothing of the sandbox's is taken away.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from urllib.parse import urlsplit

import pytest
import yaml
from live_cluster import KUBECONFIG, Object, apply, get, kubectl, ready, sleeper, standing, try_kubectl, until
from live_pages import ask

APPS = "apps"
API = ("business-logic.apps.svc", 8000, "business-logic.apps.svc")
QUOTES = "/api/quotes/"
SUFFIX = secrets.token_hex(3)
STRANGER, FRIEND = f"stranger-{SUFFIX}", f"friend-{SUFFIX}"
GATEWAY = {"namespace": "istio-ingress", "name": "sandbox"}

OPEN_NETWORK: Object = {
    "apiVersion": "networking.k8s.io/v1",
    "kind": "NetworkPolicy",
    "metadata": {"name": f"open-{SUFFIX}", "namespace": APPS},
    "spec": {"podSelector": {}, "policyTypes": ["Ingress", "Egress"], "ingress": [{}], "egress": [{}]},
}
OPEN_MESH: Object = {
    "apiVersion": "security.istio.io/v1",
    "kind": "AuthorizationPolicy",
    "metadata": {"name": f"open-{SUFFIX}", "namespace": APPS},
    "spec": {"action": "ALLOW", "rules": [{}]},
}


@pytest.fixture(scope="module")
def image() -> str:
    """An image with Python, which every node may have."""
    api = get("deployment", "business-logic", f"--namespace={APPS}")
    return str(api["spec"]["template"]["spec"]["containers"][0]["image"])


@pytest.fixture(scope="module")
def elsewhere(image: str) -> Iterator[str]:
    """A namespace of the mesh without policies, with a pod whose ServiceAccount is called like the website's."""
    name = f"elsewhere-{SUFFIX}"
    labels = {"istio.io/rev": get("namespace", APPS)["metadata"]["labels"]["istio.io/rev"]}
    namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}}
    with standing(namespace):
        apply(*sleeper("front-end", name, image=image))
        ready(name, "front-end")
        yield name


@pytest.fixture(scope="module")
def pods(image: str) -> Iterator[None]:
    """In the application's namespace a pod of no rights, and one with the identity of the website, not its labels."""
    friend = sleeper(FRIEND, APPS, account="front-end", image=image)
    with standing(*sleeper(STRANGER, APPS, image=image), *friend):
        ready(APPS, STRANGER, FRIEND)
        yield


# What a client says: the status of an answer over HTTP, the first byte of a database's answer to the question for
# encryption, or nothing.
CLIENT = """
import http.client, socket, sys
kind, host, port, name, method, path = sys.argv[1:]
try:
    if kind == "http":
        connection = http.client.HTTPConnection(host, int(port), timeout=4)
        connection.request(method, path, headers={"Host": name})
        print(connection.getresponse().status)
    else:
        with socket.create_connection((host, int(port)), timeout=4) as connection:
            connection.sendall(bytes.fromhex("0000000804d2162f"))
            print(connection.recv(1).decode())
except OSError:
    print()
"""


def said(namespace: str, pod: str, *arguments: str) -> str:
    return kubectl(
        f"--namespace={namespace}", "exec", pod, "--container=main", "--", "python", "-c", CLIENT, *arguments
    )


def status(namespace: str, pod: str, method: str = "GET", path: str = QUOTES, to: tuple[str, int, str] = API) -> int:
    """Status of an answer over HTTP; 0 where there is none."""
    host, port, name = to
    return int(said(namespace, pod, "http", host, str(port), name, method, path) or 0)


def speaks_postgresql(namespace: str, pod: str) -> bool:
    """Whether a database answers to the question for encryption, by N or S."""
    return said(namespace, pod, "postgresql", "postgresql.apps", "5432", "", "", "") in ("N", "S")


def website_answers() -> bool:
    """Whether the website does, at the latest when proxies have ended connections of before a policy changed."""
    return bool(until(lambda: ask("website").status == 200, 30))


@pytest.mark.usefixtures("pods")
def test_nobody_of_the_same_namespace_is_answered() -> None:
    assert status(APPS, STRANGER) != 200
    assert not speaks_postgresql(APPS, STRANGER)
    assert not speaks_postgresql(APPS, FRIEND)
    assert website_answers()


@pytest.mark.usefixtures("pods")
def test_the_mesh_refuses_by_itself(elsewhere: str) -> None:
    with standing(OPEN_NETWORK):
        # The network lets everything through: it is the proxy that answers.
        assert until(lambda: status(APPS, STRANGER) == 403, 30), status(APPS, STRANGER)
        assert until(lambda: status(APPS, FRIEND) == 200, 30), status(APPS, FRIEND)
        for method, path, expected in (
            ("POST", QUOTES, 415),
            ("DELETE", QUOTES, 403),
            ("GET", "/metrics", 403),
            ("GET", "/api/../metrics", 403),
        ):
            assert status(APPS, FRIEND, method, path) == expected, (method, path)
        for pod in (STRANGER, FRIEND):
            assert not speaks_postgresql(APPS, pod)
        # The website's name in another namespace is another identity.
        assert status(elsewhere, "front-end") == 403
        assert not speaks_postgresql(elsewhere, "front-end")
        with standing(OPEN_MESH):
            assert until(lambda: status(APPS, STRANGER) == 200, 30)
            assert until(lambda: speaks_postgresql(APPS, STRANGER), 30)
        assert website_answers()


@pytest.mark.usefixtures("pods")
def test_the_network_refuses_by_itself(elsewhere: str) -> None:
    with standing(OPEN_MESH):
        assert until(lambda: status(APPS, STRANGER) not in (200, 403), 30), status(APPS, STRANGER)
        # Nor from a namespace where every pod may ask whom it likes.
        assert until(lambda: status(elsewhere, "front-end") not in (200, 403), 30)
        for namespace, pod in ((APPS, STRANGER), (APPS, FRIEND), (elsewhere, "front-end")):
            assert not speaks_postgresql(namespace, pod)
        assert website_answers()


# --- in and out ------------------------------------------------------------------------------------------------------


def test_the_gateway_serves_no_route_of_production(elsewhere: str) -> None:
    host = f"route-{SUFFIX}"
    listen = "mkdir -p /tmp/www && echo hello > /tmp/www/index.html && exec busybox httpd -f -p 8080 -h /tmp/www"
    server = sleeper("server", elsewhere, "sh", "-c", listen)
    service: Object = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "server", "namespace": elsewhere},
        "spec": {"selector": {"app": "server"}, "ports": [{"name": "http", "port": 80, "targetPort": 8080}]},
    }
    route: Object = {
        "apiVersion": "gateway.networking.k8s.io/v1",
        "kind": "HTTPRoute",
        "metadata": {"name": host, "namespace": elsewhere},
        "spec": {
            "parentRefs": [GATEWAY],
            "hostnames": [f"{host}.localhost"],
            "rules": [{"backendRefs": [{"name": "server", "port": 80}]}],
        },
    }
    kubectl("label", "namespace", elsewhere, "cicd.sandbox/environment=prod")
    with standing(*server, service, route):
        ready(elsewhere, "server")

        def refused() -> bool:
            parents = get("httproute", host, f"--namespace={elsewhere}").get("status", {}).get("parents", [])
            conditions = [entry for parent in parents for entry in parent["conditions"]]
            return any(entry["reason"] == "NotAllowedByListeners" for entry in conditions)

        assert until(refused, 30)
        assert ask(host).status == 404
        kubectl("label", "namespace", elsewhere, "cicd.sandbox/environment-")
        assert until(lambda: ask(host).status == 200, 30)


def test_pods_ask_only_what_is_declared(elsewhere: str) -> None:
    """The load balancer's landing page stands for another network: it is no part of the mesh, nor of the cluster."""
    address = urlsplit(yaml.safe_load(KUBECONFIG.read_text())["clusters"][0]["cluster"]["server"]).hostname
    assert address
    landing = (address, 80, "sandbox.localhost")
    assert status(elsewhere, "front-end", path="/", to=landing) == 502
    entry: Object = {
        "apiVersion": "networking.istio.io/v1",
        "kind": "ServiceEntry",
        "metadata": {"name": "landing", "namespace": elsewhere},
        "spec": {
            "hosts": ["sandbox.localhost"],
            "exportTo": ["."],
            "location": "MESH_EXTERNAL",
            "resolution": "STATIC",
            "endpoints": [{"address": address}],
            "ports": [{"number": 80, "name": "http", "protocol": "HTTP"}],
        },
    }
    with standing(entry):
        assert until(lambda: status(elsewhere, "front-end", path="/", to=landing) == 200, 30)
    assert until(lambda: status(elsewhere, "front-end", path="/", to=landing) == 502, 30)


# --- labels ----------------------------------------------------------------------------------------------------------


def deployment(namespace: str, **labels: str) -> Object:
    selector = {"matchLabels": {"role": "test"}}
    pod: Object = sleeper("labels", namespace, account="default")[0]
    template = {"metadata": {"labels": {"role": "test", **labels}}, "spec": pod["spec"]}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "labels", "namespace": namespace},
        "spec": {"replicas": 0, "selector": selector, "template": template},
    }


@pytest.mark.parametrize(
    ("labels", "missing"),
    [
        ({}, "no label app and no label version"),
        ({"app": "labels"}, "no label version"),
        ({"app.kubernetes.io/version": "1"}, "no label app"),
    ],
)
def test_workloads_without_app_and_version_are_refused_or_warned(
    elsewhere: str, labels: dict[str, str], missing: str
) -> None:
    words = f"pods of Deployment labels have {missing}: add it to the pod template"
    create = ["create", "--dry-run=server", "--filename=-"]
    refused = try_kubectl(*create, stdin=yaml.safe_dump(deployment(APPS, **labels)))
    assert refused.returncode != 0
    assert words in refused.stderr
    warned = try_kubectl(*create, stdin=yaml.safe_dump(deployment(elsewhere, **labels)))
    assert warned.returncode == 0
    assert "Warning: Validation failed for ValidatingAdmissionPolicy 'workload-labels.cicd.sandbox'" in warned.stderr
    assert words in warned.stderr


def test_workloads_with_app_and_version_pass() -> None:
    document = yaml.safe_dump(deployment(APPS, app="labels", version="1"))
    created = try_kubectl("create", "--dry-run=server", "--filename=-", stdin=document)
    assert (created.returncode, created.stderr) == (0, "")
