# Copyright: cicd.sandbox contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tasks that have a secret in their hands log nothing: who records a run gets neither arguments nor results of them.

A secret is what a lookup reads from a file of keys, passwords and tokens, or makes; what has such a thing in it, be it
a variable, a template, a fact or what a task registers; and a private key that a module makes.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml
from checkout import REPOSITORY, load

# What is in such a file is secret; its path is not. Values of charts name Secrets, and have none in them; nor has
# what is called after External Secrets, or the role secrets_store.
SECRET_NAME = r"password|token|(?<!external_)secret(?!s_store_)"
SECRET_PATH = rf"[.](?:key|pem)\b|_key_file\b|-key\b|{SECRET_NAME}|admin[.]conf|kubelet_kubeconfig|kubelet_pki"
SOURCES = [
    re.compile(r"(?:lookup|query)\(\s*'ansible\.builtin\.password'"),
    re.compile(
        rf"(?:lookup|query)\(\s*'ansible\.builtin\.(?:file|unvault|pipe|env|url)',(?!\s*'values/)[^)]*(?:{SECRET_PATH})"
    ),
]
# Modules that make a private key, whatever they are given.
KEY_MAKERS = {
    "community.crypto.openssl_privatekey",
    "community.crypto.openssh_keypair",
    "community.crypto.openssl_pkcs12",
}
# What these register has the content of a file, or of what was said to a command.
TELLERS = {"ansible.builtin.slurp", "ansible.builtin.command", "ansible.builtin.set_fact"}
# What these do to a file is in their result, and with --diff on the terminal.
WRITERS = {
    f"ansible.builtin.{name}" for name in ("assemble", "blockinfile", "copy", "lineinfile", "replace", "template")
}
# They hand on, and do nothing.
INCLUDES = {
    f"ansible.builtin.{name}"
    for name in ("import_playbook", "import_role", "import_tasks", "include_role", "include_tasks")
}
# Of a task: not what it is called, and not what is asked before or after it.
KEYWORDS = {
    "name",
    "when",
    "register",
    "changed_when",
    "failed_when",
    "until",
    "tags",
    "notify",
    "no_log",
    "become",
    "delegate_to",
}
# Got by the same lookups as secrets are, and shown to everybody: which cluster of etcd a member belongs to, and what
# the key is called that Secrets are encrypted with.
IDENTITIES = {
    "__cluster_encryption_key_name",
    "__etcd_marker",
    "__etcd_marker_token",
    "__etcd_new_marker",
    "__etcd_new_token",
    "__etcd_restored_token",
}


def text(value: Any) -> str:
    return yaml.safe_dump(value, width=10**6) if not isinstance(value, str) else value


def tasks_in(entries: Any, quiet: bool = False) -> Iterator[dict[str, Any]]:
    """Give the tasks of a file or a play, those of blocks too; a block's no_log is its tasks'."""
    for entry in entries or []:
        if not isinstance(entry, dict):
            continue
        silent = entry.get("no_log", quiet)
        parts = [
            part
            for part in ("block", "rescue", "always", "tasks", "pre_tasks", "post_tasks", "handlers")
            if part in entry
        ]
        for part in parts:
            yield from tasks_in(entry[part], silent)
        if not parts:
            yield {**entry, "no_log": silent}


def module_of(task: dict[str, Any]) -> str:
    return next((key for key in task if "." in key), "")


@cache
def templates() -> dict[str, str]:
    """What templates say, by the names that tasks have for them."""
    found = {}
    for path in REPOSITORY.glob("roles/*/templates/**/*.j2"):
        # The configuration of kubeadm has a token for the one start of a node, in a file that is removed.
        said = re.sub(r"{% if __cluster_with_token.*?{% endif %}", "", path.read_text(), flags=re.DOTALL)
        found[str(path.relative_to(REPOSITORY / "roles")).split("/templates/")[1]] = said
    return found


def template_names(said: str) -> Iterator[str]:
    for name in re.findall(r"[\w./{} -]+\.j2", said):
        # kubeadm/{{ start }}.yml.j2 is any of them.
        pattern = re.sub(r"\\\{\\\{.*?\\\}\\\}", ".*", re.escape(name.strip()))
        yield from (known for known in templates() if re.fullmatch(pattern, known))


class Secrets:
    """Which variables have a secret in them."""

    def __init__(self, variables: dict[str, list[str]], known: frozenset[str] = frozenset()) -> None:
        self.names = set(known)
        while found := {
            name
            for name, texts in variables.items()
            if name not in self.names | IDENTITIES and any(self.within(said) for said in texts)
        }:
            self.names |= found

    def within(self, said: str, seen: frozenset[str] = frozenset()) -> bool:
        """Tell whether an expression, or a template that it names, has a secret in it."""
        # The public half of a key stands beside it.
        said = said.replace("_key_file | regex_replace('key$', 'pub')", "_public_file")
        # The sum of a long random password tells nobody the password, and stands in the gateway's settings.
        said = re.sub(r"lookup\('ansible\.builtin\.password',[^)]*\)\s*\| cicd\.sandbox\.htpasswd", "_sum", said)
        if any(source.search(said) for source in SOURCES):
            return True
        if self.names.intersection(re.findall(r"\b[a-z_]\w*\b", said)):
            return True
        return any(self.within(templates()[name], seen | {name}) for name in template_names(said) if name not in seen)

    def handled_by(self, task: dict[str, Any]) -> bool:
        """Tell whether a recorder would find a secret in what the task is given or gives."""
        module = module_of(task)
        if module in INCLUDES or not module:
            return False
        given = text(task[module])
        if module in KEY_MAKERS or (module in WRITERS and re.search(SECRET_PATH, given)):
            return True
        rest = {key: value for key, value in task.items() if key not in KEYWORDS and key != module}
        # A variable of the task alone is seen where the task says its name.
        own = {
            name for name, value in rest.pop("vars", {}).items() if self.within(text(value)) and name not in IDENTITIES
        }
        if own.intersection(re.findall(r"\b[a-z_]\w*\b", given)) or self.within(text(rest)):
            return True
        return self.within(given)


@cache
def repository_tasks() -> list[tuple[Path, dict[str, Any]]]:
    patterns = [
        "roles/*/tasks/**/*.yml",
        "roles/*/handlers/*.yml",
        "playbooks/*.yml",
        "molecule/*/*.yml",
        "molecule/*/tasks/*.yml",
    ]
    return [
        (path.relative_to(REPOSITORY), task)
        for pattern in patterns
        for path in sorted(REPOSITORY.glob(pattern))
        if isinstance(content := load(path), list)
        for task in tasks_in(content)
    ]


def variables_of(tasks: list[dict[str, Any]]) -> dict[str, list[str]]:
    """Give what is said of facts, of variables of tasks, and of what tasks register."""
    variables: dict[str, list[str]] = {}
    for task in tasks:
        module = module_of(task)
        said = {**(task.get("vars") or {}), **(task[module] if module == "ansible.builtin.set_fact" else {})}
        if "register" in task and module in TELLERS:
            given = text(task[module]).strip()
            said[task["register"]] = f"lookup('ansible.builtin.file', '{given})" if module.endswith(".slurp") else given
        for name, value in said.items():
            variables.setdefault(name, []).append(text(value))
    return variables


@cache
def known() -> Secrets:
    """Give the secrets of roles, inventories and scenarios."""
    variables = variables_of([task for _, task in repository_tasks()])
    patterns = [
        "roles/*/vars/**/*.yml",
        "roles/*/defaults/*.yml",
        "inventories/*/group_vars/**/*.yml",
        "molecule/**/group_vars/**/*.yml",
    ]
    for path in (path for pattern in patterns for path in REPOSITORY.glob(pattern)):
        for name, value in (load(path) or {}).items():
            variables.setdefault(name, []).append(text(value))
    return Secrets(variables)


def careless(tasks: list[dict[str, Any]]) -> list[str]:
    given = list(tasks_in(tasks))
    found = Secrets(variables_of(given), frozenset(known().names))
    return [task["name"] for task in given if task["no_log"] is not True and found.handled_by(task)]


def test_no_task_lets_a_recorder_see_a_secret() -> None:
    assert [
        f"{path}: {task.get('name')}"
        for path, task in repository_tasks()
        if task["no_log"] is not True and known().handled_by(task)
    ] == []


def test_the_secrets_that_there_are_have_been_found() -> None:
    """Where this is wrong, the test above looks for nothing."""
    assert {
        "__cluster_admin",
        "__cluster_control_plane_keys",
        "__cluster_join_token",
        "__cluster_registry_files",
        "__cluster_registry_password",
        "__registry_password",
    } <= known().names
    paths = {"__cluster_service_account_key_file", "__cluster_control_plane_files", "sandbox_kubeconfig"}
    assert not paths & known().names
    assert len({task.get("name") for _, task in repository_tasks() if known().handled_by(task)}) >= 15


def task(module: str, arguments: Any, **keywords: Any) -> dict[str, Any]:
    return {"name": "a", module: arguments, **keywords}


CONTENT = "{{ lookup('ansible.builtin.file', pki ~ '/ca.%s') }}"
PASSWORD = "{{ lookup('ansible.builtin.password', '/x') }}"
COPY, DEBUG, SLURP, FACT = (f"ansible.builtin.{name}" for name in ("copy", "debug", "slurp", "set_fact"))
QUIET = {"name": "q", "no_log": True}


@pytest.mark.parametrize(
    "tasks",
    [
        [task(COPY, {"dest": "/etc/x", "content": CONTENT % "key"})],
        [task(DEBUG, {"msg": "{{ word }}"}, vars={"word": PASSWORD})],
        [task(FACT, {"word": PASSWORD})],
        [
            {**QUIET, SLURP: {"src": "/etc/kubernetes/admin.conf"}, "register": "it"},
            task(COPY, {"dest": "x", "content": "{{ it.content | b64decode }}"}),
        ],
        [task(DEBUG, {"msg": "{{ item }}"}, loop=["{{ password }}"]), {**QUIET, FACT: {"password": PASSWORD}}],
        [task("community.crypto.openssl_privatekey", {"path": "/x"})],
        [task("ansible.builtin.template", {"src": "containerd/hosts.toml.j2", "dest": "/x"})],
        [task("cicd.sandbox.text_files", {"files": [{"path": "/x", "src": "kubernetes/encryption.yml.j2"}]})],
        [task("cicd.sandbox.text_files", {"files": "{{ __cluster_control_plane_keys }}"})],
        [{"block": [task("ansible.builtin.command", {"argv": ["x"], "stdin": "{{ __registry_password }}"})]}],
        [task("ansible.builtin.replace", {"path": "/etc/x.key", "regexp": "a", "replace": "b"})],
    ],
)
def test_a_careless_task_is_found(tasks: list[dict[str, Any]]) -> None:
    assert careless(tasks) == ["a"]


@pytest.mark.parametrize(
    "tasks",
    [
        [task("ansible.builtin.file", {"path": "{{ sandbox_secrets_directory }}", "state": "directory"})],
        [task(COPY, {"dest": "/x", "content": CONTENT % "crt"})],
        [{**QUIET, "block": [task(DEBUG, {"msg": "{{ __registry_password }}"})]}],
        [task(DEBUG, {"msg": "hello"}, when="__registry_password != ''")],
        [task("ansible.builtin.include_tasks", "x.yml", vars={"word": "{{ __registry_password }}"})],
    ],
)
def test_a_task_without_a_secret_is_let_be(tasks: list[dict[str, Any]]) -> None:
    assert careless(tasks) == []
