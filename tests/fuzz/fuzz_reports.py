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
from unittest.mock import patch

import atheris
from ansible.plugins.loader import init_plugin_loader

REPOSITORY = Path(__file__).resolve().parents[2]
FIXTURES = REPOSITORY / "tests/unit/reports/fixtures"

init_plugin_loader([str(REPOSITORY / ".collections")])
with atheris.instrument_imports(include=["ansible_collections.cicd.sandbox.plugins.module_utils.reports"]):
    from ansible_collections.cicd.sandbox.plugins.module_utils.reports import stream
    from ansible_collections.cicd.sandbox.plugins.module_utils.reports.gate import Judgement, Policy, judge
    from ansible_collections.cicd.sandbox.plugins.module_utils.reports.model import ReportError
    from ansible_collections.cicd.sandbox.plugins.module_utils.reports.outputs import WRITERS
    from ansible_collections.cicd.sandbox.plugins.module_utils.reports.reading import READERS, read_report
    from ansible_collections.cicd.sandbox.plugins.module_utils.reports.running import answer

TOOLS = tuple(READERS)


def judged(data: bytes, piece: int) -> Judgement | str:
    """Read and judge a report, in pieces of so many characters; or say what is wrong with it."""
    with patch.multiple(stream, _FEW=2, _PIECE=piece):
        try:
            judgement = judge(read_report(TOOLS[data[0] % len(TOOLS)], data[1:], "the report"), Policy())
            answer(judgement, 5)
        except ReportError as exc:
            return str(exc)
    return judgement


def one_input(data: bytes) -> None:
    """Read, judge and write one report; once more without pieces, which has to be the same."""
    if not data:
        return
    judgement, slowly = judged(data, 4), judged(data, 1 << 40)
    if isinstance(judgement, str) or isinstance(slowly, str):
        if judgement != slowly:
            raise AssertionError(f"{judgement!r} in pieces, {slowly!r} without")
        return
    if judgement.counts != slowly.counts or judgement.reasons != slowly.reasons:
        raise AssertionError("pieces change the outcome")
    if sum(judgement.counts.values()) + len(judgement.waived) != len(list(judgement.report.findings)):
        raise AssertionError("counts do not add up")
    for writer in WRITERS.values():
        "".join(writer(judgement)).encode()


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
