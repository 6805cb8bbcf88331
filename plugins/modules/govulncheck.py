#!/usr/bin/python
# Copyright: cicd.sandbox contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Module: known flaws in Go programs."""

from __future__ import annotations

DOCUMENTATION = r"""
---
module: govulncheck
short_description: Look for known flaws in Go programs
version_added: 0.1.0
author: cicd.sandbox contributors (@cicd-sandbox)
description:
  - Has govulncheck look at programs, without their source and without the network, and returns one log in SARIF, which
    M(cicd.sandbox.sarif_report) judges.
  - Of a program without symbols govulncheck knows only its modules, and counts every flaw of theirs as one that is
    called. The functions that are in the program are told to it, from the table that Go programs have for their stack
    traces, so that it tells flaws whose functions are there (C(error)) from those of a package or a module alone
    (C(warning), C(note)).
options:
  executable:
    description: The program govulncheck.
    type: path
    required: true
  database:
    description: A folder with the database of flaws, as govulncheck reads it.
    type: path
    required: true
  programs:
    description: The programs to look at.
    type: list
    elements: dict
    required: true
    suboptions:
      name:
        description: How it is called in the log, and in waivers as C(resource).
        type: str
        required: true
      path:
        description: Where it is.
        type: path
        required: true
  jobs:
    description: How many are looked at at once.
    type: int
    default: 2
attributes:
  check_mode:
    description: Changes nothing in any mode.
    support: full
  diff_mode:
    description: Changes nothing in any mode.
    support: none
"""

EXAMPLES = r"""
- name: Look for known flaws
  cicd.sandbox.govulncheck:
    executable: /usr/local/bin/govulncheck
    database: /srv/go-vulnerabilities
    programs:
      - name: coredns
        path: /usr/local/bin/coredns
  register: flaws

- name: Judge them
  cicd.sandbox.sarif_report:
    content: "{{ flaws.sarif }}"
"""

RETURN = r"""
sarif:
  description: The log, as text. Each result's file is the name of the program.
  returned: success
  type: str
by_module:
  description:
    - Programs whose functions can't be read (another format than 64 bit ELF, or a Go before 1.20), by name. What
      counts of them is their modules' versions alone.
  returned: success
  type: list
  elements: str
"""

import json
from pathlib import Path

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.cicd.sandbox.plugins.module_utils.scans.govulncheck import ScanError, Scanner, log_of, scan_all


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "executable": {"type": "path", "required": True},
            "database": {"type": "path", "required": True},
            "programs": {
                "type": "list",
                "elements": "dict",
                "required": True,
                "options": {"name": {"type": "str", "required": True}, "path": {"type": "path", "required": True}},
            },
            "jobs": {"type": "int", "default": 2},
        },
        supports_check_mode=True,
    )
    params = module.params
    if params["jobs"] < 1:
        module.fail_json(msg=f"jobs is {params['jobs']}: at least one program is looked at at once")
    scanner = Scanner(Path(params["executable"]).absolute(), Path(params["database"]).absolute())
    programs = [(program["name"], Path(program["path"])) for program in params["programs"]]
    try:
        scanned = scan_all(scanner, programs, params["jobs"])
    except ScanError as error:
        module.fail_json(msg=f"govulncheck can't look at {error}")
    by_module = [one.name for one in scanned if not one.linked]
    module.exit_json(changed=False, sarif=json.dumps(log_of(scanned)), by_module=by_module)


if __name__ == "__main__":
    main()
