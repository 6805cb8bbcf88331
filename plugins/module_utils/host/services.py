# Copyright: cicd.sandbox contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Services of a host that do not run, and what they wrote last: systemd's units, and logs of pods."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from ansible_collections.cicd.sandbox.plugins.module_utils.host.commands import Run

_PROPERTIES = ("Id", "LoadState", "ActiveState", "SubState", "Result", "NRestarts")
_WIDTH = 300
_TAIL_BYTES = 16384
# As containerd writes them (CRI): time, stream, whether the line is whole.
_OF_CONTAINER = re.compile(r"^\S+ (?:stdout|stderr) [FP] ")


def units(names: Sequence[str], run: Run) -> list[dict[str, str]]:
    """Return systemd's properties of units, in their order; see systemctl(1), show."""
    if not names:
        return []
    _code, text = run(["systemctl", "show", f"--property={','.join(_PROPERTIES)}", "--", *names])
    blocks = [dict(line.split("=", 1) for line in block.splitlines() if "=" in line) for block in text.split("\n\n")]
    return [block for block in blocks if block]


def unit_problem(unit: Mapping[str, str]) -> str:
    """Say why a unit does not run, as in ``a.service is failed (exit-code), after 5 restarts``; empty when it does."""
    name, state = unit.get("Id", "?"), unit.get("ActiveState", "")
    if state in {"active", "reloading"}:
        return ""
    if unit.get("LoadState") not in {"loaded", ""}:
        return f"{name} is not there ({unit.get('LoadState')})"
    result = unit.get("Result", "success")
    details = [result] if result not in {"", "success"} else []
    if state == "activating":
        details.append(unit.get("SubState", ""))
    why = f" ({', '.join(details)})" if details else ""
    restarts = unit.get("NRestarts", "0")
    often = f", after {restarts} restart{'' if restarts == '1' else 's'}" if restarts not in {"", "0"} else ""
    return f"{name} is {state}{why}{often}"


def journal(unit: str, lines: int, run: Run) -> list[str]:
    """Return the last lines that a unit wrote."""
    _code, text = run(["journalctl", f"--unit={unit}", f"--lines={lines}", "--no-pager", "--output=cat"])
    return [_cut(line) for line in text.splitlines() if line.strip()][-lines:]


def log_ends(patterns: Iterable[str], lines: int) -> list[tuple[str, list[str]]]:
    """Return path and last lines of the newest file that each pattern of the shell, an absolute one, finds."""
    ends = []
    for pattern in patterns:
        found = sorted((path.stat().st_mtime, path) for path in Path("/").glob(pattern.lstrip("/")) if path.is_file())
        if not found:
            continue
        path = found[-1][1]
        with path.open("rb") as stream:
            stream.seek(max(0, path.stat().st_size - _TAIL_BYTES))
            text = stream.read(_TAIL_BYTES).decode(errors="replace")
        said = [_cut(_OF_CONTAINER.sub("", line)) for line in text.splitlines() if line.strip()]
        ends.append((str(path), said[-lines:]))
    return ends


def problems(names: Sequence[str], logs: Sequence[str], lines: int, run: Run) -> list[str]:
    """Return, for a person, which units do not run, and the last lines that they and the logs have."""
    told = []
    for unit in units(names, run):
        problem = unit_problem(unit)
        if problem:
            words = journal(unit["Id"], lines, run) if unit.get("LoadState") == "loaded" else []
            told.append(f"{problem}{'. It wrote last:' if words else ''}")
            told += [f"  {line}" for line in words]
    for path, words in log_ends(logs, lines):
        told.append(f"{path} ends with:" if words else f"{path} is empty")
        told += [f"  {line}" for line in words]
    return told


def _cut(line: str) -> str:
    return line if len(line) <= _WIDTH else f"{line[: _WIDTH - 1]}…"
