# Copyright: cicd.sandbox contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is to be done with an etcd cluster: from what was declared and what was found to a plan; no Ansible in here.

The one rule above all: where a cluster was, a new empty one is never made. Whether one was is remembered in a *marker*
(JSON on the controller)::

    {"state": "bootstrapping" | "bootstrapped", "token": "dev-1f0c…", "cluster_id": "cdf8…", "members": ["etcd-1", …]}

The token goes into the cluster's id, so that the members of two clusters never take each other for their own.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

_RESTORE = "ansible-playbook playbooks/etcd_restore.yml -e etcd_restore_snapshot=<file below backups/etcd>"
_DISARM = "ansible-playbook playbooks/etcd_defragment.yml -e etcd_defragment_disarm=true"
# How an alarm is told, and the way out.
_ALARMS = {
    "NOSPACE": (
        "the database has reached etcd_quota_bytes, and the cluster takes no writes until the alarm is disarmed, also "
        f"when there is room again. Make room and disarm it: {_DISARM}. Where it comes back, raise the quota before."
    ),
    "CORRUPT": (
        "its data differs from the other members'. Move its data directory away and run this again, which replaces the "
        f"member, then disarm the alarm: {_DISARM}. Where all members have it, restore a snapshot: {_RESTORE}."
    ),
}
Action = Literal["bootstrap", "start", "keep", "alarm", "change", "refuse"]


@dataclass(frozen=True)
class Listed:
    """A member as the cluster itself knows it. Its name is empty until it has started for the first time."""

    id: str
    name: str
    peer_urls: tuple[str, ...]
    learner: bool = False


@dataclass(frozen=True)
class Found:
    """What was found on a declared member's host; shaped like the result of the module ``etcd_member_info``."""

    name: str
    data: bool = False
    healthy: bool = False
    cluster_id: str = ""
    members: tuple[Listed, ...] = ()
    # Alarms of the whole cluster: kind, and id of the member that raised it.
    alarms: tuple[tuple[str, str], ...] = ()

    @classmethod
    def read(cls, name: str, result: Mapping[str, Any]) -> Found:
        """Read a result of ``etcd_member_info``."""
        listed = tuple(
            Listed(item["id"], item["name"], tuple(item["peer_urls"]), bool(item["learner"]))
            for item in result["members"]
        )
        alarms = tuple((item["alarm"], item["member_id"]) for item in result["alarms"])
        return cls(name, result["data"], result["healthy"], result["cluster_id"], listed, alarms)


@dataclass(frozen=True)
class Plan:
    """What to do. ``change``: first ``remove``, ``promote``, then ``join`` one after the other, then ``retire``.

    ``alarm`` says which alarms stand, and the way out, whatever the action; the action of that name is what would be
    ``keep`` without them.

    ``remember``: the marker does not say what is true afterwards, also where an earlier run ended before it wrote it.
    """

    action: Action
    reason: str = ""
    start: tuple[str, ...] = ()
    through: str = ""
    cluster_id: str = ""
    remove: tuple[Listed, ...] = ()
    join: tuple[str, ...] = ()
    retire: tuple[Listed, ...] = ()
    promote: tuple[Listed, ...] = ()
    remember: bool = False
    alarm: str = ""


def quorum(members: int) -> int:
    """How many members of so many have to work."""
    return members // 2 + 1


def arithmetic(members: int) -> str:
    """Say what an even number of members gains and costs; nothing for an odd number."""
    if members % 2:
        return ""
    return (
        f"{members} etcd members need {quorum(members)} to work: they survive the loss of {members - quorum(members)}, "
        f"as {members - 1} would, with one host more that may fail. "
        f"{members + 1} survive the loss of {members + 1 - quorum(members + 1)}."
    )


def make_plan(declared: Mapping[str, str], found: Sequence[Found], marker: Mapping[str, Any] | None) -> Plan:
    """Plan what to do with the declared members (name → peer URL), given what their hosts look like.

    Every declared member has to be among ``found``: a host that could not be asked is no lost member.
    """
    missing = sorted(set(declared) - {member.name for member in found})
    if missing:
        return Plan("refuse", f"nothing is known of {', '.join(missing)}: their hosts could not be asked.")
    # A learner is healthy too, but can't list the members.
    healthy = [member for member in found if member.healthy and member.members]
    plan = (
        _with_quorum(declared, found, healthy, marker or {})
        if healthy
        else _without_quorum(declared, found, marker or {})
    )
    alarm = alarm_words(found)
    if alarm and plan.action == "keep":
        return replace(plan, action="alarm", reason=alarm, alarm=alarm)
    return replace(plan, alarm=alarm)


def alarm_words(found: Sequence[Found]) -> str:
    """Say which alarms stand, who raised them and the way out; nothing where none does."""
    names = {listed.id: listed.name for member in found for listed in member.members if listed.name}
    raised: dict[str, list[str]] = {}
    for kind, who in sorted({alarm for member in found for alarm in member.alarms}):
        raised.setdefault(kind, []).append(names.get(who, f"{who}, which is no member any more"))
    return " ".join(
        f"The alarm {kind} stands (raised by {', '.join(sorted(by))}): {_ALARMS.get(kind, 'see etcdctl alarm list.')}"
        for kind, by in raised.items()
    )


def _with_quorum(
    declared: Mapping[str, str], found: Sequence[Found], healthy: Sequence[Found], marker: Mapping[str, Any]
) -> Plan:
    """Bring the members of a cluster that answers to what was declared."""
    clusters = {member.cluster_id for member in found if member.cluster_id}
    known = marker.get("cluster_id", "")
    if len(clusters) > 1:
        return Plan("refuse", f"the members belong to different clusters: {_clusters(found)}.")
    cluster = clusters.pop() if clusters else ""
    if known and cluster != known:
        return Plan(
            "refuse",
            f"the members belong to the cluster {cluster}, but this sandbox's is {known}. If a restore "
            "was interrupted, run it again; if the cluster was restored by hand, put its id into the marker file.",
        )
    waiting = tuple(member.name for member in found if member.data and not member.healthy)
    if waiting:
        return Plan("start", "members with data are not healthy", start=waiting, cluster_id=cluster)
    sound = [member for member in healthy if member.data]
    if not sound:
        return Plan("refuse", _running_on_nothing([member.name for member in healthy]))
    through, listed = sound[0].name, sound[0].members
    by_url = {url: member for member in listed for url in member.peer_urls}
    by_name = {member.name: member for member in found}
    # Those that still answer without their files give a quorum as long as they are members: they go last.
    lost = sorted(
        (name for name, url in declared.items() if url in by_url and not by_name[name].data),
        key=lambda name: by_name[name].healthy,
    )
    new = [name for name, url in declared.items() if url not in by_url]
    retire = tuple(member for member in listed if not set(member.peer_urls) & set(declared.values()))
    remove = tuple(by_url[declared[name]] for name in lost)
    promote = tuple(member for member in listed if member.learner and member not in remove and member not in retire)
    join = tuple(name for name in declared if name in lost or name in new)
    if not join and not retire and not promote:
        remembered = (marker.get("state"), known, marker.get("members")) == ("bootstrapped", cluster, list(declared))
        return Plan("keep", cluster_id=cluster, through=through, remember=not remembered)
    return Plan(
        "change",
        through=through,
        cluster_id=cluster,
        remove=remove,
        join=join,
        retire=retire,
        promote=promote,
        remember=True,
    )


def _without_quorum(declared: Mapping[str, str], found: Sequence[Found], marker: Mapping[str, Any]) -> Plan:
    """Tell the first start, a start after a stop and a loss from each other."""
    with_data = [member.name for member in found if member.data]
    without = [member.name for member in found if not member.data]
    if marker.get("state") == "bootstrapping":
        return Plan("bootstrap", "an earlier run began it", remember=True)
    if not marker and not with_data:
        return Plan("bootstrap", remember=True)
    voters = marker.get("members") or list(declared)
    if len(with_data) < quorum(len(voters)):
        undeclared = [name for name in voters if name not in declared]
        if undeclared:
            return Plan("refuse", _shrunken(undeclared, without, len(voters)))
        return Plan("refuse", _lost(with_data, without, len(voters)))
    return Plan("start", "no member has a quorum", start=tuple(with_data))


def _lost(with_data: Sequence[str], without: Sequence[str], voters: int) -> str:
    return (
        f"the cluster had {voters} member{'s' if voters > 1 else ''} and needs {quorum(voters)}, but only "
        f"{len(with_data)} still {'has' if len(with_data) == 1 else 'have'} data ({', '.join(with_data) or 'none'}); "
        f"the data of {', '.join(without)} is gone. A new, empty cluster is not what you want. Bring the missing data "
        "directories back, or restore a snapshot: "
        f"{_RESTORE}."
    )


def _shrunken(undeclared: Sequence[str], without: Sequence[str], voters: int) -> str:
    missing = f"{', '.join(undeclared)} {'is' if len(undeclared) == 1 else 'are'} not declared"
    lost = f", {', '.join(without)} {'has' if len(without) == 1 else 'have'} no data" if without else ""
    return (
        f"the cluster had {voters} member{'s' if voters > 1 else ''} and needs {quorum(voters)} to work, also to "
        f"become smaller; it does not run, {missing}{lost}. Set etcd_members back to {voters}, with the same hosts "
        "first in the group etcd, and run this again; take members away when it works."
    )


def _running_on_nothing(lost: Sequence[str]) -> str:
    return (
        f"{', '.join(lost)} still {'answers' if len(lost) == 1 else 'answer'}, but the data directories were removed "
        "and no other member has the data: it is gone as soon as etcd ends. Save it now with "
        "ansible-playbook playbooks/etcd_snapshot.yml, then restore it: "
        f"{_RESTORE}."
    )


def _clusters(found: Sequence[Found]) -> str:
    return ", ".join(f"{member.name} to {member.cluster_id}" for member in found if member.cluster_id)
