# Copyright: cicd.sandbox contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whom the standing sandbox's API servers ask, what the webhook refuses, and who goes on without it.

Answers are kept for ten seconds: no request here is asked twice with another answer in mind.
"""

from __future__ import annotations

import functools
import json
import secrets
import shlex
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import yaml
from live_cluster import (
    KUBECTL,
    STATE,
    Object,
    apply,
    as_user,
    control_planes,
    get,
    kubectl,
    meanwhile,
    nodes,
    on,
    standing,
    try_kubectl,
    until,
)

SUFFIX = secrets.token_hex(3)
CONFIGURATION = "/etc/kubernetes/policy/authorization.yml"
CLIENT = "/etc/kubernetes/pki/authorization"
# Replaces a part of what the rules of a running webhook look at, by the API server's own certificate.
REPLACE = f"""
import http.client, json, ssl, sys
context = ssl.create_default_context(cafile="{CLIENT}/ca.crt")
context.load_cert_chain("{CLIENT}/client.crt", "{CLIENT}/client.key")
connection = http.client.HTTPSConnection("127.0.0.1", int(sys.argv[1]), timeout=10, context=context)
connection.request("PUT", "/v1/data/security/" + sys.argv[2], sys.argv[3], {{"Content-Type": "application/json"}})
assert connection.getresponse().status == 204
"""


def webhook() -> tuple[list[str], Object]:
    """The order in which authorizers are asked, and how the webhook is."""
    (first, *_) = control_planes()
    listed = yaml.safe_load(on(first, "cat", CONFIGURATION))["authorizers"]
    described = next((item["webhook"] for item in listed if item["type"] == "Webhook"), {})
    return [item["type"] for item in listed], described


def port() -> str:
    (first, *_) = control_planes()
    server = yaml.safe_load(on(first, "cat", "/etc/kubernetes/policy/authorization-webhook.yml"))["clusters"][0][
        "cluster"
    ]
    return str(server["server"]).rstrip("/").rpartition(":")[2]


@contextmanager
def rules(name: str, value: Any) -> Iterator[None]:
    """Have the rules look at something else for a while, then at what control planes have in a file again."""
    kept = {plane: json.loads(on(plane, "cat", "/etc/opa/data.json"))["security"][name] for plane in control_planes()}

    def replace(plane: str, by: Any) -> None:
        on(plane, "python3", "-c", *map(shlex.quote, (REPLACE, port(), name, json.dumps(by))))

    try:
        for plane in kept:
            replace(plane, value)
        yield
    finally:
        for plane, data in kept.items():
            replace(plane, data)


def test_api_servers_ask_the_webhook_before_rbac() -> None:
    order, described = webhook()
    assert order.index("Webhook") < order.index("RBAC")
    assert described["failurePolicy"] == "Deny"
    for plane in control_planes():
        arguments = on(plane, "cat", "/etc/kubernetes/manifests/kube-apiserver.yaml")
        assert f"--authorization-config={CONFIGURATION}" in arguments
        assert "--authorization-mode" not in arguments
        assert on(plane, "systemctl", "is-active", "opa").strip() == "active"
    # By the conditions that say who is reviewed.
    assert 'name="opa.sandbox"' in kubectl("get", "--raw=/metrics")


def test_nobody_reaches_it_but_api_servers() -> None:
    """It listens on the loopback, and wants a certificate of an authority of its own."""
    for plane in control_planes():
        listening = [line.split()[3] for line in on(plane, "ss", "-Hltn", f"sport = :{port()}").splitlines()]
        assert listening == [f"127.0.0.1:{port()}"]
        tried = f"import ssl, urllib.request as r; r.urlopen('https://127.0.0.1:{port()}/v1/data', "
        tried += f"context=ssl.create_default_context(cafile='{CLIENT}/ca.crt'))"
        with pytest.raises(AssertionError, match=r"certificate required|SSLError|SSLV3|URLError"):
            on(plane, "python3", "-c", shlex.quote(tried))


def reader(name: str) -> list[Object]:
    """Describe a right to read Secrets of prod, and whose it is."""
    where = {"name": name, "namespace": "prod"}
    group = {"kind": "Group", "apiGroup": "rbac.authorization.k8s.io"}
    return [
        {
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "Role",
            "metadata": where,
            "rules": [{"apiGroups": [""], "resources": ["secrets"], "verbs": ["get", "list"]}],
        },
        {
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "RoleBinding",
            "metadata": where,
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": name},
            "subjects": [{**group, "name": name}, {**group, "name": "operators"}],
        },
    ]


def test_what_rbac_allows_is_refused_in_closed_hours() -> None:
    """At any hour of this test's: from this minute to the one before it."""
    name = f"auditors-{SUFFIX}"

    def listed(user: str, *groups: str) -> subprocess.CompletedProcess[str]:
        told = [f"--as={user}-{SUFFIX}", *(f"--as-group={group}" for group in ("system:authenticated", *groups))]
        return try_kubectl("get", "secrets", "--namespace=prod", "--output=name", *told)

    day = {"namespaces": ["prod"], "resources": ["secrets"], "from": "00:00", "to": "23:59", "groups": ["operators"]}
    night = {**day, "from": "23:58", "to": "00:01"}
    with standing(*reader(name)):
        with rules("closed_hours", []):
            assert until(lambda: listed("by-day", name).returncode == 0, 15)
        with rules("closed_hours", [day, night]):
            refused = listed("by-night", name)
            assert refused.returncode != 0
            assert "secrets of prod are closed from" in refused.stderr
            assert listed("on-duty", "operators").returncode == 0


def test_a_namespace_that_has_data_is_not_deleted_by_the_admin() -> None:
    full, empty = f"full-{SUFFIX}", f"empty-{SUFFIX}"
    claim = {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": "data", "namespace": full},
        "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Mi"}}},
    }
    for name in (full, empty):
        apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
    try:
        apply(claim)
        refused = as_user("admin", "delete", "namespace", full, "--wait=false")
        assert refused.returncode != 0
        assert f"namespace {full} has data: delete its PersistentVolumeClaims first" in refused.stderr
        done = as_user("admin", "delete", "namespace", empty, "--wait=false")
        assert done.returncode == 0, done.stderr
    finally:
        # As runs do, who never wait for it.
        kubectl("delete", "namespace", full, empty, "--ignore-not-found", "--wait=false")


def test_a_revoked_users_certificate_is_good_for_nothing() -> None:
    assert as_user("viewer", "get", "pods", "--namespace=dev").returncode == 0
    with rules("revoked_users", ["viewer"]):
        refused = as_user("viewer", "get", "configmaps", "--namespace=dev")
        assert refused.returncode != 0
        assert "the certificates of viewer are revoked" in refused.stderr
    assert as_user("viewer", "get", "services", "--namespace=dev").returncode == 0


def test_what_was_refused_is_logged_and_nothing_else() -> None:
    (plane, *_) = control_planes()
    log = on(plane, "journalctl", "--unit=opa", "--lines=500", "--output=cat")
    decisions = [json.loads(line) for line in log.splitlines() if "decision_id" in line]
    assert all(item["result"]["status"]["denied"] for item in decisions)
    assert not [item for item in decisions if "extra" in item["input"]["spec"] or "uid" in item["input"]["spec"]]
    assert any("are revoked" in item["result"]["status"]["reason"] for item in decisions)


# --- without it ------------------------------------------------------------------------------------------------------


def asked(user: str) -> str:
    """What somebody is told who asks what nobody asked before: "NotFound" whom authorizers let in."""
    return as_user(user, "get", "configmap", f"no-{secrets.token_hex(4)}", "--namespace=prod").stderr


def refused(user: str, said: str) -> bool:
    return said in asked(user)


STRANGER = "; ".join(f"cp {CLIENT}/client.{kind} server.{kind}" for kind in ("crt", "key"))
# Not to be had, not to answer, and to have a certificate that an API server does not take: the client's.
FAULTS = {
    "away": ("systemctl stop opa", "systemctl start opa", "connection refused"),
    "slow": ("systemctl kill --signal=STOP opa", "systemctl kill --signal=CONT opa", "Timeout exceeded"),
    # A connection that stands is kept; the right one is taken up without another start, as any that is issued anew.
    "a stranger": (
        f"cp -a /etc/opa/pki /run/; cd /etc/opa/pki; {STRANGER}; systemctl restart opa",
        "cp -a /run/pki /etc/opa/ && rm -r /run/pki",
        "failed to verify certificate",
    ),
}


@pytest.mark.trial
@pytest.mark.parametrize("fault", FAULTS)
def test_while_it_is_broken_users_are_refused_and_the_cluster_goes_on(fault: str) -> None:
    begin, end, said = FAULTS[fault]
    break_glass = [KUBECTL[0], f"--kubeconfig={STATE}/break-glass.kubeconfig", "get", "secrets", "--namespace=prod"]
    assert "NotFound" in asked("admin")
    try:
        for plane in control_planes():
            on(plane, begin)
        for user in ("admin", "prod-user", "viewer"):
            assert until(functools.partial(refused, user, said), 30), user
        # Runs, repairs and what keeps the cluster alive.
        assert try_kubectl("get", "secrets", "--namespace=prod").returncode == 0
        assert subprocess.run(break_glass, check=False, capture_output=True).returncode == 0
        assert kubectl("get", "--raw=/readyz") == "ok"
        name = f"alive-{secrets.token_hex(3)}"
        with standing({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}):
            # Controllers make it, and nodes tell that they live.
            assert until(lambda: try_kubectl("get", "serviceaccount", "default", f"--namespace={name}").returncode == 0)
        ready = [
            condition["status"]
            for node in get("nodes")["items"]
            for condition in node["status"]["conditions"]
            if condition["type"] == "Ready"
        ]
        assert ready == ["True"] * len(nodes())
    finally:
        for plane in control_planes():
            on(plane, end)
    assert until(lambda: "NotFound" in asked("admin"), 30)


def api_servers() -> list[str]:
    """The containers in which API servers run."""
    pods = get("pods", "--namespace=kube-system", "--selector=component=kube-apiserver")["items"]
    return sorted(pod["status"]["containerStatuses"][0]["containerID"] for pod in pods)


@pytest.mark.trial
def test_after_rbac_it_refuses_nothing_that_rbac_allows() -> None:
    """What Node,RBAC,Webhook can't do; API servers take the other order without a restart or a lost request."""
    told: list[str] = []
    # Each time what nobody asked before.
    with meanwhile(lambda: told.append(asked("admin")), 0.05):
        turn_and_turn_back()
    lost = [said for said in told if "NotFound" not in said]
    assert not lost, f"{len(lost)} of {len(told)}: {lost[0]}"
    # Some each second of a minute at least.
    assert len(told) > 100


def turn_and_turn_back() -> None:
    """Have API servers ask RBAC before the webhook for a while; see that each order does what it does."""
    planes = control_planes()
    turn = f"""
import pathlib, yaml
path = pathlib.Path("{CONFIGURATION}")
document = yaml.safe_load(path.read_text())
document["authorizers"].sort(key=lambda item: ["Node", "RBAC", "Webhook"].index(item["type"]))
path.with_suffix(".tried").write_text(yaml.safe_dump(document))
path.with_suffix(".tried").rename(path)
"""
    started = api_servers()
    kept = {plane: on(plane, "cat", CONFIGURATION) for plane in planes}
    try:
        with rules("revoked_users", ["viewer"]):
            for plane in planes:
                on(plane, "python3", "-c", shlex.quote(turn))
            # The API server looks once a minute at the latest.
            assert until(lambda: as_user("viewer", "get", "replicasets", "--namespace=dev").returncode == 0, 90)
    finally:
        for plane, text in kept.items():
            on(
                plane,
                f"printf %s {shlex.quote(text)} > {CONFIGURATION}.kept && mv {CONFIGURATION}.kept {CONFIGURATION}",
            )
    with rules("revoked_users", ["viewer"]):
        assert until(lambda: as_user("viewer", "get", "daemonsets", "--namespace=dev").returncode != 0, 90)
    assert api_servers() == started
