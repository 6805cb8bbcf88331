# Copyright: cicd.sandbox contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which pages the role load_balancer writes for HAProxy, and which it refuses."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from checkout import REPOSITORY
from playbook_run import run_playbook

PLAYBOOK = """
- hosts: infra-1
  gather_facts: false
  tasks:
    - ansible.builtin.include_role: {name: load_balancer, tasks_from: "{{ entry_point }}"}
"""
# The service is not there: what is told to it is told here.
HANDLERS = """
- name: Restart the load balancer
  ansible.builtin.debug: {msg: restarted}
- name: Reload the load balancer
  ansible.builtin.debug: {msg: reloaded}
"""
INVENTORY = """
infra: {hosts: {infra-1: {ansible_host: 127.0.0.1}}}
machines: {hosts: {infra-1: {}, worker-1: {ansible_host: 192.0.2.1}, worker-2: {ansible_host: 192.0.2.2}}}
workers: {hosts: {worker-1: {}, worker-2: {}}}
"""
# It is called with the files it would read.
HAPROXY = """#!/bin/sh
for word; do case $word in /*) test -r "$word" || exit 1 ;; esac; done
"""
WEBSITE = {
    "name": "website",
    "hosts": ["website.localhost", "www.localhost"],
    "node_port": 30080,
    "health_path": "/livez",
}


@dataclass
class Site:
    """A directory in HAProxy's place."""

    root: Path

    def run(self, entry_point: str, **variables: Any) -> tuple[list[str], str]:
        """Run an entry point; return which handlers ran, and the error there was."""
        values = {
            "entry_point": entry_point,
            "__load_balancer_directory": str(self.root / "etc"),
            "__load_balancer_defaults": str(self.root / "default"),
            "ansible_python_interpreter": "{{ ansible_playbook_python }}",
            "istio_enabled": False,
            "sandbox_state_directory": str(self.root / "state"),
            **variables,
        }
        arguments = [f"--inventory={self.root}/hosts.yml", "--connection=local", f"--extra-vars={json.dumps(values)}"]
        run = run_playbook(self.root / "play.yml", *arguments, programs=self.root / "bin", fails=None)
        failed = [answer.result["msg"] for answer in run.answers if answer.failed]
        assert run.returncode == (2 if failed else 0), run.text
        told = [
            answer.result["msg"]
            for answer in run.answers
            if answer.task.endswith(("Restart the load balancer", "Reload the load balancer"))
        ]
        return told, "".join(failed)

    def files(self) -> dict[str, str]:
        return {path.name: path.read_text() for path in (self.root / "etc").rglob("*") if path.is_file()}

    def text(self, name: str) -> str:
        return (self.root / "etc" / name).read_text()


@pytest.fixture
def site(tmp_path: Path) -> Site:
    shutil.copytree(REPOSITORY / "roles/load_balancer", tmp_path / "roles/load_balancer")
    (tmp_path / "roles/load_balancer/handlers/main.yml").write_text(HANDLERS)
    (tmp_path / "play.yml").write_text(PLAYBOOK)
    (tmp_path / "hosts.yml").write_text(INVENTORY)
    (tmp_path / "state/pki/sandbox").mkdir(parents=True)
    (tmp_path / "state/pki/sandbox/ca.crt").write_text("CA\n")
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/haproxy").write_text(HAPROXY)
    (tmp_path / "bin/haproxy").chmod(0o755)
    return Site(tmp_path)


def test_main_takes_no_page_away(site: Site) -> None:
    assert site.run("configure") == (["restarted", "reloaded"], "")
    assert "backend" not in site.text("pages.cfg")
    assert "//sandbox.localhost:8080/" in site.text("beginning.html")
    assert f"-f {site.root}/etc/pages.cfg" in (site.root / "default").read_text()
    assert site.run("pages", load_balancer_pages=[WEBSITE]) == (["reloaded"], "")
    written = site.files()
    assert site.run("configure") == ([], "")
    assert site.run("pages", load_balancer_pages=[WEBSITE]) == ([], "")
    assert site.files() == written


def test_a_page_leads_from_its_hosts_to_its_port_of_every_worker(site: Site) -> None:
    site.run("configure")
    other = {
        "name": "other",
        "hosts": ["other.localhost"],
        "node_port": 30080,
        "health_path": "/ready?a&b",
        "timeout": 30,
    }
    site.run("pages", load_balancer_pages=[WEBSITE, other])
    rows = [line.split() for line in site.text("pages.map").splitlines() if not line.startswith("#")]
    assert rows == [
        ["website.localhost", "page-website"],
        ["www.localhost", "page-website"],
        ["other.localhost", "page-other"],
    ]
    _comment, website, second = site.text("pages.cfg").split("\n\n")
    assert website.startswith("backend page-website from main\n")
    assert "server worker-1 192.0.2.1:30080\n    server worker-2 192.0.2.2:30080" in website
    assert "timeout server 10s" in website
    assert "uri /livez ver HTTP/1.1 hdr Host website.localhost\n" in website
    assert "uri /ready?a&b ver" in second
    assert "timeout server 30s" in second
    for page in ("unknown.html", "beginning.html"):
        assert '<a href="http://other.localhost:8080/">other.localhost</a>' in site.text(page)
    assert site.run("pages", load_balancer_pages=[]) == (["reloaded"], "")
    assert "page-" not in site.text("pages.map") + site.text("pages.cfg")


def test_answers_that_do_not_end_are_not_cut(site: Site) -> None:
    page = {**WEBSITE, "streams": ["/events", "/live"]}
    site.run("configure", istio_enabled=True)
    assert site.text("streams.list").splitlines()[2:] == []
    backend = site.text("haproxy.cfg").split("backend gateway from main\n")[1].split("\n\n", 1)[0]
    lines = [line.strip() for line in backend.splitlines()]
    (acl,) = [line for line in lines if line.startswith("acl stream ")]
    assert acl == f"acl stream var(txn.host),concat(,txn.path) -m beg -f {site.root}/etc/streams.list"
    # The later one goes.
    (usual, stream) = [line for line in lines if "set-timeout server" in line]
    assert ("timeouts.map" in usual, stream) == (True, "http-request set-timeout server 60s if stream")
    assert "http-request disable-l7-retry if stream or !{ method GET HEAD OPTIONS }" in lines
    assert site.run("pages", load_balancer_pages=[page], istio_enabled=True) == (["reloaded"], "")
    assert site.text("streams.list").splitlines()[2:] == [
        f"{host}{path}" for host in WEBSITE["hosts"] for path in ("/events", "/live")
    ]
    site.run("configure")
    site.run("pages", load_balancer_pages=[page])
    for path in ("/events", "/live"):
        assert f"http-request set-timeout server 60s if {{ path_beg {path} }}" in site.text("pages.cfg")
        assert f"http-request disable-l7-retry if {{ path_beg {path} }}" in site.text("pages.cfg")
    assert "the stream /a b" in site.run("pages", load_balancer_pages=[{**WEBSITE, "streams": ["/a b"]}])[1]


def test_a_gateway_gets_every_request_but_the_landing_pages(site: Site) -> None:
    gateway = {"istio_enabled": True}
    site.run("configure", **gateway)
    _rest, backend = site.text("haproxy.cfg").split("backend gateway from main\n")
    backend, _rest = backend.split("\n\n", 1)
    assert "default_backend gateway\n" in site.text("haproxy.cfg")
    assert "use_backend landing if { var(txn.host) -m str sandbox.localhost }" in site.text("haproxy.cfg")
    assert "server worker-1 192.0.2.1:30080\n    server worker-2 192.0.2.2:30080" in backend
    assert "default-server check port 30021 " in backend
    page = {"name": "slow", "hosts": ["slow.localhost"], "health_path": "/", "timeout": 60}
    by_route = {key: value for key, value in WEBSITE.items() if key != "node_port"}
    assert site.run("pages", load_balancer_pages=[by_route, page], **gateway) == (["reloaded"], "")
    rows = [line.split() for line in site.text("timeouts.map").splitlines() if not line.startswith("#")]
    # A second more than the gateway waits.
    assert rows == [["website.localhost", "11000"], ["www.localhost", "11000"], ["slow.localhost", "61000"]]
    assert "page-" not in site.text("pages.map") + site.text("pages.cfg")
    assert '<a href="http://slow.localhost:8080/">' in site.text("unknown.html")
    assert site.run("configure", **gateway) == ([], "")


def test_metrics_are_told_where_somebody_reads_them(site: Site) -> None:
    site.run("configure")
    _rest, metrics = site.text("haproxy.cfg").split("frontend metrics from main\n")
    metrics, _rest = metrics.split("\n\n", 1)
    assert [line.strip() for line in metrics.splitlines()] == [
        "mode http",
        "bind 127.0.0.1:8405",
        "http-request use-service prometheus-exporter if { path /metrics }",
        # Of what the registry tells on its loopback nothing else is let out.
        "http-request return status 404 unless { path /registry/metrics }",
        "default_backend registry_metrics",
    ]
    site.run("configure", observability_enabled=False)
    assert "frontend metrics" not in site.text("haproxy.cfg")
    assert "registry_metrics" not in site.text("haproxy.cfg")


def test_what_machines_send_reaches_the_collector_as_it_is(site: Site) -> None:
    site.run("configure")
    _rest, text = site.text("haproxy.cfg").split("frontend collector from main\n")
    frontend, backend = text.split("backend collector from main\n")
    lines = [line.strip() for line in frontend.splitlines()]
    # Without TLS of its own: clients show their certificates to the collector.
    assert {"mode tcp", "bind :4320", "default_backend collector"} <= set(lines)
    lines = [line.strip() for line in backend.split("\n\n", 1)[0].splitlines()]
    assert "mode tcp" in lines
    assert [line for line in lines if line.startswith("server ")] == [
        "server worker-1 192.0.2.1:30030",
        "server worker-2 192.0.2.2:30030",
    ]
    # Only one of them has it.
    assert [line.split()[2:5] for line in lines if line.startswith("default-server")] == [["port", "30031", "inter"]]
    site.run("configure", observability_enabled=False)
    assert "collector" not in site.text("haproxy.cfg")


def test_pages_are_served_with_tls_and_what_an_authority_asks_is_handed_on(site: Site) -> None:
    site.run("configure", istio_enabled=True)
    text = site.text("haproxy.cfg")
    assert f"bind :443 ssl crt {site.root}/etc/tls/ strict-sni alpn h2,http/1.1 ssl-min-ver TLSv1.2\n" in text
    assert "use_backend acme if acme !{ ssl_fc }\n" in text
    assert "server certbot 127.0.0.1:8402\n" in text
    assert "redirect prefix" not in text
    _rest, backend = text.split("backend gateway_tls from main\n")
    trust = f"ssl verify required ca-file {site.root}/etc/roots.pem sni var(txn.host)"
    assert f"server worker-1 192.0.2.1:30443 {trust}\n    server worker-2 192.0.2.2:30443 {trust}\n" in backend
    assert "use_backend gateway_tls if { ssl_fc }\n    default_backend gateway\n" in text


def test_certificates_and_redirects_of_another_role_stay(site: Site) -> None:
    site.run("configure")
    assert site.text("https.map") == ""
    (site.root / "etc/https.map").write_text("website.localhost 1\n")
    (site.root / "etc/roots.pem").write_text("root\n")
    assert site.run("configure") == ([], "")
    assert (site.text("https.map"), site.text("roots.pem")) == ("website.localhost 1\n", "root\n")


def test_http_leads_to_https_for_names_with_a_certificate(site: Site) -> None:
    site.run("configure", sandbox_pages_https="redirect")
    (line,) = [line.strip() for line in site.text("haproxy.cfg").splitlines() if "redirect prefix" in line]
    known = f"{{ var(txn.host),map({site.root}/etc/https.map) -m found }}"
    where = "https://%[var(txn.host)]:8443"
    assert line == f"http-request redirect prefix {where} code 308 if !{{ ssl_fc }} !acme {known}"
    site.run("configure", sandbox_pages_https="redirect", sandbox_local_endpoint_enabled=False)
    assert "redirect prefix https://%[var(txn.host)] code 308" in site.text("haproxy.cfg")


@pytest.mark.parametrize("off", ["off", False])
def test_without_tls_there_is_no_port_for_it(site: Site, off: str | bool) -> None:
    site.run("configure", istio_enabled=True, sandbox_pages_https=off)
    words = ("ssl crt", "acme", "gateway_tls", ":443")
    assert [word for word in words if word in site.text("haproxy.cfg")] == []


def test_a_page_that_nothing_leads_to_is_refused(site: Site) -> None:
    page = {"name": "lost", "hosts": ["lost.localhost"], "node_port": 0, "health_path": "/"}
    told, error = site.run("pages", load_balancer_pages=[WEBSITE, page])
    assert told == []
    assert "load_balancer_pages has lost without a node_port, and there is no gateway" in error


def test_pages_that_haproxy_would_misread_are_refused(site: Site) -> None:
    wrong: list[tuple[dict[str, Any], str]] = [
        ({"name": "a b"}, "the name a b"),
        ({"name": "c\nglobal"}, "the name c"),
        ({"hosts": ["other.localhost:80"]}, "the host other.localhost:80"),
        ({"health_path": "livez"}, "the health_path livez"),
        ({"health_path": '/"$HOME"'}, "the health_path /"),
        ({"health_path": "/d\n    server x 192.0.2.9:1"}, "the health_path /d"),
    ]
    pages = [WEBSITE | {"name": f"p{number}"} | page for number, (page, _said) in enumerate(wrong)]
    told, error = site.run("pages", load_balancer_pages=pages)
    assert told == []
    assert [said for _page, said in wrong if said not in error] == []
    assert not (site.root / "etc").exists()


@pytest.mark.parametrize("page", [{"hosts": ["www.localhost"]}, {"hosts": ["sandbox.localhost"]}, {"name": "website"}])
def test_a_host_leads_to_one_page(site: Site, page: dict[str, Any]) -> None:
    other = {"name": "other", "hosts": ["other.localhost"], "node_port": 30081, "health_path": "/"} | page
    told, error = site.run("pages", load_balancer_pages=[WEBSITE, other])
    assert (told, "a name or a host twice" in error) == ([], True)
