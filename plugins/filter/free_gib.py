# Copyright: cicd.sandbox contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Filter: how much room there is on the controller."""

from __future__ import annotations

DOCUMENTATION = r"""
name: free_gib
short_description: Tell how much room there is below a directory of the controller
version_added: 0.1.0
author: cicd.sandbox contributors (@cicd-sandbox)
description:
  - Asks the file system of the directory, or of the nearest one above it that is there already. What is kept for root
    does not count.
options:
  _input:
    description: Path of a directory, which need not be there yet.
    type: path
    required: true
"""

EXAMPLES = r"""
- name: Check that there is room for what is built
  ansible.builtin.assert:
    that: "'/var/cache/cicd-sandbox' | cicd.sandbox.free_gib >= 15"
"""

RETURN = r"""
_value:
  description: Whole GiB.
  type: int
"""

import os
from collections.abc import Callable
from pathlib import Path


def free_gib(path: str) -> int:
    """Return how many GiB are free below a directory that may be still to be made."""
    wanted = Path(path).expanduser().absolute()
    system = os.statvfs(next(place for place in (wanted, *wanted.parents) if place.is_dir()))
    return system.f_bavail * system.f_frsize >> 30


class FilterModule:
    """The filter of this file."""

    def filters(self) -> dict[str, Callable[[str], int]]:
        """Give the filter by its name."""
        return {"free_gib": free_gib}
