# Copyright: cicd.sandbox contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which versions of a component can be had, and what a recipe is for one of them."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator, Mapping
from typing import Any

from ansible_collections.cicd.sandbox.plugins.module_utils.artifacts.cache import ArtifactError

# {version} and the like; not a shell's ${…}.
PLACEHOLDER = re.compile(r"(?<!\$)\{([a-z][a-z0-9_]*(?:\.[a-z]+)?)\}")


def _meant(name: str, placeholder: str, versions: Mapping[str, str]) -> str:
    component, _, part = placeholder.rpartition(".")
    version = versions.get(component or name)
    if version is None or part not in ("version", "major", "minor", "patch"):
        known = "{version}, {major}, {minor}, {patch}, or one of another component such as {kubernetes.minor}"
        raise ArtifactError(f"component {name}: {{{placeholder}}} is not known; there are {known}")
    if part == "version":
        return version
    numbers = version.split(".")
    position = ("major", "minor", "patch").index(part)
    if position >= len(numbers):
        raise ArtifactError(f"component {name}: {{{placeholder}}} is asked for, but the version is {version}")
    return numbers[position]


def filled(name: str, value: Any, versions: Mapping[str, str]) -> Any:
    """What component `name` is made of with the placeholders of versions filled in.

    Not Ansible's templates: all components are read in each task that handles one, and that has to be quick.
    Raises ArtifactError for an unknown placeholder.
    """
    if isinstance(value, Mapping):
        return {key: filled(name, item, versions) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [filled(name, item, versions) for item in value]
    if isinstance(value, str):
        return PLACEHOLDER.sub(lambda match: _meant(name, match.group(1), versions), value)
    return value


def _versions(recipe: Mapping[str, Any]) -> dict[str, dict[str, Any]] | None:
    """Version → what of the recipe is of that version alone; None where any version will do."""
    stated = recipe.get("versions")
    if stated is None:
        return None
    if isinstance(stated, Mapping):
        return {str(version): dict(own or {}) for version, own in stated.items()}
    return {str(version): {} for version in stated}


def for_version(name: str, recipe: Mapping[str, Any], version: str) -> dict[str, Any]:
    """A recipe of component `name` for a version: what it states for that one alone goes over the rest.

    Raises ArtifactError where it is not known to be good for that version.
    """
    common = {key: value for key, value in recipe.items() if key != "versions"}
    known = _versions(recipe)
    if known is None:
        return common
    if version not in known:
        raise ArtifactError(f"component {name}: there is no recipe for version {version}, but for {', '.join(known)}")
    return {**common, **known[version]}


def _recipes(component: Mapping[str, Any], source: str) -> Iterator[Mapping[str, Any]]:
    """The recipes that are used where components come from `source`."""
    yield from component.get("modules", [])
    for recipes in component.get("packages", {}).values():
        yield from recipes
    if source == "release":
        yield from component.get("release", [])
    else:
        for recipes in component.get("build", {}).values():
            yield from recipes
    for image in component.get("images", []):
        if source == "build" or not image.get("official", True):
            yield image


def known_versions(component: Mapping[str, Any], source: str) -> list[str] | None:
    """The versions that all recipes of a component are good for, in their order; None where any will do."""
    stated = [known for recipe in _recipes(component, source) if (known := _versions(recipe)) is not None]
    return [version for version in stated[0] if all(version in known for known in stated)] if stated else None


def check_versions(
    components: Mapping[str, Mapping[str, Any]], wanted: Mapping[str, Any], source: str
) -> dict[str, str]:
    """Component → what is wrong with the version that an inventory has chosen for it, in a sentence."""
    findings = {}
    for name, version in wanted.items():
        if name not in components:
            likely = difflib.get_close_matches(name, components, n=1)
            meant = f"Did you mean {likely[0]}?" if likely else f"There are {', '.join(components)}."
            findings[name] = f"sandbox_component_versions has {name}, which is no component. {meant}"
            continue
        known = known_versions(components[name], source)
        if known is not None and str(version) not in known:
            remedy = f"Take {' or '.join(known)}" if known else "Take it out"
            lacking = f"of which no {source} is known"
            findings[name] = f"sandbox_component_versions has {name} {version}, {lacking}. {remedy}."
    return findings
