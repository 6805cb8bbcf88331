# Copyright: cicd.sandbox contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What tenants of the standing sandbox may have, and who may do what in their namespaces."""

from __future__ import annotations

import json
from typing import Any

import pytest
import yaml
from live_cluster import Object, get, sleeper, try_kubectl

TENANTS = ["dev", "prod", "apps"]


def pod(namespace: str, **container: Any) -> Object:
    """Describe a pod as Pod Security's level restricted wants it; its container says what is asked for."""
    (described,) = sleeper("tried", namespace, account="default")
    described["spec"]["containers"][0].update(container)
    return described


def tried(described: Object) -> Any:
    """Have the API server say what it would make of an object."""
    return try_kubectl("create", "--dry-run=server", "--output=json", "--filename=-", stdin=yaml.safe_dump(described))


@pytest.mark.parametrize("namespace", TENANTS)
def test_a_container_that_says_nothing_gets_limits(namespace: str) -> None:
    answer = tried(pod(namespace, resources={}))
    assert answer.returncode == 0, answer.stderr
    containers = {item["name"]: item for item in json.loads(answer.stdout)["spec"]["containers"]}
    resources = containers["main"]["resources"]
    assert resources["limits"]["memory"] == "256Mi"
    assert resources["requests"]["memory"] == "64Mi"


@pytest.mark.parametrize("namespace", TENANTS)
def test_a_container_over_the_maximum_is_refused_with_the_limit_named(namespace: str) -> None:
    answer = tried(pod(namespace, resources={"limits": {"memory": "3Gi"}}))
    assert answer.returncode != 0
    most = {"apps": "2Gi"}.get(namespace, "1Gi")
    assert f"maximum memory usage per Container is {most}, but limit is 3Gi" in answer.stderr


@pytest.mark.parametrize("namespace", TENANTS)
def test_what_is_not_restricted_is_refused(namespace: str) -> None:
    answer = tried(pod(namespace, securityContext={"privileged": True}))
    assert answer.returncode != 0
    assert 'violates PodSecurity "restricted:latest": privileged' in answer.stderr


@pytest.mark.parametrize("namespace", TENANTS)
def test_a_quota_holds_and_leaves_room_for_what_runs_to_be_replaced(namespace: str) -> None:
    quota = get("resourcequota", "tenant", f"--namespace={namespace}")["status"]
    assert quota["hard"]["limits.memory"]
    assert quota["used"].keys() == quota["hard"].keys()
    described = pod(namespace, resources={"limits": {"memory": "1Gi"}})
    containers = described["spec"]["containers"]
    described["spec"]["containers"] = [containers[0] | {"name": f"main-{number}"} for number in range(5)]
    answer = tried(described)
    assert answer.returncode != 0
    assert "exceeded quota: tenant, requested: " in answer.stderr
    if namespace == "apps":
        assert int(quota["used"]["pods"]) * 2 < int(quota["hard"]["pods"])
