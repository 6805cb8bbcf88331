# Copyright: cicd.sandbox contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Planted faults, which the real scanners have to find. These are made by a scan, and not for tests."""

from __future__ import annotations

import hashlib
import io
import json
import subprocess
import tarfile
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.cicd.sandbox.plugins.module_utils.reports.reading import read_report
from helm import CACHE
from modules import run_module

# A key that nobody has, in the form that Trivy looks for.
KEY = "AKIA" + "QWERTYUIOPASDFGH"
POD = """apiVersion: v1
kind: Pod
metadata: {name: planted, namespace: shop}
spec:
  containers:
    - name: web
      image: registry.sandbox.internal/web:latest
      securityContext: {privileged: true}
"""
SOUND = """apiVersion: v1
kind: Pod
metadata: {name: sound, namespace: shop}
spec:
  automountServiceAccountToken: false
  securityContext: {runAsNonRoot: true, runAsUser: 10001, runAsGroup: 10001, seccompProfile: {type: RuntimeDefault}}
  containers:
    - name: web
      image: registry.sandbox.internal/web:1.0
      securityContext: {allowPrivilegeEscalation: false, readOnlyRootFilesystem: true, capabilities: {drop: [ALL]}}
      resources: {requests: {cpu: 10m, memory: 16Mi}, limits: {memory: 16Mi}}
"""
SERVICE = """apiVersion: v1
kind: Service
metadata: {name: open, namespace: shop}
spec: {type: NodePort, externalIPs: [192.0.2.1], selector: {app: web}, ports: [{port: 80}]}
"""


def scanner(component: str, name: str) -> str:
    """Find a scanner in the cache of artifacts; a test without it is left out, and says so."""
    found = sorted(CACHE.glob(f"{component}/*/{name}"), key=lambda path: path.stat().st_mtime)
    if not found:
        pytest.skip(f"{name} is not in {CACHE}: make scan makes it")
    return str(found[-1])


@pytest.fixture
def manifests(tmp_path: Path) -> Path:
    folder = tmp_path / "charts"
    folder.mkdir()
    for name, content in (("planted", POD), ("sound", SOUND), ("open", SERVICE)):
        (folder / f"{name}.yaml").write_text(content)
    (folder / "settings.env").write_text(f"AWS_ACCESS_KEY_ID={KEY}\n")
    return folder


def image(folder: Path, files: dict[str, str]) -> Path:
    """Make an OCI layout of an image of one layer."""
    blobs = folder / "blobs/sha256"
    blobs.mkdir(parents=True)

    def blob(content: bytes, kind: str) -> dict[str, Any]:
        digest = hashlib.sha256(content).hexdigest()
        (blobs / digest).write_bytes(content)
        return {"mediaType": kind, "digest": f"sha256:{digest}", "size": len(content)}

    layer = io.BytesIO()
    with tarfile.open(fileobj=layer, mode="w") as archive:
        for name, content in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content.encode()))
    described = blob(layer.getvalue(), "application/vnd.oci.image.layer.v1.tar")
    settings = {"architecture": "amd64", "os": "linux", "config": {}, "history": [{"created_by": "planted"}]}
    settings["rootfs"] = {"type": "layers", "diff_ids": [described["digest"]]}
    config = blob(json.dumps(settings).encode(), "application/vnd.oci.image.config.v1+json")
    manifest = {"schemaVersion": 2, "config": config, "layers": [described]}
    kind = "application/vnd.oci.image.manifest.v1+json"
    index = {"schemaVersion": 2, "manifests": [blob(json.dumps({**manifest, "mediaType": kind}).encode(), kind)]}
    (folder / "index.json").write_text(json.dumps(index))
    (folder / "oci-layout").write_text(json.dumps({"imageLayoutVersion": "1.0.0"}))
    return folder


def test_trivy_finds_what_is_planted_in_manifests_files_and_images(
    tmp_path: Path, manifests: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    layout = image(tmp_path / "layout", {"srv/settings.env": f"AWS_ACCESS_KEY_ID={KEY}\n", "srv/readme": "hello\n"})
    targets = [
        {"kind": "folder", "name": "charts", "path": str(manifests), "scanners": ["misconfig", "secret"]},
        {"kind": "image", "name": "web:1.0", "path": str(layout), "scanners": ["secret"]},
    ]
    arguments = {"executable": scanner("trivy", "trivy"), "cache": str(tmp_path / "cache"), "name": "planted"}
    returned = run_module("trivy", {**arguments, "targets": targets}, capsys)
    report = read_report("trivy", returned["report"], "Trivy")
    assert report.errors == []
    found = {(each.rule.id, each.resource.label, each.location, each.severity) for each in report.findings}
    assert {
        # A privileged pod, a tag that moves, no limit of memory, a service that is open to addresses outside.
        ("KSV-0017", "Folder/charts", "planted.yaml", "high"),
        ("KSV-0013", "Folder/charts", "planted.yaml", "medium"),
        ("KSV-0018", "Folder/charts", "planted.yaml", "low"),
        ("KSV-0108", "Folder/charts", "open.yaml", "high"),
        ("aws-access-key-id", "Folder/charts", "settings.env", "critical"),
        ("aws-access-key-id", "Image/web:1.0", "/srv/settings.env", "critical"),
    } <= found
    assert not [item for item in found if item[2] == "sound.yaml" and item[3] in ("critical", "high")]
    # The secret itself is in no report.
    assert KEY not in json.dumps([finding.message for finding in report.findings])


def test_kube_score_finds_what_is_planted_in_manifests(manifests: Path) -> None:
    line = [scanner("kube_score", "kube-score"), "score", "--output-format=sarif", "--ignore-container-cpu-limit"]
    names = sorted(path.name for path in manifests.glob("*.yaml"))
    done = subprocess.run([*line, *names], check=False, capture_output=True, text=True, cwd=manifests)
    report = read_report("sarif", done.stdout, "kube-score")
    found = {(finding.rule.id, Path(finding.location).name, finding.message) for finding in report.findings}
    rules = {(rule, name) for rule, name, _ in found}
    assert {
        ("container-security-context-privileged", "planted.yaml"),
        ("container-image-tag", "planted.yaml"),
        ("container-resources", "planted.yaml"),
        ("service-type", "open.yaml"),
    } <= rules
    assert ("container-resources", "planted.yaml", "Memory limit is not set") in found
    assert not {"container-security-context-privileged", "container-image-tag", "container-resources"} & {
        rule for rule, name in rules if name == "sound.yaml"
    }


def test_govulncheck_finds_flaws_by_what_is_in_a_program(capsys: pytest.CaptureFixture[str]) -> None:
    # It is itself built with a parser of HTML that has known flaws, and the network's plugin with none.
    programs = {
        "kube-score": scanner("kube_score", "kube-score"),
        "loopback": scanner("cni_plugins", "loopback"),
    }
    database = Path(scanner("go_vulnerabilities", "osv"))
    arguments = {"executable": scanner("govulncheck", "govulncheck"), "database": str(database)}
    listed = [{"name": name, "path": path} for name, path in programs.items()]
    returned = run_module("govulncheck", {**arguments, "programs": listed}, capsys)
    assert returned["by_module"] == []
    findings = read_report("sarif", returned["sarif"], "govulncheck").findings
    severe = {finding.location for finding in findings if finding.severity == "high"}
    # What loopback has of a flawed standard library is not what is flawed in it.
    assert severe == {"kube-score"}
    assert {finding.location for finding in findings} == set(programs)
