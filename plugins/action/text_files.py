# Copyright: cicd.sandbox contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Action: render the templates of text files on the controller; documented in plugins/modules/text_files.py."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ansible.errors import AnsibleActionFail, AnsibleError
from ansible.plugins.action import ActionBase
from ansible.template import trust_as_template


class ActionModule(ActionBase):
    """The module gets contents only: one call writes all files."""

    TRANSFERS_FILES = False
    _supports_check_mode = True

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Render, then have the module write."""
        result: dict[str, Any] = super().run(tmp, task_vars)
        variables = task_vars or {}
        checksums: dict[str, str] = {}
        files = []
        for given in self._task.args.get("files") or []:
            file = self._with_content(given, variables, checksums) if isinstance(given, Mapping) else given
            files.append(file)
            if isinstance(file, Mapping) and isinstance(file.get("content"), str):
                checksums[str(file.get("path"))] = hashlib.sha256(
                    file["content"].encode(errors="surrogateescape")
                ).hexdigest()
        arguments = {**self._task.args, "files": files}
        result |= self._execute_module("cicd.sandbox.text_files", arguments, task_vars=variables)
        return {**result, "checksums": checksums}

    def _with_content(
        self, file: Mapping[str, Any], variables: dict[str, Any], checksums: dict[str, str]
    ) -> dict[str, Any]:
        """Put what a file's template says in the template's place."""
        if "src" not in file:
            return dict(file)
        path, source, own = file.get("path"), file["src"], file.get("vars", {})
        if "content" in file:
            raise AnsibleActionFail(f"{path}: content and src exclude each other; take one of them away")
        if not isinstance(own, Mapping):
            raise AnsibleActionFail(f"{path}: vars is {own!r}; write a dictionary of variables")
        try:
            template = Path(self._find_needle("templates", source))
        except AnsibleError as error:
            raise AnsibleActionFail(f"{path}: {error}") from error
        seen = {
            "ansible_managed": "Ansible managed",
            **variables,
            "template_path": source,
            "template_fullpath": str(template),
            "template_destpath": path,
            "text_files_checksums": dict(checksums),
            **own,
        }
        templar = self._templar.copy_with_new_env(
            searchpath=[*self._search_path(variables), str(template.parent)], available_variables=seen
        )
        text = trust_as_template(self._loader.get_text_file_contents(str(template)))
        rendered = templar.template(text, escape_backslashes=False)
        rest = {name: value for name, value in file.items() if name not in {"src", "vars"}}
        return {**rest, "content": "" if rendered is None else str(rendered)}

    def _search_path(self, variables: dict[str, Any]) -> Iterator[str]:
        """Give the directories in which templates find those that they include."""
        for directory in [*variables.get("ansible_search_path", []), self._loader.get_basedir()]:
            yield f"{directory}/templates"
            yield directory
