# Copyright: cicd.sandbox contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What role sandbox says of an inventory's hosts."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from playbook_run import PlaybookRun, run_playbook

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
    workers: {hosts: {WORKER: {machines_provider: existing}}}
"""
# A name that every resolver finds: glibc reads it as a number.
WORKER = "0xc0000204"


def play(directory: Path, worker: str, *, fails: bool = False) -> PlaybookRun:
    (directory / "play.yml").write_text(PLAYBOOK)
    (directory / "hosts.yml").write_text(INVENTORY.replace("WORKER", f'"{worker}"'))
    return run_playbook(directory / "play.yml", f"--inventory={directory}/hosts.yml", "--connection=local", fails=fails)


def facts(directory: Path) -> dict[str, Any]:
    return dict(zip(NAMES, play(directory, WORKER).results("infra-1")[-1]["msg"], strict=True))


def test_hosts_are_reached_as_the_inventory_says(tmp_path: Path) -> None:
    found = facts(tmp_path)
    assert found["sandbox_made_machines"] == ["infra-1", "etcd-1", "etcd-2"]
    assert found["sandbox_addresses"] == {
        "infra-1": "192.0.2.1",
        "etcd-1": "192.0.2.2",
        "etcd-2": "192.0.2.3",
        WORKER: "192.0.2.4",
    }
    assert found["sandbox_etcd_addresses"] == {"etcd-1": "192.0.2.2", "etcd-2": "10.0.0.3"}
    assert found["sandbox_etcd_endpoints"] == ["https://192.0.2.2:2379", "https://10.0.0.3:12379"]


def test_a_name_that_leads_nowhere_ends_the_run(tmp_path: Path) -> None:
    run = play(tmp_path, "worker-1.invalid", fails=True)
    assert "worker-1.invalid: its name worker-1.invalid has no IPv4 address here" in run.text
    assert "Set ansible_host" in run.text


CLEAN = """
- hosts: localhost
  gather_facts: false
  tasks:
    - ansible.builtin.include_role: {name: cicd.sandbox.sandbox, tasks_from: packages_absent}
"""


def cleaned(directory: Path, **answers: str) -> tuple[PlaybookRun, Path]:
    """Have packages removed; dpkg knows one that was installed for sandboxes, or none of them."""
    record = directory / "cache/host-packages.json"
    record.parent.mkdir(exist_ok=True)
    record.write_text('["made-up"]')
    (directory / "dpkg-query").write_text(f"#!/bin/sh\nprintf '{answers.get('dpkg', '')}'\n")
    (directory / "dpkg-query").chmod(0o755)
    (directory / "play.yml").write_text(CLEAN)
    values = {
        "sandbox_host_packages_file": str(record),
        "sandbox_host_settings_file": str(directory / "library/host-settings.json"),
        "ansible_become": False,
        "ansible_python_interpreter": "{{ ansible_playbook_python }}",
    }
    arguments = ["--inventory=localhost,", "--connection=local", f"--extra-vars={json.dumps(values)}"]
    return run_playbook(directory / "play.yml", *arguments, programs=directory), record


def test_packages_stay_while_a_sandbox_stands(tmp_path: Path) -> None:
    (tmp_path / "library/another").mkdir(parents=True)
    run, record = cleaned(tmp_path, dpkg=r"installed\tmade-up\tno\t\t\n")
    assert "removed:" not in run.text
    assert record.exists()


def test_packages_that_others_need_stay_and_are_told(tmp_path: Path) -> None:
    run, record = cleaned(tmp_path, dpkg=r"installed\tmade-up\tno\t\t\ninstalled\ttheirs\tno\tmade-up\t\n")
    assert "kept, because other packages need them: made-up" in run.text
    assert not record.exists()
    assert "WARNING" not in run.text
