#!/usr/bin/python
# Copyright: cicd.sandbox contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Module: which Debian packages were installed on this host for sandboxes."""

from __future__ import annotations

DOCUMENTATION = r"""
module: host_packages
short_description: Remember which packages are installed on this host for sandboxes
version_added: "0.1.0"
description:
  - With O(names), adds to the record what apt would install for them and is not there yet; it installs nothing itself.
  - Without, tells which packages of the record are there, and which of them no other package needs. It removes nothing.
options:
  record:
    description: File of the packages' names. All sandboxes of a host share it.
    type: path
    required: true
  names:
    description: Packages that are about to be installed, without what they recommend.
    type: list
    elements: str
    default: []
author:
  - cicd.sandbox contributors
attributes:
  check_mode:
    description: Says what would be remembered.
    support: full
"""

EXAMPLES = r"""
- name: Remember what is going to be installed
  cicd.sandbox.host_packages:
    record: /var/cache/cicd-sandbox/host-packages.json
    names: [buildah, skopeo]

- name: Find out what nobody else needs
  cicd.sandbox.host_packages:
    record: /var/cache/cicd-sandbox/host-packages.json
  register: found
"""

RETURN = r"""
added:
  description: What apt would install for O(names) that is not there.
  returned: success
  type: list
  elements: str
  sample: [buildah, runc]
needless:
  description: Packages of the record that are there, and that no other package needs.
  returned: success
  type: list
  elements: str
  sample: [skopeo]
needed:
  description: Packages of the record that are there, and that others need.
  returned: success
  type: list
  elements: str
  sample: [runc]
"""

from pathlib import Path

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.cicd.sandbox.plugins.module_utils.host import packages


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "record": {"type": "path", "required": True},
            "names": {"type": "list", "elements": "str", "default": []},
        },
        supports_check_mode=True,
    )
    record, names = Path(module.params["record"]), module.params["names"]
    added: list[str] = []
    changed = False
    try:
        if names:
            line = ["apt-get", "--simulate", "--no-install-recommends", "install", "--", *names]
            code, said, _errors = module.run_command(line, environ_update={"LC_ALL": "C.UTF-8"})
            # apt knows no such package yet: its lists are read anew before it is asked again.
            if code != 0:
                module.exit_json(changed=False, added=[], needless=[], needed=[])
            added = packages.new(said)
            changed = bool(set(added) - set(packages.recorded(record)))
            if changed and not module.check_mode:
                packages.remember(record, added)
        _code, said, _errors = module.run_command(
            ["dpkg-query", "--show", f"--showformat={packages.FORMAT}"], check_rc=True
        )
        needless, needed = packages.needless(packages.recorded(record), packages.installed(said))
    except (packages.PackagesError, OSError) as error:
        module.fail_json(msg=str(error))
    module.exit_json(changed=changed, added=added, needless=needless, needed=needed)


if __name__ == "__main__":
    main()
