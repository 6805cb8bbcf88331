# Copyright: cicd.sandbox contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Filter: smoke checks of the cluster's pages."""

from __future__ import annotations

DOCUMENTATION = r"""
name: page_checks
short_description: Make a smoke check of each page
version_added: 0.1.0
author:
  - cicd.sandbox contributors
description:
  - Checks that each page answers 200 at the path where a person begins, with the text that its route asks for. When
    it does not, the pods behind the Service are asked why.
positional: address, domain
options:
  _input:
    description: Pages, as M(cicd.sandbox.cluster_info) returns them.
    type: list
    elements: dict
    required: true
  address:
    description: Host and port at which all pages are reached.
    type: str
    required: true
  domain:
    description: What follows a page's name in its address, with the port where it is not 80.
    type: str
    required: true
"""

EXAMPLES = r"""
- name: Tell how pages are checked
  ansible.builtin.debug:
    msg: "{{ cluster.pages | cicd.sandbox.page_checks('127.0.0.1:8080', 'localhost:8080') }}"
"""

RETURN = r"""
_value:
  description: Checks, as of M(cicd.sandbox.health_check).
  type: list
  elements: dict
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any


def page_checks(pages: Sequence[Mapping[str, Any]], address: str, domain: str) -> list[dict[str, Any]]:
    """Return a check of each page."""
    _domain, colon, port = domain.partition(":")
    return [
        {
            "name": page["name"],
            "url": f"http://{address}{page['path']}",
            "headers": {"Host": f"{page['hosts'][0]}{colon}{port}"},
            "status": 200,
            "behind": {"kind": "Service", "namespace": page["service_namespace"], "name": page["service"]},
            **({"contains": page["contains"]} if page["contains"] else {}),
        }
        for page in pages
    ]


class FilterModule:
    """The filter of this file."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Return filter name → function."""
        return {"page_checks": page_checks}
