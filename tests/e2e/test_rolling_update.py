# Copyright: cicd.sandbox contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Replaces the sample application's pods under steady requests through the local endpoint: none may fail."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest
from helm import CHART, run
from visitors import NAMESPACE, kubeconfig, kubectl, pods, until, visitors

RELEASES = ["front-end", "business-logic"]

# Seconds an update may take.
UPDATE = 240


def helm(*arguments: str) -> str:
    return run("helm", "--kubeconfig", str(kubeconfig()), "--namespace", NAMESPACE, *arguments)


def wait_for_the_end(release: str, before: dict[str, Any]) -> None:
    """Wait until the new pods are all there and the old ones gone to the last."""
    kubectl("rollout", "status", f"deployment/{release}", f"--timeout={UPDATE}s")
    until(lambda: not before.keys() & pods(release).keys(), f"the end of the old pods of {release}", 60)


def assert_spread(release: str) -> None:
    nodes = [item["spec"]["nodeName"] for item in pods(release).values()]
    assert len(nodes) == 2
    assert len(set(nodes)) == 2, f"both pods of {release} run on {nodes[0]}"


@pytest.mark.parametrize("release", RELEASES)
def test_restart_loses_no_request(release: str) -> None:
    before = pods(release)
    with visitors():
        kubectl("rollout", "restart", f"deployment/{release}")
        wait_for_the_end(release, before)
    assert_spread(release)


@pytest.mark.trial
@pytest.mark.parametrize("release", RELEASES)
def test_upgrade_and_rollback_lose_no_request(release: str) -> None:
    """With the hook Jobs: migrations run while the old version serves."""
    revision = json.loads(helm("history", release, "--output=json"))[-1]["revision"]
    wait = ["--wait", f"--timeout={UPDATE}s"]
    changed = [f"--set-string=podAnnotations.rolled-at={time.time():.0f}", "--reuse-values"]
    with visitors():
        before = pods(release)
        try:
            helm("upgrade", release, str(CHART), *changed, *wait)
            wait_for_the_end(release, before)
            upgraded = pods(release)
        finally:
            helm("rollback", release, str(revision), *wait)
        wait_for_the_end(release, upgraded)
    assert_spread(release)
