# Copyright: cicd.sandbox contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A JUnit report, valid by both schemas in use: Jenkins' (junit-10.xsd) and Ant's (JUnit.xsd)."""

from __future__ import annotations

import dataclasses
import datetime as dt
import re
import socket
import xml.etree.ElementTree as ET
from collections.abc import Sequence
from pathlib import Path

from ansible_collections.cicd.sandbox.plugins.module_utils.host import files

# What XML 1.0 does not allow, however it is written.
_NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


@dataclasses.dataclass(frozen=True)
class Case:
    """One test. ``failure`` and ``skipped``: why, or None; ``details`` is text of several lines."""

    name: str
    elapsed: float
    failure: str | None = None
    skipped: str | None = None
    details: str = ""


def escaped(text: str) -> str:
    r"""Return a text in which characters that XML can't carry are written out: ``\x1b``."""
    return _NOT_XML.sub(lambda match: match.group().encode("unicode_escape", "surrogatepass").decode(), text)


def report(suite: str, cases: Sequence[Case], begin: dt.datetime, elapsed: float) -> bytes:
    """Return the report of one suite. ``begin`` is in UTC, as Ant's schema has times without a zone."""
    root = ET.Element("testsuites")
    element = ET.SubElement(
        root,
        "testsuite",
        {
            "name": escaped(suite),
            "package": escaped(suite),
            "id": "0",
            "timestamp": begin.strftime("%Y-%m-%dT%H:%M:%S"),
            "hostname": socket.gethostname() or "localhost",
            "tests": str(len(cases)),
            "failures": str(sum(case.failure is not None for case in cases)),
            "errors": "0",
            "skipped": str(sum(case.skipped is not None for case in cases)),
            "time": f"{elapsed:.3f}",
        },
    )
    ET.SubElement(element, "properties")
    for case in cases:
        attributes = {"name": escaped(case.name), "classname": escaped(suite), "time": f"{case.elapsed:.3f}"}
        _add_outcome(ET.SubElement(element, "testcase", attributes), case)
    ET.SubElement(element, "system-out")
    ET.SubElement(element, "system-err")
    ET.indent(root)
    content: bytes = ET.tostring(root, encoding="utf-8", xml_declaration=True)
    return content + b"\n"


def _add_outcome(element: ET.Element, case: Case) -> None:
    if case.failure is not None:
        failure = ET.SubElement(element, "failure", {"type": "failed", "message": escaped(case.failure)})
        failure.text = escaped("\n".join(part for part in (case.failure, case.details) if part))
    elif case.skipped is not None:
        ET.SubElement(element, "skipped", {"message": escaped(case.skipped)})


def write(path: Path, content: bytes) -> None:
    """Put a report in place in one step, so that nobody reads half of one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with files.replacing(path) as stream:
        stream.write(content)
