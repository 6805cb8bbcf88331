# Copyright: cicd.sandbox contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Pages that have no login of their own, as who has none finds them, and who has one."""

from __future__ import annotations

import pytest
from live_cluster import get
from live_pages import ask, ask_unknown, authorization

OWN = "cicd.sandbox/login"


def pages() -> dict[str, bool]:
    """First label of each page's host → whether its route says that the gateway asks for a login."""
    routes = get("httproutes", "--all-namespaces")["items"]
    return {
        route["spec"]["hostnames"][0].partition(".")[0]: route["metadata"].get("annotations", {}).get(OWN) == "true"
        for route in routes
    }


def test_what_tells_of_everything_asks_for_a_login() -> None:
    found = pages()
    assert {name for name, asks in found.items() if asks} >= {"prometheus", "alerts", "logs", "traces", "kiali"}
    assert not found["website"]


@pytest.mark.parametrize(
    ("page", "path"),
    [("prometheus", "/query"), ("alerts", "/"), ("logs", "/select/vmui/"), ("traces", "/"), ("kiali", "/")],
)
def test_who_has_no_login_sees_nothing(page: str, path: str) -> None:
    answer = ask_unknown(page, path)
    assert answer.status == 401
    assert answer.headers["www-authenticate"].startswith("Basic")
    for wrong in (authorization(password="wrong"), authorization(user="admin"), "Bearer x", "Basic"):
        assert ask_unknown(page, path, {"Authorization": wrong}).status == 401, wrong
    assert ask(page, path).status == 200


def test_nobody_is_asked_at_the_website() -> None:
    assert ask_unknown("website").status == 200
