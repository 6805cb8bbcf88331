# Copyright: cicd.sandbox contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Kernel settings (sysctls) of this host that sandboxes need, and what they were before.

The record is a JSON object, setting → {"before": text, "set": text, "sandboxes": [name, …]}. It is written before the
setting, and forgotten after the setting is back: a run that is killed in between leaves nothing unknown. All sandboxes
of the host share one; the last that needs a setting takes it back, where it is still as it was set.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ansible_collections.cicd.sandbox.plugins.module_utils.host import files, locks

SYSCTLS = Path("/proc/sys")


class SettingsError(Exception):
    """A setting can't be had; the message names it."""


@dataclass(frozen=True)
class Wanted:
    """A setting that a sandbox needs: at least ``minimum``, a whole number, or exactly ``value``."""

    name: str
    minimum: int | None = None
    value: str | None = None

    def satisfied_by(self, found: str) -> bool:
        """Tell whether the setting is good as it is."""
        if self.minimum is None:
            return found == self.value
        return found.isdigit() and int(found) >= self.minimum

    @property
    def text(self) -> str:
        """What is written where the setting is not good."""
        return str(self.value if self.minimum is None else self.minimum)


@dataclass(frozen=True)
class Change:
    """A setting that is set, or set back; ``left`` where it is not, because somebody else set it since."""

    name: str
    before: str
    after: str
    left: bool = False

    def __str__(self) -> str:
        if self.left:
            return f"{self.name} stays {self.before}, which was set by others since"
        return f"{self.name}: {self.before} -> {self.after}"


def _path(name: str) -> Path:
    # As in sysctl(8): with slashes a part may have dots in it, such as the name of a VLAN's interface.
    return SYSCTLS / (name if "/" in name else name.replace(".", "/"))


def _read(name: str) -> str:
    try:
        return " ".join(_path(name).read_text().split())
    except OSError as error:
        raise SettingsError(f"{name}: this kernel does not tell it ({error.strerror}, {_path(name)})") from error


def _set(name: str, text: str) -> None:
    try:
        _path(name).write_text(f"{text}\n")
    except OSError as error:
        raise SettingsError(
            f"{name} can't be set to {text} ({error.strerror}, {_path(name)}). Set it yourself where this host allows"
            f" it, sysctl -w {name}='{text}', and run again"
        ) from error


def recorded(record: Path) -> dict[str, dict[str, Any]]:
    """Return the record; nothing where there is none.

    Raises:
        SettingsError: it is no record.
    """
    try:
        found = json.loads(record.read_text())
        return {
            name: {"before": str(entry["before"]), "set": str(entry["set"]), "sandboxes": list(entry["sandboxes"])}
            for name, entry in found.items()
        }
    except FileNotFoundError:
        return {}
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise SettingsError(
            f"{record} can't be read ({error!r}): it has what this host's settings were before sandboxes. Mend it, or"
            " remove it, after which they stay as they are"
        ) from error


def _remember(record: Path, entries: Mapping[str, Any]) -> None:
    if entries:
        files.write(record, json.dumps(entries, indent=2, sort_keys=True) + "\n", sync=True)
    else:
        record.unlink(missing_ok=True)


def ensure(record: Path, sandbox: str, wanted: Iterable[Wanted], *, dry_run: bool = False) -> list[Change]:
    """Make the host's settings what a sandbox needs, and take back those that it needed before and no longer does.

    Nothing is written where a setting is good as it is. With nothing wanted all are taken back.

    Raises:
        SettingsError: a setting is not known to the kernel, or can't be written.
    """
    asked = {item.name: item for item in wanted}
    if dry_run or not (asked or record.exists()):
        return _ensure(record, recorded(record), sandbox, asked, dry_run=True)
    with locks.held_directory(record.parent):
        try:
            return _ensure(record, recorded(record), sandbox, asked, dry_run=False)
        finally:
            # It is there only as long as anybody has anything in it.
            with suppress(OSError):
                record.parent.rmdir()


def _ensure(
    record: Path, entries: dict[str, dict[str, Any]], sandbox: str, asked: Mapping[str, Wanted], *, dry_run: bool
) -> list[Change]:
    changes = []
    for name, item in asked.items():
        found, entry = _read(name), entries.get(name)
        if item.satisfied_by(found):
            # Somebody else's value is not ours to take back; ours is shared.
            if entry and entry["set"] == found and sandbox not in entry["sandboxes"]:
                entry["sandboxes"].append(sandbox)
                if not dry_run:
                    _remember(record, entries)
            continue
        # After a boot of the host, or a change by others, what was before is what is there now.
        before = entry["before"] if entry and entry["set"] == found else found
        others = entry["sandboxes"] if entry else []
        entries[name] = {"before": before, "set": item.text, "sandboxes": sorted({*others, sandbox})}
        changes.append(Change(name, found, item.text))
        if not dry_run:
            _remember(record, entries)
            _set(name, item.text)
    for name in [name for name, entry in entries.items() if sandbox in entry["sandboxes"] and name not in asked]:
        entry = entries[name]
        entry["sandboxes"].remove(sandbox)
        if not entry["sandboxes"]:
            found = _read(name)
            if found == entry["set"]:
                changes.append(Change(name, found, entry["before"]))
                if not dry_run:
                    _set(name, entry["before"])
            elif found != entry["before"]:
                changes.append(Change(name, found, found, left=True))
            del entries[name]
        if not dry_run:
            _remember(record, entries)
    return changes
