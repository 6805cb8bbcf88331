# Copyright: cicd.sandbox contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""One run at a time for a sandbox, and no tags that nothing carries."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
import uuid
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from ansible import context
from ansible.utils.context_objects import CLIArgs
from ansible_collections.cicd.sandbox.plugins.callback.run_guard import CallbackModule
from ansible_collections.cicd.sandbox.plugins.module_utils.host.environment import changes_plays
from ansible_collections.cicd.sandbox.plugins.module_utils.runs import guard
from ansible_collections.cicd.sandbox.plugins.module_utils.runs.guard import Holder, hold, unknown_tags
from ansible_collections.cicd.sandbox.plugins.module_utils.runs.owner import Owner, claim
from checkout import REPOSITORY, load

PLAYBOOK = """
- hosts: localhost
  gather_facts: false
  tags: [step]
  tasks:
    - ansible.builtin.debug: {msg: it ran}
      tags: [detail]
"""
# As of teardown and the snapshots: nothing but an included role knows of the sandbox.
INCLUDES = """
- hosts: localhost
  gather_facts: false
  tasks:
    - block:
        - ansible.builtin.include_role: {name: "%s", tasks_from: main}
"""
HOLD_AND_WAIT = """
import importlib.util, signal, sys
spec = importlib.util.spec_from_file_location("guard", sys.argv[1])
guard = sys.modules["guard"] = importlib.util.module_from_spec(spec)
spec.loader.exec_module(guard)
lock = guard.hold(sys.argv[2])
print("held", flush=True)
signal.pause()
"""


@pytest.fixture
def sandbox() -> str:
    """Give a name that nobody else uses: the lock is the whole machine's."""
    return f"t-{uuid.uuid4().hex[:12]}"


def test_lock_is_free_again_when_it_is_closed(sandbox: str) -> None:
    first = hold(sandbox)
    assert not isinstance(first, Holder)
    assert isinstance(hold(sandbox), Holder)
    first.close()
    second = hold(sandbox)
    assert not isinstance(second, Holder)
    second.close()


def test_sandboxes_do_not_share_a_lock(sandbox: str) -> None:
    first, second = hold(sandbox), hold(f"{sandbox}-other")
    assert not isinstance(first, Holder)
    assert not isinstance(second, Holder)
    first.close()
    second.close()


def test_holder_is_named_and_its_end_frees_the_lock(sandbox: str) -> None:
    before = time.time()
    command = [sys.executable, "-c", HOLD_AND_WAIT, guard.__file__, sandbox]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        # More questions than the socket's backlog holds: none of them may wait.
        found = [hold(sandbox) for _ in range(4)]
        holder.send_signal(signal.SIGKILL)
        holder.wait()
    first = found[0]
    assert isinstance(first, Holder)
    assert first.pid == holder.pid
    assert first.user == "root" or os.geteuid() != 0
    assert first.since == pytest.approx(before, abs=5)
    assert sandbox in first.command
    assert all(isinstance(answer, Holder) for answer in found)

    again = hold(sandbox)
    assert not isinstance(again, Holder)
    again.close()


def test_refusal_says_who_and_what_to_do() -> None:
    text = Holder(17, "jo", "ansible-playbook site.yml", 0).text("dev")
    assert "sandbox dev: process 17 of jo, 'ansible-playbook site.yml'" in text
    assert "Nothing was changed" in text


def test_tags_of_ansible_itself_are_known() -> None:
    assert unknown_tags(["all", "tagged", "etcd", "ectd"], ["etcd"]) == ["ectd"]


def play(
    folder: Path,
    sandbox: str | None,
    *arguments: str,
    playbook: str = PLAYBOOK,
    variables: dict[str, Any] | None = None,
) -> subprocess.CompletedProcess[str]:
    (folder / "site.yml").write_text(playbook, encoding="utf-8")
    inventory = folder / "hosts.yml"
    hosts: dict[str, Any] = {"all": {"hosts": {"localhost": {"ansible_connection": "local"}}}}
    if sandbox is not None:
        hosts["all"]["vars"] = {"sandbox_name": sandbox} | (variables or {})
    inventory.write_text(json.dumps(hosts), encoding="utf-8")
    command = ["ansible-playbook", str(folder / "site.yml"), "-i", str(inventory), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, cwd=folder)


def test_second_run_is_refused_before_its_first_task(tmp_path: Path, sandbox: str) -> None:
    lock = hold(sandbox)
    assert not isinstance(lock, Holder)
    with lock:
        refused = play(tmp_path, sandbox)
        assert refused.returncode == 1
        assert f"Another run works on the sandbox {sandbox}" in refused.stderr
        assert f"process {os.getpid()} of" in refused.stderr
        assert "it ran" not in refused.stdout

        assert "it ran" in play(tmp_path, sandbox, "--check").stdout
        assert "it ran" in play(tmp_path, sandbox, playbook=PLAYBOOK + "  vars: {run_guard_lock: false}\n").stdout
    assert "it ran" in play(tmp_path, sandbox).stdout


def test_a_sandbox_that_no_inventory_names_has_a_lock_too(
    tmp_path: Path, sandbox: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its name is the default of role sandbox then, which a play that only includes roles does not know."""
    collection = tmp_path / "collections/ansible_collections/cicd/sandbox"
    shutil.copytree(REPOSITORY / "roles/sandbox", collection / "roles/sandbox")
    for name in ("galaxy.yml", "meta", "plugins"):
        (collection / name).symlink_to(REPOSITORY / name)
    defaults = collection / "roles/sandbox/defaults/main.yml"
    defaults.write_text(f"sandbox_name: {sandbox}\n", encoding="utf-8")
    foreign = tmp_path / "roles/foreign/tasks/main.yml"
    foreign.parent.mkdir(parents=True)
    foreign.write_text("- ansible.builtin.debug: {msg: it ran}\n", encoding="utf-8")
    monkeypatch.setenv("ANSIBLE_COLLECTIONS_PATH", str(tmp_path / "collections"))

    lock = hold(sandbox)
    assert not isinstance(lock, Holder)
    with lock:
        refused = play(tmp_path, None, playbook=INCLUDES % "cicd.sandbox.sandbox")
        assert refused.returncode == 1
        assert f"Another run works on the sandbox {sandbox}" in refused.stderr
        assert "it ran" in play(tmp_path, None, playbook=INCLUDES % "foreign").stdout
    assert "Another run" not in play(tmp_path, None, playbook=INCLUDES % "cicd.sandbox.sandbox").stderr


class TestOwner:
    """Somebody else's sandbox, which is told before the first task, whatever the tags are."""

    @pytest.fixture
    def variables(self, tmp_path: Path, sandbox: str) -> dict[str, Any]:
        """A sandbox of somebody else's, described as an inventory describes it."""
        library = tmp_path / "lib" / sandbox
        mine = {
            "sandbox_name": sandbox,
            "sandbox_library_directory": f"{tmp_path}/lib/{{{{ sandbox_name }}}}",
            "sandbox_state_directory": "{{ lookup('ansible.builtin.env', 'HOME') }}/state",
            "sandbox_take_over": False,
        }
        theirs = Owner(sandbox, os.geteuid(), "/home/jo", "/home/jo/state", "/home/jo/cicd", ("/home/jo/dev",))
        claim(library, theirs, dry_run=False)
        return mine

    def test_is_refused(self, tmp_path: Path, sandbox: str, variables: dict[str, Any]) -> None:
        for arguments in ((), ("--check",), ("--tags", "detail")):
            refused = play(tmp_path, sandbox, *arguments, variables=variables)
            assert refused.returncode == 1
            assert f"The sandbox {sandbox} of this machine is somebody else's" in refused.stderr
            assert "from /home/jo/cicd; its keys are in /home/jo/state" in refused.stderr
            assert "it ran" not in refused.stdout
        looks = play(tmp_path, sandbox, playbook=PLAYBOOK + "  vars: {run_guard_lock: false}\n", variables=variables)
        assert looks.returncode == 1
        unasked = PLAYBOOK + "  vars: {run_guard_owner: false}\n"
        assert "it ran" in play(tmp_path, sandbox, playbook=unasked, variables=variables).stdout

    def test_is_refused_where_only_a_role_knows_the_rest(
        self, tmp_path: Path, sandbox: str, variables: dict[str, Any]
    ) -> None:
        known = {"sandbox_library_directory": variables["sandbox_library_directory"]}
        includes = INCLUDES % "cicd.sandbox.sandbox"
        refused = play(tmp_path, sandbox, playbook=includes.replace("main}", "cluster}"), variables=known)
        assert refused.returncode == 1
        assert f"The sandbox {sandbox} of this machine is somebody else's" in refused.stderr
        assert "dispatch" not in refused.stderr

    def test_is_removed_where_its_owner_is_gone(self, tmp_path: Path, sandbox: str, variables: dict[str, Any]) -> None:
        removes = PLAYBOOK + "  vars: {run_guard_removes: true}\n"
        assert play(tmp_path, sandbox, playbook=removes, variables=variables).returncode == 1
        taken = variables | {"sandbox_take_over": True}
        assert play(tmp_path, sandbox, variables=taken).returncode == 1
        assert "it ran" in play(tmp_path, sandbox, playbook=removes, variables=taken).stdout

    def test_of_another_checkout_is_warned_of(
        self, tmp_path: Path, sandbox: str, variables: dict[str, Any], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("HOME", "/home/jo")
        monkeypatch.setenv("ANSIBLE_LOCAL_TEMP", str(tmp_path / "tmp"))
        ran = play(tmp_path, sandbox, variables=variables | {"ansible_remote_tmp": str(tmp_path / "tmp")})
        assert "it ran" in ran.stdout
        assert f"The sandbox {sandbox} was made from /home/jo/cicd with /home/jo/dev on" in " ".join(ran.stderr.split())


def test_unknown_tag_is_refused(tmp_path: Path, sandbox: str) -> None:
    refused = play(tmp_path, sandbox, "--tags", "detail,stepp")
    assert refused.returncode == 1
    assert "No step carries the tag stepp. There are: step." in refused.stderr
    assert play(tmp_path, sandbox, "--skip-tags", "setp").returncode == 1
    assert "it ran" in play(tmp_path, sandbox, "--tags", "detail").stdout


def test_molecules_own_tags_are_not_unknown() -> None:
    assert unknown_tags(["molecule-idempotence-notest", "molecule-notest", "notest", "setp"], ["step"]) == ["setp"]


@pytest.mark.parametrize("name", ["open", "status", "tools"])
def test_who_only_looks_takes_no_lock(name: str) -> None:
    """Imported playbooks are given it by their import."""
    plays = load(REPOSITORY / f"playbooks/{name}.yml")
    assert [play["name"] for play in plays if play.get("vars", {}).get("run_guard_lock") is not False] == []


def test_an_environment_that_changes_what_plays_do_is_refused_by_name(
    tmp_path: Path, sandbox: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in (
        ("BECOME", "True"),
        ("STRATEGY", "free"),
        ("HASH_BEHAVIOUR", "replace"),
        ("SKIP_TAGS", "detail"),
    ):
        monkeypatch.setenv(f"ANSIBLE_{name}", value)
    refused = play(tmp_path, sandbox)
    assert (refused.returncode, "it ran" in refused.stdout) == (1, False)
    told = "by ANSIBLE_BECOME ('True') and ANSIBLE_SKIP_TAGS ('detail') and ANSIBLE_STRATEGY ('free')."
    assert f"{told} Take it away: unset ANSIBLE_BECOME ANSIBLE_SKIP_TAGS ANSIBLE_STRATEGY." in refused.stderr


def test_a_configuration_that_changes_what_plays_do_is_refused_by_name(
    tmp_path: Path, sandbox: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Such as that of another project, in whose directory somebody stands or which the environment names."""
    theirs = tmp_path / "their ansible.cfg"
    paths = f"collections_path = {REPOSITORY}/.collections\ncallbacks_enabled = cicd.sandbox.run_guard\n"
    theirs.write_text(f"[defaults]\n{paths}strategy = free\n[privilege_escalation]\nbecome = yes\n")
    monkeypatch.setenv("ANSIBLE_CONFIG", str(theirs))
    refused = play(tmp_path, sandbox)
    assert (refused.returncode, "it ran" in refused.stdout) == (1, False)
    told = f"by [privilege_escalation] become = True of {theirs} and [defaults] strategy = free of {theirs}."
    assert told in refused.stderr
    theirs.write_text(f"[defaults]\n{paths}forks = 3\nstrategy = linear\n[tags]\nskip =\n")
    assert "it ran" in play(tmp_path, sandbox).stdout
    # Asked for another setting, Ansible would have made a directory with the name of a template.
    assert {path.name for path in tmp_path.iterdir()} == {theirs.name, "hosts.yml", "site.yml"}


@pytest.mark.parametrize(
    ("name", "value", "wrong"),
    [
        ("BECOME", "no", False),
        ("BECOME_USER", "jenkins", True),
        ("BECOME_USER", "root", False),
        ("HASH_BEHAVIOUR", "merge", True),
        ("PRIVATE_ROLE_VARS", "1", True),
        ("RUN_TAGS", "apps", True),
        ("STRATEGY", "linear", False),
        ("TASK_TIMEOUT", "10", True),
        ("TASK_TIMEOUT", "0", False),
        ("VARS_ENABLED", "somebody.else.vars", True),
        ("VARS_ENABLED", "host_group_vars,cicd.sandbox.sops", False),
        ("VARS_ENABLED", "cicd.sandbox.sops,host_group_vars", True),
        ("EXECUTABLE", "/usr/bin/fish", True),
        ("EXECUTABLE", "/bin/bash", False),
        ("SSH_ARGS", "-C", False),
    ],
)
def test_an_environment_that_changes_nothing_is_not(name: str, value: str, wrong: bool) -> None:
    assert changes_plays({f"ANSIBLE_{name}": value}) == [f"ANSIBLE_{name}"] * wrong


def test_hosts_that_only_the_environment_names_are_not_worked_on(
    tmp_path: Path, sandbox: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert play(tmp_path, sandbox).returncode == 0
    monkeypatch.setenv("ANSIBLE_INVENTORY", str(tmp_path / "hosts.yml"))
    line = ["ansible-playbook", str(tmp_path / "site.yml")]
    refused = subprocess.run(line, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert (refused.returncode, "it ran" in refused.stdout) == (1, False)
    assert "Take it away: unset ANSIBLE_INVENTORY." in refused.stderr


SETTLED = """
- hosts: localhost
  gather_facts: false
  tasks:
    - ansible.builtin.shell: umask; env; mkdir "{{ playbook_dir }}/made"
      register: shown
    - ansible.builtin.debug: {var: shown.stdout_lines}
"""


def test_tasks_work_alike_whatever_the_environment(
    tmp_path: Path, sandbox: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    foreign = {
        "GIT_DIR": "/nonexistent",
        "NPM_CONFIG_PREFIX": "/nonexistent",
        "CDPATH": "/",
        "LC_MESSAGES": "de_DE.UTF-8",
    }
    for name, value in foreign.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("KEPT", "it is")
    before = os.umask(0o077)
    try:
        shown = play(tmp_path, sandbox, playbook=SETTLED).stdout
    finally:
        os.umask(before)
    assert "- '0022'" in shown
    assert "KEPT=it is" in shown
    assert "LC_ALL=C.UTF-8" in shown
    assert [name for name in foreign if f"{name}=" in shown] == []
    assert (tmp_path / "made").stat().st_mode & 0o777 == 0o755


class RefusedError(Exception):
    """What the guard says."""


@pytest.fixture
def become(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Start a task as a user whom sudo asks for a password, but in the terminal where it was given."""
    sudo = tmp_path / "bin/sudo"
    sudo.parent.mkdir()
    sudo.write_text('#!/bin/sh\ncase " $* " in *" -k "*) exit 1 ;; esac\n')
    sudo.chmod(0o755)
    monkeypatch.setenv("PATH", f"{sudo.parent}:{os.environ['PATH']}")
    monkeypatch.setattr(os, "geteuid", lambda: 12345)
    monkeypatch.setattr(CallbackModule, "may_become", False)

    def refuse(_self: object, reason: str) -> None:
        raise RefusedError(reason)

    monkeypatch.setattr(CallbackModule, "_refuse", refuse)

    def start(
        host: str = "localhost",
        *,
        role: str = "machines",
        delegate_to: str | None = None,
        become: bool = True,
        variables: dict[str, Any] | None = None,
        **arguments: Any,
    ) -> None:
        monkeypatch.setattr(context, "CLIARGS", CLIArgs({"become_method": "sudo", "check": True, **arguments}))
        manager = SimpleNamespace(get_vars=lambda **_: variables or {})
        callback = CallbackModule()
        callback.v2_playbook_on_play_start(SimpleNamespace(get_vars=dict, get_variable_manager=lambda: manager))
        name = f"cicd.sandbox.{role} : Do it"
        task = SimpleNamespace(become=become, become_method=None, delegate_to=delegate_to, get_name=lambda: name)
        callback.v2_runner_on_start(SimpleNamespace(name=host), task)

    return start


def test_a_password_that_ansible_was_not_given_is_said_before_root_is_needed(become: Any) -> None:
    said = "sudo does not let 12345 become it without a password. Add --ask-become-pass"
    with pytest.raises(RefusedError, match=said):
        become()


def test_so_it_is_for_what_a_host_has_done_on_the_controller(become: Any) -> None:
    with pytest.raises(RefusedError, match="This needs root"):
        become("cp-1", delegate_to="localhost")


@pytest.mark.parametrize(
    "allowed",
    [
        {"become": False},
        {"host": "cp-1"},
        # It tells with all else that it finds.
        {"role": "preflight"},
        {"become_ask_pass": True},
        {"become_password_file": "/secret"},
        {"variables": {"ansible_become_password": "secret"}},
        {"become_method": "community.general.doas"},
    ],
    ids=str,
)
def test_a_password_is_not_asked_for_where_there_is_one_or_none_is_needed(become: Any, allowed: dict[str, Any]) -> None:
    become(**allowed)
