# Copyright: cicd.sandbox contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whose a sandbox of this machine is: a record beside its machines, which nobody else's run overwrites.

Who has the keys of a sandbox is who made it: a user with a state directory. Another user, or the same one with another
home, has other keys, other CAs and another registry password, which a run would put in the place of the standing ones.
"""

from __future__ import annotations

import ipaddress
import json
import os
import pwd
import time
from contextlib import nullcontext, suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from ansible_collections.cicd.sandbox.plugins.module_utils.host import files, locks

RECORD = "owner.json"
# What teardown is told to remove a sandbox of somebody who is gone.
TAKE_OVER = "make down ARGS='--extra-vars sandbox_take_over=true'"


class ForeignSandboxError(Exception):
    """Whose a sandbox is, since when, and what to do."""


@dataclass(frozen=True)
class Owner:
    """Who made a sandbox.

    uid: of the user; -1 where nobody knows. home: what ``HOME`` was. state: the directory of its keys. checkout: of the
    collection. inventories: that described it. network: CIDR of its machines. since: seconds since 1970.
    """

    sandbox: str
    uid: int
    home: str
    state: str
    checkout: str = ""
    inventories: tuple[str, ...] = ()
    network: str = ""
    since: float = 0

    def same_as(self, other: Owner) -> bool:
        """Tell whether the two have the same keys."""
        return self.uid == other.uid and _real(self.state) == _real(other.state)

    @property
    def user(self) -> str:
        """The user's name, or number."""
        try:
            return pwd.getpwuid(self.uid).pw_name
        except KeyError:
            return f"uid {self.uid}"

    def text(self) -> str:
        """Say who that is, and since when."""
        since = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(self.since))
        if self.uid < 0:
            return f"nobody wrote down whose it is, and it is there since {since}"
        place = f", from {self.checkout}" if self.checkout else ""
        return f"{self.user} made it on {since}{place}; its keys are in {self.state}"


def read(library: Path) -> Owner | None:
    """Return whose the sandbox of a library is; None where there is none, or it can't be seen by this user."""
    try:
        said = json.loads((library / RECORD).read_text(encoding="utf-8"))
        return Owner(**{**said, "inventories": tuple(said["inventories"])})
    except (FileNotFoundError, NotADirectoryError, PermissionError):
        return None
    except (OSError, ValueError, KeyError, TypeError):
        return _nobodys(library)


def standing(library: Path, mine: Owner) -> Owner | None:
    """Return whose the sandbox of a library is, where it is not this run's; None where nothing keeps this run from it.

    Machines without a record are this run's where it has their key.
    """
    owner = read(library)
    if owner is None:
        try:
            machines = [path for path in library.iterdir() if path.is_dir()]
        except OSError:
            return None
        return _nobodys(library) if machines and not (Path(mine.state) / "ssh/id_ed25519").exists() else None
    return None if owner.same_as(mine) else owner


def _nobodys(library: Path) -> Owner:
    return Owner(library.name, -1, "", "", since=library.stat().st_mtime)


def refusal(owner: Owner, mine: Owner) -> str:
    """Return what a run is told that would change a sandbox of somebody else's."""
    ways = []
    if owner.uid >= 0 and not _is_gone(owner.state):
        ways += [f"go on with it as its owner: {_as_owner(owner, mine)}"]
    names = "sandbox_name, machines_network, addresses and sandbox_local_endpoint_port"
    ways += [f"make one of your own beside it: give your inventory another {names}"]
    if owner.uid >= 0 and _is_gone(owner.state):
        gone = "Its keys are gone, so nobody can go on with it"
    else:
        gone = "Where its owner is gone for good"
    return (
        f"The sandbox {owner.sandbox} of this machine is somebody else's: {owner.text()}. This run is {mine.user}'s, "
        f"whose keys would be in {mine.state}. Nothing was changed. Either {', or '.join(ways)}. {gone}, remove it "
        f"with all its data: {TAKE_OVER}"
    )


def _as_owner(owner: Owner, mine: Owner) -> str:
    words = []
    if owner.uid != mine.uid:
        sudo = " (with sudo)" if owner.uid == 0 else " (without sudo)" if mine.uid == 0 else ""
        words.append(f"run as {owner.user}{sudo}")
    if owner.home != mine.home:
        words.append(f"set HOME to {owner.home}")
    elif _real(owner.state) != _real(mine.state):
        words.append(f"set sandbox_state_directory to {owner.state}")
    return " and ".join(words)


def elsewhere(owner: Owner, mine: Owner) -> str:
    """Return what to warn of where the owner goes on from another checkout or with another inventory; "" where not."""
    made = []
    if owner.checkout and owner.checkout != mine.checkout:
        made.append(f"from {owner.checkout}")
    if owner.inventories and not set(owner.inventories) & set(mine.inventories):
        made.append(f"with {', '.join(owner.inventories)}")
    if not made:
        return ""
    since = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(owner.since))
    return (
        f"The sandbox {owner.sandbox} was made {' '.join(made)} on {since}. This run goes on with the same machines "
        f"from {mine.checkout} with {', '.join(mine.inventories)}; another sandbox has another sandbox_name"
    )


def neighbour(library: Path, mine: Owner) -> Owner | None:
    """Return whose other sandbox has addresses of this one's network."""
    with suppress(OSError):
        for path in sorted(library.parent.iterdir()):
            other = read(path) if path != library else None
            if other is not None and _overlap(other.network, mine.network):
                return other
    return None


def _overlap(one: str, other: str) -> bool:
    try:
        return ipaddress.IPv4Network(one).overlaps(ipaddress.IPv4Network(other))
    except ValueError:
        return False


def claim(library: Path, mine: Owner, *, dry_run: bool) -> bool:
    """Write down whose a sandbox is, where nobody did; tell whether it was written, or would be.

    Raise ForeignSandboxError where it is somebody else's, or where its addresses are another sandbox's.
    """
    with nullcontext() if dry_run and not library.parent.exists() else locks.held_directory(library.parent):
        owner = standing(library, mine)
        if owner is not None:
            raise ForeignSandboxError(refusal(owner, mine))
        other = neighbour(library, mine)
        if other is not None:
            raise ForeignSandboxError(
                f"machines_network: {mine.network} overlaps {other.network} of the sandbox {other.sandbox} of this "
                f"machine: {other.text()}. Give this one another machines_network, and its hosts addresses there, or "
                "remove the other"
            )
        if read(library) is not None:
            return False
        if not dry_run:
            # Who may ask whose it is: everybody.
            library.mkdir(mode=0o755, exist_ok=True)
            library.chmod(0o755)
            files.write(library / RECORD, json.dumps(asdict(mine), indent=2) + "\n", 0o644)
        return True


def _real(path: str) -> str:
    return os.path.realpath(path)


def _is_gone(path: str) -> bool:
    """Tell whether a path is known not to be there; one that can't be looked at may be."""
    try:
        Path(path).stat()
    except (FileNotFoundError, NotADirectoryError):
        return True
    except OSError:
        return False
    return False
