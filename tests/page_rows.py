# Copyright: cicd.sandbox contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the standing sandbox's website shows."""

from __future__ import annotations

import os
import re
import urllib.request

PORT = os.environ.get("SANDBOX_LOCAL_ENDPOINT_PORT", "8080")


def rows(symbol: str) -> list[str]:
    """Return the rows of a symbol in the website's table, as HTML."""
    url = f"http://127.0.0.1:{PORT}/?symbol={symbol}"
    request = urllib.request.Request(url, headers={"Host": f"website.localhost:{PORT}"})
    with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=10) as answer:
        page = answer.read().decode()
    return re.findall(r'<th scope="row">.*?</tr>', page, re.DOTALL)
