# Copyright: cicd.sandbox contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Work and programs in the background, on a host with or without systemd; no Ansible in here.

A program that was started is remembered in ``<directory>/<name>.json``: process id, the moment it started (in clock
ticks after boot, field 22 of proc(5)'s ``stat``), the boot and the command line. A process id alone proves nothing:
another process may have it after a reboot.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from ansible_collections.cicd.sandbox.plugins.module_utils.host.proc import boot_id, start_ticks

POLL = 0.05


class DaemonError(Exception):
    """A program could not be started or ended; the message says why."""


@dataclass(frozen=True)
class Running:
    """What is remembered of a program that was started."""

    pid: int
    start: str
    boot: str
    argv: tuple[str, ...]


def address_of(text: str) -> tuple[str, int]:
    """Split ``127.0.0.1:80`` or ``[::1]:80``.

    Raises:
        DaemonError: the text is no address with a port.
    """
    host, _, port = text.rpartition(":")
    if not host or not port.isdigit():
        raise DaemonError(f"{text!r} is not <address>:<port>")
    return host.strip("[]"), int(port)


def accepts(address: tuple[str, int]) -> bool:
    """Tell whether something accepts connections there."""
    with suppress(OSError), socket.create_connection(address, timeout=1):
        return True
    return False


def detach(work: Callable[[Callable[[str], None]], None], log: Path) -> str:
    """Run ``work`` in a process that outlives this one and leads a session of its own; return what it announces.

    ``work`` is given a function that it calls once, with one text: that it has begun, or why it can't. "" is returned
    where it ended without. What it prints is added to ``log``; files that it makes can be read by all.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.setsid()
            if os.fork() == 0:
                os.close(reader)
                _settle(log)

                def announce(text: str) -> None:
                    os.write(writer, text.encode())
                    os.close(writer)

                work(announce)
        finally:
            # Nothing above may run on in this copy of the process.
            if sys.exc_info()[1] is not None:
                traceback.print_exc()
            os._exit(0)
    os.close(writer)
    os.waitpid(child, 0)
    with os.fdopen(reader) as stream:
        return stream.read()


def _settle(log: Path) -> None:
    """Leave terminal, directory and standard streams of who started this process."""
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    os.chdir("/")
    os.umask(0o022)
    log.parent.mkdir(parents=True, exist_ok=True)
    output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    null = os.open(os.devnull, os.O_RDONLY)
    for descriptor, source in ((0, null), (1, output), (2, output)):
        os.dup2(source, descriptor)


class Daemon:
    """One program, known by its name in a directory of such files."""

    def __init__(self, directory: Path, name: str) -> None:
        self.record = directory / f"{name}.json"
        self.log = directory / f"{name}.log"

    def running(self) -> Running | None:
        """Return the program that was started, where it still runs."""
        try:
            data = json.loads(self.record.read_text())
            found = Running(int(data["pid"]), str(data["start"]), str(data["boot"]), tuple(data["argv"]))
        except (FileNotFoundError, ValueError, KeyError, TypeError):
            return None
        return found if found.boot == boot_id() and found.start == start_ticks(found.pid) else None

    def start(self, argv: Sequence[str], listens_on: Sequence[str], timeout: float) -> Running:
        """Start the program and return when it accepts connections on all addresses.

        Raises:
            DaemonError: an address is taken, or the program ended or stayed silent; with its last words.
        """
        addresses = [address_of(text) for text in listens_on]
        for text, address in zip(listens_on, addresses, strict=True):
            if accepts(address):
                raise DaemonError(f"another program already listens on {text}; end it or choose another port")
        self.record.parent.mkdir(parents=True, exist_ok=True)
        with self.log.open("wb") as log:
            process = subprocess.Popen(
                list(argv), stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd="/", start_new_session=True
            )
        started = Running(process.pid, start_ticks(process.pid) or "", boot_id(), tuple(argv))
        self.record.write_text(json.dumps(asdict(started)) + "\n")
        deadline = time.monotonic() + timeout
        pending = list(addresses)
        while process.poll() is None:
            pending = [address for address in pending if not accepts(address)]
            if not pending:
                # It outlives this process: nobody here waits for its end.
                process.returncode = 0
                return started
            if time.monotonic() > deadline:
                said = self._said()
                self.stop(timeout=5)
                process.poll()
                raise DaemonError(f"{argv[0]} did not listen on {', '.join(listens_on)} in {timeout:.0f} s{said}")
            time.sleep(POLL)
        self.record.unlink()
        raise DaemonError(f"{argv[0]} ended with {process.returncode}{self._said()}")

    def stop(self, timeout: float) -> None:
        """End the program, hard when it does not end in time, and forget it.

        Raises:
            DaemonError: it could not be ended.
        """
        running = self.running()
        if running is not None:
            for number in (signal.SIGTERM, signal.SIGKILL):
                with suppress(ProcessLookupError):
                    os.kill(running.pid, number)
                deadline = time.monotonic() + timeout
                while start_ticks(running.pid) == running.start and time.monotonic() < deadline:
                    time.sleep(POLL)
            if start_ticks(running.pid) == running.start:
                raise DaemonError(f"process {running.pid} ({running.argv[0]}) does not end")
        self.record.unlink(missing_ok=True)
        self.log.unlink(missing_ok=True)

    def _said(self) -> str:
        """Return the program's last words, for the end of a message."""
        lines = self.log.read_text(errors="replace").splitlines()[-10:]
        return ":\n" + "\n".join(lines) if lines else " and wrote nothing"
