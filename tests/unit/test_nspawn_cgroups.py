# Copyright: cicd.sandbox contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Control groups of machines on a host without systemd."""

from __future__ import annotations

import ipaddress
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.cicd.sandbox.plugins.module_utils.host import files
from ansible_collections.cicd.sandbox.plugins.module_utils.nspawn import cgroups, system
from ansible_collections.cicd.sandbox.plugins.module_utils.nspawn.machine import MachineDirectory
from ansible_collections.cicd.sandbox.plugins.module_utils.nspawn.site import Machine, Site, site_from
from nspawn_site import params


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return site_from(params(library=str(tmp_path)))


def test_without_systemd_a_machine_gets_every_controller_of_the_unified_hierarchy(
    site: Site, tmp_path: Path, monkeypatch: Any
) -> None:
    monkeypatch.setattr(system, "has_systemd", lambda: False)
    monkeypatch.setattr(cgroups, "CGROUPS", tmp_path / "cgroup")
    machine = MachineDirectory(site, Machine("m", ipaddress.IPv4Address("198.18.0.9"), (), 512))
    group = tmp_path / "cgroup" / machine.cgroup
    above = list(group.parents)[:3]
    group.mkdir(parents=True)
    for directory in above:
        # In this copy of the kernel's tree each controller is written over the one before.
        (directory / "cgroup.controllers").write_text("cpu memory pids\n")
    nspawn = tmp_path / "bin/systemd-nspawn"
    files.write_changed(nspawn, "#!/bin/sh\n", 0o755)
    path = f"{nspawn.parent}:{os.environ['PATH']}"
    shell = ["sh", "-x", "-c", machine.script()]
    traced = subprocess.run(shell, env={"PATH": path}, check=True, capture_output=True, text=True)
    for controller in ("cpu", "memory", "pids"):
        assert traced.stderr.count(f"echo +{controller}\n") == len(above)
    assert [(directory / "cgroup.subtree_control").read_text() for directory in above] == ["+pids\n"] * 3
    assert (group / "memory.max").read_text() == "536870912\n"
    assert int((group / "cgroup.procs").read_text())
    assert not (group / "cgroup.subtree_control").exists()
