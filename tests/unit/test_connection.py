# Copyright: cicd.sandbox contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Machines made here are reached whatever SSH and Ansible know of other hosts; a user's own hosts by the user's way."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from checkout import REPOSITORY, files, load, relative

# As of ~/.ssh/config or /etc/ssh/ssh_config.
USERS = """
Host *
  ProxyJump bastion.example.org
  Port 2222
  User somebody
  RemoteCommand tmux attach
  RequestTTY force
  ControlMaster auto
  ControlPath /tmp/theirs-%C
  IdentityFile /nonexistent
  StrictHostKeyChecking yes
  UserKnownHostsFile /nonexistent
"""
ENVIRONMENT = {
    "ANSIBLE_SSH_ARGS": "-o ProxyJump=bastion.example.org",
    "ANSIBLE_SSH_COMMON_ARGS": "-o ProxyJump=bastion.example.org",
    "ANSIBLE_SSH_EXTRA_ARGS": "-o ProxyJump=bastion.example.org",
    "ANSIBLE_REMOTE_PORT": "2222",
    "ANSIBLE_REMOTE_USER": "somebody",
    "ANSIBLE_PRIVATE_KEY_FILE": "/nonexistent",
    "ANSIBLE_PYTHON_INTERPRETER": "/nonexistent",
    "ANSIBLE_TRANSPORT": "local",
    "ANSIBLE_BECOME": "true",
}
# Has ssh itself say what it would do, with the user's configuration in place of that of whoever runs the test.
SSH = f"""#!{sys.executable}
import os, subprocess, sys
folder = os.path.dirname(os.path.abspath(__file__))
line = sys.argv[1:]
with open(folder + "/said", "a") as said:
    subprocess.run([{shutil.which("ssh")!r}, "-F", folder + "/config", "-G", *line], stdout=said, check=False)
with open(folder + "/lines", "a") as lines:
    print(line, file=lines)
sys.exit(1)
"""
MADE = [
    path.parents[2]
    for path in files("inventories/*/group_vars/machines/*.yml", "molecule/*/group_vars/machines/*.yml")
    if path.parents[2] != REPOSITORY / "inventories/prod"
]


@pytest.fixture
def ssh(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "bin"
    folder.mkdir()
    (folder / "config").write_text(USERS)
    (folder / "ssh").write_text(SSH)
    (folder / "ssh").chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    return folder


def said(folder: Path) -> dict[str, str]:
    words = [line.partition(" ") for line in (folder / "said").read_text().splitlines()]
    return {key: value for key, _, value in words}


def ask(inventory: Path, host: str) -> None:
    line = ["ansible", host, f"--inventory={inventory}", "--module-name=ansible.builtin.raw", "--args=true"]
    subprocess.run(line, cwd=REPOSITORY, env={**os.environ, **ENVIRONMENT, "ANSIBLE_SSH_RETRIES": "0"}, check=False)


def test_the_inventories_are_found() -> None:
    assert {relative(path) for path in MADE} >= {
        "inventories/dev",
        "molecule/machines/beside",
        "molecule/default/inventory",
    }


def own(folder: Path) -> None:
    found = said(folder)
    assert "proxyjump" not in found
    assert "remotecommand" not in found
    assert (found["port"], found["user"] in {"root", "deploy"}) == ("22", True)
    assert not found.get("controlpath", "").startswith("/tmp/theirs")
    # It has to be there to be told of as an identity.
    assert "/ssh/id_ed25519" in (folder / "lines").read_text()
    assert found["userknownhostsfile"].endswith("/ssh/known_hosts")


def test_ansible_reaches_machines_made_here_by_nothing_of_the_users(ssh: Path) -> None:
    ask(REPOSITORY / "inventories/dev", "infra-1")
    own(ssh)


@pytest.mark.parametrize("name", ["a b", "o'h é", "a, b = [c] {d} #e;f&g"])
def test_keys_are_found_in_a_home_with_any_name(ssh: Path, tmp_path: Path, name: str) -> None:
    state = tmp_path / name / "state"
    (state / "ssh").mkdir(parents=True)
    (state / "ssh/id_ed25519").touch()
    with (tmp_path / "variables.json").open("w") as variables:
        json.dump({"sandbox_state_directory": str(state)}, variables)
    line = ["ansible", "infra-1", f"--inventory={REPOSITORY}/inventories/dev", "--module-name=ansible.builtin.raw"]
    line += ["--args=true", f"--extra-vars=@{tmp_path}/variables.json"]
    subprocess.run(line, cwd=REPOSITORY, env={**os.environ, "HOME": str(tmp_path / name)}, check=False)
    found = said(ssh)
    assert found["userknownhostsfile"] == f"{state}/ssh/known_hosts"
    assert found["identityfile"] == f"{state}/ssh/id_ed25519"
    assert found["controlpath"].startswith(f"{tmp_path}/{name}/.ansible/cp/")


def test_what_is_known_of_machines_is_below_home_wherever_that_is(ssh: Path, tmp_path: Path) -> None:
    """Ssh itself goes by the home that the user has by their account."""
    home = tmp_path / "ho me"
    (home / ".local/state/cicd-sandbox/dev/ssh").mkdir(parents=True)
    (home / ".local/state/cicd-sandbox/dev/ssh/id_ed25519").touch()
    line = ["ansible", "infra-1", f"--inventory={REPOSITORY}/inventories/dev", "--module-name=ansible.builtin.raw"]
    subprocess.run([*line, "--args=true"], cwd=REPOSITORY, env={**os.environ, "HOME": str(home)}, check=False)
    found = said(ssh)
    assert found["userknownhostsfile"] == f"{home}/.local/state/cicd-sandbox/dev/ssh/known_hosts"
    assert found["identityfile"] == f"{home}/.local/state/cicd-sandbox/dev/ssh/id_ed25519"


def test_testinfra_does_too(ssh: Path) -> None:
    """What the environment has for Ansible is taken away for all of its tests."""
    look = "import sys, testinfra; testinfra.get_host('ansible://infra-1', ansible_inventory=sys.argv[1]).run('true')"
    line = [sys.executable, "-c", look, REPOSITORY / "molecule/machines/inventory"]
    subprocess.run(line, cwd=REPOSITORY, check=False, capture_output=True)
    own(ssh)
    # A test asks a machine some hundred times: not by a connection each.
    found = said(ssh)
    assert found["controlmaster"] == "auto"
    assert found["controlpath"].endswith("/t-machines/ssh/198.18.2.2")


@pytest.mark.parametrize("inventory", MADE, ids=relative)
def test_all_inventories_of_machines_made_here_reach_them_the_same_way(inventory: Path) -> None:
    def reached(path: Path) -> dict[str, str]:
        connection = load(path / "group_vars/machines/connection.yml")
        connection |= {"ansible_user": "", "ansible_become": "", "ansible_ssh_private_key_file": ""}
        options = re.sub(r'UserKnownHostsFile=(?:"\\")?(\{\{[^}]*\}\})?\S*', "", connection["ansible_ssh_common_args"])
        # Ansible has a path of its own for connections that are shared, testinfra has none.
        options = re.sub(r"-o ControlPath=\S+", "", options)
        return {**connection, "ansible_ssh_common_args": " ".join(options.split())}

    assert reached(inventory) == reached(REPOSITORY / "inventories/dev")


def test_hosts_of_the_users_are_reached_by_the_users_way(ssh: Path) -> None:
    # With it nobody could run a command there.
    (ssh / "config").write_text(USERS.replace("  RemoteCommand tmux attach\n", ""))
    ask(REPOSITORY / "inventories/prod", "infra-1")
    found = said(ssh)
    assert (found["proxyjump"], found["identityfile"]) == ("bastion.example.org", "/nonexistent")
