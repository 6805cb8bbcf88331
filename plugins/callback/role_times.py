# Copyright: cicd.sandbox contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Callback: how long each role took, printed at the end and kept for the landing page."""

from __future__ import annotations

DOCUMENTATION = r"""
name: role_times
type: aggregate
short_description: Time each role and keep the times of the runs in which they changed something
version_added: "0.1.0"
description:
  - Prints how many seconds each role took when the run ends.
  - Keeps them in C(reports/role-times.json) of the sandbox's state directory, for the landing page. The time of a role
    that changed nothing stays as it is, so that the file tells how long it took to make what stands.
  - Playbooks of this collection bring it with them, in a checkout and where it is installed, whatever callbacks are
    enabled. For playbooks of yours it is enabled like any other callback.
extends_documentation_fragment:
  - cicd.sandbox.role_times
author:
  - cicd.sandbox contributors
requirements:
  - enable in configuration for playbooks that are not of this collection
"""

import json
import time
from pathlib import Path
from typing import Any, ClassVar

from ansible import context
from ansible.plugins.callback import CallbackBase
from ansible_collections.cicd.sandbox.plugins.module_utils.host import files


class CallbackModule(CallbackBase):
    """Adds up the time between the starts of tasks, by role."""

    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "aggregate"
    CALLBACK_NAME = "cicd.sandbox.role_times"
    CALLBACK_NEEDS_ENABLED = True

    # Of the run: the callback is there twice where it comes with the playbook and is enabled too.
    active: ClassVar[bool] = False

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.disabled = CallbackModule.active
        CallbackModule.active = True
        self.seconds: dict[str, float] = {}
        self.role: str | None = None
        self.since = self.begin = time.monotonic()
        self.changed: set[str] = set()
        self.play: Any = None
        self.file: Path | None = None

    def _close(self) -> None:
        now = time.monotonic()
        if self.role is not None:
            self.seconds[self.role] = self.seconds.get(self.role, 0.0) + now - self.since
        self.since = now

    def _task(self, task: Any) -> None:
        self._close()
        self.role = _role_of(task)

    def v2_playbook_on_play_start(self, play: Any) -> None:
        """Keep the times so far: the last play, the summary, shows what is kept then."""
        self._close()
        self.role = None
        self.play = play
        self._keep()

    def v2_playbook_on_task_start(self, task: Any, *_args: Any, **_kwargs: Any) -> None:
        """Close the task before."""
        self._task(task)

    def v2_playbook_on_handler_task_start(self, task: Any) -> None:
        """Close the task before."""
        self._task(task)

    def v2_runner_on_ok(self, result: Any) -> None:
        """Note which role changed something, and learn which sandbox this is."""
        if self.role is not None and result.result.get("changed"):
            self.changed.add(self.role)
        if self.file is None and self.play is not None:
            values = self.play.get_variable_manager().get_vars(host=result.host, play=self.play)
            name = values.get("sandbox_name")
            if name:
                home = Path(str(self.get_option("state_home"))).expanduser()
                self.file = home / str(name) / "reports" / "role-times.json"

    def v2_playbook_on_stats(self, *_args: Any) -> None:
        """Print the table."""
        self._close()
        if not self.seconds:
            return
        self._display.banner("SECONDS BY ROLE")
        width = max(len(name) for name in self.seconds)
        for name, seconds in sorted(self.seconds.items(), key=lambda item: -item[1]):
            self._display.display(f"{name:<{width}} {seconds:8.1f}")
        self._display.display(f"{'total':<{width}} {time.monotonic() - self.begin:8.1f}")

    def _keep(self) -> None:
        """Merge the times of roles that changed something into the file, if the state directory is there."""
        if self.file is None or not self.changed or context.CLIARGS.get("check"):
            return
        if not self.file.parent.parent.is_dir():
            return
        try:
            self.file.parent.mkdir(exist_ok=True, mode=0o700)
            try:
                kept: dict[str, float] = json.loads(self.file.read_text())
            except (OSError, ValueError):
                kept = {}
            kept.update({name: round(seconds, 1) for name, seconds in self.seconds.items() if name in self.changed})
            files.write(self.file, json.dumps(kept, indent=2) + "\n")
        except OSError as error:
            self._display.warning(f"role_times: {self.file} could not be written: {error}")


def _role_of(task: Any) -> str | None:
    """Return the full name of a task's role: its name is `<role> : <task>` then, and its file is one of a role."""
    role, colon, _name = task.get_name().partition(" : ")
    return role if colon and "/roles/" in task.get_path() else None
