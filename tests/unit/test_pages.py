# Copyright: cicd.sandbox contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Pages that HTTPRoutes declare, and what is made of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from ansible_collections.cicd.sandbox.plugins.filter.page_checks import page_checks
from ansible_collections.cicd.sandbox.plugins.filter.page_links import page_links
from ansible_collections.cicd.sandbox.plugins.module_utils.checks.arguments import read_checks
from ansible_collections.cicd.sandbox.plugins.module_utils.kubernetes.pages import read_pages
from kubernetes_objects import fixture
from local_server import FakeKubernetes, make_authority, serving_kubernetes
from modules import run_module

GATEWAY = ("istio-ingress", "sandbox")


def route(name: str = "shop", *, host: str = "shop.localhost", **notes: str) -> dict[str, Any]:
    return {
        "apiVersion": "gateway.networking.k8s.io/v1",
        "kind": "HTTPRoute",
        "metadata": {
            "name": name,
            "namespace": "web",
            "creationTimestamp": "2026-01-01T00:00:00Z",
            "annotations": {f"cicd.sandbox/{key.replace('_', '-')}": value for key, value in notes.items()},
        },
        "spec": {
            "parentRefs": [{"namespace": "istio-ingress", "name": "sandbox"}],
            "hostnames": [host],
            "rules": [{"backendRefs": [{"name": "shop", "port": 80}]}],
        },
    }


def service(name: str = "shop", *, node_port: int = 31000) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name, "namespace": "web"},
        "spec": {
            "ports": [
                {"name": "admin", "port": 9000, **({"nodePort": node_port + 1} if node_port else {})},
                {"name": "http", "port": 80, **({"nodePort": node_port} if node_port else {})},
            ]
        },
    }


def refused(route: dict[str, Any], **condition: str) -> dict[str, Any]:
    parent = {"parentRef": {"namespace": "istio-ingress", "name": "sandbox"}, "conditions": [condition]}
    return {**route, "status": {"parents": [parent]}}


def test_a_route_alone_makes_a_page() -> None:
    (page,), problems = read_pages([route()], [service()], GATEWAY)
    assert problems == []
    assert page.as_dict() == {
        "name": "shop",
        "hosts": ["shop.localhost"],
        "title": "shop",
        "text": "",
        "path": "/",
        "health_path": "/",
        "contains": "",
        "login": False,
        "timeout": 10,
        "streams": [],
        "namespace": "web",
        "route": "shop",
        "service": "shop",
        "service_namespace": "web",
        "node_port": 31000,
    }


def test_annotations_and_the_rule_say_more() -> None:
    notes = {"title": "Shop", "text": "Buy.", "path": "/in", "health_path": "/live", "contains": "€"}
    more = route(**notes)
    more["spec"]["rules"][0] = {
        "backendRefs": [{"name": "shop", "namespace": "store", "port": 9000}],
        "timeouts": {"request": "1m500ms"},
    }
    stored = service()
    stored["metadata"]["namespace"] = "store"
    (page,), _ = read_pages([more], [stored], GATEWAY)
    told = page.as_dict()
    assert notes.items() <= told.items()
    assert (told["timeout"], told["service_namespace"], told["node_port"]) == (61, "store", 31001)


@pytest.mark.parametrize(
    ("duration", "seconds"), [("5s", 5), ("300ms", 1), ("1h2m", 3720), ("0s", 10), ("soon", 10), ("", 10)]
)
def test_a_time_out_is_whole_seconds(duration: str, seconds: int) -> None:
    timed = route()
    timed["spec"]["rules"][0]["timeouts"] = {"request": duration}
    assert read_pages([timed], [], GATEWAY)[0][0].timeout == seconds


def endless(*matches: dict[str, Any], duration: str = "0s") -> dict[str, Any]:
    backends = [{"name": "shop-events", "port": 80}]
    rule: dict[str, Any] = {"backendRefs": backends, "timeouts": {"request": duration}}
    return {**rule, "matches": list(matches)} if matches else rule


def path(value: str, kind: str = "PathPrefix") -> dict[str, Any]:
    return {"path": {"type": kind, "value": value}}


@pytest.mark.parametrize(
    ("rule", "streams"),
    [
        (endless(path("/events")), ["/events"]),
        (endless(path("/a", "Exact"), path("/b"), duration="0h0m"), ["/a", "/b"]),
        (endless(path("/x.*", "RegularExpression")), ["/"]),
        (endless({"headers": [{"name": "accept", "value": "text/event-stream"}]}), ["/"]),
        (endless(), ["/"]),
        (endless(path("/quick"), duration="1s"), []),
        (endless(path("/quick"), duration="0h1s"), []),
        (endless(path("/unknown"), duration="soon"), []),
    ],
)
@pytest.mark.parametrize("first", [False, True])
def test_a_rule_without_a_limit_makes_streams(rule: dict[str, Any], streams: list[str], first: bool) -> None:
    more = route()
    more["spec"]["rules"][0]["timeouts"] = {"request": "7s"}
    more["spec"]["rules"].insert(0 if first else 1, rule)
    (page,), problems = read_pages([more], [service()], GATEWAY)
    assert (page.streams, problems) == (streams, [])
    if streams:
        # The page itself is the other rule.
        assert (page.timeout, page.service) == (7, "shop")
    (linked,) = page_links([page.as_dict()], "localhost:8080")
    assert linked["entry"]["streams"] == streams


def test_streams_of_another_route_are_the_pages() -> None:
    other = route("shop-events")
    other["metadata"]["creationTimestamp"] = "2026-02-01T00:00:00Z"
    other["spec"]["rules"] = [endless(path("/events"))]
    (page,), _ = read_pages([other, route()], [service()], GATEWAY)
    assert (page.route, page.streams, page.timeout) == ("shop", ["/events"], 10)


def test_a_stream_that_is_no_path_is_refused() -> None:
    wrong = route()
    wrong["spec"]["rules"].append(endless(path("/a b")))
    pages, (problem,) = read_pages([wrong], [service()], GATEWAY)
    assert (pages, "has '/a b' for a path" in problem["reason"]) == ([], True)


@pytest.mark.parametrize(
    "parent",
    [
        {"name": "sandbox"},
        {"namespace": "istio-ingress", "name": "another"},
        {"group": "", "kind": "Service", "namespace": "istio-ingress", "name": "sandbox"},
    ],
)
def test_routes_of_others_are_no_pages(parent: dict[str, str]) -> None:
    of_another = route()
    of_another["spec"]["parentRefs"] = [parent]
    assert read_pages([of_another], [service()], GATEWAY) == ([], [])


def test_of_two_pages_of_a_host_the_older_stays() -> None:
    younger = route("imitation", title="The shop, really")
    younger["metadata"]["creationTimestamp"] = "2026-02-01T00:00:00Z"
    pages, problems = read_pages([younger, route()], [service()], GATEWAY)
    assert [(page.name, page.route) for page in pages] == [("shop", "shop")]
    assert problems == [
        {"name": "HTTPRoute web/imitation", "reason": "the page shop.localhost is that of HTTPRoute web/shop"},
    ]


def test_a_route_for_other_paths_of_a_page_is_no_second_page() -> None:
    other = route("shop-api")
    other["metadata"]["creationTimestamp"] = "2026-02-01T00:00:00Z"
    pages, problems = read_pages([other, route()], [service()], GATEWAY)
    assert ([page.route for page in pages], problems) == (["shop"], [])


WRONG_CONDITION = {"type": "Accepted", "status": "False", "reason": "NotAllowedByListeners", "message": "not\nallowed"}


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (route(host="My_Shop.localhost"), "has 'My_Shop.localhost' for a host name"),
        (route(host="*.localhost"), "and no wildcard"),
        (route(host="shop.localhost\nevil"), "for a host name"),
        (route(host="sandbox.localhost"), "has a name of the sandbox's own, sandbox.localhost"),
        (route(path="/ a"), "has '/ a' for a path"),
        (route(health_path="/x\n  server evil 192.0.2.1:80"), "for a path: it begins with /"),
        (refused(route(), **WRONG_CONDITION), "is refused by the gateway: NotAllowedByListeners: not allowed"),
    ],
)
def test_what_cannot_be_a_page_is_told_and_harms_no_other(wrong: dict[str, Any], words: str) -> None:
    wrong["metadata"]["name"] = "wrong"
    routes = [wrong, route("good", host="good.localhost")]
    pages, problems = read_pages(routes, [service()], GATEWAY, reserved=["sandbox.localhost"])
    assert [page.name for page in pages] == ["good"]
    assert [problem["name"] for problem in problems] == ["HTTPRoute web/wrong"]
    assert words in problems[0]["reason"]


def test_a_route_without_a_host_is_told() -> None:
    anywhere = route()
    del anywhere["spec"]["hostnames"]
    pages, (problem,) = read_pages([anywhere], [service()], GATEWAY)
    assert pages == []
    assert "has no host name of its own" in problem["reason"]


def test_without_a_gateway_a_node_port_has_to_lead_to_a_page() -> None:
    for services, words in (
        (
            [service(node_port=0)],
            "no node port leads to Service web/shop, and without a gateway its type has to be NodePort",
        ),
        ([], "there is no Service web/shop"),
    ):
        assert len(read_pages([route()], services, GATEWAY)[0]) == 1
        pages, (problem,) = read_pages([route()], services, GATEWAY, by_node_port=True)
        assert pages == []
        assert words in problem["reason"]
    assert len(read_pages([route()], [service()], GATEWAY, by_node_port=True)[0]) == 1


def test_each_page_has_an_address_and_a_check() -> None:
    routes = [route(path="/in", contains="€"), route("far", host="shop.example.com")]
    pages = [page.as_dict() for page in read_pages(routes, [service()], GATEWAY)[0]]
    other, link = page_links(pages, "localhost:8080")
    assert link["url"] == "http://shop.localhost:8080/in"
    assert link["entry"] == {
        "name": "shop",
        "hosts": ["shop.localhost"],
        "node_port": 31000,
        "health_path": "/",
        "timeout": 10,
        "streams": [],
    }
    assert (other["url"], other["entry"]["name"]) == ("http://shop.example.com:8080/", "shop.example.com")
    checks = page_checks(pages[1:], "127.0.0.1:8080", "localhost:8080")
    assert checks == [
        {
            "name": "shop",
            "url": "http://127.0.0.1:8080/in",
            "headers": {"Host": "shop.localhost:8080"},
            "status": 200,
            "behind": {"kind": "Service", "namespace": "web", "name": "shop"},
            "contains": "€",
        }
    ]
    assert len(read_checks(checks, deadline=1, timeout=1)) == 1


def test_each_page_of_the_domain_is_checked_with_tls_too(tmp_path: Path) -> None:
    ca = make_authority(tmp_path).ca
    routes = [route(path="/in"), route("far", host="far.example.com")]
    pages = [page.as_dict() for page in read_pages(routes, [service()], GATEWAY)[0]]
    tls = {"address": "127.0.0.1:8443", "domain": "localhost:8443", "ca": str(ca), "only": False}
    checks = page_checks(pages, "127.0.0.1:8080", "localhost:8080", tls)
    # Nobody asks an authority for names of another domain.
    assert [check["url"].partition("/in")[0] for check in checks] == [
        *("http://127.0.0.1:8080/", "http://127.0.0.1:8080", "https://127.0.0.1:8443"),
    ]
    assert checks[-1] | {"behind": None} == {
        "name": "shop with TLS",
        "url": "https://127.0.0.1:8443/in",
        "headers": {"Host": "shop.localhost:8443"},
        "server_name": "shop.localhost",
        "ca_path": str(ca),
        "status": 200,
        "behind": None,
    }
    assert len(read_checks(checks[1:], deadline=1, timeout=1)) == 2
    only = page_checks(pages, "127.0.0.1:8080", "localhost:8080", tls | {"only": True, "ca": ""})
    assert [check["name"] for check in only] == ["shop with TLS"]
    assert "ca_path" not in only[0]


def test_pages_have_addresses_of_https_where_that_is_asked_for() -> None:
    pages = [page.as_dict() for page in read_pages([route(path="/in")], [service()], GATEWAY)[0]]
    (link,) = page_links(pages, "localhost:8080", "localhost:8443")
    assert (link["url"], link["entry"]["name"]) == ("https://shop.localhost:8443/in", "shop")
    assert page_links(pages, "example.org", "example.org")[0]["url"] == "https://shop.localhost/in"


def info(capsys: pytest.CaptureFixture[str], kubeconfig: Path) -> dict[str, Any]:
    gateway = dict(zip(("namespace", "name"), GATEWAY, strict=True))
    return run_module("cluster_info", {"kubeconfig": str(kubeconfig), "gateway": gateway, "timeout": 1}, capsys)


def test_nodes_and_pages_are_read_in_one_go(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    node = fixture("node_not_ready")
    node["status"] |= {"nodeInfo": {"kubeletVersion": "v1.37.2"}}
    with serving_kubernetes(FakeKubernetes([node, service(), route()]), tmp_path / "kubeconfig"):
        found = info(capsys, tmp_path / "kubeconfig")
    assert found["problem"] == ""
    assert [page["service"] for page in found["pages"]] == ["shop"]
    assert found["nodes"] == {node["metadata"]["name"]: {"version": "v1.37.2", "ready": False}}


def test_a_cluster_without_the_gateway_api_has_no_pages(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    node = fixture("node_not_ready")
    with serving_kubernetes(FakeKubernetes([node], unserved=["gateway.networking.k8s.io/v1"]), tmp_path / "kubeconfig"):
        found = info(capsys, tmp_path / "kubeconfig")
    assert (found["problem"], found["pages"], found["page_problems"]) == ("", [], [])
    assert list(found["nodes"]) == [node["metadata"]["name"]]


def test_a_cluster_that_does_not_answer_is_no_error(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    with serving_kubernetes(FakeKubernetes([]), tmp_path / "kubeconfig"):
        pass
    found = info(capsys, tmp_path / "kubeconfig")
    assert "can't be reached" in found["problem"]
    assert (found["nodes"], found["pages"], found["page_problems"]) == ({}, [], [])
