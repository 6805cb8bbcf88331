"""Image registry, artifact store, pages and the door, as seen from the controller."""

from __future__ import annotations

import hashlib
import json
import socket
import ssl
import time
import urllib.error
from concurrent.futures import ThreadPoolExecutor

import pytest
from helpers import DOOR_PORT, INFRA, STATE, Answer, get, machine, playbook

REGISTRY = f"https://{INFRA}:5000/v2"
STORE = f"https://{INFRA}:8443"
DOOR = f"http://127.0.0.1:{DOOR_PORT}"
PASSWORD = (STATE / "secrets/registry-password").read_text().strip()
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


def website(path: str = "/") -> Answer:
    return get(f"{DOOR}{path}", Host=f"website.localhost:{DOOR_PORT}")


# --- registry ---------------------------------------------------------------------------------------------------------


def test_the_registry_knows_one_user_and_the_cas_trust():
    assert get(f"{REGISTRY}/", ca="sandbox").status == 401
    assert get(f"{REGISTRY}/", ca="sandbox", password="wrong").status == 401
    assert get(f"{REGISTRY}/", ca="sandbox", password=PASSWORD).status == 200
    with pytest.raises(urllib.error.URLError, match="CERTIFICATE_VERIFY_FAILED"):
        get(f"{REGISTRY}/", ca="etcd", password=PASSWORD)


def test_the_password_is_the_users_alone():
    assert len(PASSWORD) == 32
    assert (STATE / "secrets/registry-password").stat().st_mode & 0o077 == 0


def test_the_registry_takes_gives_and_deletes_an_image():
    def call(path: str, **arguments) -> Answer:
        url = path if path.startswith("https:") else f"{REGISTRY}/registry.k8s.io/test{path}"
        return get(url, ca="sandbox", password=PASSWORD, **arguments)

    blob = b"{}"
    digest = f"sha256:{hashlib.sha256(blob).hexdigest()}"
    place = call("/blobs/uploads/", method="POST").headers["Location"]
    place = place if place.startswith("https:") else f"https://{INFRA}:5000{place}"
    sent = call(f"{place}&digest={digest}", method="PUT", data=blob, Content_Type="application/octet-stream")
    assert sent.status == 201
    kind = "application/vnd.oci.image.manifest.v1+json"
    config = {"mediaType": "application/vnd.oci.image.config.v1+json", "digest": digest, "size": len(blob)}
    manifest = json.dumps({"schemaVersion": 2, "mediaType": kind, "config": config, "layers": []}).encode()
    assert call("/manifests/1.0", method="PUT", data=manifest, Content_Type=kind).status == 201
    there = call("/manifests/1.0", Accept=kind)
    assert there.body.encode() == manifest
    assert call(f"/manifests/{there.headers['Docker-Content-Digest']}", method="DELETE").status == 202
    assert call("/manifests/1.0", Accept=kind).status == 404


# --- store ------------------------------------------------------------------------------------------------------------


def test_the_store_lists_and_gives_files_with_their_sums():
    component = f"{STORE}/etcd"
    version = json.loads(get(f"{component}/", ca="sandbox").body)[0]["name"]
    sums = get(f"{component}/{version}/SHA256SUMS", ca="sandbox").body.split()
    names = {entry["name"] for entry in json.loads(get(f"{component}/{version}/", ca="sandbox").body)}
    assert {"etcd", "etcdctl", "etcdutl", "SHA256SUMS"} <= names
    assert len(sums[0]) == 64


def test_machines_trust_the_store_without_being_told():
    assert machine("etcd-1").run(f"curl --silent --fail {STORE}/etcd/").rc == 0


# --- pages and door ---------------------------------------------------------------------------------------------------


def test_a_name_that_leads_nowhere_says_which_do():
    for name in (f"unknown.localhost:{DOOR_PORT}", "127.0.0.1", f"sandbox.localhost:{DOOR_PORT}"):
        page = get(f"{DOOR}/no/such/page", Host=name)
        assert page.status == 404
        assert f'href="//website.localhost:{DOOR_PORT}/"' in page.body
        assert "no/such" not in page.body


def test_until_there_is_a_landing_page_another_says_so_in_its_place():
    page = get(f"{DOOR}/", Host=f"sandbox.localhost:{DOOR_PORT}")
    assert page.status == 200
    assert page.headers["Content-Type"] == "text/html; charset=utf-8"
    assert "is being made" in page.body
    assert f'href="//website.localhost:{DOOR_PORT}/"' in page.body


def test_the_landing_page_is_what_lies_there():
    infra = machine("infra-1")
    infra.check_output("mkdir -p /srv/www/test && echo 'here I am' > /srv/www/test/index.html")
    assert get(f"{DOOR}/test/", Host=f"sandbox.localhost:{DOOR_PORT}").body == "here I am\n"
    infra.check_output("rm -r /srv/www/test")


def test_the_door_is_open_on_both_loopbacks_only():
    assert get(f"http://[::1]:{DOOR_PORT}/", Host="unknown.localhost").status == 404
    with pytest.raises(ConnectionRefusedError), socket.create_connection(("198.18.3.1", DOOR_PORT), timeout=2):
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
    assert website().body.split()[1] == f"website.localhost:{DOOR_PORT}"


def test_what_a_visitor_says_of_proxies_does_not_arrive(workers):
    """The website believes the load balancer, and would link to wherever such a header says."""
    claims = {"X_Forwarded_Host": "forged.example:1", "X_Forwarded_For": "192.0.2.7", "X_Forwarded_Proto": "https"}
    more = {"X_Forwarded_Port": "1", "Forwarded": "for=192.0.2.7;host=forged.example"}
    page = get(f"{DOOR}/", Host=f"website.localhost:{DOOR_PORT}", **claims, **more)
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


def test_only_tls_1_2_and_newer(recwarn):
    for port in (5000, 8443):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        context.maximum_version = ssl.TLSVersion.TLSv1_1
        with socket.create_connection((INFRA, port), timeout=5) as plain, pytest.raises(ssl.SSLError):
            context.wrap_socket(plain)


def test_statistics_are_on_a_local_socket():
    shown = machine("infra-1").check_output("echo 'show stat' | socat - UNIX-CONNECT:/run/haproxy/admin.sock")
    assert "api_server,FRONTEND" in shown
    assert "website,etcd-1" in shown


def test_a_check_changes_nothing():
    checked = playbook("registry", "--check")
    assert checked.returncode == 0, checked.stdout
    assert not any(f"changed={number}" in checked.stdout for number in range(1, 10)), checked.stdout


def test_routes_that_contradict_each_other_are_refused():
    routes = [{"name": name, "node_port": 30080, "health_path": "/"} for name in ("a", "b")]
    refused = playbook("registry", "-e", json.dumps({"registry_http_routes": routes}))
    assert refused.returncode != 0
    assert "a name or a node_port twice" in refused.stdout
