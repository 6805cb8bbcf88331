# Copyright: cicd.sandbox contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Read, on the controller, the files of inventories and of roles."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import yaml
from ansible_collections.cicd.sandbox.plugins.module_utils.preflight.findings import Role

SUFFIXES = {"", ".yml", ".yaml", ".ini"}


def inventory_texts(sources: Iterable[str]) -> dict[str, str]:
    """Return path → text of the inventories' files; what is not text is left out."""
    found = {}
    for source in map(Path, sources):
        paths = sorted(source.rglob("*")) if source.is_dir() else [source]
        for path in paths:
            if path.is_file() and path.suffix in SUFFIXES:
                found[str(path)] = path.read_text(encoding="utf-8", errors="replace")
    return found


def known_roles(directory: Path) -> dict[str, Role]:
    """Read from the roles' defaults, vars and argument_specs which variables they have."""
    roles = {}
    for path in sorted(path for path in directory.iterdir() if path.is_dir()):
        settable = {name for file in path.glob("defaults/**/*.yml") for name in _mapping(file)}
        fixed = {name for file in path.glob("vars/**/*.yml") for name in _mapping(file)}
        entries = [
            spec for file in path.glob("meta/argument_specs.yml") for spec in _mapping(file)["argument_specs"].values()
        ]
        specs = {name: spec for entry in reversed(entries) for name, spec in entry.get("options", {}).items()}
        roles[path.name] = Role(settable | set(specs), fixed, specs)
    return roles


def _mapping(path: Path) -> dict[str, Any]:
    content: dict[str, Any] | None = yaml.safe_load(path.read_text(encoding="utf-8"))
    return content or {}
