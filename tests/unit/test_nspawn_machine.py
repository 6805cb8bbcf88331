# Copyright: cicd.sandbox contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""One machine: its files, its settings and what is to be done for it to run, without a machine."""

from __future__ import annotations

import dataclasses
import ipaddress
import json
import os
import re
import signal
import subprocess
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.cicd.sandbox.plugins.module_utils.host import files
from ansible_collections.cicd.sandbox.plugins.module_utils.nspawn import cgroups, system, units
from ansible_collections.cicd.sandbox.plugins.module_utils.nspawn import machine as nspawn_machine
from ansible_collections.cicd.sandbox.plugins.module_utils.nspawn.machine import Action, MachineDirectory
from ansible_collections.cicd.sandbox.plugins.module_utils.nspawn.site import Machine, Site, site_from
from ansible_collections.cicd.sandbox.plugins.module_utils.nspawn.system import NspawnError
from nspawn_site import params


@pytest.fixture
def site(tmp_path: Path, monkeypatch: Any) -> Site:
    # A sandbox of this name may stand on this computer: its processes are not these machines'.
    monkeypatch.setattr(cgroups, "CGROUPS", tmp_path / "no-cgroups")
    (tmp_path / "no-cgroups").mkdir()
    return site_from(params(library=str(tmp_path)))


def test_the_command_line_binds_data_outside_the_overlay(site: Site) -> None:
    machine = MachineDirectory(site, site.machines[0])
    command = machine.command()
    assert f"--bind={site.library}/cp-1/data/var-lib-etcd:/var/lib/etcd" in command
    assert "--machine=dev-cp-1" in command
    assert "--network-bridge=sb-dev" in command
    assert "--system-call-filter=bpf" in command


def test_a_machine_is_given_nothing_of_the_host_that_kubernetes_does_without(site: Site) -> None:
    machine = MachineDirectory(site, site.machines[0])
    line = " ".join(machine.command())
    given = {word for part in machine.command() if part.startswith("--capability=") for word in part[13:].split(",")}
    assert not given & {
        "all",
        *(
            f"CAP_{name}"
            for name in (
                "MAC_ADMIN",
                "MAC_OVERRIDE",
                "SYSLOG",
                "SYS_BOOT",
                "SYS_MODULE",
                "SYS_RAWIO",
                "SYS_TIME",
                "WAKE_ALARM",
            )
        ),
    }
    # systemd-nspawn's own default has it.
    assert "--drop-capability=CAP_SYS_BOOT" in line
    assert "/dev/" not in line
    assert "SYSTEMD_NSPAWN_API_VFS_WRITABLE=network\n" in machine.script()


@pytest.mark.parametrize(("unified", "policy"), [(False, "auto"), (True, "closed")])
def test_a_machines_unit_keeps_it_from_the_hosts_devices(
    site: Site, monkeypatch: Any, unified: bool, policy: str
) -> None:
    monkeypatch.setattr(cgroups, "unified", lambda: unified)
    unit = MachineDirectory(site, site.machines[0]).host_unit()
    assert f"\nDevicePolicy={policy}\n" in unit
    allowed = re.findall("^DeviceAllow=(.*)$", unit, re.MULTILINE)
    assert allowed == (["char-pts rw", "/dev/net/tun rwm"] if unified else [])


def test_a_kubelet_finds_what_it_would_otherwise_write_to_the_hosts_kernel(site: Site, monkeypatch: Any) -> None:
    monkeypatch.setattr(system, "run", lambda line, **_: Path(line[-1]).write_text("key") and "")
    machine = MachineDirectory(site, site.machines[0])
    machine.write_files()
    view = machine.root / units.KERNEL_VIEW_PATH
    assert (view / "vm/overcommit_memory").read_text() == "1\n"
    assert (view / "kernel/panic").read_text() == "10\n"
    assert (machine.root / "etc/systemd/system/multi-user.target.wants/sandbox-kernel.service").is_symlink()


@pytest.mark.parametrize("memory", [0, 512])
@pytest.mark.parametrize("unified", [False, True])
@pytest.mark.parametrize("systemd", [False, True])
def test_the_script_is_one_that_a_shell_reads(
    site: Site, tmp_path: Path, monkeypatch: Any, memory: int, unified: bool, systemd: bool
) -> None:
    monkeypatch.setattr(system, "has_systemd", lambda: systemd)
    monkeypatch.setattr(cgroups, "unified", lambda: unified)
    machine = Machine("m", ipaddress.IPv4Address("198.18.0.9"), (), memory)
    script = tmp_path / "run"
    script.write_text(MachineDirectory(site, machine).script())
    subprocess.run(["sh", "-n", str(script)], check=True)
    # systemd keeps a unit's processes in the unit's own group, and limits it itself.
    assert ("cgroup.procs" in script.read_text()) == (not systemd)
    assert ("536870912" in script.read_text()) == (bool(memory) and not systemd)


def test_files_are_stale_until_written_and_after_a_change(site: Site, tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr(system, "run", lambda line, **_: Path(line[-1]).write_text("key") and "")
    machine = MachineDirectory(site, site.machines[0])
    assert "etc/hosts" in machine.stale_files()
    machine.write_files()
    assert machine.stale_files() == []
    assert "198.18.0.21\tcp-1\n" in (machine.root / "etc/hosts").read_text()
    assert (machine.root / "root/.ssh/authorized_keys").stat().st_mode & 0o777 == 0o600
    assert json.loads((machine.root / "etc/ansible/facts.d/machine.fact").read_text())["provider"] == "nspawn"
    (machine.root / "etc/hosts").write_text("gone\n")
    assert machine.stale_files() == ["etc/hosts"]


def test_a_process_id_that_is_somebody_elses_is_not_the_machine(site: Site, monkeypatch: Any) -> None:
    monkeypatch.setattr(system, "has_systemd", lambda: False)
    machine = MachineDirectory(site, site.machines[0])
    machine.path.mkdir()
    assert machine.pid() is None
    machine.pid_file.write_text(str(os.getpid()))
    assert machine.pid() is None
    machine.pid_file.write_text("")
    assert machine.pid() is None


def test_the_plan(site: Site, monkeypatch: Any) -> None:
    machine = MachineDirectory(site, site.machines[0])
    links = {"vb-dev-cp-1": "sb-dev"}
    monkeypatch.setattr(MachineDirectory, "processes", lambda _: set())
    assert machine.plan(links) == [Action.CREATE, Action.START]
    machine.path.mkdir()
    (machine.path / "lower").write_text("/root-fs")
    monkeypatch.setattr(MachineDirectory, "pid", lambda _: None)
    assert machine.plan(links) == [Action.START]
    monkeypatch.setattr(MachineDirectory, "pid", lambda _: 7)
    monkeypatch.setattr(MachineDirectory, "settings_changed", lambda _: False)
    monkeypatch.setattr(MachineDirectory, "stale_files", lambda _: ["etc/hosts"])
    assert machine.plan(links) == [Action.UPDATE]
    monkeypatch.setattr(MachineDirectory, "stale_files", lambda _: [])
    assert machine.plan(links) == []


def test_a_machine_that_runs_is_put_back_on_its_bridge_or_started_anew(site: Site, monkeypatch: Any) -> None:
    machine = MachineDirectory(site, site.machines[0])
    (machine.path / "root").mkdir(parents=True)
    (machine.path / "lower").write_text("/root-fs")
    stale: list[str] = []
    monkeypatch.setattr(MachineDirectory, "pid", lambda _: 7)
    monkeypatch.setattr(MachineDirectory, "settings_changed", lambda _: False)
    monkeypatch.setattr(MachineDirectory, "stale_files", lambda _: stale)
    assert machine.plan({"vb-dev-cp-1": ""}) == [Action.ATTACH]
    assert machine.plan({"vb-dev-cp-1": "sb-other"}) == [Action.ATTACH]
    assert machine.plan({"vb-dev-cp-2": "sb-dev"}) == [Action.STOP_FOR_LINK, Action.START]
    stale.append(units.NETWORK_UNIT_PATH)
    assert machine.plan({"vb-dev-cp-1": "sb-dev"}) == [Action.STOP_FOR_ADDRESS, Action.START]
    stale.clear()
    monkeypatch.setattr(MachineDirectory, "settings_changed", lambda _: True)
    assert machine.plan({"vb-dev-cp-1": "sb-dev"}) == [Action.STOP_FOR_SETTINGS, Action.START]


@pytest.mark.parametrize(
    ("library", "words"), [("/srv/x", "/srv/x/cp-1/run"), ("/srv/o'h é b", """/bin/sh "/srv/o'h é b/cp-1/run\"""")]
)
def test_a_unit_names_the_script_however_that_is_written(site: Site, library: str, words: str) -> None:
    unit = MachineDirectory(dataclasses.replace(site, library=Path(library)), site.machines[0]).host_unit()
    assert f"ExecStart={words}\n" in unit


@pytest.mark.parametrize("systemd", [False, True])
def test_settings_are_compared_with_those_it_was_started_with(
    site: Site, tmp_path: Path, monkeypatch: Any, systemd: bool
) -> None:
    monkeypatch.setattr(system, "has_systemd", lambda: systemd)
    monkeypatch.setattr(nspawn_machine, "UPLINK_RESOLVER", tmp_path / "resolv.conf")

    def described(**changes: Any) -> MachineDirectory:
        machine = MachineDirectory(site, dataclasses.replace(site.machines[0], **changes))
        machine.unit_file = tmp_path / "unit"
        return machine

    machine = described()
    assert machine.settings_changed()
    files.write_changed(machine.start_script, machine.script())
    files.write_changed(machine.unit_file, machine.host_unit())
    assert not described().settings_changed()
    assert described(memory_mb=512).settings_changed()
    assert described(data_directories=("/srv",)).settings_changed()
    (tmp_path / "resolv.conf").touch()
    assert not described().settings_changed()


def test_a_link_is_that_of_the_whole_name(site: Site, monkeypatch: Any) -> None:
    """Cut off after 15 characters, the link of worker-10 is that of worker-1."""
    lines: list[list[str]] = []

    def no_such_link(line: list[str], **_: Any) -> str:
        lines.append(line)
        raise NspawnError("Cannot find device")

    monkeypatch.setattr(system, "run", no_such_link)
    machine = MachineDirectory(site, Machine("worker-10", ipaddress.IPv4Address("198.18.0.40")))
    assert not machine.link_up()
    assert lines == [["ip", "link", "set", "dev", "vb-dev-worker-10", "up"]]


@pytest.mark.parametrize("unified", [False, True])
def test_what_outlived_systemd_nspawn_is_found_and_ended(
    site: Site, tmp_path: Path, monkeypatch: Any, unified: bool
) -> None:
    monkeypatch.setattr(cgroups, "CGROUPS", tmp_path / "cgroup")
    monkeypatch.setattr(system, "has_systemd", lambda: False)
    machine = MachineDirectory(site, site.machines[0])
    files.write_changed(machine.path / "lower", "/root-fs")
    hierarchy = tmp_path / "cgroup" / ("" if unified else "pids")
    hierarchy.mkdir(parents=True)
    group = hierarchy / machine.cgroup / "payload"
    if unified:
        files.write_changed(tmp_path / "cgroup/cgroup.controllers", "pids")
    assert machine.plan({}) == [Action.START]
    orphan = subprocess.Popen(["sleep", "60"])
    files.write_changed(group / "cgroup.procs", f"0\n{orphan.pid}\n")
    assert machine.pid() is None
    assert machine.runs()
    assert machine.plan({}) == [Action.END_REMNANTS, Action.START]
    machine.kill()
    assert orphan.wait(timeout=10) == -signal.SIGKILL
