# Copyright: cicd.sandbox contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The control groups of machines on a host without systemd, whichever version the host has."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

from ansible_collections.cicd.sandbox.plugins.module_utils.nspawn import system

CGROUPS = Path("/sys/fs/cgroup")


def unified() -> bool:
    """Tell whether the host has cgroup v2 only."""
    return (CGROUPS / "cgroup.controllers").exists()


# The machine is in a group below the one with its limits: that is the top of what it sees, and it can lift no limit.
INNER = "machine"

# cgroup v2: every controller there is, for the machine's own systemd and its containers. Where one can't be handed on,
# the console has the kernel's words.
UNIFIED_CGROUP = """\
limit={limit}
group={root}
for part in $(echo {group}/{inner} | tr / ' '); do
  for controller in $(cat "$group/cgroup.controllers"); do
    echo "+$controller" > "$group/cgroup.subtree_control" || :
  done
  group="$group/$part"
  mkdir -p "$group"
done
if [ -n "$limit" ]; then echo "$limit" > "$group/../memory.max"; fi
echo $$ > "$group/cgroup.procs"
"""


# cgroup v1: a group in every hierarchy; cpuset wants its parent's values before it takes a process. Of the devices that
# the kernel has or may get, each is refused that is not one of: null, zero, full, random, urandom; tty, console, ptmx;
# tun; pseudo-terminals. They are named one by one, because runc starts no privileged container in a group that refuses
# all but some; to make a node is not refused, because systemd and runc make them.
LEGACY_CGROUPS = """\
limit={limit}
for controller in {root}/*; do
  [ -e "$controller/cgroup.procs" ] && [ ! -L "$controller" ] || continue
  group="$controller"
  for part in $(echo {group}/{inner} | tr / ' '); do
    above="$group"
    group="$group/$part"
    mkdir -p "$group"
    if [ -e "$group/cpuset.cpus" ]; then
      cat "$above/cpuset.cpus" > "$group/cpuset.cpus"
      cat "$above/cpuset.mems" > "$group/cpuset.mems"
    fi
  done
done
if [ -n "$limit" ]; then echo "$limit" > "{root}/memory/{group}/memory.limit_in_bytes"; fi
refused="{root}/devices/{group}/devices.deny"
if [ -e "$refused" ]; then
  echo "b *:* rw" > "$refused"
  for major in $(seq 0 511); do
    case $major in 1|5|10|13[6-9]|14[0-3]) ;; *) echo "c $major:* rw" > "$refused" ;; esac
  done
  for minor in $(seq 0 15); do
    case $minor in 3|5|7|8|9) ;; *) echo "c 1:$minor rw" > "$refused" ;; esac
  done
  for minor in $(seq 3 255); do echo "c 5:$minor rw" > "$refused"; done
  for minor in $(seq 0 511); do
    case $minor in 200) ;; *) echo "c 10:$minor rw" > "$refused" ;; esac
  done
fi
for controller in {root}/*; do
  [ -e "$controller/cgroup.procs" ] && [ ! -L "$controller" ] || continue
  echo $$ > "$controller/{group}/{inner}/cgroup.procs"
done
"""


def enter(group: str, memory_mb: int) -> str:
    """Return the lines of a shell script that move it into a group of its own; ``memory_mb`` 0 sets no limit.

    With cgroup v1 the group also keeps it from the host's devices.
    """
    own_group = UNIFIED_CGROUP if unified() else LEGACY_CGROUPS
    return own_group.format(root=CGROUPS, group=group, inner=INNER, limit=memory_mb * 1024 * 1024 or "")


def hierarchies() -> list[Path]:
    """Return where the host's cgroup hierarchies are mounted: one of v2, or one for each controller of v1."""
    if unified():
        return [CGROUPS]
    return [path for path in CGROUPS.iterdir() if not path.is_symlink()]


def processes(group: str) -> set[int]:
    """Return every process in a group and below it."""
    groups = [hierarchy / group for hierarchy in hierarchies()]
    found = {int(pid) for top in groups for file in top.rglob("cgroup.procs") for pid in system.words(file)}
    return found - {0}  # 0 stands for a process of another PID namespace


def remove(group: str) -> None:
    """Remove a cgroup and all below it in every hierarchy, where they are empty."""
    for hierarchy in hierarchies():
        top = hierarchy / group
        if not top.is_dir():
            continue
        for directory, _names, _files in os.walk(top, topdown=False):
            with suppress(OSError):
                Path(directory).rmdir()
        for parent in list(top.parents)[: len(Path(group).parts) - 1]:
            with suppress(OSError):
                parent.rmdir()
