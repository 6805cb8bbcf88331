# Copyright: cicd.sandbox contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Filter: what is wrong with what an inventory says of a store of secrets."""

from __future__ import annotations

DOCUMENTATION = r"""
name: store_errors
short_description: Say what is wrong with a store of secrets
version_added: 0.1.0
author:
  - cicd.sandbox contributors
description:
  - Looks at what role C(secrets_store) is told, before anything is changed.
positional: built, values, secrets, rotated, refresh
options:
  _input:
    description: Which store.
    type: str
    required: true
  built:
    description: Whether programs and images are built here.
    type: bool
    required: true
  values:
    description: What is said of the store, as C(secrets_store_aws) has it.
    type: dict
    default: {}
  secrets:
    description: All Secrets that are made of it.
    type: list
    elements: dict
    default: []
  rotated:
    description: Those that get new values.
    type: list
    elements: str
    default: []
  refresh:
    description: How often the store is asked.
    type: str
    default: 1m
"""

EXAMPLES = r"""
- name: Refuse a store that can't be meant
  ansible.builtin.assert:
    that: secrets_store_provider | cicd.sandbox.store_errors(false, secrets_store_aws) | length == 0
"""

RETURN = r"""
_value:
  description: What is wrong, each with what to do.
  type: list
  elements: str
  sample: ["secrets_store_aws has no region"]
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ansible_collections.cicd.sandbox.plugins.module_utils.preflight.store import Wanted, check_store


def store_errors(
    provider: str,
    built: bool,
    values: Mapping[str, Any] | None = None,
    secrets: Sequence[Mapping[str, Any]] = (),
    rotated: Sequence[str] = (),
    refresh: str = "1m",
) -> list[str]:
    """Return what is wrong."""
    return check_store(Wanted(str(provider), bool(built), values or {}, secrets, rotated, str(refresh)))


class FilterModule:
    """The filter of this file."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Return filter name → function."""
        return {"store_errors": store_errors}
