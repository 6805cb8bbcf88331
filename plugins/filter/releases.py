# Copyright: cicd.sandbox contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Filter: releases, as an inventory describes them, in the form of modules' options."""

from __future__ import annotations

DOCUMENTATION = r"""
name: releases
short_description: Read a list of releases
version_added: 0.1.0
author:
  - cicd.sandbox contributors
description:
  - Finds charts, images, namespaces and Secrets of releases that are described as data.
  - Wrong descriptions are refused, with the release, the value and what there is instead.
positional: charts, inventory, secrets, paths, images, defaults, namespace_labels
options:
  _input:
    description: The releases, as role C(release) has them.
    type: list
    elements: dict
    required: true
  charts:
    description: Folder of the collection's charts.
    type: path
    required: true
  inventory:
    description: Folder to which paths of charts are relative.
    type: path
    required: true
  secrets:
    description: Folder of the files that hold the values of Secrets.
    type: path
    required: true
  paths:
    description: Component → its folder, as role C(artifacts) tells when it has published them.
    type: dict
    default: {}
  images:
    description: Component → tag of its image, likewise.
    type: dict
    default: {}
  defaults:
    description: Chart of the collection → values under those of each of its releases.
    type: dict
    default: {}
  namespace_labels:
    description: Labels of all namespaces, where a release says nothing else of them.
    type: dict
    default: {}
"""

EXAMPLES = r"""
- name: Tell what has to be published before
  ansible.builtin.debug:
    msg: "{{ (release_list | cicd.sandbox.releases('charts', inventory_dir, sandbox_secrets_directory)).components }}"
"""

RETURN = r"""
_value:
  description: >-
    C(components), to be published before; C(namespaces), each with its labels; C(secrets), each with C(namespace),
    C(name), C(files), C(lengths) and C(earlier) by key; and, once all components are published, C(releases) as of
    M(cicd.sandbox.helm_releases).
  type: dict
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ansible.errors import AnsibleFilterError
from ansible_collections.cicd.sandbox.plugins.module_utils.helm import description


def releases(
    described: Sequence[Mapping[str, Any]],
    charts: str,
    inventory: str | None,
    secrets: str,
    paths: Mapping[str, str] | None = None,
    images: Mapping[str, str] | None = None,
    defaults: Mapping[str, Mapping[str, Any]] | None = None,
    namespace_labels: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Return components, namespaces, secrets and, once paths and images are known, releases."""
    around = description.Surroundings(Path(charts), Path(inventory or "."), paths or {}, images or {}, defaults or {})
    try:
        description.check_names(described)
        found = {
            "components": description.components(described),
            "namespaces": description.namespaces(described, namespace_labels),
            "secrets": description.secrets(described, Path(secrets).expanduser()),
        }
        if description.HELM in around.paths:
            found["releases"] = [description.wanted(release, around) for release in described]
    except description.DescriptionError as error:
        raise AnsibleFilterError(str(error)) from error
    return found


class FilterModule:
    """The filter of this file."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Return filter name → function."""
        return {"releases": releases}
