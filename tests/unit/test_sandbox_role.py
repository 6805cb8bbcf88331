# Copyright: cicd.sandbox contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What role sandbox says of an inventory's hosts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from playbook_run import run_playbook

NAMES = ["sandbox_made_machines", "sandbox_addresses", "sandbox_etcd_addresses", "sandbox_etcd_endpoints"]
PLAYBOOK = f"""
- hosts: infra-1
  gather_facts: false
  roles: [cicd.sandbox.sandbox]
  tasks:
    - ansible.builtin.debug: {{msg: "{{{{ [{", ".join(NAMES)}] }}}}"}}
"""
INVENTORY = """
machines:
  vars: {machines_provider: nspawn}
  children:
    infra: {hosts: {infra-1: {ansible_host: 192.0.2.1}}}
    etcd:
      vars: {etcd_address: "{{ inner | default(ansible_host) }}"}
      hosts:
        etcd-1: {ansible_host: 192.0.2.2}
        etcd-2: {ansible_host: 192.0.2.3, inner: 10.0.0.3, etcd_client_port: 12379}
    workers: {hosts: {worker-1.example.org: {machines_provider: existing}}}
"""


def facts(directory: Path) -> dict[str, Any]:
    (directory / "play.yml").write_text(PLAYBOOK)
    (directory / "hosts.yml").write_text(INVENTORY)
    run = run_playbook(directory / "play.yml", f"--inventory={directory}/hosts.yml", "--connection=local")
    return dict(zip(NAMES, run.results("infra-1")[-1]["msg"], strict=True))


def test_hosts_are_reached_as_the_inventory_says(tmp_path: Path) -> None:
    found = facts(tmp_path)
    assert found["sandbox_made_machines"] == ["infra-1", "etcd-1", "etcd-2"]
    assert found["sandbox_addresses"] == {
        "infra-1": "192.0.2.1",
        "etcd-1": "192.0.2.2",
        "etcd-2": "192.0.2.3",
        "worker-1.example.org": "worker-1.example.org",
    }
    assert found["sandbox_etcd_addresses"] == {"etcd-1": "192.0.2.2", "etcd-2": "10.0.0.3"}
    assert found["sandbox_etcd_endpoints"] == ["https://192.0.2.2:2379", "https://10.0.0.3:12379"]
