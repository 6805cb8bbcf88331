# Copyright: cicd.sandbox contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What an inventory says of machines, and what of that is refused."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.cicd.sandbox.plugins.module_utils.nspawn.site import site_from
from ansible_collections.cicd.sandbox.plugins.module_utils.nspawn.system import NspawnError
from nspawn_site import params


@pytest.mark.parametrize(
    ("machine", "named"),
    [
        ({"name": "CP", "address": "198.18.0.9"}, "'CP'"),
        ({"name": "a", "address": "198.18.0"}, r"machines\[0\].address \(a\)"),
        ({"name": "a", "address": "198.18.1.9"}, "outside 198.18.0.0/24"),
        ({"name": "a", "address": "198.18.0.1"}, "this host's end"),
        ({"name": "a", "address": "198.18.0.9", "memory_mb": -1}, "-1 of a is below 0"),
        ({"name": "a", "address": "198.18.0.9", "data_directories": ["srv"]}, "'srv' of a is not absolute"),
    ],
)
def test_bad_machines_are_named(machine: dict[str, Any], named: str) -> None:
    with pytest.raises(NspawnError, match=named):
        site_from(params(machines=[{"data_directories": [], "memory_mb": 0} | machine]))


def test_an_address_belongs_to_one_machine() -> None:
    machine = params()["machines"][0]
    with pytest.raises(NspawnError, match="belongs to cp-1 already"):
        site_from(params(machines=[machine, machine | {"name": "cp-2"}]))
