# Copyright: cicd.sandbox contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""New quotes on the website as they come: in a browser at once, and through restarts without one lost or doubled."""

from __future__ import annotations

import http.client
import itertools
import json
import secrets
import threading
import time
import urllib.parse
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from browsing import WEBSITE, chromium, flawless_page, screenshot
from helm import try_run
from playwright.sync_api import Browser, Page, expect
from visitors import NAMESPACE, PORT, kubeconfig, kubectl, pods, until
from watchers import Watcher, watching

CLIENTS = 200
# Seconds that a visitor may be without a stream, and that a quote may take to reach the page.
BACK_WITHIN = 3.0
SEEN_WITHIN = 1000  # milliseconds, for the browser


def new_symbol() -> str:
    """Give a symbol that nobody else's quotes have."""
    return f"E2E{secrets.token_hex(4).upper()}"


def add(symbol: str, price: float) -> bool:
    """Add a quote by the website's form; whether it was taken."""
    connection = http.client.HTTPConnection("127.0.0.1", PORT, timeout=10)
    try:
        form = urllib.parse.urlencode({"symbol": symbol, "price": price, "currency": "USD"})
        headers = {"Host": f"website.localhost:{PORT}", "Content-Type": "application/x-www-form-urlencoded"}
        connection.request("POST", "/", form, headers)
        answer = connection.getresponse()
        answer.read()
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()
    return answer.status == http.client.SEE_OTHER


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as started:
        yield started


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    with flawless_page(browser) as opened:
        yield opened


def open_live(page: Page, symbol: str) -> None:
    page.goto(f"{WEBSITE}?symbol={symbol}")
    expect(page.locator("#live")).to_have_attribute("data-state", "live", timeout=10_000)


def test_a_quote_is_on_the_page_at_once_and_the_chart_moves(page: Page) -> None:
    symbol = new_symbol()
    assert add(symbol, 10)
    assert add(symbol, 20)
    open_live(page, symbol)
    rows, line = page.locator("tbody tr"), page.locator("figure.chart path.line")
    expect(rows).to_have_count(2)
    drawn = line.get_attribute("d")
    page.evaluate("window.neverReloaded = true")
    # The best of three: how fast it is, not how busy this computer is.
    delays = []
    for count, price in enumerate((30.25, 5, 42.5), 3):
        adding = threading.Thread(target=add, args=(symbol, price))
        began = time.monotonic()
        adding.start()
        expect(rows.first).to_contain_text(f"{price:.2f}", timeout=5 * SEEN_WITHIN)
        delays.append(time.monotonic() - began)
        expect(rows).to_have_count(count)
        adding.join()
        assert line.get_attribute("d") != drawn
        drawn = line.get_attribute("d")
    assert min(delays) * 1000 <= SEEN_WITHIN, delays
    assert page.evaluate("window.neverReloaded") is True
    screenshot(page, "website-live")


def test_the_page_of_all_symbols_takes_it_in_too(page: Page) -> None:
    symbol = new_symbol()
    open_live(page, "")
    assert add(symbol, 77.77)
    expect(page.locator("tbody tr", has_text=symbol)).to_have_count(1, timeout=5000)


def test_without_javascript_the_page_is_as_before(browser: Browser) -> None:
    symbol = new_symbol()
    assert add(symbol, 10)
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(f"{WEBSITE}?symbol={symbol}")
    expect(page.locator("tbody tr")).to_have_count(1)
    expect(page.locator("#live")).to_be_hidden()
    page.get_by_label("Price").fill("11.5")
    page.get_by_role("button", name="Add quote").click()
    expect(page.locator("tbody tr")).to_have_count(2)
    context.close()


class Feed(threading.Thread):
    """Adds quotes with the prices 1, 2, 3 …; ``taken`` are those that the website said were added."""

    def __init__(self, symbol: str) -> None:
        super().__init__(daemon=True)
        self.symbol = symbol
        self.taken: list[int] = []
        self.refused = 0
        self._enough = threading.Event()

    def run(self) -> None:
        for price in itertools.count(1):
            if add(self.symbol, price):
                self.taken.append(price)
            else:
                self.refused += 1
            if self._enough.wait(0.2):
                return

    def stop(self) -> None:
        self._enough.set()
        self.join(20)


@contextmanager
def fed(symbol: str) -> Iterator[Feed]:
    feed = Feed(symbol)
    feed.start()
    try:
        until(lambda: len(feed.taken) >= 3, "quotes are taken", 30)
        yield feed
        enough = len(feed.taken) + 5
        until(lambda: len(feed.taken) >= enough, "quotes are taken afterwards", 60)
    finally:
        feed.stop()


def assert_complete(watchers: list[Watcher], feed: Feed) -> None:
    """All that was taken came to everybody, once."""

    def missing() -> list[set[int]]:
        return [left for watcher in watchers if (left := set(feed.taken) - set(watcher.prices))]

    until(lambda: not missing(), "every visitor has every quote", 30, lambda: str(missing()[:3]))
    for watcher in watchers:
        assert len(watcher.prices) == len(set(watcher.prices)), "a quote came twice"
        assert watcher.resets == 0


def live(watchers: list[Watcher]) -> bool:
    return all(watcher.live for watcher in watchers)


def problems(watchers: list[Watcher]) -> str:
    return "\n".join(sorted({problem for watcher in watchers for problem in watcher.problems})[:20])


@pytest.mark.trial
def test_visitors_are_back_soon_after_a_rolling_update() -> None:
    symbol = new_symbol()
    with watching(CLIENTS, symbol) as watchers:
        until(lambda: live(watchers), f"{CLIENTS} visitors are live", 30, lambda: problems(watchers))
        before = pods("front-end")
        with fed(symbol) as feed:
            kubectl("rollout", "restart", "deployment/front-end")
            kubectl("rollout", "status", "deployment/front-end", "--timeout=240s")
            until(lambda: not before.keys() & pods("front-end").keys(), "the end of the old pods", 60)
        until(lambda: live(watchers), "all are back", 30, lambda: problems(watchers))
        assert_complete(watchers, feed)
        assert feed.refused == 0
    outages = sorted(outage for watcher in watchers for outage in watcher.outages)
    assert len(outages) >= CLIENTS, "each was on an old pod"
    assert outages[-1] <= BACK_WITHIN, f"{outages[-10:]}\n{problems(watchers)}"


@pytest.mark.trial
@pytest.mark.parametrize("release", ["front-end", "business-logic"])
def test_a_pod_that_dies_loses_and_doubles_nothing(release: str) -> None:
    symbol = new_symbol()
    with watching(20, symbol) as watchers:
        until(lambda: live(watchers), "all are live", 30, lambda: problems(watchers))
        with fed(symbol) as feed:
            for item in list(pods(release).values()):
                kubectl("delete", "pod", item["metadata"]["name"], "--grace-period=0", "--force", "--wait=false")
                kubectl("rollout", "status", f"deployment/{release}", "--timeout=120s")
        until(lambda: live(watchers), "all are back", 60, lambda: problems(watchers))
        assert_complete(watchers, feed)


def test_a_restart_of_valkey_loses_and_doubles_nothing() -> None:
    symbol = new_symbol()
    with watching(20, symbol) as watchers:
        until(lambda: live(watchers), "all are live", 30, lambda: problems(watchers))
        with fed(symbol) as feed:
            kubectl("delete", "pod", "valkey-0", "--wait=true")
            kubectl("rollout", "status", "statefulset/valkey", "--timeout=120s")
        assert_complete(watchers, feed)
        # Quotes are stored meanwhile, and visitors' streams stay.
        assert feed.refused == 0
        assert [outage for watcher in watchers for outage in watcher.outages] == []


@pytest.mark.trial
def test_signs_of_life_keep_a_quiet_stream_open() -> None:
    """Longer than a page may take on any hop (10 and 11 seconds)."""
    with watching(2, new_symbol()) as watchers:
        until(lambda: live(watchers), "both are live", 30, lambda: problems(watchers))
        time.sleep(40)
        assert [(watcher.live, watcher.outages) for watcher in watchers] == [(True, [])] * 2, problems(watchers)


PYTHON = 'import socket; s = socket.create_connection(("valkey", 6379), 5); s.sendall(b"%s\\r\\n"); print(s.recv(200))'
NODE = """
const socket = require("net").connect(6379, "valkey", () => socket.write("%s\\r\\n"));
socket.on("data", (data) => { console.log(String(data)); process.exit(); });
socket.on("error", () => process.exit(1));
socket.on("close", () => process.exit(1));
setTimeout(() => process.exit(1), 5000);
"""


def valkey_says(app: str, command: str) -> str:
    """Ask Valkey from a pod of a release, without a password."""
    name = next(iter(pods(app).values()))["metadata"]["name"]
    program = {
        "business-logic": ["python", "-c", PYTHON % command],
        "front-end": ["node", "-e", NODE % command],
    }[app]
    line = ["--kubeconfig", str(kubeconfig()), "--namespace", NAMESPACE, "exec", name, f"--container={app}", "--"]
    done = try_run("kubectl", *line, *program)
    return done.stdout if done.returncode == 0 else ""


def test_only_the_api_reaches_valkey_and_only_with_its_password() -> None:
    assert "NOAUTH" in valkey_says("business-logic", "PING")
    assert valkey_says("front-end", "PING") == ""


def test_valkey_keeps_what_it_was_told() -> None:
    configuration = json.loads(kubectl("get", "configmap", "valkey", "--output=json"))["data"]["valkey.conf"]
    assert "appendonly yes" in configuration
    (pod,) = pods("valkey").values()
    claims = [volume for volume in pod["spec"]["volumes"] if "persistentVolumeClaim" in volume]
    assert [claim["persistentVolumeClaim"]["claimName"] for claim in claims] == ["data-valkey-0"]
    # The password stands in no argument and in no environment.
    (container,) = pod["spec"]["containers"]
    assert not [item for item in container["env"] if "PASSWORD" in item["name"] and not item["name"].endswith("_FILE")]
