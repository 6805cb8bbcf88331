#!/usr/bin/python
# Copyright: cicd.sandbox contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Module: a program in the background, on a host without systemd."""

from __future__ import annotations

DOCUMENTATION = r"""
---
module: daemon
short_description: Keep a program running in the background on a host without systemd
version_added: 0.1.0
author: cicd.sandbox contributors (@cicd-sandbox)
description:
  - Starts a program once and knows it again, also after a reboot or when its process id has gone to another program.
  - Where systemd is the host's PID 1, use M(ansible.builtin.systemd_service).
options:
  name:
    description: What the program is known by.
    type: str
    required: true
  directory:
    description: Directory for C(<name>.json), which remembers the program, and C(<name>.log), its output.
    type: path
    required: true
  argv:
    description: Program and arguments. A change starts it anew. Required for O(state=started).
    type: list
    elements: str
  listens_on:
    description: Addresses with ports on which it accepts connections as soon as it works.
    type: list
    elements: str
    default: []
  timeout:
    description: Seconds it has to start or to end.
    type: int
    default: 10
  state:
    description: Whether it runs. V(absent) also removes what is remembered of it.
    type: str
    choices: [started, absent]
    default: started
attributes:
  check_mode:
    description: Says whether it would be started or ended.
    support: full
  diff_mode:
    description: Shows the command line before and after.
    support: full
"""

EXAMPLES = r"""
- name: Pass a local port on
  cicd.sandbox.daemon:
    name: endpoint
    directory: /run/endpoint
    argv: [systemd-socket-activate, -l, "127.0.0.1:8080", /lib/systemd/systemd-socket-proxyd, "198.18.0.2:80"]
    listens_on: ["127.0.0.1:8080"]
"""

RETURN = r"""
pid:
  description: Its process id, 0 where it does not run.
  returned: success
  type: int
"""

from pathlib import Path

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.cicd.sandbox.plugins.module_utils.host.daemon import Daemon, DaemonError
from ansible_collections.cicd.sandbox.plugins.module_utils.host.environment import settle


def main() -> None:
    """Run the module."""
    settle()
    module = AnsibleModule(
        argument_spec={
            "name": {"type": "str", "required": True},
            "directory": {"type": "path", "required": True},
            "argv": {"type": "list", "elements": "str"},
            "listens_on": {"type": "list", "elements": "str", "default": []},
            "timeout": {"type": "int", "default": 10},
            "state": {"type": "str", "choices": ["started", "absent"], "default": "started"},
        },
        required_if=[("state", "started", ("argv",))],
        supports_check_mode=True,
    )
    params = module.params
    daemon = Daemon(Path(params["directory"]), params["name"])
    running = daemon.running()
    wanted = tuple(params["argv"] or ()) if params["state"] == "started" else ()
    before = running.argv if running else ()
    changed = before != wanted or (not wanted and daemon.record.exists())
    try:
        if changed and not module.check_mode:
            daemon.stop(timeout=params["timeout"])
            running = daemon.start(wanted, params["listens_on"], params["timeout"]) if wanted else None
    except (DaemonError, OSError) as error:
        module.fail_json(msg=f"{params['name']}: {error}")
    module.exit_json(
        changed=changed,
        pid=running.pid if running else 0,
        diff={"before": " ".join(before) + "\n", "after": " ".join(wanted) + "\n"},
    )


if __name__ == "__main__":
    main()
