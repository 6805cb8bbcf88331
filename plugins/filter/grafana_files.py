# Copyright: cicd.sandbox contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Filter: what Grafana is provisioned with."""

from __future__ import annotations

DOCUMENTATION = r"""
name: grafana_files
short_description: Render dashboards and what they need for Grafana
version_added: 0.1.0
author:
  - cicd.sandbox contributors
description:
  - Renders dashboards, data sources and where dashboards are found as files that Grafana reads when it starts.
  - A query of C(logs) or C(log_numbers) has to have C(logql), one of C(traces) C(traceql).
requirements:
  - grafana-foundation-sdk
positional: title, addresses, page_url
options:
  _input:
    description: Dashboards as the files of the collection's C(dashboards/) have them.
    type: list
    elements: dict
    required: true
  title:
    description: What the folder of the dashboards is called.
    type: str
    required: true
  addresses:
    description: C(prometheus), C(loki) and C(tempo) → URL that the server asks.
    type: dict
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
         | cicd.sandbox.grafana_files('Sandbox', addresses, 'http://{name}.localhost:8080') }}
"""

RETURN = r"""
_value:
  description: Name of a file → its content, C(datasources.yml), C(dashboards.yml) and a C(.json) for each dashboard.
  type: dict
"""

import importlib
import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ansible.errors import AnsibleFilterError
from ansible_collections.cicd.sandbox.plugins.module_utils.dashboards.definition import DashboardError, read_dashboard

RENDERER = "ansible_collections.cicd.sandbox.plugins.module_utils.dashboards.grafana"


def grafana_files(
    dashboards: Sequence[Mapping[str, Any]], title: str, addresses: Mapping[str, str], page_url: str
) -> dict[str, str]:
    """Return name → content. Raises AnsibleFilterError for a definition that can't be meant, or rendered."""
    try:
        # Nothing else needs the SDK.
        grafana = importlib.import_module(RENDERER)
    except ImportError as error:
        raise AnsibleFilterError(
            f"dashboards are rendered for Grafana by grafana-foundation-sdk, which this Python has not ({error});"
            " install it as the collection's requirements.txt names it"
        ) from error
    try:
        read = [read_dashboard(data) for data in dashboards]
        rendered = {f"{item.name}.json": grafana.render_dashboard(item, page_url) for item in read}
    except DashboardError as error:
        raise AnsibleFilterError(str(error)) from error
    # JSON is YAML, too.
    provisioning = {
        "datasources.yml": grafana.datasources(read, addresses),
        "dashboards.yml": grafana.provider(title),
    }
    return {name: json.dumps(content, indent=1) + "\n" for name, content in {**provisioning, **rendered}.items()}


class FilterModule:
    """The filter of this file."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Return filter name → function."""
        return {"grafana_files": grafana_files}
