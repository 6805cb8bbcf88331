# Copyright: cicd.sandbox contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What of a user's environment does not reach the sandbox: other clusters, other projects, proxies to own hosts.

Its standard library is all it needs: tests load it before the collection can be imported.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path

# Read by kubectl, helm and modules of kubernetes.core, in place of what their arguments say.
OTHER_CLUSTERS = ("HELM_", "K8S_AUTH_", "KUBE")
PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY")

# Where packages come from is the user's affair, what becomes of them is not.
_CLIENT_SETTINGS = re.compile(
    r"PIP_(CERT|CLIENT_CERT|CONFIG_FILE|DEFAULT_TIMEOUT|EXTRA_INDEX_URL|FIND_LINKS|INDEX_URL|KEYRING_PROVIDER|PROXY|RETRIES"
    r"|TIMEOUT|TRUSTED_HOST)"
    r"|(?i:NPM_CONFIG_(CA|CAFILE|GLOBALCONFIG|HTTPS_PROXY|NOPROXY|PROXY|REGISTRY|STRICT_SSL|USERCONFIG|_.*|.*:.*|FETCH_.*))"
    r"|GO(AUTH|ENV|INSECURE|NOPROXY|NOSUMDB|PRIVATE|PROXY|SUMDB|VCS)"
    r"|NODE_EXTRA_CA_CERTS"
)
# Settings of another project's shells, interpreters, package managers, checkout and builds.
_OTHER_PROJECTS = re.compile(
    r"BASH_ENV|CDPATH|ENV|GLOBIGNORE|GREP_OPTIONS|POSIXLY_CORRECT|TAR_OPTIONS"
    r"|PYTHON.+|PYTEST_ADDOPTS|PYTEST_PLUGINS"
    r"|PIP_.+|(?i:NPM_CONFIG_.+)|NODE_.+"
    r"|GIT_(ALTERNATE_OBJECT_DIRECTORIES|COMMON_DIR|DIR|INDEX_FILE|NAMESPACE|OBJECT_DIRECTORY|PREFIX|WORK_TREE)"
    r"|GO[A-Z0-9]+|CGO_.+"
    r"|BUILDAH_.+|CONTAINERS_STORAGE_CONF|STORAGE_DRIVER|STORAGE_OPTS"
    r"|SYSTEMD_(LOG|NSPAWN|PAGER|SECCOMP)\w*"
    # In the language that programs read here.
    r"|LANG|LANGUAGE|LC_.+"
)
# As Debian's root has it.
_SYSTEM_PATH = ("/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin")
LOCALE = "C.UTF-8"
UMASK = 0o022

# With these, playbooks do another thing than they say, and Ansible has read them before anything could take them away.
# Variable → values that change nothing, in small letters.
_NO = {"0", "false", "f", "n", "no", "off"}
CHANGES_PLAYS = {
    "ANSIBLE_ANY_ERRORS_FATAL": _NO,
    "ANSIBLE_BECOME": _NO,
    "ANSIBLE_BECOME_USER": {"root"},
    "ANSIBLE_EXECUTABLE": {"/bin/sh", "/usr/bin/sh", "/bin/bash", "/usr/bin/bash", "/bin/dash", "/usr/bin/dash"},
    "ANSIBLE_HASH_BEHAVIOUR": {"replace"},
    "ANSIBLE_PLAYBOOK_VARS_ROOT": {"top"},
    "ANSIBLE_PRECEDENCE": set(),
    "ANSIBLE_PRIVATE_ROLE_VARS": _NO,
    "ANSIBLE_RUN_TAGS": {"all"},
    "ANSIBLE_RUN_VARS_PLUGINS": {"demand"},
    "ANSIBLE_SKIP_TAGS": set(),
    "ANSIBLE_STRATEGY": {"linear", "ansible.builtin.linear"},
    "ANSIBLE_TASK_TIMEOUT": {"0"},
    # sops' plugin comes after the one that reads its files as they are.
    "ANSIBLE_VARS_ENABLED": {
        f"{first}{more}"
        for first in ("host_group_vars", "ansible.builtin.host_group_vars")
        for more in ("", ",cicd.sandbox.sops", ",community.sops.sops")
    },
}
# A user's passwords, way to hosts and wishes of what is shown; what else there is for Ansible is another project's.
_USERS_OWN = re.compile(
    r"ANSIBLE_(ASK_(PASS|VAULT_PASS)|BECOME_(ASK_PASS|EXE|FLAGS|METHOD|PASSWORD_FILE)|CONFIG|CONNECTION_PASSWORD_FILE"
    r"|DEBUG|DIFF_\w+|FORCE_COLOR|FORKS|HOME|HOST_KEY_CHECKING|KEEP_REMOTE_FILES|LOG_\w+|NOCOLOR|PRIVATE_KEY_FILE"
    r"|REMOTE_USER|SSH_\w+|TIMEOUT|VAULT_\w+|VERBOSITY)"
)


def changes_plays(environment: Mapping[str, str]) -> list[str]:
    """Return the names of Ansible's variables with which these playbooks would do another thing than they say."""
    return [name for name in CHANGES_PLAYS if name in environment and not _is_harmless(name, environment[name])]


def configured_changes(settings: Mapping[str, object]) -> list[str]:
    """Return the same of what a file of Ansible's configuration says: variable that says it, too → value, as read."""
    return [name for name in CHANGES_PLAYS if name in settings and not _is_harmless(name, settings[name])]


def _is_harmless(name: str, value: object) -> bool:
    words = ",".join(map(str, value)) if isinstance(value, list) else str(value).strip()
    return words.lower() in CHANGES_PLAYS[name] or (isinstance(value, list) and not any(value))


def tidied(environment: Mapping[str, str], *, plays: bool = False) -> dict[str, str]:
    """Return an environment without what is another project's: its interpreters, package managers, checkout, language.

    plays: without what is other plays' of Ansible's, too; for who starts Ansible.
    """
    kept = {
        name: value
        for name, value in environment.items()
        if (_CLIENT_SETTINGS.fullmatch(name) or not _OTHER_PROJECTS.fullmatch(name))
        and not (plays and name.startswith("ANSIBLE_") and not _USERS_OWN.fullmatch(name))
        and not (name in {"TEMP", "TMP", "TMPDIR"} and not _is_usable(value))
    }
    path = [folder for folder in kept.get("PATH", "").split(os.pathsep) if folder.startswith("/")]
    missing = [folder for folder in _SYSTEM_PATH if folder not in path]
    # What a file of pip's says of this is stronger than nothing, and weaker than the environment.
    return {**kept, "PATH": os.pathsep.join([*path, *missing]), "LC_ALL": LOCALE, "PIP_USER": "0"}


def settle() -> None:
    """Have this process, and all that it starts, work alike for everybody: permissions of files, language, settings."""
    os.umask(UMASK)
    wanted = tidied(os.environ)
    for name in set(os.environ) - set(wanted):
        del os.environ[name]
    os.environ.update(wanted)


def _is_usable(folder: str) -> bool:
    return folder.startswith("/") and Path(folder).is_dir() and os.access(folder, os.W_OK | os.X_OK)


def names_another_cluster(name: str) -> bool:
    """Tell whether a variable speaks of other clusters, or of plug-ins of the user's own."""
    return name.startswith(OTHER_CLUSTERS)


def names_a_proxy(name: str) -> bool:
    """Tell whether a variable speaks of proxies; programs take the one spelling or the other."""
    return name.upper() in PROXIES


def for_own_hosts(environment: Mapping[str, str]) -> dict[str, str]:
    """Return the environment of a program that talks to nothing but the sandbox's own hosts."""
    return {
        name: value
        for name, value in environment.items()
        if not names_another_cluster(name) and not names_a_proxy(name)
    }


def for_downloads(environment: Mapping[str, str]) -> dict[str, str]:
    """Return the variables of proxies, in both spellings: some programs know only the one or the other.

    ALL_PROXY, which most programs do not know, stands for those that are not given.
    """
    given = {name: environment.get(name.lower()) or environment.get(name) or "" for name in PROXIES}
    everything = given.pop("ALL_PROXY")
    for name in ("HTTP_PROXY", "HTTPS_PROXY"):
        given[name] = given[name] or everything
    return {spelling: value for name, value in given.items() if value for spelling in (name, name.lower())}
