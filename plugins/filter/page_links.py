# Copyright: cicd.sandbox contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Filter: addresses of the cluster's pages."""

from __future__ import annotations

DOCUMENTATION = r"""
name: page_links
short_description: Tell the address of each page
version_added: 0.1.0
author:
  - cicd.sandbox contributors
description:
  - Adds to each page the address that a person opens, and what a load balancer has to know.
positional: domain
options:
  _input:
    description: Pages, as M(cicd.sandbox.cluster_info) returns them.
    type: list
    elements: dict
    required: true
  domain:
    description: What follows a page's name in its address, with the port where it is not 80.
    type: str
    required: true
"""

EXAMPLES = r"""
- name: Tell the addresses of pages
  ansible.builtin.debug:
    msg: "{{ cluster.pages | cicd.sandbox.page_links('localhost:8080') | map(attribute='url') }}"
"""

RETURN = r"""
_value:
  description: >-
    The pages, each with its C(url) and, where a node leads to it, its C(route), as role C(load_balancer) wants it in
    C(load_balancer_pages).
  type: list
  elements: dict
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any


def page_links(pages: Sequence[Mapping[str, Any]], domain: str) -> list[dict[str, Any]]:
    """Return the pages with their addresses."""
    return [
        {
            **page,
            "url": f"http://{page['name']}.{domain}{page['path']}",
            "route": _route(page, domain.partition(":")[0]),
        }
        for page in pages
    ]


def _route(page: Mapping[str, Any], domain: str) -> dict[str, Any]:
    if not page.get("node_port"):
        return {}
    known = {key: page[key] for key in ("name", "node_port", "health_path", "timeout")}
    return {**known, "hosts": [f"{page['name']}.{domain}"]}


class FilterModule:
    """The filter of this file."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Return filter name → function."""
        return {"page_links": page_links}
