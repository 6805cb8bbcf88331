# Copyright: cicd.sandbox contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Points in time that roles compute, on controllers east and west of Greenwich."""

from __future__ import annotations

import datetime as dt
import json
import time
from pathlib import Path
from typing import Any

import pytest
from checkout import REPOSITORY
from playbook_run import run_playbook

TOKEN = f"{REPOSITORY}/roles/cluster/templates/kubeadm/token.yml.j2"
PREFLIGHT = f"{REPOSITORY}/roles/preflight"
MINUTES = 15


def run(directory: Path, zone: str, *tasks: dict[str, object]) -> list[dict[str, Any]]:
    """The results of tasks on a controller in a time zone."""
    play = [{"hosts": "localhost", "gather_facts": False, "tasks": [*tasks]}]
    (directory / "play.yml").write_text(json.dumps(play))
    return run_playbook(directory / "play.yml", "--inventory=localhost,", "--connection=local", TZ=zone).results()


# POSIX: hours west of Greenwich.
@pytest.mark.parametrize("zone", ["UTC", "EAST-9", "WEST5"])
def test_a_join_token_lives_as_long_as_it_should_and_clocks_agree(tmp_path: Path, zone: str) -> None:
    before = time.time()
    rendered, vars_file, checked = run(
        tmp_path,
        zone,
        {
            "ansible.builtin.debug": {"msg": f"{{{{ lookup('ansible.builtin.template', '{TOKEN}') | from_yaml }}}}"},
            "vars": {"__cluster_join_token": "abcdef.0123456789abcdef", "cluster_join_token_minutes": MINUTES},
        },
        {"ansible.builtin.include_vars": {"file": f"{PREFLIGHT}/vars/main.yml", "name": "preflight"}},
        {"ansible.builtin.debug": {"msg": "{{ preflight.__preflight_now }}"}},
    )
    assert vars_file["ansible_facts"]
    expiration = rendered["msg"]["stringData"]["expiration"]
    expires = dt.datetime.fromisoformat(expiration).timestamp()
    assert 0 <= expires - before - MINUTES * 60 + 1 <= 60
    assert 0 <= float(str(checked["msg"])) - before <= 60
