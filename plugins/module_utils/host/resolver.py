# Copyright: cicd.sandbox contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Name servers of a host that pods can ask, see resolv.conf(5)."""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

RESOLV_CONF = Path("/etc/resolv.conf")
# What systemd-resolved asks; /etc/resolv.conf then names itself, on the host's loopback.
UPLINK = Path("/run/systemd/resolve/resolv.conf")
# A kubelet passes no more on (MAXNS of resolv.h).
MOST = 3


@dataclass(frozen=True)
class Resolver:
    """A host's name servers, of all kinds, and the rest of its resolv.conf(5), as lines."""

    servers: tuple[str, ...] = ()
    rest: tuple[str, ...] = ()

    def usable(self) -> list[str]:
        """Return the servers that a pod can ask: of IPv4, as pods are, and neither loopback nor link-local."""
        return list(dict.fromkeys(server for server in self.servers if is_usable(server)))[:MOST]

    def text(self, servers: Sequence[str]) -> str:
        """Return the file with other servers."""
        lines = [*(f"nameserver {server}" for server in servers), *self.rest]
        return "# Written by Ansible: name servers that pods can ask.\n" + "".join(f"{line}\n" for line in lines)


def is_usable(server: str) -> bool:
    """Tell whether a pod can ask a name server."""
    try:
        address = ipaddress.IPv4Address(server)
    except ValueError:
        return False
    return not (address.is_loopback or address.is_link_local or address.is_unspecified or address.is_multicast)


def parse(text: str) -> Resolver:
    """Read a resolv.conf(5)."""
    servers, rest = [], []
    for line in text.splitlines():
        words = line.split("#")[0].split(";")[0].split()
        if len(words) > 1 and words[0] == "nameserver":
            servers.append(words[1])
        elif len(words) > 1 and words[0] in {"search", "domain", "options"}:
            # The root alone, which systemd-resolved writes, is no domain to look in.
            names = [word for word in words[1:] if word != "."]
            rest += [" ".join([words[0], *names])] if names else []
    return Resolver(tuple(servers), tuple(rest))


def read() -> Resolver:
    """Read this host's resolver: where it names none that pods can ask, what systemd-resolved asks."""
    own, behind = parse(_text(RESOLV_CONF)), parse(_text(UPLINK))
    return own if own.usable() or not behind.usable() else behind


def _text(path: Path) -> str:
    try:
        return path.read_text(errors="replace")
    except OSError:
        return ""
