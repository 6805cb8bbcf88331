# Copyright: cicd.sandbox contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The stack grafana, judged by the API server of a sandbox that need not have it. Nothing is made: all is a dry run."""

from __future__ import annotations

from typing import Any

import pytest
import yaml
from live_cluster import KUBECONFIG, kubectl
from observability import objects, on_open_network, releases

NAMES = ["loki", "tempo", "tempo-query", "jaeger", "grafana", "collector", "prometheus"]
RUNNING = ("Deployment", "StatefulSet")


@pytest.fixture(scope="module")
def rendered(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[dict[str, Any]]]:
    """Release → its objects, with the namespace in which they would stand."""
    if not KUBECONFIG.is_file():
        pytest.fail(f"{KUBECONFIG} is not there: `make up` first, or name another sandbox's", pytrace=False)
    found = releases(on_open_network(tmp_path_factory.mktemp("open")))
    return {name: objects(found[name]) for name in NAMES}


def dry_run(*arguments: str, documents: list[dict[str, Any]]) -> list[str]:
    said = kubectl(
        *arguments, "--dry-run=server", "--validate=strict", "--filename=-", stdin=yaml.safe_dump_all(documents)
    )
    return said.splitlines()


@pytest.mark.parametrize("name", NAMES)
def test_the_api_server_takes_all_objects(rendered: dict[str, list[dict[str, Any]]], name: str) -> None:
    """Some have names of objects that stand, whose fields they would take over."""
    said = dry_run("apply", "--server-side", "--force-conflicts", documents=rendered[name])
    assert len(said) == len(rendered[name]), said
    assert all(line.endswith("serverside-applied (server dry run)") for line in said), said


@pytest.mark.parametrize("name", NAMES)
def test_pods_keep_to_the_restricted_standard(rendered: dict[str, list[dict[str, Any]]], name: str) -> None:
    """They are admitted only when they are made."""
    (workload,) = (item for item in rendered[name] if item["kind"] in RUNNING)
    template = workload["spec"]["template"]
    # Its own account is not there in a dry run, and claims are added by the controller.
    claims = [item["metadata"]["name"] for item in workload["spec"].get("volumeClaimTemplates", [])]
    volumes = [*template["spec"].get("volumes", []), *({"name": claim, "emptyDir": {}} for claim in claims)]
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {**template["metadata"], "name": f"check-{name}", "namespace": workload["metadata"]["namespace"]},
        "spec": {**template["spec"], "serviceAccountName": "default", "volumes": volumes},
    }
    assert dry_run("create", documents=[pod]) == [f"pod/check-{name} created (server dry run)"]
    # It would say so.
    pod["spec"]["containers"][0]["securityContext"]["allowPrivilegeEscalation"] = True
    kubectl("create", "--dry-run=server", "--filename=-", stdin=yaml.safe_dump(pod), fails=True)
