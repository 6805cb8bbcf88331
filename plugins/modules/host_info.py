#!/usr/bin/python
# Copyright: cicd.sandbox contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Module: what a host has, in one look."""

from __future__ import annotations

DOCUMENTATION = r"""
---
module: host_info
short_description: Tell in one look what a host has
version_added: 0.1.0
author: cicd.sandbox contributors (@cicd-sandbox)
description:
  - Reads which packages are installed, how units of systemd stand, which files there are and what local facts say.
  - A run on hosts that have all they need gets by with this; a task for each would cross the connection as often.
  - Changes nothing.
options:
  packages:
    description: Whether the host's Debian packages are read.
    type: bool
    default: false
  units:
    description: Units of systemd, with their endings.
    type: list
    elements: str
    default: []
  paths:
    description: Files, as patterns of the shell.
    type: list
    elements: path
    default: []
  volumes:
    description: Directories that Kubernetes uses as volumes, as patterns of the shell.
    type: list
    elements: path
    default: []
  facts:
    description: Names of local facts, files below C(/etc/ansible/facts.d). Those that are no JSON object are left out.
    type: list
    elements: str
    default: []
attributes:
  check_mode:
    description: Changes nothing in any mode.
    support: full
  diff_mode:
    description: Changes nothing in any mode.
    support: none
"""

EXAMPLES = r"""
- name: See what the node has
  cicd.sandbox.host_info:
    units: [containerd.service, kubelet.service]
    paths: [/etc/kubernetes/kubelet.conf]
    facts: [machine]
  register: found

- name: Have containerd run, now and after a boot
  ansible.builtin.systemd_service:
    name: containerd
    state: started
    enabled: true
  when: "'containerd.service' not in found.running"
"""

RETURN = r"""
packages:
  description: Names of the packages that are installed.
  returned: when O(packages=true)
  type: list
  elements: str
running:
  description: >-
    Those of O(units) that run, start with the host and are known to systemd as their files are now. With the others
    something is to be done.
  returned: always
  type: list
  elements: str
paths:
  description: Files that match O(paths), sorted.
  returned: always
  type: list
  elements: str
empty_volumes:
  description: >-
    Those of O(volumes) that are empty and root's, writable for nobody else, sorted. The kubelet makes the directory of
    a volume like that, where it is not there.
  returned: always
  type: list
  elements: str
facts:
  description: Name → value, of those of O(facts) that are there.
  returned: always
  type: dict
"""

import json
import shutil
import stat
from contextlib import suppress
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule

FACTS = Path("/etc/ansible/facts.d")
INSTALLED = "installed "
KUBELETS_MODE = 0o755
AS_IT_SHOULD = {"ActiveState": "active", "UnitFileState": "enabled", "NeedDaemonReload": "no"}


def running(shown: str) -> list[str]:
    """Return the names of the units that run, from what ``systemctl show`` says: a paragraph of properties for each."""
    units = [dict(line.split("=", 1) for line in one.splitlines() if "=" in line) for one in shown.split("\n\n")]
    return [unit["Id"] for unit in units if "Id" in unit and unit.items() >= AS_IT_SHOULD.items()]


def installed(shown: str) -> list[str]:
    """Return the names of installed packages, from dpkg-query's lines of state and name."""
    return [line.removeprefix(INSTALLED) for line in shown.splitlines() if line.startswith(INSTALLED)]


def matching(patterns: list[str]) -> set[Path]:
    """Return what there is that absolute patterns of the shell match."""
    return {path for pattern in patterns for path in Path("/").glob(pattern.lstrip("/"))}


def is_empty_volume(path: Path) -> bool:
    """Whether a directory is as the kubelet makes that of a volume; one that can't be read is not."""
    with suppress(OSError):
        found = path.lstat()
        as_made = stat.S_ISDIR(found.st_mode) and found.st_uid == 0 and stat.S_IMODE(found.st_mode) == KUBELETS_MODE
        return as_made and not any(path.iterdir())
    return False


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "packages": {"type": "bool", "default": False},
            "units": {"type": "list", "elements": "str", "default": []},
            "paths": {"type": "list", "elements": "path", "default": []},
            "volumes": {"type": "list", "elements": "path", "default": []},
            "facts": {"type": "list", "elements": "str", "default": []},
        },
        supports_check_mode=True,
    )
    found: dict[str, Any] = {"running": [], "facts": {}}
    if module.params["packages"]:
        line = ["dpkg-query", "--show", "--showformat=${db:Status-Status} ${Package}\\n"]
        found["packages"] = installed(module.run_command(line, check_rc=True)[1])
    # Without systemd no unit runs.
    if module.params["units"] and shutil.which("systemctl"):
        properties = ["Id", *AS_IT_SHOULD]
        line = ["systemctl", "show", f"--property={','.join(properties)}", *module.params["units"]]
        found["running"] = running(module.run_command(line)[1])
    found["paths"] = sorted(map(str, matching(module.params["paths"])))
    found["empty_volumes"] = sorted(str(path) for path in matching(module.params["volumes"]) if is_empty_volume(path))
    for name in module.params["facts"]:
        path = FACTS / f"{name}.fact"
        with suppress(OSError, ValueError):
            fact = json.loads(path.read_text(encoding="utf-8"))
            if isinstance(fact, dict):
                found["facts"][name] = fact
    module.exit_json(changed=False, **found)


if __name__ == "__main__":
    main()
