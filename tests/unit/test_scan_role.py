# Copyright: cicd.sandbox contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Role `scan`, with an istioctl that only pretends."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from playbook_run import run_playbook

PLAYBOOK = """
- hosts: localhost
  gather_facts: false
  tasks:
    - ansible.builtin.include_role: {name: cicd.sandbox.scan}
"""
ISTIOCTL = """#!/bin/sh
printf '%s\\n' "$@" > "$0.arguments"
env > "$0.environment"
cat "$0.says"
exit 79
"""
BROKEN = {
    "code": "IST0101",
    "level": "Error",
    "message": "Referenced host not found: nobody.shop",
    "origin": "VirtualService shop/web",
    "reference": "shop.yaml:12",
}
OUTSIDE = {
    "code": "IST0102",
    "level": "Info",
    "message": "The namespace is not enabled for Istio injection.",
    "origin": "Namespace legacy",
}
ADVICE = {"code": "IST0103", "level": "Warning", "message": "The pod has no proxy.", "origin": "Pod shop/web-0"}


@pytest.fixture
def state(tmp_path: Path) -> Path:
    (tmp_path / "bin").mkdir()
    program = tmp_path / "bin/istioctl"
    program.write_text(ISTIOCTL)
    program.chmod(0o755)
    (tmp_path / "kubeconfig").write_text("{}")
    return tmp_path


def scan(state: Path, *found: dict[str, str], **variables: Any) -> Any:
    (state / "bin/istioctl.says").write_text(json.dumps(found))
    (state / "play.yml").write_text(PLAYBOOK)
    values = {"sandbox_state_directory": str(state), **variables}
    return run_playbook(
        state / "play.yml", "--inventory=inventories/dev", f"--extra-vars={json.dumps(values)}", fails=None
    )


def problems(run: Any) -> list[str]:
    return [str(answer.result["msg"]) for answer in run.answers if answer.failed]


def test_what_a_scan_finds_is_told_and_written(state: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KUBECONFIG", "/somebody/elses")
    run = scan(state, OUTSIDE)
    assert problems(run) == []
    assert any("1 info" in str(result.get("msg")) for result in run.results())
    written = json.loads((state / "reports/istio.json").read_text())
    assert "legacy" in json.dumps(written)
    assert "IST0102" in (state / "reports/istio.html").read_text()
    assert (state / "reports/istio.xml").is_file()
    arguments = (state / "bin/istioctl.arguments").read_text().split()
    assert {f"--kubeconfig={state}/kubeconfig", "--all-namespaces", "--output=json"} <= set(arguments)
    assert "/somebody/elses" not in (state / "bin/istioctl.environment").read_text()


@pytest.mark.parametrize("finding", [BROKEN, ADVICE])
def test_errors_and_warnings_close_the_gate_with_their_place(state: Path, finding: dict[str, str]) -> None:
    (said,) = problems(scan(state, finding))
    assert finding["origin"].split()[1].split("/")[1] in said
    assert finding["code"] in (state / "reports/istio.xml").read_text()
    assert problems(scan(state, ADVICE, scan_istio_fail_on="high")) == []


def test_a_waiver_has_a_reason_and_opens_the_gate(state: Path) -> None:
    waiver = {"rule": "IST0103", "namespace": "shop", "reason": "A database without a proxy."}
    assert problems(scan(state, ADVICE, scan_istio_waivers=[waiver])) == []
    (said,) = problems(scan(state, ADVICE, scan_istio_waivers=[{"rule": "IST0103"}]))
    assert "reason" in said


def test_without_a_sandbox_or_a_mesh_that_is_said(state: Path) -> None:
    run = scan(state, istio_enabled=False)
    assert run.results()[-1]["msg"] == "Left out: istioctl analyze, as istio_enabled is false."
    assert not (state / "reports").exists()
    (state / "kubeconfig").unlink()
    (said,) = problems(scan(state))
    assert said.startswith(f"{state}/kubeconfig is not there: no sandbox dev stands on this machine")
