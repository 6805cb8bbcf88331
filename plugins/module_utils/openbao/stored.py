# Copyright: cicd.sandbox contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Secrets of applications in an OpenBao's key-value engine of version 2: what they are made from, and how they change.

A secret is at ``<mount>/<namespace>/<name>`` and has the keys of the Kubernetes Secret that is made of it. A key whose
earlier values are kept has them in ``<key>-earlier``, the newest first, one a line: who changes a password where it is
used can still come in by the one before.
"""

from __future__ import annotations

import secrets
import string
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ansible_collections.cicd.sandbox.plugins.module_utils.openbao.server import Bao, BaoError

# How many earlier values of a key are kept, and how far they are looked for.
EARLIER = 5
# Seconds that an engine takes until it keeps versions.
SET_UP = 30.0
_LETTERS = string.ascii_letters + string.digits

# Namespace, name and key → a value that there is already, or None.
Known = Callable[[str, str, str], str | None]


@dataclass(frozen=True)
class Key:
    """A key: the length of its value where it has to be made, and whether earlier values are kept."""

    length: int = 32
    keep_earlier: bool = False


@dataclass(frozen=True)
class Secret:
    """A Secret of a namespace."""

    namespace: str
    name: str
    keys: Mapping[str, Key] = field(default_factory=dict)

    @property
    def title(self) -> str:
        """Namespace and name, as inventories name it."""
        return f"{self.namespace}/{self.name}"


@dataclass(frozen=True)
class Change:
    """What a secret is to hold from now on, over a version; why, in a word."""

    secret: Secret
    values: dict[str, str]
    version: int
    why: str


def changes(
    bao: Bao, mount: str, wanted: Sequence[Secret], rotated: Sequence[str], known: Known
) -> tuple[list[Change], dict[str, int]]:
    """Return what has to be written, and the versions there are: title → number. Raises BaoError.

    rotated: titles of secrets that get new values where earlier ones are kept.
    """
    found: list[Change] = []
    versions: dict[str, int] = {}
    for secret in wanted:
        path = f"{mount}/data/{secret.namespace}/{secret.name}"
        held, version = _current(bao, path)
        versions[secret.title] = version
        values = dict(held)
        why = []
        for name, key in secret.keys.items():
            lines = _lines(values, name)
            if name not in values:
                values[name] = known(secret.namespace, secret.name, name) or made(key.length)
                lines = lines or _known_lines(known, secret, name, values[name])
                why.append(f"{name} was missing")
            elif secret.title in rotated and key.keep_earlier:
                lines = [values[name], *lines]
                values[name] = made(key.length)
                why.append(f"{name} is new")
            if not key.keep_earlier:
                continue
            # Somebody may have changed the value alone.
            before = _before(bao, path, version, name, values[name])
            if before and before not in lines:
                lines = [before, *lines]
                why.append(f"{_earlier(name)} lacked a value")
            values[_earlier(name)] = _joined(lines)
        if values != held:
            found.append(Change(secret, values, version, ", ".join(why)))
    return found, versions


def apply(bao: Bao, mount: str, found: Sequence[Change]) -> dict[str, int]:
    """Write changes; the new versions by title. Raises BaoError, also where somebody else has changed one meanwhile."""
    written: dict[str, int] = {}
    for change in found:
        path = f"{mount}/data/{change.secret.namespace}/{change.secret.name}"
        answer = _write(bao, path, {"data": change.values, "options": {"cas": change.version}})
        written[change.secret.title] = int((answer.get("data") or {}).get("version") or change.version + 1)
    return written


def _write(bao: Bao, path: str, data: dict[str, Any]) -> dict[str, Any]:
    """Write to an engine that may have been mounted a moment ago: it says no until it has set itself up."""
    end = time.monotonic() + SET_UP
    while True:
        try:
            return bao.write(path, data)
        except BaoError as error:
            if "upgrading from non-versioned" not in str(error).lower() or time.monotonic() >= end:
                raise
        time.sleep(0.2)


def check_rotated(wanted: Sequence[Secret], rotated: Sequence[str]) -> None:
    """Refuse to rotate what is not there, or what nobody could follow. Raises BaoError."""
    for title in rotated:
        secret = next((secret for secret in wanted if secret.title == title), None)
        if secret is None:
            raise BaoError(f"there is no secret {title} to rotate; there are {', '.join(one.title for one in wanted)}")
        if not any(key.keep_earlier for key in secret.keys.values()):
            raise BaoError(f"{title} has no key whose earlier values are kept: who uses it would be locked out")


def made(length: int) -> str:
    """Return a random value of letters and digits."""
    return "".join(secrets.choice(_LETTERS) for _ in range(length))


def _current(bao: Bao, path: str) -> tuple[dict[str, str], int]:
    """The values at a path and their version: none and 0 where there never were, none where they were deleted."""
    found = bao.read(path)
    if found is None:
        # Of one that was deleted the version counts on; a path of the API tells it.
        metadata = bao.read(path.replace("/data/", "/metadata/", 1)) or {}
        return {}, int(metadata.get("current_version") or 0)
    metadata = found.get("metadata") or {}
    return _texts(found.get("data") or {}), int(metadata.get("version") or 0)


def _before(bao: Bao, path: str, version: int, key: str, value: str) -> str:
    """The value that a key had before the one it has; empty where it had none, or that is too long ago."""
    for number in range(version - 1, max(0, version - 1 - EARLIER), -1):
        data = (bao.read(f"{path}?version={number}") or {}).get("data") or {}
        if data.get(key) not in (None, value):
            return str(data[key])
    return ""


def _earlier(key: str) -> str:
    return f"{key}-earlier"


def _lines(values: Mapping[str, str], key: str) -> list[str]:
    return [line for line in values.get(_earlier(key), "").splitlines() if line]


def _known_lines(known: Known, secret: Secret, key: str, value: str) -> list[str]:
    """Earlier values that are known from elsewhere, of the same value."""
    if known(secret.namespace, secret.name, key) != value:
        return []
    return (known(secret.namespace, secret.name, _earlier(key)) or "").splitlines()


def _joined(lines: Sequence[str]) -> str:
    return "\n".join(list(dict.fromkeys(lines))[:EARLIER])


def _texts(data: Mapping[str, Any]) -> dict[str, str]:
    return {key: str(value) for key, value in data.items()}
