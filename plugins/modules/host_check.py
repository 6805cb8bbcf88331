# Copyright: cicd.sandbox contributors
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: host_check
short_description: Say what keeps a host from taking its part in a sandbox
version_added: 0.1.0
author:
  - cicd.sandbox contributors
description:
  - Looks at swap, memory, free space, listening ports, the kernel's options and settings, and reads the clock.
  - Changes nothing and never fails because of what it finds. What it finds is returned, so that all hosts' findings
    can be told at once.
options:
  name:
    description: What the host is called in findings.
    type: str
    required: true
  swap_allowed:
    description: Whether swap may be in use.
    type: bool
    default: false
  memory_mb:
    description: How many MiB of memory the host needs.
    type: int
    default: 0
  disks:
    description: Where space is needed.
    type: list
    elements: dict
    default: []
    suboptions:
      path:
        description: A directory, which may not exist yet.
        type: path
        required: true
      free_mb:
        description: How many MiB have to be free there; what is needed on one file system is added.
        type: int
        default: 0
      free_percent:
        description: What share of the file system has to be free, in per cent.
        type: int
        default: 0
      used_when:
        description: A path that exists where the space is in use by the sandbox already; it is not asked for then.
        type: path
  ports:
    description: TCP ports that are needed.
    type: list
    elements: dict
    default: []
    suboptions:
      number:
        description: The port.
        type: int
        required: true
      what:
        description: What it is for.
        type: str
        required: true
      by:
        description:
          - Parts of a command line; a process with one of them may have the port.
          - Where systemd holds the port for a unit, this is C(systemd for) and the unit's name.
        type: list
        elements: str
        default: []
  kernel_options:
    description: Options that the kernel needs, without C(CONFIG_), and what for. Not checked where it does not tell.
    type: dict
    default: {}
  settings:
    description: Settings below C(/proc/sys) and the least that each may be.
    type: dict
    default: {}
attributes:
  check_mode:
    description: Changes nothing.
    support: full
"""

EXAMPLES = r"""
- name: Look at the host
  cicd.sandbox.host_check:
    name: "{{ inventory_hostname }}"
    memory_mb: 2048
    disks:
      - {path: /var/lib/containerd, free_mb: 4096}
    ports:
      - {number: 10250, what: kubelet, by: [kubelet]}
    kernel_options:
      VXLAN: pods of other nodes
    settings:
      fs.inotify.max_user_instances: 1024
"""

RETURN = r"""
findings:
  description: What is wrong.
  returned: always
  type: list
  elements: dict
  contains:
    where:
      description: The host.
      type: str
    found:
      description: What was found.
      type: str
      sample: "swap is on: /dev/sda2"
    source:
      description: Where it was read, or the variable that asks for it.
      type: str
    remedy:
      description: What to do.
      type: str
    warning:
      description: Whether it keeps nothing from going on.
      type: bool
    text:
      description: All of it, in a line.
      type: str
time:
  description: The host's clock, in seconds since 1970.
  returned: always
  type: float
  sample: 1790000000.25
"""

import os
import time
from pathlib import Path

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.cicd.sandbox.plugins.module_utils.host.proc import memory_mb
from ansible_collections.cicd.sandbox.plugins.module_utils.preflight import findings as preflight


def main() -> None:
    disk = {
        "path": {"type": "path", "required": True},
        "free_mb": {"type": "int", "default": 0},
        "free_percent": {"type": "int", "default": 0},
        "used_when": {"type": "path"},
    }
    port = {
        "number": {"type": "int", "required": True},
        "what": {"type": "str", "required": True},
        "by": {"type": "list", "elements": "str", "default": []},
    }
    module = AnsibleModule(
        argument_spec={
            "name": {"type": "str", "required": True},
            "swap_allowed": {"type": "bool", "default": False},
            "memory_mb": {"type": "int", "default": 0},
            "disks": {"type": "list", "elements": "dict", "default": [], "options": disk},
            "ports": {"type": "list", "elements": "dict", "default": [], "options": port},
            "kernel_options": {"type": "dict", "default": {}},
            "settings": {"type": "dict", "default": {}},
        },
        supports_check_mode=True,
    )
    params, now = module.params, time.time()
    host, proc = params["name"], Path("/proc")
    ports = [preflight.Port(item["number"], item["what"], tuple(item["by"])) for item in params["ports"]]
    settings = {name: int(minimum) for name, minimum in params["settings"].items()}
    findings = (
        []
        if params["swap_allowed"]
        else preflight.check_swap(host, preflight.swap_devices(preflight.read(proc / "swaps")))
    )
    findings += preflight.check_memory(
        host, memory_mb(preflight.read(proc / "meminfo"), "MemTotal"), params["memory_mb"]
    )
    wanted = [item for item in params["disks"] if not (item["used_when"] and Path(item["used_when"]).exists())]
    disks = {item["path"]: preflight.disk_usage(Path(item["path"])) for item in wanted}
    needs = [(item["path"], disks[item["path"]].device, item["free_mb"]) for item in wanted if item["free_mb"]]
    findings += preflight.check_disks(host, needs, {disk.device: disk.free_mb for disk in disks.values()})
    for item in wanted:
        share = disks[item["path"]].free_percent
        findings += preflight.check_disk_share(host, item["path"], share, item["free_percent"])
    listeners = preflight.read_listeners(proc, [item.number for item in ports])
    if any(listener.pid == 1 for listener in listeners) and Path("/run/systemd/system").is_dir():
        _code, units, _errors = module.run_command(["systemctl", "show", "*.socket", "--property=Id,Listen"])
        listeners = preflight.name_socket_units(listeners, units)
    findings += preflight.check_ports(host, ports, listeners)
    options = preflight.read_kernel_options(proc, Path("/boot"), os.uname().release)
    findings += preflight.check_kernel(host, options, params["kernel_options"])
    findings += preflight.check_settings(host, preflight.read_settings(proc, settings), settings)
    module.exit_json(changed=False, time=now, findings=[finding.fields() for finding in findings])


if __name__ == "__main__":
    main()
