# Copyright: cicd.sandbox contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The module host_check, run whole."""

from __future__ import annotations

import json
import os
import socket
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from ansible.module_utils.testing import patch_module_args
from ansible_collections.cicd.sandbox.plugins.module_utils.host import resolver
from ansible_collections.cicd.sandbox.plugins.modules import host_check


def run(module: ModuleType, capsys: pytest.CaptureFixture[str], **arguments: Any) -> dict[str, Any]:
    with patch_module_args(arguments), pytest.raises(SystemExit):
        module.main()
    answer: dict[str, Any] = json.loads(capsys.readouterr().out)
    return answer


def test_this_host_needs_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    answer = run(host_check, capsys, name="here", swap_allowed=True)
    assert answer["findings"] == []
    assert not answer["changed"]
    assert answer["time"] > 0


def test_this_host_is_told_what_it_lacks(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    huge = 2**30
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
        answer = run(
            host_check,
            capsys,
            name="here",
            swap_allowed=True,
            memory=[{"mb": huge}],
            disks=[
                {"path": str(tmp_path / "new"), "free_mb": huge},
                {"path": str(tmp_path), "free_mb": huge, "used_when": str(tmp_path)},
                {"path": str(tmp_path / "share"), "free_percent": 101},
                {"path": str(tmp_path), "free_percent": 0},
            ],
            ports=[{"number": port, "what": "a test"}, {"number": port, "what": "a test", "by": [sys.executable]}],
            settings={"kernel.pid_max": huge},
        )
    found = [finding["found"] for finding in answer["findings"]]
    assert [words.split()[0] for words in found] == [
        "has",
        str(tmp_path / "new"),
        str(tmp_path / "share"),
        "kernel.pid_max",
    ]


def test_a_port_of_somebody_else_is_found(capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
        answer = run(host_check, capsys, name="here", swap_allowed=True, ports=[{"number": port, "what": "a test"}])
    (finding,) = answer["findings"]
    assert finding["text"].startswith(f"here: port {port}, for a test, is in use by process ")


def test_memory_has_to_be_free_for_what_does_not_run_yet(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    meminfo = dict(line.split(":") for line in Path("/proc/meminfo").read_text().splitlines())
    total, free = (int(meminfo[name].split()[0]) // 1024 for name in ("MemTotal", "MemAvailable"))
    asked = (total + free) // 2
    answer = run(host_check, capsys, name="here", swap_allowed=True, memory=[{"mb": asked}])
    (finding,) = answer["findings"]
    assert finding["found"].endswith(f"MiB of memory free, {asked} are needed for what does not run yet")
    standing = [{"mb": asked, "used_when": str(tmp_path)}, {"mb": 1, "used_when": str(tmp_path / "none")}]
    assert run(host_check, capsys, name="here", swap_allowed=True, memory=standing)["findings"] == []


def test_files_have_to_fit(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    status = os.statvfs(tmp_path)
    disks = [{"path": str(tmp_path / "new"), "free_inodes": status.f_favail // 2 + 1}] * 2
    answer = run(host_check, capsys, name="here", swap_allowed=True, disks=disks)
    if status.f_files:
        assert "inodes free" in answer["findings"][0]["found"]
    else:
        assert answer["findings"] == []


@pytest.mark.parametrize(("architecture", "count"), [("riscv64", 1), (os.uname().machine, 0), ("", 0)])
def test_an_architecture(architecture: str, count: int, capsys: pytest.CaptureFixture[str]) -> None:
    answer = run(host_check, capsys, name="here", swap_allowed=True, architecture=architecture)
    assert [finding["found"] for finding in answer["findings"]] == [f"is of architecture {os.uname().machine}"] * count


def test_who_has_a_port_on_a_host_that_is_not_the_sandboxs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A kubelet there is another cluster's."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
        ports = [{"number": port, "what": "the kubelet", "by": ["python", "pytest"]}]
        foreign = run(host_check, capsys, name="here", swap_allowed=True, ports=ports, ours=str(tmp_path / "none"))
        ours = run(host_check, capsys, name="here", swap_allowed=True, ports=ports, ours=str(tmp_path))
    assert "for the kubelet, is in use by process" in foreign["findings"][0]["found"]
    assert ours["findings"] == []


def test_name_servers_that_pods_can_not_ask(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(resolver, "RESOLV_CONF", tmp_path / "resolv.conf")
    monkeypatch.setattr(resolver, "UPLINK", tmp_path / "none")
    found = {}
    for text in ("", "nameserver 127.0.0.1\n", "nameserver 192.0.2.53\n"):
        (tmp_path / "resolv.conf").write_text(text)
        answer = run(host_check, capsys, name="here", swap_allowed=True, resolver=True)
        found[text] = [(finding["found"], finding["warning"]) for finding in answer["findings"]]
    assert list(found.values()) == [
        [("/etc/resolv.conf names no name server", True)],
        [("/etc/resolv.conf names 127.0.0.1, which pods can't ask", True)],
        [],
    ]


def test_the_hosts_own_routes_are_looked_at(capsys: pytest.CaptureFixture[str]) -> None:
    answer = run(
        host_check, capsys, name="here", swap_allowed=True, networks={"sandbox_pod_network": "127.0.0.0/8"}, bridge=""
    )
    (finding,) = answer["findings"]
    assert finding["text"].startswith("here: 127.0.0.0/8 (sandbox_pod_network) overlaps its route to 127.0.0.")
