# Copyright: cicd.sandbox contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the summary says of each machine."""

from __future__ import annotations

from ansible_collections.cicd.sandbox.plugins.module_utils.summary.machines import machine_rows

GROUPS = {"infra": ["infra-1"], "etcd": ["cp-1"], "control_plane": ["cp-1"], "workers": ["worker-1", "worker-2"]}
MACHINES = ["worker-1", "worker-2", "cp-1", "infra-1"]


def test_rows_are_the_machines_in_their_order() -> None:
    version = "v1.37.2"
    nodes = {name: {"version": version, "ready": name == "cp-1"} for name in ("cp-1", "worker-1", "gone")}
    rows = machine_rows(MACHINES, GROUPS, {name: f"address of {name}" for name in MACHINES}, nodes)
    assert [row["name"] for row in rows] == MACHINES
    assert [row["address"] for row in rows] == [f"address of {name}" for name in MACHINES]
    assert [row["roles"] for row in rows] == ["workers", "workers", "etcd, control plane", "infra"]
    assert [row["kubernetes"] for row in rows] == ["v1.37.2, not Ready", "", "v1.37.2, Ready", ""]
