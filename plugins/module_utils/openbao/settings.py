# Copyright: cicd.sandbox contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Settings of an OpenBao, each the data of a path of its API: engines, methods of authentication, policies, roles."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ansible_collections.cicd.sandbox.plugins.module_utils.openbao.server import Bao


@dataclass(frozen=True)
class Setting:
    """What a path is to say. It may say more."""

    path: str
    data: Mapping[str, Any]


def due(bao: Bao, wanted: Sequence[Setting]) -> list[Setting]:
    """Return those settings that are not as they are wanted, in their order. Raises BaoError."""
    return [setting for setting in wanted if not holds(bao.read(setting.path), setting.data)]


def holds(found: object, wanted: object) -> bool:
    """Tell whether what was found has all that is wanted. Lists are sets here; numbers may be written as texts."""
    if isinstance(wanted, Mapping):
        return isinstance(found, Mapping) and all(holds(found.get(key), value) for key, value in wanted.items())
    if isinstance(wanted, list):
        return isinstance(found, list) and sorted(map(str, found)) == sorted(map(str, wanted))
    if isinstance(wanted, bool) or isinstance(found, bool):
        return found is wanted
    return str(found).strip() == str(wanted).strip()


def apply(bao: Bao, settings: Sequence[Setting]) -> None:
    """Write settings, in their order. Raises BaoError."""
    for setting in settings:
        bao.write(setting.path, dict(setting.data))
