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
  - Looks at the architecture, swap, memory, free space, file systems, ports, routes, the packet filter, the kernel's
    options and settings, and reads the clock.
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
  architecture:
    description: What C(uname -m) has to say; not looked at if empty.
    type: str
    default: ""
  memory:
    description: What takes memory. The sum has to be there, and what is not in use yet has to be free.
    type: list
    elements: dict
    default: []
    suboptions:
      mb:
        description: How many MiB it takes.
        type: int
        required: true
      used_when:
        description: A path that exists where the memory is in use by the sandbox already.
        type: path
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
      free_inodes:
        description: How many files will be made there; what is needed on one file system is added.
        type: int
        default: 0
      free_percent:
        description: What share of the file system has to be free, in per cent.
        type: int
        default: 0
      used_when:
        description: A path that exists where the space is in use by the sandbox already; it is not asked for then.
        type: path
  directories:
    description: Directories whose file systems are tried, in a directory that is made there and removed again.
    type: list
    elements: dict
    default: []
    suboptions:
      path:
        description: A directory, which may not exist yet.
        type: path
        required: true
      needs:
        description:
          - V(devices) that work; V(layers) of overlayfs; V(locks) and links; V(owners) other than the one who writes;
            V(private) files; V(programs) that can be run.
        type: list
        elements: str
        choices: [devices, layers, locks, owners, private, programs]
        required: true
      lower:
        description: Where what is below the layers lies, if it is not there.
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
  ours:
    description:
      - A path that exists where the host is the sandbox's already. Before, no process is, whatever its command line.
      - Not looked at if empty.
    type: path
  resolver:
    description: Whether pods have to be able to ask the host's name servers.
    type: bool
    default: false
  networks:
    description: Networks of the sandbox by the variable that has them; the host must not have them elsewhere.
    type: dict
    default: {}
  bridge:
    description:
      - The interface of machines that are made on the host. Where it is given, the packet filter is looked at.
    type: str
    default: ""
  sandbox:
    description: The sandbox's name, as the rules of its bridge have it.
    type: str
    default: ""
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
    architecture: x86_64
    memory:
      - {mb: 2048, used_when: /etc/cicd-sandbox}
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
import sys
import time
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.cicd.sandbox.plugins.module_utils.host import resolver
from ansible_collections.cicd.sandbox.plugins.module_utils.host.proc import memory_mb
from ansible_collections.cicd.sandbox.plugins.module_utils.nspawn.network import host_routes
from ansible_collections.cicd.sandbox.plugins.module_utils.nspawn.system import NspawnError
from ansible_collections.cicd.sandbox.plugins.module_utils.preflight import findings as preflight
from ansible_collections.cicd.sandbox.plugins.module_utils.preflight.directories import NEEDS, check_directories
from ansible_collections.cicd.sandbox.plugins.module_utils.preflight.packet_filter import check_packet_filter

PROC = Path("/proc")
ARGUMENT_SPEC: dict[str, Any] = {
    "name": {"type": "str", "required": True},
    "architecture": {"type": "str", "default": ""},
    "swap_allowed": {"type": "bool", "default": False},
    "memory": {
        "type": "list",
        "elements": "dict",
        "default": [],
        "options": {"mb": {"type": "int", "required": True}, "used_when": {"type": "path"}},
    },
    "disks": {
        "type": "list",
        "elements": "dict",
        "default": [],
        "options": {
            "path": {"type": "path", "required": True},
            "free_mb": {"type": "int", "default": 0},
            "free_inodes": {"type": "int", "default": 0},
            "free_percent": {"type": "int", "default": 0},
            "used_when": {"type": "path"},
        },
    },
    "ports": {
        "type": "list",
        "elements": "dict",
        "default": [],
        "options": {
            "number": {"type": "int", "required": True},
            "what": {"type": "str", "required": True},
            "by": {"type": "list", "elements": "str", "default": []},
        },
    },
    "directories": {
        "type": "list",
        "elements": "dict",
        "default": [],
        "options": {
            "path": {"type": "path", "required": True},
            "needs": {"type": "list", "elements": "str", "required": True, "choices": sorted(NEEDS)},
            "lower": {"type": "path"},
        },
    },
    "ours": {"type": "path"},
    "resolver": {"type": "bool", "default": False},
    "networks": {"type": "dict", "default": {}},
    "bridge": {"type": "str", "default": ""},
    "sandbox": {"type": "str", "default": ""},
    "kernel_options": {"type": "dict", "default": {}},
    "settings": {"type": "dict", "default": {}},
}


def in_use(item: dict[str, Any]) -> bool:
    """Tell whether the sandbox has already what an item asks for."""
    return bool(item["used_when"]) and Path(item["used_when"]).exists()


def check_memory(host: str, memory: list[dict[str, Any]]) -> list[preflight.Finding]:
    """Compare the host's memory with all that takes some, and what is free with what does not run yet."""
    meminfo = preflight.read(PROC / "meminfo")
    lacking = preflight.check_memory(host, memory_mb(meminfo, "MemTotal"), sum(item["mb"] for item in memory))
    to_come = sum(item["mb"] for item in memory if not in_use(item))
    return lacking or preflight.check_free_memory(host, memory_mb(meminfo, "MemAvailable"), to_come)


def check_disks(host: str, asked: list[dict[str, Any]]) -> list[preflight.Finding]:
    """Compare free space and inodes with what is not in use yet."""
    wanted = [item for item in asked if not in_use(item)]
    disks = {item["path"]: preflight.disk_usage(Path(item["path"])) for item in wanted}

    def needs(what: str) -> list[tuple[str, int, int]]:
        return [(item["path"], disks[item["path"]].device, item[what]) for item in wanted if item[what]]

    findings = preflight.check_disks(host, needs("free_mb"), {disk.device: disk.free_mb for disk in disks.values()})
    inodes = {disk.device: disk.free_inodes for disk in disks.values()}
    findings += preflight.check_inodes(host, needs("free_inodes"), inodes)
    for item in wanted:
        share = disks[item["path"]].free_percent
        findings += preflight.check_disk_share(host, item["path"], share, item["free_percent"])
    return findings


def check_ports(module: AnsibleModule) -> list[preflight.Finding]:
    """Find ports that somebody else has; on a host that is not the sandbox's yet, that is whoever has them."""
    params = module.params
    known = not params["ours"] or Path(params["ours"]).exists()
    ports = [
        preflight.Port(item["number"], item["what"], tuple(item["by"]) if known else ()) for item in params["ports"]
    ]
    listeners = preflight.read_listeners(PROC, [item.number for item in ports])
    if any(listener.pid == 1 for listener in listeners) and Path("/run/systemd/system").is_dir():
        _code, units, _errors = module.run_command(["systemctl", "show", "*.socket", "--property=Id,Listen"])
        listeners = preflight.name_socket_units(listeners, units)
    return preflight.check_ports(params["name"], ports, listeners)


def check_network(params: dict[str, Any]) -> list[preflight.Finding]:
    """Find routes and packet filters that are in the way; a host without the programs to ask has neither."""
    host, bridge = params["name"], params["bridge"]
    findings = []
    try:
        if params["networks"]:
            findings += preflight.check_routes(host, params["networks"], host_routes(), bridge)
        if bridge:
            findings += check_packet_filter(host, params["sandbox"], bridge)
    except NspawnError as error:
        if "is not installed" not in str(error):
            findings.append(preflight.Finding(host, f"its network can't be looked at: {error}", "", "Mend that."))
    return findings


def main() -> None:
    module = AnsibleModule(argument_spec=ARGUMENT_SPEC, supports_check_mode=True)
    params, now = module.params, time.time()
    host = params["name"]
    settings = {name: int(minimum) for name, minimum in params["settings"].items()}
    bits = 64 if sys.maxsize > 2**32 else 32
    findings = preflight.check_architecture(host, os.uname().machine, bits, params["architecture"])
    if not params["swap_allowed"]:
        findings += preflight.check_swap(host, preflight.swap_devices(preflight.read(PROC / "swaps")))
    findings += check_memory(host, params["memory"])
    findings += check_disks(host, params["disks"])
    findings += check_directories(host, params["directories"])
    findings += check_ports(module)
    findings += check_network(params)
    if params["resolver"]:
        asked = resolver.read()
        findings += preflight.check_resolver(host, asked.servers, asked.usable())
    options = preflight.read_kernel_options(PROC, Path("/boot"), os.uname().release)
    findings += preflight.check_kernel(host, options, params["kernel_options"])
    findings += preflight.check_settings(host, preflight.read_settings(PROC, settings), settings)
    module.exit_json(changed=False, time=now, findings=[finding.fields() for finding in findings])


if __name__ == "__main__":
    main()
