# Copyright: cicd.sandbox contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Metrics and alerts as who operates the sandbox finds them: at the pages, and by what Prometheus answers."""

from __future__ import annotations

import json
import os
import re
import ssl
import subprocess
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
import yaml
from checkout import REPOSITORY
from cryptography import x509
from helm import STATE
from live_pages import ask, prometheus, series, shown

NAMESPACE = "observability"
RULES = sorted((REPOSITORY / "roles/observability/files/rules").glob("*.rules.yml"))
IMAGE = "docker.io/library/busybox:latest"
# What must be looked at, and at how many places of the inventory at least.
JOBS = {
    "alertmanager": 1,
    "api-server": 1,
    "containers": 2,
    "control-plane": 2,
    "coredns": 2,
    "etcd": 1,
    "kube-state-metrics": 1,
    "kubelet": 2,
    "load-balancer": 1,
    "machines": 3,
    "pods": 3,
    "prometheus": 1,
    "registry": 1,
    "spans": 1,
}

Object = dict[str, Any]


def until(condition: Callable[[], Any], seconds: float = 90) -> Any:
    """Try until it is true, and return what it is."""
    deadline = time.monotonic() + seconds
    while not (value := condition()) and time.monotonic() < deadline:
        time.sleep(2)
    return value


def kubectl(*arguments: str, stdin: str | None = None) -> tuple[int, str]:
    line = [str(STATE / "bin/kubectl"), f"--kubeconfig={STATE}/kubeconfig", "--request-timeout=30s", *arguments]
    done = subprocess.run(line, check=False, capture_output=True, text=True, input=stdin)
    return done.returncode, (done.stdout + done.stderr).strip()


def targets() -> list[Object]:
    found: list[Object] = prometheus("targets", state="active")["activeTargets"]
    return found


def test_all_that_stands_is_looked_at_and_tells() -> None:
    # A pod that has just been replaced is a target for a moment longer.
    until(lambda: all(target["health"] == "up" for target in targets()))
    found = targets()
    assert [(t["scrapePool"], t["scrapeUrl"], t["lastError"]) for t in found if t["health"] != "up"] == []
    counted = Counter(target["scrapePool"] for target in found)
    assert set(counted) == set(JOBS)
    assert {job: counted[job] for job in JOBS if counted[job] < JOBS[job]} == {}


def test_pods_of_the_application_tell_by_themselves_or_their_proxies() -> None:
    apps = until(lambda: {t["labels"].get("app") for t in targets() if t["labels"].get("namespace") == "apps"})
    assert {"front-end", "business-logic"} <= apps
    assert until(lambda: series('http_requests_total{namespace="apps",app="business-logic"}'))


def groups_written() -> list[Object]:
    return [group for path in RULES for group in yaml.safe_load(path.read_text())["groups"]]


def recorded() -> list[str]:
    return sorted({rule["record"] for group in groups_written() for rule in group["rules"] if "record" in rule})


def visited(name: str) -> list[Object]:
    """A series that may be of requests, and so needs some."""
    ask("website")
    return series(name)


@pytest.mark.parametrize("name", recorded())
def test_each_recorded_series_has_data(name: str) -> None:
    assert until(lambda: visited(name)), f"{name} has no series"


def test_no_rule_fails() -> None:
    groups = prometheus("rules")["groups"]
    rules = [rule for group in groups for rule in group["rules"]]
    assert [(rule["name"], rule["lastError"]) for rule in rules if rule["health"] == "err"] == []
    written = {rule["alert"] for group in groups_written() for rule in group["rules"] if "alert" in rule}
    assert written <= {rule["name"] for rule in rules}


def test_a_pods_own_figures_are_those_of_the_api() -> None:
    (limit,) = series('pod:memory_limit_bytes:sum{namespace="observability",pod="prometheus-0"}')
    assert float(limit["value"][1]) == 512 * 1024**2
    (used,) = series('pod:memory_working_set_bytes:sum{namespace="observability",pod="prometheus-0"}')
    assert 10 * 1024**2 < float(used["value"][1]) < 512 * 1024**2


# Wanted of a stack that idles: while all other tests ask it, it takes some more.
@pytest.mark.trial
def test_what_observes_takes_little_memory() -> None:
    (used,) = series('sum(pod:memory_working_set_bytes:sum{namespace=~"observability.*"})')
    assert float(used["value"][1]) < 700 * 1000**2


def test_hosts_tell_when_their_certificates_end() -> None:
    told = until(lambda: series('host_certificate_not_after_timestamp_seconds{authority="false"}'))
    ends = {(one["metric"]["instance"], one["metric"]["path"]): float(one["value"][1]) for one in told}
    path = "/etc/kubernetes/pki/apiserver.crt"
    address = next(t["scrapeUrl"] for t in targets() if t["scrapePool"] == "api-server").split("/")[2]
    host, _colon, port = address.partition(":")
    served = x509.load_pem_x509_certificate(ssl.get_server_certificate((host, int(port))).encode())
    assert served.not_valid_after_utc.timestamp() in [end for (_host, where), end in ends.items() if where == path]
    assert series("host_certificate_unreadable") == []


def test_exemplars_are_kept() -> None:
    assert prometheus("status/flags")["enable-feature"] == "exemplar-storage"
    config = yaml.safe_load(prometheus("status/config")["yaml"])
    assert config["storage"]["exemplars"]["max_exemplars"] > 0


@pytest.mark.parametrize("page", ["prometheus", "alerts"])
def test_pages_come_with_what_they_are_made_of(page: str) -> None:
    html = shown(page)
    scripts = re.findall(r'src="\.?/?([^"]+\.js)"', html)
    assert scripts, html[:500]
    for script in scripts:
        assert len(shown(page, f"/{script}")) > 10_000


def test_an_alert_reaches_alertmanager() -> None:
    """Prometheus knows Alertmanager, which answers; whatever fires is told to it."""
    known = prometheus("alertmanagers")
    assert [manager["url"] for manager in known["activeAlertmanagers"]] == ["http://alertmanager:9093/api/v2/alerts"]
    assert series("prometheus_notifications_errors_total")[0]["value"][1] == "0"
    assert json.loads(shown("alerts", "/api/v2/status"))["config"]["original"]


@pytest.mark.parametrize(
    ("account", "allowed", "refused"),
    [
        (
            "prometheus",
            ["list pods -A", "get nodes --subresource=metrics", "get /metrics"],
            ["get secrets -A", "get nodes --subresource=proxy"],
        ),
        ("kube-state-metrics", ["list pods -A", "watch deployments -A"], ["list secrets -A", "list configmaps -A"]),
        ("alertmanager", [], ["list pods -A", "get /metrics"]),
    ],
)
def test_accounts_may_read_what_they_tell_and_change_nothing(
    account: str, allowed: list[str], refused: list[str]
) -> None:
    who = f"--as=system:serviceaccount:{NAMESPACE}:{account}"
    changes = ["create pods -A", "delete pods -A", "patch nodes", "create serviceaccounts --subresource=token -A"]
    for words, expected in [(allowed, "yes"), (refused + changes, "no")]:
        for may in words:
            # Beside warnings, such as that nodes are in no namespace.
            said = kubectl("auth", "can-i", who, *may.split())[1].splitlines()
            assert [line for line in said if line in ("yes", "no")] == [expected], (account, may)


def test_nobody_but_the_gateway_asks_prometheus() -> None:
    name = f"observer-{os.getpid()}"
    restricted = {
        "runAsNonRoot": True,
        "runAsUser": 10001,
        "seccompProfile": {"type": "RuntimeDefault"},
    }
    stranger: Object = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": NAMESPACE},
        "spec": {
            "automountServiceAccountToken": False,
            "terminationGracePeriodSeconds": 0,
            "securityContext": restricted,
            "containers": [
                {
                    "name": "main",
                    "image": IMAGE,
                    "command": ["sleep", "300"],
                    "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
                }
            ],
        },
    }
    assert kubectl("apply", "--filename=-", stdin=yaml.safe_dump(stranger))[0] == 0
    try:
        where = ["--namespace", NAMESPACE]
        assert kubectl(*where, "wait", "--for=condition=Ready", "--timeout=25s", "pod", name)[0] == 0
        line = [*where, "exec", name, "--", "busybox", "wget", "-T", "3", "-qO-"]
        for address in ("prometheus:9090/-/healthy", "alertmanager:9093/-/healthy", "kube-state-metrics:8080/metrics"):
            status, said = kubectl(*line, f"http://{address}")
            assert status != 0, f"{address} answered {said[:200]}"
    finally:
        kubectl("--namespace", NAMESPACE, "delete", "pod", name, "--wait=false")
