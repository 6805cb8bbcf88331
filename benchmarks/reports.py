#!/usr/bin/env python3
# Copyright: cicd.sandbox contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Times reading and judging reports against json.loads on the same file, and compares their memory.

Usage: benchmarks/reports.py [TOOL ...] [MEGABYTES ...]    (default: all, 1 10 100)

Every measurement is a process of its own, the best of seven, in turns; memory is its peak, less what Python has before.
All get the file's bytes. The goals for 100 MB are 1.3 times the time and twice the memory. The modules switch Python's
cycle collector off; what json.loads takes without it is measured for comparison.
"""

from __future__ import annotations

import importlib
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from ansible.plugins.loader import init_plugin_loader

REPOSITORY = Path(__file__).resolve().parents[1]
ROUNDS = 7


def popeye() -> Iterator[str]:
    """A section per kind; the shortest findings of all tools: most of them per megabyte."""
    yield '{"popeye":{"report_time":"2026-11-02T07:00:00Z","score":71,"grade":"C","sections":['
    number = 0
    while True:
        issues = []
        for _ in range(2000):
            number += 1
            listed = [
                {
                    "group": "__root__",
                    "gvr": "v1/pods",
                    "level": 1,
                    "message": "[POP-208] Unmanaged pod detected",
                },
                {
                    "group": f"app-{number % 9}",
                    "gvr": "containers",
                    "level": 2,
                    "message": "[POP-106] No resources requests/limits defined",
                },
                {
                    "group": f"app-{number % 9}",
                    "gvr": "containers",
                    "level": 3,
                    "message": f"[POP-109] CPU Current/Request ({number}m/9m) reached",
                },
            ]
            issues.append(f'"team-{number % 50}/pod-{number}":{json.dumps(listed, separators=(",", ":"))}')
        yield (
            '{"linter":"pods","gvr":"v1/pods","tally":{"ok":5,"error":9,"score":35},"issues":{'
            + ",".join(issues)
            + "}}"
        )
        yield ","
    yield "]}}"


POPEYE_END = '{"linter":"nodes","tally":{"ok":3}}]},"ClusterName":"lab","ContextName":"lab"}'


def kubescape() -> Iterator[str]:
    yield '{"summaryDetails":{"complianceScore":70,"controls":{"C-0057":{"scoreFactor":8}}},"results":['
    number = 0
    while True:
        number += 1
        path = f"spec.template.spec.containers[{number % 5}].securityContext.privileged"
        rules = [
            {
                "name": "a-rule",
                "status": "failed",
                "paths": [{"failedPath": path, "fixPath": {"path": "", "value": ""}}],
            }
        ]
        controls = [
            {
                "controlID": f"C-{57 + index:04d}",
                "name": "A control",
                "status": {"status": "failed" if index % 3 else "passed"},
                "rules": rules if index % 3 else [{"name": "a-rule", "status": "passed", "paths": []}],
            }
            for index in range(30)
        ]
        yield json.dumps(
            {"resourceID": f"apps/v1/team-{number % 50}/Deployment/app-{number}", "controls": controls},
            separators=(",", ":"),
        )
        yield ","


KUBESCAPE_END = '{"resourceID":"/v1//Namespace/x","controls":[]}],"resources":[]}'


def trivy() -> Iterator[str]:
    yield '{"SchemaVersion":2,"ClusterName":"lab","Resources":['
    number = 0
    while True:
        number += 1
        flaws = [
            {
                "VulnerabilityID": f"CVE-2026-{index % 4000:04d}",
                "PkgID": f"package-{index}@1.2.3",
                "PkgName": f"package-{index}",
                "PkgIdentifier": {"PURL": f"pkg:deb/debian/package-{index}@1.2.3", "UID": "0123456789abcdef"},
                "InstalledVersion": "1.2.3",
                "FixedVersion": "1.2.4",
                "Status": "fixed",
                "Layer": {"Digest": "sha256:" + "0" * 64, "DiffID": "sha256:" + "1" * 64},
                "SeveritySource": "debian",
                "PrimaryURL": "https://avd.aquasec.com/nvd/cve-2026-0001",
                "Title": "a flaw in a package",
                "Description": "A flaw was found in a package. " * 12,
                "Severity": ("LOW", "MEDIUM", "HIGH", "CRITICAL")[index % 4],
                "CweIDs": ["CWE-79"],
                "CVSS": {"nvd": {"V3Vector": "CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:H", "V3Score": 9.8}},
                "References": [f"https://example.org/advisories/{index}/{reference}" for reference in range(12)],
                "PublishedDate": "2026-01-01T00:00:00Z",
                "LastModifiedDate": "2026-01-02T00:00:00Z",
            }
            for index in range(number, number + 60)
        ]
        result = {"Target": "image (debian 13)", "Class": "os-pkgs", "Type": "debian", "Vulnerabilities": flaws}
        yield json.dumps(
            {"Namespace": f"team-{number % 50}", "Kind": "Deployment", "Name": f"app-{number}", "Results": [result]},
            indent=2,
        )
        yield ","


TRIVY_END = '{"Namespace":"x","Kind":"Pod","Name":"y"}]}'


def istioctl() -> Iterator[str]:
    yield "["
    number = 0
    while True:
        number += 1
        message = {
            "code": f"IST{101 + number % 40:04d}",
            "documentationUrl": f"https://istio.io/latest/docs/reference/config/analysis/ist{101 + number % 40:04d}/",
            "level": ("Error", "Warning", "Info")[number % 3],
            "message": f"Port name port-{number} (port: 80, targetPort: 8080) has an odd name.",
            "origin": f"Service team-{number % 50}/service-{number}",
        }
        yield json.dumps(message, indent="\t")
        yield ","


ISTIOCTL_END = '{"code":"IST0102","level":"Info","message":"x","origin":"Namespace y"}]'

TOOLS: dict[str, tuple[Callable[[], Iterator[str]], str]] = {
    "popeye": (popeye, POPEYE_END),
    "kubescape": (kubescape, KUBESCAPE_END),
    "trivy": (trivy, TRIVY_END),
    "istioctl": (istioctl, ISTIOCTL_END),
}


def write(tool: str, size: int, path: Path) -> None:
    """Write a report of about so many bytes."""
    parts, end = TOOLS[tool]
    written = 0
    with path.open("w") as file:
        for part in parts():
            written += file.write(part)
            if part == "," and written >= size:
                break
        file.write(end)


def measured(tool: str, path: Path) -> dict[str, tuple[float, float]]:
    """CPU seconds and MB that a fresh process takes for each: other processes shall not count."""
    runs: dict[str, list[list[float]]] = {"loads": [], "uncollected": [], "report": []}
    # In turns: a machine that gets busier makes all of them slower.
    for _ in range(ROUNDS):
        for what, results in runs.items():
            command = [sys.executable, __file__, "--measure", what, tool, str(path)]
            done = subprocess.run(command, check=True, capture_output=True, text=True)
            results.append(json.loads(done.stdout))
    return {what: (min(run[0] for run in some), min(run[1] for run in some)) for what, some in runs.items()}


def measure(what: str, tool: str, path: Path) -> None:
    """Be the process that is measured; print seconds and MB."""
    init_plugin_loader([str(REPOSITORY / ".collections")])
    running = importlib.import_module("ansible_collections.cicd.sandbox.plugins.module_utils.reports.running")
    data: Any = path.read_bytes()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    begun = time.process_time()
    if what == "loads":
        result: Any = json.loads(data)
    elif what == "uncollected":
        with running.without_collector():
            result = json.loads(data)
    else:
        with running.without_collector():
            judgement = running.judge(running.read_report(tool, data, str(path)), running.Policy())
            result = running.answer(judgement, 200)
    seconds = time.process_time() - begun
    after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    sys.stdout.write(json.dumps([seconds, (after - before + len(data) / 1024) / 1000]))
    sys.stdout.flush()
    # What is left need not be taken apart.
    del result
    os._exit(0)


def main() -> None:
    if sys.argv[1:2] == ["--measure"]:
        measure(sys.argv[2], sys.argv[3], Path(sys.argv[4]))
    sizes = [int(argument) for argument in sys.argv[1:] if argument.isdigit()] or [1, 10, 100]
    tools = [argument for argument in sys.argv[1:] if not argument.isdigit()] or list(TOOLS)
    print("tool          MB  json.loads  (no collector)    report  ratio   memory   report  ratio  s per 100 MB")
    with tempfile.TemporaryDirectory() as folder:
        for tool in tools:
            for size in sizes:
                path = Path(folder) / f"{tool}.json"
                write(tool, size * 1_000_000, path)
                results = measured(tool, path)
                (seconds, memory), (own_seconds, own_memory) = results["loads"], results["report"]
                bare_seconds = results["uncollected"][0]
                print(
                    f"{tool:<10} {size:>5} {seconds:>9.3f} s {bare_seconds:>13.3f} s "
                    f"{own_seconds:>7.3f} s {own_seconds / seconds:>6.2f} "
                    f"{memory:>5.0f} MB {own_memory:>5.0f} MB {own_memory / memory:>6.2f} "
                    f"{own_seconds * 100 / size:>9.2f}",
                    flush=True,
                )


if __name__ == "__main__":
    main()
