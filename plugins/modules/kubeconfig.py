# Copyright: cicd.sandbox contributors
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: kubeconfig
short_description: Merge a context into a kubeconfig file, or take it out again
version_added: 0.1.0
author:
  - cicd.sandbox contributors
description:
  - Puts a context with its cluster and user into a kubeconfig file such as C(~/.kube/config), and takes them out again.
  - Everybody else's entries, their order, unknown fields and the spelling of every value stay as they are.
    Comments do not, as with every write of C(kubectl); O(backup) keeps the file as it was.
  - The file is locked in the way C(kubectl) locks it (C(<path>.lock)) and replaced in one step.
    Symbolic links are followed, also those of directories above it. The owner stays.
  - Refused, with file and line, is what can't be changed without a loss, such as a key or a name that is there twice,
    several YAML documents, or a path that leads to something else than a file. So is a file that
    can't be written or whose lock stays held; check mode says that, too.
  - With O(state=present) the file holds credentials, so group and others lose their rights to it and to a backup;
    a new file has mode C(0600). With O(state=absent) the mode stays.
  - Entries are marked with O(managed_by) in an extension named C(cicd.sandbox). An entry of the same name without that
    mark is somebody else's, and is neither overwritten nor removed.
options:
  path:
    description:
      - The kubeconfig file. A missing or an empty one is fine.
      - Defaults to C(~/.kube/config) where O(paths) is not given either.
    type: path
  paths:
    description:
      - Files that E(KUBECONFIG) names, in its order, in place of O(path). The one that has an entry of O(managed_by)
        is meant, or else the one that C(kubectl) would write a new context to, which is the first that exists, or else
        the last.
      - An entry of the same name in another one of them, which hides ours or is hidden by it, is refused as in the file
        itself. A current context that another one has is a current context.
      - As for C(kubectl), a relative path starts at the working directory, and neither C(~) nor C($) mean anything.
    type: list
    elements: str
  state:
    description:
      - V(present) merges the context, its cluster and its user.
      - V(absent) removes the context, and its cluster and user where no other context refers to them.
        A current context that was ours becomes what it was before, or unset.
        A file that V(present) made is removed once nothing else is in it.
    type: str
    choices: [present, absent]
    default: present
  cluster:
    description:
      - The cluster. With O(source) or O(content), its values replace those found there.
      - Fields that decide where the entry leads are exactly those given; others, such as C(proxy-url), are left alone.
      - A name alone refers to a cluster that is in the file already.
      - With O(state=absent) it defaults to the one that the context names.
    type: dict
    suboptions:
      name:
        description: Name of the entry.
        type: str
      server:
        description: URL of the API server.
        type: str
      certificate_authority_data:
        description: The CA's certificates, as PEM or as PEM in base64.
        type: str
      tls_server_name:
        description: Name that the server's certificate is checked for, where it is not the one in O(cluster.server).
        type: str
  user:
    description:
      - The user. With O(source) or O(content), its values replace those found there.
      - A name alone refers to a user that is in the file already.
      - With O(state=absent) it defaults to the one that the context names.
    type: dict
    suboptions:
      name:
        description: Name of the entry.
        type: str
      client_certificate_data:
        description: The client certificate, as PEM or as PEM in base64.
        type: str
      client_key_data:
        description: The client certificate's key, as PEM or as PEM in base64.
        type: str
      token:
        description: A bearer token.
        type: str
  context:
    description:
      - The context that joins the two. With O(source) or O(content) it renames the one found there.
    type: dict
    suboptions:
      name:
        description: Name of the entry.
        type: str
      namespace:
        description: Default namespace. Where it is not given, the one chosen with C(kubectl config set-context) stays.
        type: str
  source:
    description:
      - Path of a whole kubeconfig to take one context with its cluster and user from, e.g. kubeadm's C(admin.conf).
      - Files that it refers to are embedded.
    type: path
  content:
    description:
      - The same as O(source), as text.
    type: str
  source_context:
    description:
      - Which context of O(source) or O(content) is meant. Defaults to its current one, or to the only one.
    type: str
  places:
    description:
      - A file that gets, as a JSON list, the path of the kubeconfig before a context is merged into it, beside those of
        earlier runs, so that they can be taken out again whatever O(paths) is then.
    type: path
  set_current:
    description:
      - Whether the context becomes the current one.
    type: str
    choices: [if_unset, always, never]
    default: if_unset
  managed_by:
    description:
      - Who manages the entries, e.g. the sandbox's name. Entries of others are left alone.
    type: str
    default: cicd.sandbox
  force:
    description:
      - Take over, or remove, entries of these names whoever made them.
    type: bool
    default: false
  backup:
    description:
      - Keep a copy of the file as it was, with a time stamp in its name, when its content is changed.
    type: bool
    default: false
  lock_timeout:
    description:
      - How many seconds to wait for another writer's lock.
    type: float
    default: 10
requirements:
  - PyYAML
attributes:
  check_mode:
    description: Can run in check mode and return the changed status without changing anything.
    support: full
  diff_mode:
    description:
      - Returns the file before and after, with C(<hidden>) for keys, tokens, passwords and certificates.
        Where its mode changes, it stands in the first line.
    support: full
"""

EXAMPLES = r"""
- name: Give the user the cluster's admin
  cicd.sandbox.kubeconfig:
    source: /etc/kubernetes/admin.conf
    cluster:
      name: dev
      server: https://198.18.0.2:6443
    user:
      name: dev-admin
    context:
      name: dev-admin@dev
    managed_by: dev

- name: Add a read-only user to the same cluster
  cicd.sandbox.kubeconfig:
    cluster:
      name: dev
    user:
      name: dev-viewer
      token: "{{ viewer_token }}"
    context:
      name: dev-viewer@dev
      namespace: apps
    set_current: never
    managed_by: dev

- name: Give it to kubectl as the environment has it
  cicd.sandbox.kubeconfig:
    source: /etc/kubernetes/admin.conf
    paths: "{{ lookup('ansible.builtin.env', 'KUBECONFIG') | split(':') | reject('eq', '') }}"

- name: Take the admin out again
  cicd.sandbox.kubeconfig:
    state: absent
    context:
      name: dev-admin@dev
    managed_by: dev
"""

RETURN = r"""
path:
  description: The file, links not followed.
  returned: success
  type: str
  sample: /home/me/.kube/config
entries:
  description:
    - What became of the cluster, the user and the context. V(created), V(updated) or V(unchanged) with
      O(state=present); V(removed), V(absent) or C(kept) with the reason with O(state=absent).
  returned: success
  type: dict
  sample:
    cluster: "kept: context 'dev-viewer@dev' refers to it"
    context: removed
    user: removed
current_context:
  description: The current context afterwards; empty when none is set.
  returned: success
  type: str
  sample: dev-admin@dev
backup_file:
  description: Path of the copy.
  returned: when O(backup) is true and the file's content was changed
  type: str
  sample: /home/me/.kube/config.3157.2026-10-02@15:59:11~
"""

import dataclasses
import json
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule, missing_required_lib
from ansible_collections.cicd.sandbox.plugins.module_utils.host import files
from ansible_collections.cicd.sandbox.plugins.module_utils.kubeconfig.file import (
    KubeconfigFile,
    private_mode,
    written_by_kubectl,
)
from ansible_collections.cicd.sandbox.plugins.module_utils.kubeconfig.merging import (
    KINDS,
    MARK,
    Entry,
    Fields,
    Kubeconfig,
    KubeconfigError,
    Wanted,
    data,
    fields_of,
    override,
    select,
)
from ansible_collections.cicd.sandbox.plugins.module_utils.kubeconfig.yaml_nodes import YAML_IMPORT_ERROR

ARGUMENT_SPEC: dict[str, Any] = {
    "path": {"type": "path"},
    "paths": {"type": "list", "elements": "str"},
    "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
    "cluster": {
        "type": "dict",
        "options": {
            "name": {"type": "str"},
            "server": {"type": "str"},
            "certificate_authority_data": {"type": "str"},
            "tls_server_name": {"type": "str"},
        },
    },
    "user": {
        "type": "dict",
        "options": {
            "name": {"type": "str"},
            "client_certificate_data": {"type": "str"},
            "client_key_data": {"type": "str", "no_log": True},
            "token": {"type": "str", "no_log": True},
        },
    },
    "context": {"type": "dict", "options": {"name": {"type": "str"}, "namespace": {"type": "str"}}},
    "source": {"type": "path"},
    "content": {"type": "str", "no_log": True},
    "source_context": {"type": "str"},
    "places": {"type": "path"},
    "set_current": {"type": "str", "choices": ["if_unset", "always", "never"], "default": "if_unset"},
    "managed_by": {"type": "str", "default": "cicd.sandbox"},
    "force": {"type": "bool", "default": False},
    "backup": {"type": "bool", "default": False},
    "lock_timeout": {"type": "float", "default": 10},
}


def names_in(params: dict[str, Any]) -> dict[str, str]:
    """Return the names that the task gives, empty where it gives none."""
    return {kind: (params[kind] or {}).get("name") or "" for kind in KINDS}


def fields_in(params: dict[str, Any], kind: str) -> Fields:
    """Return the fields of one kind that the task gives: the arguments' names with dashes."""
    return fields_of(
        [
            (argument.replace("_", "-"), data(value, f"{kind}.{argument}") if argument.endswith("_data") else value)
            for argument, value in (params[kind] or {}).items()
            if argument != "name" and value is not None
        ]
    )


def wanted_in(params: dict[str, Any]) -> Wanted:
    """Return what the task asks for; KubeconfigError says which argument is wrong or missing."""
    names = names_in(params)
    fields = {kind: fields_in(params, kind) for kind in KINDS}
    user = dict(fields["user"])
    if ("client-certificate-data" in user) != ("client-key-data" in user):
        raise KubeconfigError("user.client_certificate_data and user.client_key_data are only of use together")
    if params["source"] or params["content"] is not None:
        wanted = selected_in(params)
        for kind in KINDS:
            wanted = override(wanted, kind, names[kind], fields[kind])
        return wanted
    missing = [f"{kind}.name" for kind in KINDS if not names[kind]]
    if missing:
        raise KubeconfigError(f"missing: {', '.join(missing)}; they are needed without source and content")
    if fields["cluster"] and "server" not in dict(fields["cluster"]):
        raise KubeconfigError("missing: cluster.server; a cluster without any of the other values has to exist already")
    joined = fields_of([("cluster", names["cluster"]), ("user", names["user"])])
    return Wanted(
        cluster=Entry(names["cluster"], fields["cluster"] or None),
        user=Entry(names["user"], fields["user"] or None),
        context=Entry(names["context"], joined + fields["context"]),
    )


def selected_in(params: dict[str, Any]) -> Wanted:
    """Return the context of ``source`` or ``content``."""
    if not params["source"]:
        return select(Kubeconfig.parse(params["content"], "content"), "content", params["source_context"], None)
    file = KubeconfigFile(params["source"])
    where = f"source: {file.path}"
    text = file.read()
    if text is None:
        raise KubeconfigError(f"{where}: no such file")
    return select(Kubeconfig.parse(text, where), where, params["source_context"], file.path.parent)


def files_in(params: dict[str, Any]) -> tuple[KubeconfigFile, list[KubeconfigFile]]:
    """Return the file that is meant, and the other ones that kubectl reads beside it."""
    paths = [Path(path).absolute() for path in dict.fromkeys(params["paths"] or ()) if path]
    if not paths:
        return KubeconfigFile(params["path"] or Path("~/.kube/config").expanduser()), []
    named = {path: KubeconfigFile(path) for path in paths}
    chosen = written_by_kubectl(paths)
    if len(paths) > 1:
        chosen = next((path for path, file in named.items() if parsed(file).is_marked(params["managed_by"])), chosen)
    target = named[chosen].target
    return named[chosen], [file for file in named.values() if file.target != target]


def parsed(file: KubeconfigFile) -> Kubeconfig:
    """Return what a file holds; nothing where it is missing."""
    return Kubeconfig.parse(file.read() or "", str(file.path))


@dataclasses.dataclass(frozen=True)
class Plan:
    """What the file is and what it is to become; ``after`` None removes it.

    ``mode``: the permission bits that it has, where group and others are to lose theirs.
    """

    before: Kubeconfig
    after: Kubeconfig | None
    current_context: str
    entries: dict[str, str]
    rewritten: bool
    made: str = ""  # what this module made or is to make of the path: file, directory (and file) or nothing
    mode: int | None = None

    @property
    def changed(self) -> bool:
        """Tell whether anything is to be done."""
        return self.rewritten or self.mode is not None


def plan_for(params: dict[str, Any], file: KubeconfigFile, others: list[KubeconfigFile], missing: str) -> Plan:
    """Read the files and work out what to do; nothing is written."""
    try:
        text = file.read()
        before, after = Kubeconfig.parse(text or "", str(file.path)), Kubeconfig.parse(text or "", str(file.path))
    except KubeconfigError:
        # What can't be read, and has no mark in it, has nothing to be removed.
        if params["state"] != "absent" or params["force"] or file.mentions(MARK):
            raise
        text, before, after = None, Kubeconfig.parse("", ""), Kubeconfig.parse("", "")
    if params["state"] == "absent":
        return plan_to_remove(params, before, after)
    set_current = params["set_current"]
    for other in others:
        beside = parsed(other)
        if not params["force"]:
            beside.refuse_foreign(wanted_in(params), params["managed_by"], f" of {other.path}")
        if beside.current_context and set_current == "if_unset":
            set_current = "never"
    plan = plan_to_merge(params | {"set_current": set_current}, before, after, missing if text is None else "")
    mode = file.mode()
    exposed = mode is not None and mode != private_mode(mode)
    return dataclasses.replace(plan, mode=mode) if exposed else plan


def plan_to_merge(params: dict[str, Any], before: Kubeconfig, after: Kubeconfig, missing: str) -> Plan:
    """Work out what the file is to become with the context in it."""
    entries = after.merge(wanted_in(params), params["managed_by"], params["set_current"], force=params["force"])
    if missing:
        after.mark_created(missing)
    return Plan(before, after, after.current_context, entries, after.text() != before.text(), missing)


def plan_to_remove(params: dict[str, Any], before: Kubeconfig, after: Kubeconfig) -> Plan:
    """Work out what the file is to become without the context."""
    names = names_in(params)
    if not names["context"]:
        raise KubeconfigError("missing: context.name; it says what to remove")
    if params["source"] or params["content"] is not None:
        raise KubeconfigError("source and content are of use with state=present only")
    entries = after.remove(
        names["context"], names["cluster"], names["user"], params["managed_by"], force=params["force"]
    )
    changed = "removed" in entries.values()
    made = after.created
    if changed and made and not after.has_marks():
        after.mark_created("")
        if after.is_empty():
            return Plan(before, None, "", entries, changed, made)
    return Plan(before, after, after.current_context, entries, changed)


def carry_out(
    module: AnsibleModule, file: KubeconfigFile, others: list[KubeconfigFile], missing: str
) -> dict[str, Any]:
    """Plan again under the lock, for somebody may have written in between, and write. Return what to report."""
    report = {}
    with file.locked(module.params["lock_timeout"]):
        plan = plan_for(module.params, file, others, missing)
        if plan.rewritten:
            if module.params["backup"] and not file.missing():
                report["backup_file"] = module.backup_local(str(file.target))
                if plan.mode is not None:
                    KubeconfigFile(report["backup_file"]).restrict()
            if plan.after is None:
                file.delete()
            else:
                file.write(plan.after.text(), private=plan.mode is not None)
        elif plan.mode is not None:
            file.restrict()
    if plan.after is None and plan.made == "directory":
        file.delete_directory()
    return report


def remember(places: Path, file: KubeconfigFile, *, dry_run: bool) -> bool:
    """Add the file's path to the list of those that contexts were merged into; tell whether it was new."""
    known: list[str] = json.loads(places.read_text(encoding="utf-8")) if places.exists() else []
    if str(file.path) in known:
        return False
    if not dry_run:
        files.write(places, json.dumps([*known, str(file.path)]) + "\n", 0o600)
    return True


def diff_of(plan: Plan, path: str) -> dict[str, str]:
    """Return the file before and after, without secrets; its mode where that changes."""
    before = "" if plan.after is not None and plan.made else plan.before.redacted()
    after = "" if plan.after is None else plan.after.redacted(plan.before)
    if plan.mode is not None:
        before, after = f"# mode: {plan.mode:04o}\n{before}", f"# mode: {private_mode(plan.mode):04o}\n{after}"
    return {"before": before, "after": after, "before_header": path, "after_header": path}


def main() -> None:
    module = AnsibleModule(
        argument_spec=ARGUMENT_SPEC,
        mutually_exclusive=[["source", "content"], ["path", "paths"]],
        supports_check_mode=True,
    )
    if YAML_IMPORT_ERROR:
        module.fail_json(msg=missing_required_lib("PyYAML"), exception=YAML_IMPORT_ERROR)
    try:
        file, others = files_in(module.params)
        missing = file.missing()
        plan = plan_for(module.params, file, others, missing)
        if plan.changed and module.check_mode:
            file.check_changeable(module.params["lock_timeout"])
        result: dict[str, Any] = {
            "changed": plan.changed,
            "path": str(file.path),
            "entries": plan.entries,
            "current_context": plan.current_context,
        }
        if plan.changed:
            result["diff"] = diff_of(plan, str(file.path))
        if module.params["places"] and module.params["state"] == "present":
            result["changed"] |= remember(Path(module.params["places"]), file, dry_run=module.check_mode)
        if plan.changed and not module.check_mode:
            result |= carry_out(module, file, others, missing)
    except KubeconfigError as exc:
        module.fail_json(msg=str(exc))
    except OSError as exc:
        module.fail_json(msg=f"{exc.filename or 'kubeconfig'}: {exc.strerror}; nothing was changed")
    module.exit_json(**result)


if __name__ == "__main__":
    main()
