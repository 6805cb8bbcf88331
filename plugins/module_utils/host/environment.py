# Copyright: cicd.sandbox contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What of a user's environment must not reach the sandbox: other clusters, proxies on the way to own hosts."""

from __future__ import annotations

from collections.abc import Mapping

# Read by kubectl, helm and modules of kubernetes.core, in place of what their arguments say.
OTHER_CLUSTERS = ("HELM_", "K8S_AUTH_", "KUBE")
PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY")


def names_another_cluster(name: str) -> bool:
    """Tell whether a variable speaks of other clusters, or of plug-ins of the user's own."""
    return name.startswith(OTHER_CLUSTERS)


def names_a_proxy(name: str) -> bool:
    """Tell whether a variable speaks of proxies; programs take the one spelling or the other."""
    return name.upper() in PROXIES


def for_own_hosts(environment: Mapping[str, str]) -> dict[str, str]:
    """Return the environment of a program that talks to nothing but the sandbox's own hosts."""
    return {
        name: value
        for name, value in environment.items()
        if not names_another_cluster(name) and not names_a_proxy(name)
    }


def for_downloads(environment: Mapping[str, str]) -> dict[str, str]:
    """Return the variables of proxies, in both spellings: some programs know only the one or the other.

    ALL_PROXY, which most programs do not know, stands for those that are not given.
    """
    given = {name: environment.get(name.lower()) or environment.get(name) or "" for name in PROXIES}
    everything = given.pop("ALL_PROXY")
    for name in ("HTTP_PROXY", "HTTPS_PROXY"):
        given[name] = given[name] or everything
    return {spelling: value for name, value in given.items() if value for spelling in (name, name.lower())}
