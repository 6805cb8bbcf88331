"""The site after the worker with the database was lost: the converge before this ended with its smoke tests passed."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

from page_rows import rows
from playbook_run import run_playbook

STATE = Path(os.environ["SANDBOX_STATE_DIRECTORY"])


def get(*arguments: str) -> list[dict[str, Any]]:
    line = [str(STATE / "bin/kubectl"), f"--kubeconfig={STATE}/kubeconfig", "get", *arguments, "--output=json"]
    return json.loads(subprocess.run(line, check=True, capture_output=True, text=True).stdout)["items"]


def test_the_database_that_was_lost_with_its_worker_was_made_anew_and_that_is_said():
    assert rows("LOST") == []
    assert rows("ACME") != []
    claims = {item["metadata"]["name"]: item for item in get("persistentvolumeclaims", "--namespace=apps")}
    claim = claims["data-postgresql-0"]
    name = json.loads((STATE / "lost-worker.json").read_text())["name"]
    assert claim["metadata"]["annotations"]["cicd.sandbox/lost-with-node"] == name
    said = run_playbook("playbooks/summary.yml", "--inventory", os.environ["SANDBOX_INVENTORY"]).text
    assert f"volume apps/data-postgresql-0, whose data was lost with {name}" in " ".join(said.split())


def test_the_worker_that_was_lost_joined_as_another_node():
    lost = json.loads((STATE / "lost-worker.json").read_text())
    nodes = {node["metadata"]["name"]: node for node in get("nodes")}
    joined = nodes.pop(lost["name"])
    assert joined["metadata"]["uid"] != lost["uid"]
    conditions = {entry["type"]: entry["status"] for entry in joined["status"]["conditions"]}
    assert conditions["Ready"] == "True"
    # Written alike, in UTC: they sort as they are.
    since = [node["metadata"]["creationTimestamp"] for node in nodes.values()]
    assert joined["metadata"]["creationTimestamp"] > max(since)


def test_no_pod_waits_for_the_worker_that_was_lost():
    name = json.loads((STATE / "lost-worker.json").read_text())["name"]
    pods = get("pods", "--all-namespaces", f"--field-selector=spec.nodeName={name}")
    assert pods
    going = [pod["metadata"]["name"] for pod in pods if "deletionTimestamp" in pod["metadata"]]
    assert going == []
    assert {pod["status"]["phase"] for pod in pods} <= {"Running", "Succeeded"}
