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
positional: domain, https_domain
options:
  _input:
    description: Pages, as M(cicd.sandbox.cluster_info) returns them.
    type: list
    elements: dict
    required: true
  domain:
    description: What follows the names of the sandbox's pages, with the port where it is not 80.
    type: str
    required: true
  https_domain:
    description: The same for https, with the port where it is not 443, where their addresses are to be of https.
    type: str
    default: ""
"""

EXAMPLES = r"""
- name: Tell the addresses of pages
  ansible.builtin.debug:
    msg: "{{ cluster.pages | cicd.sandbox.page_links('localhost:8080') | map(attribute='url') }}"
"""

RETURN = r"""
_value:
  description: >-
    The pages, each with its C(url) and its C(entry) of C(load_balancer_pages) of role C(load_balancer).
  type: list
  elements: dict
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any


def page_links(pages: Sequence[Mapping[str, Any]], domain: str, https_domain: str = "") -> list[dict[str, Any]]:
    """Return the pages with their addresses."""
    scheme = "https" if https_domain else "http"
    own, colon, port = (https_domain or domain).partition(":")
    return [
        {**page, "url": f"{scheme}://{page['hosts'][0]}{colon}{port}{page['path']}", "entry": _entry(page, own)}
        for page in pages
    ]


def _entry(page: Mapping[str, Any], domain: str) -> dict[str, Any]:
    # Two hosts of other domains may begin alike.
    name = page["hosts"][0].removesuffix(f".{domain}")
    told = ("hosts", "node_port", "health_path", "timeout", "streams")
    return {"name": name} | {key: page[key] for key in told if key in page}


class FilterModule:
    """The filter of this file."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Return filter name → function."""
        return {"page_links": page_links}
