# Copyright: cicd.sandbox contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The checkout as tests see it: its files, its YAML."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import Any

import yaml

REPOSITORY = Path(__file__).resolve().parents[1]


class _AnsibleLoader(yaml.CSafeLoader):
    """Reads Ansible's YAML: a tagged value (!unsafe, !vault) is its text."""


_AnsibleLoader.add_multi_constructor("!", lambda loader, _suffix, node: loader.construct_scalar(node))


def load(path: Path) -> Any:
    """Read a YAML file of one document; None where it is empty."""
    return _AnsibleLoader(text(path)).get_single_data()


def text(path: Path) -> str:
    return path.read_text(encoding="utf-8", errors="replace")


def relative(path: Path) -> str:
    return str(path.relative_to(REPOSITORY))


def output(*command: str) -> str:
    """Give a command's standard output, nothing where the program is missing or refuses."""
    if shutil.which(command[0]) is None:
        return ""
    return subprocess.run(command, capture_output=True, text=True, check=False, cwd=REPOSITORY).stdout


def files(*patterns: str) -> list[Path]:
    """List what is or will be in git: all but the ignored."""
    listed = output("git", "ls-files", "--cached", "--others", "--exclude-standard", "--", *patterns)
    return sorted({path for name in listed.splitlines() if (path := REPOSITORY / name).is_file()})
