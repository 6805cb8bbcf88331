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
positional: address, domain, tls, login
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
  tls:
    description:
      - How the pages are reached by https as well - C(address) and C(domain) as above, and C(ca), the file with the CA
        that is trusted, "" for the system's. C(only) leaves out the checks by http.
    type: dict
  login:
    description: C(user) and C(password_file) for pages that ask for a login.
    type: dict
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


def page_checks(
    pages: Sequence[Mapping[str, Any]],
    address: str,
    domain: str,
    tls: Mapping[str, Any] | None = None,
    login: Mapping[str, str] | None = None,
) -> list[dict[str, Any]]:
    """Return a check of each page, and one more of those that are reached by https as well."""
    checks = [] if tls and tls.get("only") else [_check(page, "http", address, domain, login) for page in pages]
    if tls:
        ca = {"ca_path": tls["ca"]} if tls["ca"] else {}
        checks += [
            {
                **_check(page, "https", tls["address"], tls["domain"], login),
                "name": f"{page['name']} with TLS",
                "server_name": page["hosts"][0],
                **ca,
            }
            for page in pages
            # No certificate is asked for what is of another domain.
            if page["hosts"][0].endswith(f".{tls['domain'].partition(':')[0]}")
        ]
    return checks


def _check(
    page: Mapping[str, Any], scheme: str, address: str, domain: str, login: Mapping[str, str] | None
) -> dict[str, Any]:
    _domain, colon, port = domain.partition(":")
    return {
        "name": page["name"],
        "url": f"{scheme}://{address}{page['path']}",
        "headers": {"Host": f"{page['hosts'][0]}{colon}{port}"},
        "status": 200,
        "behind": {"kind": "Service", "namespace": page["service_namespace"], "name": page["service"]},
        **({"contains": page["contains"]} if page["contains"] else {}),
        **({"username": login["user"], "password_file": login["password_file"]} if login and page.get("login") else {}),
    }


class FilterModule:
    """The filter of this file."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Return filter name → function."""
        return {"page_checks": page_checks}
