# Copyright: cicd.sandbox contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What holds for the repository as a whole: names, links, playbooks."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import jinja2
import pytest
from checkout import REPOSITORY, files, load, output, relative, text

PLAYBOOKS = sorted([REPOSITORY / "site.yml", *(REPOSITORY / "playbooks").glob("*.yml")])


# --- package registries ---------------------------------------------------------------------------------------------


def configured_registries() -> set[str]:
    """Ask this machine's package managers which hosts they fetch from."""
    said = [output("go", "env", "GOPROXY", "GOSUMDB"), output("npm", "config", "get", "registry")]
    said.append(output("pip", "config", "list"))
    said += [value for name, value in os.environ.items() if re.search(r"(?i)index_url|registry|goproxy", name)]
    sources = [Path("/etc/apt/sources.list"), *Path("/etc/apt/sources.list.d").glob("*")]
    said += [line for path in sources if path.is_file() for line in text(path).splitlines() if not line.startswith("#")]
    hosts = {urlsplit(url).hostname for url in re.findall(r"https?://[^\s,'\"|]+", " ".join(said))}
    hosts |= {word for word in said[0].split() if re.fullmatch(r"[a-z0-9-]+(\.[a-z0-9-]+)+", word)}
    return {host for host in hosts if host and host not in {"localhost", "127.0.0.1"}}


def test_no_package_registry_is_named() -> None:
    """Clients are used as the machine has them configured; a host in a file would break where another is configured."""
    hosts = configured_registries()
    named = [f"{relative(path)}: {host}" for path in files() for host in hosts if host in text(path)]
    assert named == []


# --- YAML -------------------------------------------------------------------------------------------------------------


def mappings(node: Any) -> Iterator[dict[str, Any]]:
    """Walk through all mappings of a document."""
    if isinstance(node, dict):
        yield node
        node = list(node.values())
    if isinstance(node, list):
        for item in node:
            yield from mappings(item)


def ansible_files() -> list[Path]:
    patterns = ["site.yml", "playbooks/*.yml", "roles/*/tasks/*.yml", "roles/*/handlers/*.yml", "roles/*/meta/main.yml"]
    return files(*patterns, "molecule/*.yml")


def ansible_mappings() -> Iterator[tuple[str, dict[str, Any]]]:
    for path in ansible_files():
        for mapping in mappings(load(path)):
            yield relative(path), mapping


def test_no_error_is_ignored() -> None:
    assert [name for name, mapping in ansible_mappings() if "ignore_errors" in mapping] == []


def test_roles_are_named_in_full() -> None:
    """A short name is found in a checkout, not in an installed collection."""
    short = []
    for name, mapping in ansible_mappings():
        named = [mapping.get(f"ansible.builtin.{verb}_role", {}).get("name") for verb in ("import", "include")]
        for key in ("roles", "dependencies"):
            listed = mapping.get(key)
            if isinstance(listed, list):  # A module may have an option of that name.
                named += [item["role"] if isinstance(item, dict) else item for item in listed]
        short += [f"{name}: {role}" for role in named if role and not role.startswith(("cicd.sandbox.", "{{"))]
    assert short == []


def test_no_linter_is_silenced() -> None:
    silencer = re.compile(r"#\s*noqa|#\s*type:\s*ignore|#\s*nosec|#\s*ruff:|shellcheck\s+disable|yamllint\s+disable")
    own = Path(__file__).name
    found = [relative(path) for path in files("*.py", "*.yml", "*.sh", ".ci/*") if silencer.search(text(path))]
    assert [name for name in found if not name.endswith(own)] == []
    assert files(".ansible-lint-ignore", "tests/sanity/ignore*", ".yamllint-ignore") == []


# --- playbooks --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("inventory", ["dev", "prod"])
def test_playbooks_are_well_formed(inventory: str) -> None:
    """Ansible can read every playbook with each inventory."""
    command = ["ansible-playbook", "--syntax-check", "-i", f"inventories/{inventory}", *map(str, PLAYBOOKS)]
    checked = subprocess.run(command, capture_output=True, text=True, check=False, cwd=REPOSITORY)
    assert checked.returncode == 0, checked.stderr
    assert "WARNING" not in checked.stderr


@pytest.mark.parametrize(
    ("facts", "directory"),
    [
        ({"sandbox_name": "try"}, "~/.local/state/cicd-sandbox/try"),
        ({"sandbox_name": "try", "sandbox_state_directory": "/srv/try"}, "/srv/try"),
    ],
)
def test_machines_of_dev_are_reached_with_what_is_the_sandboxs_own(facts: dict[str, str], directory: str) -> None:
    """It is so for every name that somebody gives the sandbox, and wherever its state is."""
    connection = load(REPOSITORY / "inventories/dev/group_vars/machines/connection.yml")
    environment = jinja2.Environment(autoescape=jinja2.select_autoescape(default_for_string=False))
    environment.filters["expanduser"] = str
    key, options = (
        environment.from_string(connection[f"ansible_ssh_{name}"]).render(facts)
        for name in ("private_key_file", "common_args")
    )
    assert key == f"{directory}/ssh/id_ed25519"
    words = shlex.split(options)
    # In quotes of ssh's own, which splits a value at blanks.
    assert f'UserKnownHostsFile="{directory}/ssh/known_hosts"' in words


# --- plugins ----------------------------------------------------------------------------------------------------------


def plugins() -> dict[str, list[str]]:
    """Map a kind of plugin (`module`, `filter`, …) to the names of those in this collection."""
    found: dict[str, list[str]] = {}
    for path in sorted((REPOSITORY / "plugins").glob("*/*.py")):
        if path.parent.name not in {"module_utils", "plugin_utils", "doc_fragments"} and path.name != "__init__.py":
            kind = "module" if path.parent.name == "modules" else path.parent.name
            found.setdefault(kind, []).append(path.stem)
    return found


@pytest.mark.parametrize(("kind", "names"), plugins().items(), ids=plugins())
def test_plugins_are_documented(kind: str, names: list[str]) -> None:
    if kind == "action":  # Its documentation stands in the module of its name.
        kind = "module"
    command = ["ansible-doc", "--json", "-t", kind, *(f"cicd.sandbox.{name}" for name in names)]
    shown = subprocess.run(command, capture_output=True, text=True, check=False, cwd=REPOSITORY)
    assert shown.returncode == 0, shown.stderr
    described = json.loads(shown.stdout)
    for name in names:
        entry = described[f"cicd.sandbox.{name}"]
        assert entry["doc"]["description"], name
        assert entry["doc"].get("version_added"), f"{name}: the changelog lists it by its version_added"
        # A callback or an inventory is not called from a task and returns nothing to it.
        called = kind in {"module", "filter", "lookup", "test"}
        assert not called or (entry["examples"] and entry["return"]), name


def test_logic_is_tested() -> None:
    """Every module_utils is imported by a unit test."""
    tests = "".join(text(path) for path in (REPOSITORY / "tests/unit").rglob("test_*.py"))
    logic = [path.stem for path in (REPOSITORY / "plugins/module_utils").glob("*.py") if path.stem != "__init__"]
    assert [name for name in sorted(logic) if not re.search(rf"module_utils(\.| import .*\b){name}\b", tests)] == []


# --- documentation ----------------------------------------------------------------------------------------------------

PAGES = files("*.md")


def anchors(page: Path) -> set[str]:
    """List a page's headings as the anchors they become."""
    headings = re.findall(r"^#+ +(.+?) *$", text(page), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=relative)
def test_links_lead_somewhere(page: Path) -> None:
    broken = []
    prose = re.sub(r"```.*?```", "", text(page), flags=re.DOTALL)
    for link in re.findall(r"\]\(([^)\s]+)\)|src(?:set)?=\"([^\"]+)\"", prose):
        target, _, anchor = "".join(link).partition("#")
        if re.match(r"[a-z]+:", target):
            continue
        path = page.parent / target if target else page
        if not path.exists() or (anchor and path.suffix == ".md" and anchor not in anchors(path)):
            broken.append("".join(link))
    assert broken == []


def test_trials_run_only_where_they_are_asked_for() -> None:
    """Each end-to-end test is in one of the two runs, and neither is empty."""

    def collected(*arguments: str) -> set[str]:
        words = output(sys.executable, "-m", "pytest", "--collect-only", "--quiet", "tests/e2e", *arguments)
        return {line for line in words.splitlines() if "::" in line}

    always, trials, both = collected(), collected("-m", "trial"), collected("-m", "")
    assert always
    assert trials
    assert both == always | trials
    assert not always & trials
    assert "scripts/e2e.sh $(INVENTORY) -m trial" in text(REPOSITORY / "Makefile")


def test_documented_make_targets_exist() -> None:
    for page in PAGES:
        named = set(re.findall(r"\bmake ((?!a |an |the |it |its )[a-z][a-z-]*)\b", " ".join(code_of(page))))
        # An application speaks of its own Makefile.
        makefile = next(folder / "Makefile" for folder in page.parents if (folder / "Makefile").is_file())
        targets = set(re.findall(r"^([a-z][a-z0-9-]*)(?:-%)?:", text(makefile), re.MULTILINE))
        assert named <= targets, relative(page)


def code_of(page: Path) -> list[str]:
    """Take what a page sets as code."""
    return re.findall(r"```.*?```|`[^`\n]+`|^    .+$", text(page), re.DOTALL | re.MULTILINE)


def test_documented_playbooks_exist() -> None:
    for page in PAGES:
        named = set(re.findall(r"\bplaybooks/[a-z_]+\.yml\b", text(page)))
        assert [name for name in sorted(named) if not (REPOSITORY / name).is_file()] == [], relative(page)


def test_tags_ask_nothing_of_other_roles() -> None:
    """Ansible checks the arguments of a role that a play lists on all of its hosts, whatever tags are asked for."""
    listed = output("ansible-playbook", "site.yml", "--inventory=inventories/dev", "--tags=apps", "--list-tasks")
    assert "Deploy the applications" in listed
    # What runs whatever the tags are; and preflight, which looks at the inventory before its own values.
    assert set(re.findall(r"(\w+) : Validating arguments", listed)) <= {"sandbox", "summary", "preflight"}
