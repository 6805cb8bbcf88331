# Copyright: cicd.sandbox contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The user's kubeconfig: where role cluster merges contexts, what it finds before, and from where it takes them."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml
from checkout import REPOSITORY
from playbook_run import run_playbook

PLAYBOOK = f"""
- hosts: localhost
  gather_facts: false
  tasks:
    - ansible.builtin.include_role: {{name: cicd.sandbox.sandbox, public: true}}
    - ansible.builtin.include_role: {{name: cicd.sandbox.cluster, tasks_from: TASKS}}
    - ansible.builtin.include_vars: {REPOSITORY}/roles/summary/vars/main.yml
    - ansible.builtin.debug:
        msg:
          findings: "{{{{ cluster_findings | default([]) | map(attribute='text') }}}}"
          where: "{{{{ __summary_secrets[0]['where'] }}}}"
"""


class Home:
    """A user's home, with a cluster whose state is below it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.state = path / ".local/state/cicd-sandbox/dev"
        self.state.mkdir(parents=True)
        self.mine = path / "a b, 'ü.yaml"
        self.mine.write_text("kind: Config\ncurrent-context: mine\n", encoding="utf-8")

    def has_cluster(self) -> None:
        shutil.copy(REPOSITORY / "tests/unit/fixtures/kubeconfig/admin.conf", self.state / "kubeconfig")

    def run(self, tasks: str, kubeconfig: str, *arguments: str) -> dict[str, Any]:
        playbook = self.path / f"{tasks}.yml"
        playbook.write_text(PLAYBOOK.replace("TASKS", tasks), encoding="utf-8")
        where = {"HOME": str(self.path), "KUBECONFIG": kubeconfig}
        run = run_playbook(playbook, "--inventory=inventories/dev", *arguments, **where)
        said: dict[str, Any] = run.results()[-1]["msg"]
        return said | {"changed": run.stats["localhost"]["changed"]}


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path / "home")


def test_contexts_go_where_kubectl_looks_and_are_found_again(home: Home) -> None:
    home.has_cluster()
    before = home.mine.read_text(encoding="utf-8")
    kubeconfig = f"{home.path}/nothing::{home.mine}:{home.path}/last"
    assert home.run("kubeconfig_check", kubeconfig)["findings"] == []
    assert home.mine.read_text(encoding="utf-8") == before
    done = home.run("kubeconfig", kubeconfig)
    assert (done["where"], done["changed"]) == (str(home.mine), 1)
    assert "dev-admin@dev" in home.mine.read_text(encoding="utf-8")
    assert home.run("kubeconfig", kubeconfig, "--check")["changed"] == 0
    # Another KUBECONFIG, and nothing of ours in what it names.
    Path(home.path / "broken").write_text("kind: [\n", encoding="utf-8")
    assert home.run("absent", f"{home.path}/broken")["changed"] == 1
    after = home.mine.read_text(encoding="utf-8")
    assert "dev-admin@dev" not in after
    assert "current-context: mine" in after
    assert (home.path / "broken").read_text(encoding="utf-8") == "kind: [\n"
    assert not (home.path / ".kube").exists()


def test_each_context_has_the_credentials_of_its_own_user(home: Home) -> None:
    home.has_cluster()
    admin = (home.state / "kubeconfig").read_text(encoding="utf-8")
    users = home.state / "users"
    users.mkdir()
    for context in ("dev-admin@dev", "viewer@dev"):
        other = yaml.safe_load(admin)
        other["users"][0]["user"] = {"token": f"of {context}"}
        (users / f"{context}.kubeconfig").write_text(yaml.safe_dump(other), encoding="utf-8")
    assert home.run("kubeconfig", str(home.mine))["changed"] == 1
    merged = yaml.safe_load(home.mine.read_text(encoding="utf-8"))
    held = {item["name"]: item["user"] for item in merged["users"]}
    joined = {item["name"]: held[item["context"]["user"]]["token"] for item in merged["contexts"]}
    assert joined == {"dev-admin@dev": "of dev-admin@dev", "viewer@dev": "of viewer@dev"}
    # No certificate of kubeadm's admin is left in it.
    assert all(set(user) == {"token", "extensions"} for user in held.values())
    assert home.run("kubeconfig", str(home.mine))["changed"] == 0
    home.run("absent", str(home.mine))
    assert not yaml.safe_load(home.mine.read_text(encoding="utf-8")).get("contexts")


def test_a_context_that_somebody_else_has_is_found_before(home: Home) -> None:
    home.has_cluster()
    context = {"name": "viewer@dev", "context": {"cluster": "work", "user": "me"}}
    home.mine.write_text(yaml.safe_dump({"kind": "Config", "contexts": [context]}), encoding="utf-8")
    contexts = json.dumps({"security_contexts": ["dev-admin@dev", "viewer@dev"]})
    (finding,) = home.run("kubeconfig_check", str(home.mine), "--extra-vars", contexts)["findings"]
    assert "context 'viewer@dev' of" in finding or "context 'viewer@dev' was made by somebody else" in finding


def test_what_keeps_them_out_is_found_before_there_is_a_cluster(home: Home) -> None:
    home.mine.write_text("users: []\nkind: Config\nusers: []\n", encoding="utf-8")
    (finding,) = home.run("kubeconfig_check", str(home.mine))["findings"]
    assert (
        f"the user's kubeconfig: {home.mine}: is not a kubeconfig, nothing was changed: line 3: the key users"
        in finding
    )
    config = home.path / ".kube/config"
    config.parent.mkdir()
    config.write_text("clusters: [{name: dev, cluster: {server: https://other}}]\n", encoding="utf-8")
    said = home.run("kubeconfig_check", "")
    assert "cluster 'dev' was made by somebody else and leads elsewhere" in said["findings"][0]
    assert "set cluster_kubeconfig_force=true" in said["findings"][0]
    assert said["where"] == str(config)
    forced = json.dumps({"cluster_kubeconfig_force": True})
    assert home.run("kubeconfig_check", "", "--extra-vars", forced)["findings"] == []
    (home.path / "null").symlink_to("/dev/null")
    said = home.run("kubeconfig_check", "", "--extra-vars", json.dumps({"cluster_kubeconfig_path": "~/null"}))
    assert said["findings"] == [
        f"the user's kubeconfig: {home.path}/null: Is a device, not a file; nothing was changed"
    ]


def test_users_that_the_inventory_has_no_more_are_forgotten(home: Home) -> None:
    home.has_cluster()
    users = home.state / "users"
    users.mkdir()
    for context in ("dev-user@dev", "viewer@dev"):
        shutil.copy(home.state / "kubeconfig", users / f"{context}.kubeconfig")
    home.run("kubeconfig", str(home.mine))
    playbook = home.path / "forget.yml"
    playbook.write_text(
        "- hosts: localhost\n  gather_facts: false\n  tasks:\n"
        "    - ansible.builtin.set_fact: {__security_certificates: {unwanted: [viewer@dev]}}\n"
        "    - ansible.builtin.include_role: {name: cicd.sandbox.security, tasks_from: unwanted}\n",
        encoding="utf-8",
    )
    # Whatever KUBECONFIG is by now.
    where = {"HOME": str(home.path), "KUBECONFIG": f"{home.path}/other"}
    run = run_playbook(playbook, "--inventory=inventories/dev", **where)
    assert run.stats["localhost"]["changed"] == 2
    merged = yaml.safe_load(home.mine.read_text(encoding="utf-8"))
    assert sorted(item["name"] for item in merged["contexts"]) == ["dev-admin@dev", "dev-user@dev"]
    assert sorted(item["name"] for item in merged["users"]) == ["dev-admin", "dev-user@dev"]
    assert [path.name for path in users.iterdir()] == ["dev-user@dev.kubeconfig"]
