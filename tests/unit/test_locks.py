# Copyright: cicd.sandbox contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Locks on files, which end with their holders."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

from ansible_collections.cicd.sandbox.plugins.module_utils.host.locks import held, is_held


def test_a_lock_ends_with_its_holder(tmp_path: Path) -> None:
    lock = tmp_path / "lock"
    assert not is_held(lock)
    assert not lock.exists()
    code = f"""
        import sys, time
        sys.path.insert(0, {str(tmp_path)!r})
        import fcntl
        stream = open({str(lock)!r}, "a+")
        fcntl.flock(stream, fcntl.LOCK_EX)
        print("held", flush=True)
        time.sleep(60)
    """
    with subprocess.Popen([sys.executable, "-c", textwrap.dedent(code)], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        assert is_held(lock)
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert not is_held(lock)
    with held(lock):
        assert is_held(lock)
        assert lock.read_text() == f"{os.getpid()}\n"
