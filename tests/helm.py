# Copyright: cicd.sandbox contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The chart `workload` as tests see it: the programs that handle it, what Helm makes of it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from checkout import REPOSITORY

CHART = REPOSITORY / "charts/workload"
SAMPLE = sorted((REPOSITORY / "roles/apps/files/values").glob("*.yaml"))
STATE = Path(os.environ.get("SANDBOX_STATE_DIRECTORY") or Path.home() / ".local/state/cicd-sandbox/dev")
CACHE = Path("/var/cache/cicd-sandbox/artifacts")

Values = Mapping[str, Any]
Manifest = dict[str, Any]


def tool(name: str) -> str:
    """Find a program: where <NAME>_BINARY says, in the sandbox, on PATH, else the newest in the cache of artifacts."""
    variable = f"{name.upper().replace('-', '_')}_BINARY"
    cached = sorted(CACHE.glob(f"*/*/{name}"), key=lambda path: path.stat().st_mtime, reverse=True)
    named = os.environ.get(variable)
    candidates = [named] if named else [str(STATE / "bin" / name), name, *map(str, cached)]
    for candidate in candidates:
        if found := shutil.which(candidate):
            return found
    pytest.fail(
        f"{name} is needed and is not at {', '.join(candidates)}, nor in {CACHE}. `make up` builds it;"
        f" or name one that is there: {variable}=/path/to/{name}",
        pytrace=False,
    )


def run(name: str, *arguments: str, values: Values | None = None, cwd: Path = REPOSITORY) -> str:
    """Run a tool with values on its standard input; give its standard output, fail with its error output."""
    done = try_run(name, *arguments, values=values, cwd=cwd)
    if done.returncode:
        pytest.fail(f"{name} {' '.join(arguments)}:\n{done.stdout}{done.stderr}", pytrace=False)
    return done.stdout


def try_run(
    name: str, *arguments: str, values: Values | None = None, cwd: Path = REPOSITORY
) -> subprocess.CompletedProcess[str]:
    document = json.dumps(values) if values is not None else None
    command = [tool(name), *arguments]
    return subprocess.run(command, input=document, capture_output=True, text=True, check=False, cwd=cwd, timeout=300)


def render(values: Values, release: str = "web", *arguments: str, chart: Path = CHART) -> list[Manifest]:
    """Render the chart into the namespace `shop`."""
    return manifests(run("helm", *template(release, *arguments, chart=chart), values=values))


def template(release: str, *arguments: str, chart: Path = CHART) -> list[str]:
    """Arguments of `helm template` that read values from standard input."""
    return ["template", release, str(chart), "--namespace", "shop", "--values", "-", *arguments]


def manifests(text: str) -> list[Manifest]:
    return [document for document in yaml.load_all(text, Loader=yaml.CSafeLoader) if document]


def only(documents: list[Manifest], kind: str, name: str | None = None) -> Manifest:
    """Give the one object of a kind (and name)."""
    found = [item for item in documents if item["kind"] == kind and name in (None, item["metadata"]["name"])]
    assert len(found) == 1, f"{len(found)} objects of kind {kind}, expected 1, among {[*names(documents)]}"
    return found[0]


def names(documents: list[Manifest]) -> Iterator[str]:
    return (f"{item['kind']}/{item['metadata']['name']}" for item in documents)
