# Copyright: cicd.sandbox contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Lists of an inventory, and what is wrong with their entries."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

Entry = Mapping[str, Any]
# What is wrong: where, what was found, what to do.
Wrong = tuple[str, str, str]

NO_TENANT: Final = "is no tenant's namespace"
NO_USER: Final = "is none of security_users"


def entries(values: Mapping[str, Any], variable: str) -> list[tuple[str, Entry]]:
    """Return the entries of a list with where each stands; what is no mapping is left out."""
    listed = values.get(variable)
    if not isinstance(listed, Sequence) or isinstance(listed, str):
        return []
    return [(f"{variable}[{index}]", entry) for index, entry in enumerate(listed) if isinstance(entry, Mapping)]


def meant(name: str, known: Iterable[str]) -> str:
    """Return what may be meant by a name that is not known, or what there is."""
    near = difflib.get_close_matches(name, sorted(known), n=1, cutoff=0.6)
    return f"Did you mean {near[0]}?" if near else f"There is {', '.join(sorted(known))}."
