# Copyright: cicd.sandbox contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the kernel says in /proc."""

from __future__ import annotations

import os
import subprocess
import sys

from ansible_collections.cicd.sandbox.plugins.module_utils.host.proc import arguments, boot_id, memory_mb, start_ticks

MEMINFO = "MemFree: 1 kB\nMemTotal:       24576000 kB\nHugePages_Total:       7\n"


def test_memory_is_in_mib() -> None:
    assert memory_mb(MEMINFO, "MemTotal") == 24000
    assert memory_mb(MEMINFO, "MemAvailable") == 0
    assert memory_mb(MEMINFO, "HugePages_Total") == 0, "a count, not kB"
    assert memory_mb("", "MemTotal") == 0


def test_a_process_is_known_until_it_ends() -> None:
    program = [sys.executable, "-c", "print(); input()", "two words", ""]
    with subprocess.Popen(program, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"\n"
        assert arguments(process.pid)[-2:] == [b"two words", b""]
        started = start_ticks(process.pid)
        assert started is not None
        assert int(started) >= int(start_ticks(os.getpid()) or 0)
        process.kill()
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
        assert start_ticks(process.pid) is None, "only its exit code is left"
        assert arguments(process.pid) == []


def test_a_boot_has_one_name() -> None:
    assert len(boot_id()) == 36
    assert boot_id() == boot_id()
