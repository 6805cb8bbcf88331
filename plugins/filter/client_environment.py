# Copyright: cicd.sandbox contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Filter: the environment in which clients of package registries work as the user has set them up."""

from __future__ import annotations

DOCUMENTATION = r"""
name: client_environment
short_description: Give clients of package registries the settings of a user, as whom they don't run
version_added: 0.1.0
author:
  - cicd.sandbox contributors
description:
  - What becomes root has neither the user's environment nor the user's home. Names the files of settings there that
    exist, beside the variables that are set.
positional: files
options:
  _input:
    description: Variable → value. Those that are empty are left out.
    type: dict
    required: true
  files:
    description: Variable → path of a file of settings. Where there is one it counts, above a variable of that name.
    type: dict
    default: {}
"""

EXAMPLES = r"""
- name: Tell what builds work with
  ansible.builtin.debug:
    msg: "{{ {'GOPROXY': 'direct'} | cicd.sandbox.client_environment({'PIP_CONFIG_FILE': '~/.config/pip/pip.conf'}) }}"
"""

RETURN = r"""
_value:
  description: Variable → value.
  type: dict
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any


def client_environment(variables: Mapping[str, str], files: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return the variables that are set and the files that are there."""
    paths = {name: Path(path).expanduser() for name, path in (files or {}).items() if path}
    there = {name: str(path) for name, path in paths.items() if path.is_file()}
    return {name: value for name, value in variables.items() if value} | there


class FilterModule:
    """The filter of this file."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Return filter name → function."""
        return {"client_environment": client_environment}
