# Copyright: cicd.sandbox contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the role registry does with a certificate that was issued anew, and what nodes have of it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jinja2
import pytest
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


# --- what nodes have -------------------------------------------------------------------------------------------------


def configuration(*, readonly: bool) -> dict[str, Any]:
    templates = jinja2.Environment(trim_blocks=True, autoescape=jinja2.select_autoescape(default_for_string=False))
    templates.filters["to_json"] = json.dumps
    text = templates.from_string((REPOSITORY / "roles/registry/templates/registry.yml.j2").read_text()).render(
        readonly=readonly,
        registry_port=5000,
        registry_nodes_port=5002,
        registry_storage_directory="/var/lib/docker-registry",
        sandbox_observability_enabled=True,
        sandbox_registry_metrics_port=5001,
        sandbox_registry_metrics_path="/registry/metrics",
        sandbox_name="dev",
        __registry_nodes_login="/etc/docker/registry/nodes.htpasswd",
        __registry_tls="/etc/cicd-sandbox/tls",
    )
    document: dict[str, Any] = yaml.safe_load(text)
    return document


def test_what_nodes_read_from_has_the_same_images_and_takes_none() -> None:
    writing, reading = configuration(readonly=False), configuration(readonly=True)
    assert reading["storage"]["filesystem"] == writing["storage"]["filesystem"]
    assert reading["storage"]["maintenance"]["readonly"] == {"enabled": True}
    assert reading["storage"]["maintenance"]["uploadpurging"]["enabled"] is False
    assert "readonly" not in writing["storage"]["maintenance"]
    assert (writing["http"]["addr"], reading["http"]["addr"]) == (":5000", ":5002")
    # Each knows its own user alone; two can't listen for metrics at one address.
    assert writing["auth"]["htpasswd"]["path"] != reading["auth"]["htpasswd"]["path"]
    assert "debug" not in reading["http"]


@pytest.mark.parametrize("name", ["containerd/hosts.toml.j2"])
def test_nodes_know_nothing_else(name: str) -> None:
    text = (REPOSITORY / "roles/cluster/templates" / name).read_text()
    assert "sandbox_registry_for_nodes" in text
    assert "sandbox_registry }}" not in text
    assert "sandbox_registry_user" not in text
