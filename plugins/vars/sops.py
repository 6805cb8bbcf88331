# Copyright: cicd.sandbox contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Vars plugin cicd.sandbox.sops: values of inventories that are in git, encrypted."""

from __future__ import annotations

DOCUMENTATION = r"""
name: sops
short_description: Values of inventories that are in git, encrypted
description:
  - Reads C(*.sops.yml), C(*.sops.yaml) and C(*.sops.json) in C(group_vars) and C(host_vars) by the plugin
    P(community.sops.sops#vars), with its precedence. That one is made anew for each task and host, which takes a fifth
    of a small task's time whether there are such files or not; this one looks once.
  - All files are decrypted when the inventory is read, so that a key that is missing ends a run before its first task.
    What is missing is said by C(scripts/sops.sh) of this collection.
  - P(ansible.builtin.host_group_vars#vars) reads these files as well, as they are, so that it has to come first, as in
    C(vars_plugins_enabled = host_group_vars, cicd.sandbox.sops).
version_added: 0.1.0
author:
  - cicd.sandbox contributors
requirements:
  - community.sops
  - sops
"""

from functools import cache
from pathlib import Path
from typing import Any

from ansible_collections.community.sops.plugins.vars import sops

FOLDERS = ("group_vars", "host_vars")
# What upstream's plugin and its calls of sops ask for; sops' own settings are in its environment.
SETTINGS: dict[str, object] = {
    "stage": "all",
    "cache": True,
    "valid_extensions": [".sops.yml", ".sops.yaml", ".sops.json"],
    "handle_unencrypted_files": "error",
    "enable_local_keyservice": True,
    "sops_binary": str(Path(__file__).resolve().parents[2] / "scripts/sops.sh"),
}


@cache
def has_files(folder: str) -> bool:
    """Tell whether anything beside an inventory or a playbook is sops'."""
    return any(True for name in FOLDERS for _ in Path(folder, name).rglob("*.sops.*"))


class VarsModule(sops.VarsModule):
    """Upstream's, where there is something for it to do."""

    # One for a whole run.
    is_stateless = True

    def get_option(self, option: str) -> object:
        """Give what upstream's plugin asks for."""
        return SETTINGS.get(option)

    def get_vars(self, loader: Any, path: str, entities: Any, cache: bool | None = None) -> dict[str, Any]:
        """Give the variables of hosts and groups that stand encrypted beside an inventory or a playbook."""
        if not has_files(path):
            return {}
        variables: dict[str, Any] = super().get_vars(loader, path, entities, cache)
        return variables
