#!/usr/bin/python
# Copyright: cicd.sandbox contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Module: the background queue that makes components."""

from __future__ import annotations

DOCUMENTATION = r"""
module: artifacts_queue
short_description: Make the components that the cache lacks, in the background
version_added: "0.1.0"
description:
  - Starts a detached process that builds or downloads what the cache lacks, a few components at a time, in the order
    in which the site needs them, and returns at once. M(cicd.sandbox.artifacts_await) waits for components and puts
    them in front.
  - The process outlives the play. If it is killed, the next run continues where it was.
  - What another owner's process makes is waited for by a process of this owner, which goes on when that one is stopped.
extends_documentation_fragment:
  - cicd.sandbox.artifact_catalogue
options:
  names:
    description: Components; all of the catalogue if not given.
    type: list
    elements: str
  owner:
    description: Whose queue it is; an owner's queue is stopped without touching another's.
    type: str
    required: true
  slots:
    description: How many components are made at a time on this machine, whoever asks for them.
    type: int
    default: 2
  niceness:
    description:
      - Added to the niceness of compilers and other tools of the component that is in front, which is one that somebody
        waits for or else the one that the site needs first. What is made beside it gives way to it.
    type: int
    default: 10
  refresh_days:
    description:
      - Days after which the images that others start from are made anew for security updates, and the others with them.
      - V(0) keeps them as long as they are.
    type: int
    default: 0
  state:
    description: Whether what is missing gets made, or the owner's running queue is ended.
    type: str
    choices: [started, stopped]
    default: started
author:
  - cicd.sandbox contributors
attributes:
  check_mode:
    description: Says what would be made, starts nothing.
    support: full
"""

EXAMPLES = r"""
- name: Start building what is missing
  cicd.sandbox.artifacts_queue:
    catalogue: "{{ artifacts_catalogue }}"
    owner: dev
  become: true
"""

RETURN = r"""
states:
  description: Component → V(cached), V(building), V(queued), V(failed) or V(missing), as it was found.
  returned: when O(state=started)
  type: dict
started:
  description: Components that a new background process makes.
  returned: when O(state=started)
  type: list
  elements: str
refreshed:
  description: Images that others start from and that were too old.
  returned: when O(state=started)
  type: list
  elements: str
pid:
  description: The background process, or 0.
  returned: when O(state=started)
  type: int
stopped:
  description: Processes that were ended.
  returned: when O(state=stopped)
  type: list
  elements: int
"""

from datetime import UTC, datetime

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.cicd.sandbox.plugins.module_utils.artifacts.cache import ArtifactError
from ansible_collections.cicd.sandbox.plugins.module_utils.artifacts.catalogue import CATALOGUE_SPEC, open_catalogue
from ansible_collections.cicd.sandbox.plugins.module_utils.artifacts.queue import (
    runners,
    start,
    stop,
    survey,
    unattended,
)
from ansible_collections.cicd.sandbox.plugins.module_utils.artifacts.refresh import refresh
from ansible_collections.cicd.sandbox.plugins.module_utils.host.environment import settle


def main() -> None:
    """Run the module."""
    settle()
    module = AnsibleModule(
        argument_spec={
            "catalogue": {"type": "dict", "required": True, "options": CATALOGUE_SPEC},
            "names": {"type": "list", "elements": "str"},
            "owner": {"type": "str", "required": True},
            "slots": {"type": "int", "default": 2},
            "niceness": {"type": "int", "default": 10},
            "refresh_days": {"type": "int", "default": 0},
            "state": {"type": "str", "choices": ["started", "stopped"], "default": "started"},
        },
        supports_check_mode=True,
    )
    params = module.params
    try:
        catalogue = open_catalogue(params["catalogue"])
        if params["state"] == "stopped":
            if module.check_mode:
                stopped = [pid for _, pid in runners(catalogue.cache, params["owner"])]
            else:
                stopped = stop(catalogue.cache, params["owner"])
            module.exit_json(changed=bool(stopped), stopped=stopped)
        now = datetime.now(UTC)
        refreshed = refresh(catalogue, params["refresh_days"], now, dry_run=module.check_mode)
        if refreshed:
            catalogue = open_catalogue(params["catalogue"])
        names = params["names"] if params["names"] is not None else catalogue.obtainable
        found = survey(catalogue, names)
        todo = unattended(catalogue, found, params["owner"])
        pid = 0
        if todo and not module.check_mode:
            pid = start(catalogue, todo, params["owner"], params["slots"], params["niceness"])
    except (ArtifactError, OSError) as error:
        module.fail_json(msg=str(error))
    states = {state.component: state.state for state in found}
    module.exit_json(changed=bool(todo or refreshed), states=states, started=todo, refreshed=refreshed, pid=pid)


if __name__ == "__main__":
    main()
