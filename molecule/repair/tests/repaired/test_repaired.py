"""The site after everything died: the converge before this ended with its smoke tests passed."""

from __future__ import annotations

import json
import os
from pathlib import Path

from page_rows import rows

STATE = Path(os.environ["SANDBOX_STATE_DIRECTORY"])
testinfra_hosts = ["ansible://machines"]


def test_every_machine_is_well(host):
    assert host.run("systemctl is-system-running --wait").stdout.strip() == "running"


def test_the_data_is_still_there():
    """The quote was added by everything_dies.yml, before it killed."""
    (row,) = rows("SURVIVOR")
    assert "271.8281" in row


def test_the_smoke_report_says_so_too():
    report = (STATE / "reports/smoke.xml").read_text()
    assert 'failures="0"' in report
    assert json.loads((STATE / "reports/role-times.json").read_text())["cicd.sandbox.machines"] > 0
