# Copyright: cicd.sandbox contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""All machines of a sandbox: started, shut down and removed side by side."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from ansible_collections.cicd.sandbox.plugins.module_utils.nspawn import cgroups
from ansible_collections.cicd.sandbox.plugins.module_utils.nspawn.machine import Action, MachineDirectory
from ansible_collections.cicd.sandbox.plugins.module_utils.nspawn.network import bridges_of_links
from ansible_collections.cicd.sandbox.plugins.module_utils.nspawn.site import Machine, Site
from ansible_collections.cicd.sandbox.plugins.module_utils.nspawn.system import NspawnError, remove_trees

# Between machines starting and an open SSH port lie 2 to 4 s on two idle cores.
POLL = 0.1


def _wait(pending: list[MachineDirectory], done: Callable[[MachineDirectory], bool], seconds: float) -> None:
    """Take from ``pending`` every machine for which ``done`` becomes true, until ``seconds`` are over.

    All are asked side by side: one that does not answer holds up none of the others.
    """
    deadline = time.monotonic() + seconds
    with ThreadPoolExecutor(max(1, len(pending))) as pool:
        while pending and time.monotonic() < deadline:
            ready = list(pool.map(done, pending))
            pending[:] = [machine for machine, is_ready in zip(pending, ready, strict=True) if not is_ready]
            if pending:
                time.sleep(POLL)


def plans(site: Site) -> dict[str, list[Action]]:
    """Return machine → what must be done for it to run as described."""
    links = bridges_of_links()
    return {machine.name: MachineDirectory(site, machine).plan(links) for machine in site.machines}


def present(site: Site, *, timeout: float) -> dict[str, list[Action]]:
    """Make every machine run; return machine → what was done.

    Raises:
        NspawnError: the root file system below a machine's layer is gone, or a machine did not open its SSH port in
            ``timeout`` seconds; with its last console lines.
    """
    directories = [MachineDirectory(site, machine) for machine in site.machines]
    done = plans(site)
    starting = [item for item in directories if Action.START in done[item.machine.name]]
    _refuse_without_root(starting)
    shut_down([item for item in starting if item.pid()], timeout)
    end(item for item in directories if item.pid() is None)
    for item in starting:
        item.start()
    for item in directories:
        if Action.ATTACH in done[item.machine.name]:
            item.attach()
        if Action.UPDATE in done[item.machine.name]:
            item.write_files()
    _wait(list(starting), lambda item: item.link_up() or item.pid() is None, timeout)
    silent = list(directories)
    _wait(silent, MachineDirectory.answers, timeout)
    if silent:
        reports = [f"{item.machine.name} ({item.console}):\n{item.why_not_up()}" for item in silent]
        standing = [str(item.pid()) for item in silent if item not in starting]
        advice = f"\nShut down those that ran before, `sudo kill {' '.join(standing)}`; the next run starts them."
        raise NspawnError(
            f"machines did not open their SSH port in {timeout:.0f} s:\n"
            + "\n".join(reports)
            + (advice if standing else "")
        )
    return done


def _refuse_without_root(starting: Iterable[MachineDirectory]) -> None:
    lost = {item.machine.name: root for item in starting if (root := item.built_on()) and not Path(root).is_dir()}
    if lost:
        raise NspawnError(
            f"{', '.join(lost)} can't start: the root file system below their layers, {', '.join(set(lost.values()))},"
            " was removed, and layers are of no use without it. Remove the machines and make them anew"
            " (make down, make up)"
        )


def unlisted(site: Site) -> list[MachineDirectory]:
    """Return the sandbox's machines that the inventory no longer names."""
    names = {machine.name for machine in site.machines}
    found = sorted(site.library.glob("*/lower"))
    return [
        MachineDirectory(site, Machine(path.parent.name, site.network.gateway))
        for path in found
        if path.parent.name not in names
    ]


def stopped(site: Site, *, timeout: float, dry_run: bool) -> dict[str, list[Action]]:
    """Shut every machine down in good order; those that need longer than ``timeout`` seconds are ended."""
    running = [item for item in (MachineDirectory(site, machine) for machine in site.machines) if item.runs()]
    done: dict[str, list[Action]] = {machine.name: [] for machine in site.machines}
    done |= {item.machine.name: [Action.STOP] for item in running}
    if not dry_run:
        shut_down(running, timeout)
    return done


def shut_down(running: Sequence[MachineDirectory], timeout: float) -> None:
    """Shut machines down in good order; those that need longer than ``timeout`` seconds are ended."""
    for item in running:
        item.signal(signal.SIGTERM)
    _wait([item for item in running if item.pid()], lambda item: not item.runs(), timeout)
    end(running)
    for item in running:
        item.clean_up()


def end(running: Iterable[MachineDirectory]) -> None:
    """End machines at once and wait until the kernel has taken them down.

    Raises:
        NspawnError: a machine still runs after 30 s.
    """
    pending = [item for item in running if item.runs()]
    for item in pending:
        item.kill()
    _wait(pending, lambda item: not item.runs(), 30)
    if pending:
        left = [f"{item.machine.name} (processes {', '.join(map(str, sorted(item.processes())))})" for item in pending]
        raise NspawnError(f"machines still run 30 s after they were killed: {'; '.join(left)}")


def absent(site: Site, *, dry_run: bool) -> dict[str, list[Action]]:
    """End and remove every machine, also those that the inventory no longer names."""
    items = [*(MachineDirectory(site, machine) for machine in site.machines), *unlisted(site)]
    there = [item for item in items if item.path.exists()]
    if not dry_run:
        end(there)
        for item in there:
            item.clean_up()
        remove_trees([item.path for item in there])
        cgroups.remove(f"cicd-sandbox/{site.network.sandbox}")
    return {item.machine.name: [Action.REMOVE] if item in there else [] for item in items}
