"""Machines are their maker's: nobody else's run goes on with them."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest

SCENARIO = Path(__file__).resolve().parents[1]
RECORD = Path("/var/lib/cicd-sandbox/t-machines/owner.json")
STATE = Path.home() / ".local/state/cicd-sandbox/t-machines"


def test_it_is_written_down_whose_they_are():
    said = json.loads(RECORD.read_text())
    assert (said["sandbox"], said["uid"], said["state"]) == ("t-machines", os.geteuid(), str(STATE))
    assert Path(said["checkout"]) == SCENARIO.parents[1]
    assert RECORD.stat().st_mode & 0o777 == 0o644


@pytest.mark.parametrize("playbook", ["site", "machines", "teardown", "status"])
def test_a_run_with_another_home_ends_before_its_first_task(tmp_path, playbook):
    before = RECORD.read_bytes()
    line = ["ansible-playbook", f"playbooks/{playbook}.yml", f"--inventory={SCENARIO}/inventory"]
    environment = {**os.environ, "HOME": str(tmp_path)}
    run = subprocess.run(line, check=False, cwd=SCENARIO.parents[1], env=environment, capture_output=True, text=True)
    assert run.returncode == 1
    assert "The sandbox t-machines of this machine is somebody else's" in run.stderr
    assert f"set HOME to {Path.home()}" in run.stderr
    assert "ok=" not in run.stdout
    assert RECORD.read_bytes() == before
    assert not (tmp_path / ".local").exists()
