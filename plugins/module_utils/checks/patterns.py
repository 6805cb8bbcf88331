# Copyright: cicd.sandbox contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Regular expressions of a user's on texts of anybody's, bounded in time.

Python's engine tries all ways in which a text may fit, for some expressions more of them than there is time for, keeps
all other threads waiting meanwhile and can't be interrupted. A process of its own can.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import time

# Seconds where nobody says until when, and those that a process needs to be begun at all.
PATIENCE = 5.0
_LEAST = 0.5
# Without these an expression fits in one way, or in none.
_REPEATS_OR_CHOOSES = re.compile(r"[*+?{|]")
# Ends by itself, also where nobody is there any more to end it: the default of SIGALRM.
_PROGRAM = """
import json, re, signal, sys
signal.signal(signal.SIGALRM, signal.SIG_DFL)
signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGALRM])
pattern, text, seconds = json.load(sys.stdin)
signal.setitimer(signal.ITIMER_REAL, seconds)
sys.stdout.write("yes" if re.search(pattern, text) else "no")
"""


class UndecidedError(Exception):
    """Whether a text matches was not found out in time; the text says so, and what to do."""


def matches(pattern: str, text: str, until: float | None = None) -> bool:
    """Tell whether an expression, one that can be compiled, is found in a text.

    until: moment of the monotonic clock when the answer has to be there. Raises UndecidedError.
    """
    if not _REPEATS_OR_CHOOSES.search(pattern):
        return re.search(pattern, text) is not None
    left = PATIENCE if until is None else until - time.monotonic()
    if left <= 0:
        raise UndecidedError(f"{pattern!r} was not looked at: no time was left")
    limit = max(_LEAST, left)
    line = [sys.executable, "-I", "-S", "-c", _PROGRAM]
    try:
        run = subprocess.run(
            line, input=json.dumps([pattern, text, limit]).encode(), check=False, capture_output=True, timeout=limit
        )
    except subprocess.TimeoutExpired:
        answer = b""
    else:
        answer = run.stdout
    if answer not in {b"yes", b"no"}:
        raise UndecidedError(
            f"{pattern!r} was not found out within {limit:.3g} s on a text of {len(text)} characters: write it so that"
            " there is one way to match, without a repetition of what repeats"
        )
    return answer == b"yes"
