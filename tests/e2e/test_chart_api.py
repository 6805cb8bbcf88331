# Copyright: cicd.sandbox contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What charts/workload renders, judged by the API server itself. Nothing is made: every request is a dry run."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from helm import SAMPLE, STATE, Manifest, render, run

# Admits only pods that keep to the restricted pod security standard; the role `apps` makes it.
NAMESPACE = "apps"

EVERYTHING: dict[str, Any] = {
    "image": {"repository": "example.com/web", "tag": "1.0"},
    "replicas": 2,
    "command": ["serve"],
    "args": ["--all"],
    "env": {"A": "1", "B": {"fieldRef": {"fieldPath": "metadata.name"}}},
    "envFrom": [{"configMapRef": {"name": "more", "optional": True}}],
    "config": {"files": {"app.ini": "a = 1\n"}},
    "secretFiles": {"database": {"secret": "database", "mountPath": "/run/secrets/database", "keys": {"a": "b"}}},
    "ports": {
        "http": {"containerPort": 8080, "appProtocol": "http"},
        "dns": {"containerPort": 5353, "protocol": "UDP"},
    },
    "probes": {
        "startup": {"tcpSocket": {"port": "http"}, "failureThreshold": 60},
        "liveness": {"httpGet": {"path": "/livez", "port": "http"}},
        "readiness": {"exec": {"command": ["true"]}},
    },
    "hookJobs": {"migrate": {"events": ["pre-install", "pre-upgrade"], "args": ["migrate"]}},
    "networkPolicy": {
        "ingress": {
            "inside": {"from": [{"app": "a"}, {"namespace": "*", "labels": {"b": "c"}}], "ports": ["http"]},
            "outside": {"from": [{"cidr": "198.51.100.0/24", "except": ["198.51.100.7/32"]}]},
        },
        "egress": {
            "servers": {"to": [{"app": "d", "namespace": "e"}], "ports": [5432, {"port": 53, "protocol": "UDP"}]}
        },
    },
    "page": {"name": "web", "text": "Serves.", "healthPath": "/livez", "timeout": 30},
    "gateway": {"domain": "lab.internal", "clients": [{"namespace": "gateways", "labels": {"c": "d"}}]},
    "mesh": {"revision": "default"},
    "traffic": {
        "timeout": 3,
        "retries": {"attempts": 2, "perTryTimeout": 0.8},
        "streams": ["/events"],
        "outlierDetection": {"consecutiveGatewayErrors": 5, "baseEjectionTime": "15s"},
        "connectionPool": {"tcp": {"maxConnections": 9}},
    },
    "externalServices": {"mail": {"host": "mail.example.com", "port": 465}},
    "metrics": {"enabled": True},
    "nodeSelector": {"kubernetes.io/os": "linux"},
    "tolerations": [{"key": "dedicated", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 30}],
    "partOf": "shop",
    "commonLabels": {"team": "blue"},
    "podLabels": {"tier": "web"},
    "podAnnotations": {"a": "b"},
}
CLAIMS = {"data": {"mountPath": "/data", "size": "1Gi", "accessModes": ["ReadWriteOnce"], "subPath": "db"}}


def sample(path: Path) -> dict[str, Any]:
    values = yaml.safe_load(path.read_text(encoding="utf-8"))
    values["image"]["tag"] = "1.0"
    return values


CASES = {
    "deployment": EVERYTHING,
    "stateful-set": {**EVERYTHING, "kind": "StatefulSet", "volumeClaims": CLAIMS},
    "job": {
        **EVERYTHING,
        "kind": "Job",
        "page": {"name": ""},
        "job": {"activeDeadlineSeconds": 60, "ttlSecondsAfterFinished": 60},
    },
    "node-port": {**EVERYTHING, "service": {"type": "NodePort", "externalTrafficPolicy": "Local"}},
    **{path.stem: sample(path) for path in SAMPLE},
}


@pytest.fixture(scope="module")
def kubeconfig() -> Path:
    path = STATE / "kubeconfig"
    if not path.is_file():
        pytest.fail(
            f"{path} is not there: `make up` first, or name another sandbox's SANDBOX_STATE_DIRECTORY", pytrace=False
        )
    return path


def dry_run(kubeconfig: Path, verb: str, documents: list[Manifest], *arguments: str) -> str:
    """Have the API server default, validate and admit the objects; fail with its words."""
    items = {"apiVersion": "v1", "kind": "List", "items": documents}
    where = ["--kubeconfig", str(kubeconfig), "--namespace", NAMESPACE]
    return run(
        "kubectl", *where, verb, "--dry-run=server", "--validate=strict", "--filename=-", *arguments, values=items
    )


def in_namespace(documents: list[Manifest]) -> list[Manifest]:
    for item in documents:
        item["metadata"]["namespace"] = NAMESPACE
    return documents


@pytest.mark.parametrize("name", CASES)
def test_api_server_accepts(name: str, kubeconfig: Path) -> None:
    documents = in_namespace(render(CASES[name], f"check-{name}"))
    said = dry_run(kubeconfig, "apply", documents)
    assert said.count("created (server dry run)") == len(documents), said


@pytest.mark.parametrize("name", CASES)
def test_pods_keep_to_the_restricted_standard(name: str, kubeconfig: Path) -> None:
    """A workload's pods are admitted only when they are made, so make them here."""
    pods = [
        {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {**item["spec"]["template"]["metadata"], "name": item["metadata"]["name"]},
            # Its own account is not there in a dry run.
            "spec": {**item["spec"]["template"]["spec"], "serviceAccountName": "default"},
        }
        for item in render(CASES[name], f"check-{name}")
        if "template" in item.get("spec", {})
    ]
    assert pods
    # A claim's volume is added by the StatefulSet's controller.
    for pod in pods:
        claims = [{"name": claim, "emptyDir": {}} for claim in CASES[name].get("volumeClaims", {})]
        mounted = {mount["name"] for mount in pod["spec"]["containers"][0].get("volumeMounts", [])}
        pod["spec"]["volumes"] += [claim for claim in claims if claim["name"] in mounted]
    said = dry_run(kubeconfig, "create", in_namespace(pods))
    assert said.count("created (server dry run)") == len(pods), said


def test_the_namespace_enforces_that_standard(kubeconfig: Path) -> None:
    """Otherwise the test above would prove nothing."""
    where = ["--kubeconfig", str(kubeconfig), "get", "namespace", NAMESPACE, "--output=json"]
    labels = json.loads(run("kubectl", *where))["metadata"]["labels"]
    assert labels["pod-security.kubernetes.io/enforce"] == "restricted"
