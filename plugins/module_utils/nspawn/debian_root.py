# Copyright: cicd.sandbox contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Debian root file systems made by mmdebstrap and kept in a content-keyed cache."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from ansible_collections.cicd.sandbox.plugins.module_utils.host.environment import UMASK, tidied
from ansible_collections.cicd.sandbox.plugins.module_utils.host.locks import held

# Raise when the way a root is made changes, so that cached ones are made anew.
FORMAT = 2
MARKER = ".cicd-sandbox-root.json"


class DebianRootError(Exception):
    """A root file system could not be made; ``log`` has the last lines of mmdebstrap."""

    def __init__(self, message: str, log: str = "") -> None:
        super().__init__(message)
        self.log = log


@dataclass(frozen=True)
class Recipe:
    """What goes into a root file system.

    ``disabled_services`` are unit names that must not start by themselves, because a role
    configures and enables them where they belong.
    """

    suite: str
    packages: tuple[str, ...]
    variant: str = "minbase"
    disabled_services: tuple[str, ...] = ()
    commands: tuple[str, ...] = field(default=())

    @property
    def key(self) -> str:
        """16 hexadecimal digits that change with anything that changes the result."""
        content = json.dumps(
            [FORMAT, self.suite, sorted(self.packages), self.variant, sorted(self.disabled_services), self.commands]
        )
        return hashlib.sha256(content.encode()).hexdigest()[:16]


def debian_sources(suite: str, targets: Iterable[str]) -> list[str]:
    """Return one-line apt sources of ``suite`` from the mirrors that this machine's apt uses.

    ``targets`` are lines ``URI RELEASE COMPONENT`` as ``apt-get indextargets`` prints them. An empty
    list means that apt knows no Debian mirror (Ubuntu, say): mmdebstrap then takes its own default.
    """
    mirrors: dict[str, str] = {}
    for line in targets:
        uri = line.split(" ", 1)[0].rstrip("/")
        if uri.endswith("/debian"):
            mirrors.setdefault("main", uri)
        elif uri.endswith("/debian-security"):
            mirrors.setdefault("security", uri)
    sources = []
    if "main" in mirrors:
        sources += [f"deb {mirrors['main']} {suite} main", f"deb {mirrors['main']} {suite}-updates main"]
        if "security" in mirrors:
            sources.append(f"deb {mirrors['security']} {suite}-security main")
    return sources


def configured_sources(suite: str) -> list[str]:
    """Ask apt for its mirrors; an empty list where there is no apt."""
    apt_get = shutil.which("apt-get")
    if apt_get is None:
        return []
    answer = subprocess.run(
        [apt_get, "indextargets", "--format", "$(REPO_URI) $(RELEASE) $(COMPONENT)", "Identifier: Packages"],
        check=False,
        capture_output=True,
        text=True,
    )
    return debian_sources(suite, answer.stdout.splitlines())


def command(recipe: Recipe, target: Path, sources: Sequence[str]) -> list[str]:
    """Return mmdebstrap's command line for ``recipe``, writing a directory or, by its name, an archive."""
    line = ["mmdebstrap", "--mode=root", f"--variant={recipe.variant}"]
    line += ["--aptopt=Apt::Install-Recommends false", "--dpkgopt=path-exclude=/usr/share/doc/*"]
    line += ["--dpkgopt=path-exclude=/usr/share/man/*", "--dpkgopt=path-exclude=/usr/share/locale/*"]
    if recipe.packages:
        line.append("--include=" + ",".join(recipe.packages))
    if recipe.disabled_services:
        line.append('--customize-hook=chroot "$1" systemctl disable ' + " ".join(recipe.disabled_services))
    line += [f"--customize-hook={hook}" for hook in recipe.commands]
    # Keys that all machines on this root would share prove nothing.
    line.append('--customize-hook=rm -f "$1"/etc/ssh/ssh_host_*')
    return [*line, recipe.suite, str(target), *sources]


def is_complete(root: Path, recipe: Recipe) -> bool:
    """Tell whether ``root`` was made to its end from ``recipe``."""
    try:
        marker: dict[str, Any] = json.loads((root / MARKER).read_text())
    except (OSError, ValueError):
        return False
    return marker.get("key") == recipe.key


def newest(cache: Path, recipe: Recipe) -> Path | None:
    """Return the root that was made last from ``recipe``, if any."""
    made = [root for root in cache.glob(f"{recipe.key}*") if is_complete(root, recipe)]
    return max(made, key=lambda root: (root / MARKER).stat().st_mtime, default=None)


def ensure(
    cache: Path, recipe: Recipe, *, max_age_days: int = 0, now: datetime | None = None, dry_run: bool = False
) -> tuple[Path, bool]:
    """Return the directory of the root file system and whether it had to be made.

    One that is older than ``max_age_days``, unless these are 0, is not used: another is made beside it, since machines
    may stand on it. ``now`` has a time zone; it is the clock's if not given.

    A run that was killed leaves ``<key>.partial``, which the next one removes. Two runs at once wait
    for each other on a lock.

    Raises:
        DebianRootError: mmdebstrap is missing or failed.
    """
    root = cache / recipe.key
    now = now or datetime.now(UTC)
    last = newest(cache, recipe)
    if last:
        age = now - datetime.fromtimestamp((last / MARKER).stat().st_mtime, UTC)
        if not max_age_days or age <= timedelta(days=max_age_days):
            return last, False
        root = cache / f"{recipe.key}-{now.date().isoformat()}"
    if dry_run:
        return root, True
    if shutil.which("mmdebstrap") is None:
        raise DebianRootError("mmdebstrap is not installed on this machine; install the Debian package mmdebstrap")
    cache.mkdir(parents=True, exist_ok=True)
    with held(cache / f"{recipe.key}.lock"):
        if is_complete(root, recipe):
            return root, False
        partial = cache / f"{recipe.key}.partial"
        for leftover in (partial, root):
            if leftover.exists():
                shutil.rmtree(leftover)
        log_path = cache / f"{recipe.key}.log"
        with log_path.open("wb") as log:
            run = subprocess.run(
                command(recipe, partial, configured_sources(recipe.suite)),
                check=False,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env={**tidied(os.environ), "DEBIAN_FRONTEND": "noninteractive"},
                # The mode of the machines' root directory goes by it.
                umask=UMASK,
            )
        if run.returncode != 0:
            tail = "\n".join(log_path.read_text(errors="replace").splitlines()[-25:])
            with suppress(OSError):
                shutil.rmtree(partial)
            raise DebianRootError(f"mmdebstrap ended with {run.returncode}; its log is {log_path}", tail)
        (partial / MARKER).write_text(json.dumps({"key": recipe.key, "suite": recipe.suite}))
        partial.rename(root)
    return root, True
