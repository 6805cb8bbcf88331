# Copyright: cicd.sandbox contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The role machines and the inventories that use it, without a machine."""

from __future__ import annotations

import json
import os
import re
import subprocess
from pathlib import Path

import pytest
from ansible_collections.cicd.sandbox.plugins.module_utils.preflight.findings import Inventory, Setting, check_values
from ansible_collections.cicd.sandbox.plugins.module_utils.preflight.inventory_files import known_roles
from checkout import REPOSITORY, load
from netns import Namespace

CONNECTIONS = sorted(
    path
    for pattern in ("inventories/*", "molecule/*/*")
    for path in REPOSITORY.glob(f"{pattern}/group_vars/machines/connection.yml")
    if "ansible_ssh_private_key_file" in load(path)
)


@pytest.mark.parametrize(
    ("name", "value", "known"),
    [
        ("machines_state", "stoped", "present, stopped, absent"),
        ("machines_provider", "nspwan", "nspawn, existing"),
    ],
)
def test_preflight_knows_the_choices(name: str, value: str, known: str) -> None:
    inventory = Inventory({}, {}, {}, {}, [], {}, [Setting(name, value, "worker-1")])
    (finding,) = check_values(inventory, known_roles(REPOSITORY / "roles"))
    for word in (name, value, known, "worker-1"):
        assert word in finding.text()


@pytest.mark.parametrize("path", CONNECTIONS, ids=lambda path: str(path.relative_to(REPOSITORY)))
def test_keys_of_an_agent_are_not_tried(path: Path) -> None:
    """A server refuses after six keys: the sandbox's own would not be reached."""
    assert "-o IdentitiesOnly=yes" in load(path)["ansible_ssh_common_args"]


def test_the_cache_is_not_removed_below_another_sandboxs_machines(tmp_path: Path) -> None:
    root = tmp_path / "cache/rootfs/0123"
    root.mkdir(parents=True)
    layer = tmp_path / "library/other/worker-1/lower"
    layer.parent.mkdir(parents=True)
    layer.write_text(str(root))
    changes = [f"sandbox_name=t-{os.getpid()}", f"sandbox_cache_directory={tmp_path}/cache"]
    changes.append(f"sandbox_library_directory={tmp_path}/library/mine")
    line = ["ansible-playbook", "playbooks/clean.yml", "--inventory=inventories/dev"]
    run = subprocess.run(
        [*line, *(f"--extra-vars={change}" for change in changes)],
        check=False,
        capture_output=True,
        text=True,
        cwd=REPOSITORY,
    )
    said = re.sub(r"\s+", " ", run.stdout)
    assert run.returncode != 0
    assert f"Nothing was removed: {layer.parent} stand on" in said
    assert "Remove other first" in said
    assert "PLAY [Teardown]" not in said
    assert root.is_dir()


def test_status_is_told_what_keeps_machines_from_reaching_each_other(tmp_path: Path) -> None:
    """A bridge that is not there, in this case; in a view of this computer where nobody has to be root."""
    (tmp_path / "play.yml").write_text(
        "- hosts: localhost\n  gather_facts: false\n  tasks:\n"
        "    - ansible.builtin.include_role: {name: cicd.sandbox.machines, tasks_from: network_check}\n"
        "    - ansible.builtin.debug: {var: machines_network_problem}\n"
    )
    host = Namespace()
    try:
        changes = {"sandbox_name": "t-net", "machines_network": "198.18.77.0/24", "ansible_become": False}
        line = ["ansible-playbook", f"{tmp_path}/play.yml", "--inventory=inventories/dev"]
        line.append(f"--extra-vars={json.dumps(changes)}")
        environment = {**os.environ, "ANSIBLE_CALLBACKS_ENABLED": "ansible.posix.timer"}
        run = subprocess.run(
            host.line(line), check=False, capture_output=True, text=True, cwd=REPOSITORY, env=environment
        )
        there = host.run("ip", "-brief", "link")
    finally:
        host.close()
    said = re.sub(r"\s+", " ", run.stdout)
    assert run.returncode == 0, said + run.stderr
    assert "make up would make bridge sb-t-net," in said
    assert "changed=0" in said
    assert "sb-t-net" not in there
