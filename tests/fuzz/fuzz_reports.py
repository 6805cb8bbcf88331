#!/usr/bin/env python3
# Copyright: cicd.sandbox contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Feeds the report modules with whatever atheris thinks of; anything but a ReportError is a bug.

Usage: tests/fuzz/fuzz_reports.py [atheris' options] [directory of inputs]; `make fuzz` does it for a minute.
The first byte chooses the tool, the rest is the report.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import atheris
from ansible.plugins.loader import init_plugin_loader

REPOSITORY = Path(__file__).resolve().parents[2]
FIXTURES = REPOSITORY / "tests/unit/reports/fixtures"

init_plugin_loader([str(REPOSITORY / ".collections")])
with atheris.instrument_imports(include=["ansible_collections.cicd.sandbox.plugins.module_utils.reports"]):
    from ansible_collections.cicd.sandbox.plugins.module_utils.reports.gate import Policy, judge
    from ansible_collections.cicd.sandbox.plugins.module_utils.reports.model import ReportError
    from ansible_collections.cicd.sandbox.plugins.module_utils.reports.reading import READERS, read_report
    from ansible_collections.cicd.sandbox.plugins.module_utils.reports.running import WRITERS, answer

TOOLS = tuple(READERS)


def one_input(data: bytes) -> None:
    """Read, judge and write one report."""
    if not data:
        return
    try:
        report = read_report(TOOLS[data[0] % len(TOOLS)], data[1:], "the report")
    except ReportError:
        return
    judgement = judge(report, Policy())
    if sum(judgement.counts.values()) + len(judgement.waived) != len(report.findings):
        raise AssertionError("counts do not add up")
    answer(judgement, 5)
    for writer in WRITERS.values():
        writer(judgement).decode()


def corpus(folder: Path) -> None:
    """Write the fixtures as inputs."""
    for number, tool in enumerate(TOOLS):
        for path in (FIXTURES / tool).iterdir():
            (folder / f"{tool}-{path.name}").write_bytes(bytes([number]) + path.read_bytes())


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        corpus(Path(folder))
        atheris.Setup([*sys.argv, folder], one_input)
        atheris.Fuzz()


if __name__ == "__main__":
    main()
