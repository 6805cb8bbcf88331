# Copyright: cicd.sandbox contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whole modules in a test: arguments in, what Ansible would get out."""

from __future__ import annotations

import importlib
import json
from typing import Any

import pytest
from ansible.module_utils.testing import patch_module_args


def run_module(
    name: str, arguments: dict[str, Any], capsys: pytest.CaptureFixture[str], *, check: bool = False
) -> dict[str, Any]:
    """Run a module of this collection in this process and return its result; `failed` tells how it ended."""
    module = importlib.import_module(f"ansible_collections.cicd.sandbox.plugins.modules.{name}")
    capsys.readouterr()
    with patch_module_args({**arguments, "_ansible_check_mode": check}), pytest.raises(SystemExit) as ended:
        module.main()
    result: dict[str, Any] = json.loads(capsys.readouterr().out)
    assert bool(ended.value.code) == bool(result.get("failed"))
    return result
