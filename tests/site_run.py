# Copyright: cicd.sandbox contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs of the site on the standing sandbox of a scenario."""

from __future__ import annotations

import os

from playbook_run import PlaybookRun, run_playbook


def run(*arguments: str) -> PlaybookRun:
    """Run the site, which has to succeed."""
    done = run_playbook("site.yml", "--inventory", os.environ["SANDBOX_INVENTORY"], *arguments, fails=None)
    assert done.returncode == 0, "\n".join(_notable(done)) + done.text
    return done


def changes(*arguments: str) -> list[str]:
    """Run the site and return the tasks that changed, as `host: task`."""
    return _notable(run(*arguments))


def _notable(done: PlaybookRun) -> list[str]:
    return [
        f"{answer.host}: {answer.task}: {answer.result.get('msg', '')}"
        for answer in done.answers
        if answer.failed or answer.result.get("changed")
    ]
