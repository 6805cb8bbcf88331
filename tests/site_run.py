# Copyright: cicd.sandbox contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs of the site on the standing sandbox of a scenario."""

from __future__ import annotations

import os

from playbook_run import run_playbook


def changes(*arguments: str) -> list[str]:
    """Run the site and return the tasks that changed or failed, as `host: task`."""
    run = run_playbook("site.yml", "--inventory", os.environ["SANDBOX_INVENTORY"], *arguments, fails=None)
    found = [
        f"{answer.host}: {answer.task}: {answer.result.get('msg', '')}"
        for answer in run.answers
        if answer.failed or answer.result.get("changed")
    ]
    assert run.returncode == 0, "\n".join(found) + run.text
    return found
