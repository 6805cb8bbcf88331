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
    "ports": {group: [{"number": number, "what": group}] for number, group in enumerate(GROUPS)},
    "controller_ports": [PORT],
    "kernel_options": {"VXLAN": "the pod network"},
    "bridge_options": {"BRIDGE": "machines"},
    "node_disk_percent": 15,
    "library": "/var/lib/ours",
    "cache": "/var/cache/ours",
    "cache_mb": "3072",
}


def test_the_controller_needs_the_sum_of_what_is_made_on_it() -> None:
    assert needs(GROUPS, "localhost", MADE, REQUIREMENTS) == {
        "memory_mb": 1 + 3 * 10 + 100 + 1000,
        "disks": [
            {"path": "/var/lib/ours", "free_mb": 2 + 3 * 20 + 200 + 2000, "used_when": "/var/lib/ours"},
            {"path": "/var/cache/ours", "free_mb": 3072},
        ],
        "ports": [PORT],
        "kernel_options": {"VXLAN": "the pod network", "BRIDGE": "machines"},
        "runs_pods": True,
    }


def test_a_controller_on_which_nothing_is_made_needs_room_for_artifacts() -> None:
    found = needs(GROUPS, "localhost", [], REQUIREMENTS)
    assert (found["memory_mb"], found["kernel_options"], found["runs_pods"]) == (0, {}, False)
    assert [disk["free_mb"] for disk in found["disks"]] == [0, 3072]


def test_a_host_needs_what_its_own_groups_need() -> None:
    found = needs(GROUPS, "cp-1", [], REQUIREMENTS)
    assert found["memory_mb"] == 10 + 100
    assert found["disks"] == [
        {"path": "/var/lib", "free_mb": 20 + 200, "used_when": "/etc/cicd-sandbox"},
        {"path": "/var/lib", "free_percent": 15},
    ]
    assert [port["what"] for port in found["ports"]] == ["etcd", "control_plane"]
    assert found["kernel_options"] == {"VXLAN": "the pod network"}


def test_a_host_without_pods_needs_no_kernel_of_a_node() -> None:
    found = needs({"etcd": ["etcd-1"]}, "etcd-1", ["infra-1"], REQUIREMENTS)
    assert (found["memory_mb"], found["kernel_options"], found["runs_pods"]) == (10, {}, False)
    assert found["disks"][1]["free_percent"] == 0
