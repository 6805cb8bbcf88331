# Copyright: cicd.sandbox contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The option of the callback role_times."""

from __future__ import annotations


class ModuleDocFragment:
    """Where times are kept."""

    DOCUMENTATION = r"""
options:
  state_home:
    description: Directory with one state directory for each sandbox.
    type: path
    default: ~/.local/state/cicd-sandbox
    env:
      - name: CICD_SANDBOX_STATE_HOME
    ini:
      - section: callback_role_times
        key: state_home
"""
