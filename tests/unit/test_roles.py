# Copyright: cicd.sandbox contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Every role has the same shape, and its argument_specs say what its defaults say."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from checkout import REPOSITORY, load

ROLES = sorted(path for path in (REPOSITORY / "roles").iterdir() if path.is_dir())
MAIN_LINES = 75

pytestmark = pytest.mark.parametrize("role", ROLES, ids=lambda role: role.name)


def specs(role: Path) -> dict[str, dict[str, Any]]:
    return load(role / "meta/argument_specs.yml")["argument_specs"]


def defaults(role: Path) -> dict[str, Any]:
    return load(role / "defaults/main.yml") or {}


def has_tasks(role: Path) -> bool:
    return (role / "tasks").is_dir()


def test_has_the_files_every_role_has(role: Path) -> None:
    wanted = ["README.md", "defaults/main.yml", "meta/main.yml", "meta/argument_specs.yml"]
    assert [name for name in wanted if not (role / name).is_file()] == []


def test_specs_name_its_entry_points(role: Path) -> None:
    missing = [name for name in specs(role) if has_tasks(role) and not (role / f"tasks/{name}.yml").is_file()]
    assert missing == []
    assert not (role / "tasks/main.yml").is_file() or "main" in specs(role)


def test_main_reads_like_a_table_of_contents(role: Path) -> None:
    for name in specs(role) if has_tasks(role) else []:
        lines = (role / f"tasks/{name}.yml").read_text(encoding="utf-8").count("\n")
        assert name != "main" or lines <= MAIN_LINES


def can_be_documented(option: dict[str, Any], value: Any) -> bool:
    """Tell whether ansible-doc accepts a default: it refuses a template where a number or a boolean is due."""
    return option.get("type", "str") in {"str", "path", "raw"} or not (isinstance(value, str) and "{{" in value)


def test_specs_and_defaults_agree(role: Path) -> None:
    """Ansible applies no default of an argument_spec: they only document, so they must be true."""
    expected = defaults(role)
    documented: dict[str, Any] = {}
    for name, spec in specs(role).items():
        for variable, option in spec.get("options", {}).items():
            if option.get("required"):
                assert "default" not in option, f"{name}: {variable} is required and has a default"
            elif can_be_documented(option, expected.get(variable)):
                documented[variable] = option.get("default")
            else:
                assert "default" not in option, f"{name}: {variable}"
                documented[variable] = expected[variable]
    assert documented == expected


def test_variables_carry_its_name(role: Path) -> None:
    names = set(defaults(role))
    for path in (role / "vars").rglob("*.yml"):
        names |= set(load(path) or {})
    for spec in specs(role).values():
        names |= set(spec.get("options", {}))
    prefixes = (f"{role.name}_", f"__{role.name}_")
    assert sorted(name for name in names if not name.startswith(prefixes)) == []


def test_every_option_is_described(role: Path) -> None:
    for name, spec in specs(role).items():
        assert spec.get("short_description"), name
        assert spec.get("description"), name
        assert [variable for variable, option in spec.get("options", {}).items() if not option.get("description")] == []


def test_knows_the_shared_facts(role: Path) -> None:
    """A role that runs on its own sees the defaults of role `sandbox`."""
    dependencies = [
        dependency if isinstance(dependency, str) else dependency["role"]
        for dependency in load(role / "meta/main.yml").get("dependencies", [])
    ]
    assert role.name == "sandbox" or "cicd.sandbox.sandbox" in dependencies
