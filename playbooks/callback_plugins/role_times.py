# Copyright: cicd.sandbox contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Callback cicd.sandbox.role_times for these playbooks: beside a playbook it needs no configuration."""

from __future__ import annotations

DOCUMENTATION = r"""
name: role_times
type: aggregate
short_description: The callback of that name, without configuration
description: See P(cicd.sandbox.role_times#callback).
extends_documentation_fragment:
  - cicd.sandbox.role_times
"""

from ansible_collections.cicd.sandbox.plugins.callback import role_times


class CallbackModule(role_times.CallbackModule):
    """Runs unasked."""

    CALLBACK_NEEDS_ENABLED = False
