#!/usr/bin/python
# Copyright: cicd.sandbox contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Module: kernel settings of this host that a sandbox needs."""

from __future__ import annotations

DOCUMENTATION = r"""
module: host_settings
short_description: Manage kernel settings of this host that a sandbox needs
version_added: "0.1.0"
description:
  - Raises a setting where it is not good as it is, and remembers what it was. The last sandbox that needs it sets it
    back, unless somebody else has set it since.
  - A setting that is in the record for O(sandbox) and no longer in O(settings) is taken back.
  - For settings of which a host has one; those of the machines' own networks are theirs.
options:
  sandbox:
    description: Name of the sandbox.
    type: str
    required: true
  record:
    description: File of what was set, by which sandboxes, and what it was before. All sandboxes of a host share it.
    type: path
    required: true
  settings:
    description: What the sandbox needs. Nothing, with which all is taken back.
    type: list
    elements: dict
    default: []
    suboptions:
      name:
        description: Name as of sysctl(8).
        type: str
        required: true
      minimum:
        description: The setting is at least so much.
        type: int
      value:
        description: The setting is this.
        type: str
author:
  - cicd.sandbox contributors
attributes:
  check_mode:
    description: Says what would be done.
    support: full
  diff_mode:
    description: Settings before and after.
    support: full
"""

EXAMPLES = r"""
- name: Have room for the watches of seven machines
  cicd.sandbox.host_settings:
    sandbox: dev
    record: /var/lib/cicd-sandbox/host-settings.json
    settings:
      - {name: fs.inotify.max_user_instances, minimum: 8192}

- name: Set back what no other sandbox needs
  cicd.sandbox.host_settings:
    sandbox: dev
    record: /var/lib/cicd-sandbox/host-settings.json
"""

RETURN = r"""
changes:
  description: What was set or set back, or would be in check mode; and what was not, because others have set it since.
  returned: success
  type: list
  elements: str
  sample: ["fs.inotify.max_user_instances: 128 -> 8192"]
"""

from pathlib import Path

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.cicd.sandbox.plugins.module_utils.host.settings import SettingsError, Wanted, ensure

SETTING = {"name": {"type": "str", "required": True}, "minimum": {"type": "int"}, "value": {"type": "str"}}


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "sandbox": {"type": "str", "required": True},
            "record": {"type": "path", "required": True},
            "settings": {
                "type": "list",
                "elements": "dict",
                "default": [],
                "options": SETTING,
                "mutually_exclusive": [("minimum", "value")],
                "required_one_of": [("minimum", "value")],
            },
        },
        supports_check_mode=True,
    )
    params = module.params
    wanted = [Wanted(**setting) for setting in params["settings"]]
    try:
        changes = ensure(Path(params["record"]), params["sandbox"], wanted, dry_run=module.check_mode)
    except SettingsError as error:
        module.fail_json(msg=str(error))
    done = [change for change in changes if not change.left]
    module.exit_json(
        changed=bool(done),
        changes=[str(change) for change in changes],
        diff={
            "before": "".join(f"{change.name} = {change.before}\n" for change in done),
            "after": "".join(f"{change.name} = {change.after}\n" for change in done),
        },
    )


if __name__ == "__main__":
    main()
