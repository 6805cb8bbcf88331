# Copyright: cicd.sandbox contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""All machines of a sandbox: what is done to which, and what is said of those that do not come up."""

from __future__ import annotations

import dataclasses
import shlex
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.cicd.sandbox.plugins.module_utils.host import files
from ansible_collections.cicd.sandbox.plugins.module_utils.nspawn import cgroups, fleet, system
from ansible_collections.cicd.sandbox.plugins.module_utils.nspawn.machine import Action, MachineDirectory
from ansible_collections.cicd.sandbox.plugins.module_utils.nspawn.site import Site, site_from
from ansible_collections.cicd.sandbox.plugins.module_utils.nspawn.system import NspawnError
from nspawn_site import params


@pytest.fixture
def site(tmp_path: Path, monkeypatch: Any) -> Site:
    # A sandbox of this name may stand on this computer: its processes are not these machines'.
    monkeypatch.setattr(cgroups, "CGROUPS", tmp_path / "no-cgroups")
    (tmp_path / "no-cgroups").mkdir()
    return site_from(params(library=str(tmp_path)))


def test_a_link_that_outlives_its_machine_is_taken_away(site: Site, monkeypatch: Any) -> None:
    """After a loss of power, or a killed CI job, the kernel may keep a node's network namespace for good."""
    lines: list[list[str]] = []
    monkeypatch.setattr(system, "run", lambda line: lines.append(list(line)))
    machine = MachineDirectory(site, site.machines[0])
    machine.path.mkdir(parents=True)
    done = fleet.absent(site, dry_run=False)
    assert done[machine.machine.name] == [Action.REMOVE]
    assert ["ip", "link", "delete", "dev", machine.link] in lines
    assert sum(line[:2] == ["ip", "link"] for line in lines) == 1


def test_a_layer_without_the_root_below_it_is_named_before_anything_is_stopped(
    site: Site, tmp_path: Path, monkeypatch: Any
) -> None:
    plan = {"cp-1": [Action.STOP_FOR_SETTINGS, Action.START], "worker-1": []}
    monkeypatch.setattr(fleet, "plans", lambda _: plan)
    monkeypatch.setattr(fleet, "shut_down", lambda *_: pytest.fail("it was shut down"))
    files.write_changed(site.library / "cp-1/lower", str(tmp_path / "gone"))
    with pytest.raises(NspawnError, match=rf"cp-1 can't start: .*{tmp_path}/gone.*make down, make up"):
        fleet.present(site, timeout=0)


def test_what_runs_and_does_not_answer_is_named(site: Site, monkeypatch: Any) -> None:
    monkeypatch.setattr(fleet, "plans", lambda _: {"cp-1": [], "worker-1": []})
    monkeypatch.setattr(MachineDirectory, "pid", lambda _: 7)
    monkeypatch.setattr(MachineDirectory, "answers", lambda item: item.machine.name == "cp-1")
    monkeypatch.setattr(MachineDirectory, "why_not_up", lambda _: "sshd has ended")
    with pytest.raises(NspawnError, match=r"(?s)worker-1 .*sshd has ended.*`sudo kill 7`") as raised:
        fleet.present(site, timeout=0.01)
    assert "cp-1" not in str(raised.value)


def test_machines_that_the_inventory_no_longer_names_are_found(site: Site, monkeypatch: Any) -> None:
    for name in ("cp-1", "worker-2"):
        files.write_changed(site.library / name / "lower", "/root-fs")
    files.write_changed(site.library / "endpoint/pid", "1")
    found = fleet.unlisted(site)
    assert [item.machine.name for item in found] == ["worker-2"]
    monkeypatch.setattr(MachineDirectory, "pid", lambda _: 7)
    monkeypatch.setattr(system, "has_systemd", lambda: False)
    removal = found[0].removal()
    assert removal == f"kill 7; tail --pid=7 -f /dev/null; rm -r --one-file-system {site.library}/worker-2"
    odd = dataclasses.replace(site, library=site.library / "o'h; x")
    files.write_changed(odd.library / "worker-2/lower", "/root-fs")
    asked = fleet.unlisted(odd)[0].removal().rpartition("rm -r ")[2]
    assert shlex.split(asked) == ["--one-file-system", f"{odd.library}/worker-2"]
    monkeypatch.setattr(system, "has_systemd", lambda: True)
    assert found[0].removal().startswith("systemctl stop cicd-sandbox-dev-worker-2.service; ")
