# Copyright: cicd.sandbox contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The HTML page in a real browser: 10,000 findings, filter, order, keyboard, phone, dark, and no script but its own."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.cicd.sandbox.plugins.module_utils.reports.gate import Policy, judge
from ansible_collections.cicd.sandbox.plugins.module_utils.reports.page import as_html
from ansible_collections.cicd.sandbox.plugins.module_utils.reports.reading import read_report
from ansible_collections.cicd.sandbox.plugins.module_utils.reports.waivers import read_waivers
from playwright.sync_api import sync_playwright

CHROMIUM = Path("/usr/bin/chromium")
ARGUMENTS = (
    "--no-sandbox", "--disable-quic", "--disable-background-networking", "--disable-component-update", "--disable-sync",
    "--no-first-run",
)  # fmt: skip
ATTACK = "<script>document.title='taken'</script><img src=x onerror=\"document.title='taken'\">"


def page_of(count: int) -> bytes:
    messages = [
        {
            "code": f"IST01{number % 20:02d}",
            "level": ("Error", "Warning", "Info")[number % 3],
            "origin": f"Service team-{number % 30}/service-{number}",
            "message": f"message {number}",
            "documentationUrl": "javascript:alert(1)" if number % 2 else "https://istio.io/latest/docs/",
        }
        for number in range(count)
    ]
    messages[0]["message"] = ATTACK
    waivers = read_waivers([{"rule": "IST0119", "reason": f"because {ATTACK}", "expires": "2099-01-01"}], "w")
    report = read_report("istioctl", json.dumps(messages), "x")
    return as_html(judge(report, Policy(waivers=waivers)))


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("page") / "report.html"
    path.write_bytes(page_of(10_000))
    return path.as_uri()


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    if not CHROMIUM.exists():
        pytest.fail(
            f"{CHROMIUM} is not there: `make tools` installs it (not where HELM_BINARY and HELM_DOCS_BINARY are set:"
            " then install your distribution's package chromium)",
            pytrace=False,
        )
    with sync_playwright() as running:
        chromium = running.chromium.launch(executable_path=CHROMIUM, args=list(ARGUMENTS))
        yield chromium
        chromium.close()


def test_ten_thousand_findings(browser: Any, address: str) -> None:
    page = browser.new_page(viewport={"width": 1280, "height": 900})
    wrong: list[str] = []
    asked: list[str] = []
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.on("console", lambda message: wrong.append(message.text))
    page.on("request", lambda request: asked.append(request.url))
    begun = time.monotonic()
    page.goto(address)
    page.wait_for_selector("#table tbody tr")
    # On a busy machine; alone it takes less than one.
    assert time.monotonic() - begun < 30
    assert asked == [address]

    shown = page.locator("#shown")
    rows = page.locator("#table tbody tr")
    assert shown.inner_text() == "10000 of 10000 findings."
    assert rows.count() == 100
    assert ATTACK in rows.first.inner_text()
    assert ATTACK in page.locator("section[aria-labelledby=waivers]").inner_text()
    assert page.title() == "istioctl report"
    assert page.locator("a[href^=javascript]").count() == 0
    assert page.locator("a").first.get_attribute("href") == "https://istio.io/latest/docs/"

    page.get_by_label("Search").fill("service-77 ")
    assert shown.inner_text() == "111 of 10000 findings."
    page.get_by_label("Search").fill("")
    page.get_by_label("Namespace").select_option(label="team-7")
    assert shown.inner_text() == "334 of 10000 findings."
    page.get_by_label("Namespace").select_option(label="all")
    page.get_by_label("Status").select_option("waived")
    assert shown.inner_text() == "500 of 10000 findings."
    page.get_by_label("Status").select_option(label="all")

    # By keyboard alone: the severity's box, the column's button, the next page.
    page.get_by_label("high", exact=True).focus()
    page.keyboard.press("Space")
    assert shown.inner_text() == "6666 of 10000 findings."
    page.get_by_role("button", name="Severity").focus()
    page.keyboard.press("Enter")
    assert page.locator("#table th").first.get_attribute("aria-sort") == "descending"
    assert rows.first.inner_text().startswith("info")
    page.get_by_role("button", name="Next").focus()
    page.keyboard.press("Enter")
    assert page.locator("#page").inner_text() == "Page 2 of 67"
    assert wrong == []
    assert_on_one_line(page)
    page.close()


def assert_on_one_line(page: Any) -> None:
    """A number or a word that is broken up can't be read."""
    lines = ".bars .number, #table thead button, #table tbody a"
    boxes = [item.bounding_box() for item in page.locator(lines).all() if item.is_visible()]
    assert max(box["height"] for box in boxes if box) < 40


def test_phone_and_dark(browser: Any, address: str) -> None:
    colours = []
    for scheme in ("light", "dark"):
        context = browser.new_context(viewport={"width": 360, "height": 740}, color_scheme=scheme)
        page = context.new_page()
        page.goto(address)
        page.wait_for_selector("#table tbody tr")
        # Nothing has to be scrolled sideways.
        assert page.evaluate("document.documentElement.scrollWidth") <= 360
        assert_on_one_line(page)
        colours.append(page.evaluate("getComputedStyle(document.body).backgroundColor"))
        context.close()
    assert len(set(colours)) == 2
