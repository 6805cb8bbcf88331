# Copyright: cicd.sandbox contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The template lookup without its copy of every variable."""

from __future__ import annotations

DOCUMENTATION = r"""
name: template
short_description: Render a template without copying every variable first
description:
  - What P(ansible.builtin.template#lookup) does, with all of its options, in a fraction of its time.
  - The lookup of Ansible copies all variables of the host, however deep, for every template, which takes longer than
    rendering. Here the template sees the variables themselves.
version_added: 0.1.0
author: cicd.sandbox contributors
options:
  _terms:
    description: Names of templates, found as P(ansible.builtin.template#lookup) finds them.
    required: true
    type: list
    elements: str
seealso:
  - plugin: ansible.builtin.template
    plugin_type: lookup
"""

EXAMPLES = r"""
- name: Configure containerd
  cicd.sandbox.text_files:
    files:
      - path: /etc/containerd/config.toml
        content: "{{ lookup('cicd.sandbox.template', 'config.toml.j2') }}"
"""

RETURN = r"""
_raw:
  description: The rendered templates.
  type: list
  elements: raw
"""

from typing import Any

from ansible.plugins.loader import lookup_loader
from ansible.plugins.lookup import LookupBase


class Uncopied(dict[str, Any]):
    """Variables that are shared where a deep copy is asked for; only the outermost dictionary is a new one."""

    def __deepcopy__(self, memo: dict[int, Any]) -> dict[str, Any]:
        """Copy the outermost dictionary."""
        return dict(self)


class LookupModule(LookupBase):
    """The lookup of this file."""

    def run(self, terms: list[str], variables: dict[str, Any] | None = None, **kwargs: Any) -> list[Any]:
        """Render the templates with the options of ansible.builtin.template."""
        original = lookup_loader.get("ansible.builtin.template", loader=self._loader, templar=self._templar)
        rendered: list[Any] = original.run(terms, variables=Uncopied(variables or {}), **kwargs)
        return rendered
