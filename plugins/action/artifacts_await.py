# Copyright: cicd.sandbox contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Action: wait for components; documented in plugins/modules/artifacts_await.py."""

from __future__ import annotations

import time
from typing import Any

from ansible.plugins.action import ActionBase
from ansible.utils.display import Display
from ansible_collections.cicd.sandbox.plugins.module_utils.artifacts.cache import ArtifactError
from ansible_collections.cicd.sandbox.plugins.module_utils.artifacts.catalogue import CATALOGUE_SPEC, open_catalogue
from ansible_collections.cicd.sandbox.plugins.module_utils.artifacts.queue import (
    CACHED,
    FAILED,
    MISSING,
    Awaiting,
    State,
    explain,
    survey,
)

INTERVAL = 0.5


class ActionModule(ActionBase):
    """Runs on the controller, so that progress reaches the terminal while it waits."""

    TRANSFERS_FILES = False
    _supports_check_mode = True

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Wait until every component lies in the cache, or one can't be had."""
        result: dict[str, Any] = super().run(tmp, task_vars)
        _, arguments = self.validate_argument_spec(
            {
                "catalogue": {"type": "dict", "required": True, "options": CATALOGUE_SPEC},
                "names": {"type": "list", "elements": "str", "required": True},
                "timeout": {"type": "int", "default": 5400},
                "report_every": {"type": "int", "default": 20},
            }
        )
        began = time.time()
        try:
            catalogue = open_catalogue(arguments["catalogue"])
            states = survey(catalogue, arguments["names"])
            reported = began
            with Awaiting() as awaiting:
                while not self._task.check_mode and _unfinished(states):
                    now = time.time()
                    if now - began > arguments["timeout"]:
                        lines = "\n".join(state.describe(now) for state in states if state.state != CACHED)
                        return _fail(result, f"after {arguments['timeout']} s these are still not there:\n{lines}")
                    if now - reported >= arguments["report_every"]:
                        reported = now
                        for state in states:
                            if state.state != CACHED:
                                Display().display(f"  {state.describe(now)}")
                    for plan in catalogue.plans(arguments["names"]):
                        awaiting.wait_for(plan.entries)
                    time.sleep(INTERVAL)
                    states = survey(catalogue, arguments["names"])
        except (ArtifactError, OSError) as error:
            return _fail(result, str(error))
        result["states"] = {state.component: state.state for state in states}
        result["waited"] = round(time.time() - began, 1)
        failed = [state for state in states if state.state in (FAILED, MISSING)]
        if failed and not self._task.check_mode:
            return _fail(result, explain(failed))
        return result


def _unfinished(states: list[State]) -> bool:
    """Whether waiting makes sense: a failure ends it at once."""
    return all(state.state not in (FAILED, MISSING) for state in states) and any(
        state.state != CACHED for state in states
    )


def _fail(result: dict[str, Any], message: str) -> dict[str, Any]:
    return {**result, "failed": True, "msg": message}
