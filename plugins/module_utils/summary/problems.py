# Copyright: cicd.sandbox contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What ails a sandbox, out of looks at its machines, its addresses and its cluster, and what to do about it."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from typing import Any

# What was found on a host: answers of modules.
Look = Sequence[Mapping[str, Any]]

# Words of ssh's → what is wrong.
_STRANGERS = {
    "Permission denied": "it does not know the sandbox's key",
    "Host key verification failed": "the sandbox does not know its host key",
}


def problems(
    looks: Mapping[str, Look],
    made: Collection[str],
    no_kubeconfig: str,
    cluster: str,
    checks: Sequence[str],
    silent: Mapping[str, str] | None = None,
) -> list[str]:
    """Return lines for a person; none where all is well.

    looks: host → answers of the modules host_certificates_info and host_services_info. made: hosts that the sandbox
    made. no_kubeconfig: path of the cluster's kubeconfig where it is not there. cluster: why nothing is known of the
    cluster. checks: what modules said that looked at addresses and at the cluster. silent: hosts that take no
    connection, and why.
    """
    not_asked = {host: [{"unreachable": True, "msg": reason}] for host, reason in (silent or {}).items()}
    looks = {**looks, **not_asked}
    away = [host for host, look in looks.items() if any(answer.get("unreachable") for answer in look)]
    lines = []
    if no_kubeconfig:
        lines.append(
            f"There is a part of a sandbox and no cluster: {no_kubeconfig} is not there, a run ended before it was"
            " made. make up goes on from there, make down removes what there is."
        )
    elif cluster:
        lines.append(f"Kubernetes does not answer: {cluster}")
    lines += _away(away, looks, made)
    for host, look in looks.items():
        for answer in look:
            if host not in away and "msg" in answer:
                lines.append(f"{host} can't be looked at: {_words(answer)}")
            told = answer.get("problems") or []
            lines += [line if line.startswith(" ") else f"{host}: {line}" for line in told]
    for said in checks:
        lines += said.splitlines()
    return lines


def _away(away: Sequence[str], looks: Mapping[str, Look], made: Collection[str]) -> list[str]:
    reasons = {host: _words(next(answer for answer in looks[host] if answer.get("unreachable"))) for host in away}
    # They answer, and one of the two does not know the other.
    refused = any(why in words for why in _STRANGERS for words in reasons.values())
    if len(away) > 1 and len(away) == len(looks) and set(away) <= set(made) and not refused:
        # They all are after this computer was started again.
        return [f"None of the {len(away)} machines can be reached: they are off. make up starts them."]
    lines = []
    for host, words in reasons.items():
        stranger = next((remedy for why, remedy in _STRANGERS.items() if why in words), "")
        if stranger:
            remedy = f"{stranger}: is it of another user, or of another HOME?"
        else:
            remedy = "make up starts it where it is off." if host in made else "start it, or look at the way to it."
        lines.append(f"{host} can't be reached by SSH: {words}; {remedy}")
    return lines


def _words(answer: Mapping[str, Any]) -> str:
    """Return a module's or connection's message in a line, without what Ansible says of itself before the reason."""
    words = " ".join(str(answer.get("msg") or "no reason given").split()).rstrip(".")
    return re.sub(r"^.* can be reached over ssh: |^Task failed: ", "", words)
