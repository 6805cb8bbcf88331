# Copyright: cicd.sandbox contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tasks of role cluster on volumes of nodes that were made anew, with an API server that only pretends."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import yaml
from checkout import REPOSITORY
from local_server import Answer, FakeKubernetes, Received, json_answer, serving, write_kubeconfig
from playbook_run import PlaybookRun, run_playbook

HOST = {"ansible_connection": "local", "ansible_python_interpreter": "{{ ansible_playbook_python }}"}
PLAY = [
    {
        "hosts": "control_plane:workers",
        "gather_facts": False,
        "tasks": [{"ansible.builtin.include_tasks": str(REPOSITORY / "roles/cluster/tasks/volumes.yml")}],
    }
]


class Cluster(FakeKubernetes):
    """Takes patches, and tells of itself what kubernetes.core wants to know."""

    def answer(self, request: Received) -> Answer:
        path = request.path.rstrip("/")
        about: dict[str, Any] = {
            "/version": {"major": "1", "minor": "37", "gitVersion": "v1.37.0"},
            "/api": {"kind": "APIVersions", "versions": ["v1"]},
            "/apis": {"kind": "APIGroupList", "groups": []},
        }
        if path in about:
            return json_answer(about[path])
        if request.method == "DELETE":
            self.objects = [one for one in self.objects if one["metadata"]["name"] != path.split("/")[-1]]
            return json_answer({"kind": "Status", "status": "Success"})
        if request.method == "PATCH":
            (item,) = (one for one in self.objects if one["metadata"]["name"] == path.split("/")[-1])
            item["metadata"] |= json.loads(request.body)["metadata"]
            return json_answer(item)
        found = json.loads(super().answer(request).body)
        if path == "/api/v1":
            verbs = {"singularName": "", "verbs": ["get", "list", "patch", "delete"]}
            resources = [item | verbs for item in found["resources"]]
            return json_answer({"kind": "APIResourceList", "groupVersion": "v1", "resources": resources})
        return json_answer({"kind": "List", "apiVersion": "v1", "metadata": {}, **found})


def volume(directory: Path, node: str, *, static: bool = False) -> dict[str, Any]:
    expression = {"key": "kubernetes.io/hostname", "operator": "In", "values": [node]}
    provisioner = {} if static else {"pv.kubernetes.io/provisioned-by": "cluster.local/local-path-provisioner"}
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolume",
        "metadata": {"name": directory.name, "annotations": provisioner, "creationTimestamp": "2026-10-02T10:00:00Z"},
        "spec": {
            "claimRef": {"namespace": "shop", "name": f"claim-{directory.name}"},
            "hostPath": {"path": str(directory)},
            "nodeAffinity": {"required": {"nodeSelectorTerms": [{"matchExpressions": [expression]}]}},
        },
        "status": {"phase": "Bound"},
    }


def claim(name: str) -> dict[str, Any]:
    metadata = {"name": f"claim-{name}", "namespace": "shop"}
    return {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": metadata}


def node(name: str, made: str) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "Node", "metadata": {"name": name, "creationTimestamp": made}}


def pod(name: str, *, claim_of: str) -> dict[str, Any]:
    volumes = [{"name": "data", "persistentVolumeClaim": {"claimName": f"claim-{claim_of}"}}]
    metadata = {"name": name, "namespace": "shop"}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": {"volumes": volumes}}


def found(host: str, empty: dict[str, list[str]], new: str) -> dict[str, Any]:
    return {"__cluster_found": {"empty_volumes": empty.get(host, [])}, "__cluster_joined": host != new}


def play(
    directory: Path, cluster: Cluster, new: str = "worker-1", empty: dict[str, list[str]] | None = None
) -> PlaybookRun:
    """Run the tasks where a node is new. empty: node → directories that are as the kubelet makes them."""
    groups = {"infra": ["infra-1"], "control_plane": ["cp-1"], "workers": ["worker-1", "worker-2"]}
    inventory = {
        "all": {
            "vars": {"sandbox_name": f"t-{os.getpid()}", "sandbox_kubeconfig": str(directory / "kubeconfig")},
            "hosts": {"localhost": HOST},
            "children": {
                group: {"hosts": {host: HOST | found(host, empty or {}, new) for host in hosts}}
                for group, hosts in groups.items()
            },
        }
    }
    variables = yaml.safe_load((REPOSITORY / "roles/cluster/vars/main/nodes.yml").read_text())
    names = ("__cluster_nodes", "__cluster_joined_nodes", "__cluster_new_nodes", "__cluster_volume_nodes")
    inventory["all"]["vars"] |= {name: variables[name] for name in (*names, "__cluster_lost_volumes")}
    (directory / "hosts.yml").write_text(yaml.safe_dump(inventory))
    (directory / "play.yml").write_text(yaml.safe_dump(PLAY))
    with serving(cluster.answer) as server:
        write_kubeconfig(directory / "kubeconfig", server.port)
        return run_playbook(directory / "play.yml", f"--inventory={directory}/hosts.yml")


def test_volumes_that_are_gone_are_made_and_said_and_all_others_left_alone(tmp_path: Path) -> None:
    lost, kept, elsewhere = (tmp_path / "store" / name for name in ("lost", "kept", "elsewhere"))
    kept.mkdir(parents=True)
    kept.chmod(0o700)
    places = {lost: "worker-1", kept: "worker-1", elsewhere: "worker-2"}
    claims = {path.name: claim(path.name) for path in places}
    cluster = Cluster([*(volume(path, node) for path, node in places.items()), *claims.values()])
    play(tmp_path, cluster)
    assert lost.stat().st_mode & 0o777 == 0o777
    assert kept.stat().st_mode & 0o777 == 0o700
    assert not elsewhere.exists()
    said = claims["lost"]["metadata"]
    assert said["annotations"] == {"cicd.sandbox/lost-with-node": "worker-1"}
    assert said["labels"]["cicd.sandbox/volume-lost"].isdigit()
    assert not any("labels" in claims[name]["metadata"] for name in ("kept", "elsewhere"))
    assert {stats["changed"] for stats in play(tmp_path, cluster).stats.values()} == {0}


def test_volumes_that_people_made_are_made_anew_too(tmp_path: Path) -> None:
    """Also one that nothing claims yet."""
    claimed, free = tmp_path / "srv/claimed", tmp_path / "srv/free"
    static = [volume(path, "worker-1", static=True) for path in (claimed, free)]
    static[0]["spec"] |= {"hostPath": None, "local": {"path": str(claimed)}}
    static[1]["spec"]["claimRef"] = None
    static[1]["status"]["phase"] = "Available"
    one = claim("claimed")
    play(tmp_path, Cluster([*static, one]))
    assert [path.stat().st_mode & 0o777 for path in (claimed, free)] == [0o777, 0o777]
    assert one["metadata"]["annotations"] == {"cicd.sandbox/lost-with-node": "worker-1"}


def test_directories_that_the_kubelet_of_a_node_made_count_as_lost_once(tmp_path: Path) -> None:
    """The node joined before anybody looked; what could not start without its data is started anew."""
    lost, young = tmp_path / "lost", tmp_path / "young"
    for path in (lost, young):
        path.mkdir(mode=0o755)
    volumes = [volume(path, "worker-2") for path in (lost, young)]
    volumes[1]["metadata"]["creationTimestamp"] = "2026-10-02T12:00:00Z"
    claims = [claim("lost"), claim("young")]
    pods = [pod("database-0", claim_of="lost"), pod("cache-0", claim_of="young")]
    cluster = Cluster([*volumes, *claims, *pods, node("worker-2", "2026-10-02T11:00:00Z")])
    empty = {"worker-2": [str(lost), str(young)]}
    play(tmp_path, cluster, new="nobody", empty=empty)
    assert [path.stat().st_mode & 0o777 for path in (lost, young)] == [0o777, 0o755]
    assert claims[0]["metadata"]["annotations"] == {"cicd.sandbox/lost-with-node": "worker-2"}
    assert "annotations" not in claims[1]["metadata"]
    assert [one["metadata"]["name"] for one in cluster.objects if one["kind"] == "Pod"] == ["cache-0"]
    # It may stay empty for long, and be closed by its program.
    lost.chmod(0o755)
    assert {stats["changed"] for stats in play(tmp_path, cluster, new="nobody", empty=empty).stats.values()} == {0}
