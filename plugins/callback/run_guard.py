# Copyright: cicd.sandbox contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Callback: refuses a run beside another one, one of somebody else's sandbox, unknown tags, and what changes plays."""

from __future__ import annotations

DOCUMENTATION = r"""
name: run_guard
type: aggregate
short_description: Refuse a second run at the same time, somebody else's sandbox, and what changes plays unseen
version_added: "0.1.0"
description:
  - Ends a run before its first task while another one works on the same sandbox (C(sandbox_name)) of this machine, and
    says who that is. The lock is kept by the process and has no file, so that a killed run leaves none behind.
  - Ends a run, whatever its tags, before its first task where the sandbox of this machine is somebody else's, which is
    another user or another C(sandbox_state_directory), and says whose it is, since when, and what to do. It reads
    C(owner.json) in C(sandbox_library_directory), see M(cicd.sandbox.sandbox_owner). Warns where its owner made it from
    another checkout or with another inventory.
  - A play with C(run_guard_owner=false) among its C(vars) does not look at that; one with C(run_guard_removes=true)
    goes on where the variable C(sandbox_take_over) is set.
  - Ends a run whose C(--tags) or C(--skip-tags) name a tag that nothing in the playbook carries; without it such a run
    does nothing and succeeds.
  - Ends a run where a variable of the environment has Ansible do another thing than the playbooks say, such as
    C(ANSIBLE_STRATEGY) or C(ANSIBLE_BECOME), and names it. So it does where another project's C(ansible.cfg) does.
  - Ends a run before its first task on the controller that needs root, where sudo asks for a password that Ansible was
    not given. What a terminal was asked for before does not count, since Ansible's sudo has another session.
  - Takes from the environment of all tasks what is another project's, as C(PYTHONPATH) or C(GIT_DIR), has programs
    speak the language that is read here, and files be readable as their modes say, whatever the umask.
  - With C(--check) there is no lock, nor for a play with C(run_guard_lock=false) among its C(vars).
  - Playbooks of this collection bring it with them, in a checkout and where it is installed, whatever callbacks are
    enabled. For playbooks of yours it is enabled like any other callback.
author:
  - cicd.sandbox contributors
requirements:
  - enable in configuration for playbooks that are not of this collection
"""

import os
import socket
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar, NoReturn

from ansible import constants, context
from ansible.module_utils.parsing.convert_bool import boolean
from ansible.plugins.callback import CallbackBase
from ansible.template import Templar
from ansible_collections.cicd.sandbox.plugins.module_utils.host.environment import (
    CHANGES_PLAYS,
    changes_plays,
    configured_changes,
    settle,
)
from ansible_collections.cicd.sandbox.plugins.module_utils.runs import owner
from ansible_collections.cicd.sandbox.plugins.module_utils.runs.guard import (
    SPECIAL_TAGS,
    Holder,
    hold,
    unknown_tags,
    user_name,
)

DIRECTORIES = {"sandbox_library_directory", "sandbox_state_directory", "sandbox_take_over"}


class CallbackModule(CallbackBase):
    """Looks at the command line when a playbook starts, and takes the lock before its first task does anything."""

    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "aggregate"
    CALLBACK_NAME = "cicd.sandbox.run_guard"
    CALLBACK_NEEDS_ENABLED = True

    # Of the run: the callback is there twice where it comes with the playbook and is enabled too.
    lock: ClassVar[socket.socket | None] = None
    # Whether the sandbox is known to be this run's, or nobody's yet.
    owned: ClassVar[bool] = False
    # Whether it is known that Ansible can become root on this computer.
    may_become: ClassVar[bool] = False

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.play: Any = None
        self.play_vars: dict[str, Any] = {}

    def v2_playbook_on_start(self, playbook: Any) -> None:
        """Refuse what changes the plays, and unknown tags; put the environment right for all tasks."""
        names = changes_plays(os.environ)
        # Somebody else's hosts, unless the command line names an inventory.
        if "ANSIBLE_INVENTORY" in os.environ and list(context.CLIARGS["inventory"]) == constants.DEFAULT_HOST_LIST:
            names.append("ANSIBLE_INVENTORY")
        if names:
            told = " and ".join(f"{name} ({os.environ[name]!r})" for name in names)
            self._refuse(
                f"The environment has Ansible do another thing than these playbooks say, by {told}. Take it away: unset"
                f" {' '.join(names)}. Nothing was changed."
            )
        if configured := _of_files():
            told = " and ".join(f"{key} = {value} of {path}" for key, value, path in configured)
            self._refuse(
                f"Ansible's configuration has it do another thing than these playbooks say, by {told}. Run where it"
                " does not count, or name another file in ANSIBLE_CONFIG, an empty one will do. Nothing was changed."
            )
        settle()
        # An empty one stands for none.
        asked = [*filter(None, (*context.CLIARGS.get("tags", ()), *context.CLIARGS.get("skip_tags", ())))]
        plays = playbook.get_plays()
        steps = {str(tag) for play in plays for tag in play.tags}
        # A play's own tags are at hand; those of its tasks take a second to gather.
        if unknown_tags(asked, steps) and (unknown := unknown_tags(asked, steps | _tags_of_tasks(plays))):
            self._refuse(
                f"No step carries the tag {', '.join(unknown)}. There are: {', '.join(sorted(steps - SPECIAL_TAGS))}."
            )

    def v2_playbook_on_play_start(self, play: Any) -> None:
        """Keep the play, and what it says of itself."""
        self.play = play
        self.play_vars = play.get_vars()

    def v2_runner_on_start(self, host: Any, task: Any) -> None:
        """Look at the sandbox, and whether root can be had where it is needed, before a task does anything."""
        self._check_sandbox(host, task)
        if self._is_root_needed(host, task):
            variables = self.play.get_variable_manager().get_vars(play=self.play, host=host, task=task)
            self._check_password(variables, task.become_method)

    def _check_sandbox(self, host: Any, task: Any) -> None:
        """Take the lock of the sandbox and look whose it is, or refuse."""
        locks = self.play_vars.get("run_guard_lock", True) and not context.CLIARGS.get("check")
        asks = self.play_vars.get("run_guard_owner", True)
        if not (locks and CallbackModule.lock is None) and not (asks and not CallbackModule.owned):
            return
        # With the defaults of the task's role, which has the sandbox's name where the inventory has none.
        variables = self.play.get_variable_manager().get_vars(play=self.play, host=host, task=task)
        name = variables.get("sandbox_name")
        if name is None:
            return
        if locks and CallbackModule.lock is None:
            lock = hold(str(name))
            if isinstance(lock, Holder):
                self._refuse(lock.text(str(name)))
            CallbackModule.lock = lock
        # An inventory may have one of them, and leave the others to the role.
        if asks and not CallbackModule.owned and variables.keys() >= DIRECTORIES:
            self._check_owner(variables)
            CallbackModule.owned = True

    def _check_owner(self, variables: dict[str, Any]) -> None:
        """Refuse a sandbox of somebody else's; warn of one of another checkout."""
        templar = Templar(loader=self.play.get_loader(), variables=variables)

        def value(name: str) -> str:
            return str(templar.template(variables[name]))

        library = Path(value("sandbox_library_directory"))
        mine = owner.Owner(
            sandbox=value("sandbox_name"),
            uid=os.geteuid(),
            home=os.environ.get("HOME", ""),
            state=value("sandbox_state_directory"),
            checkout=str(Path(owner.__file__).resolve().parents[3]),
            inventories=tuple(map(os.path.realpath, variables.get("ansible_inventory_sources") or ())),
        )
        other = owner.standing(library, mine)
        takes_over = self.play_vars.get("run_guard_removes", False) and boolean(value("sandbox_take_over"))
        if other is not None and not takes_over:
            self._refuse(owner.refusal(other, mine))
        standing = owner.read(library)
        warning = owner.elsewhere(standing, mine) if standing is not None and other is None else ""
        if warning:
            self._display.warning(warning)

    def _is_root_needed(self, host: Any, task: Any) -> bool:
        """Tell whether a task becomes root on this computer; preflight tells with all else what keeps it from that."""
        if CallbackModule.may_become or os.geteuid() == 0 or self.play is None or task.become is not True:
            return False
        here = (task.delegate_to or host.name) == "localhost"
        return here and not task.get_name().startswith("cicd.sandbox.preflight : ")

    def _check_password(self, variables: Mapping[str, Any], method: str | None) -> None:
        CallbackModule.may_become = True
        asked = context.CLIARGS.get("become_ask_pass") or context.CLIARGS.get("become_password_file")
        known = {"ansible_become_password", "ansible_become_pass", "ansible_sudo_pass"} & set(variables)
        method = variables.get("ansible_become_method") or method or context.CLIARGS.get("become_method")
        if asked or known or constants.BECOME_PASSWORD_FILE or method not in {"sudo", "ansible.builtin.sudo"}:
            return
        # -k: a password that somebody typed into a terminal a while ago is not Ansible's.
        line = ["sudo", "-k", "-n", "true"]
        try:
            allowed = subprocess.run(line, check=False, capture_output=True, stdin=subprocess.DEVNULL).returncode == 0
        except OSError:
            allowed = False
        if not allowed:
            user = user_name(os.geteuid())
            self._refuse(
                f"This needs root, and sudo does not let {user} become it without a password. Add --ask-become-pass, or"
                " name a file that holds the password in ANSIBLE_BECOME_PASSWORD_FILE."
            )

    def _refuse(self, reason: str) -> NoReturn:
        self._display.error(reason, wrap_text=False)
        # An exception of a callback is only warned of.
        raise SystemExit(1)


def _of_files() -> list[tuple[str, object, str]]:
    """Return what files of configuration say that changes plays: key, value, path."""
    definitions = constants.config.get_configuration_definitions()
    said: dict[str, tuple[str, object, str]] = {}
    for setting, definition in definitions.items():
        names = CHANGES_PLAYS.keys() & {variable["name"] for variable in definition.get("env") or []}
        # Ansible makes a directory whenever it is asked where its temporary ones are.
        if not names:
            continue
        value, origin = constants.config.get_config_value_and_origin(setting)
        if Path(str(origin)).is_absolute():
            key = f"[{definition['ini'][0]['section']}] {definition['ini'][0]['key']}"
            said |= dict.fromkeys(names, (key, value, str(origin)))
    return [said[name] for name in configured_changes({name: value for name, (_, value, _) in said.items()})]


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
