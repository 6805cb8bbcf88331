# Copyright: cicd.sandbox contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Known flaws in Go programs: what is in a program, and what govulncheck is told of it."""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.cicd.sandbox.plugins.module_utils.scans.go_functions import functions, split
from modules import run_module

NAMES = ["main.main", "net/http.(*Server).Serve", "golang.org/x/net/html.Parse", "type:.eq.example"]


def program(path: Path, names: list[str], *, magic: int = 0xFFFFFFF1, section: bytes = b".gopclntab") -> Path:
    """Write what a linker writes of a program of 64 bit, so far as names of functions go."""
    table = b"".join(name.encode() + b"\0" for name in names)
    head = struct.pack("<I4BQQQQQ", magic, 0, 0, 1, 8, len(names), 1, 0, 72, 72 + len(table))
    pclntab = head.ljust(72, b"\0") + table
    strings = b"\0" + section + b"\0.shstrtab\0"
    start = 64
    headers = start + len(pclntab) + len(strings)
    sections = [
        (0, 0, 0, 0, 0, 0, 0, 0, 0, 0),
        (1, 1, 0, 0, start, len(pclntab), 0, 0, 0, 0),
        (2 + len(section), 3, 0, 0, start + len(pclntab), len(strings), 0, 0, 0, 0),
    ]
    elf = b"\x7fELF\x02\x01\x01".ljust(0x28, b"\0") + struct.pack("<Q", headers)
    elf = elf.ljust(0x3A, b"\0") + struct.pack("<HHH", 64, len(sections), 2)
    tail = b"".join(struct.pack("<IIQQQQIIQQ", *item) for item in sections)
    path.write_bytes(elf.ljust(64, b"\0") + pclntab + strings + tail)
    return path


@pytest.mark.parametrize("section", [b".gopclntab", b".data.rel.ro.gopclntab"])
def test_functions_of_a_program_without_symbols_are_known(tmp_path: Path, section: bytes) -> None:
    assert functions(program(tmp_path / "web", NAMES, section=section)) == {
        ("main", "main"),
        ("net/http", "Server.Serve"),
        ("golang.org/x/net/html", "Parse"),
    }


def test_what_is_no_such_program_has_none(tmp_path: Path) -> None:
    whole = program(tmp_path / "whole", NAMES).read_bytes()
    other = {
        "empty": b"",
        "script": b"#!/bin/sh\n",
        "cut": whole[: len(whole) // 2],
        "32-bit": whole[:4] + b"\x01" + whole[5:],
        "old": program(tmp_path / "old", NAMES, magic=0xFFFFFFF0).read_bytes(),
        "other": program(tmp_path / "other", NAMES, section=b".text").read_bytes(),
    }
    for name, content in other.items():
        (tmp_path / name).write_bytes(content)
        assert functions(tmp_path / name) == set(), name


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("sync/atomic.(*Pointer[go.shape.struct { a/b.c int }]).Load", ("sync/atomic", "Pointer.Load")),
        ("slices.SortFunc[...]", ("slices", "SortFunc")),
        ("gopkg.in/yaml%2ev3.(*parser).parse", ("gopkg.in/yaml.v3", "parser.parse")),
        ("net/http.(*Server).Serve.func1", ("net/http", "Server).Serve.func1")),
        ("go:buildid", None),
        ("memeqbody", None),
    ],
)
def test_names_are_split_as_govulncheck_splits_them(name: str, found: tuple[str, str] | None) -> None:
    assert split(name) == found


# --- the module ------------------------------------------------------------------------------------------------------

# Finds that a flaw is called in whatever has net/http's function in it, and else the module alone.
FAKE = """#!/usr/bin/env python3
import json, sys
*options, target = sys.argv[1:]
if "-mode=extract" in options:
    if open(target, "rb").read(4) != b"\\x7fELF":
        sys.exit("govulncheck: unrecognized binary format")
    print(json.dumps({"name": "govulncheck-extract"}))
    print(json.dumps({"modules": [], "goVersion": "go1.26.8"}))
else:
    header, body = open(target)
    known = json.loads(body).get("pkgSymbols", [])
    called = not known or {"pkg": "net/http", "name": "Server.Serve"} in known
    assert json.loads(header)["name"] == "govulncheck-extract" and options[-1] == "-db=file:///flaws"
    said = "Your code calls vulnerable functions in 1 package (net/http)." if called else "Your code depends on it."
    place = {"module": "stdlib@v1.26.8"}
    result = {"ruleId": "GO-1", "level": "error" if called else "note", "message": {"text": said}}
    if called:
        result["codeFlows"] = [{"threadFlows": [{"locations": [place, place]}]}]
    driver = {"name": "govulncheck", "rules": [{"id": "GO-1", "helpUri": "https://example.org"}]}
    print(json.dumps({"runs": [{"tool": {"driver": driver}, "results": [result]}]}))
"""


def govulncheck(capsys: pytest.CaptureFixture[str], tmp_path: Path, **programs: Path) -> dict[str, Any]:
    scanner = tmp_path / "govulncheck"
    scanner.write_text(FAKE)
    scanner.chmod(0o755)
    listed = [{"name": name, "path": str(path)} for name, path in programs.items()]
    return run_module("govulncheck", {"executable": str(scanner), "database": "/flaws", "programs": listed}, capsys)


def test_a_flaw_counts_by_whether_its_function_is_in_the_program(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    linked = program(tmp_path / "linked", NAMES)
    without = program(tmp_path / "without", ["main.main"])
    unknown = program(tmp_path / "unknown", NAMES, magic=0)
    returned = govulncheck(capsys, tmp_path, linked=linked, without=without, unknown=unknown)
    (run,) = json.loads(returned["sarif"])["runs"]
    found = {
        result["locations"][0]["physicalLocation"]["artifactLocation"]["uri"]: (result["level"], result["message"])
        for result in run["results"]
    }
    called = {"text": "The program has in it vulnerable functions in 1 package (net/http): stdlib@v1.26.8"}
    assert found == {
        "linked": ("error", called),
        "without": ("note", {"text": "Your code depends on it"}),
        # Nobody knows: what govulncheck says of it stays.
        "unknown": ("error", called),
    }
    assert [rule["id"] for rule in run["tool"]["driver"]["rules"]] == ["GO-1"]
    assert returned["by_module"] == ["unknown"]
    assert not returned["changed"]


def test_what_is_no_program_is_named(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    (tmp_path / "script").write_text("#!/bin/sh\n")
    returned = govulncheck(capsys, tmp_path, web=tmp_path / "script")
    assert returned["failed"]
    assert returned["msg"] == (
        f"govulncheck can't look at web ({tmp_path}/script): govulncheck: unrecognized binary format"
    )
