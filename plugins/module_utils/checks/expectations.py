# Copyright: cicd.sandbox contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a value is expected to be: a few operators, and in words how it differs."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Mapping
from typing import Any

from ansible_collections.cicd.sandbox.plugins.module_utils.checks.patterns import UndecidedError, matches

OPERATORS = ("equals", "contains", "matches", "gt", "gte", "lt", "lte")
_WORDS = {"gt": "greater than", "gte": "at least", "lt": "less than", "lte": "at most"}
_COMPARE: dict[str, Callable[[float, float], bool]] = {
    "gt": lambda value, limit: value > limit,
    "gte": lambda value, limit: value >= limit,
    "lt": lambda value, limit: value < limit,
    "lte": lambda value, limit: value <= limit,
}


@dataclasses.dataclass(frozen=True)
class Expectation:
    """Operators and their operands, all of which have to hold; without any, that there is a value (not null)."""

    operators: Mapping[str, Any]

    def problems(self, value: Any, until: float | None = None) -> list[str]:
        """Return how a value, of the types of JSON, differs from what is expected.

        until: moment of the monotonic clock when it has to be known.
        """
        if not self.operators:
            return [] if value is not None else ["is null or missing"]
        found = f"is {shown(value)}, expected "
        return [
            found + words
            for operator, operand in self.operators.items()
            if (words := _difference(operator, operand, value, until)) is not None
        ]


def shown(value: Any, width: int = 200) -> str:
    """Return a value as JSON, cut to a readable length."""
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= width else f"{text[: width - 1]}…"


def is_number(value: Any) -> bool:
    """Tell whether a value is a number; true and false are none."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def equal(one: Any, other: Any) -> bool:
    """Compare as JSON does: true is not 1, 1 is 1.0."""
    if isinstance(one, bool) or isinstance(other, bool):
        return one is other
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(equal, one, other))
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(equal(one[key], other[key]) for key in one)
    return bool(one == other)


def _difference(operator: str, operand: Any, value: Any, until: float | None) -> str | None:
    """Return what was expected where the value differs, None where it does not."""
    if operator == "equals":
        return None if equal(value, operand) else shown(operand)
    if operator == "contains":
        return None if _contains(value, operand) else f"to contain {shown(operand)}"
    if operator == "matches":
        text = value if isinstance(value, str) else shown(value, 2**31)
        try:
            return None if value is not None and matches(operand, text, until) else f"to match {operand!r}"
        except UndecidedError as exc:
            return f"to match; {exc}"
    wanted = f"{_WORDS[operator]} {operand:g}"
    return None if is_number(value) and _COMPARE[operator](value, operand) else wanted


def _contains(value: Any, operand: Any) -> bool:
    if isinstance(value, str):
        return isinstance(operand, str) and operand in value
    if isinstance(value, list):
        return any(equal(item, operand) for item in value)
    return isinstance(value, dict) and isinstance(operand, str) and operand in value
