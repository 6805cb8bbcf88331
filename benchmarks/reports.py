#!/usr/bin/env python3
# Copyright: cicd.sandbox contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Times reading and judging reports against json.loads on the same file, and compares their memory.

Usage: benchmarks/reports.py [--outputs] [TOOL ...] [MEGABYTES ...]    (default: all, 1 10 100)

Every measurement is a process of its own, the best of seven, in turns; memory is its peak, less what Python has before.
All get the file's bytes. The goals for 100 MB are 1.3 times the time and twice the memory. The modules switch Python's
cycle collector off; what json.loads takes without it is measured for comparison.

With --outputs, a report of 200,000 findings is judged with ten waivers and a baseline, and JUnit, SARIF, page and JSON
are written. The goals are 5 seconds, and twice the memory of json.loads on the report.

Seconds are the processor's. How fast a machine is changes with its neighbours: each line ends with what a fixed piece
of work took beside it by the clock and of the processor, in multiples of what it takes in a fast hour (slowness.py).
"""

from __future__ import annotations

import datetime as dt
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
from slowness import slowness

REPOSITORY = Path(__file__).resolve().parents[1]
ROUNDS = 7
# With all outputs, of which one round takes seconds.
OUTPUT_ROUNDS = 3
FINDINGS = 200_000
WAIVERS = [
    {"rule": rule, "resource": f"*{number}", "namespace": f"team-{number}", "reason": "known", "expires": "2099-01-01"}
    for number, rule in enumerate(["*", "POP-1*", "C-00*", "CVE-*", "IST01*"] * 2)
]


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


def slower(before: tuple[float, float]) -> str:
    """Say how slow the machine was between then and now."""
    clock, processor = ((one + other) / 2 for one, other in zip(before, slowness(), strict=True))
    return f"{clock:>6.2f} {processor:>6.2f}"


def measured(tool: str, path: Path, kinds: tuple[str, ...], rounds: int) -> dict[str, tuple[float, float]]:
    """CPU seconds and MB that a fresh process takes for each: other processes shall not count."""
    runs: dict[str, list[list[float]]] = {kind: [] for kind in kinds}
    # In turns: a machine that gets busier makes all of them slower.
    for _ in range(rounds):
        for what, results in runs.items():
            command = [sys.executable, __file__, "--measure", what, tool, str(path)]
            done = subprocess.run(command, check=True, capture_output=True, text=True)
            results.append(json.loads(done.stdout))
    return {what: (min(run[0] for run in some), min(run[1] for run in some)) for what, some in runs.items()}


def imported(name: str) -> Any:
    return importlib.import_module(f"ansible_collections.cicd.sandbox.plugins.module_utils.reports.{name}")


def measure(what: str, tool: str, path: Path) -> None:
    """Be the process that is measured; print seconds and MB."""
    init_plugin_loader([str(REPOSITORY / ".collections")])
    running = imported("running")
    data: Any = path.read_bytes() if what != "outputs" else b""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    begun = time.process_time()
    result: Any = None
    if what == "loads":
        result = json.loads(data)
    elif what == "outputs":
        with running.without_collector():
            outputs(tool, path)
    else:
        with running.without_collector():
            if what == "uncollected":
                result = json.loads(data)
            else:
                judgement = running.judge(running.read_report(tool, data, str(path)), running.Policy())
                result = running.answer(judgement, 200)
    seconds = time.process_time() - begun
    after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    sys.stdout.write(json.dumps([seconds, (after - before + len(data) / 1024) / 1000]))
    sys.stdout.flush()
    # What is left need not be taken apart.
    del result
    os._exit(0)


def outputs(tool: str, path: Path) -> None:
    """Judge with waivers and a baseline, and write all outputs, as the modules do."""
    running, shared, written = imported("running"), imported("shared"), imported("outputs")
    waivers = imported("waivers").read_waivers(WAIVERS, "waivers")
    earlier = baseline_of(path)
    baseline = shared.read_baseline(tool, running.read_file(earlier), str(earlier))
    report = running.read_report(tool, running.read_file(path), str(path))
    policy = running.Policy(waivers=waivers, baseline=baseline, today=dt.date(2026, 1, 1))
    judgement = running.judge(report, policy)
    running.answer(judgement, 20)
    for name, parts in written.WRITERS.items():
        written.write(name, path.with_name(f"{tool}.{name}"), parts(judgement), check_mode=False)


def baseline_of(path: Path) -> Path:
    return path.with_name(f"{path.stem}.baseline.json")


def prepare(tool: str, path: Path) -> None:
    """Write a report of about FINDINGS findings, and a baseline with every other of them; print how many there are.

    As a process of its own: one that is started later has the peak of the one that starts it.
    """
    init_plugin_loader([str(REPOSITORY / ".collections")])
    running, shared = imported("running"), imported("shared")
    size = 2_000_000
    # The first findings are not as long as the others.
    for _ in range(3):
        write(tool, size, path)
        report = running.read_report(tool, path.read_bytes(), "x")
        size = size * FINDINGS // len(report.findings)
    lines = shared.as_json(running.judge(report, running.Policy())).splitlines(keepends=True)
    start = lines.index(b'  "findings": [\n') + 1
    kept = [*lines[:start], *lines[start:-3:2], lines[-3], *lines[-2:]]
    baseline_of(path).write_bytes(b"".join(kept))
    print(len(report.findings))


def all_outputs(tools: list[str], folder: Path) -> None:
    print("tool        findings  report MB  json.loads   outputs    time    memory    ratio  slower: clock, CPU")
    for tool in tools:
        path = folder / f"{tool}.json"
        command = [sys.executable, __file__, "--prepare", tool, str(path)]
        found = int(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
        before = slowness()
        results = measured(tool, path, ("loads", "outputs"), OUTPUT_ROUNDS)
        (_, memory), (seconds, own_memory) = results["loads"], results["outputs"]
        print(
            f"{tool:<10} {found:>9} {path.stat().st_size / 1e6:>10.0f} {memory:>8.0f} MB {own_memory:>6.0f} MB "
            f"{seconds:>6.2f} s {'':>8} {own_memory / memory:>6.2f} {slower(before)}",
            flush=True,
        )


def main() -> None:
    if sys.argv[1:2] == ["--measure"]:
        measure(sys.argv[2], sys.argv[3], Path(sys.argv[4]))
    if sys.argv[1:2] == ["--prepare"]:
        prepare(sys.argv[2], Path(sys.argv[3]))
        return
    arguments = [argument for argument in sys.argv[1:] if argument != "--outputs"]
    sizes = [int(argument) for argument in arguments if argument.isdigit()] or [1, 10, 100]
    tools = [argument for argument in arguments if not argument.isdigit()] or list(TOOLS)
    with tempfile.TemporaryDirectory() as folder:
        if "--outputs" in sys.argv:
            all_outputs(tools, Path(folder))
        else:
            readings(tools, sizes, Path(folder))


def readings(tools: list[str], sizes: list[int], folder: Path) -> None:
    print(
        "tool          MB  json.loads  (no collector)    report  ratio   memory   report  ratio  s per 100 MB"
        "  slower: clock, CPU"
    )
    for tool in tools:
        for size in sizes:
            path = folder / f"{tool}.json"
            write(tool, size * 1_000_000, path)
            before = slowness()
            results = measured(tool, path, ("loads", "uncollected", "report"), ROUNDS)
            (seconds, memory), (own_seconds, own_memory) = results["loads"], results["report"]
            bare_seconds = results["uncollected"][0]
            print(
                f"{tool:<10} {size:>5} {seconds:>9.3f} s {bare_seconds:>13.3f} s "
                f"{own_seconds:>7.3f} s {own_seconds / seconds:>6.2f} "
                f"{memory:>5.0f} MB {own_memory:>5.0f} MB {own_memory / memory:>6.2f} "
                f"{own_seconds * 100 / size:>9.2f} {slower(before):>19}",
                flush=True,
            )


if __name__ == "__main__":
    main()
