# Copyright: cicd.sandbox contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Hosts that take connections, asked all at once: who is off is known before anybody waits for it."""

from __future__ import annotations

import concurrent.futures
import socket
from collections.abc import Mapping


def silent(places: Mapping[str, tuple[str, int]], seconds: float) -> dict[str, str]:
    """Return why hosts take no connection within so many seconds: host → reason, of those that take none.

    places: host → address and port of TCP.
    """
    if not places:
        return {}
    with concurrent.futures.ThreadPoolExecutor(len(places)) as pool:
        reasons = list(pool.map(lambda place: _why_silent(place, seconds), places.values()))
    return {host: reason for host, reason in zip(places, reasons, strict=True) if reason}


def _why_silent(place: tuple[str, int], seconds: float) -> str:
    address, port = place
    try:
        socket.create_connection(place, seconds).close()
    except TimeoutError:
        return f"nothing answers at {address} port {port}"
    except OSError as error:
        return f"{address} port {port}: {error.strerror or error}"
    return ""
