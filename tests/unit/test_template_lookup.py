# Copyright: cicd.sandbox contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The lookup that renders templates without copying every variable: as ansible.builtin.template, errors too."""

from __future__ import annotations

import json
import os
import subprocess
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.cicd.sandbox.plugins.lookup.template import Uncopied
from checkout import REPOSITORY

PLAYBOOK = """
- hosts: localhost
  gather_facts: false
  vars:
    name: outer
    nested: {{list: [1, "{{{{ name }}}}"]}}
  tasks:
    - ansible.builtin.debug:
        msg: "{{{{ lookup('{lookup}', {arguments}) }}}}"
"""


def render(directory: Path, lookup: str, arguments: str) -> Any:
    playbook = directory / "play.yml"
    playbook.write_text(PLAYBOOK.format(lookup=lookup, arguments=arguments))
    line = ["ansible-playbook", "--inventory=localhost,", "--connection=local", str(playbook)]
    environment = {**os.environ, "ANSIBLE_STDOUT_CALLBACK": "ansible.posix.json"}
    run = subprocess.run(line, check=False, capture_output=True, text=True, cwd=REPOSITORY, env=environment)
    answer = json.JSONDecoder().raw_decode(run.stdout[run.stdout.index("{") :])[0]
    return answer["plays"][0]["tasks"][0]["hosts"]["localhost"]["msg"]


@pytest.mark.parametrize(
    ("template", "arguments"),
    [
        ("{{ name }} {{ nested.list[1] }} {{ more }}\n", "'text.j2', template_vars={'more': 'added'}"),
        ("{% for item in nested.list %}\n{{ item }}\n{% endfor %}\n[% name %]\n", "'text.j2', trim_blocks=false"),
        ("{% include 'part.j2' %} {{ template_path | basename }}", "'text.j2'"),
        ("{{ nowhere }}", "'text.j2'"),
    ],
)
def test_it_renders_as_ansibles(tmp_path: Path, template: str, arguments: str) -> None:
    (tmp_path / "templates").mkdir()
    (tmp_path / "templates/text.j2").write_text(template)
    (tmp_path / "templates/part.j2").write_text("part of {{ name }}")
    wanted, found = (
        render(tmp_path, f"{origin}.template", arguments) for origin in ("ansible.builtin", "cicd.sandbox")
    )
    assert found == wanted
    assert wanted


def test_no_variable_is_copied() -> None:
    inner = {"list": [1]}
    copy = deepcopy(Uncopied(nested=inner))
    assert type(copy) is dict
    assert copy["nested"] is inner
