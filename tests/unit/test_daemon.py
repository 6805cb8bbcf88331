# Copyright: cicd.sandbox contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Programs in the background: started once, known again, ended; a process id alone proves nothing."""

from __future__ import annotations

import json
import os
import signal
import socket
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from ansible.module_utils.testing import patch_module_args
from ansible_collections.cicd.sandbox.plugins.module_utils.host.daemon import (
    Daemon,
    DaemonError,
    address_of,
    detach,
)
from ansible_collections.cicd.sandbox.plugins.module_utils.host.proc import start_ticks
from ansible_collections.cicd.sandbox.plugins.modules import daemon as module

SERVER = """
import socket, sys, time
with socket.create_server(("127.0.0.1", int(sys.argv[1]))):
    time.sleep(60)
"""
SLEEP = [sys.executable, "-c", "import time; time.sleep(60)"]


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[Daemon]:
    one = Daemon(tmp_path, "endpoint")
    yield one
    one.stop(timeout=5)


@pytest.fixture
def port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        number: int = server.getsockname()[1]
    return number


def test_starts_waits_and_ends(daemon: Daemon, port: int) -> None:
    address = f"127.0.0.1:{port}"
    started = daemon.start([sys.executable, "-c", SERVER, str(port)], [address], timeout=10)
    assert daemon.running() == started
    socket.create_connection(("127.0.0.1", port), timeout=1).close()
    daemon.stop(timeout=5)
    assert daemon.running() is None
    assert start_ticks(started.pid) is None
    assert not daemon.record.exists()


def test_ends_what_does_not_want_to_end(daemon: Daemon, port: int) -> None:
    stubborn = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN)\n" + SERVER
    started = daemon.start([sys.executable, "-c", stubborn, str(port)], [f"127.0.0.1:{port}"], timeout=10)
    daemon.stop(timeout=3)
    assert start_ticks(started.pid) is None


def test_a_killed_program_does_not_run(daemon: Daemon) -> None:
    started = daemon.start(SLEEP, [], timeout=5)
    os.kill(started.pid, signal.SIGKILL)
    os.waitpid(started.pid, 0)
    assert daemon.running() is None


@pytest.mark.parametrize(("key", "value"), [("start", "1"), ("boot", "another")])
def test_another_process_with_its_id_is_not_it(daemon: Daemon, key: str, value: str) -> None:
    started = daemon.start(SLEEP, [], timeout=5)
    record = daemon.record.read_text()
    daemon.record.write_text(json.dumps({**json.loads(record), key: value}))
    assert daemon.running() is None
    daemon.stop(timeout=1)
    assert start_ticks(started.pid) == started.start, "it ended a process that is not its own"
    daemon.record.write_text(record)


def test_a_broken_record_is_none(daemon: Daemon) -> None:
    daemon.record.write_text('{"pid":')
    assert daemon.running() is None


def test_says_when_the_address_is_taken(daemon: Daemon) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"127.0.0.1:{server.getsockname()[1]}"
        with pytest.raises(DaemonError, match=f"already listens on {address}"):
            daemon.start(SLEEP, [address], timeout=5)
    assert not daemon.record.exists()


def test_says_what_a_program_that_ended_wrote(daemon: Daemon, port: int) -> None:
    with pytest.raises(DaemonError, match="ended with 3:\nno such port"):
        daemon.start(["sh", "-c", "echo no such port; exit 3"], [f"127.0.0.1:{port}"], timeout=5)
    assert not daemon.record.exists()


def test_ends_a_program_that_stays_silent(daemon: Daemon, port: int) -> None:
    with pytest.raises(DaemonError, match=f"did not listen on 127.0.0.1:{port}"):
        daemon.start(SLEEP, [f"127.0.0.1:{port}"], timeout=0.3)
    assert daemon.running() is None


def test_reads_addresses() -> None:
    assert address_of("127.0.0.1:80") == ("127.0.0.1", 80)
    assert address_of("[::1]:8080") == ("::1", 8080)
    for text in ("80", ":80", "127.0.0.1:http"):
        with pytest.raises(DaemonError, match="is not <address>:<port>"):
            address_of(text)


def test_work_goes_on_without_who_started_it(tmp_path: Path) -> None:
    log = tmp_path / "log/work"

    def work(announce: Callable[[str], None]) -> None:
        announce(f"{os.getpid()} {os.getsid(0)} {Path.cwd()}")
        os.write(1, b"said\n")
        (tmp_path / "done").write_text("x")

    pid, session, directory = detach(work, log).split()
    assert int(pid) != os.getpid()
    assert int(session) not in {os.getsid(0), int(pid)}, "it could get a terminal again"
    assert directory == "/"
    deadline = time.monotonic() + 10
    while start_ticks(int(pid)) is not None and time.monotonic() < deadline:
        time.sleep(0.02)
    assert log.read_text() == "said\n"
    assert (tmp_path / "done").stat().st_mode & 0o777 == 0o644


def test_work_that_does_not_begin_announces_nothing(tmp_path: Path) -> None:
    def work(_announce: Callable[[str], None]) -> None:
        raise ValueError("no such thing")

    assert detach(work, tmp_path / "log") == ""


def run(capsys: pytest.CaptureFixture[str], **arguments: Any) -> dict[str, Any]:
    with patch_module_args(arguments), pytest.raises(SystemExit):
        module.main()
    result: dict[str, Any] = json.loads(capsys.readouterr().out)
    return result


def test_the_module_starts_once_changes_and_ends(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments: dict[str, Any] = {"name": "endpoint", "directory": str(tmp_path), "argv": SLEEP}
    assert run(capsys, **arguments, _ansible_check_mode=True)["changed"]
    assert not (tmp_path / "endpoint.json").exists()
    first = run(capsys, **arguments)
    assert first["changed"]
    second = run(capsys, **arguments)
    assert not second["changed"]
    assert second["pid"] == first["pid"]
    other = run(capsys, **{**arguments, "argv": [*SLEEP, "other"]})
    assert other["changed"]
    assert start_ticks(first["pid"]) is None
    ended = run(capsys, name="endpoint", directory=str(tmp_path), state="absent")
    assert ended["changed"]
    assert not run(capsys, name="endpoint", directory=str(tmp_path), state="absent")["changed"]
    assert start_ticks(other["pid"]) is None


def test_the_module_fails_with_the_programs_words(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    result = run(capsys, name="endpoint", directory=str(tmp_path), argv=["/no/such/program"])
    assert result["failed"]
    assert "endpoint" in result["msg"]
    assert "/no/such/program" in result["msg"]
