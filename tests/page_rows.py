# Copyright: cicd.sandbox contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the standing sandbox's website shows."""

from __future__ import annotations

import re

from live_pages import shown


def rows(symbol: str) -> list[str]:
    """Return the rows of a symbol in the website's table, as HTML."""
    return re.findall(r'<th scope="row">.*?</tr>', shown("website", f"/?symbol={symbol}"), re.DOTALL)
