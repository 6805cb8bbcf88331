"""Load balancer, its pages and the local endpoint, as seen from the controller."""

from __future__ import annotations

import json
import socket
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from helpers import ENDPOINT_PORT, STATE, Answer, get, machine, playbook

ENDPOINT = f"http://127.0.0.1:{ENDPOINT_PORT}"
PAGE = """
import http.server, json, socket
class Page(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def do_GET(self):
        forwarded = {name.lower(): value for name, value in self.headers.items() if "forwarded" in name.lower()}
        body = " ".join([socket.gethostname(), self.headers["Host"], json.dumps(forwarded)]).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def log_message(self, *arguments): pass
http.server.ThreadingHTTPServer(("", 30080), Page).serve_forever()
"""


LANDING = f"sandbox.localhost:{ENDPOINT_PORT}"


def landing(path: str = "/") -> Answer:
    """Ask for the landing page with its login."""
    return get(f"{ENDPOINT}{path}", password=(STATE / "secrets/pages-password").read_text().strip(), Host=LANDING)


def website(path: str = "/") -> Answer:
    return get(f"{ENDPOINT}{path}", Host=f"website.localhost:{ENDPOINT_PORT}")


def test_a_name_that_leads_nowhere_says_which_do():
    unknown = [
        get(f"{ENDPOINT}/no/such/page", Host=name) for name in (f"unknown.localhost:{ENDPOINT_PORT}", "127.0.0.1")
    ]
    for page in [*unknown, landing("/no/such/page")]:
        assert page.status == 404
        assert f'href="http://website.localhost:{ENDPOINT_PORT}/"' in page.body
        assert "no/such" not in page.body


def test_until_there_is_a_landing_page_another_says_so_in_its_place():
    page = landing()
    assert page.status == 200
    assert page.headers["Content-Type"] == "text/html; charset=utf-8"
    assert "is being made" in page.body
    assert f'href="http://website.localhost:{ENDPOINT_PORT}/"' in page.body


def test_the_landing_page_is_what_lies_there():
    infra = machine("infra-1")
    infra.check_output("mkdir -p /srv/www/test && echo 'here I am' > /srv/www/test/index.html")
    assert landing("/test/").body == "here I am\n"
    infra.check_output("rm -r /srv/www/test")


@pytest.mark.parametrize("password", ["", "wrong"])
@pytest.mark.parametrize("path", ["/", "/no/such/page", "/index.html"])
def test_the_landing_page_tells_nothing_without_its_login(path, password):
    """It names machines, addresses and where secrets are."""
    page = get(f"{ENDPOINT}{path}", password=password, Host=LANDING)
    assert page.status == 401
    assert "198.18" not in page.body
    assert "localhost" not in page.body


def test_the_password_of_pages_is_its_own_and_kept_as_a_hash():
    secrets = {name: STATE / "secrets" / f"{name}-password" for name in ("pages", "registry")}
    passwords = {name: path.read_text().strip() for name, path in secrets.items()}
    assert passwords["pages"] != passwords["registry"]
    assert secrets["pages"].stat().st_mode & 0o077 == 0
    kept = machine("infra-1").file("/etc/nginx/landing.htpasswd")
    assert kept.mode == 0o640
    assert kept.content_string.startswith("sandbox:$2y$")
    assert passwords["pages"] not in kept.content_string


def test_the_local_endpoint_is_open_on_both_loopbacks_only():
    assert get(f"http://[::1]:{ENDPOINT_PORT}/", Host="unknown.localhost").status == 404
    with pytest.raises(ConnectionRefusedError), socket.create_connection(("198.18.3.1", ENDPOINT_PORT), timeout=2):
        pass


def test_a_name_whose_workers_do_not_answer_gets_503_at_once():
    started = time.monotonic()
    page = website()
    assert page.status == 503
    assert page.headers["Retry-After"]
    assert "/livez" in page.body
    assert time.monotonic() - started < 2


@pytest.fixture
def workers():
    """Two workers that serve a page on the website's port."""
    hosts = [machine(name) for name in ("etcd-1", "etcd-2")]
    for worker in hosts:
        worker.run("systemctl reset-failed page")
        assert worker.run("systemd-run --unit=page python3 -c %s", PAGE).rc == 0
    deadline = time.monotonic() + 30
    seen: set[str] = set()
    while len(seen) < 2 and time.monotonic() < deadline:
        page = website()
        seen |= {page.body.split()[0]} if page.status == 200 else set()
        time.sleep(0.1)
    assert seen == {"etcd-1", "etcd-2"}
    yield hosts
    for worker in hosts:
        worker.run("systemctl stop page; nft delete table inet page")


def test_the_visitors_host_and_port_arrive(workers):
    assert website().body.split()[1] == f"website.localhost:{ENDPOINT_PORT}"


def test_what_a_visitor_says_of_proxies_does_not_arrive(workers):
    """The website believes the load balancer, and would link to wherever such a header says."""
    claims = {"X_Forwarded_Host": "forged.example:1", "X_Forwarded_For": "192.0.2.7", "X_Forwarded_Proto": "https"}
    more = {"X_Forwarded_Port": "1", "Forwarded": "for=192.0.2.7;host=forged.example"}
    page = get(f"{ENDPOINT}/", Host=f"website.localhost:{ENDPOINT_PORT}", **claims, **more)
    forwarded = json.loads(page.body.split(maxsplit=2)[2])
    assert set(forwarded) == {"x-forwarded-for", "x-forwarded-proto"}
    assert forwarded["x-forwarded-proto"] == "http"
    assert "192.0.2.7" not in forwarded["x-forwarded-for"]


SILENCE = (
    "nft add table inet page; nft add chain inet page input '{ type filter hook input priority 0; }';"
    " nft add rule inet page input tcp dport 30080 drop"
)


@pytest.mark.parametrize("failure", ["systemctl kill --signal=KILL page", SILENCE], ids=["process", "network"])
def test_no_request_fails_while_a_worker_goes_away(workers, failure):
    """Steady requests, about twenty a second, for four seconds; the worker goes after one."""
    with ThreadPoolExecutor(max_workers=20) as pool:
        answers = []
        for number in range(80):
            answers.append(pool.submit(website))
            if number == 20:
                pool.submit(workers[0].run, failure)
            time.sleep(0.05)
        statuses = [answer.result().status for answer in answers]
    assert statuses == [200] * 80
    assert {website().body.split()[0] for _ in range(6)} == {"etcd-2"}


def test_statistics_are_on_a_local_socket():
    shown = machine("infra-1").check_output("echo 'show stat' | socat - UNIX-CONNECT:/run/haproxy/admin.sock")
    assert "api_server,FRONTEND" in shown
    assert "page-website,etcd-1" in shown


def test_a_check_changes_nothing():
    checked = playbook("load_balancer", "--check")
    assert checked.returncode == 0, checked.stdout
    assert not any(f"changed={number}" in checked.stdout for number in range(1, 10)), checked.stdout


def test_pages_that_contradict_each_other_are_refused():
    pages = [{"name": name, "hosts": ["a.localhost"], "node_port": 30080, "health_path": "/"} for name in ("a", "b")]
    refused = playbook("../molecule/etcd/pages", "-e", json.dumps({"load_balancer_pages": pages}))
    assert refused.returncode != 0
    assert "a name or a host twice" in refused.stdout
