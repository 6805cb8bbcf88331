# Copyright: cicd.sandbox contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Find values of sops' that nobody has decrypted: Ansible reads files as they are where it is not told otherwise."""

from __future__ import annotations

import re
from collections.abc import Mapping

from ansible_collections.cicd.sandbox.plugins.module_utils.preflight.findings import Finding, Inventory

FILE = re.compile(r"[^/]\.sops\.ya?ml$")
NAME = re.compile(r"^[\"']?(\w+)[\"']?:", re.MULTILINE)
ENCRYPTED = "ENC[AES256_GCM,"


def sops_names(files: Mapping[str, str]) -> set[str]:
    """Return the variables in files of sops', which leaves names readable; not its own notes."""
    return {name for path, text in files.items() if FILE.search(path) for name in NAME.findall(text)} - {"sops"}


def check_decrypted(inventory: Inventory, values: Mapping[str, object]) -> list[Finding]:
    """Find what hosts have of such variables as it is in the file. values: variable → value."""
    remedy = (
        "Have Ansible decrypt it, by vars_plugins_enabled = host_group_vars, cicd.sandbox.sops in your ansible.cfg, in"
        " this order (docs/how-to/secrets-in-git.md)."
    )
    return [
        Finding(name, "is still encrypted", inventory.origin(name), remedy)
        for name, value in values.items()
        if ENCRYPTED in str(value)
    ]
