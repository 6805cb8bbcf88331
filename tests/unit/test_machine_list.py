# Copyright: cicd.sandbox contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Hosts as the machines that they are to be."""

from __future__ import annotations

import json
from pathlib import Path

from playbook_run import run_playbook

PLAYBOOK = """
- hosts: localhost
  gather_facts: false
  tasks:
    - ansible.builtin.debug:
        msg: "{{ groups['machines'] | cicd.sandbox.machine_list(hostvars, {'memory_mb': 512, 'extra': ['/data']}) }}"
"""
HOSTS = {
    "cp-1": {"ansible_host": "198.18.0.21", "machines_memory_mb": "{{ larger * 2 }}"},
    "worker-1": {"ansible_host": "{{ network }}.31"},
}


def test_what_a_host_sets_comes_before_defaults(tmp_path: Path) -> None:
    (tmp_path / "play.yml").write_text(PLAYBOOK)
    everywhere = {"larger": 2048, "network": "198.18.0"}
    (tmp_path / "hosts.json").write_text(json.dumps({"machines": {"hosts": HOSTS}, "all": {"vars": everywhere}}))
    run = run_playbook(tmp_path / "play.yml", f"--inventory={tmp_path}/hosts.json")
    assert run.results()[-1]["msg"] == [
        {"name": "cp-1", "address": "198.18.0.21", "memory_mb": 4096, "extra": ["/data"]},
        {"name": "worker-1", "address": "198.18.0.31", "memory_mb": 512, "extra": ["/data"]},
    ]
