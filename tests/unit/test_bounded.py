# Copyright: cicd.sandbox contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Calls that nobody waits for to the end."""

from __future__ import annotations

import contextlib
import gc
import subprocess
import sys
import threading
import time
import weakref

import pytest
from ansible_collections.cicd.sandbox.plugins.module_utils.host import bounded
from ansible_collections.cicd.sandbox.plugins.module_utils.host.bounded import within


def test_returns_what_comes_in_time() -> None:
    assert within(10, lambda: 5) == 5
    assert within(10, lambda: None) is None


def test_raises_what_is_raised() -> None:
    with pytest.raises(ZeroDivisionError):
        within(10, lambda: 1 // 0)
    with pytest.raises(SystemExit):
        within(10, sys.exit)


def test_an_error_keeps_nothing_open() -> None:
    """What the function had is gone with its error, and not when the garbage collector comes."""

    class Thing:
        pass

    things: list[weakref.ref[Thing]] = []

    def fail() -> None:
        thing = Thing()
        things.append(weakref.ref(thing))
        raise OSError

    gc.disable()
    try:
        with contextlib.suppress(OSError):
            within(10, fail)
        assert things[0]() is None
    finally:
        gc.enable()


def test_ends_in_time() -> None:
    release = threading.Event()
    begin = time.monotonic()
    with pytest.raises(TimeoutError):
        within(0.1, lambda: release.wait(30))
    with pytest.raises(TimeoutError):
        within(-1, lambda: release.wait(30))
    assert time.monotonic() - begin < 5
    release.set()


def test_no_process_waits_for_it_at_its_end() -> None:
    code = f"import runpy; runpy.run_path({bounded.__file__!r})['within'](0.1, lambda: __import__('time').sleep(60))"
    done = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True, text=True, timeout=30)
    assert "TimeoutError" in done.stderr
