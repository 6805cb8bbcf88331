# Copyright: cicd.sandbox contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Latencies of several things side by side, as a table with ratios to the first."""

from __future__ import annotations

import statistics
from collections.abc import Mapping


def percentile(seconds: list[float], share: float) -> float:
    """The time that a share of requests did not exceed."""
    return sorted(seconds)[min(int(len(seconds) * share), len(seconds) - 1)]


def table(times: Mapping[str, list[float]]) -> list[str]:
    """A line for each: median and 99th percentile in milliseconds, and as ratios to those of the first.

    times: seconds of each request, of which there are some of each.
    """
    first = next(iter(times.values()))
    usual, slowest = statistics.median(first), percentile(first, 0.99)
    width = max(map(len, times))
    lines = []
    for name, seconds in times.items():
        median, slow = statistics.median(seconds), percentile(seconds, 0.99)
        usual, slowest = statistics.median(first), percentile(first, 0.99)
        shown = (
            f"median {median * 1000:6.2f} ms ({median / usual:.2f})   p99 {slow * 1000:6.2f} ms ({slow / slowest:.2f})"
        )
        lines.append(f"{name:{width}}   {shown}")
    return lines
