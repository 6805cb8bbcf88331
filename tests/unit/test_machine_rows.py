# Copyright: cicd.sandbox contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the summary says of each machine."""

from __future__ import annotations

from typing import Any

from ansible_collections.cicd.sandbox.plugins.module_utils.summary.machines import machine_rows

GROUPS = {"infra": ["infra-1"], "etcd": ["cp-1"], "control_plane": ["cp-1"], "workers": ["worker-1", "worker-2"]}
MACHINES = ["worker-1", "worker-2", "cp-1", "infra-1"]


def node(name: str, **conditions: str) -> dict[str, Any]:
    found = [{"type": kind, "status": status} for kind, status in conditions.items()]
    return {"metadata": {"name": name}, "status": {"nodeInfo": {"kubeletVersion": "v1.37.2"}, "conditions": found}}


def test_rows_are_the_machines_in_their_order() -> None:
    nodes = [
        node("cp-1", MemoryPressure="False", Ready="True"),
        node("worker-1", Ready="Unknown"),
        node("gone", Ready="True"),
    ]
    rows = machine_rows(MACHINES, GROUPS, {name: f"address of {name}" for name in MACHINES}, nodes)
    assert [row["name"] for row in rows] == MACHINES
    assert [row["address"] for row in rows] == [f"address of {name}" for name in MACHINES]
    assert [row["roles"] for row in rows] == ["workers", "workers", "etcd, control plane", "infra"]
    assert [row["kubernetes"] for row in rows] == ["v1.37.2, not Ready", "", "v1.37.2, Ready", ""]


def test_a_node_that_never_said_how_it_is_is_not_ready() -> None:
    (row,) = machine_rows(["cp-1"], {}, {"cp-1": "a"}, [node("cp-1")])
    assert row == {"name": "cp-1", "address": "a", "roles": "", "kubernetes": "v1.37.2, not Ready"}
