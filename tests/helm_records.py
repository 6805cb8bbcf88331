# Copyright: cicd.sandbox contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Helm's records of releases, as tests make them."""

from __future__ import annotations

import base64
import gzip
import json
from pathlib import Path
from typing import Any

import yaml

DEPLOYMENT = """
apiVersion: apps/v1
kind: Deployment
metadata:
  name: {name}
"""


def make_chart(folder: Path, **files: str) -> Path:
    """Write a chart; `files` go over its templates, by name with _ for /."""
    (folder / "templates").mkdir(parents=True)
    (folder / "Chart.yaml").write_text("apiVersion: v2\nname: workload\nversion: 0.1.0\n")
    (folder / "values.yaml").write_text("replicas: 1\n")
    (folder / "templates/deployment.yaml").write_text("kind: Deployment\n")
    for name, content in files.items():
        (folder / name.replace("_", "/", 1)).write_text(content)
    return folder


def chart_record(folder: Path) -> dict[str, Any]:
    """What Helm keeps of a chart."""
    templates = [
        {"name": str(path.relative_to(folder)), "data": base64.b64encode(path.read_bytes()).decode()}
        for path in sorted((folder / "templates").rglob("*"))
        if path.is_file()
    ]
    return {
        "metadata": yaml.safe_load((folder / "Chart.yaml").read_text()),
        "values": yaml.safe_load((folder / "values.yaml").read_text()),
        "templates": templates,
        "files": [],
    }


def helm_secret(
    name: str,
    chart: Path,
    values: dict[str, Any] | None = None,
    *,
    namespace: str = "shop",
    status: str = "deployed",
    version: int = 1,
    manifest: str | None = None,
    hooks: list[dict[str, Any]] | None = None,
    deployed: str = "",
) -> dict[str, Any]:
    """The Secret of a revision."""
    release = {
        "name": name,
        "chart": chart_record(chart),
        "config": values or {},
        "hooks": hooks or [],
        "info": {"last_deployed": deployed, "status": status},
        "manifest": DEPLOYMENT.format(name=name) if manifest is None else manifest,
    }
    encoded = base64.b64encode(gzip.compress(json.dumps(release).encode()))
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {
            "name": f"sh.helm.release.v1.{name}.v{version}",
            "namespace": namespace,
            "labels": {"owner": "helm", "name": name, "status": status, "version": str(version)},
        },
        "data": {"release": base64.b64encode(encoded).decode()},
    }


def deployment(name: str, namespace: str = "shop", *, ready: bool = True) -> dict[str, Any]:
    """A Deployment of one pod."""
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name, "namespace": namespace, "generation": 1, "labels": {}},
        "spec": {"replicas": 1},
        "status": {
            "observedGeneration": 1,
            "replicas": 1,
            "updatedReplicas": 1,
            "readyReplicas": int(ready),
            "availableReplicas": int(ready),
        },
    }
