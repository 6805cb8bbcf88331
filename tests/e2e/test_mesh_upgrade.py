# Copyright: cicd.sandbox contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Moves the mesh to another revision of another version under steady requests, of which none may fail, and back."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pytest
from live_cluster import get, kubectl, until
from site_run import run
from visitors import visitors

pytestmark = pytest.mark.trial

EARLIER = "1.30.0"
MOVED = {"istio_revision": "earlier", "sandbox_component_versions": {"istio": EARLIER}}
# What alone holds the data follows when it is restarted for a reason of its own.
FOLLOWS_LATER = "postgresql-0"


def move(variables: Mapping[str, Any]) -> str:
    return run("--tags", "artifacts,istio,apps", "--extra-vars", json.dumps(variables)).text


def control_planes() -> dict[str, str]:
    """Revision → image of each control plane."""
    found = get("deployments", "--namespace=istio-system", "--selector=app=istiod")["items"]
    images = [item["spec"]["template"]["spec"]["containers"][0]["image"] for item in found]
    return dict(zip([item["metadata"]["labels"]["istio.io/rev"] for item in found], images, strict=True))


def proxies() -> dict[str, str]:
    """Pod → revision of its proxy, of pods that run."""
    selector = ["--selector=service.istio.io/canonical-name", "--field-selector=status.phase=Running"]
    pods = get("pods", "--all-namespaces", *selector)["items"]
    return {
        pod["metadata"]["name"]: pod["metadata"]["annotations"]["istio.io/rev"]
        for pod in pods
        if "deletionTimestamp" not in pod["metadata"]
    }


def restart_the_database() -> None:
    kubectl("--namespace=apps", "rollout", "restart", "statefulset/postgresql")
    kubectl("--namespace=apps", "rollout", "status", "statefulset/postgresql", "--timeout=120s", "--request-timeout=0")


def test_no_request_is_lost_on_the_way_to_a_second_revision_and_back() -> None:
    current = control_planes()["default"]
    try:
        for revision, variables in (("second", {"istio_revision": "second"}), ("default", {})):
            with visitors():
                move(variables)
            # The database follows when it is restarted for a reason of its own, and the first one goes.
            restart_the_database()
            move(variables)
            assert until(lambda wanted=revision: list(control_planes()) == [wanted])
            assert control_planes() == {revision: current}
            assert set(proxies().values()) == {revision}
    finally:
        move({})


def test_another_revision_loses_no_request_and_the_first_one_comes_back() -> None:
    current = control_planes()["default"]
    try:
        with visitors():
            said = move(MOVED)
        planes = control_planes()
        assert planes["earlier"].endswith(f":{EARLIER}")
        # One pod still follows the first one, which stays for it, and that is said.
        assert planes["default"] == current
        followers = proxies()
        assert followers.pop(FOLLOWS_LATER) == "default"
        assert set(followers.values()) == {"earlier"}
        assert f"Control plane istiod stays: apps/{FOLLOWS_LATER} still follows" in " ".join(said.split())
        restart_the_database()
        move(MOVED)
        assert until(lambda: list(control_planes()) == ["earlier"])
        assert set(proxies().values()) == {"earlier"}
    finally:
        # Without visitors: gateways that follow this early 1.30 lose their listeners as soon as another revision is the
        # default one. Later versions serve Gateways whoever they belong to.
        move({})
        restart_the_database()
        move({})
    assert control_planes() == {"default": current}
    assert set(proxies().values()) == {"default"}
