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
        if request.method == "PATCH":
            (item,) = (one for one in self.objects if one["metadata"]["name"] == path.split("/")[-1])
            item["metadata"] |= json.loads(request.body)["metadata"]
            return json_answer(item)
        found = json.loads(super().answer(request).body)
        if path == "/api/v1":
            verbs = {"singularName": "", "verbs": ["get", "list", "patch"]}
            resources = [item | verbs for item in found["resources"]]
            return json_answer({"kind": "APIResourceList", "groupVersion": "v1", "resources": resources})
        return json_answer({"kind": "List", "apiVersion": "v1", "metadata": {}, **found})


def volume(directory: Path, node: str) -> dict[str, Any]:
    expression = {"key": "kubernetes.io/hostname", "operator": "In", "values": [node]}
    provisioner = {"pv.kubernetes.io/provisioned-by": "cluster.local/local-path-provisioner"}
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolume",
        "metadata": {"name": directory.name, "annotations": provisioner},
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


def play(directory: Path, cluster: Cluster) -> PlaybookRun:
    """Run the tasks where worker-1 is new."""
    groups = {"infra": ["infra-1"], "control_plane": ["cp-1"], "workers": ["worker-1", "worker-2"]}
    inventory = {
        "all": {
            "vars": {"sandbox_name": f"t-{os.getpid()}", "sandbox_kubeconfig": str(directory / "kubeconfig")},
            "hosts": {"localhost": HOST},
            "children": {group: {"hosts": dict.fromkeys(hosts, HOST)} for group, hosts in groups.items()},
        }
    }
    inventory["all"]["vars"]["__cluster_new_nodes"] = ["worker-1"]
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
