# Copyright: cicd.sandbox contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Action: look at an inventory; documented in plugins/modules/inventory_check.py."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from ansible.errors import AnsibleError
from ansible.plugins.action import ActionBase
from ansible_collections.cicd.sandbox.plugins.module_utils.preflight.encrypted import check_decrypted, sops_names
from ansible_collections.cicd.sandbox.plugins.module_utils.preflight.findings import (
    Inventory,
    Role,
    Setting,
    check_inventory,
    check_version,
)
from ansible_collections.cicd.sandbox.plugins.module_utils.preflight.inventory_files import inventory_texts, known_roles
from ansible_collections.cicd.sandbox.plugins.module_utils.preflight.naming import check_naming
from ansible_collections.cicd.sandbox.plugins.module_utils.preflight.placing import check_directories, check_placing

ARGUMENTS = {
    "groups": {"type": "dict", "required": True},
    "addresses": {"type": "dict", "required": True},
    "networks": {"type": "dict", "required": True},
    "etcd_members": {"type": "int"},
    "bridge": {"type": "str", "default": ""},
    "sandbox": {"type": "str", "default": ""},
    "made": {"type": "list", "elements": "str", "default": []},
    "ports": {"type": "dict", "default": {}},
    "directories": {"type": "dict", "default": {}},
    "values": {"type": "dict", "default": {}},
    "kubernetes": {"type": "str", "default": ""},
    "supported": {"type": "list", "elements": "str", "default": []},
    "sources": {"type": "list", "elements": "path", "default": []},
    "roles": {"type": "path", "default": str(Path(__file__).parents[2] / "roles")},
}


class ActionModule(ActionBase):
    """Runs on the controller: only Ansible's own process sees variables as each host has them."""

    TRANSFERS_FILES = False
    _supports_check_mode = True

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Return the findings; they are no failure."""
        result: dict[str, Any] = super().run(tmp, task_vars)
        _, given = self.validate_argument_spec(ARGUMENTS)
        roles = known_roles(Path(given["roles"]))
        hostvars = (task_vars or {}).get("hostvars", {})
        inventory = Inventory(
            groups=given["groups"],
            addresses={host: str(address) for host, address in given["addresses"].items()},
            networks={name: str(network) for name, network in given["networks"].items()},
            values={name: str(value) for name, value in given["values"].items()},
            names={name for host in hostvars for name in hostvars[host]},
            files=inventory_texts(given["sources"]),
            settings=list(settings(hostvars, roles)),
            etcd_members=given["etcd_members"],
            sandbox=given["sandbox"],
            made=given["made"],
        )
        findings = check_inventory(inventory, roles, given["bridge"])
        findings += [*check_naming(inventory), *check_placing(inventory, roles, given["ports"])]
        findings += check_decrypted(inventory, values_of(hostvars, sops_names(inventory.files)))
        sockets_elsewhere = "ANSIBLE_SSH_CONTROL_PATH_DIR" in os.environ
        directories = given["directories"] | {"the collection's directory": given["roles"]}
        told = {(finding.where, finding.found) for finding in findings}
        findings += [
            finding
            for finding in check_directories(directories, sockets_elsewhere=sockets_elsewhere)
            if (finding.where, finding.found) not in told
        ]
        if given["kubernetes"]:
            findings += check_version(given["kubernetes"], given["supported"])
        return {**result, "changed": False, "findings": [finding.fields() for finding in findings]}


def settings(hostvars: Any, roles: dict[str, Role]) -> Iterator[Setting]:
    """Give each value of a variable that a role specifies once, with the first host that has it.

    A template that needs what only a role brings is left out: the role's own specification sees it filled in.
    """
    specified = {name for role in roles.values() for name in role.specs}
    seen: list[tuple[str, Any]] = []
    for host in hostvars:
        for name in specified.intersection(hostvars[host]):
            try:
                value = hostvars[host][name]
            except AnsibleError:
                continue
            if (name, value) not in seen:
                seen.append((name, value))
                yield Setting(name, value, host)


def values_of(hostvars: Any, names: set[str]) -> dict[str, object]:
    """Return what the first host that has such a variable has for it, templates that can't be filled in left out."""
    values: dict[str, object] = {}
    for host in hostvars if names else ():
        for name in names.intersection(hostvars[host]) - set(values):
            with suppress(AnsibleError):
                values[name] = hostvars[host][name]
    return values
