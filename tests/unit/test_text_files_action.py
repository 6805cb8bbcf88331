# Copyright: cicd.sandbox contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""How the action text_files renders templates: as ansible.builtin.template does, for all files in one call."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import pytest
import yaml
from playbook_run import run_playbook

VARIABLES = {"name": "outer", "nested": {"list": [1, "{{ name }}"]}}
TEMPLATES = {
    "plain.j2": "# {{ ansible_managed }}\n{{ name }} {{ nested.list[1] }}\n{{ template_path }}\n",
    "places.j2": "{{ template_fullpath }} {{ template_destpath | basename }}",
    "blocks.j2": "{% for item in nested.list %}\n{{ item }}\n{% endfor %}\n  {# none #}\nend\\n \\1\n\n",
    "includes.j2": "{% include 'part.j2' %}\n{{ lookup('ansible.builtin.template', 'part.j2') }}",
    "part.j2": "part of {{ name }}\n",
    "number.j2": "{{ nested.list[0] }}",
    "empty.j2": "{# nothing #}",
}


def run(directory: Path, *tasks: dict[str, Any], **variables: Any) -> list[dict[str, Any]]:
    """Run tasks of a role that has the templates; return their results."""
    role = directory / "roles/tried"
    for name, text in TEMPLATES.items():
        (role / "templates" / name).parent.mkdir(parents=True, exist_ok=True)
        (role / "templates" / name).write_text(text)
    (role / "tasks").mkdir(exist_ok=True)
    (role / "tasks/main.yml").write_text(yaml.safe_dump([*tasks]))
    play = [{"hosts": "localhost", "gather_facts": False, "vars": VARIABLES | variables, "roles": ["tried"]}]
    (directory / "play.yml").write_text(yaml.safe_dump(play))
    arguments = ["--inventory=localhost,", "--connection=local"]
    return run_playbook(directory / "play.yml", *arguments, fails=None).results()


def wrong(directory: Path, file: dict[str, Any]) -> str:
    (result,) = run(directory, {"cicd.sandbox.text_files": {"files": [{"path": f"{directory}/out/file"} | file]}})
    assert result["failed"]
    assert not (directory / "out").exists()
    return str(result["msg"])


def test_it_renders_as_ansibles(tmp_path: Path) -> None:
    (tmp_path / "wanted").mkdir()
    (tmp_path / "found").mkdir()
    single = [{"ansible.builtin.template": {"src": name, "dest": f"{tmp_path}/wanted/{name}"}} for name in TEMPLATES]
    files = [{"src": name, "path": f"{tmp_path}/found/{name}"} for name in TEMPLATES]
    *_, result = run(tmp_path, *single, {"cicd.sandbox.text_files": {"files": files}})
    wanted, found = (
        {path.name: path.read_text() for path in (tmp_path / folder).iterdir()} for folder in ("wanted", "found")
    )
    assert found == wanted
    assert set(found) == set(TEMPLATES)
    assert result["changed_paths"] == [file["path"] for file in files]
    assert result["checksums"] == {
        f"{tmp_path}/found/{name}": hashlib.sha256(text.encode()).hexdigest() for name, text in found.items()
    }
    told = result["invocation"]["module_args"]["files"]
    assert [(file["src"], file["content"]) for file in told] == [(None, found[name]) for name in TEMPLATES]


def test_a_file_has_variables_of_its_own_and_knows_the_texts_before_it(tmp_path: Path) -> None:
    (tmp_path / "roles/tried/templates").mkdir(parents=True)
    (tmp_path / "roles/tried/templates/own.j2").write_text(
        "{{ name }} {{ ansible_managed }} {{ text_files_checksums.values() | join }}"
    )
    files = [
        {"path": f"{tmp_path}/first", "content": "a\n"},
        {"path": f"{tmp_path}/second", "src": "own.j2", "vars": {"name": "{{ nested.list[1] }} inner"}},
        {"path": f"{tmp_path}/third", "src": "own.j2"},
    ]
    run(tmp_path, {"cicd.sandbox.text_files": {"files": files}}, ansible_managed="by me")
    first, second = (hashlib.sha256((tmp_path / name).read_bytes()).hexdigest() for name in ("first", "second"))
    assert (tmp_path / "second").read_text() == f"outer inner by me {first}"
    assert (tmp_path / "third").read_text() == f"outer by me {first}{second}"


@pytest.mark.parametrize("check", [True, False])
def test_checksums_are_of_what_there_has_to_be(tmp_path: Path, check: bool) -> None:
    files = [{"path": f"{tmp_path}/file", "content": "a\n"}, {"path": f"{tmp_path}/gone", "state": "absent"}]
    (result,) = run(tmp_path, {"cicd.sandbox.text_files": {"files": files}, "check_mode": check})
    assert result["checksums"] == {f"{tmp_path}/file": hashlib.sha256(b"a\n").hexdigest()}
    assert (tmp_path / "file").exists() is not check


def test_mistakes_name_the_file(tmp_path: Path) -> None:
    assert f"{tmp_path}/out/file: Could not find or access 'no.j2'" in wrong(tmp_path, {"src": "no.j2"})
    both = {"src": "plain.j2", "content": ""}
    assert wrong(tmp_path, both).endswith("/file: content and src exclude each other; take one of them away")
    assert "vars is 'a'; write a dictionary" in wrong(tmp_path, {"src": "plain.j2", "vars": "a"})


def test_a_variable_that_is_not_there_is_named(tmp_path: Path) -> None:
    (tmp_path / "roles/tried/templates").mkdir(parents=True)
    (tmp_path / "roles/tried/templates/lacks.j2").write_text("{{ nowhere }}")
    assert "'nowhere' is undefined" in wrong(tmp_path, {"src": "lacks.j2"})
