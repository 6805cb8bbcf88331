# Copyright: cicd.sandbox contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""How asking a server fails: all that Ansible's open_url, and reading what it returns, may raise."""

from __future__ import annotations

import zlib
from http.client import HTTPException

# ValueError: an address, also one that a server redirects to, that is none. The last two: an answer that is not
# compressed as it says.
FAILURES: tuple[type[Exception], ...] = (OSError, HTTPException, ValueError, EOFError, zlib.error)


def said_by(error: Exception) -> str:
    """Return why in words; an error may have none."""
    return " ".join(str(getattr(error, "reason", "") or error).split()) or type(error).__name__
