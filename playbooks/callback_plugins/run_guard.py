# Copyright: cicd.sandbox contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Callback cicd.sandbox.run_guard for these playbooks: beside a playbook it needs no configuration."""

from __future__ import annotations

DOCUMENTATION = r"""
name: run_guard
type: aggregate
short_description: The callback of that name, without configuration
description: See P(cicd.sandbox.run_guard#callback).
"""

from ansible_collections.cicd.sandbox.plugins.callback import run_guard


class CallbackModule(run_guard.CallbackModule):
    """Runs unasked."""

    CALLBACK_NEEDS_ENABLED = False
