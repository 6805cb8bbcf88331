# Copyright: cicd.sandbox contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Debian packages that were installed on this host for sandboxes, and which of them nobody else needs.

The record is a JSON list of names. It is written before apt installs anything: of a run that is killed in between it
names what may not be there, and never lacks what is.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from ansible_collections.cicd.sandbox.plugins.module_utils.host import files, locks

# dpkg-query --show --showformat=…: a line for each package.
FORMAT = r"${db:Status-Status}\t${Package}\t${Essential}\t${Pre-Depends}, ${Depends}, ${Recommends}\t${Provides}\n"


class PackagesError(Exception):
    """The record can't be read; the message names it."""


@dataclass(frozen=True)
class Installed:
    """A package that the host has: what it needs or wants, and what it stands for besides its own name."""

    needs: frozenset[str]
    provides: frozenset[str]
    essential: bool = False


def _names(relation: str) -> frozenset[str]:
    """Return the names in a relation such as ``a (>= 1), b:any | c``; of alternatives all."""
    return frozenset(re.findall(r"(?:^|[,|])\s*([a-z0-9][a-z0-9+.-]*)", relation))


def installed(answer: str) -> dict[str, Installed]:
    """Read what dpkg-query says in FORMAT; packages of which only configuration is left are not there."""
    found = {}
    for line in answer.splitlines():
        state, name, essential, needs, provides = line.split("\t")
        if state == "installed":
            found[name] = Installed(_names(needs), _names(provides) | {name}, essential == "yes")
    return found


def new(simulation: str) -> list[str]:
    """Return which packages ``apt-get --simulate install`` would install that are not there in an older version."""
    return sorted(set(re.findall(r"^Inst (\S+?)(?::\S+)? \(", simulation, re.MULTILINE)))


def recorded(record: Path) -> list[str]:
    """Return the names in the record; none where there is none.

    Raises:
        PackagesError: it is no record.
    """
    try:
        found = json.loads(record.read_text())
    except FileNotFoundError:
        return []
    except ValueError as error:
        found = error
    if not isinstance(found, list) or not all(isinstance(name, str) for name in found):
        raise PackagesError(
            f"{record} can't be read: it names the packages that were installed on this host for sandboxes. Mend it, a"
            " JSON list of names, or remove it, after which they stay"
        )
    return found


def remember(record: Path, names: Iterable[str]) -> bool:
    """Add names to the record; tell whether it had not all of them."""
    record.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
    with locks.held(record.with_suffix(".lock")):
        before = recorded(record)
        after = sorted({*before, *names})
        if after != before:
            files.write(record, json.dumps(after, indent=2) + "\n", sync=True)
        return after != before


def needless(names: Iterable[str], host: Mapping[str, Installed]) -> tuple[list[str], list[str]]:
    """Return which of ``names`` are there and needed by no other package, and which are there and needed.

    What is recommended is needed; of alternatives each is. What a package that stays needs stays as well.
    """
    ours = {name for name in names if name in host}
    kept = {name for name in ours if host[name].essential}
    others = [host[name].needs for name in host if name not in ours] + [host[name].needs for name in kept]
    while others:
        wanted = frozenset().union(*others)
        staying = {name for name in ours - kept if host[name].provides & wanted}
        kept |= staying
        others = [host[name].needs for name in staying]
    return sorted(ours - kept), sorted(kept)
