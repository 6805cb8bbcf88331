# Copyright: cicd.sandbox contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The standing sandbox's pages as tests ask for them: by the local endpoint, as a browser does, never by a proxy."""

from __future__ import annotations

import base64
import http
import json
import os
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Mapping
from typing import Any, NamedTuple

from live_cluster import STATE

PORT = os.environ.get("SANDBOX_LOCAL_ENDPOINT_PORT", "8080")


class Answer(NamedTuple):
    """Status, headers by their names in small letters, and body."""

    status: int
    headers: dict[str, str]
    text: str


def ask(
    page: str, path: str = "/", headers: Mapping[str, str] | None = None, content: bytes | None = None, **form: str
) -> Answer:
    """What a page answers, whatever it is, to who has the login of the pages; content or a form is posted."""
    answer = ask_unknown(page, path, headers, content, **form)
    if (
        answer.status != http.HTTPStatus.UNAUTHORIZED
        or "basic" not in answer.headers.get("www-authenticate", "").lower()
    ):
        return answer
    return ask_unknown(page, path, {**(headers or {}), "Authorization": authorization()}, content, **form)


def authorization(user: str = "sandbox", password: str | None = None) -> str:
    """What a browser sends with the login of the pages."""
    word = password or (STATE / "secrets/pages-password").read_text().strip()
    return f"Basic {base64.b64encode(f'{user}:{word}'.encode()).decode()}"


def ask_unknown(
    page: str, path: str = "/", headers: Mapping[str, str] | None = None, content: bytes | None = None, **form: str
) -> Answer:
    """The same without a login."""
    content = urllib.parse.urlencode(form).encode() if form else content
    sent = {"Host": f"{page}.localhost:{PORT}", **(headers or {})}
    request = urllib.request.Request(f"http://127.0.0.1:{PORT}{path}", content, sent)
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        answer = opener.open(request, timeout=30)
    except urllib.error.HTTPError as error:
        answer = error
    with answer:
        names = {name.lower(): value for name, value in answer.headers.items()}
        return Answer(answer.status, names, answer.read().decode())


def shown(page: str, path: str = "/", **form: str) -> str:
    """The body of a page that is there."""
    answer = ask(page, path, **form)
    assert answer.status == 200, answer
    return answer.text


def prometheus(path: str, **query: str) -> Any:
    """What Prometheus answers at a path of its API."""
    answer = json.loads(shown("prometheus", f"/api/v1/{path}" + (f"?{urllib.parse.urlencode(query)}" if query else "")))
    assert answer["status"] == "success", answer
    return answer["data"]


def series(expression: str) -> list[dict[str, Any]]:
    """Series with their values of now."""
    found: list[dict[str, Any]] = prometheus("query", query=expression)["result"]
    return found
