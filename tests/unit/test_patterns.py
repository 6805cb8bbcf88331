# Copyright: cicd.sandbox contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Regular expressions on texts of anybody's, bounded in time."""

from __future__ import annotations

import threading
import time

import pytest
from ansible_collections.cicd.sandbox.plugins.module_utils.checks.patterns import UndecidedError, matches

EXPLODING = [
    ("(a+)+$", "a" * 50 + "!"),
    (r"^(\d+)*[a-z]$", "1" * 60),
    ("(a|a)*b", "a" * 60),
    (r"\s+$", " " * 400_000 + "x"),
    ("^(([a-z])+.)+[A-Z]([a-z])+$", "a" * 60),
]


@pytest.mark.parametrize(
    ("pattern", "text", "found"),
    [
        ("A.ME", "ACME", True),
        ("^b", "abc", False),
        ("^[A-Z]+$", "ACME", True),
        ("(?im)^x{2}$", "a\nXX\n", True),
        ("(a+)+$", "aaaa", True),
        ("ü\ud800?$", "grün, ü", True),
        ("a|b", "c", False),
        ("", "", True),
    ],
)
def test_found_or_not(pattern: str, text: str, found: bool) -> None:
    assert matches(pattern, text) is found


@pytest.mark.parametrize(("pattern", "text"), EXPLODING)
def test_one_that_explodes_ends_in_time(pattern: str, text: str) -> None:
    begin = time.monotonic()
    with pytest.raises(UndecidedError, match=r"was not found out within 0\.5 s on a text of"):
        matches(pattern, text, time.monotonic() + 0.1)
    assert time.monotonic() - begin < 3


def test_others_go_on_meanwhile() -> None:
    """Python's own engine would keep all threads waiting."""
    ended = threading.Event()

    def explode() -> None:
        with pytest.raises(UndecidedError):
            matches(*EXPLODING[0], time.monotonic() + 1.5)
        ended.set()

    thread = threading.Thread(target=explode)
    thread.start()
    assert matches("^a+$", "aaa")
    assert not ended.is_set()
    thread.join()
    assert ended.is_set()


def test_no_time_is_left() -> None:
    with pytest.raises(UndecidedError, match="no time was left"):
        matches("a+", "a", time.monotonic() - 1)
