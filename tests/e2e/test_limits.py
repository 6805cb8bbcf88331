# Copyright: cicd.sandbox contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What limits do to pods that want more, as playbooks/limits_demo.yml shows it: by the API and in the metrics."""

from __future__ import annotations

import json
import os
from concurrent.futures import ThreadPoolExecutor

import pytest
from live_cluster import Object, try_kubectl, until
from live_pages import series
from playbook_run import PlaybookRun, run_playbook

# A minute of it is waiting for what is looked at every 15 s.
pytestmark = pytest.mark.trial

NAMESPACE = "limits-demo"
MEBIBYTE = 2**20


def demonstration() -> PlaybookRun:
    return run_playbook("playbooks/limits_demo.yml", "--inventory", os.environ["SANDBOX_INVENTORY"], fails=None)


def pods() -> dict[str, Object]:
    listed = try_kubectl("--namespace", NAMESPACE, "get", "pods", "--output=json")
    return {item["metadata"]["name"]: item for item in json.loads(listed.stdout)["items"]} if listed.stdout else {}


def killed() -> list[str]:
    """Why containers of the pod that wants memory have ended."""
    statuses = pods().get("memory", {}).get("status", {}).get("containerStatuses", [])
    ends = [status[key].get("terminated") for status in statuses for key in ("state", "lastState")]
    return [end["reason"] for end in ends if end]


def most(expression: str) -> float:
    """The most that a series has been in the last ten minutes."""
    (found,) = series(f"max(max_over_time({expression}[10m]))")
    return float(found["value"][1])


def test_who_wants_more_than_its_limits_is_killed_or_throttled_and_that_is_seen() -> None:
    with ThreadPoolExecutor() as pool:
        run = pool.submit(demonstration)
        assert set(until(killed, 120)) == {"OOMKilled"}
        assert set(pods()) == {"memory", "processor"}
        done = run.result()
    assert done.returncode == 0, done.text
    of = f'{{namespace="{NAMESPACE}",pod="%s"}}'
    assert 20 * MEBIBYTE < most("pod:memory_working_set_bytes:sum" + of % "memory") <= 96 * MEBIBYTE
    assert 0.03 < most("pod:cpu_usage_cores:rate2m" + of % "processor") < 0.15
    assert most("pod:cpu_throttled:ratio_rate2m" + of % "processor") > 0.5
    assert (
        most("kube_pod_container_status_last_terminated_reason" + of.replace("}", ',reason="OOMKilled"}') % "memory")
        == 1
    )
    assert "to be seen" in " ".join(done.text.split()).lower()
    # Nothing stays.
    assert until(lambda: "NotFound" in try_kubectl("get", "namespace", NAMESPACE).stderr, 60)
