# Copyright: cicd.sandbox contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""How slow the machine is: how fast one is changes with its neighbours, and a figure says nothing without it."""

from __future__ import annotations

import multiprocessing
import resource
import time

# What the fixed piece of work takes in a fast hour of the machine that goals were set for.
REFERENCE_SECONDS = 0.85


def work(_: int) -> int:
    """Be the fixed piece of work."""
    result = 0
    for number in range(12_000_000):
        result += number * number & 7
    return result


def slowness() -> tuple[float, float]:
    """How many times slower the machine is now than in a fast hour, by the clock and by the processors' own time.

    The fixed work is done on two cores at once; where other programs share them, only the clock shows it.
    """
    begun, before = time.monotonic(), resource.getrusage(resource.RUSAGE_CHILDREN)
    with multiprocessing.Pool(2) as pool:
        pool.map(work, range(2))
        elapsed = time.monotonic() - begun
        # Processes are counted once they have ended.
        pool.close()
        pool.join()
    spent = resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime - before.ru_utime
    return max(1.0, elapsed / REFERENCE_SECONDS), max(1.0, spent / 2 / REFERENCE_SECONDS)
