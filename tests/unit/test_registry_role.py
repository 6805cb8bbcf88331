# Copyright: cicd.sandbox contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the role registry does with a certificate that was issued anew."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml
from checkout import REPOSITORY
from playbook_run import run_playbook

PLAYBOOK = f"""
- hosts: infra-1
  gather_facts: false
  tasks:
    - ansible.builtin.include_role: {{name: cicd.sandbox.sandbox, public: true}}
    - ansible.builtin.include_role: {{name: cicd.sandbox.pki, tasks_from: ca}}
    - ansible.builtin.include_tasks: {REPOSITORY}/roles/registry/tasks/install.yml
  handlers:
    - name: Restart the image registry
      ansible.builtin.debug: {{msg: registry}}
    - name: Reload the artifact store
      ansible.builtin.debug: {{msg: store}}
"""


def notified(directory: Path, **variables: Any) -> list[str]:
    """Run the tasks on this machine, without packages; return what handlers they notify."""
    values = {
        "sandbox_state_directory": str(directory / "state"),
        "registry_packages": [],
        "pki_certificates": [{"name": "infra", "directory": str(directory / "tls"), "common_name": "infra-1"}],
        "ansible_python_interpreter": "{{ ansible_playbook_python }}",
        **variables,
    }
    (directory / "variables.yml").write_text(yaml.safe_dump(values))
    (directory / "hosts.yml").write_text("infra: {hosts: {infra-1: {ansible_host: 127.0.0.1}}}\n")
    (directory / "play.yml").write_text(PLAYBOOK)
    arguments = [f"--inventory={directory}/hosts.yml", "--connection=local", f"--extra-vars=@{directory}/variables.yml"]
    run = run_playbook(directory / "play.yml", *arguments)
    return [answer.result["msg"] for answer in run.answers if answer.task.startswith(("Restart", "Reload"))]


def test_services_take_up_a_certificate_that_was_issued_anew(tmp_path: Path) -> None:
    assert notified(tmp_path) == ["registry", "store"]
    assert notified(tmp_path) == []
    assert notified(tmp_path, pki_renew_before_days=400) == ["registry", "store"]
