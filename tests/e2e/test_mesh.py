# Copyright: cicd.sandbox contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The mesh as its members and strangers find it: who is answered, under which identity, and how pages are reached."""

from __future__ import annotations

import base64
import json
import re
import secrets
from collections.abc import Iterator

import pytest
from cryptography import x509
from helm import run
from live_cluster import KUBECONFIG, Object, apply, get, kubectl, ready, sleeper, try_kubectl, until
from live_pages import ask as ask_page
from visitors import visitors

GATEWAY = {"namespace": "istio-ingress", "name": "sandbox"}
TRUST_DOMAIN = "cluster.local"
# Answers with who the proxy beside it says has called.
SERVER = """
mkdir -p /tmp/www/cgi-bin
printf '#!/bin/sh\\nprintf "Content-Type: text/plain\\\\r\\\\n\\\\r\\\\n"; env\\n' > /tmp/www/cgi-bin/who
chmod 755 /tmp/www/cgi-bin/who
exec busybox httpd -f -p 8080 -h /tmp/www
"""


@pytest.fixture(scope="module")
def spaces() -> Iterator[tuple[str, str]]:
    """A namespace of the mesh with a server and a client, and one outside of it with a client; gone afterwards."""
    suffix = secrets.token_hex(3)
    inside, outside = f"mesh-test-{suffix}", f"no-mesh-test-{suffix}"
    restricted = {"pod-security.kubernetes.io/enforce": "restricted"}
    injected = get("namespace", "apps")["metadata"]["labels"]["istio.io/rev"]
    objects: list[Object] = [
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": {**restricted, **labels}}}
        for name, labels in ((inside, {"istio.io/rev": injected}), (outside, {}))
    ]
    for name, namespace in (("server", inside), ("client", inside), ("client", outside)):
        command = ["sh", "-euc", SERVER] if name == "server" else []
        objects += sleeper(name, namespace, *command)
    objects.append(
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": "server", "namespace": inside},
            "spec": {"selector": {"app": "server"}, "ports": [{"name": "http", "port": 80, "targetPort": 8080}]},
        }
    )
    apply(*objects)
    try:
        ready(inside, "server", "client")
        ready(outside, "client")
        yield inside, outside
    finally:
        kubectl("delete", "namespace", inside, outside, "--wait=true")


def ask(namespace: str, url: str) -> tuple[int, str]:
    """Ask from the client of a namespace; exit status and what was said."""
    line = ["exec", "client", "--container=main", "--", "busybox", "wget", "-T", "5", "-qO-", url]
    done = try_kubectl("--namespace", namespace, *line)
    return done.returncode, (done.stdout + done.stderr).strip()


def test_a_member_is_answered_and_known_by_its_identity(spaces: tuple[str, str]) -> None:
    inside, _outside = spaces
    asked = until(lambda: (answer := ask(inside, f"http://server.{inside}/cgi-bin/who"))[0] == 0 and answer)
    assert asked, ask(inside, f"http://server.{inside}/cgi-bin/who")
    assert f"URI=spiffe://{TRUST_DOMAIN}/ns/{inside}/sa/client" in asked[1]
    assert f"By=spiffe://{TRUST_DOMAIN}/ns/{inside}/sa/server" in asked[1]


def test_plain_text_from_outside_of_the_mesh_is_refused(spaces: tuple[str, str]) -> None:
    inside, outside = spaces
    address = get("--namespace", inside, "pod", "server")["status"]["podIP"]
    for url in (f"http://server.{inside}.svc/cgi-bin/who", f"http://{address}:8080/cgi-bin/who"):
        status, said = ask(outside, url)
        assert status != 0, f"{url} answered:\n{said}"
        assert "URI=" not in said
    # The stranger's own network is well: what is asked for is refused, not unreachable.
    assert ask(outside, "http://istiod.istio-system.svc:15014/version")[0] == 0


def test_strangers_are_answered_where_plain_text_is_permitted(spaces: tuple[str, str]) -> None:
    """The refusal above is the mesh's, and nothing else's."""
    inside, outside = spaces
    permissive = {
        "apiVersion": "security.istio.io/v1",
        "kind": "PeerAuthentication",
        "metadata": {"name": "permissive", "namespace": inside},
        "spec": {"mtls": {"mode": "PERMISSIVE"}},
    }
    apply(permissive)
    try:
        assert until(lambda: ask(outside, f"http://server.{inside}.svc/cgi-bin/who")[0] == 0, 30)
    finally:
        kubectl("--namespace", inside, "delete", "peerauthentication", "permissive")
    assert until(lambda: ask(outside, f"http://server.{inside}.svc/cgi-bin/who")[0] != 0, 30)


def test_a_members_certificate_carries_its_spiffe_id() -> None:
    (first, *_rest) = get("--namespace=apps", "pods", "--selector=app.kubernetes.io/name=front-end")["items"]
    name = first["metadata"]["name"]
    line = ["--kubeconfig", str(KUBECONFIG), "--namespace=apps", "proxy-config", "secret", name, "--output=json"]
    found = json.loads(run("istioctl", *line))["dynamicActiveSecrets"]
    (own,) = [entry["secret"] for entry in found if entry["name"] == "default"]
    chain = base64.b64decode(own["tlsCertificate"]["certificateChain"]["inlineBytes"])
    leaf = x509.load_pem_x509_certificates(chain)[0]
    names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.UniformResourceIdentifier) == [
        f"spiffe://{TRUST_DOMAIN}/ns/apps/sa/front-end"
    ]


def test_the_sample_application_runs_in_the_mesh() -> None:
    namespace = get("namespace", "apps")["metadata"]["labels"]
    assert namespace["pod-security.kubernetes.io/enforce"] == "restricted"
    pods = get("--namespace=apps", "pods", "--selector=app.kubernetes.io/component=main")["items"]
    assert len(pods) >= 5
    for item in pods:
        proxies = [c for c in item["spec"].get("initContainers", []) if c["name"] == "istio-proxy"]
        assert [proxy["restartPolicy"] for proxy in proxies] == ["Always"], item["metadata"]["name"]


def gateway_log(lines: int = 200) -> list[Object]:
    """The gateway's last answers, as its access log tells them."""
    line = ["--namespace=istio-ingress", "logs", "--selector=app=istio-ingressgateway", f"--tail={lines}"]
    told = [json.loads(text) for text in kubectl(*line).splitlines() if text.startswith("{")]
    return [entry for entry in told if "response_code" in entry]


def test_pages_come_through_the_gateway() -> None:
    # What was tried before has changed policies: connections of before may just have been ended.
    until(lambda: ask_page("website").status == 200, 30)
    answer = ask_page("website")
    told = (answer.status, answer.headers.get("server"))
    assert told == (200, "istio-envoy"), f"{answer.text[:1000]}\n{gateway_log(20)}"
    assert '<th scope="row">' in answer.text
    answer = ask_page("no-such-page")
    assert (answer.status, "website.localhost" in answer.text) == (404, True)


def test_a_route_is_a_page_at_once_and_no_more_when_it_goes(spaces: tuple[str, str]) -> None:
    inside, _outside = spaces
    route = {
        "apiVersion": "gateway.networking.k8s.io/v1",
        "kind": "HTTPRoute",
        "metadata": {"name": "by-hand", "namespace": inside},
        "spec": {
            "parentRefs": [GATEWAY],
            "hostnames": [f"{inside}.localhost"],
            "rules": [
                {
                    "filters": [
                        {
                            "type": "URLRewrite",
                            "urlRewrite": {"path": {"type": "ReplaceFullPath", "replaceFullPath": "/cgi-bin/who"}},
                        }
                    ],
                    "backendRefs": [{"name": "server", "port": 80}],
                }
            ],
        },
    }
    assert ask_page(inside).status == 404
    apply(route)
    try:
        assert until(lambda: ask_page(inside).status == 200, 30), ask_page(inside)
        said = ask_page(inside).text
        assert f"URI=spiffe://{TRUST_DOMAIN}/ns/istio-ingress/sa/istio-ingressgateway" in said
        # The visitor's address is the load balancer's word; what a visitor says of itself does not pass.
        assert re.search(r"^HTTP_X_FORWARDED_PROTO=http$", said, re.MULTILINE)
    finally:
        kubectl("--namespace", inside, "delete", "httproute", "by-hand")
    assert until(lambda: ask_page(inside).status == 404, 30)


def test_proxies_write_access_logs_as_json() -> None:
    assert ask_page("website").status == 200
    entries = until(gateway_log, 20)
    assert entries
    assert {"authority", "method", "path", "duration", "upstream_cluster"} <= set(entries[-1])


def gateways() -> dict[str, str]:
    """Pod → node of the gateways before the pages, those that are going included."""
    found = get("pods", f"--namespace={GATEWAY['namespace']}", "--selector=app=istio-ingressgateway")["items"]
    return {pod["metadata"]["uid"]: pod["spec"].get("nodeName", "") for pod in found}


@pytest.mark.trial
def test_new_gateways_lose_no_request() -> None:
    """Each worker takes one: a new one has to find its place beside the old ones."""
    before = gateways()
    deployment = [f"--namespace={GATEWAY['namespace']}", "--request-timeout=0", "rollout"]
    with visitors():
        kubectl(*deployment, "restart", "deployment/istio-ingressgateway")
        kubectl(*deployment, "status", "deployment/istio-ingressgateway", "--timeout=240s")
        assert until(lambda: not before.keys() & gateways().keys())
    assert sorted(gateways().values()) == sorted(before.values())
