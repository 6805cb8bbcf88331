# Copyright: cicd.sandbox contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Programs of a host that are asked something, where no answer is an answer too."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Sequence

# Runs a command line: exit code and output.
Run = Callable[[Sequence[str]], tuple[int, str]]


def within(seconds: float) -> Run:
    """Return what runs a command line to its end: 127 where there is no such program, 124 where it takes longer."""

    def run(line: Sequence[str]) -> tuple[int, str]:
        try:
            done = subprocess.run(line, check=False, capture_output=True, text=True, errors="replace", timeout=seconds)
        except FileNotFoundError:
            return 127, ""
        except subprocess.TimeoutExpired:
            return 124, ""
        return done.returncode, done.stdout

    return run
