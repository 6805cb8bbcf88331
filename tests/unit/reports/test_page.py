# Copyright: cicd.sandbox contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The HTML pages in a real browser: 10,000 findings, filters, order, keyboard, phone, dark, no script but their own."""

from __future__ import annotations

import datetime as dt
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.cicd.sandbox.plugins.module_utils.reports.gate import Judgement, Policy, judge
from ansible_collections.cicd.sandbox.plugins.module_utils.reports.index import index_parts, read_entry
from ansible_collections.cicd.sandbox.plugins.module_utils.reports.page import as_html
from ansible_collections.cicd.sandbox.plugins.module_utils.reports.reading import read_report
from ansible_collections.cicd.sandbox.plugins.module_utils.reports.shared import as_json, read_baseline
from ansible_collections.cicd.sandbox.plugins.module_utils.reports.waivers import read_waivers
from playwright.sync_api import sync_playwright

FIXTURES = Path(__file__).parent / "fixtures"
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
    assert shown.inner_text() == "10,000 of 10,000 findings."
    assert rows.count() == 100
    assert ATTACK in rows.first.inner_text()
    assert ATTACK in page.locator("section[aria-labelledby=waivers]").inner_text()
    assert page.title() == "istioctl report: fail_on high: 0 critical, 3,167 high, 3,166 medium, 3,167 info; failed"
    assert page.locator("a[href^=javascript]").count() == 0
    assert page.locator("a").first.get_attribute("href") == "https://istio.io/latest/docs/"

    page.get_by_label("Search").fill("service-77 ")
    assert shown.inner_text() == "111 of 10,000 findings."
    page.get_by_label("Search").fill("warning of nothing")
    assert shown.inner_text() == "0 of 10,000 findings."
    assert rows.all_inner_texts() == ["No finding fits the search and the filters."]
    page.get_by_label("Search").fill("medium counts")
    assert set(page.locator("#table .severity").all_inner_texts()) == {"medium"}
    page.get_by_label("Search").fill("")
    page.get_by_label("Namespace").select_option(label="team-7")
    assert shown.inner_text() == "334 of 10,000 findings."
    page.get_by_label("Namespace").select_option(label="all")
    page.get_by_label("Status").select_option("waived")
    assert shown.inner_text() == "500 of 10,000 findings."
    page.get_by_label("Status").select_option(label="all")

    # By keyboard alone: the severity's box, the column's button, the next page.
    page.get_by_label("high", exact=True).focus()
    page.keyboard.press("Space")
    assert shown.inner_text() == "6,666 of 10,000 findings."
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


def shown(browser: Any, judgement: Judgement, tmp_path: Path) -> Any:
    """Open a report's page."""
    (tmp_path / "page.html").write_bytes(as_html(judgement))
    page = browser.new_page(viewport={"width": 1280, "height": 900})
    page.goto((tmp_path / "page.html").as_uri())
    return page


def fixture(name: str, **policy: Any) -> Judgement:
    report = read_report(name.partition("/")[0], (FIXTURES / name).read_bytes(), name)
    return judge(report, Policy(today=dt.date(2026, 11, 29), **policy))


def test_an_image(browser: Any, tmp_path: Path) -> None:
    page = shown(browser, fixture("trivy/0.74.0-recorded-image.json"), tmp_path)
    line = "fail_on high: 2 critical, 3 high, 3 medium, 4 low; failed"
    assert page.title() == f"trivy report of cart.tar: {line}"
    assert page.locator(".policy").inner_text() == line
    head = page.locator("header").inner_text()
    assert "registry.example/shop/cart:1.2" in head
    assert "sha256:b2c8f79fa39c5de189932e57447f443e82b9770d537aebc7ae0dc75c316c21d0" in head
    assert "alpine 3.10.2" in head
    assert "23 November 2026, 14:28 UTC" in head
    # No finding of an image is in a namespace, and none is waived.
    assert page.locator("#table thead").inner_text().split() == ["Severity", "Resource", "Rule", "Message"]
    assert page.get_by_role("heading", name="By package").is_visible()
    # The package, what mends it: each once.
    row = page.locator("#table tbody tr").first.inner_text()
    assert (row.count("musl@1.1.20-r4"), row.count("1.1.20-r5")) == (1, 1)
    # The message has the room.
    widths = {name: page.locator(f".column-{name}").bounding_box()["width"] for name in ("resource", "rule", "message")}
    assert widths["message"] > 1.8 * max(widths["resource"], widths["rule"])
    page.close()


def test_a_clean_page_says_what_was_asked(browser: Any, tmp_path: Path) -> None:
    page = shown(browser, fixture("trivy/0.60.0-image-clean.json"), tmp_path)
    assert page.title() == "trivy report of alpine:3.22: fail_on high: 0 critical, 0 high; passed"
    assert page.locator(".policy").inner_text() == "fail_on high: 0 critical, 0 high; passed"
    assert page.locator("#shown").inner_text() == "No findings."
    assert page.locator(".charts, #table").count() == 0
    page.close()


def test_skipped_controls_and_their_reasons(browser: Any, tmp_path: Path) -> None:
    page = shown(browser, fixture("kubescape/3.0.1-controls-not-evaluated.json"), tmp_path)
    skipped = page.locator("section[aria-labelledby=skipped]")
    assert skipped.locator("tbody tr").count() == 2
    assert "This control requires the Kubescape operator installed." in skipped.inner_text()
    assert "C-0066 Secret/etcd encryption enabled" in skipped.inner_text()
    assert "1 control was not evaluated" in page.locator(".gate").inner_text()
    page.close()


def test_the_trend_since_a_baseline(browser: Any, tmp_path: Path) -> None:
    name = "popeye/0.22.1-recorded-all.json"
    report = read_report("popeye", (FIXTURES / name).read_bytes(), name)
    baseline = read_baseline("popeye", as_json(judge(report, Policy(namespaces=["kube-system"]))), "b")
    baseline = {key: {**item, "severity": "info"} for key, item in list(baseline.items())[:40]} | {"0": {"rule": "X"}}
    judgement = fixture(name, baseline=baseline)
    page = shown(browser, judgement, tmp_path)
    bars = [row.split() for row in page.locator(".trend tr").all_inner_texts()]
    assert bars == [["new", str(len(judgement.counting))], ["fixed", "1"], ["same", str(len(judgement.known))]]
    assert (
        f"{len(judgement.worse)} of the new are more severe than in the baseline."
        in page.locator(".trend").inner_text()
    )
    # The rule stands beside.
    assert "[POP-" not in page.locator("#table tbody").inner_text()
    page.close()


def test_a_page_that_is_cut_says_so(browser: Any, tmp_path: Path) -> None:
    flaws = [
        {"VulnerabilityID": f"CVE-2026-{number:05d}", "PkgName": "musl", "Severity": "HIGH"} for number in range(30_000)
    ]
    document = {"SchemaVersion": 2, "ArtifactName": "web", "Results": [{"Target": "a", "Vulnerabilities": flaws}]}
    page = shown(browser, judge(read_report("trivy", json.dumps(document), "x"), Policy()), tmp_path)
    assert "The page has the worst 20,000 of 30,000 findings" in page.locator("main").inner_text()
    assert page.locator("#shown").inner_text() == "20,000 of the worst 20,000 of 30,000 findings."
    page.get_by_label("Search").fill("cve-2026-00007")
    assert page.locator("#shown").inner_text() == "1 of the worst 20,000 of 30,000 findings."
    page.close()


def test_long_names_break_behind_separators(browser: Any, tmp_path: Path) -> None:
    name = "Service team-of-payments/payments-gateway-with-a-rather-long-name-of-its-own-and-more"
    items = [{"code": "IST0101", "level": "Error", "origin": name, "message": "wrong"}]
    page = shown(browser, judge(read_report("istioctl", json.dumps(items), "x"), Policy()), tmp_path)
    cell = page.locator("#table tbody td[data-name=Resource] span")
    assert cell.inner_text() == "Service/payments-gateway-with-a-rather-long-name-of-its-own-and-more"
    assert cell.locator("wbr").count() == 11
    assert page.locator("#shown").inner_text() == "1 of 1 finding."
    page.close()


def test_the_index_of_a_run(browser: Any, tmp_path: Path) -> None:
    for name in (
        "trivy/0.74.0-recorded-image.json",
        "trivy/0.60.0-image-clean.json",
        "popeye/0.22.1-recorded-all.json",
    ):
        judgement = fixture(name)
        place = tmp_path / "a run" / name.partition("/")[2].replace("json", "")
        place.parent.mkdir(exist_ok=True)
        place.with_suffix(".json").write_bytes(as_json(judgement))
        place.with_suffix(".html").write_bytes(as_html(judgement))
    missing = read_entry(tmp_path / "mesh.json", name="mesh <b>")
    entries = [read_entry(path) for path in sorted((tmp_path / "a run").glob("*.json"))] + [missing]
    (tmp_path / "index.html").write_text("".join(index_parts(entries, "Scans of build 17", tmp_path)))
    page = browser.new_page(viewport={"width": 1280, "height": 900})
    page.goto((tmp_path / "index.html").as_uri())
    assert page.title() == "Scans of build 17: 4 reports: 3 failed, 1 passed"
    rows = page.locator("tbody tr")
    verdicts = [row.locator("td").first.inner_text() for row in rows.all()]
    assert verdicts == ["failed", "failed", "no report", "passed"]
    assert "mesh <b>" in rows.nth(2).inner_text()
    assert "can't be read: No such file or directory" in rows.nth(2).inner_text()
    image = rows.nth(1)
    assert [cell.inner_text() for cell in image.locator("td").all()][2:10] == [
        "cart.tar", "trivy", "2", "3", "3", "4", "0", "23 November 2026, 14:28 UTC",
    ]  # fmt: skip
    image.locator("a").click()
    assert page.title().startswith("trivy report of cart.tar")
    page.close()
    phone = browser.new_page(viewport={"width": 360, "height": 740})
    phone.goto((tmp_path / "index.html").as_uri())
    assert phone.evaluate("document.documentElement.scrollWidth") <= 360
    phone.close()


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
