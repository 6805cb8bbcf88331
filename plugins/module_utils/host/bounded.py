# Copyright: cicd.sandbox contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Calls that may last longer than anybody waits for them: what asks a name server can't be interrupted."""

from __future__ import annotations

import threading
from collections.abc import Callable
from types import TracebackType
from typing import Generic, TypeVar

Value = TypeVar("Value")


class _Kept(Generic[Value]):
    """What a call returned, or raised."""

    def __init__(self) -> None:
        self.values: list[Value] = []
        self.error: BaseException | None = None

    def __enter__(self) -> _Kept[Value]:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> bool:
        self.error = error
        return True


def within(seconds: float, function: Callable[[], Value]) -> Value:
    """Return what a function returns, or raise what it raises.

    TimeoutError after ``seconds``: the function goes on alone then, in a thread that no process waits for at its end.
    """
    kept: _Kept[Value] = _Kept()

    def call() -> None:
        with kept:
            kept.values.append(function())

    thread = threading.Thread(target=call, daemon=True)
    thread.start()
    thread.join(max(0.0, seconds))
    if thread.is_alive():
        raise TimeoutError
    error, kept.error = kept.error, None
    if error is not None:
        try:
            raise error
        finally:
            # An error knows its frames. One that knows the error would keep all that is open in them.
            del error
    return kept.values[0]
