# Copyright: cicd.sandbox contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The report: well-formed whatever is in it, and in the order that the schemas want."""

from __future__ import annotations

import datetime as dt
import re
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest
from ansible_collections.cicd.sandbox.plugins.module_utils.checks.junit import Case, escaped, report, write

BEGIN = dt.datetime(2026, 10, 2, 10, 0, 5, 123456, tzinfo=dt.UTC)
CASES = [
    Case("good", 0.5),
    Case("bad <&>\x1b[31m", 61.25, failure='status 503, expected "200"', details="line 1\n\x00\ufffe line 2"),
    Case("left out", 0.0, skipped="check mode"),
]
# What junit-10.xsd (Jenkins) and JUnit.xsd (Ant) both allow.
ATTRIBUTES = {
    "testsuites": set(),
    "testsuite": {
        "name", "package", "id", "timestamp", "hostname", "tests", "failures", "errors", "skipped", "time",
    },
    "properties": set(),
    "testcase": {"name", "classname", "time"},
    "failure": {"type", "message"},
    "skipped": {"message"},
    "system-out": set(),
    "system-err": set(),
}  # fmt: skip


def parsed(content: bytes) -> ET.Element:
    """Read a report as a strict reader does."""
    parser = ET.XMLPullParser(["end"])
    parser.feed(content)
    parser.close()
    *_inner, (_event, root) = parser.read_events()
    return root


@pytest.fixture
def suite() -> ET.Element:
    (element,) = parsed(report("smoke.dev", CASES, BEGIN, 61.8))
    return element


def test_counts_and_times(suite: ET.Element) -> None:
    assert suite.attrib | {"hostname": ""} == {
        "name": "smoke.dev",
        "package": "smoke.dev",
        "id": "0",
        "timestamp": "2026-10-02T10:00:05",
        "hostname": "",
        "tests": "3",
        "failures": "1",
        "errors": "0",
        "skipped": "1",
        "time": "61.800",
    }
    assert [case.get("time") for case in suite.iter("testcase")] == ["0.500", "61.250", "0.000"]


def test_shape_is_that_of_both_schemas(suite: ET.Element) -> None:
    assert [child.tag for child in suite] == ["properties", *["testcase"] * 3, "system-out", "system-err"]
    for element in suite.iter():
        assert set(element.attrib) == ATTRIBUTES[element.tag]


def test_failures_say_why(suite: ET.Element) -> None:
    _good, bad, skipped = suite.iter("testcase")
    assert bad.get("name") == "bad <&>\\x1b[31m"
    (failure,) = bad
    assert failure.get("message") == 'status 503, expected "200"'
    assert failure.text == 'status 503, expected "200"\nline 1\n\\x00\\ufffe line 2'
    assert [(child.tag, child.get("message")) for child in skipped] == [("skipped", "check mode")]


@pytest.mark.parametrize(
    ("text", "expected"),
    [("plain\tä\n😀", "plain\tä\n😀"), ("\x07\x85", "\\x07\x85"), ("\ud800", "\\ud800"), ("\uffff", "\\uffff")],
)
def test_characters_that_xml_cannot_carry(text: str, expected: str) -> None:
    assert escaped(text) == expected


def test_no_control_character_is_left() -> None:
    everything = "".join(map(chr, range(0x250)))
    written = report(everything, [Case(everything, 0, failure=everything)], BEGIN, 0)
    assert not re.search(rb"[\x00-\x08\x0b\x0c\x0e-\x1f]", written)
    assert parsed(written).tag == "testsuites"


def test_write_replaces_in_one_step(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "reports/smoke.xml"
    write(path, b"one")
    write(path, b"two")
    assert path.read_bytes() == b"two"

    def fail(_self: Path, _target: Path) -> None:
        raise PermissionError

    monkeypatch.setattr(Path, "replace", fail)
    with pytest.raises(PermissionError):
        write(path, b"three")
    assert [entry.name for entry in path.parent.iterdir()] == ["smoke.xml"]
    assert path.read_bytes() == b"two"
