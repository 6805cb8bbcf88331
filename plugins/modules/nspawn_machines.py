#!/usr/bin/python
# Copyright: cicd.sandbox contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Module: the systemd-nspawn machines of a sandbox."""

from __future__ import annotations

DOCUMENTATION = r"""
module: nspawn_machines
short_description: Manage a sandbox's systemd-nspawn machines
version_added: "0.1.0"
description:
  - Boots machines side by side from one root file system, each with a copy-on-write layer of its own, a fixed
    address on the sandbox's bridge and key-only SSH, and returns when all of them answer.
  - Works where systemd is the host's PID 1 (a transient unit for each machine) and where it is not
    (start-stop-daemon, and cgroups of the machine's own on cgroup v1).
  - A machine that died is started again with the data it had. One that runs with other settings or at another address
    than described is shut down and started with them.
  - Warns of machines of the sandbox that O(machines) does not name; with O(state=absent) they are removed.
options:
  sandbox:
    description: Name of the sandbox.
    type: str
    required: true
  network:
    description: The machines' network, as given to M(cicd.sandbox.nspawn_network).
    type: str
    required: true
  library:
    description: Directory for the machines' layers and data, on a file system that can carry an overlay.
    type: path
    required: true
  root:
    description: Root file system to start from. Required for O(state=present).
    type: path
  authorized_key:
    description: Public SSH key that may log in as root. Required for O(state=present).
    type: str
  hosts:
    description: Names and addresses for every machine's C(/etc/hosts).
    type: dict
    default: {}
  machines:
    description: The machines.
    type: list
    elements: dict
    default: []
    suboptions:
      name:
        description: Host name.
        type: str
        required: true
      address:
        description: Address in O(network).
        type: str
        required: true
      data_directories:
        description: Directories kept on the host's own file system, outside the machine's overlay.
        type: list
        elements: str
        default: []
      memory_mb:
        description: Memory limit in MiB; 0 sets none.
        type: int
        default: 0
  timeout:
    description: Seconds for all machines to open their SSH port, or to stop.
    type: int
    default: 60
  state:
    description:
      - V(present), they run.
      - V(stopped), they are shut down and keep their data.
      - V(absent), they are ended and removed, those too that O(machines) does not name.
    type: str
    choices: [absent, present, stopped]
    default: present
author:
  - cicd.sandbox contributors
attributes:
  check_mode:
    description: Says what would be done.
    support: full
"""

EXAMPLES = r"""
- name: Boot two machines
  cicd.sandbox.nspawn_machines:
    sandbox: dev
    network: 198.18.0.0/24
    library: /var/lib/cicd-sandbox/dev
    root: "{{ root.path }}"
    authorized_key: "{{ lookup('ansible.builtin.file', 'id_ed25519.pub') }}"
    machines:
      - {name: cp-1, address: 198.18.0.21, data_directories: [/var/lib/containerd]}
      - {name: worker-1, address: 198.18.0.31, data_directories: [/var/lib/containerd]}
"""

RETURN = r"""
machines:
  description: What was done to each machine, or would be in check mode; an empty list where it was as described.
  returned: success
  type: dict
  sample: {cp-1: [create, start], worker-1: []}
known_hosts:
  description: Lines for a known_hosts file with the machines' SSH host keys.
  returned: success
  type: list
  elements: str
  sample: ["198.18.0.21 ssh-ed25519 AAAA…"]
outdated:
  description: Machines that were started on another root file system than O(root); make them anew to change it.
  returned: success
  type: list
  elements: str
  sample: []
unlisted:
  description: Machines of the sandbox that O(machines) does not name.
  returned: success
  type: list
  elements: str
  sample: []
"""

import shlex
from pathlib import Path

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.cicd.sandbox.plugins.module_utils.host.environment import settle
from ansible_collections.cicd.sandbox.plugins.module_utils.nspawn.fleet import (
    absent,
    plans,
    present,
    stopped,
    unlisted,
)
from ansible_collections.cicd.sandbox.plugins.module_utils.nspawn.machine import MachineDirectory
from ansible_collections.cicd.sandbox.plugins.module_utils.nspawn.site import site_from
from ansible_collections.cicd.sandbox.plugins.module_utils.nspawn.system import NspawnError

MACHINE = {
    "name": {"type": "str", "required": True},
    "address": {"type": "str", "required": True},
    "data_directories": {"type": "list", "elements": "str", "default": []},
    "memory_mb": {"type": "int", "default": 0},
}


def main() -> None:
    """Run the module."""
    settle()
    module = AnsibleModule(
        argument_spec={
            "sandbox": {"type": "str", "required": True},
            "network": {"type": "str", "required": True},
            "library": {"type": "path", "required": True},
            "root": {"type": "path"},
            "authorized_key": {"type": "str", "no_log": False},
            "hosts": {"type": "dict", "default": {}},
            "machines": {"type": "list", "elements": "dict", "default": [], "options": MACHINE},
            "timeout": {"type": "int", "default": 60},
            "state": {"type": "str", "choices": ["absent", "present", "stopped"], "default": "present"},
        },
        required_if=[("state", "present", ("root", "authorized_key"))],
        supports_check_mode=True,
    )
    params = module.params
    known_hosts: list[str] = []
    outdated: list[str] = []
    try:
        site = site_from(params)
        items = [MachineDirectory(site, machine) for machine in site.machines]
        forgotten = [] if params["state"] == "absent" else unlisted(site)
        if params["state"] == "absent":
            done = absent(site, dry_run=module.check_mode)
        elif params["state"] == "stopped":
            done = stopped(site, timeout=params["timeout"], dry_run=module.check_mode)
        else:
            done = plans(site) if module.check_mode else present(site, timeout=params["timeout"])
            known_hosts = [f"{item.machine.address} {item.host_key()}" for item in items if item.host_key()]
            outdated = [item.machine.name for item in items if item.built_on() not in (None, str(Path(params["root"])))]
        for item in forgotten:
            state = "runs, though" if item.runs() else "has its data here, but"
            module.warn(
                f"{item.machine.name} {state} the inventory no longer names it. Name it again, or remove it:"
                f" sudo sh -c {shlex.quote(item.removal())}"
            )
    except NspawnError as error:
        module.fail_json(msg=str(error))
    machines = {name: [action.value for action in actions] for name, actions in done.items()}
    lines = [f"{name}: {', '.join(actions)}\n" for name, actions in machines.items() if actions]
    module.exit_json(
        changed=bool(lines),
        machines=machines,
        known_hosts=known_hosts,
        outdated=outdated,
        unlisted=[item.machine.name for item in forgotten],
        diff={"before": "", "after": "".join(lines)},
    )


if __name__ == "__main__":
    main()
