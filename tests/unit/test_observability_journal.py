# Copyright: cicd.sandbox contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Lines of a machine's journal to what keeps them, by the real programs with the role's configuration."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import socket
import ssl
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from checkout import REPOSITORY
from helm import only, run, tool
from local_server import Authority, make_authority
from observability import ROLE, LogStore, configuration, objects, play, releases, running

PLANTED = "h8nter2xyz"
PEM = "PRIVATE KEY-----"
KEY = "MIIEvQIBADANBgkqhkiG9w0BAQEFAASCBKcwggSjAgEAAoIBAQ" + "Dtur3xkFBjPQrH"
NOW = time.time()
# What is asked of journalctl is noted; what it says are the lines of a file, whose number is the cursor.
JOURNALCTL = """#!/bin/sh
echo "$*" >> {directory}/asked
from=1
while [ $# -gt 0 ]; do
  case $1 in
    --after-cursor) from=$(($2 + 1)); shift ;;
    --after-cursor=*) from=$((${{1#*=}} + 1)) ;;
  esac
  shift
done
exec {tail} -n +$from -f {directory}/journal
"""
# Entry → what is kept of it.
ENTRIES: list[tuple[dict[str, Any], dict[str, str]]] = [
    (
        {"_SYSTEMD_UNIT": "haproxy.service", "MESSAGE": "Connect from 192.0.2.1:7 to 192.0.2.2:6443", "_PID": "9"},
        {"systemd.unit": "haproxy.service", "service.name": "haproxy", "severity_text": "INFO", "process.pid": "9"},
    ),
    (
        {"_SYSTEMD_UNIT": "kubelet.service", "MESSAGE": 'E1201 00:11:38.612591     637 conn.go:353] "socket"'},
        {"service.name": "kubelet", "severity_text": "ERROR", "severity_number": "17"},
    ),
    (
        {"_SYSTEMD_UNIT": "containerd.service", "MESSAGE": 'time="2026-12-01T00:08:18Z" level=warning msg="slow"'},
        {"service.name": "containerd", "severity_text": "WARN", "severity_number": "13"},
    ),
    (
        {"_SYSTEMD_UNIT": "etcd.service", "MESSAGE": json.dumps({"level": "warn", "msg": "rejected", "unit": "x"})},
        {"_msg": "rejected", "service.name": "etcd", "severity_text": "warn", "systemd.unit": "etcd.service"},
    ),
    (
        {"_SYSTEMD_UNIT": "ssh.service", "MESSAGE": "broken", "PRIORITY": "3"},
        {"service.name": "ssh", "severity_text": "ERROR", "severity_number": "17"},
    ),
    (
        {"_SYSTEMD_UNIT": "init.scope", "UNIT": "opa.service", "_PID": "1", "MESSAGE": "opa.service: Failed"},
        {"systemd.unit": "opa.service"},
    ),
    # Anybody can write this field.
    (
        {"_SYSTEMD_UNIT": "nginx.service", "UNIT": "opa.service", "_PID": "7", "MESSAGE": "claimed"},
        {"systemd.unit": "nginx.service"},
    ),
    (
        {
            "_SYSTEMD_UNIT": "opa.service",
            "MESSAGE": json.dumps(
                {"msg": "claims", "host.name": "other", "service.name": "y", "k8s.pod.name": "web-0"}
            ),
        },
        {"service.name": "opa", "host.name": "localhost"},
    ),
    (
        {"_SYSTEMD_UNIT": "opa.service", "MESSAGE": json.dumps({"msg": "deep", "systemd": {"unit": "etcd.service"}})},
        {"_msg": "deep", "systemd.unit": "opa.service"},
    ),
    ({"_SYSTEMD_UNIT": "opa.service", "MESSAGE": list(b"caf\xe9 closed")}, {"service.name": "opa"}),
    ({"_TRANSPORT": "kernel", "SYSLOG_IDENTIFIER": "kernel", "MESSAGE": "a device"}, {"systemd.unit": "kernel"}),
    (
        {"_SYSTEMD_UNIT": "etcd.service", "MESSAGE": f"login password={PLANTED}"},
        {"_msg": "login password=[redacted]"},
    ),
    (
        {"_SYSTEMD_UNIT": "etcd.service", "MESSAGE": json.dumps({"msg": "in", "db": {"secret_key": PLANTED, "n": 1}})},
        {"_msg": "in", "db.secret_key": "[redacted]", "db.n": "1"},
    ),
    (
        {"_SYSTEMD_UNIT": "nginx.service", "MESSAGE": f"GET /?access_token={PLANTED}&page=2"},
        {"_msg": "GET /?access_token=[redacted]&page=2"},
    ),
]
# Nothing is kept of these.
DROPPED: list[dict[str, Any]] = [
    {"_SYSTEMD_UNIT": "otelcol-journal.service", "MESSAGE": "said of itself"},
    {"_SYSTEMD_UNIT": "etcd.service", "MESSAGE": "too old", "__REALTIME_TIMESTAMP": f"{NOW - 8 * 86400:.0f}000000"},
    {"_SYSTEMD_UNIT": "etcd.service", "COREDUMP": "no text"},
]


class Journal(LogStore):
    """From entries of a journal by the machine's collector and the cluster's to VictoriaLogs, all on loopback."""

    def __init__(self, directory: Path, machine: dict[str, Any], cluster: dict[str, Any], authority: Authority) -> None:
        super().__init__(directory, 1)
        (self.port,) = self.ports
        self.authority, self.entries = authority, 0
        credentials = directory / "credentials"
        credentials.mkdir()
        for name, path in (
            ("ca.crt", authority.ca),
            ("client.crt", authority.certificate),
            ("client.key", authority.key),
        ):
            shutil.copy(path, credentials / name)
        programs = directory / "bin"
        programs.mkdir()
        (programs / "journalctl").write_text(JOURNALCTL.format(directory=directory, tail=shutil.which("tail")))
        (programs / "journalctl").chmod(0o755)
        (directory / "journal").touch()
        storage = machine["extensions"]["file_storage"]
        storage["directory"] = storage["compaction"]["directory"] = str(directory / "machine")
        (directory / "machine").mkdir()
        exporter = machine["exporters"]["otlp_http"]
        exporter["logs_endpoint"] = f"https://127.0.0.1:{self.port}/v1/logs"
        exporter["tls"]["server_name_override"] = "website.localhost"
        self.machine_config = self._written("machine.yaml", machine)
        self.cluster_config = self._written("cluster.yaml", self._cluster(cluster))

    def _written(self, name: str, config: dict[str, Any]) -> Path:
        path = self.directory / name
        path.write_text(yaml.safe_dump(config))
        return path

    def _cluster(self, config: dict[str, Any]) -> dict[str, Any]:
        """No more of it than the way of machines' lines, and other places."""
        receiver = config["receivers"]["otlp/machines"]
        http = receiver["protocols"]["http"]
        http["endpoint"] = f"127.0.0.1:{self.port}"
        places = {"cert_file": self.authority.certificate, "key_file": self.authority.key}
        http["tls"] |= {key: str(path) for key, path in {**places, "client_ca_file": self.authority.ca}.items()}
        pipeline = config["service"]["pipelines"]["logs/machines"]
        (name,) = pipeline["exporters"]
        exporter = config["exporters"][name]
        exporter["logs_endpoint"] = exporter["logs_endpoint"].replace("victorialogs:9428", f"127.0.0.1:{self.logs}")
        storage = config["extensions"]["file_storage"]
        storage["directory"] = storage["compaction"]["directory"] = str(self.directory / "cluster")
        return {
            "extensions": {"file_storage": storage},
            "receivers": {"otlp/machines": receiver},
            "processors": {key: config["processors"][key] for key in pipeline["processors"]},
            "exporters": {name: exporter},
            "service": {
                "extensions": ["file_storage"],
                "pipelines": {"logs/machines": pipeline},
                "telemetry": {"metrics": {"level": "none"}},
            },
        }

    def say(self, *entries: dict[str, Any]) -> None:
        with (self.directory / "journal").open("a") as file:
            for entry in entries:
                self.entries += 1
                now = f"{time.time():.6f}".replace(".", "")
                fields = {"PRIORITY": "6", "__REALTIME_TIMESTAMP": now, "__CURSOR": str(self.entries)}
                file.write(json.dumps({**fields, **entry}) + "\n")

    @contextlib.contextmanager
    def collector(self) -> Iterator[None]:
        line = [tool("otelcol-contrib"), "--config", str(self.cluster_config)]
        with running(self.directory / "cluster.log", *line):
            yield

    @contextlib.contextmanager
    def machine(self) -> Iterator[None]:
        path = f"{self.directory}/bin:{os.environ['PATH']}"
        line = ["env", f"PATH={path}", f"CREDENTIALS_DIRECTORY={self.directory}/credentials"]
        with running(
            self.directory / "machine.log", *line, tool("otelcol-contrib"), "--config", str(self.machine_config)
        ):
            yield


def machine_configuration(directory: Path, **variables: Any) -> str:
    template = "{{ lookup('ansible.builtin.template', 'journal.yml.j2') }}"
    done = play(directory, [{"ansible.builtin.debug": {"msg": template}}], **variables)
    assert done.returncode == 0, done.text
    text: str = done.results()[-1]["msg"]
    return text


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    return releases(tmp_path_factory.mktemp("role"))


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> str:
    return machine_configuration(tmp_path_factory.mktemp("machine"), __observability_journal_is_node=True)


@pytest.fixture
def journal(found: dict[str, dict[str, Any]], written: str, tmp_path: Path) -> Journal:
    authority = make_authority(tmp_path)
    return Journal(tmp_path, yaml.safe_load(written), configuration(found["collector"]), authority)


def test_an_entry_is_a_line_of_its_machine_and_unit_without_its_secrets(journal: Journal) -> None:
    key = [f"-----BEGIN {PEM}", KEY, "Hh3Zk9aWq1==", f"-----END {PEM}"]
    journal.say(*DROPPED, *[entry for entry, _kept in ENTRIES])
    journal.say(*[{"_SYSTEMD_UNIT": "certbot.service", "MESSAGE": line} for line in ["before", *key, "after"]])
    with journal.store(), journal.collector(), journal.machine():
        kept = journal.await_lines("*", len(ENTRIES) + 3)
    text = json.dumps(kept)
    for word in (PLANTED, KEY, "said of itself", "too old", "no text", "k8s.pod.name"):
        assert word not in text, word
    assert {line["host.name"] for line in kept} == {"localhost"}
    assert {line["k8s.node.name"] for line in kept} == {"localhost"}
    assert all('host.name="localhost"' in line["_stream"] for line in kept)
    assert "caf\N{REPLACEMENT CHARACTER} closed" in {line["_msg"] for line in kept}
    for entry, expected in ENTRIES:
        message = expected.get("_msg", entry["MESSAGE"])
        if isinstance(message, str) and not message.startswith("{"):
            (line,) = [line for line in kept if line["_msg"] == message]
            assert {name: line.get(name) for name in expected} == expected
    (line,) = [line for line in kept if line["_msg"] == "claims"]
    assert (line["service.name"], line["host.name"]) == ("opa", "localhost")
    # Those that are asked for, with what is long.
    asked = (journal.directory / "asked").read_text()
    assert "--unit kubelet.service" in asked
    assert "--all" in asked


def test_every_entry_arrives_once_whoever_is_away(journal: Journal) -> None:
    def numbered(first: int) -> list[dict[str, Any]]:
        return [{"_SYSTEMD_UNIT": "etcd.service", "MESSAGE": f"line {number}"} for number in range(first, first + 300)]

    journal.say(*numbered(0))
    # Before there is a cluster.
    with journal.machine():
        time.sleep(4)
    journal.say(*numbered(300))
    with journal.store(), journal.collector(), journal.machine():
        journal.await_lines("line", 600, 60)
    journal.say(*numbered(600))
    with journal.store(), journal.collector(), journal.machine():
        lines = journal.await_lines("line", 900, 60)
    assert {line["_msg"] for line in lines} == {f"line {number}" for number in range(900)}


def test_who_has_no_certificate_sends_nothing(journal: Journal, tmp_path_factory: pytest.TempPathFactory) -> None:
    stranger = make_authority(tmp_path_factory.mktemp("stranger"))
    for name, path in (("client.crt", stranger.certificate), ("client.key", stranger.key)):
        shutil.copy(path, journal.directory / "credentials" / name)
    journal.say({"_SYSTEMD_UNIT": "etcd.service", "MESSAGE": "forged"})
    with journal.store(), journal.collector():
        with journal.machine():
            time.sleep(6)
        assert journal.found("*") == []
        context = ssl.create_default_context(cafile=str(journal.authority.ca))
        with pytest.raises(ssl.SSLError, match="certificate required"):
            ssl_answer(journal.port, context)
        shutil.copy(journal.authority.certificate, journal.directory / "credentials/client.crt")
        shutil.copy(journal.authority.key, journal.directory / "credentials/client.key")
        # What was not taken is sent by who is known.
        with journal.machine():
            journal.await_lines("forged", 1)


def ssl_answer(port: int, context: ssl.SSLContext) -> bytes:
    """What a port answers to a greeting; a refusal of TLS 1.3 comes with the first answer."""
    context.set_alpn_protocols(["h2"])
    with (
        socket.create_connection(("127.0.0.1", port), timeout=10) as plain,
        context.wrap_socket(plain, server_hostname="website.localhost") as secured,
    ):
        secured.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
        return secured.recv(100)


def test_the_program_takes_the_configuration(written: str, tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text(written.replace("/var/lib/otelcol-journal", str(tmp_path)))
    run("otelcol-contrib", "validate", "--config", str(tmp_path / "config.yaml"))


def test_an_inventory_says_which_units_are_read(tmp_path: Path) -> None:
    config = yaml.safe_load(
        machine_configuration(
            tmp_path,
            observability_journal_units=[],
            observability_logs_days=2,
            observability_redactions=[{"regex": r"\bcard \d{4}"}],
        )
    )
    receiver = config["receivers"]["journald"]
    assert "units" not in receiver
    assert any("48h" in operator.get("expr", "") for operator in receiver["operators"])
    assert any(operator.get("regex") == r"\bcard \d{4}" for operator in receiver["operators"])
    # Not a node of the cluster.
    assert [each["key"] for each in config["processors"]["resource"]["attributes"]] == ["host.name"]


def test_units_that_roles_install_are_read() -> None:
    texts = [path.read_text() for path in (REPOSITORY / "roles").rglob("*.yml")]
    units = {unit for text in texts for unit in re.findall(r"/etc/systemd/system/([\w-]+\.service)\b(?!\.d)", text)}
    assert units - set(yaml.safe_load((ROLE / "defaults/main.yml").read_text())["observability_journal_units"]) == set()


def test_nobody_but_the_load_balancer_reaches_the_port_of_machines(found: dict[str, dict[str, Any]]) -> None:
    service = only(objects(found["observability"]), "Service")["spec"]
    # The client's address is kept, and no other port of the collector's is open.
    assert (service["type"], service["externalTrafficPolicy"]) == ("NodePort", "Local")
    assert {port["nodePort"]: port["targetPort"] for port in service["ports"]} == {30030: "machines", 30031: "health"}
    documents = objects(found["collector"])
    (container,) = only(documents, "StatefulSet")["spec"]["template"]["spec"]["containers"]
    labels = only(documents, "StatefulSet")["spec"]["template"]["metadata"]["labels"]
    assert service["selector"].items() <= labels.items()
    assert {"name": "machines", "containerPort": 4320, "protocol": "TCP"} in container["ports"]
    rules = only(documents, "NetworkPolicy")["spec"]["ingress"]
    (rule,) = [rule for rule in rules if "machines" in {port["port"] for port in rule["ports"]}]
    assert {port["port"] for port in rule["ports"]} == {"machines", "health"}
    assert rule["from"] == [{"ipBlock": {"cidr": "198.18.0.2/32"}}]


def test_its_key_is_no_secret_of_the_chart_but_a_file_of_the_controller(found: dict[str, dict[str, Any]]) -> None:
    secret = found["collector"]["secrets"]["collector-tls"]
    assert [Path(item["file"]).parent.name for item in secret.values()] == ["collector"] * 3
    tls = configuration(found["collector"])["receivers"]["otlp/machines"]["protocols"]["http"]["tls"]
    assert {Path(path).name for key, path in tls.items() if key.endswith("_file")} == set(secret)


def test_the_service_is_small_and_gives_way() -> None:
    unit = (ROLE / "templates/otelcol-journal.service.j2").read_text().splitlines()
    assert {"DynamicUser=yes", "Nice=10", "CapabilityBoundingSet=", "NoNewPrivileges=yes"} <= set(unit)
    assert [line for line in unit if line.startswith("MemoryMax=")]
