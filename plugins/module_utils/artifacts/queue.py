# Copyright: cicd.sandbox contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Makes components in the background, a few at a time, in the order in which the site needs them.

A runner is a detached process. It holds ``queue/lock/runner-<owner>-<pid>`` as long as it lives, with the labels of
the entries that it makes in it; a status that names a runner which no longer holds its lock is a remnant. Several
runners (of two sandboxes, or of a run that was interrupted) share the machine-wide slots and wait for each other's
entries.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import signal
import threading
import time
import traceback
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from ansible_collections.cicd.sandbox.plugins.module_utils.artifacts.cache import (
    ArtifactError,
    Entry,
    Status,
    one_slot,
    remove_tree,
)
from ansible_collections.cicd.sandbox.plugins.module_utils.artifacts.catalogue import Catalogue, ComponentPlan
from ansible_collections.cicd.sandbox.plugins.module_utils.artifacts.effort import BEHIND, Effort
from ansible_collections.cicd.sandbox.plugins.module_utils.host.daemon import detach
from ansible_collections.cicd.sandbox.plugins.module_utils.host.locks import held, is_held

CACHED, BUILDING, QUEUED, FAILED, MISSING = "cached", "building", "queued", "failed", "missing"
INTERVAL = 0.5


@dataclass(frozen=True)
class State:
    """How far a component is; `since` in seconds since the epoch."""

    component: str
    version: str
    state: str
    since: float = 0.0
    step: str = ""
    detail: str = ""
    error: str = ""
    log: str = ""

    def describe(self, now: float) -> str:
        """One line for a person."""
        if self.state == BUILDING:
            minutes, seconds = divmod(int(now - self.since), 60)
            text = ": ".join(part for part in (self.step, self.detail) if part)
            return f"{self.component} {self.version}: for {minutes}:{seconds:02d} min, {text}"
        return f"{self.component} {self.version}: {self.state}"


def runner_lock(cache: Path, owner: str, pid: int) -> Path:
    """The lock that a runner holds as long as it lives."""
    return cache / "queue" / "lock" / f"runner-{owner}-{pid}"


def runners(cache: Path, owner: str = "*") -> list[tuple[Path, int]]:
    """Lock and process id of the living runners of an owner; locks of dead ones are removed if we may."""
    living = []
    for lock in sorted((cache / "queue" / "lock").glob("runner-*")):
        # An owner's name may begin with another's: "dev" and "dev-2".
        of, _, pid = lock.name.removeprefix("runner-").rpartition("-")
        if owner not in ("*", of):
            continue
        if is_held(lock):
            living.append((lock, int(pid)))
        else:
            with contextlib.suppress(OSError):
                lock.unlink()
    return living


def promised(cache: Path, owner: str = "*") -> set[str]:
    """The labels of the entries that an owner's living runners make, or will."""
    labels: set[str] = set()
    for lock, _ in runners(cache, owner):
        with contextlib.suppress(OSError):
            labels.update(lock.read_text().split())
    return labels


def _entry_state(component: str, version: str, entry: Entry, living: set[int], promises: set[str]) -> State:
    if entry.usable():
        return State(component, version, CACHED)
    status = Status.read(entry)
    if status is None:
        return State(component, version, MISSING)
    shown = State(component, version, status.state, status.since, status.step, status.detail, status.error, status.log)
    if status.state == FAILED:
        return shown
    if status.state in (QUEUED, BUILDING) and (status.pid in living or is_held(entry.lock)):
        return shown
    # Whoever made it is gone, and somebody else who waited for it goes on.
    return State(component, version, QUEUED if entry.label in promises else MISSING)


def survey(catalogue: Catalogue, names: Iterable[str]) -> list[State]:
    """How far each component is. A component is what its least finished entry is.

    Raises ArtifactError for one that can't be had, as upstream's images alone can't where all is built.
    """
    living = {pid for _, pid in runners(catalogue.cache)}
    promises = promised(catalogue.cache)
    states = []
    for plan in catalogue.plans(names):
        if not plan.entries:
            raise ArtifactError(
                f"component {plan.name} is upstream's images alone, which can't be had where all is built from package"
                " registries; let this machine reach official releases (artifacts_source), or do without it"
            )
        found = [_entry_state(plan.name, plan.version, entry, living, promises) for entry in plan.entries]
        order = (FAILED, MISSING, BUILDING, QUEUED)
        worst = next((state for kind in order for state in found if state.state == kind), None)
        states.append(worst or State(plan.name, plan.version, CACHED))
    return states


def unattended(catalogue: Catalogue, states: Iterable[State], owner: str) -> list[str]:
    """The components that a new runner of an owner has to make.

    Among them is what only others' runners make: these may be stopped at any moment.
    """
    own = promised(catalogue.cache, owner)
    names = []
    for state in states:
        if state.state in (MISSING, FAILED):
            names.append(state.component)
        elif state.state in (QUEUED, BUILDING):
            lacking = [entry for entry in catalogue.plan(state.component).entries if not entry.usable()]
            if any(entry.label not in own for entry in lacking):
                names.append(state.component)
    return names


class Schedule:
    """Which of a runner's components is made next, and which of those that are being made gets the processors.

    What somebody waits for comes first, then what the site needs first. One is in front, with the runner's niceness;
    the others take what it leaves, so that a long one may begin early and hold up nothing.
    """

    def __init__(self, catalogue: Catalogue, names: Sequence[str], niceness: int) -> None:
        self._catalogue = catalogue
        self._niceness = niceness
        self._waiting = catalogue.plans(names)
        self._made: dict[str, tuple[ComponentPlan, Effort]] = {}
        self._lock = threading.Lock()

    def run(self, slots: int) -> None:
        """Make all of them, at most `slots` at once."""
        with ThreadPoolExecutor(slots) as workers, ThreadPoolExecutor(slots) as makers:
            working = {workers.submit(self._work, slots, makers) for _ in range(slots)}
            while working:
                ended, working = wait(working, INTERVAL, FIRST_COMPLETED)
                for worker in ended:
                    worker.result()
                self.arrange()

    def _work(self, slots: int, makers: ThreadPoolExecutor) -> None:
        while self._waiting:
            # A slot is for those who work, not for those who wait for another runner's work.
            with one_slot(self._catalogue.cache, slots, INTERVAL):
                taken = self._take()
                if taken:
                    plan, effort = taken
                    error = makers.submit(self._catalogue.make, plan, effort).exception()
                    self._end(plan, error)
                    continue
            time.sleep(INTERVAL)

    def _take(self) -> tuple[ComponentPlan, Effort] | None:
        with self._lock:
            for plan in in_order(self._waiting):
                if not any(is_held(entry.lock) for entry in plan.entries):
                    self._waiting.remove(plan)
                    self._made[plan.name] = plan, Effort(self._niceness if not self._made else BEHIND)
                    return self._made[plan.name]
        return None

    def _end(self, plan: ComponentPlan, error: BaseException | None) -> None:
        if error is not None:
            _write_failure(self._catalogue, plan.name, error)
        for entry in plan.entries:
            entry.awaited.unlink(missing_ok=True)
        with self._lock:
            del self._made[plan.name]

    def arrange(self) -> None:
        """Put in front what comes first now."""
        with self._lock:
            made = in_order([plan for plan, _ in self._made.values()])
            for position, plan in enumerate(made):
                self._made[plan.name][1].change(BEHIND if position else self._niceness)


def in_order(plans: Sequence[ComponentPlan]) -> list[ComponentPlan]:
    """What somebody waits for first, then in the order that they have."""
    return sorted(plans, key=lambda plan: not any(is_awaited(entry) for entry in plan.entries))


def is_awaited(entry: Entry) -> bool:
    """Whether somebody waits for an entry, see Awaiting."""
    try:
        with entry.awaited.open() as stream:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except FileNotFoundError:
        pass
    return False


class Awaiting:
    """Tells runners what is waited for; ends with the block, or with the process.

    Locks need no right to write into the cache, which is root's.
    """

    def __init__(self) -> None:
        self._stack = contextlib.ExitStack()
        self._held: set[str] = set()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def wait_for(self, entries: Iterable[Entry]) -> None:
        """Count entries among what is waited for, those that a runner has in its queue."""
        for entry in entries:
            if entry.label in self._held:
                continue
            with contextlib.suppress(FileNotFoundError, BlockingIOError):
                stream = entry.awaited.open()
                self._stack.callback(stream.close)
                fcntl.flock(stream, fcntl.LOCK_SH | fcntl.LOCK_NB)
                self._held.add(entry.label)


def run(catalogue: Catalogue, names: Sequence[str], slots: int, niceness: int = 10) -> None:
    """Make components, at most `slots` at once; a failure is written down and stops no other component."""
    Schedule(catalogue, names, niceness).run(slots)


def _write_failure(catalogue: Catalogue, name: str, error: BaseException) -> None:
    words = str(error) if isinstance(error, ArtifactError) else "".join(traceback.format_exception(error))
    for entry in catalogue.plan(name).entries:
        status = Status.read(entry)
        if not entry.usable() and (status is None or status.state != FAILED):
            Status.of(entry).write(entry, state=FAILED, error=words)


def mark_queued(catalogue: Catalogue, names: Sequence[str]) -> None:
    """Write down that this process is going to make components."""
    for plan in catalogue.plans(names):
        for entry in plan.entries:
            if not entry.usable():
                entry.awaited.parent.mkdir(parents=True, exist_ok=True)
                entry.awaited.touch()
            if not entry.usable() and not is_held(entry.lock):
                Status.of(entry).write(entry, state=QUEUED)


def start(catalogue: Catalogue, names: Sequence[str], owner: str, slots: int, niceness: int = 10) -> int:
    """Start a detached runner; its process id. When this returns, the components' states say "queued"."""
    log = catalogue.cache / "queue" / "log" / f"runner-{owner}.log"
    answer = detach(lambda announce: _serve(catalogue, names, owner, slots, niceness, announce), log)
    if not answer.isdigit():
        raise ArtifactError(f"the background runner did not start: {answer}")
    return int(answer)


def _serve(
    catalogue: Catalogue, names: Sequence[str], owner: str, slots: int, niceness: int, announce: Callable[[str], None]
) -> None:
    """What the detached process does."""
    pid = os.getpid()
    lock = runner_lock(catalogue.cache, owner, pid)
    with held(lock):
        try:
            lock.write_text("\n".join(entry.label for plan in catalogue.plans(names) for entry in plan.entries))
            mark_queued(catalogue, names)
        except (ArtifactError, OSError) as error:
            announce(str(error))
            raise
        announce(str(pid))
        sweep(catalogue.cache)
        run(catalogue, names, slots, niceness)
        lock.unlink()


def sweep(cache: Path) -> None:
    """Remove what killed builds left half made, mounts included; what is being made now is left alone."""
    for leftover in [*cache.glob("*/*/.work-*"), *cache.glob("*/*/.partial-*")]:
        key = leftover.name.rpartition("-")[2]
        if not is_held(cache / "queue" / "lock" / f"{leftover.parent.name}-{key}"):
            remove_tree(leftover)


def stop(cache: Path, owner: str, patience: float = 10.0) -> list[int]:
    """End the runners of an owner and what they started; their process ids."""
    ended = []
    for lock, pid in runners(cache, owner):
        # A runner leads a session of its own, so that this reaches the compilers too.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(pid_group(pid), signal.SIGTERM)
        deadline = time.monotonic() + patience
        while is_held(lock):
            if time.monotonic() > deadline:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(pid_group(pid), signal.SIGKILL)
                deadline = time.monotonic() + patience
            time.sleep(0.05)
        ended.append(pid)
    sweep(cache)
    return ended


def pid_group(pid: int) -> int:
    """The process group of a runner."""
    return os.getpgid(pid)


def explain(states: Iterable[State]) -> str:
    """Why components can't be had, in the words of what made them, and what to do."""
    parts = []
    for state in states:
        if state.state == FAILED:
            parts.append(f"{state.component} {state.version} failed while {state.step or 'starting'}:\n{state.error}")
            parts.append(f"The whole log is {state.log}. The next run tries again.")
        else:
            parts.append(f"Nothing makes {state.component} {state.version}: run again with the tag artifacts.")
    return "\n".join(parts)
