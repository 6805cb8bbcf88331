# Copyright: cicd.sandbox contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Filter: a login as Envoy's basic authentication reads it."""

from __future__ import annotations

DOCUMENTATION = r"""
name: htpasswd
short_description: Write a line of an htpasswd file
version_added: 0.1.0
author:
  - cicd.sandbox contributors
description:
  - Writes user and SHA-1 of the password, the only form that Envoy's filter for basic authentication takes. It has no
    salt and is fast to compute, so that the password has to be a long random one.
positional: user
options:
  _input:
    description: The password.
    type: str
    required: true
  user:
    description: Whose it is, without a colon.
    type: str
    required: true
"""

EXAMPLES = r"""
- name: Tell the gateway who may see a page
  ansible.builtin.set_fact:
    users: "{{ password | cicd.sandbox.htpasswd('sandbox') }}"
"""

RETURN = r"""
_value:
  description: C(user:{SHA}...), as https://httpd.apache.org/docs/current/misc/password_encryptions.html has it.
  type: str
"""

import base64
import hashlib
from collections.abc import Callable

from ansible.errors import AnsibleFilterError


def htpasswd(password: str, user: str) -> str:
    """Return the line; a user that can't stand in one is refused."""
    if not user or ":" in user or not user.isprintable():
        raise AnsibleFilterError(f"{user!r} can't be a user's name: it is empty, has a colon or what can't be printed")
    digest = hashlib.sha1(password.encode(), usedforsecurity=False).digest()
    return f"{user}:{{SHA}}{base64.b64encode(digest).decode()}"


class FilterModule:
    """The filter of this file."""

    def filters(self) -> dict[str, Callable[..., str]]:
        """Return filter name → function."""
        return {"htpasswd": htpasswd}
