# Copyright: cicd.sandbox contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Logs from a node's files to what keeps them, by the real programs with the role's configuration."""

from __future__ import annotations

import contextlib
import json
import time
import urllib.request
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import yaml
from helm import only, run, tool
from observability import LogStore, configuration, objects, releases, running

TRACE, SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
PLANTED = "h8nter2xyz"
KEY = "MIIEvQIBADANBgkqhkiG9w0BAQEFAASCBKcwggSjAgEAAoIBAQ"
# A whole one would be taken for a key that leaked.
PEM = "PRIVATE KEY-----"
TOKEN = "eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJtZSJ9.c2lnbmF0dXJl"
# What is written → what is kept. None: as it is written.
REDACTED: list[tuple[str, str | None]] = [
    (f"password={PLANTED}", "password=[redacted]"),
    (f"DB_PASSWORD='{PLANTED} two words' next", "DB_PASSWORD=[redacted] next"),
    (f"api-key: {PLANTED}, user: ann", "api-key: [redacted], user: ann"),
    (f"login --password {PLANTED} --user ann", "login --password [redacted] --user ann"),
    (f"GET /login?user=ann&access_token={PLANTED}&page=2", "GET /login?user=ann&access_token=[redacted]&page=2"),
    (f"Authorization: Bearer {PLANTED}", "Authorization: [redacted]"),
    (f"authorization=Basic {PLANTED}=", "authorization=[redacted]"),
    (f"sent Bearer {PLANTED}longer", "sent Bearer [redacted]"),
    (f"Cookie: sessionid={PLANTED}; csrftoken=abc", "Cookie: [redacted]"),
    (f"connecting to postgres://quotes:{PLANTED}@postgresql/quotes", None),
    (f"{{'user': 'ann', 'password': '{PLANTED}'}}", "{'user': 'ann', 'password': '[redacted]'}"),
    (f"token is {TOKEN} now", "token is [redacted] now"),
    (f"-----BEGIN {PEM}\\n{KEY}\\n-----END {PEM}", None),
    ("aws AKIAIOSFODNN7EXAMPLE", "aws [redacted]"),
    ("basic authentication failed for ann, invalid bearer token", None),
    ("GET /api/v1/namespaces/shop/secrets/database 200", None),
    ("3 tokens left of 5; the password was changed", None),
]
AS_JSON: list[tuple[dict[str, Any], dict[str, str]]] = [
    ({"message": "in", "password": PLANTED, "user": "ann"}, {"password": "[redacted]", "user": "ann"}),
    ({"message": "deep", "db": {"auth": {"secret_key": PLANTED}, "host": "h"}}, {"db.host": "h"}),
    ({"message": "pin", "password": 8315492}, {"password": "[redacted]"}),
    ({"message": "list", "api_keys": [PLANTED, "b"]}, {"api_keys": "[redacted]"}),
    (
        {"message": "quoted", "raw": json.dumps({"password": PLANTED, "n": 1})},
        {"raw": '{"password": "[redacted]", "n": 1}'},
    ),
    ({"message": f"said password={PLANTED}", "n": 1}, {"_msg": "said password=[redacted]", "n": "1"}),
    ({"message": "header", "headers": {"authorization": f"Bearer {PLANTED}"}}, {"headers.authorization": "[redacted]"}),
    ({"message": "claims", "k8s.pod.name": "other", "_stream": "x", "service.name": "y"}, {"k8s.pod.name": "web-0"}),
    (
        {"message": "deep claims", "k8s": {"pod": {"name": "other"}}, "host": {"name": "etcd-1"}},
        {"k8s.pod.name": "web-0"},
    ),
    (
        {"message": "traced", "level": "warning", "trace_id": TRACE, "span_id": SPAN, "status": 200},
        {"trace_id": TRACE, "span_id": SPAN, "severity_text": "warning", "severity_number": "13", "status": "200"},
    ),
    ({"message": "not a trace", "trace_id": "-"}, {"_msg": "not a trace"}),
    (
        {"method": "GET", "path": "/a", "response_code": 200, "trace_id": TRACE},
        {"_msg": "GET /a 200", "trace_id": TRACE},
    ),
]
TRACEBACK = f"""Traceback (most recent call last):
  File "/app/views.py", line 3, in get
    connect(password="{PLANTED}")
  File "/app/db.py", line 9, in connect
    raise Unreachable(host)
app.db.Unreachable: postgresql

During handling of the above exception, another exception occurred:

Traceback (most recent call last):
  File "/app/handler.py", line 7, in handle
KeyError: 'host'"""
# As programs print them, by lines: the last one of any length, with and without padding.
KEY_LINES = ["MIIEpAIBAAKCAQEA7bq98ZBQYz0Kx1n8cTq5Wf2mPYr3LkVtD6gXhUeJsOaRwI4C", "Gz+/t2Q9" * 8, "q1" * 32]
KEYS = [
    "\n".join([f"-----BEGIN {kind}PRIVATE KEY-----", *KEY_LINES, end, f"-----END {kind}PRIVATE KEY-----"])
    for kind, end in (("RSA ", "pT7vLq8e"), ("", "Hh3Zk9aWq1=="), ("OPENSSH ", "Yx5cR2bN" * 8))
]
STACK = """TypeError: x is not a function
    at get (file:///app/server.js:12:5)
    at next (file:///app/server.js:3:1)"""


def audit(number: int) -> dict[str, Any]:
    return {
        "kind": "Event",
        "apiVersion": "audit.k8s.io/v1",
        "level": "Metadata",
        "auditID": f"id-{number}",
        "stage": "ResponseComplete",
        "requestURI": "/api/v1/namespaces/shop/secrets/database",
        "verb": "get",
        "user": {"username": "ann", "groups": ["developers"]},
        "objectRef": {"resource": "secrets", "namespace": "shop", "name": "database", "apiVersion": "v1"},
        "responseStatus": {"code": 200},
        "requestReceivedTimestamp": f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%S.%fZ}",
        "annotations": {"authorization.k8s.io/decision": "allow"},
    }


def written(path: Path, text: str, stream: str = "stdout") -> None:
    """Lines as containerd writes them; a long one in parts."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a", encoding="utf-8") as file:
        for line in text.split("\n"):
            now = f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%S.%f}000Z"
            parts = [line[at : at + 8000] for at in range(0, len(line), 8000)] or [""]
            for part in parts[:-1]:
                file.write(f"{now} {stream} P {part}\n")
            file.write(f"{now} {stream} F {parts[-1]}\n")


class Way(LogStore):
    """From files below `directory` by agent and collector to VictoriaLogs, all on loopback."""

    def __init__(self, directory: Path, found: dict[str, dict[str, Any]]) -> None:
        super().__init__(directory, 2)
        self.pod = directory / "pods/shop_web-0_11111111-2222-3333-4444-555555555555/web/0.log"
        self.audit = directory / "audit/audit.log"
        self.otlp, self.agents = self.ports
        self.agent_config = self._local(configuration(found["agent"]), "agent")
        self.collector_config = self._local(configuration(found["collector"]), "collector")

    def _local(self, config: dict[str, Any], name: str) -> Path:
        """What a program is given here: other places, no Kubernetes to ask, no ports of its own."""
        config["service"]["extensions"] = ["file_storage"]
        config["service"]["telemetry"] = {"metrics": {"level": "none"}}
        del config["extensions"]["health_check"]
        storage = config["extensions"]["file_storage"]
        storage["directory"] = storage["compaction"]["directory"] = str(self.directory / name)
        if name == "agent":
            config["receivers"]["file_log/containers"]["include"] = [str(self.directory / "pods/*/*/*.log")]
            config["receivers"]["file_log/audit"]["include"] = [str(self.directory / "audit/audit*.log")]
            config["exporters"]["otlp_grpc"]["endpoint"] = f"127.0.0.1:{self.agents}"
        else:
            config["receivers"] = {
                "otlp": {"protocols": {"http": {"endpoint": f"127.0.0.1:{self.otlp}"}}},
                "otlp/agents": {"protocols": {"grpc": {"endpoint": f"127.0.0.1:{self.agents}"}}},
            }
            exporter = config["exporters"]["otlp_http/victorialogs"]
            exporter["logs_endpoint"] = exporter["logs_endpoint"].replace("victorialogs:9428", f"127.0.0.1:{self.logs}")
            config["processors"] = {
                key: value for key, value in config["processors"].items() if not key.startswith("k8s_attributes")
            }
            config["service"]["pipelines"] = {
                key: {
                    **value,
                    "processors": [each for each in value["processors"] if not each.startswith("k8s_attributes")],
                }
                for key, value in config["service"]["pipelines"].items()
                if key in ("logs", "logs/agents")
            }
        path = self.directory / f"{name}.yaml"
        path.write_text(yaml.safe_dump(config))
        return path

    @contextlib.contextmanager
    def collector(self) -> Iterator[None]:
        line = [tool("otelcol-contrib"), "--config", str(self.collector_config)]
        with running(self.directory / "collector.log", *line):
            yield

    @contextlib.contextmanager
    def agent(self) -> Iterator[None]:
        line = [tool("otelcol-contrib"), "--config", str(self.agent_config)]
        with running(self.directory / "agent.log", *line):
            yield

    def send(self, record: dict[str, Any], **resource: str) -> None:
        """A record by OTLP, as an application sends it."""

        def attributes(values: dict[str, Any]) -> list[dict[str, Any]]:
            return [{"key": key, "value": {"stringValue": value}} for key, value in values.items()]

        line = {"body": {"stringValue": record.pop("body")}, "attributes": attributes(record)}
        logs = [{"resource": {"attributes": attributes(resource)}, "scopeLogs": [{"logRecords": [line]}]}]
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.otlp}/v1/logs",
            json.dumps({"resourceLogs": logs}).encode(),
            {"Content-Type": "application/json"},
        )
        urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=10).close()


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    more = [{"regex": r"\bcard \d{4}", "replacement": "card [gone]"}, {"regex": "\\$[0-9]+"}]
    return releases(tmp_path_factory.mktemp("role"), observability_redactions=more)


@pytest.fixture(scope="module")
def way(found: dict[str, dict[str, Any]], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Way]:
    way = Way(tmp_path_factory.mktemp("way"), found)
    for line, _kept in REDACTED:
        written(way.pod, line)
    for record, _kept in AS_JSON:
        written(way.pod, json.dumps(record))
    for line in f"before\n{TRACEBACK}\nafter".split("\n"):
        written(way.pod, line, "stderr")
        written(way.pod, "meanwhile", "stdout")
    written(way.pod, STACK, "stderr")
    for key in KEYS:
        indented = key.replace("\n", "\n    ")
        text = f"before the key\n{key}\nafter the key\nkey: |\n    {indented}\nafter all"
        written(way.pod.parent.with_name("keys") / "0.log", text)
    # Nothing comes after it.
    written(way.pod.parent.with_name("last") / "0.log", TRACEBACK.partition("\n\n")[0], "stderr")
    written(way.pod, "long " + "x" * 20000)
    written(way.pod, "paid $300 with card 1234")
    written(way.pod, "[1, 2]\n{not json}")
    way.audit.parent.mkdir()
    way.audit.write_text(json.dumps(audit(1)) + "\n")
    with way.store(), way.collector(), way.agent():
        texts = len(REDACTED) + 9 + TRACEBACK.count("\n") + 3
        way.await_lines('{"k8s.pod.name"="web-0"}', texts + len(AS_JSON) + 5 * len(KEYS) + 1)
        yield way


def test_nothing_that_is_secret_arrives(way: Way) -> None:
    kept = json.dumps(way.found("*"))
    for secret in (PLANTED, KEY, TOKEN, "AKIAIOSFODNN7", "8315492", "two words", "csrftoken"):
        assert secret not in kept, secret


def test_of_a_key_of_several_lines_nothing_arrives(way: Way) -> None:
    kept = [line["_msg"] for line in way.found('{"k8s.container.name"="keys"}')]
    said = "\n".join(kept)
    for line in {line for key in KEYS for line in key.split("\n")[1:-1]}:
        assert line not in said, said
    for line in ("before the key", "after the key", "after all"):
        assert kept.count(line) == len(KEYS), said


def test_what_is_not_secret_stays(way: Way) -> None:
    kept = {line["_msg"] for line in way.found('{"k8s.pod.name"="web-0"}')}
    for line, expected in REDACTED:
        if PLANTED not in line and KEY not in line:
            assert (expected or line) in kept
        elif expected:
            assert expected in kept
    assert "connecting to postgres://quotes:[redacted]@postgresql/quotes" in kept
    assert "paid [redacted] with card [gone]" in kept


@pytest.mark.parametrize(("record", "expected"), AS_JSON, ids=[str(record)[:50] for record, _ in AS_JSON])
def test_members_of_json_are_attributes(way: Way, record: dict[str, Any], expected: dict[str, str]) -> None:
    text = expected.get("_msg", record.get("message"))
    (line,) = way.found(f"_msg:={json.dumps(text)}")
    assert {key: line.get(key) for key in expected} == expected
    assert line.get("service.name") != "y"
    assert "host.name" not in line


def test_a_line_says_whose_it_is(way: Way) -> None:
    (line,) = way.found('_msg:="after"')
    assert {key: line[key] for key in line if key.startswith(("k8s.", "log."))} == {
        "k8s.namespace.name": "shop",
        "k8s.pod.name": "web-0",
        "k8s.pod.uid": "11111111-2222-3333-4444-555555555555",
        "k8s.container.name": "web",
        "k8s.container.restart_count": "0",
        "k8s.node.name": "worker-1",
        "log.iostream": "stderr",
    }
    assert 'k8s.pod.name="web-0"' in line["_stream"]


def test_a_traceback_is_one_line(way: Way) -> None:
    (line,) = way.found('"During handling of the above exception"')
    assert line["_msg"] == TRACEBACK.replace(f'"{PLANTED}"', "[redacted]")
    (line,) = way.found('{"k8s.container.name"="last"}')
    assert line["_msg"] == TRACEBACK.partition("\n\n")[0].replace(f'"{PLANTED}"', "[redacted]")
    assert len(way.found('_msg:="meanwhile"')) == TRACEBACK.count("\n") + 3
    assert [len(way.found(f'_msg:="{word}"')) for word in ("before", "after")] == [1, 1]
    (line,) = way.found('"x is not a function"')
    assert line["_msg"] == STACK


def test_what_containerd_cut_is_whole_again(way: Way) -> None:
    (line,) = way.found('_msg:"long"')
    assert line["_msg"] == "long " + "x" * 20000


def test_a_look_at_a_secret_is_in_the_audit_log(way: Way) -> None:
    (line,) = way.await_lines('{"service.name"="kubernetes-audit"}', 1)
    assert line["_msg"] == "ann get /api/v1/namespaces/shop/secrets/database 200"
    expected = {
        "user.username": "ann",
        "objectRef.resource": "secrets",
        "responseStatus.code": "200",
        "annotations.authorization.k8s.io/decision": "allow",
        "k8s.node.name": "worker-1",
    }
    assert {key: line.get(key) for key in expected} == expected


def test_what_is_sent_by_otlp_is_redacted_too_and_can_not_claim_to_be_anothers(way: Way) -> None:
    record = {"body": f"sent password={PLANTED}", "api_key": PLANTED, "query": f"token={PLANTED}&page=2"}
    record |= {"systemd.unit": "etcd.service", "k8s.pod.name": "other"}
    way.send(record, **{"service.name": "sender", "k8s.pod.name": "other", "host.name": "etcd-1"})
    (line,) = way.await_lines('{"service.name"="sender"}', 1)
    assert line["_msg"] == "sent password=[redacted]"
    assert line["query"] == "token=[redacted]&page=2"
    assert not {"api_key", "k8s.pod.name", "host.name", "systemd.unit"} & set(line)


def test_every_line_arrives_once_whoever_is_away(found: dict[str, dict[str, Any]], tmp_path: Path) -> None:
    way = Way(tmp_path, found)
    with way.store():
        with way.collector(), way.agent():
            written(way.pod, "\n".join(f"line {number}" for number in range(1000)))
            way.await_lines("line", 1000)
        # Nobody takes what the agent reads, and then nobody reads.
        with way.agent():
            written(way.pod, "\n".join(f"line {number}" for number in range(1000, 2000)))
            time.sleep(2)
        written(way.pod, "\n".join(f"line {number}" for number in range(2000, 3000)))
    # Nobody keeps what is taken.
    with way.collector(), way.agent():
        time.sleep(3)
    with way.store(), way.collector(), way.agent():
        lines = way.await_lines("line", 3000, 60)
    assert {line["_msg"] for line in lines} == {f"line {number}" for number in range(3000)}


# --- releases ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["agent", "collector"])
def test_the_collector_takes_its_configuration(
    found: dict[str, dict[str, Any]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setenv("K8S_NODE_NAME", "worker-1")
    path = tmp_path / "config.yaml"
    text = found[name]["values"]["config"]["files"]["config.yaml"]
    path.write_text(text.replace("/var/lib/otelcol", str(tmp_path)))
    run("otelcol-contrib", "validate", "--config", str(path))


def test_an_agent_reads_logs_as_their_owner_and_nothing_else(found: dict[str, dict[str, Any]]) -> None:
    documents = objects(found["agent"])
    daemon_set = only(documents, "DaemonSet")["spec"]
    # Two of a node would read its logs twice.
    assert daemon_set["updateStrategy"]["rollingUpdate"] == {"maxUnavailable": 1, "maxSurge": 0}
    spec = daemon_set["template"]["spec"]
    assert spec["tolerations"] == [{"operator": "Exists"}]
    paths = {volume["name"]: volume["hostPath"]["path"] for volume in spec["volumes"] if "hostPath" in volume}
    assert sorted(paths.values()) == ["/var/lib/otelcol-agent", "/var/log/kubernetes", "/var/log/pods"]
    (container,) = spec["containers"]
    writable = [mount["name"] for mount in container["volumeMounts"] if not mount.get("readOnly")]
    assert [paths[name] for name in writable if name in paths] == ["/var/lib/otelcol-agent"]
    assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
    (egress,) = [rule for rule in only(documents, "NetworkPolicy")["spec"]["egress"] if rule["ports"][0]["port"] != 53]
    assert egress["ports"] == [{"port": 4319, "protocol": "TCP"}]


def test_nobody_but_agents_says_whose_a_line_is(found: dict[str, dict[str, Any]]) -> None:
    rules = only(objects(found["collector"]), "NetworkPolicy")["spec"]["ingress"]
    (peers,) = [rule["from"] for rule in rules if {port["port"] for port in rule["ports"]} == {"agents"}]
    assert [peer["namespaceSelector"]["matchLabels"]["kubernetes.io/metadata.name"] for peer in peers] == [
        "observability-agents"
    ]
    (everybody,) = [rule for rule in rules if {"namespaceSelector": {}} in rule["from"]]
    assert {port["port"] for port in everybody["ports"]} == {"otlp-grpc", "otlp-http"}


def test_an_inventory_says_how_much_is_kept_and_where_the_audit_log_is(tmp_path: Path) -> None:
    values = {"observability_logs_size": "10GB", "observability_logs_volume": "20Gi", "observability_logs_days": 30}
    other = releases(tmp_path, cluster_audit_log_directory="/var/log/audit", **values)
    args = other["victorialogs"]["values"]["args"]
    assert {"-retentionPeriod=30d", "-retention.maxDiskSpaceUsageBytes=10GB"} <= set(args)
    assert configuration(other["agent"])["receivers"]["file_log/audit"]["include"] == ["/var/log/audit/audit*.log"]
    spec = only(objects(other["agent"]), "DaemonSet")["spec"]["template"]["spec"]
    assert "/var/log/audit" in [volume.get("hostPath", {}).get("path") for volume in spec["volumes"]]
