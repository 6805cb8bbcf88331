# Copyright: cicd.sandbox contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Values and what they are expected to be."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.cicd.sandbox.plugins.module_utils.checks.expectations import Expectation, equal, shown


@pytest.mark.parametrize(
    ("operators", "value"),
    [
        ({}, 0),
        ({}, ""),
        ({"equals": 1}, 1.0),
        ({"equals": {"a": [1, None]}}, {"a": [1, None]}),
        ({"equals": None}, None),
        ({"contains": "b"}, "abc"),
        ({"contains": 2}, [1, 2]),
        ({"contains": "a"}, {"a": 1}),
        ({"matches": "^[A-Z]+$"}, "ACME"),
        ({"matches": '"a": 1'}, {"a": 1}),
        ({"gt": 1, "lt": 2}, 1.5),
        ({"gte": 1, "lte": 1}, 1),
    ],
)
def test_holds(operators: dict[str, Any], value: Any) -> None:
    assert Expectation(operators).problems(value) == []


@pytest.mark.parametrize(
    ("operators", "value", "problems"),
    [
        ({}, None, ["is null or missing"]),
        ({"equals": 1}, True, ["is true, expected 1"]),
        ({"equals": "1"}, 1, ['is 1, expected "1"']),
        ({"equals": [1]}, [True], ["is [true], expected [1]"]),
        ({"equals": {"a": 1}}, {"a": 1, "b": 2}, ['is {"a": 1, "b": 2}, expected {"a": 1}']),
        ({"contains": "x"}, "abc", ['is "abc", expected to contain "x"']),
        ({"contains": 1}, [True], ["is [true], expected to contain 1"]),
        ({"contains": 1}, 1, ["is 1, expected to contain 1"]),
        ({"matches": "^b"}, "abc", ["is \"abc\", expected to match '^b'"]),
        ({"matches": ".*"}, None, ["is null, expected to match '.*'"]),
        ({"gt": 1}, 1, ["is 1, expected greater than 1"]),
        ({"gt": 5, "lt": 1.5}, 2, ["is 2, expected greater than 5", "is 2, expected less than 1.5"]),
        ({"gte": 1}, "2", ['is "2", expected at least 1']),
        ({"lte": 1}, False, ["is false, expected at most 1"]),
    ],
)
def test_differs(operators: dict[str, Any], value: Any, problems: list[str]) -> None:
    assert Expectation(operators).problems(value) == problems


def test_long_values_are_cut() -> None:
    assert len(shown("x" * 1000)) == 200


def test_lists_are_equal_item_by_item() -> None:
    assert equal([1, {"a": True}], [1.0, {"a": True}])
    assert not equal([1], [1, 2])
