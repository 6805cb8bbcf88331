# Copyright: cicd.sandbox contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The store of secrets: what Secrets of the sample application are made of, who reads it, what happens without it."""

from __future__ import annotations

import base64
import json
import os
import subprocess
from typing import Any

import pytest
from checkout import REPOSITORY
from live_cluster import STATE, get, kubectl, sleeper, standing, try_kubectl, until
from visitors import visitors

SOON = 120
KEYS = STATE / "secrets/openbao-unseal-keys.json"


@pytest.fixture(autouse=True, scope="module")
def store() -> None:
    if try_kubectl("get", "statefulset", "openbao", "--namespace=openbao").returncode != 0:
        pytest.skip("this sandbox has no store of secrets: secrets_store_provider is not openbao")


def condition(kind: str, namespace: str, name: str) -> dict[str, Any]:
    conditions = get(kind, name, f"--namespace={namespace}").get("status", {}).get("conditions", [])
    return next((item for item in conditions if item["type"] == "Ready"), {})


def secret(name: str) -> dict[str, str]:
    data = get("secret", name, "--namespace=apps")["data"]
    return {key: base64.b64decode(value).decode() for key, value in data.items()}


def play(playbook: str, *arguments: str) -> str:
    line = ["ansible-playbook", playbook, f"--inventory={os.environ['SANDBOX_INVENTORY']}", *arguments]
    store = "--extra-vars=secrets_store_provider=openbao"
    run = subprocess.run([*line, store], check=False, capture_output=True, text=True, cwd=REPOSITORY)
    assert run.returncode == 0, run.stdout + run.stderr
    return run.stdout


def test_secrets_are_made_of_the_store() -> None:
    for name in ("postgresql", "valkey", "business-logic"):
        assert condition("externalsecret", "apps", name)["status"] == "True"
        annotations = get("secret", name, "--namespace=apps")["metadata"]["annotations"]
        assert int(annotations["cicd.sandbox/version"]) >= 1


def test_unseal_keys_are_their_owners_alone_and_no_token_is_kept() -> None:
    assert KEYS.stat().st_mode & 0o777 == 0o600
    assert set(json.loads(KEYS.read_text())) == {"unseal_keys", "threshold"}


def test_the_audit_log_tells_who_asked_and_no_value() -> None:
    log = kubectl("logs", "openbao-0", "--namespace=openbao", "--tail=-1")
    asked = [json.loads(line) for line in log.splitlines() if '"type":"response"' in line]
    assert "secret/data/apps/postgresql" in [entry["request"]["path"] for entry in asked]
    assert secret("postgresql")["password"] not in log


def test_nobody_else_reaches_openbao() -> None:
    """A pod of another namespace has a policy that lets it out; OpenBao's lets it not in."""
    probe = "nc -z -w 5 openbao.openbao.svc 8200 && echo reached || echo refused; sleep 600"
    objects = sleeper("stranger", "default", "sh", "-c", probe)

    def told() -> str:
        return try_kubectl("logs", "stranger", "--namespace=default").stdout.strip()

    with standing(*objects):
        assert until(told, SOON) == "refused"


@pytest.mark.trial
def test_a_password_changes_from_the_store_to_the_database_and_no_request_fails() -> None:
    before = secret("postgresql")
    with visitors():
        rotate = json.dumps({"secrets_store_rotate": ["apps/postgresql"]})
        play("playbooks/secrets_store_rotate.yml", f"--extra-vars={rotate}")
    after = secret("postgresql")
    assert after["password"] != before["password"]
    assert after["password-earlier"].splitlines()[0] == before["password"]
    # By the new one alone: the job that changes it has ended well.
    job = get("jobs", "--namespace=apps", "--selector=app.kubernetes.io/name=postgresql-password")["items"]
    assert any(item["status"].get("succeeded") for item in job)


@pytest.mark.trial
def test_without_the_store_pods_go_on_and_a_new_secret_says_why_it_waits() -> None:
    kubectl("delete", "pod", "openbao-0", "--namespace=openbao", "--wait=true")
    new = {
        "apiVersion": "external-secrets.io/v1",
        "kind": "ExternalSecret",
        "metadata": {"name": "waits", "namespace": "apps"},
        "spec": {
            "refreshInterval": "10s",
            "secretStoreRef": {"kind": "SecretStore", "name": "secrets-store"},
            "dataFrom": [{"extract": {"key": "apps/postgresql"}}],
        },
    }
    try:
        with visitors(), standing(new):
            found = until(lambda: condition("externalsecret", "apps", "waits").get("status") == "False", SOON)
            assert found
            assert try_kubectl("get", "secret", "waits", "--namespace=apps").returncode != 0
            kubectl("rollout", "restart", "deployment/business-logic", "--namespace=apps")
            kubectl("rollout", "status", "deployment/business-logic", "--namespace=apps", "--timeout=240s")
    finally:
        play("site.yml", "--tags=secrets_store")
    assert condition("pod", "openbao", "openbao-0")["status"] == "True"
