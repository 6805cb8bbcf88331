# Copyright: cicd.sandbox contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Hosts that take no connection."""

from __future__ import annotations

import socket
import time

import pytest
from ansible_collections.cicd.sandbox.plugins.filter.silent_hosts import silent_hosts
from ansible_collections.cicd.sandbox.plugins.module_utils.host.reachable import silent


def test_all_at_once_and_each_with_its_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    """One that is off does not refuse: nothing comes back."""
    real = socket.create_connection

    def connect(place: tuple[str, int], seconds: float) -> socket.socket:
        if place[0].startswith("192.0.2."):
            time.sleep(seconds)
            raise TimeoutError("timed out")
        return real(place, seconds)

    monkeypatch.setattr(socket, "create_connection", connect)
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        off = {f"off-{number}": ("192.0.2.1", 22) for number in range(20)}
        begin = time.monotonic()
        found = silent({"well": ("127.0.0.1", port), "refuses": ("127.0.0.1", 1), **off}, 0.3)
    assert time.monotonic() - begin < 3
    assert found == {
        "refuses": "127.0.0.1 port 1: Connection refused",
        **dict.fromkeys(off, "nothing answers at 192.0.2.1 port 22"),
    }


def test_the_filter_takes_what_an_inventory_has() -> None:
    assert silent_hosts({}) == {}
    assert silent_hosts({"a": ["127.0.0.1", "1"]}, 1) == {"a": "127.0.0.1 port 1: Connection refused"}
