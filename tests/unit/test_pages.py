# Copyright: cicd.sandbox contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Pages that Services declare, and what is made of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from ansible_collections.cicd.sandbox.plugins.filter.page_checks import page_checks
from ansible_collections.cicd.sandbox.plugins.filter.page_links import page_links
from ansible_collections.cicd.sandbox.plugins.module_utils.checks.arguments import read_checks
from ansible_collections.cicd.sandbox.plugins.module_utils.kubernetes.pages import read_pages
from kubernetes_objects import fixture
from local_server import FakeKubernetes, serving_kubernetes
from modules import run_module


def service(name: str = "shop", *, page: str = "shop", node_port: int = 31000, **notes: str) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {
            "name": name,
            "namespace": "web",
            "creationTimestamp": "2026-01-01T00:00:00Z",
            "labels": {"cicd.sandbox/page": page},
            "annotations": {f"cicd.sandbox/{key.replace('_', '-')}": value for key, value in notes.items()},
        },
        "spec": {
            "ports": [
                {"name": "admin", "port": 9000, **({"nodePort": node_port + 1} if node_port else {})},
                {"name": "http", "port": 80, **({"nodePort": node_port} if node_port else {})},
            ]
        },
    }


def test_a_label_alone_makes_a_page() -> None:
    (page,), problems = read_pages([service()])
    assert problems == []
    assert page.as_dict() == {
        "name": "shop",
        "title": "shop",
        "text": "",
        "path": "/",
        "health_path": "/",
        "contains": "",
        "timeout": 10,
        "namespace": "web",
        "service": "shop",
        "node_port": 31001,
    }


def test_annotations_say_more() -> None:
    notes = {"title": "Shop", "text": "Buy.", "path": "/in", "health_path": "/live", "contains": "€", "timeout": "60"}
    (page,), _ = read_pages([service(port="http", **notes)])
    assert page.as_dict() == {
        **notes,
        "timeout": 60,
        "name": "shop",
        "namespace": "web",
        "service": "shop",
        "node_port": 31000,
    }
    assert read_pages([service(timeout="soon")])[0][0].timeout == 10


def test_of_two_pages_of_a_name_the_older_stays() -> None:
    younger = service("imitation")
    younger["metadata"]["creationTimestamp"] = "2026-02-01T00:00:00Z"
    pages, problems = read_pages([younger, service()])
    assert [(page.name, page.service) for page in pages] == [("shop", "shop")]
    assert problems == [
        {"name": "Service web/imitation", "reason": "the page shop is that of Service web/shop"},
    ]


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (service(node_port=0), "can't be reached: the Service's type is not NodePort"),
        (service(page="My_Shop"), "has a name that is no host name"),
        (service(page="sandbox"), "has a name of the sandbox's own"),
        (service(path="/ a"), "has '/ a' for a path"),
        (service(health_path="/x\n  server evil 192.0.2.1:80"), "for a path: it begins with /"),
    ],
)
def test_what_cannot_be_a_page_is_told_and_harms_no_other(wrong: dict[str, Any], words: str) -> None:
    wrong["metadata"]["name"] = "wrong"
    pages, problems = read_pages([wrong, service("good", page="good")], reserved=["sandbox"])
    assert [page.name for page in pages] == ["good"]
    assert [problem["name"] for problem in problems] == ["Service web/wrong"]
    assert words in problems[0]["reason"]


def test_each_page_has_an_address_and_a_check() -> None:
    pages = [page.as_dict() for page in read_pages([service(path="/in", contains="€")])[0]]
    (link,) = page_links(pages, "localhost:8080")
    assert link["url"] == "http://shop.localhost:8080/in"
    assert link["route"] == {
        "name": "shop",
        "hosts": ["shop.localhost"],
        "node_port": 31001,
        "health_path": "/",
        "timeout": 10,
    }
    checks = page_checks(pages, "127.0.0.1:8080", "localhost:8080")
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


def info(capsys: pytest.CaptureFixture[str], kubeconfig: Path) -> dict[str, Any]:
    return run_module("cluster_info", {"kubeconfig": str(kubeconfig), "timeout": 1}, capsys)


def test_nodes_and_pages_are_read_in_one_go(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    node = fixture("node_not_ready")
    node["status"] |= {"nodeInfo": {"kubeletVersion": "v1.37.2"}}
    plain = service("plain")
    plain["metadata"]["labels"] = {}
    with serving_kubernetes(FakeKubernetes([node, service(), plain]), tmp_path / "kubeconfig"):
        found = info(capsys, tmp_path / "kubeconfig")
    assert found["problem"] == ""
    assert [page["service"] for page in found["pages"]] == ["shop"]
    assert found["nodes"] == {node["metadata"]["name"]: {"version": "v1.37.2", "ready": False}}


def test_a_cluster_that_does_not_answer_is_no_error(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    with serving_kubernetes(FakeKubernetes([]), tmp_path / "kubeconfig"):
        pass
    found = info(capsys, tmp_path / "kubeconfig")
    assert "can't be reached" in found["problem"]
    assert (found["nodes"], found["pages"], found["page_problems"]) == ({}, [], [])
