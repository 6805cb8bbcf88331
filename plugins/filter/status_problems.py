# Copyright: cicd.sandbox contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Filter: what ails a sandbox."""

from __future__ import annotations

DOCUMENTATION = r"""
name: status_problems
short_description: Say what ails a sandbox, and what to do
version_added: 0.1.0
author:
  - cicd.sandbox contributors
description:
  - Puts together what was found on machines, at addresses and in the cluster.
positional: made, no_kubeconfig, cluster, checks, silent
options:
  _input:
    description: Host → answers of M(cicd.sandbox.host_certificates_info) and M(cicd.sandbox.host_services_info).
    type: dict
    required: true
  made:
    description: Hosts that the sandbox made.
    type: list
    elements: str
    required: true
  no_kubeconfig:
    description: Path of the cluster's kubeconfig where it is not there, else empty.
    type: str
    required: true
  cluster:
    description: Why nothing is known of the cluster, as M(cicd.sandbox.cluster_info) says it.
    type: str
    required: true
  checks:
    description: What M(cicd.sandbox.health_check) said where something does not answer.
    type: list
    elements: str
    required: true
  silent:
    description: Hosts that take no connection, and why, as P(cicd.sandbox.silent_hosts#filter) says it.
    type: dict
    default: {}
"""

EXAMPLES = r"""
- name: Say what ails the sandbox
  ansible.builtin.debug:
    msg: "{{ {'cp-1': [pki_expiry, {}]} | cicd.sandbox.status_problems(['cp-1'], '', sandbox_cluster.problem, []) }}"
"""

RETURN = r"""
_value:
  description: Lines of text; none where all is well.
  type: list
  elements: str
"""

from collections.abc import Callable
from typing import Any

from ansible_collections.cicd.sandbox.plugins.module_utils.summary.problems import problems


class FilterModule:
    """The filter of this file."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Give the filter by its name."""
        return {"status_problems": problems}
