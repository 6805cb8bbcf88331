# Copyright: cicd.sandbox contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Filter: what Perses is provisioned with."""

from __future__ import annotations

DOCUMENTATION = r"""
name: perses_files
short_description: Render dashboards and what they need for Perses
version_added: 0.1.0
author:
  - cicd.sandbox contributors
description:
  - Renders dashboards, a project, datasources and the rights of a user as files that Perses reads when it starts.
positional: project, title, addresses, user, page_url
options:
  _input:
    description: Dashboards as the files of the collection's C(dashboards/) have them.
    type: list
    elements: dict
    required: true
  project:
    description: Name of the project that they are in.
    type: str
    required: true
  title:
    description: What the project is called.
    type: str
    required: true
  addresses:
    description: C(prometheus), C(victorialogs) and C(jaeger) → URL that the server asks.
    type: dict
    required: true
  user:
    description: Login of the user who may do everything.
    type: str
    required: true
  page_url:
    description: Address of a page of the sandbox's, with C({name}) for the first label of its host.
    type: str
    required: true
"""

EXAMPLES = r"""
- name: Tell the files
  ansible.builtin.debug:
    msg: >-
      {{ [lookup('ansible.builtin.file', 'dashboards/trace.yaml') | from_yaml]
         | cicd.sandbox.perses_files('sandbox', 'Sandbox', addresses, 'admin', 'http://{name}.localhost:8080') }}
"""

RETURN = r"""
_value:
  description: Name of a file → its content, JSON.
  type: dict
"""

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ansible.errors import AnsibleFilterError
from ansible_collections.cicd.sandbox.plugins.module_utils.dashboards.definition import DashboardError, read_dashboard
from ansible_collections.cicd.sandbox.plugins.module_utils.dashboards.perses import (
    file_name,
    render_dashboard,
    render_surroundings,
)


def perses_files(
    dashboards: Sequence[Mapping[str, Any]],
    project: str,
    title: str,
    addresses: Mapping[str, str],
    user: str,
    page_url: str,
) -> dict[str, str]:
    """Return name → content. Raises AnsibleFilterError for a definition that can't be meant."""
    try:
        rendered = [render_dashboard(read_dashboard(data), project, page_url) for data in dashboards]
    except DashboardError as error:
        raise AnsibleFilterError(str(error)) from error
    resources = [*render_surroundings(project, title, addresses, user), *rendered]
    return {
        file_name(number, resource): json.dumps(resource, indent=1) + "\n" for number, resource in enumerate(resources)
    }


class FilterModule:
    """The filter of this file."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Return filter name → function."""
        return {"perses_files": perses_files}
