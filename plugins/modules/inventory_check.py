# Copyright: cicd.sandbox contributors
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: inventory_check
short_description: Say what is wrong with an inventory
version_added: 0.1.0
author:
  - cicd.sandbox contributors
description:
  - Looks for empty groups, hosts in two exclusive groups, networks that overlap, addresses that two hosts have or that
    are outside of their bridge, placeholders, and variables that no role has.
  - Says of each in which file and line it is set. Runs on the controller; changes nothing and does not fail because of
    what it finds.
options:
  groups:
    description: The groups and their hosts.
    type: dict
    required: true
  addresses:
    description: The hosts' addresses.
    type: dict
    required: true
  networks:
    description: Networks by the variable that has them. They must not overlap.
    type: dict
    required: true
  bridge:
    description: Which of O(networks) the addresses have to be in; none if empty.
    type: str
    default: ""
  values:
    description: Further values by their variable, looked at for placeholders.
    type: dict
    default: {}
  names:
    description: Names of all variables of all hosts.
    type: list
    elements: str
    default: []
  sources:
    description: The inventories, files or directories.
    type: list
    elements: path
    default: []
  roles:
    description: Directory of the roles that say which variables there are.
    type: path
    required: true
requirements:
  - PyYAML
attributes:
  check_mode:
    description: Changes nothing.
    support: full
"""

EXAMPLES = r"""
- name: Look at the inventory
  cicd.sandbox.inventory_check:
    groups: "{{ groups }}"
    addresses: {cp-1: 198.18.0.21}
    networks: {sandbox_pod_network: 10.244.0.0/16}
    sources: "{{ ansible_inventory_sources }}"
    roles: "{{ role_path }}/.."
  delegate_to: localhost
"""

RETURN = r"""
findings:
  description: What is wrong, as M(cicd.sandbox.host_check) returns it.
  returned: always
  type: list
  elements: dict
"""

from collections.abc import Iterable
from pathlib import Path

from ansible.module_utils.basic import AnsibleModule, missing_required_lib
from ansible_collections.cicd.sandbox.plugins.module_utils._preflight import Inventory, check_inventory

try:
    import yaml
except ImportError:
    HAS_YAML = False
else:
    HAS_YAML = True

SUFFIXES = {"", ".yml", ".yaml", ".ini"}


def texts(sources: Iterable[str]) -> dict[str, str]:
    """Return path → text of the inventories' files; what is not text is left out."""
    found = {}
    for source in map(Path, sources):
        paths = sorted(source.rglob("*")) if source.is_dir() else [source]
        for path in paths:
            if path.is_file() and path.suffix in SUFFIXES:
                found[str(path)] = path.read_text(encoding="utf-8", errors="replace")
    return found


def known_variables(roles: Path) -> dict[str, set[str]]:
    """Return role → the variables that its defaults, vars and argument_specs name."""
    known: dict[str, set[str]] = {}
    for role in sorted(path for path in roles.iterdir() if path.is_dir()):
        names = known.setdefault(role.name, set())
        for path in [*role.glob("defaults/**/*.yml"), *role.glob("vars/**/*.yml")]:
            names.update(yaml.safe_load(path.read_text(encoding="utf-8")) or {})
        for path in role.glob("meta/argument_specs.yml"):
            specs = (yaml.safe_load(path.read_text(encoding="utf-8")) or {}).get("argument_specs", {})
            for spec in specs.values():
                names.update(spec.get("options", {}))
    return known


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "groups": {"type": "dict", "required": True},
            "addresses": {"type": "dict", "required": True},
            "networks": {"type": "dict", "required": True},
            "bridge": {"type": "str", "default": ""},
            "values": {"type": "dict", "default": {}},
            "names": {"type": "list", "elements": "str", "default": []},
            "sources": {"type": "list", "elements": "path", "default": []},
            "roles": {"type": "path", "required": True},
        },
        supports_check_mode=True,
    )
    if not HAS_YAML:
        module.fail_json(msg=missing_required_lib("PyYAML"))
    params = module.params
    inventory = Inventory(
        groups=params["groups"],
        addresses=params["addresses"],
        networks=params["networks"],
        values={name: str(value) for name, value in params["values"].items()},
        names=params["names"],
        files=texts(params["sources"]),
    )
    findings = check_inventory(inventory, known_variables(Path(params["roles"])), params["bridge"])
    module.exit_json(changed=False, findings=[finding.fields() for finding in findings])


if __name__ == "__main__":
    main()
