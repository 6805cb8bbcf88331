# Copyright: cicd.sandbox contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether a cluster has objects as they were applied: the module manifest_info."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from local_server import FakeKubernetes, Server, serving_kubernetes
from modules import run_module

WANTED: list[dict[str, Any]] = [
    {
        "apiVersion": "apps/v1",
        "kind": "DaemonSet",
        "metadata": {"name": "network", "namespace": "kube-system", "creationTimestamp": None},
        "spec": {
            "template": {
                "spec": {
                    "hostNetwork": True,
                    "shareProcessNamespace": False,
                    "tolerations": [{"operator": "Exists"}],
                    "containers": [
                        {
                            "name": "agent",
                            "image": "agent:1",
                            "env": [{"name": "A", "value": "1"}, {"name": "B", "value": ""}],
                            "volumeMounts": [
                                {"name": "lib", "mountPath": "/lib"},
                                {"name": "lib", "mountPath": "/usr/lib"},
                            ],
                        }
                    ],
                    "volumes": [{"name": "lib", "emptyDir": {}}],
                }
            }
        },
    },
    {"apiVersion": "v1", "kind": "Node", "metadata": {"name": "worker-1", "labels": {"pool": "a", "role": ""}}},
]


def as_the_cluster_has_it() -> list[dict[str, Any]]:
    """The objects with what the API server and others add, and without what it leaves out."""
    network, node = copy.deepcopy(WANTED)
    del network["metadata"]["creationTimestamp"]
    network["metadata"]["uid"] = "1"
    network["status"] = {"numberReady": 3}
    pods = network["spec"]["template"]["spec"]
    del pods["shareProcessNamespace"]
    pods["dnsPolicy"] = "ClusterFirst"
    (agent,) = pods["containers"]
    agent["imagePullPolicy"] = "IfNotPresent"
    agent["env"] = [{"name": "ADDED", "value": "x"}, {"name": "B"}, {"name": "A", "value": "1"}]
    agent["volumeMounts"].reverse()
    node["metadata"]["labels"]["kubernetes.io/hostname"] = "worker-1"
    return [network, node]


@pytest.fixture
def fake() -> FakeKubernetes:
    return FakeKubernetes(as_the_cluster_has_it())


@pytest.fixture
def server(fake: FakeKubernetes, tmp_path: Path) -> Iterator[Server]:
    (tmp_path / "record.json").write_text(json.dumps({"digest": "one", "objects": WANTED}))
    with serving_kubernetes(fake, tmp_path / "kubeconfig") as running:
        yield running


@pytest.fixture
def look(server: Server, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Callable[..., list[str]]:
    def run(digest: str = "one") -> list[str]:
        arguments = {"kubeconfig": f"{tmp_path}/kubeconfig", "record": f"{tmp_path}/record.json", "digest": digest}
        found = run_module("manifest_info", arguments, capsys)
        assert found["recorded"] is (
            digest == "one" and (tmp_path / "record.json").is_file() and "no record" not in str(found)
        )
        lines: list[str] = found["differences"]
        return lines

    return run


def test_what_is_as_it_was_applied_needs_nothing(look: Callable[..., list[str]]) -> None:
    assert look() == []


def agent_of(objects: list[dict[str, Any]]) -> Any:
    return objects[0]["spec"]["template"]["spec"]["containers"][0]


CHANGES: dict[str, Callable[[list[dict[str, Any]]], Any]] = {
    "containers[agent].image": lambda live: agent_of(live).update(image="agent:2"),
    "env[A]": lambda live: agent_of(live)["env"].pop(),
    "env[A].value": lambda live: agent_of(live)["env"][2].update(value="2"),
    "volumeMounts[/usr/lib]": lambda live: agent_of(live)["volumeMounts"].pop(0),
    "tolerations": lambda live: live[0]["spec"]["template"]["spec"]["tolerations"].append({"key": "a"}),
    "tolerations[0].operator": lambda live: live[0]["spec"]["template"]["spec"]["tolerations"][0].clear(),
    "hostNetwork": lambda live: live[0]["spec"]["template"]["spec"].pop("hostNetwork"),
    "spec": lambda live: live[0].pop("spec"),
    "labels.pool": lambda live: live[1]["metadata"]["labels"].pop("pool"),
    # An empty value is a value.
    "metadata.labels.role": lambda live: live[1]["metadata"]["labels"].pop("role"),
    "labels.role": lambda live: live[1]["metadata"]["labels"].update(role="changed"),
    "DaemonSet kube-system/network does not exist": lambda live: live.pop(0),
}


@pytest.mark.parametrize("where", CHANGES)
def test_what_was_changed_by_hand_is_found(fake: FakeKubernetes, look: Callable[..., list[str]], where: str) -> None:
    CHANGES[where](fake.objects)
    (line,) = look()
    assert where in line


def test_only_what_the_same_was_made_from_is_compared(
    server: Server, tmp_path: Path, look: Callable[..., list[str]]
) -> None:
    assert look("two") == ["something else was applied"]
    for text in ("", "[]", "{}"):
        (tmp_path / "record.json").write_text(text)
        (line,) = look()
        assert "is no record" in line
    (tmp_path / "record.json").unlink()
    assert look() == ["it was not applied from here"]
    assert server.received == []


def test_a_cluster_that_does_not_answer_is_no_difference(
    tmp_path: Path, fake: FakeKubernetes, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "record.json").write_text(json.dumps({"digest": "one", "objects": WANTED}))
    with serving_kubernetes(fake, tmp_path / "kubeconfig"):
        pass
    arguments = {"kubeconfig": f"{tmp_path}/kubeconfig", "record": f"{tmp_path}/record.json", "digest": "one"}
    refused = run_module("manifest_info", arguments, capsys)
    assert refused["failed"]
    assert "can't be reached" in refused["msg"]
