# Copyright: cicd.sandbox contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Find what API servers would not start with in what an inventory says of whom they ask, and rules without a sense."""

from __future__ import annotations

import re
import zoneinfo
from collections.abc import Iterator
from typing import Final

from ansible_collections.cicd.sandbox.plugins.module_utils.preflight.entries import NO_TENANT, Entry, Wrong, meant

AUTHORIZERS: Final = ("Node", "Webhook", "RBAC")
WEBHOOK_IS_LAST: Final = (
    "Webhook comes after RBAC, whose yes ends the matter: its rules refuse nothing that RBAC allows"
)

# What others answer, whom an API server knows as well.
_OTHERS: Final = {
    "AlwaysAllow": "It lets everybody do everything. Take it out.",
    "AlwaysDeny": "It refuses everything that is asked after it. Take it out.",
    "ABAC": "It needs a file that is not written here. Write roles of RBAC instead.",
}
_NEEDED: Final = {
    "Node": "Nodes could not read what their pods need: name it, first of all.",
    "RBAC": "Nobody but members of system:masters could do anything: name it, last of all.",
}
_TIME: Final = re.compile(r"([01][0-9]|2[0-3]):[0-5][0-9]")
_RESOURCE: Final = re.compile(r"[a-z]+(\.[a-z0-9]([-a-z0-9.]*[a-z0-9])?)?(/[a-z]+)?")


def check_authorizers(authorizers: object, *, enabled: bool) -> list[Wrong]:
    """Check who API servers ask. enabled: whether the role that has the webhook is."""
    return list(_authorizers(authorizers, enabled=enabled))


def _authorizers(authorizers: object, *, enabled: bool) -> Iterator[Wrong]:
    if not isinstance(authorizers, list):
        return
    where = "security_authorizers"
    names = [str(name) for name in authorizers]
    for index, name in enumerate(names):
        if name not in AUTHORIZERS:
            found = f"{name!r} is nobody whom API servers can be told to ask here"
            yield f"{where}[{index}]", found, _OTHERS.get(name) or meant(name, AUTHORIZERS)
        elif name in names[:index]:
            yield f"{where}[{index}]", f"{name} is asked twice", "Name it once."
    for name, remedy in _NEEDED.items():
        if name not in names:
            yield where, f"{name} is missing", remedy
    if "Webhook" in names and not enabled:
        remedy = "Leave Webhook out, or set security_enabled to true."
        yield where, "Webhook is asked, and security_enabled is false: nobody would answer", remedy
    if "Webhook" in names and "RBAC" in names and names.index("Webhook") > names.index("RBAC"):
        yield where, WEBHOOK_IS_LAST, "Name it before RBAC."


def check_closed_hours(hours: list[tuple[str, Entry]], tenants: list[tuple[str, Entry]]) -> Iterator[Wrong]:
    """Check hours in which resources are for some groups alone."""
    known = {str(tenant.get("namespace")) for _, tenant in tenants}
    zones: set[str] = set()
    for where, entry in hours:
        for key in ("namespaces", "resources", "groups"):
            if not entry.get(key):
                yield f"{where}.{key}", "is empty", "Name one, or take the entry out."
        for name in _texts(entry, "namespaces"):
            if name not in known:
                yield f"{where}.namespaces", f"{name} {NO_TENANT}", meant(name, known)
        for name in _texts(entry, "resources"):
            if not _RESOURCE.fullmatch(name):
                remedy = "Write it as RBAC does: secrets, deployments.apps, pods/exec."
                yield f"{where}.resources", f"{name!r} is no resource", remedy
        times = [str(entry.get(key)) for key in ("from", "to")]
        for key, text in zip(("from", "to"), times, strict=True):
            if not _TIME.fullmatch(text):
                yield f"{where}.{key}", f"{text!r} is no time of day", 'Write it in quotes, "06:00" to "23:59".'
        if times[0] == times[1]:
            yield where, f"closes at {times[0]} and opens at once", "Let the two be different."
        zone = str(entry.get("time_zone") or "UTC")
        zones = zones or zoneinfo.available_timezones()
        if zone not in zones:
            yield f"{where}.time_zone", f"there is no time zone {zone}", "Name one such as UTC or Europe/Berlin."


def check_revoked(revoked: object, users: list[tuple[str, Entry]], authorizers: object) -> Iterator[Wrong]:
    """Check users whose certificates don't count any more."""
    names = [str(name) for name in revoked] if isinstance(revoked, list) else []
    wanted = {str(user.get("name")): where for where, user in users}
    for index, name in enumerate(names):
        where = f"security_revoked_users[{index}]"
        if name in wanted:
            yield (
                where,
                f"{name} is {wanted[name]}, too",
                "Take one of both out: a run would give them a new certificate.",
            )
        elif name.startswith("system:"):
            yield where, f"{name} is the cluster's own", "Nobody asks the webhook about it: take it out."
    if names and isinstance(authorizers, list) and "Webhook" not in authorizers:
        remedy = "Name Webhook in security_authorizers, or take the rights from their groups."
        yield "security_revoked_users", "is told to nobody, as API servers ask no webhook", remedy


def _texts(entry: Entry, key: str) -> list[str]:
    value = entry.get(key)
    return [str(name) for name in value] if isinstance(value, list) else []
