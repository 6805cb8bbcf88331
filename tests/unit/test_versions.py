# Copyright: cicd.sandbox contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Versions that stand in more than one file say the same."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from checkout import REPOSITORY, load, relative, text

OLDEST = str(load(REPOSITORY / "meta/runtime.yml")["requires_ansible"]).removeprefix(">=")
OWN = str(load(REPOSITORY / "galaxy.yml")["version"])
PLUGINS = sorted(path for path in (REPOSITORY / "plugins").glob("*/*.py") if "version_added:" in text(path))


def test_roles_need_the_ansible_that_the_collection_needs() -> None:
    needed = {
        relative(path): load(path)["galaxy_info"]["min_ansible_version"]
        for path in sorted((REPOSITORY / "roles").glob("*/meta/main.yml"))
    }
    assert needed == dict.fromkeys(needed, ".".join(OLDEST.split(".")[:2]))


def test_the_controller_has_an_ansible_that_will_do() -> None:
    (pinned,) = re.findall(r"^ansible-core==([0-9.]+)$", text(REPOSITORY / "requirements.txt"), re.MULTILINE)
    assert [int(part) for part in pinned.split(".")] >= [int(part) for part in OLDEST.split(".")]


def test_collections_are_required_in_the_same_versions_for_every_way_of_installing() -> None:
    required = {entry["name"]: entry["version"] for entry in load(REPOSITORY / "requirements.yml")["collections"]}
    assert required == load(REPOSITORY / "galaxy.yml")["dependencies"]


@pytest.mark.parametrize("plugin", PLUGINS, ids=relative)
def test_nothing_was_added_in_a_version_that_is_yet_to_come(plugin: Path) -> None:
    """Until a first version is published all is added in it."""
    added = re.findall(r"version_added: [\"']?([0-9.]+)", text(plugin))
    assert [version for version in added if [*map(int, version.split("."))] > [*map(int, OWN.split("."))]] == []
