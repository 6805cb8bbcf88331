# Copyright: cicd.sandbox contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a member's host says of its etcd: data, service, what etcdctl answers. Runs on the member; no Ansible in here.

etcdctl writes ids as unsigned decimal numbers in JSON, but reads them (``member remove``) in hexadecimal.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ansible_collections.cicd.sandbox.plugins.module_utils.etcd.client import Client
from ansible_collections.cicd.sandbox.plugins.module_utils.host.commands import Run

POLL = 0.5


@dataclass(frozen=True)
class Member:
    """A member on its own host."""

    client: Client
    data_directory: Path
    unit: str
    configuration: tuple[Path, ...] = ()


def hexadecimal(number: int) -> str:
    """Write an id as etcdctl reads it."""
    return f"{number:x}"


def has_data(directory: Path) -> bool:
    """Whether there is a write-ahead log: without one a member knows nothing of its cluster."""
    return any((directory / "member" / "wal").glob("*.wal"))


def status_of(answer: str) -> dict[str, Any]:
    """Read ``etcdctl endpoint status``: ids, version, leader, errors such as NOSPACE."""
    status = json.loads(answer)[0]["Status"]
    header = status["header"]
    return {
        "cluster_id": hexadecimal(header["cluster_id"]),
        "member_id": hexadecimal(header["member_id"]),
        "leader": hexadecimal(status.get("leader", 0)),
        "learner": bool(status.get("isLearner", False)),
        "version": status.get("version", ""),
        "revision": header.get("revision", 0),
        "database_bytes": status.get("dbSize", 0),
        "database_bytes_in_use": status.get("dbSizeInUse", 0),
        "errors": list(status.get("errors") or []),
        "alarms": alarms_of(status.get("errors") or []),
    }


def alarms_of(errors: Sequence[str]) -> list[dict[str, str]]:
    """Read alarms among the errors of a status, which has those of all members: {alarm, member_id (hexadecimal)}."""
    found = [re.fullmatch(r"\s*memberID:(\d+)\s+alarm:(\w+)\s*", error) for error in errors]
    return [{"alarm": match[2], "member_id": hexadecimal(int(match[1]))} for match in found if match]


def members_of(answer: str) -> list[dict[str, Any]]:
    """Read ``etcdctl member list``."""
    return [
        {
            "id": hexadecimal(member["ID"]),
            "name": member.get("name", ""),
            "peer_urls": list(member.get("peerURLs") or []),
            "learner": bool(member.get("isLearner", False)),
        }
        for member in json.loads(answer)["members"]
    ]


def service_of(answer: str) -> tuple[bool, bool, float]:
    """Read ``systemctl show``: is the unit active, is it enabled, when did its process start (seconds after boot)."""
    values = dict(line.split("=", 1) for line in answer.splitlines() if "=" in line)
    started = int(values.get("ExecMainStartTimestampMonotonic") or 0) / 1e6
    return values.get("ActiveState") == "active", values.get("UnitFileState") == "enabled", started


def changed_since(paths: Sequence[Path], moment: float) -> bool:
    """Whether one of the files was written after a moment, given in seconds after boot (the monotonic clock)."""
    moment += time.time() - time.monotonic()
    return any(path.stat().st_ctime > moment for path in paths if path.exists())


def probe(member: Member, run: Run) -> dict[str, Any]:
    """Look at a member once.

    ``active`` is whether systemd runs it, ``healthy`` whether it could read the list of members through a quorum; a
    learner, which may not read the list, is healthy when it has a leader.
    """
    properties = "--property=ActiveState,UnitFileState,ExecMainStartTimestampMonotonic"
    active, enabled, started = service_of(run(["systemctl", "show", properties, member.unit])[1])
    found: dict[str, Any] = {
        "data": has_data(member.data_directory),
        "active": active,
        "enabled": enabled,
        "outdated": active and changed_since(member.configuration, started),
        "healthy": False,
        "cluster_id": "",
        "member_id": "",
        "leader": "",
        "learner": False,
        "version": "",
        "revision": 0,
        "database_bytes": 0,
        "database_bytes_in_use": 0,
        "errors": [],
        "alarms": [],
        "members": [],
    }
    if not found["active"]:
        return found
    code, answer = run(member.client.command("endpoint", "status"))
    if code == 0:
        found.update(status_of(answer))
        found["healthy"] = found["learner"] and found["leader"] != "0"
    if code == 0 and not found["learner"]:
        code, answer = run(member.client.command("member", "list"))
        if code == 0:
            found["members"] = members_of(answer)
            found["healthy"] = True
    return found


def await_health(member: Member, run: Run, seconds: float) -> dict[str, Any]:
    """Look at a member until it is healthy or so many seconds are over; ``active`` says whether it runs or comes up."""
    deadline = time.monotonic() + seconds
    while True:
        found = probe(member, run)
        if found["healthy"] or time.monotonic() >= deadline:
            return found
        time.sleep(POLL)


def last_words(unit: str, run: Run, lines: int = 20) -> list[str]:
    """Return the last lines of a unit's journal, etcd's JSON made short."""
    _code, text = run(["journalctl", f"--unit={unit}", f"--lines={lines}", "--no-pager", "--output=cat"])
    return [shortened(line) for line in text.splitlines()]


def shortened(line: str) -> str:
    """Make ``level: message (error, …)`` of a line that etcd logged as JSON; leave others as they are."""
    try:
        entry: Mapping[str, Any] = json.loads(line)
        text = f"{entry['level']}: {entry['msg']}"
    except (ValueError, KeyError, TypeError):
        return line
    details = [f"{key}: {entry[key]}" for key in ("error", "remote-peer-id") if key in entry]
    return f"{text} ({', '.join(details)})" if details else text
