# Copyright: cicd.sandbox contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the scenarios' look at this computer, before a sandbox and after it, tells."""

from __future__ import annotations

import copy
import importlib.util
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from checkout import REPOSITORY


@pytest.fixture(scope="module")
def host_state() -> ModuleType:
    spec = importlib.util.spec_from_file_location("host_state", REPOSITORY / "molecule/shared/host_state.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


KINDS = [
    "sysctls",
    "modules",
    "packages",
    "users",
    "groups",
    "cron",
    "units",
    "etc",
    "nftables",
    "iptables",
    "ipsets",
    "links",
    "routes",
    "namespaces",
    "mounts",
    "cgroups",
    "devices",
]
BEFORE: dict[str, dict[str, str]] = {kind: {"a": "1"} for kind in KINDS}


def after(kind: str, **things: str | None) -> dict[str, dict[str, str]]:
    changed: dict[str, Any] = copy.deepcopy(BEFORE)
    changed[kind] = {name: value for name, value in {**changed[kind], **things}.items() if value is not None}
    return changed


def test_it_looks_at_all_of_this_computer(host_state: ModuleType) -> None:
    found = host_state.state()
    assert set(found) == set(KINDS)
    assert found["sysctls"]["vm.overcommit_memory"] in {"0", "1", "2"}
    assert found["sysctls"]["fs.inotify.max_user_instances"].isdigit()
    assert found["users"]["root"]
    assert found["devices"]["/dev/null"].startswith("crw-rw-rw-")
    assert found["links"]["lo"]
    assert "/etc/passwd" in found["etc"]
    assert "/" in found["mounts"]


@pytest.mark.parametrize("kind", KINDS)
def test_a_trace_of_each_kind_is_told(host_state: ModuleType, kind: str) -> None:
    assert host_state.differences(BEFORE, copy.deepcopy(BEFORE), set()) == []
    assert host_state.differences(BEFORE, after(kind, a="2"), set()) == [f"{kind}: a: 1 -> 2"]
    if kind != "sysctls":
        assert host_state.differences(BEFORE, after(kind, left="there"), set()) == [f"{kind}: left: not there -> there"]
        assert host_state.differences(BEFORE, after(kind, a=None), set()) == [f"{kind}: a: 1 -> gone"]


def test_what_make_clean_removes_is_no_trace_and_nothing_else_is_passed_over(host_state: ModuleType) -> None:
    installed = after("packages", skopeo="installed")
    assert host_state.differences(BEFORE, installed, {"skopeo"}) == []
    assert host_state.differences(BEFORE, installed, {"buildah"}) == ["packages: skopeo: not there -> installed"]
    installed["users"]["of-a-package"] = "x"
    installed["sysctls"]["a"] = "2"
    assert host_state.differences(BEFORE, installed, {"skopeo"}) == ["sysctls: a: 1 -> 2"]


def test_what_the_kernel_loads_when_it_is_asked_is_no_trace(host_state: ModuleType) -> None:
    assert host_state.differences(BEFORE, after("modules", nf_nat="there", vxlan="there"), set()) == []
    assert host_state.differences(BEFORE, after("modules", kvm="there"), set()) == ["modules: kvm: not there -> there"]


def test_settings_that_come_with_a_module_are_no_trace(host_state: ModuleType) -> None:
    assert host_state.differences(BEFORE, after("sysctls", appears="1"), set()) == []


def test_what_is_remembered_is_what_is_compared(host_state: ModuleType, tmp_path: Path, monkeypatch: Any) -> None:
    states = iter([BEFORE, after("users", left="x")])
    monkeypatch.setattr(host_state, "state", lambda: next(states))
    monkeypatch.setattr(host_state, "RECORD", tmp_path / "none")
    monkeypatch.setattr("sys.argv", ["host_state.py", "remember", str(tmp_path / "it/state.json")])
    assert host_state.main() == 0
    monkeypatch.setattr("sys.argv", ["host_state.py", "compare", str(tmp_path / "it/state.json")])
    assert host_state.main() == 1
