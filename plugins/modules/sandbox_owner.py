#!/usr/bin/python
# Copyright: cicd.sandbox contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Module: whose a sandbox is."""

from __future__ import annotations

DOCUMENTATION = r"""
module: sandbox_owner
short_description: Write down whose a sandbox is, or refuse somebody else's
version_added: "0.1.0"
description:
  - Writes C(owner.json) beside a sandbox's machines, where there is none, and changes it never again.
  - Fails where the sandbox is somebody else's, which is another user or another O(state_directory), and where another
    sandbox of this machine has addresses of O(network). The message says whose it is, since when, and what to do.
  - Machines without such a file are taken for those of who has their SSH key.
options:
  sandbox:
    description: Name of the sandbox.
    type: str
    required: true
  library:
    description: The sandbox's directory. Those of other sandboxes are beside it.
    type: path
    required: true
  state_directory:
    description: Where the run that asks has the sandbox's keys.
    type: path
    required: true
  uid:
    description: The user whose run asks; with privileges the module itself is run by root.
    type: int
    required: true
  home:
    description: That user's home directory.
    type: path
    required: true
  checkout:
    description: Where the collection is that asks.
    type: path
    default: ""
  inventories:
    description: The inventories that describe the sandbox.
    type: list
    elements: path
    default: []
  network:
    description: The machines' network.
    type: str
    required: true
author:
  - cicd.sandbox contributors
attributes:
  check_mode:
    description: Says whether it would be written, and fails as without.
    support: full
"""

EXAMPLES = r"""
- name: Write down whose the sandbox is
  cicd.sandbox.sandbox_owner:
    sandbox: dev
    library: /var/lib/cicd-sandbox/dev
    state_directory: /home/jo/.local/state/cicd-sandbox/dev
    uid: 1000
    home: /home/jo
    network: 198.18.0.0/24
  become: true
"""

RETURN = r"""
path:
  description: The file.
  returned: success
  type: str
  sample: /var/lib/cicd-sandbox/dev/owner.json
"""

import os
import time
from pathlib import Path

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.cicd.sandbox.plugins.module_utils.runs.owner import RECORD, ForeignSandboxError, Owner, claim


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "sandbox": {"type": "str", "required": True},
            "library": {"type": "path", "required": True},
            "state_directory": {"type": "path", "required": True},
            "uid": {"type": "int", "required": True},
            "home": {"type": "path", "required": True},
            "checkout": {"type": "path", "default": ""},
            "inventories": {"type": "list", "elements": "path", "default": []},
            "network": {"type": "str", "required": True},
        },
        supports_check_mode=True,
    )
    params = module.params
    library = Path(params["library"])
    mine = Owner(
        sandbox=params["sandbox"],
        uid=params["uid"],
        home=params["home"],
        state=params["state_directory"],
        checkout=os.path.realpath(params["checkout"]) if params["checkout"] else "",
        inventories=tuple(map(os.path.realpath, params["inventories"])),
        network=params["network"],
        since=time.time(),
    )
    try:
        changed = claim(library, mine, dry_run=module.check_mode)
    except ForeignSandboxError as error:
        module.fail_json(msg=str(error))
    except OSError as error:
        module.fail_json(msg=f"{error.filename or library}: {error.strerror}")
    said = f"{mine.text()}\n" if changed else ""
    module.exit_json(changed=changed, path=str(library / RECORD), diff={"before": "", "after": said})


if __name__ == "__main__":
    main()
