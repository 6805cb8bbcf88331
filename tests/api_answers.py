# Copyright: cicd.sandbox contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the API answered while something happened to its servers."""

from __future__ import annotations

import itertools
import json
import os
from dataclasses import dataclass
from pathlib import Path

STATE = Path(os.environ["SANDBOX_STATE_DIRECTORY"])
# Until the load balancer has found out, a connection may wait as long for a control plane that is gone.
LONGEST = 2.5


@dataclass(frozen=True)
class Answer:
    """When a question was asked and answered, in seconds since 1970, and its problem, "" where there was none."""

    asked: float
    answered: float
    problem: str


def read(name: str) -> list[Answer]:
    return [Answer(**json.loads(line)) for line in (STATE / name).read_text().splitlines()]


def gaps(answers: list[Answer], begin: float, end: float) -> list[float]:
    """Seconds between good answers of a time, its two ends included, the longest first."""
    good = [entry.answered for entry in answers if not entry.problem and begin < entry.asked < end]
    return sorted((later - earlier for earlier, later in itertools.pairwise([begin, *good, end])), reverse=True)


def problems(answers: list[Answer]) -> list[str]:
    return [entry.problem for entry in answers if entry.problem]
