# Copyright: cicd.sandbox contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Networks of their own for tests: a namespace that stands for this host, and others on its bridges."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

# Echo request and reply (RFC 792), for programs of that kind are not on every computer: destination, source, seconds.
PING = """
import socket, sys, time
echo = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP)
echo.bind((sys.argv[2], 0))
echo.sendto(bytes.fromhex("0800f7ff00000000"), (sys.argv[1], 0))
end = time.monotonic() + float(sys.argv[3])
while time.monotonic() < end:
    echo.settimeout(max(0.01, end - time.monotonic()))
    packet, sender = echo.recvfrom(100)
    if sender[0] == sys.argv[1] and packet[20] == 0:
        sys.exit(0)
sys.exit(1)
"""


class Namespace:
    """A network namespace, held by a process that does nothing; root's own, or one of a user namespace."""

    def __init__(self, inside: Namespace | None = None) -> None:
        line = ["unshare", "--net", "sleep", "infinity"]
        if inside is None and os.geteuid() != 0:
            line[1:1] = ["--user", "--map-root-user"]
        self.user = inside.user if inside else ([] if os.geteuid() == 0 else ["--user", "--preserve-credentials"])
        self.holder = subprocess.Popen(inside.line(line) if inside else line, stdin=subprocess.DEVNULL)
        self.proc = Path(f"/proc/{self.holder.pid}")
        deadline = time.monotonic() + 10
        while (self.proc / "comm").read_text() != "sleep\n":
            assert self.holder.poll() is None, "no network namespace can be made here"
            assert time.monotonic() < deadline
            time.sleep(0.01)
        self.run("ip", "link", "set", "lo", "up")

    def line(self, line: Sequence[str]) -> list[str]:
        """Return the command line that runs another one inside."""
        return ["nsenter", f"--target={self.holder.pid}", "--net", *self.user, "--", *line]

    def run(self, *line: str, stdin: str | None = None) -> str:
        done = subprocess.run(self.line(line), check=False, capture_output=True, text=True, input=stdin)
        assert done.returncode == 0, f"{line}: {done.stderr}"
        return done.stdout

    def join(self, host: Namespace, bridge: str, name: str, address: str) -> None:
        """Lead a cable from this namespace to a bridge of the host's, or to the host itself where that is empty."""
        host.run("ip", "link", "add", name, "type", "veth", "peer", "name", "eth0", "netns", str(self.holder.pid))
        host.run("ip", "link", "set", name, *(["master", bridge] if bridge else []), "up")
        self.run("ip", "address", "add", address, "dev", "eth0")
        self.run("ip", "link", "set", "eth0", "up")

    def reaches(self, address: str, source: str = "", seconds: float = 0.7) -> bool:
        """Tell whether an address answers an echo request."""
        line = self.line([sys.executable, "-S", "-c", PING, address, source, str(seconds)])
        return subprocess.run(line, check=False, capture_output=True).returncode == 0

    def close(self) -> None:
        self.holder.kill()
        self.holder.wait()
