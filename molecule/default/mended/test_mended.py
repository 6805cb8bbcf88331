"""The site after a worker, and then everything, died: the converge before this ended with its smoke tests passed."""

from __future__ import annotations

import json
import os
import urllib.request
from pathlib import Path

STATE = Path(os.environ["SANDBOX_STATE_DIRECTORY"])
PORT = os.environ["SANDBOX_DOOR_PORT"]
testinfra_hosts = ["ansible://machines"]


def test_every_machine_is_well(host):
    assert host.run("systemctl is-system-running --wait").stdout.strip() == "running"


def test_the_data_is_still_there():
    request = urllib.request.Request(f"http://127.0.0.1:{PORT}/", headers={"Host": f"website.localhost:{PORT}"})
    with urllib.request.urlopen(request, timeout=10) as answer:
        page = answer.read().decode()
    assert answer.status == 200
    assert "<table" in page


def test_the_smoke_report_says_so_too():
    report = (STATE / "reports/smoke.xml").read_text()
    assert 'failures="0"' in report
    assert json.loads((STATE / "reports/role-times.json").read_text())["cicd.sandbox.machines"] > 0
