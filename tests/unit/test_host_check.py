# Copyright: cicd.sandbox contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The module host_check, run whole."""

from __future__ import annotations

import json
import socket
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from ansible.module_utils.testing import patch_module_args
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
            memory_mb=huge,
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
