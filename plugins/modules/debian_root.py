#!/usr/bin/python
# Copyright: cicd.sandbox contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Module: a Debian root file system in a content-keyed cache."""

from __future__ import annotations

DOCUMENTATION = r"""
module: debian_root
short_description: Make a Debian root file system, once
version_added: "0.1.0"
description:
  - Makes a root file system with C(mmdebstrap) and keeps it in a cache, keyed by everything that goes into it.
  - The mirror is the one that this machine's apt uses.
options:
  cache:
    description: Directory of the cache.
    type: path
    required: true
  suite:
    description: Debian release by its code name.
    type: str
    required: true
  packages:
    description: Packages beside the variant's own.
    type: list
    elements: str
    default: []
  variant:
    description: mmdebstrap's variant.
    type: str
    choices: [apt, buildd, essential, important, minbase, standard]
    default: minbase
  disabled_services:
    description: Units that do not start by themselves in a machine booted from this root.
    type: list
    elements: str
    default: []
  max_age_days:
    description:
      - Days after which a root is made anew, for security updates. The old one stays for the machines that stand on it.
      - V(0) keeps it as long as it is.
    type: int
    default: 0
  kept_for:
    description: Files of machines; where all of them are there no machine is made, and a root is kept whatever its age.
    type: list
    elements: path
    default: []
author:
  - cicd.sandbox contributors
attributes:
  check_mode:
    description: Says whether a root would be made, makes none.
    support: full
"""

EXAMPLES = r"""
- name: Make the root of all machines
  cicd.sandbox.debian_root:
    cache: /var/cache/cicd-sandbox/rootfs
    suite: bookworm
    packages: [systemd, systemd-sysv, openssh-server, python3]
  register: root
"""

RETURN = r"""
path:
  description: Directory of the root file system.
  returned: success
  type: str
  sample: /var/cache/cicd-sandbox/rootfs/c687289284c8734f
key:
  description: The key of its content.
  returned: success
  type: str
  sample: c687289284c8734f
refreshed:
  description: Whether it was made because the one before was too old.
  returned: success
  type: bool
log:
  description: The last lines of mmdebstrap.
  returned: failure
  type: str
"""

from pathlib import Path

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.cicd.sandbox.plugins.module_utils.host.environment import settle
from ansible_collections.cicd.sandbox.plugins.module_utils.nspawn.debian_root import (
    DebianRootError,
    Recipe,
    ensure,
    newest,
)


def main() -> None:
    """Run the module."""
    settle()
    module = AnsibleModule(
        argument_spec={
            "cache": {"type": "path", "required": True},
            "suite": {"type": "str", "required": True},
            "packages": {"type": "list", "elements": "str", "default": []},
            "variant": {
                "type": "str",
                "choices": ["apt", "buildd", "essential", "important", "minbase", "standard"],
                "default": "minbase",
            },
            "disabled_services": {"type": "list", "elements": "str", "default": []},
            "max_age_days": {"type": "int", "default": 0},
            "kept_for": {"type": "list", "elements": "path", "default": []},
        },
        supports_check_mode=True,
    )
    recipe = Recipe(
        suite=module.params["suite"],
        packages=tuple(module.params["packages"]),
        variant=module.params["variant"],
        disabled_services=tuple(module.params["disabled_services"]),
    )
    cache = Path(module.params["cache"])
    kept = bool(module.params["kept_for"]) and all(Path(path).exists() for path in module.params["kept_for"])
    days = 0 if kept else module.params["max_age_days"]
    before = newest(cache, recipe)
    try:
        path, changed = ensure(cache, recipe, max_age_days=days, dry_run=module.check_mode)
    except DebianRootError as error:
        module.fail_json(msg=f"{error}\n{error.log}".strip(), log=error.log)
    module.exit_json(changed=changed, path=str(path), key=recipe.key, refreshed=changed and before is not None)


if __name__ == "__main__":
    main()
