"""What a person sees, in a real browser: the landing page and the website behind the local endpoint."""

from __future__ import annotations

import http.client
import re
from collections.abc import Iterator

import pytest
from browsing import LANDING, PORT, WEBSITE, chromium, flawless_page, screenshot
from playwright.sync_api import Browser, Page, expect


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as started:
        yield started


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    with flawless_page(browser) as opened:
        yield opened


def test_the_landing_page_says_what_stands(page: Page) -> None:
    page.goto(LANDING)
    expect(page.get_by_role("heading", level=1)).to_contain_text("Sandbox")
    for name in ("infra-1", "etcd-1", "cp-1", "worker-1", "worker-2"):
        expect(page.get_by_role("cell", name=name, exact=True)).to_be_visible()
    expect(page.get_by_text(re.compile(r"v1\.\d+\.\d+, Ready"))).to_have_count(3)
    expect(page.get_by_role("heading", name="Left out")).to_be_visible()
    screenshot(page, "landing-page")


def test_the_landing_page_leads_to_the_website(page: Page) -> None:
    page.goto(LANDING)
    page.get_by_role("link", name="Sample application").click()
    expect(page).to_have_url(WEBSITE)
    expect(page.get_by_role("table").first).to_be_visible()
    screenshot(page, "website")


def test_the_website_says_the_port_one_came_in_by(page: Page) -> None:
    page.goto(WEBSITE)
    expect(page.locator("p.door")).to_have_text(f"You came in through port {PORT} of website.localhost")
    addresses = page.locator("a").evaluate_all("links => links.map(link => link.href)")
    assert [address for address in addresses if not address.startswith(WEBSITE)] == [LANDING]


def asked_as(host: str, **headers: str) -> tuple[str, list[str]]:
    """Ask for the website by any name; return what it says of the port and where its links lead."""
    connection = http.client.HTTPConnection("127.0.0.1", int(PORT), timeout=10)
    connection.request("GET", "/", headers={"Host": host} | {key.replace("_", "-"): headers[key] for key in headers})
    answer = connection.getresponse()
    body = answer.read().decode()
    connection.close()
    assert answer.status == http.client.OK, body
    (door,) = re.findall(r'<p class="door">(.*?)</p>', body)
    return re.sub(r"<[^>]+>", "", door), re.findall(r'href="(https?:[^"]+)"', body)


@pytest.mark.parametrize("port", [PORT, "9999"])
def test_links_keep_the_port_whichever_it_is(port: str) -> None:
    """As where a second endpoint leads to the same website."""
    said, links = asked_as(f"website.localhost:{port}")
    assert said == f"You came in through port {port} of website.localhost"
    assert links == [f"http://sandbox.localhost:{port}/"]


def test_a_visitor_cannot_forge_where_they_came_in() -> None:
    """The website believes the load balancer, which must not pass on what visitors say of proxies."""
    forged = {"X_Forwarded_Host": "forged.example:1", "X_Forwarded_Proto": "https", "X_Forwarded_Port": "1"}
    host = f"website.localhost:{PORT}"
    assert asked_as(host, **forged) == asked_as(host)


def test_the_website_needs_no_javascript(browser: Browser) -> None:
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(WEBSITE)
    expect(page.get_by_role("table").first).to_be_visible()
    context.close()


@pytest.mark.parametrize("address", [LANDING, WEBSITE])
def test_a_phone_need_not_scroll_sideways(browser: Browser, address: str) -> None:
    context = browser.new_context(viewport={"width": 360, "height": 740})
    page = context.new_page()
    page.goto(address)
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
    screenshot(page, "phone-" + ("landing-page" if address == LANDING else "website"))
    context.close()
