#!/usr/bin/env python3
# Copyright: cicd.sandbox contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Writes docs/reference/ from argument_specs, modules' documentation and catalogue, or checks that it is current."""

from __future__ import annotations

import argparse
import ast
import importlib
import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

REPOSITORY = Path(__file__).resolve().parents[1]
# As a playbook imports it: `make venv` links to this checkout there.
sys.path.insert(0, str(REPOSITORY / ".collections"))
versions = importlib.import_module("ansible_collections.cicd.sandbox.plugins.module_utils.artifacts.versions")
NOTE = "<!-- Written by `make docs`: edit {source} instead. -->\n"


def paragraph(text: str | list[str] | None) -> str:
    """Join a description (a string or a list of sentences) into one line of a table."""
    sentences = [text] if isinstance(text, str) else text or []
    joined = " ".join(" ".join(sentence.split()) for sentence in sentences).replace("|", "\\|")
    # Ansible's markup: O(option), V(value), C(code), M(module), …
    return re.sub(r"\b[CEMOPV]\(([^)]*)\)", r"`\1`", joined)


def code(value: object) -> str:
    """Show a value as it would be written in YAML, on one line; a long one by its beginning."""
    shown = json.dumps(value, ensure_ascii=False) if not isinstance(value, str) else value or '""'
    shown = " ".join(shown.split())
    if len(shown) > 90:
        shown = shown[:89] + "…"
    return "`" + shown.replace("|", "\\|") + "`"


def kind(option: dict[str, Any]) -> str:
    """Name an option's type: `list of str`, or its choices where it has any."""
    name = str(option.get("type", "str"))
    if "elements" in option:
        name += f" of {option['elements']}"
    if "choices" in option:
        name += ": " + ", ".join(code(choice) for choice in option["choices"])
    return name


def option_rows(options: dict[str, dict[str, Any]], indent: str = "") -> list[str]:
    """Make table rows of an argument_specs' options; suboptions follow their option."""
    rows = []
    for name, option in options.items():
        default = "required" if option.get("required") else code(option["default"]) if "default" in option else ""
        rows.append(f"| {indent}`{name}` | {kind(option)} | {default} | {paragraph(option.get('description'))} |")
        rows += option_rows(option.get("options", {}), f"{indent}{name}.")
    return rows


def table(title: str, options: dict[str, dict[str, Any]]) -> str:
    """Make a table of an argument_specs' or a module's options."""
    return "\n".join([f"| {title} | Type | Default | What it says |", "|---|---|---|---|", *option_rows(options), ""])


def variables() -> str:
    """Make the page of all roles' variables."""
    parts = ["# Variables of the roles\n", NOTE.format(source="roles/*/meta/argument_specs.yml")]
    for path in sorted(REPOSITORY.glob("roles/*/meta/argument_specs.yml")):
        role = path.parents[1].name
        defaults = yaml.safe_load((path.parents[1] / "defaults/main.yml").read_text(encoding="utf-8")) or {}
        parts.append(f"## {role}\n")
        for entry_point, spec in yaml.safe_load(path.read_text(encoding="utf-8"))["argument_specs"].items():
            if entry_point != "main":
                parts.append(f"### {role}, tasks_from: {entry_point}\n")
            parts.append(paragraph(spec.get("short_description")) + "\n")
            # A default that is computed stands in the defaults only.
            options = {
                name: {"default": defaults[name], **option} if name in defaults else option
                for name, option in spec.get("options", {}).items()
            }
            if options:
                parts.append(table("Variable", options))
    return "\n".join(parts)


def documentation(path: Path) -> dict[str, Any]:
    """Read a plugin's DOCUMENTATION without importing it."""
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "DOCUMENTATION":
            return with_fragments(dict(yaml.safe_load(ast.literal_eval(node.value))))
    sys.exit(f"{path}: has no DOCUMENTATION")


def with_fragments(text: dict[str, Any]) -> dict[str, Any]:
    """Add the options that modules share, from the collection's own doc_fragments."""
    options = dict(text.get("options", {}))
    for name in text.get("extends_documentation_fragment", []):
        path = REPOSITORY / "plugins/doc_fragments" / f"{name.rpartition('.')[2]}.py"
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "DOCUMENTATION":
                options |= yaml.safe_load(ast.literal_eval(node.value))["options"]
    return {**text, "options": options}


def modules() -> str:
    """Make the page of all modules."""
    parts = ["# Modules\n", NOTE.format(source="plugins/modules/*.py")]
    parts.append("Examples and return values: `ansible-doc cicd.sandbox.<module>`.\n")
    for path in sorted(REPOSITORY.glob("plugins/modules/*.py")):
        text = documentation(path)
        parts.append(f"## {path.stem}\n")
        parts.append(paragraph(text["short_description"]) + ".\n")
        parts.append(table("Option", text.get("options", {})))
    return "\n".join(parts)


def component_rows() -> Iterator[tuple[str, dict[str, Any], list[str]]]:
    """Read each component: its name, what it is made of, the sentences above it."""
    own: dict[str, str] = {}
    found = []
    for path in sorted(REPOSITORY.glob("roles/sandbox/vars/main/components/*.yml")):
        text = path.read_text(encoding="utf-8")
        comment = [line.removeprefix("# ") for line in text.splitlines() if line.startswith("# ")]
        component = yaml.safe_load(text)[f"sandbox_component_{path.stem}"]
        own[path.stem] = str(component["version"])
        found.append((path.stem, component, comment))
    for name, component, comment in sorted(found, key=lambda item: (item[1]["needed"], item[0])):
        yield name, versions.filled(name, component, own), comment


def sources(component: dict[str, Any]) -> tuple[str, str]:
    """Say what a component is built from, and where its official files come from."""
    built, official = [], []
    for recipe in component.get("build", {}).get("go", []):
        own = versions.for_version(recipe["module"], recipe, str(component["version"]))
        built.append(f"Go module `{own['module']}@{own['version']}`")
        built += [f"its front-end `{front_end['folder']}`" for front_end in recipe.get("front_ends", [])]
    for kind, packages in component.get("packages", {}).items():
        for package in packages:
            names = package.get("requirements") or [
                package.get("artifact") or f"{package['package']}@{package['version']}"
            ]
            built.append(f"{kind} {', '.join(f'`{name}`' for name in names)}")
    for image in component.get("images", []):
        if "application" in image:
            built.append(f"`{image['application']}`")
        if "wheel" in image:
            built.append(f"wheel `{image['wheel']}`")
        if image.get("official", True):
            official.append("image")
    official += [f"<{release['url']}>" for release in component.get("release", [])]
    if not built:
        built = [f"folders of Go module `{module['module']}`" for module in component.get("modules", [])]
    made = "; ".join(dict.fromkeys(built)) or "Debian packages"
    return made, "; ".join(dict.fromkeys(official)) or "none: always built"


def components() -> str:
    """Make the page of all components: what is built, what is downloaded, which images there are."""
    source = "roles/sandbox/vars/main/components/*.yml"
    parts = ["# Components\n", NOTE.format(source=source)]
    parts.append("In the order in which the site needs them. `sandbox_component_versions` chooses other versions;")
    parts.append("[Releases or builds](../how-to/releases-and-builds.md) says which can be had.\n")
    for name, component, comment in component_rows():
        built, official = sources(component)
        parts.append(f"## {name} {component['version']}\n")
        parts.append(" ".join(comment) + "\n")
        rows = {
            "Awaited by": ", ".join(f"`{role}`" for role in component["roles"]) or "no role",
            "Built from": built,
            "Versions that can be built": ", ".join(versions.known_versions(component, "build") or []),
            "Official": official,
            "Programs": ", ".join(f"`{program}`" for program in component.get("files", [])),
            "Images": ", ".join(f"`{image['reference']}`" for image in component.get("images", [])),
        }
        parts += ["| | |", "|---|---|", *(f"| {title} | {text} |" for title, text in rows.items() if text), ""]
    return "\n".join(parts)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; fail where a page is not current")
    arguments = parser.parse_args()

    stale = []
    pages = {"variables.md": variables(), "modules.md": modules(), "components.md": components()}
    for name, text in pages.items():
        page = REPOSITORY / "docs/reference" / name
        if page.is_file() and page.read_text(encoding="utf-8") == text:
            continue
        stale.append(str(page.relative_to(REPOSITORY)))
        if not arguments.check:
            page.parent.mkdir(parents=True, exist_ok=True)
            page.write_text(text, encoding="utf-8")
    if stale and arguments.check:
        sys.exit(f"Not current: {', '.join(stale)}. Run `make docs` and commit what it writes.")


if __name__ == "__main__":
    main()
