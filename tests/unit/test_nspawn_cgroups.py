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
    inner = group / "machine"
    above = [group, *list(group.parents)[:3]]
    inner.mkdir(parents=True)
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
    assert [(directory / "cgroup.subtree_control").read_text() for directory in above] == ["+pids\n"] * 4
    assert (group / "memory.max").read_text() == "536870912\n"
    # What a machine sees as the top is below its limits: it can't lift them.
    assert int((inner / "cgroup.procs").read_text())
    assert not (inner / "memory.max").exists()
    assert not (inner / "cgroup.subtree_control").exists()


def test_without_systemd_a_machine_is_kept_from_the_hosts_devices(site: Site, tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr(system, "has_systemd", lambda: False)
    monkeypatch.setattr(cgroups, "CGROUPS", tmp_path / "cgroup")
    machine = MachineDirectory(site, Machine("m", ipaddress.IPv4Address("198.18.0.9"), (), 512))
    for controller in ("devices", "memory"):
        group = tmp_path / "cgroup" / controller / machine.cgroup
        (group / "machine").mkdir(parents=True)
        (tmp_path / "cgroup" / controller / "cgroup.procs").touch()
    # The kernel's file takes one rule at a time; here the rules are gathered.
    refused = tmp_path / "cgroup/devices" / machine.cgroup / "devices.deny"
    refused.touch()
    nspawn = tmp_path / "bin/systemd-nspawn"
    files.write_changed(nspawn, "#!/bin/sh\n", 0o755)
    path = f"{nspawn.parent}:{os.environ['PATH']}"
    script = machine.script().replace('> "$refused"', '>> "$refused"')
    subprocess.run(["sh", "-c", script], env={"PATH": path}, check=True)
    rules = set(refused.read_text().splitlines())
    assert "b *:* rw" in rules
    # mem, kmem, port, kmsg; a serial line; loop-control, kvm, fuse; input, vfio and what is numbered as it comes
    hosts = ["1:1", "1:2", "1:4", "1:11", "4:*", "10:237", "10:232", "10:229", "13:*", "196:*", "245:*", "511:*"]
    assert {f"c {device} rw" for device in hosts} <= rules
    # null, zero, full, random, urandom; tty, console, ptmx; tun; pseudo-terminals
    own = ["1:3", "1:5", "1:7", "1:8", "1:9", "5:0", "5:1", "5:2", "10:200", "136:*", "143:*", "1:*", "5:*", "10:*"]
    assert not {f"c {device} rw" for device in own} & rules
    # To make a node is not refused.
    assert all(rule.endswith(" rw") for rule in rules)
    assert int((refused.parent / "machine/cgroup.procs").read_text())
    assert (tmp_path / "cgroup/memory" / machine.cgroup / "memory.limit_in_bytes").read_text() == "536870912\n"
