# Copyright: cicd.sandbox contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Logs as who looks for them finds them, at the page: lines of pods, of the audit log, events of the cluster."""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Iterator

import pytest
from live_cluster import Object, get, kubectl, sleeper, standing, try_kubectl, until
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
    assert until(lambda: {line["k8s.node.name"] for line in lines('* | uniq by ("k8s.node.name")')} >= nodes, SOON)


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
