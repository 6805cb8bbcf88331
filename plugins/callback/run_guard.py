# Copyright: cicd.sandbox contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Callback: refuses a run beside another one, and tags that nothing carries."""

from __future__ import annotations

DOCUMENTATION = r"""
name: run_guard
type: aggregate
short_description: Refuse a second run at the same time, and unknown tags
version_added: "0.1.0"
description:
  - Ends a run before its first task while another one works on the same sandbox (C(sandbox_name)) of this machine, and
    says who that is. The lock is kept by the process and has no file, so that a killed run leaves none behind.
  - Ends a run whose C(--tags) or C(--skip-tags) name a tag that nothing in the playbook carries; without it such a run
    does nothing and succeeds.
  - With C(--check) there is no lock.
options:
  unguarded:
    description: Playbooks, by their names without C(.yml), that may run beside another run.
    type: list
    elements: str
    default: [open, status, tools]
    env:
      - name: CICD_SANDBOX_UNGUARDED
    ini:
      - section: callback_run_guard
        key: unguarded
author:
  - cicd.sandbox contributors
requirements:
  - enable in configuration
"""

import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NoReturn

import yaml
from ansible import context
from ansible.plugins.callback import CallbackBase
from ansible_collections.cicd.sandbox.plugins.module_utils.runs.guard import (
    SPECIAL_TAGS,
    Holder,
    hold,
    unknown_tags,
)

COLLECTION = "cicd.sandbox."
# The role that has the sandbox's name where the inventory has none.
DEFAULTS = Path(__file__).parents[2] / "roles/sandbox/defaults/main.yml"


class CallbackModule(CallbackBase):
    """Looks at the command line when a playbook starts, and takes the lock when its first play does."""

    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "aggregate"
    CALLBACK_NAME = "cicd.sandbox.run_guard"
    CALLBACK_NEEDS_ENABLED = True

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.guarded = True
        self.lock: socket.socket | None = None

    def v2_playbook_on_start(self, playbook: Any) -> None:
        """Refuse unknown tags."""
        self.guarded = Path(playbook._file_name).stem not in self.get_option("unguarded")
        asked = [*context.CLIARGS.get("tags", ()), *context.CLIARGS.get("skip_tags", ())]
        plays = playbook.get_plays()
        steps = {str(tag) for play in plays for tag in play.tags}
        # A play's own tags are at hand; those of its tasks take a second to gather.
        if unknown_tags(asked, steps) and (unknown := unknown_tags(asked, steps | _tags_of_tasks(plays))):
            self._refuse(
                f"No step carries the tag {', '.join(unknown)}. There are: {', '.join(sorted(steps - SPECIAL_TAGS))}."
            )

    def v2_playbook_on_play_start(self, play: Any) -> None:
        """Take the lock of the sandbox, or refuse."""
        if self.lock is not None or not self.guarded or context.CLIARGS.get("check"):
            return
        sandbox = _sandbox_of(play)
        if sandbox is None:
            return
        lock = hold(sandbox)
        if isinstance(lock, Holder):
            self._refuse(lock.text(sandbox))
        self.lock = lock

    def _refuse(self, reason: str) -> NoReturn:
        self._display.error(reason, wrap_text=False)
        # An exception of a callback is only warned of.
        raise SystemExit(1)


def _sandbox_of(play: Any) -> str | None:
    """Return the name of the sandbox that a play works on; None where it does not work on one."""
    manager = play.get_variable_manager()
    name = manager.get_vars(play=play, host=manager._inventory.get_host("localhost")).get("sandbox_name")
    if name is None and any(str(getattr(task, "_role_name", "")).startswith(COLLECTION) for task in _tasks([play])):
        # Where only tasks include roles, these roles' defaults are not known when the play starts.
        name = yaml.safe_load(DEFAULTS.read_text(encoding="utf-8"))["sandbox_name"]
    return None if name is None else str(name)


def _tags_of_tasks(plays: list[Any]) -> set[str]:
    return {str(tag) for task in _tasks(plays) for tag in task.tags}


def _tasks(plays: list[Any]) -> Iterator[Any]:
    for play in plays:
        blocks = list(play.compile())
        while blocks:
            block = blocks.pop()
            for item in (*block.block, *block.rescue, *block.always):
                if hasattr(item, "block"):
                    blocks.append(item)
                else:
                    yield item
