# Copyright: cicd.sandbox contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Logs as who looks for them finds them, at the page: lines of pods and machines, the audit log, events."""

from __future__ import annotations

import json
import os
import secrets
import shlex
import socket
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from live_cluster import Object, address, get, inventory, kubectl, on, sleeper, standing, try_kubectl, until, workers
from live_pages import ask, shown

# Seconds within which what is said has to be found.
SOON = 15
PLANTED = "h8nter2xyz"
TRACEBACK = """Traceback (most recent call last):
  File "/app/views.py", line 3, in get
    reserve(quote)
quotes.errors.OutOfStock: quote {mark}"""
# What the pod says, in this order.
SAID = (
    """plain {mark}
{{"level": "error", "message": "json {mark}", "password": "{planted}", "trace_id": "{trace}", "order": {{"id": 7}}}}
login password={planted} {mark}
"""
    + TRACEBACK
)


def lines(query: str) -> list[dict[str, str]]:
    """Lines of the last five minutes. A question in the address would be in the gateway's own log."""
    answer = shown("logs", "/select/logsql/query", query=f"_time:5m {query}", limit="1000")
    return [json.loads(line) for line in answer.splitlines()]


@pytest.fixture(scope="module")
def speaker() -> Iterator[tuple[str, str, str]]:
    """The name of a pod that has just said something, the word that tells it, and its trace."""
    name, mark, trace = f"speaker-{os.getpid()}", secrets.token_hex(8), secrets.token_hex(16)
    text = SAID.format(mark=mark, planted=PLANTED, trace=trace)
    pods = sleeper(name, "default", "sh", "-c", 'echo "$0"; exec sleep 300', text)
    with standing(*pods):
        assert until(lambda: mark in try_kubectl("logs", "--namespace=default", name).stdout)
        yield name, mark, trace


def test_a_pods_lines_are_soon_found_by_what_they_say(speaker: tuple[str, str, str]) -> None:
    name, mark, _trace = speaker
    assert until(lambda: len(lines(mark)) == 4, SOON), lines(mark)
    node = get("pod", "--namespace=default", name)["spec"]["nodeName"]
    expected = {
        "k8s.namespace.name": "default",
        "k8s.pod.name": name,
        "k8s.container.name": "main",
        "k8s.node.name": node,
        "service.name": name,
    }
    for line in lines(mark):
        assert {key: line.get(key) for key in expected} == expected


def test_a_line_of_json_is_found_by_its_members_and_its_trace(speaker: tuple[str, str, str]) -> None:
    _name, mark, trace = speaker
    (line,) = until(lambda: lines(f'trace_id:="{trace}"'), SOON)
    assert line["_msg"] == f"json {mark}"
    assert (line["severity_text"], line["order.id"]) == ("error", "7")


def test_a_planted_password_does_not_arrive(speaker: tuple[str, str, str]) -> None:
    _name, mark, _trace = speaker
    assert until(lambda: lines(f'"login password" {mark}'), SOON)[0]["_msg"] == f"login password=[redacted] {mark}"
    assert lines(PLANTED) == []


def test_a_traceback_is_one_line(speaker: tuple[str, str, str]) -> None:
    _name, mark, _trace = speaker
    assert until(lambda: lines(f"OutOfStock {mark}"), SOON)[0]["_msg"] == TRACEBACK.format(mark=mark)


def test_who_read_a_secret_is_found() -> None:
    name = f"looked-at-{secrets.token_hex(4)}"
    kubectl("get", "secret", "--namespace=default", name, fails=True)
    (line,) = until(lambda: lines(f'{{"service.name"="kubernetes-audit"}} "objectRef.name":="{name}"'), SOON)
    assert (line["verb"], line["objectRef.resource"], line["responseStatus.code"]) == ("get", "secrets", "404")
    assert line["user.username"]


def test_what_happened_to_a_pod_is_found(speaker: tuple[str, str, str]) -> None:
    name, _mark, _trace = speaker
    query = f'{{"service.name"="kubernetes-events"}} "k8s.object.name":="{name}"'
    reasons = until(lambda: {line["k8s.event.reason"] for line in lines(query)} >= {"Scheduled", "Started"}, SOON)
    assert reasons, lines(query)


def test_every_node_is_heard_of() -> None:
    nodes = {node["metadata"]["name"] for node in get("nodes")["items"]}
    query = '!"systemd.unit":* | uniq by ("k8s.node.name")'
    assert until(lambda: {line["k8s.node.name"] for line in lines(query)} >= nodes, SOON)


# A unit whose lines are read, and which these machines have not: who writes as it does not write among its own.
UNIT = "opa.service"


@pytest.fixture(params=["infra", "etcd", "workers"])
def machine(request: pytest.FixtureRequest) -> str:
    return str(inventory()[request.param]["hosts"][0])


def said_by_a_unit(machine: str, *texts: str) -> None:
    """Have lines in the journal of a machine, as warnings of the unit."""
    words = ["--quiet", "--collect", "--wait", f"--unit={UNIT}", "--description=test", "--property=SyslogLevel=warning"]
    on(machine, "systemd-run", *words, "printf", shlex.quote("%s\\n"), *[shlex.quote(text) for text in texts])


def test_a_line_of_a_machines_journal_is_found_once_without_its_secrets(machine: str) -> None:
    mark = secrets.token_hex(8)
    said_by_a_unit(machine, f"said {mark}", f"login password={PLANTED} {mark}")
    assert until(lambda: len(lines(mark)) >= 2, SOON)
    # Queries are not in the journal: what is found now stays so.
    found = sorted(lines(mark), key=lambda line: line["_msg"])
    assert [line["_msg"] for line in found] == [f"login password=[redacted] {mark}", f"said {mark}"]
    expected = {
        "host.name": machine,
        "systemd.unit": UNIT,
        "service.name": "opa",
        "severity_text": "WARN",
        "k8s.node.name": machine if machine in workers() else None,
    }
    for line in found:
        assert {key: line.get(key) for key in expected} == expected
    assert lines(PLANTED) == []


def test_who_has_no_certificate_of_the_collectors_authority_sends_it_nothing() -> None:
    (member,) = inventory()["etcd"]["hosts"][:1]
    name, port, own = "collector.observability.svc", 4320, "/etc/otelcol-journal"
    ask_it = [
        "curl --silent --output /dev/null --write-out '%{http_code} %{exitcode}' --max-time 10 --noproxy '*'",
        f"--connect-to {name}:{port}:{address('infra-1')}:{port} --cacert {own}/ca.crt",
        "--header Content-Type:application/x-protobuf --data-binary ''",
    ]
    for credentials, expected in [
        (f"--cert {own}/client.crt --key {own}/client.key", "200 0"),
        ("", "000 56"),
        # Of another authority of the sandbox's, for clients too.
        ("--cert /etc/etcd/pki/server.crt --key /etc/etcd/pki/server.key", "000 56"),
    ]:
        assert on(member, *ask_it, credentials, f"https://{name}:{port}/v1/logs", "|| true") == expected, credentials


@pytest.mark.parametrize("port", [30030, 30031])
def test_only_the_load_balancer_reaches_the_collector_by_its_nodes(port: int) -> None:
    for worker in workers():
        with pytest.raises(OSError, match=r"refused|timed out"):
            socket.create_connection((address(worker), port), timeout=3)


@contextmanager
def no_collector() -> Iterator[None]:
    where = ["statefulset/collector", "--namespace=observability"]
    kubectl("scale", *where, "--replicas=0")
    try:
        kubectl("wait", "--for=delete", "pod/collector-0", "--namespace=observability", "--timeout=60s")
        yield
    finally:
        kubectl("scale", *where, "--replicas=1")
        kubectl("rollout", "status", *where, "--timeout=120s", "--request-timeout=0")


def test_no_line_of_a_machine_is_lost_while_the_collector_is_away() -> None:
    mark = secrets.token_hex(8)
    machines = [str(inventory()[group]["hosts"][0]) for group in ("infra", "etcd", "workers")]
    said = {(machine, f"line {number} {mark}") for machine in machines for number in range(40)}
    with no_collector():
        for machine in machines:
            said_by_a_unit(machine, *[text for its, text in sorted(said) if its == machine])
        # Longer than a machine waits before it tries again.
        assert not until(lambda: lines(mark), 8)
    assert until(lambda: len(lines(mark)) >= len(said), 60)
    found = [(line["host.name"], line["_msg"]) for line in lines(mark)]
    assert sorted(found) == sorted(said)


def test_nobody_writes_by_the_page() -> None:
    assert ask("logs", "/insert/jsonline", _msg="forged").status == 404


def test_the_page_comes_with_what_it_is_made_of() -> None:
    html = shown("logs", "/select/vmui/")
    scripts = [part.partition('"')[0] for part in html.split('src="')[1:]]
    assert [script for script in scripts if script.endswith(".js")]
    for script in scripts:
        assert len(shown("logs", f"/select/vmui/{script.removeprefix('./')}")) > 1000


@pytest.mark.parametrize(
    ("account", "allowed", "refused"),
    [
        ("observability:collector", ["list pods -A", "watch events -A"], ["list secrets -A", "list configmaps -A"]),
        ("observability:victorialogs", [], ["list pods -A"]),
        ("observability-agents:agent", [], ["list pods -A", "get nodes", "list secrets -A"]),
    ],
)
def test_accounts_may_read_what_they_need_and_change_nothing(
    account: str, allowed: list[str], refused: list[str]
) -> None:
    changes = ["create pods -A", "patch nodes", "create events -A", "create serviceaccounts --subresource=token -A"]
    for words, expected in [(allowed, "yes"), (refused + changes, "no")]:
        for may in words:
            who = f"--as=system:serviceaccount:{account}"
            said = kubectl("auth", "can-i", who, *may.split(), fails=expected == "no").splitlines()
            assert [line for line in said if line in ("yes", "no")] == [expected], (account, may)


def agents() -> list[Object]:
    found: list[Object] = get("pods", "--namespace=observability-agents")["items"]
    return found


def test_an_agent_can_do_no_more_than_read_logs() -> None:
    assert {item["metadata"]["labels"]["app"] for item in agents()} == {"agent"}
    for item in agents():
        spec = item["spec"]
        assert not [key for key in ("hostNetwork", "hostPID", "hostIPC") if spec.get(key)]
        assert [volume for volume in spec["volumes"] if "projected" in volume] == []
        (container,) = spec["containers"]
        assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
        assert container["securityContext"]["readOnlyRootFilesystem"] is True
        paths = {volume["name"]: volume["hostPath"]["path"] for volume in spec["volumes"] if "hostPath" in volume}
        writable = [mount["name"] for mount in container["volumeMounts"] if not mount.get("readOnly")]
        assert [paths[name] for name in writable if name in paths] == ["/var/lib/otelcol-agent"]
