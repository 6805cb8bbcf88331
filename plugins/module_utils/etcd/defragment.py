#!/usr/bin/env python3
# Copyright: cicd.sandbox contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Defragments this host's etcd member where that frees enough, and nobody else does so at the same time.

A program of its own on each member (Debian's Python, no Ansible in here), for a timer of systemd and for the playbook
etcd_defragment. A member that is defragmented answers nobody meanwhile: it is done only while all members answer, the
leader's turn comes when no other member has need, and a lock in etcd itself keeps two members from it at a time.

Settings are a JSON file::

    {"name": "etcd-1", "endpoint": "https://127.0.0.1:2379", "members": {"etcd-1": "https://198.18.0.11:2379", …},
     "ca": …, "certificate": …, "key": …, "etcdctl": …,
     "ratio": 0.5, "minimum_bytes": 104857600, "timeout": 300, "metrics": "/var/lib/…/etcd_defragment.prom"}
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

SETTINGS = "/etc/etcd/defragment.json"
LOCK = "cicd.sandbox/etcd-defragment"
# Exit code of what did not work, or was not tried because it would not be safe.
PROBLEM = 1
PREFIX = "etcd_defragment_"
HELP = {
    "last_run_timestamp_seconds": "When it was last looked whether a defragmentation is needed.",
    "last_success_timestamp_seconds": "When that, and what came of it, last went well.",
    "last_defragmentation_timestamp_seconds": "When this member was last defragmented.",
    "duration_seconds": "How long the last defragmentation took.",
    "freed_bytes": "What the last defragmentation freed.",
    "problem": "Whether the last run had a problem; the journal of etcd-defragment says which.",
}
# Runs a command line and gives its exit code, standard output and standard error.
Run = Callable[[Sequence[str]], tuple[int, str, str]]


class MaintenanceError(Exception):
    """Why it was not done, for a person."""


@dataclass(frozen=True)
class State:
    """What a member says. Sizes are in bytes; ``alarms``: (kind, id of the member) of the whole cluster."""

    name: str
    id: int
    leader: int
    learner: bool
    revision: int
    size: int
    in_use: int
    quota: int
    alarms: tuple[str, ...]

    @property
    def leads(self) -> bool:
        """Whether it is the leader."""
        return self.id == self.leader

    @property
    def is_full(self) -> bool:
        """Whether the quota leaves a tenth at most."""
        return self.quota > 0 and self.size >= 0.9 * self.quota

    def is_fragmented(self, ratio: float, minimum: int) -> bool:
        """Whether a defragmentation frees a ratio of the database, and so many bytes at least."""
        free = self.size - self.in_use
        return self.size > 0 and free >= minimum and free >= ratio * self.size


class Maintenance:
    """What is done to a member and its cluster. Methods raise MaintenanceError."""

    def __init__(self, settings: Mapping[str, Any], run: Run) -> None:
        self._settings = settings
        self._run = run

    def _etcdctl(self, *words: str, endpoints: Sequence[str] = (), seconds: float = 10) -> str:
        code, answer, error = self._run(self.line(*words, endpoints=endpoints, seconds=seconds))
        if code:
            raise MaintenanceError(f"etcdctl {' '.join(words)}: {last_line(error) or f'exit code {code}'}")
        return answer

    def line(self, *words: str, endpoints: Sequence[str] = (), seconds: float = 10) -> list[str]:
        """A command line of etcdctl that asks this host's member, or others."""
        settings = self._settings
        return [
            settings["etcdctl"],
            f"--endpoints={','.join(endpoints or [settings['endpoint']])}",
            f"--cacert={settings['ca']}",
            f"--cert={settings['certificate']}",
            f"--key={settings['key']}",
            "--dial-timeout=3s",
            f"--command-timeout={seconds:g}s",
            "--write-out=json",
            *words,
        ]

    def states(self) -> list[State]:
        """What all members say; every one has to answer, to vote and to follow one leader."""
        members = self._settings["members"]
        found = []
        for name, endpoint in members.items():
            try:
                found.append(read_state(name, self._etcdctl("endpoint", "status", endpoints=[endpoint])))
            except MaintenanceError as problem:
                raise MaintenanceError(
                    f"{name} does not answer, so that no other member may be away: {problem}"
                ) from problem
        leaders = {state.leader for state in found}
        if len(leaders) != 1 or 0 in leaders:
            raise MaintenanceError("the members follow no common leader")
        if learners := [state.name for state in found if state.learner]:
            raise MaintenanceError(f"{', '.join(learners)} has not caught up yet")
        return found

    def own(self, states: Sequence[State]) -> State:
        """This host's member among them."""
        (state,) = (state for state in states if state.name == self._settings["name"])
        return state

    def due(self, states: Sequence[State]) -> str:
        """Why this member is not to be defragmented now; empty where it is."""
        ratio, minimum = self._settings["ratio"], self._settings["minimum_bytes"]
        own = self.own(states)
        if own.alarms:
            raise MaintenanceError(f"the alarm {', '.join(own.alarms)} stands: see the playbook etcd_defragment")
        if not own.is_fragmented(ratio, minimum):
            return f"{size(own.size - own.in_use)} of {size(own.size)} would be freed, which is not enough"
        others = [state.name for state in states if state.name != own.name and state.is_fragmented(ratio, minimum)]
        if own.leads and others:
            return f"the leader comes last: {', '.join(others)} before it"
        return ""

    def defragment(self) -> tuple[State, State]:
        """Defragment this host's member and wait until it works again; what it said before and says now."""
        before = self.own(self.states())
        timeout = self._settings["timeout"]
        self._etcdctl("defrag", seconds=timeout)
        end = time.monotonic() + timeout
        while True:
            try:
                return before, self.own(self.states())
            except MaintenanceError:
                if time.monotonic() > end:
                    raise
                time.sleep(1)

    def compact(self) -> int:
        """Drop all revisions but the last, on all members; its number."""
        revision = self.own(self.states()).revision
        try:
            self._etcdctl("compact", "--physical", str(revision), seconds=self._settings["timeout"])
        except MaintenanceError as problem:
            if "has been compacted" not in str(problem):
                raise
        return revision

    def disarm(self) -> list[str]:
        """Disarm all alarms; those that stood. Refused where they would come back or still say something."""
        states = self.states()
        stood = sorted({alarm for state in states for alarm in state.alarms})
        full = [f"{state.name} ({size(state.size)} of {size(state.quota)})" for state in states if state.is_full]
        if any(alarm.startswith("NOSPACE") for alarm in stood) and full:
            raise MaintenanceError(
                f"NOSPACE would come back at once: {', '.join(full)} of the quota. Raise etcd_quota_bytes, run the tag "
                "etcd, which ends with the alarm once more, and then this again"
            )
        ids = {f"{state.id:x}": state.name for state in states}
        corrupt = [ids[alarm.split()[1]] for alarm in stood if alarm.startswith("CORRUPT") and alarm.split()[1] in ids]
        if corrupt:
            raise MaintenanceError(
                f"the data of {', '.join(corrupt)} is CORRUPT. Move its data directory away and run the tag etcd, "
                "which replaces the member, then this again"
            )
        if stood:
            self._etcdctl("alarm", "disarm")
        return stood


def read_state(name: str, answer: str) -> State:
    """Read ``etcdctl endpoint status``."""
    status = json.loads(answer)[0]["Status"]
    alarms = []
    for error in status.get("errors") or []:
        fields = dict(word.split(":", 1) for word in error.split() if ":" in word)
        if fields.get("memberID", "").isdigit() and "alarm" in fields:
            alarms.append(f"{fields['alarm']} {int(fields['memberID']):x}")
    return State(
        name,
        status["header"]["member_id"],
        status.get("leader", 0),
        bool(status.get("isLearner", False)),
        status["header"].get("revision", 0),
        status.get("dbSize", 0),
        status.get("dbSizeInUse", 0),
        status.get("dbSizeQuota", 0),
        tuple(alarms),
    )


def last_line(text: str) -> str:
    """The last line with something in it; etcd's client writes an error as JSON there."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    try:
        entry = json.loads(lines[-1])
        return str(entry.get("error") or entry.get("msg") or lines[-1])
    except (IndexError, ValueError, AttributeError):
        return lines[-1] if lines else ""


def size(count: float) -> str:
    """Bytes, for a person."""
    return f"{count / 1048576:.1f} MiB"


def read_metrics(path: Path) -> dict[str, float]:
    """The values that were written last, by name without the prefix."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
        pairs = (line.split() for line in lines if line.startswith(PREFIX))
        return {name.removeprefix(PREFIX): float(value) for name, value in pairs}
    except (OSError, ValueError):
        return {}


def write_metrics(path: Path, **values: float) -> None:
    """Write values over those that are there, for a node exporter's textfile collector."""
    kept = {**read_metrics(path), **values}
    lines = [
        f"# HELP {PREFIX}{name} {text}\n# TYPE {PREFIX}{name} gauge\n{PREFIX}{name} {kept[name]:.17g}\n"
        for name, text in HELP.items()
        if name in kept
    ]
    path.parent.mkdir(parents=True, exist_ok=True)
    new = path.with_name(f".{path.name}.new")
    new.write_text("".join(lines), encoding="utf-8")
    new.chmod(0o644)
    new.replace(path)


def run(line: Sequence[str]) -> tuple[int, str, str]:
    """Run a command line to its end."""
    done = subprocess.run(line, check=False, capture_output=True, text=True, errors="replace")
    return done.returncode, done.stdout, done.stderr


def held(maintenance: Maintenance, settings: Mapping[str, Any], own_line: Sequence[str]) -> list[str]:
    """The line that runs another while nobody else holds the lock; other members answer while this one can't."""
    others = [endpoint for name, endpoint in settings["members"].items() if name != settings["name"]]
    line = maintenance.line("lock", "--ttl=120", LOCK, "--", *own_line, endpoints=others)
    # It waits for its turn as long as it takes; the unit's own time-out ends it.
    return [word for word in line if not word.startswith(("--command-timeout", "--write-out"))]


def perform(arguments: argparse.Namespace, settings: Mapping[str, Any], maintenance: Maintenance) -> dict[str, Any]:
    """Do what is asked for; what came of it."""
    if arguments.action == "compact":
        return {"compacted": maintenance.compact()}
    if arguments.action == "disarm":
        return {"disarmed": maintenance.disarm()}
    states = maintenance.states()
    if arguments.action == "due" and (reason := maintenance.due(states)):
        return {"skipped": reason}
    # With an alarm the lock can't be had, and no timer does anything.
    if len(states) > 1 and not arguments.held and not maintenance.own(states).alarms:
        again = [
            sys.executable,
            str(Path(__file__).resolve()),
            "--settings",
            arguments.settings,
            "--held",
            arguments.action,
        ]
        code, answer, error = run(held(maintenance, settings, again))
        try:
            result: dict[str, Any] = json.loads(answer.splitlines()[-1])
        except (IndexError, ValueError):
            raise MaintenanceError(
                f"the lock {LOCK} was not to be had: {last_line(error) or f'exit code {code}'}"
            ) from None
        return result
    begun = time.monotonic()
    before, after = maintenance.defragment()
    seconds = time.monotonic() - begun
    write_metrics(
        Path(settings["metrics"]),
        last_defragmentation_timestamp_seconds=time.time(),
        duration_seconds=seconds,
        freed_bytes=before.size - after.size,
    )
    return {"before_bytes": before.size, "after_bytes": after.size, "seconds": round(seconds, 2)}


def main(words: Sequence[str] | None = None, execute: Run = run) -> int:
    """Run the program."""
    parser = argparse.ArgumentParser(description="Keep the database of this host's etcd member compact.")
    parser.add_argument("--settings", default=SETTINGS)
    parser.add_argument("--held", action="store_true", help="the lock is held already")
    parser.add_argument(
        "action",
        choices=["due", "now", "compact", "disarm"],
        help="defragment this member if that frees enough, or in any case; drop old revisions; disarm alarms",
    )
    arguments = parser.parse_args(words)
    settings = json.loads(Path(arguments.settings).read_text(encoding="utf-8"))
    try:
        result = perform(arguments, settings, Maintenance(settings, execute))
    except MaintenanceError as problem:
        result = {"problem": f"{settings['name']}: {problem}"}
    if arguments.action in ("due", "now") and not arguments.held:
        now, well = time.time(), "problem" not in result
        success = {"last_success_timestamp_seconds": now} if well else {}
        write_metrics(Path(settings["metrics"]), last_run_timestamp_seconds=now, problem=float(not well), **success)
    sys.stdout.write(f"{json.dumps(result)}\n")
    return PROBLEM if "problem" in result else 0


if __name__ == "__main__":
    sys.exit(main())
