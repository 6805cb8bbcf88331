# Copyright: cicd.sandbox contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""IPv4 addresses of hosts that an inventory has by name, as this machine finds them."""

from __future__ import annotations

import concurrent.futures
import functools
import ipaddress
import socket
from collections.abc import Iterable, Mapping

from ansible_collections.cicd.sandbox.plugins.module_utils.host.bounded import within

# Seconds: a resolver goes on to its second name server after five.
PATIENCE = 12.0
REMEDY = "Set ansible_host to an address that the other hosts reach, or mend DNS or /etc/hosts of the controller."


class NameNotFoundError(Exception):
    """A name does not lead to an address at which other hosts reach it; the text says why."""


@functools.cache
def resolve(name: str) -> str:
    """Return the first IPv4 address of a name; an address, IPv6 too, is its own.

    Raises:
        NameNotFoundError: there is none, or it is the loopback's, which every host has.
    """
    try:
        return str(ipaddress.ip_address(name))
    except ValueError:
        pass
    try:
        found = within(PATIENCE, lambda: socket.getaddrinfo(name, None, socket.AF_INET, socket.SOCK_STREAM))
    except TimeoutError as error:
        raise NameNotFoundError(
            f"its name {name} was not resolved here within {PATIENCE:g} s: no name server answers"
        ) from error
    except (OSError, UnicodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise NameNotFoundError(f"its name {name} has no IPv4 address here ({reason})") from error
    address = str(found[0][4][0])
    if ipaddress.ip_address(address).is_loopback:
        raise NameNotFoundError(f"its name {name} leads to {address} here, which is every host's own")
    return address


def look_up(names: Iterable[str]) -> dict[str, str | NameNotFoundError]:
    """Return the address of each name, or why it leads nowhere, looked up side by side."""
    different = list(dict.fromkeys(names))
    if not different:
        return {}

    def one(name: str) -> str | NameNotFoundError:
        try:
            return resolve(name)
        except NameNotFoundError as error:
            return error

    with concurrent.futures.ThreadPoolExecutor(len(different)) as pool:
        return dict(zip(different, pool.map(one, different), strict=True))


def resolve_all(names: Mapping[str, str]) -> dict[str, str]:
    """Return host → address of host → name or address.

    Raises:
        NameNotFoundError: with all hosts whose names lead nowhere.
    """
    found = look_up(names.values())
    addresses, problems = {}, []
    for host, name in names.items():
        address = found[name]
        if isinstance(address, NameNotFoundError):
            problems.append(f"{host}: {address}.")
        else:
            addresses[host] = address
    if problems:
        raise NameNotFoundError(" ".join([*problems, REMEDY]))
    return addresses
