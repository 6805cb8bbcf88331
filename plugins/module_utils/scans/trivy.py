# Copyright: cicd.sandbox contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Trivy on many targets, without the network: one report of all, in the form in which it reports a cluster."""

from __future__ import annotations

import concurrent.futures
import dataclasses
import json
import subprocess
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Final

# Command and how it calls what it looks at.
_KINDS: Final = {"image": ("image", "Image"), "folder": ("filesystem", "Folder")}
KINDS: Final = tuple(_KINDS)

# Four ways to ask the network: newer checks, a newer Trivy, what it tells of its use, what packages it looks up.
_SILENT: Final = ("--skip-check-update", "--skip-version-check", "--disable-telemetry", "--offline-scan")


class TrivyError(Exception):
    """Trivy could not look. The text says at what, and why."""


@dataclasses.dataclass(frozen=True)
class Target:
    """What is looked at: a folder, or an image that is an OCI layout on the disk; and for what (Trivy's --scanners)."""

    kind: str
    name: str
    path: Path
    scanners: Sequence[str]


@dataclasses.dataclass(frozen=True)
class Trivy:
    """The program, and where it keeps what it knows of layers that images share."""

    executable: Path
    cache: Path

    def look(self, target: Target) -> dict[str, Any]:
        """Return the report of a target as a resource of a cluster's; TrivyError where it did not come to its end."""
        command, kind = _KINDS[target.kind]
        image = target.kind == "image"
        line = [str(self.executable), command, "--format=json", "--quiet", *_SILENT, f"--cache-dir={self.cache}"]
        line.append(f"--scanners={','.join(target.scanners)}")
        # Paths in the report are relative to the folder.
        line += [f"--input={target.path}", "--image-config-scanners=secret"] if image else ["."]
        done = subprocess.run(
            line,
            check=False,
            capture_output=True,
            text=True,
            errors="replace",
            cwd="/" if image else target.path,
        )
        try:
            report = json.loads(done.stdout) if done.returncode == 0 else None
        except ValueError:
            report = None
        if not isinstance(report, dict):
            said = " ".join(done.stderr.split())[-1000:] or f"it ended with code {done.returncode} and no report"
            raise TrivyError(f"{target.name} ({target.path}): {said}")
        return {"Kind": kind, "Name": target.name, "Results": report.get("Results") or []}


def look_at_all(trivy: Trivy, name: str, targets: Iterable[Target], jobs: int) -> dict[str, Any]:
    """Return one report of targets, of which so many are looked at at once; ``name`` is the whole's."""
    with concurrent.futures.ThreadPoolExecutor(jobs) as pool:
        return {"ClusterName": name, "Resources": list(pool.map(trivy.look, targets))}
