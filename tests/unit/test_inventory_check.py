# Copyright: cicd.sandbox contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The action inventory_check: the files it reads, and the variables of hosts that it compares with the roles."""

from __future__ import annotations

from pathlib import Path

import pytest
from ansible.errors import AnsibleUndefinedVariable
from ansible_collections.cicd.sandbox.plugins.action.inventory_check import settings, values_of
from ansible_collections.cicd.sandbox.plugins.module_utils.preflight.encrypted import check_decrypted, sops_names
from ansible_collections.cicd.sandbox.plugins.module_utils.preflight.findings import (
    Inventory,
    Role,
    Setting,
    check_inventory,
)
from ansible_collections.cicd.sandbox.plugins.module_utils.preflight.inventory_files import inventory_texts, known_roles
from checkout import REPOSITORY


class Variables(dict[str, str]):
    """A host's variables, of which one needs what only a role brings."""

    def __getitem__(self, name: str) -> str:
        if name == "cluster_later":
            raise AnsibleUndefinedVariable(name)
        return super().__getitem__(name)


def test_an_inventory_is_read_with_its_files(tmp_path: Path) -> None:
    (tmp_path / "group_vars").mkdir()
    (tmp_path / "hosts.yml").write_text("all:\n  hosts:\n    cp-1: {ansible_host: 192.0.2.21}\n")
    (tmp_path / "group_vars/all.yml").write_text("---\ncluster_redy_timeout: 1\n")
    (tmp_path / "group_vars/all.yml.orig").write_text("cluster_redy_timeout: 1\n")
    inventory = Inventory(
        groups={"infra": ["a"], "etcd": ["b"], "control_plane": ["cp-1"], "workers": ["c"]},
        addresses={"cp-1": "192.0.2.21"},
        networks={"sandbox_pod_network": "10.244.0.0/16"},
        values={},
        names=["cluster_redy_timeout", "cluster_ready_timeout", "sandbox_versions", "ansible_host"],
        files=inventory_texts([str(tmp_path)]),
        settings=[Setting("cluster_ready_timeout", "soon", "cp-1")],
    )
    placeholder, unknown, value = check_inventory(inventory, known_roles(REPOSITORY / "roles"), "")
    assert (placeholder.found, placeholder.source) == ("192.0.2.21 is a placeholder", f"{tmp_path}/hosts.yml:3")
    assert (unknown.source, unknown.remedy) == (
        f"{tmp_path}/group_vars/all.yml:2",
        "Did you mean cluster_ready_timeout?",
    )
    assert "'soon'" in value.found


@pytest.mark.parametrize("role", ["sandbox", "cluster", "etcd"])
def test_roles_have_variables_of_three_kinds(role: str) -> None:
    known = known_roles(REPOSITORY / "roles")[role]
    assert known.settable >= set(known.specs)
    assert known.specs
    assert known.fixed.isdisjoint(known.settable)


def test_values_are_taken_once_and_only_where_they_can_be_known() -> None:
    roles = {"cluster": Role(specs={"cluster_name": {}, "cluster_later": {}})}
    hosts = {
        "cp-1": Variables(cluster_name="one", cluster_later="?", other="x"),
        "cp-2": Variables(cluster_name="one"),
        "cp-3": Variables(cluster_name="two"),
    }
    assert list(settings(hosts, roles)) == [
        Setting("cluster_name", "one", "cp-1"),
        Setting("cluster_name", "two", "cp-3"),
    ]


def test_values_that_nobody_has_decrypted_are_found() -> None:
    encrypted = "ENC[AES256_GCM,data:1pH/,iv:1h6d,tag:Dur2,type:str]"
    text = f"mail_password: {encrypted}\nmail_ports:\n    - {encrypted}\nsops:\n    version: 3.13.3\n"
    inventory = Inventory({}, {}, {}, {}, [], {"/lab/mail.sops.yml": text, "/lab/all.yml": f"other: {encrypted}\n"})
    names = sops_names(inventory.files)
    assert names == {"mail_password", "mail_ports"}
    hosts = {"a": {"other": encrypted}, "b": {"mail_password": encrypted, "mail_ports": [encrypted]}}
    first, second = sorted(check_decrypted(inventory, values_of(hosts, names)), key=lambda finding: finding.where)
    assert (first.where, first.found, first.source) == ("mail_password", "is still encrypted", "/lab/mail.sops.yml:1")
    assert second.where == "mail_ports"
    assert "vars_plugins_enabled = host_group_vars, cicd.sandbox.sops" in first.remedy
    assert encrypted not in first.text()
    decrypted = {"b": {"mail_password": "x", "mail_ports": [25]}}
    assert check_decrypted(inventory, values_of(decrypted, names)) == []
