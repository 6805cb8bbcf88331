# Copyright: cicd.sandbox contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""How much of the processors what makes an entry gets: niceness, which changes while its tools run."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator

from ansible_collections.cicd.sandbox.plugins.module_utils.host.proc import descendants, threads

BEHIND = 19
ROUNDS = 5


class Effort:
    """The niceness of all tools that are run with it, and of what these have started."""

    def __init__(self, niceness: int = 10) -> None:
        self.niceness = niceness
        self._running: set[int] = set()

    @contextlib.contextmanager
    def of(self, pid: int) -> Iterator[None]:
        """Count a process, started with this niceness, among those that it is changed for."""
        self._running.add(pid)
        try:
            yield
        finally:
            self._running.discard(pid)

    def change(self, niceness: int) -> None:
        """Give all that runs another niceness. A lower one needs root; without it nothing gets faster."""
        if niceness == self.niceness:
            return
        self.niceness = niceness
        for pid in tuple(self._running):
            known: set[int] = set()
            # What a process starts has its niceness, unless it was started a moment before that was changed.
            for _ in range(ROUNDS):
                found = {thread for process in descendants(pid) for thread in threads(process)}
                if not found - known:
                    break
                for thread in found - known:
                    with contextlib.suppress(PermissionError, ProcessLookupError):
                        os.setpriority(os.PRIO_PROCESS, thread, niceness)
                known |= found
