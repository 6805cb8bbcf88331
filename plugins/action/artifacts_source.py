# Copyright: cicd.sandbox contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Action: whether official releases can be had; documented in plugins/modules/artifacts_source.py."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ansible.plugins.action import ActionBase
from ansible_collections.cicd.sandbox.plugins.module_utils.artifacts.release import kept_source


class ActionModule(ActionBase):
    """Reads what an earlier run found without starting a process for it; most runs need no more."""

    TRANSFERS_FILES = False
    _supports_check_mode = True

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Return what is kept on the controller, or have the module ask."""
        result: dict[str, Any] = super().run(tmp, task_vars)
        path, wanted = self._task.args.get("path"), self._task.args.get("wanted", "auto")
        if isinstance(path, str) and self._connection.transport == "local":
            known = kept_source(Path(path).expanduser(), str(wanted))
            if known:
                return {**result, "changed": False, **known}
        return {**result, **self._execute_module(task_vars=task_vars)}
