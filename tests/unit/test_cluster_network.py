# Copyright: cicd.sandbox contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Role `cluster` gives pods a network: with an API server that only pretends, and a kubectl that patches nothing."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from local_server import Answer, FakeKubernetes, Received, json_answer, serving, write_kubeconfig
from playbook_run import run_playbook

PLAYBOOK = """
- hosts: control_plane:workers
  gather_facts: false
  tasks:
    - ansible.builtin.include_role: {name: cicd.sandbox.cluster, tasks_from: network}
"""
DAEMON_SET = {
    "apiVersion": "apps/v1",
    "kind": "DaemonSet",
    "metadata": {"name": "calico-node", "namespace": "kube-system"},
    "spec": {"template": {"spec": {"containers": [{"name": "calico-node", "image": "calico:1"}]}}},
}
DEFINITION = {
    "apiVersion": "apiextensions.k8s.io/v1",
    "kind": "CustomResourceDefinition",
    "metadata": {"name": "ippools.crd.projectcalico.org"},
    "spec": {"group": "crd.projectcalico.org"},
}


class Cluster(FakeKubernetes):
    """An API server to which objects can be applied."""

    def __init__(self) -> None:
        super().__init__([{"apiVersion": "v1", "kind": "Node", "metadata": {"name": "worker-1"}}])
        self.applied: list[str] = []

    def answer(self, request: Received) -> Answer:
        verbs = {"verbs": ["get", "list", "patch"]}
        crds = {"name": "customresourcedefinitions", "kind": "CustomResourceDefinition", "namespaced": False}
        groups = [("apps", "v1"), ("apiextensions.k8s.io", "v1")]
        versions = {group: [{"groupVersion": f"{group}/{version}", "version": version}] for group, version in groups}
        known = {
            "/version": {"major": "1", "minor": "37", "gitVersion": "v1.37.0"},
            "/api": {"kind": "APIVersions", "versions": ["v1"]},
            "/apis": {
                "kind": "APIGroupList",
                "groups": [
                    {"name": group, "versions": found, "preferredVersion": found[0]}
                    for group, found in versions.items()
                ],
            },
            "/apis/apiextensions.k8s.io/v1": {
                "kind": "APIResourceList",
                "groupVersion": "apiextensions.k8s.io/v1",
                "resources": [crds | verbs],
            },
        }
        path = request.path.rstrip("/")
        if path in known:
            return json_answer(known[path])
        if path in ("/api/v1", "/apis/apps/v1"):
            resources = json.loads(super().answer(request).body)["resources"]
            return json_answer(
                {
                    "kind": "APIResourceList",
                    "groupVersion": path.split("/", 2)[2],
                    "resources": [item | verbs for item in resources],
                }
            )
        name = path.rpartition("/")[2]
        if request.method == "PATCH":
            wanted = yaml.safe_load(request.body)
            before = [item for item in self.objects if item["metadata"]["name"] == name]
            if not request.query.get("dryRun"):
                self.applied.append(f"{wanted['kind']}/{name}")
                self.objects = [item for item in self.objects if item not in before] + [wanted]
            return json_answer(wanted)
        if "customresourcedefinitions" in path:
            found = [item for item in self.objects if item["metadata"]["name"] == name]
            return json_answer(found[0]) if found else self.status(404, "NotFound", "not found")
        return super().answer(request)


@pytest.fixture
def cluster() -> Cluster:
    return Cluster()


@pytest.fixture
def state(tmp_path: Path, cluster: Cluster) -> Iterator[Path]:
    """A sandbox's state with a kubectl, a kubeconfig and Calico's manifest in the cache."""
    kubectl = tmp_path / "bin/kubectl"
    kubectl.parent.mkdir()
    kubectl.write_text('#!/bin/sh\ncat "$2/calico-vxlan.yaml"\n')
    kubectl.chmod(0o755)
    manifest(tmp_path, DAEMON_SET, DEFINITION)
    (tmp_path / "play.yml").write_text(PLAYBOOK)
    local = {"ansible_connection": "local", "ansible_python_interpreter": "{{ ansible_playbook_python }}"}
    localhost = {
        "__artifacts_found": {"source": "build"},
        "__artifacts_published": ["calico", "coredns"],
        "__artifacts_paths": {"calico": f"{tmp_path}/calico-1"},
        "__artifacts_tags": {},
    }
    groups = {
        "infra": {"infra-1": {"ansible_host": "192.0.2.2"}},
        "etcd": {},
        "control_plane": {"cp-1": {}},
        "workers": {"worker-1": {}},
    }
    inventory = {
        "all": {
            "vars": local | {"sandbox_name": "t", "sandbox_state_directory": str(tmp_path), "__cluster_joined": True},
            "hosts": {"localhost": localhost},
            "children": {name: {"hosts": hosts} for name, hosts in groups.items()},
        }
    }
    (tmp_path / "hosts.yml").write_text(yaml.safe_dump(inventory))
    with serving(cluster.answer) as server:
        write_kubeconfig(tmp_path / "kubeconfig", server.port)
        yield tmp_path


def manifest(state: Path, *objects: dict[str, Any]) -> None:
    path = state / "calico-1/manifests/calico-vxlan.yaml"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(yaml.safe_dump_all(objects))


def changes(state: Path, *arguments: str) -> int:
    run = run_playbook(state / "play.yml", f"--inventory={state}/hosts.yml", *arguments)
    return sum(stats["changed"] for stats in run.stats.values())


def test_what_differs_is_applied_and_nothing_else(state: Path, cluster: Cluster) -> None:
    def applied(*arguments: str) -> list[str]:
        """Run the role; give what it applied."""
        cluster.applied.clear()
        changed = changes(state, *arguments)
        assert bool(cluster.applied) <= bool(changed)
        return sorted(cluster.applied)

    everything = [
        "CustomResourceDefinition/ippools.crd.projectcalico.org",
        "DaemonSet/calico-node",
        "Node/cp-1",
        "Node/worker-1",
    ]
    assert applied() == everything
    (worker,) = (item for item in cluster.objects if item["metadata"]["name"] == "worker-1")
    assert worker["metadata"]["labels"] == {"node-role.kubernetes.io/worker": ""}
    assert changes(state) == 0
    # By hand.
    worker["metadata"]["labels"].clear()
    assert applied("--check") == []
    assert applied() == everything[1:]
    # By another version.
    manifest(state, DAEMON_SET | {"metadata": DAEMON_SET["metadata"] | {"annotations": {"a": "b"}}}, DEFINITION)
    assert applied() == everything
    # A record that is lost, or none.
    (state / "calico/applied.json").write_text("{")
    assert applied() == everything
    assert applied() == []
