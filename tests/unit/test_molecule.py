# Copyright: cicd.sandbox contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Molecule skips what it does not find and calls that a success: every step of a scenario has to be there."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from checkout import REPOSITORY, load

SCENARIOS = sorted(path.parent for path in (REPOSITORY / "molecule").glob("*/molecule.yml"))

pytestmark = pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.name)


def steps(scenario: Path) -> list[list[str]]:
    settings: dict[str, Any] = load(scenario / "molecule.yml")
    return [step.split() for step in settings["scenario"]["test_sequence"]]


def playbook(scenario: Path, action: str) -> Path:
    """Where an action's playbook is: a scenario may take another one's."""
    named = load(scenario / "molecule.yml")["ansible"].get("playbooks", {})
    return (scenario / named.get(action, f"{action}.yml")).resolve()


def inventory(scenario: Path) -> Path:
    """Where its inventory is, as Ansible is told."""
    arguments = load(scenario / "molecule.yml")["ansible"]["executor"]["args"]["ansible_playbook"]
    (option,) = [argument for argument in arguments if argument.startswith("--inventory=")]
    return Path(option.removeprefix("--inventory=").replace("${MOLECULE_SCENARIO_DIRECTORY}", str(scenario))).resolve()


def test_every_playbook_is_there(scenario: Path) -> None:
    for action, *arguments in steps(scenario):
        if action in {"verify", "idempotence"}:
            continue
        # An action with arguments is skipped too where it has no playbook of its own name.
        assert playbook(scenario, action).is_file(), f"{action} {arguments} would be skipped"
        assert [name for name in arguments if not (scenario / name).is_file()] == []


def test_every_verification_has_tests(scenario: Path) -> None:
    for action, *arguments in steps(scenario):
        for directory in arguments or ["tests"]:
            # What is named is a directory: molecule walks it and finds nothing in a file.
            found = list((scenario / directory).rglob("test_*.py"))
            assert action != "verify" or found, f"verify {directory} would be skipped"


def imported(book: Path) -> set[str]:
    """Names of playbooks that one imports, and of those that these import."""
    there = [(book.parent / play["ansible.builtin.import_playbook"]).resolve() for play in load(book) if len(play) == 2]
    return {path.name for path in there}.union(*(imported(path) for path in there))


def test_it_leaves_this_computer_as_it_was(scenario: Path) -> None:
    """Remembered before there is a machine, and compared after all of them are gone."""
    assert "host_remembered.yml" in imported(playbook(scenario, "prepare"))
    assert "host_compared.yml" in imported(playbook(scenario, "destroy"))
    assert load(playbook(scenario, "destroy"))[-1]["ansible.builtin.import_playbook"].startswith("../shared/")


def test_it_starts_and_ends_clean(scenario: Path) -> None:
    actions = [action for action, *_ in steps(scenario)]
    assert actions[0] == actions[-1] == "destroy"
    assert "idempotence" in actions


def test_its_machines_are_reached_with_what_is_its_own(scenario: Path) -> None:
    name = load(inventory(scenario) / "group_vars/all/sandbox.yml")["sandbox_name"]
    connection = load(inventory(scenario) / "group_vars/machines/connection.yml")
    own = f"/cicd-sandbox/{name}/ssh/"
    assert own in connection["ansible_ssh_private_key_file"]
    assert own in connection["ansible_ssh_common_args"]
