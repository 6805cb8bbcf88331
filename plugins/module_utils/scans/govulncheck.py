# Copyright: cicd.sandbox contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Known flaws in Go programs, as govulncheck finds them: a log in SARIF of all of them.

govulncheck itself counts each flaw of a module that a program without symbols has in it as one that it calls. So it is
asked for what it knows of the program (``-mode=extract``: two JSON objects, a header and modules with symbols), is
given the functions that are in the program, and judges these.
"""

from __future__ import annotations

import concurrent.futures
import dataclasses
import json
import subprocess
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ansible_collections.cicd.sandbox.plugins.module_utils.scans.go_functions import functions


class ScanError(Exception):
    """A program can't be scanned. The text says which, and why."""


@dataclasses.dataclass(frozen=True)
class Scanner:
    """The program govulncheck, and a folder that has its database."""

    executable: Path
    database: Path

    def run(self, *arguments: str) -> str:
        """Return what it writes; ScanError where it fails, as which findings are no reason in its machine's formats."""
        line = [str(self.executable), *arguments]
        done = subprocess.run(line, check=False, capture_output=True, text=True, errors="replace")
        if done.returncode:
            raise ScanError(" ".join(done.stderr.split()) or f"it ended with code {done.returncode}")
        return done.stdout


@dataclasses.dataclass
class Scanned:
    """A run of SARIF, of one program. ``linked``: whether it is known which functions are in the program."""

    name: str
    linked: bool
    run: dict[str, Any]


def scan(scanner: Scanner, name: str, program: Path) -> Scanned:
    """Have a program looked at."""
    try:
        header, _, body = scanner.run("-mode=extract", str(program)).partition("\n")
        known = json.loads(body)
        if not known.get("pkgSymbols"):
            known["pkgSymbols"] = [{"pkg": package, "name": symbol} for package, symbol in sorted(functions(program))]
        with tempfile.NamedTemporaryFile("w", suffix=".json", encoding="utf-8") as file:
            file.write(f"{header}\n{json.dumps(known)}\n")
            file.flush()
            said = scanner.run("-mode=binary", "-format=sarif", f"-db={scanner.database.as_uri()}", file.name)
        (run,) = json.loads(said)["runs"]
    except (ScanError, OSError, ValueError, KeyError, TypeError) as error:
        raise ScanError(f"{name} ({program}): {error}") from error
    return Scanned(name, bool(known["pkgSymbols"]), run)


def scan_all(scanner: Scanner, programs: Iterable[tuple[str, Path]], jobs: int) -> list[Scanned]:
    """Have programs looked at, so many at a time; in the order in which they were given."""
    with concurrent.futures.ThreadPoolExecutor(jobs) as pool:
        return list(pool.map(lambda program: scan(scanner, *program), programs))


def log_of(scanned: Sequence[Scanned]) -> dict[str, Any]:
    """Return one log: each result is in the program, and says which version of which module has the flaw."""
    rules: dict[str, Any] = {}
    results: list[dict[str, Any]] = []
    driver: dict[str, Any] = {"name": "govulncheck"}
    for one in scanned:
        driver = {**one.run["tool"]["driver"]}
        rules.update((rule["id"], rule) for rule in driver.get("rules") or [])
        results += [_result(one.name, result) for result in one.run.get("results") or []]
    run = {"tool": {"driver": {**driver, "rules": list(rules.values())}}, "results": results}
    return {"$schema": "https://json.schemastore.org/sarif-2.1.0.json", "version": "2.1.0", "runs": [run]}


def _result(name: str, result: Mapping[str, Any]) -> dict[str, Any]:
    modules = sorted(
        {
            location["module"]
            for flow in result.get("codeFlows") or []
            for thread in flow.get("threadFlows") or []
            for location in thread.get("locations") or []
            if location.get("module")
        }
    )
    text = result["message"]["text"].replace("Your code calls", "The program has in it").rstrip(".")
    return {
        "ruleId": result["ruleId"],
        "level": result["level"],
        "message": {"text": f"{text}: {', '.join(modules)}" if modules else text},
        "locations": [{"physicalLocation": {"artifactLocation": {"uri": name}}}],
    }
