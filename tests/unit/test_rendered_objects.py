# Copyright: cicd.sandbox contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What releases were rendered to, a file for each object."""

from __future__ import annotations

from pathlib import Path

import pytest
from ansible_collections.cicd.sandbox.plugins.module_utils.helm.rendered import files
from helm_records import helm_secret, make_chart
from local_server import FakeKubernetes, serving_kubernetes
from modules import run_module

MANIFEST = """---
# Source: web/templates/service.yaml
apiVersion: v1
kind: Service
metadata:
  name: web
---
# Source: web/templates/role.yaml
kind: Role
metadata: {name: "system:web", namespace: other}
text: |
  ---
  not the next
--- # the last of these
kind: CustomResourceDefinition
metadata: {name: webs.example.org}
---

---
kind: Service
metadata: {name: web}
twice: true
"""


def test_each_object_has_a_file_that_is_called_by_it() -> None:
    found = files([("shop", MANIFEST)])
    assert list(found) == ["shop.Service.web.yaml", "other.Role.system-web.yaml", "shop.Service.web-2.yaml"]
    # What scanners would take for the file's name.
    assert not any("Source" in content for content in found.values())
    assert "not the next" in found["other.Role.system-web.yaml"]
    assert "twice" in found["shop.Service.web-2.yaml"]


def test_only_what_is_deployed_is_written_and_nobody_else_reads_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    chart = make_chart(tmp_path / "chart")
    cluster = FakeKubernetes(
        [
            helm_secret("web", chart, version=2, manifest=MANIFEST),
            helm_secret("web", chart, version=1, status="superseded", manifest="kind: Old\nmetadata: {name: web}\n"),
        ]
    )
    directory = tmp_path / "rendered"
    directory.mkdir()
    (directory / "left").touch()
    with serving_kubernetes(cluster, tmp_path / "kubeconfig"):
        arguments = {"kubeconfig": str(tmp_path / "kubeconfig"), "directory": str(directory)}
        returned = run_module("rendered_objects", arguments, capsys)
    names = ["other.Role.system-web.yaml", "shop.Service.web-2.yaml", "shop.Service.web.yaml"]
    assert returned["files"] == sorted(path.name for path in directory.iterdir()) == names
    assert directory.stat().st_mode & 0o777 == 0o700
    assert {path.stat().st_mode & 0o777 for path in directory.iterdir()} == {0o600}


def test_a_cluster_that_does_not_answer_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = {"kubeconfig": str(tmp_path / "kubeconfig"), "directory": str(tmp_path / "rendered")}
    returned = run_module("rendered_objects", arguments, capsys)
    assert str(tmp_path / "kubeconfig") in returned["msg"]
