# Copyright: cicd.sandbox contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A real browser before the sandbox's pages."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, BrowserContext, Page, sync_playwright

PORT = os.environ.get("SANDBOX_LOCAL_ENDPOINT_PORT", "8080")
STATE = Path(os.environ.get("SANDBOX_STATE_DIRECTORY", Path.home() / ".local/state/cicd-sandbox/dev"))
SCREENSHOTS = STATE / "reports/screenshots"
LANDING = f"http://sandbox.localhost:{PORT}/"
WEBSITE = f"http://website.localhost:{PORT}/"
# Nothing of Chromium's own may look for a network that is not there.
FLAGS = [
    "--no-sandbox",
    "--disable-quic",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
]
# Where nothing helps it to draw, what moves while a page waits takes the time of those that it waits for.
STILL = """
addEventListener("DOMContentLoaded", () => {
  const style = document.createElement("style");
  style.textContent = "* { animation: none !important; transition: none !important }";
  document.head.append(style);
});
"""


@contextmanager
def chromium() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=FLAGS)
        yield browser
        browser.close()


def still_context(browser: Browser, **options: Any) -> BrowserContext:
    """A context of a user's own, with room for an application, on whose pages nothing moves."""
    context = browser.new_context(viewport={"width": 1400, "height": 1000}, locale="en-GB", **options)
    context.add_init_script(STILL)
    return context


@contextmanager
def flawless_page(browser: Browser) -> Iterator[Page]:
    """A page none of whose scripts may fail, or be refused by the content security policy."""
    context = browser.new_context(viewport={"width": 1200, "height": 900})
    errors: list[str] = []
    page = context.new_page()
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.on("console", lambda message: errors.append(message.text) if "Content Security" in message.text else None)
    yield page
    context.close()
    assert errors == []


def screenshot(page: Page, name: str) -> None:
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    page.screenshot(path=SCREENSHOTS / f"{name}.png", full_page=True)
