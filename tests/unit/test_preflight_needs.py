# Copyright: cicd.sandbox contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a host has to have for the machines that it is, or that are made on it."""

from __future__ import annotations

from typing import Any

from ansible_collections.cicd.sandbox.plugins.module_utils.preflight.needs import needs

GROUPS = {
    "infra": ["infra-1"],
    "etcd": ["etcd-1", "etcd-2", "cp-1"],
    "control_plane": ["cp-1"],
    "workers": ["worker-1", "worker-2"],
}
MADE = ["infra-1", "etcd-1", "etcd-2", "cp-1", "worker-1"]
PORT = {"number": 8080, "what": "pages", "by": ["us"]}
REQUIREMENTS: dict[str, Any] = {
    "memory_mb": {"infra": 1, "etcd": 10, "control_plane": 100, "workers": "1000"},
    "disk_mb": {"infra": 2, "etcd": 20, "control_plane": 200, "workers": 2000},
    "inodes": {"infra": 3, "etcd": 30, "control_plane": 300, "workers": 3000},
    "ports": {group: [{"number": number, "what": group}] for number, group in enumerate(GROUPS)},
    "controller_ports": [PORT],
    "kernel_options": {"VXLAN": "the pod network"},
    "bridge_options": {"BRIDGE": "machines"},
    "node_disk_percent": 15,
    "library": "/var/lib/ours",
    "cache": "/var/cache/ours",
    "cache_mb": "3072",
    "cache_inodes": "78000",
    "networks": {"sandbox_pod_network": "10.244.0.0/16"},
    "bridge": "sb-ours",
}


def of_machine(name: str, free_mb: int, free_inodes: int) -> dict[str, Any]:
    used_when = f"/var/lib/ours/{name}/lower"
    return {"path": "/var/lib/ours", "free_mb": free_mb, "free_inodes": free_inodes, "used_when": used_when}


def test_the_controller_needs_what_each_machine_does_that_is_made_on_it() -> None:
    """Of a machine that stands nothing is asked anew: of one that is added, all."""
    assert needs(GROUPS, "localhost", MADE, REQUIREMENTS) == {
        "memory": [
            {"mb": 1, "used_when": "/var/lib/ours/infra-1/root/etc/machine-id"},
            {"mb": 10, "used_when": "/var/lib/ours/etcd-1/root/etc/machine-id"},
            {"mb": 10, "used_when": "/var/lib/ours/etcd-2/root/etc/machine-id"},
            {"mb": 110, "used_when": "/var/lib/ours/cp-1/root/etc/machine-id"},
            {"mb": 1000, "used_when": "/var/lib/ours/worker-1/root/etc/machine-id"},
        ],
        "disks": [
            of_machine("infra-1", 2, 3),
            of_machine("etcd-1", 20, 30),
            of_machine("etcd-2", 20, 30),
            of_machine("cp-1", 220, 330),
            of_machine("worker-1", 2000, 3000),
            {"path": "/var/cache/ours", "free_mb": 3072, "free_inodes": 78000},
        ],
        "directories": [
            {"path": "/var/cache/ours", "needs": ["devices", "layers", "owners", "programs"]},
            {"path": "/var/lib/ours", "needs": ["layers", "owners", "programs"], "lower": "/var/cache/ours"},
        ],
        "ports": [PORT],
        "ours": "",
        "networks": {"sandbox_pod_network": "10.244.0.0/16"},
        "bridge": "sb-ours",
        "kernel_options": {"VXLAN": "the pod network", "BRIDGE": "machines"},
        "runs_pods": True,
    }


def test_a_controller_on_which_nothing_is_made_needs_room_for_artifacts() -> None:
    found = needs(GROUPS, "localhost", [], REQUIREMENTS)
    assert (found["memory"], found["kernel_options"], found["runs_pods"]) == ([], {}, False)
    assert (found["networks"], found["bridge"]) == ({}, "")
    assert [disk["free_mb"] for disk in found["disks"]] == [3072]


def test_a_host_needs_what_its_own_groups_need() -> None:
    found = needs(GROUPS, "cp-1", [], REQUIREMENTS)
    assert found["memory"] == [{"mb": 10 + 100, "used_when": "/etc/cicd-sandbox"}]
    assert found["disks"] == [
        {"path": "/var/lib", "free_mb": 20 + 200, "free_inodes": 330, "used_when": "/etc/cicd-sandbox"},
        {"path": "/var/lib", "free_percent": 15},
    ]
    assert found["directories"] == [
        {"path": "/var/lib", "needs": ["owners"]},
        {"path": "/var/lib/containerd", "needs": ["layers", "owners", "programs"]},
    ]
    assert [port["what"] for port in found["ports"]] == ["etcd", "control_plane"]
    assert (found["ours"], found["bridge"]) == ("/etc/cicd-sandbox", "")
    assert found["networks"] == {"sandbox_pod_network": "10.244.0.0/16"}
    assert found["kernel_options"] == {"VXLAN": "the pod network"}


def test_needs_that_an_inventory_leaves_out_or_mistypes() -> None:
    requirements = REQUIREMENTS | {"memory_mb": {"etcd": "lots", "control_plane": 7}}
    assert needs(GROUPS, "cp-1", [], requirements)["memory"][0]["mb"] == 7


def test_a_host_without_pods_needs_no_kernel_of_a_node() -> None:
    found = needs({"etcd": ["etcd-1"]}, "etcd-1", ["infra-1"], REQUIREMENTS)
    assert [memory["mb"] for memory in found["memory"]] == [10]
    assert (found["kernel_options"], found["runs_pods"]) == ({}, False)
    assert found["disks"][1]["free_percent"] == 0
