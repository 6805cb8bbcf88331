# Copyright: cicd.sandbox contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Merge a context, with its cluster and user, into a kubeconfig file, and take it out again.

The file is somebody's: it is read and written as YAML nodes, never as Python values, so that entries, order,
unknown fields and the very spelling of every other scalar (``0123``, ``1e3``, ``"on"``) stay. Comments do not, as
with every write of kubectl.

Format: https://kubernetes.io/docs/reference/config-api/kubeconfig.v1/ . What this file adds carries an extension
named :data:`MARK`, which kubectl keeps, with the name of who manages the entry; so nobody else's entry of the same
name is overwritten or removed.
"""

from __future__ import annotations

import base64
import binascii
import dataclasses
import os
import re
from collections.abc import Sequence
from pathlib import Path

from ansible_collections.cicd.sandbox.plugins.module_utils.host import files
from ansible_collections.cicd.sandbox.plugins.module_utils.kubeconfig.yaml_nodes import (
    Node,
    NotYamlError,
    compose,
    get,
    get_text,
    is_null,
    items_of,
    list_node,
    mapping_node,
    pairs_of,
    same,
    serialize,
    text_node,
    with_value,
)

Fields = list[tuple[str, Node]]

MARK = "cicd.sandbox"
KINDS = ("cluster", "user", "context")

# What decides where an entry leads. In an entry of ours these are exactly what was asked for; every other field
# (proxy-url, extensions, a namespace chosen with `kubectl config set-context`) is its user's.
MANAGED: dict[str, frozenset[str]] = {
    "cluster": frozenset(
        {
            "server",
            "certificate-authority",
            "certificate-authority-data",
            "tls-server-name",
            "insecure-skip-tls-verify",
        }
    ),
    "user": frozenset(
        {
            "client-certificate",
            "client-certificate-data",
            "client-key",
            "client-key-data",
            "token",
            "tokenFile",
            "username",
            "password",
            "exec",
            "auth-provider",
        }
    ),
    "context": frozenset({"cluster", "user"}),
}
_FRAME = (("apiVersion", "v1"), ("kind", "Config"))
_TOP_LEVEL = frozenset({"apiVersion", "kind", "preferences", "clusters", "users", "contexts", "current-context"})


class KubeconfigError(Exception):
    """What is wrong with a kubeconfig, where, and what to do; never with a value out of the file."""


@dataclasses.dataclass(frozen=True)
class Entry:
    """An entry asked for. ``fields`` is None for one that is only referred to and has to be there already."""

    name: str
    fields: Fields | None = None


@dataclasses.dataclass(frozen=True)
class Wanted:
    """A context with its cluster and user."""

    cluster: Entry
    user: Entry
    context: Entry

    def entry(self, kind: str) -> Entry:
        """Return the entry of one kind."""
        entry: Entry = getattr(self, kind)
        return entry


class Kubeconfig:
    """The content of one kubeconfig file."""

    def __init__(self, root: Node, *, explicit_start: bool = False) -> None:
        self.root = root
        self._explicit_start = explicit_start

    @classmethod
    def parse(cls, text: str, where: str) -> Kubeconfig:
        """Read a kubeconfig; an empty text is an empty one. Raise KubeconfigError naming ``where`` and the line."""
        try:
            root, documents = compose(text, where)
        except NotYamlError as exc:
            raise KubeconfigError(str(exc)) from None
        if documents > 1:
            raise KubeconfigError(
                f"{where}: is not a kubeconfig, nothing was changed: it holds {documents} YAML documents, of which "
                f"kubectl reads the first. Keep one"
            )
        if is_null(root):
            root = mapping_node([])
        config = cls(root, explicit_start=text.startswith("---"))
        config._refuse_other_formats(where)
        return config

    def _refuse_other_formats(self, where: str) -> None:
        """Raise KubeconfigError when the file is something else than a kubeconfig."""
        wrong = f"{where}: is not a kubeconfig, nothing was changed: "
        if not self.root.value:
            return
        if not pairs_of(self.root):
            raise KubeconfigError(wrong + "its top level is not a mapping")
        if not any(get(self.root, key) is not None for key in _TOP_LEVEL):
            raise KubeconfigError(wrong + "it has none of the keys " + ", ".join(sorted(_TOP_LEVEL)))
        self._refuse_repetitions(wrong)
        for key, expected in _FRAME:
            if (get_text(self.root, key) or expected) != expected:
                raise KubeconfigError(f"{wrong}its {key} is not {expected}")
        for kind in KINDS:
            value = get(self.root, f"{kind}s")
            if value is None or is_null(value):
                continue
            line = f"line {value.start_mark.line + 1}: "
            if value.value and not items_of(value):
                raise KubeconfigError(f"{wrong}{line}{kind}s is not a list")
            for index, entry in enumerate(items_of(value)):
                if get_text(entry, "name") is None:
                    raise KubeconfigError(f"{wrong}{line}{kind}s[{index}] has no name")

    def _refuse_repetitions(self, wrong: str) -> None:
        """Raise KubeconfigError where a key or a name is there twice: a reader takes one of them, which may differ."""
        mappings = [self.root]
        for kind in KINDS:
            for entry in self.entries(kind):
                mappings += [entry, get(entry, kind)]
        for mapping in mappings:
            lines: dict[str, int] = {}
            for key, _value in pairs_of(mapping):
                name, line = str(key.value), key.start_mark.line + 1
                if name in lines:
                    raise KubeconfigError(
                        f"{wrong}line {line}: the key {name} is there already, in line {lines[name]}, and kubectl "
                        "takes the last. Keep one of them, with what is below both"
                    )
                lines[name] = line
        for kind in KINDS:
            lines = {}
            for entry in self.entries(kind):
                name, line = get_text(entry, "name") or "", entry.start_mark.line + 1
                if name in lines:
                    raise KubeconfigError(
                        f"{wrong}line {line}: there is a {kind} {name!r} already, in line {lines[name]}. "
                        "kubectl refuses that, too. Rename or remove one of them"
                    )
                lines[name] = line

    def text(self) -> str:
        """Return the file's content."""
        return serialize(_framed(self.root), explicit_start=self._explicit_start)

    def entries(self, kind: str) -> list[Node]:
        """Return the entries of one kind (cluster, user or context): mappings of name and the kind's fields."""
        return items_of(get(self.root, f"{kind}s"))

    def find(self, kind: str, name: str) -> Node | None:
        """Return the first entry of that name."""
        return next((entry for entry in self.entries(kind) if get_text(entry, "name") == name), None)

    def names(self, kind: str) -> list[str]:
        """Return the names of one kind's entries."""
        return [get_text(entry, "name") or "" for entry in self.entries(kind)]

    @property
    def current_context(self) -> str:
        """The current context's name; empty when none is set."""
        return get_text(self.root, "current-context") or ""

    def _set_current_context(self, name: str) -> None:
        self.root = with_value(self.root, "current-context", text_node(name))

    def _replace(self, kind: str, name: str, entry: Node | None) -> None:
        """Put an entry in the place of the one with its name, at the end when new; None removes it."""
        entries: list[Node] = []
        for old in self.entries(kind):
            if get_text(old, "name") != name:
                entries.append(old)
            elif entry is not None:
                entries.append(entry)
                entry = None
        if entry is not None:
            entries.append(entry)
        self.root = with_value(self.root, f"{kind}s", list_node(entries))

    def merge(
        self, wanted: Wanted, managed_by: str, set_current: str = "if_unset", *, force: bool = False
    ) -> dict[str, str]:
        """Put a context with its cluster and user in.

        ``set_current``: ``if_unset``, ``always`` or ``never``. An entry of that name which is not marked as
        ``managed_by``'s is taken over when it leads to the same place already, or with ``force``; otherwise
        KubeconfigError. Return per kind ``created``, ``updated`` or ``unchanged``.
        """
        if not force:
            self.refuse_foreign(wanted, managed_by)
        for kind in KINDS:
            if wanted.entry(kind).fields is None and self.find(kind, wanted.entry(kind).name) is None:
                raise KubeconfigError(
                    f"{kind} {wanted.entry(kind).name!r} is not in the file and nothing was given to make it"
                )
        outcome = {kind: self._merge_entry(kind, wanted.entry(kind), managed_by) for kind in KINDS}
        name, current = wanted.context.name, self.current_context
        if current != name and (set_current == "always" or (set_current == "if_unset" and not current)):
            self._set_current_context(name)
            if current:
                entry = self.find("context", name)
                self._replace("context", name, _marked("context", entry, {"previous-current-context": current}))
        return outcome

    def refuse_foreign(self, wanted: Wanted, managed_by: str, where: str = "") -> None:
        """Raise KubeconfigError where an entry has a wanted one's name, leads elsewhere and is not ``managed_by``'s.

        ``where`` names the file, where that is another than the one which is asked for.
        """
        for kind in KINDS:
            entry, old = wanted.entry(kind), self.find(kind, wanted.entry(kind).name)
            if entry.fields is None or old is None:
                continue
            owner = mark_of(kind, old).get("managed-by")
            if owner == managed_by or (owner is None and _leads_to_same(kind, old, entry.fields)):
                continue
            whose = f"is managed by {owner!r}" if owner else "was made by somebody else"
            raise KubeconfigError(
                f"{kind} {entry.name!r}{where} {whose} and leads elsewhere; nothing was changed. "
                f"Rename one of the two, or set force=true to take it over"
            )

    def is_marked(self, managed_by: str) -> bool:
        """Tell whether an entry is ``managed_by``'s."""
        return any(
            mark_of(kind, entry).get("managed-by") == managed_by for kind in KINDS for entry in self.entries(kind)
        )

    def _merge_entry(self, kind: str, wanted: Entry, managed_by: str) -> str:
        if wanted.fields is None:
            return "unchanged"
        old = self.find(kind, wanted.name)
        fields = get(old, kind)
        given = dict(wanted.fields)
        for key in MANAGED[kind] - given.keys():
            fields = with_value(fields, key, None)
        for key, value in wanted.fields:
            if not same(get(fields, key), value):
                fields = with_value(fields, key, value)
        name_node = get(old, "name") or text_node(wanted.name)
        # kubectl writes the fields first, then the name.
        new = old if old is not None else mapping_node([(kind, mapping_node([])), ("name", name_node)])
        new = _marked(kind, with_value(new, kind, fields or mapping_node([])), {"managed-by": managed_by})
        if same(old, new) and self.names(kind).count(wanted.name) == 1:
            return "unchanged"
        self._replace(kind, wanted.name, new)
        return "created" if old is None else "updated"

    def remove(
        self, context: str, cluster: str | None, user: str | None, managed_by: str, *, force: bool = False
    ) -> dict[str, str]:
        """Take a context out, with its cluster and user unless another context refers to them.

        Cluster and user are those that the context names where they are None. The current context goes back to
        what it was before :meth:`merge` changed it. Return per kind ``removed``, ``absent`` or why it was kept.
        """
        entry = self.find("context", context)
        names = {
            "context": context,
            "cluster": cluster or get_text(get(entry, "context"), "cluster"),
            "user": user or get_text(get(entry, "context"), "user"),
        }
        previous = mark_of("context", entry).get("previous-current-context", "")
        outcome: dict[str, str] = {}
        for kind in ("context", "cluster", "user"):
            name = names[kind]
            outcome[kind] = self._remove_entry(kind, name, managed_by, force=force) if name else "absent"
        if outcome["context"] == "removed" and self.current_context == context:
            self._set_current_context(previous if self.find("context", previous) is not None else "")
        return outcome

    def _remove_entry(self, kind: str, name: str, managed_by: str, *, force: bool) -> str:
        entry = self.find(kind, name)
        if entry is None:
            return "absent"
        owner = mark_of(kind, entry).get("managed-by")
        if owner != managed_by and not force:
            return f"kept: managed by {owner!r}" if owner else "kept: made by somebody else"
        if kind != "context":
            for context in self.entries("context"):
                if get_text(get(context, "context"), kind) == name:
                    return f"kept: context {get_text(context, 'name')!r} refers to it"
        self._replace(kind, name, None)
        return "removed"

    @property
    def created(self) -> str:
        """What :meth:`mark_created` noted: ``file``, ``directory`` or nothing."""
        return _extension(get(self.root, "extensions")).get("created", "")

    def mark_created(self, what: str) -> None:
        """Note that the file (or its directory too) did not exist before, so that it can go again."""
        extensions = _with_extension(get(self.root, "extensions"), {"created": what} if what else {})
        self.root = with_value(self.root, "extensions", extensions)

    def has_marks(self) -> bool:
        """Tell whether an entry of anybody using this module is left."""
        return any(mark_of(kind, entry) for kind in KINDS for entry in self.entries(kind))

    def is_empty(self) -> bool:
        """Tell whether nothing but the frame of a kubeconfig is left."""
        frame = dict(_FRAME)
        return not any(
            value.value and not is_null(value) for key, value in pairs_of(self.root) if key.value not in frame
        )

    def redacted(self, other: Kubeconfig | None = None) -> str:
        """Return the content for a diff: no keys, tokens, passwords, nor fields of a user that may hold one.

        A hidden value that differs from ``other``'s is called changed, so that a diff shows it.
        """
        root = self.root
        for kind in KINDS:
            entries = [_redact(kind, entry, other) for entry in self.entries(kind)]
            if entries:
                root = with_value(root, f"{kind}s", list_node(entries))
        return serialize(_framed(root))


def _framed(root: Node) -> Node:
    frame = mapping_node([(key, text_node(value)) for key, value in _FRAME if get(root, key) is None])
    if not frame.value:
        return root
    frame.value += root.value
    return frame


def _leads_to_same(kind: str, entry: Node, fields: Fields) -> bool:
    given = dict(fields)
    return all(same(get(get(entry, kind), key), given.get(key)) for key in MANAGED[kind])


def _extension(extensions: Node | None) -> dict[str, str]:
    """Return what our extension in a list of extensions says."""
    for item in items_of(extensions):
        if get_text(item, "name") == MARK:
            body = get(item, "extension")
            return {key.value: get_text(body, key.value) or "" for key, _value in pairs_of(body)}
    return {}


def _with_extension(extensions: Node | None, body: dict[str, str]) -> Node | None:
    """Return the list with our extension set to ``body``, or taken out when that is empty; None for an empty list."""
    items = [item for item in items_of(extensions) if get_text(item, "name") != MARK]
    if body:
        said = mapping_node([(key, text_node(value)) for key, value in body.items()])
        items.append(mapping_node([("extension", said), ("name", text_node(MARK))]))
    return list_node(items) if items else None


def mark_of(kind: str, entry: Node | None) -> dict[str, str]:
    """Return what our extension of an entry says: ``managed-by`` and, in contexts, ``previous-current-context``."""
    return _extension(get(get(entry, kind), "extensions"))


def _marked(kind: str, entry: Node, news: dict[str, str]) -> Node:
    """Return a copy of an entry with ``news`` added to its mark."""
    mark = mark_of(kind, entry)
    if mark == {**mark, **news}:
        return entry
    fields = get(entry, kind)
    extensions = _with_extension(get(fields, "extensions"), {**mark, **news})
    return with_value(entry, kind, with_value(fields, "extensions", extensions))


_OPEN_USER_FIELDS = frozenset({"client-certificate", "client-key", "tokenFile", "as", "as-uid", "as-groups"})
_SECRET_NAME = re.compile(r"token|passw|secret|credential|private|-data$", re.IGNORECASE)
_URL_USER = re.compile(r"(?<=://)[^/@\s]+(?=@)")


def _is_hidden(kind: str, key: str, value: Node) -> bool:
    if key == "extensions":
        return any(get_text(item, "name") != MARK for item in items_of(value))
    if kind == "user":
        return key not in _OPEN_USER_FIELDS
    return bool(_SECRET_NAME.search(key) or items_of(value) or pairs_of(value))


def _redact(kind: str, entry: Node, other: Kubeconfig | None) -> Node:
    before = None if other is None else get(other.find(kind, get_text(entry, "name") or ""), kind)
    fields = get(entry, kind)
    for key, value in pairs_of(fields):
        if _is_hidden(kind, key.value, value):
            old = get(before, key.value)
            hidden = "<hidden, changed>" if old is not None and not same(old, value) else "<hidden>"
            fields = with_value(fields, key.value, text_node(hidden))
        elif _URL_USER.search(get_text(fields, key.value) or ""):
            fields = with_value(fields, key.value, text_node(_URL_USER.sub("<hidden>", value.value)))
    return with_value(entry, kind, fields) if pairs_of(fields) else entry


def data(value: str, argument: str) -> str:
    """Return PEM, or PEM in base64, as the base64 that a kubeconfig's ``…-data`` fields hold."""
    text = value.strip()
    if text.startswith("-----BEGIN "):
        return base64.b64encode(text.encode() + b"\n").decode()
    text = "".join(text.split())
    try:
        pem = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise KubeconfigError(f"{argument}: is neither PEM nor PEM in base64") from None
    if b"-----BEGIN " not in pem:
        raise KubeconfigError(f"{argument}: is base64, but not of PEM")
    return text


def fields_of(pairs: Sequence[tuple[str, str | None]]) -> Fields:
    """Return fields made of strings; those that are None are left out."""
    return [(key, text_node(value)) for key, value in pairs if value is not None]


# file → the field which holds the file's content instead
_FILES: dict[str, dict[str, str]] = {
    "cluster": {"certificate-authority": "certificate-authority-data"},
    "user": {"client-certificate": "client-certificate-data", "client-key": "client-key-data"},
    "context": {},
}


def select(config: Kubeconfig, where: str, context: str | None, directory: Path | None) -> Wanted:
    """Return one context of a whole kubeconfig with its cluster and user, files embedded.

    ``context`` defaults to the current one, or the only one. ``directory`` is what relative paths start from;
    None where the config did not come from a file.
    """
    names = config.names("context")
    name = context or config.current_context or (names[0] if len(names) == 1 else "")
    if name not in names:
        which = f"has no context {name!r}" if name else "has no current context"
        raise KubeconfigError(f"{where}: {which}; its contexts: {', '.join(names) or 'none'}")
    body = get(config.find("context", name), "context")
    chosen: dict[str, Entry] = {"context": Entry(name, _own_fields(body))}
    for kind in ("cluster", "user"):
        other = get_text(body, kind)
        entry = config.find(kind, other) if other else None
        if other is None or entry is None:
            raise KubeconfigError(f"{where}: context {name!r} refers to {kind} {other!r}, which is not there")
        chosen[kind] = Entry(other, _embed(kind, _own_fields(get(entry, kind)), where, directory))
    return Wanted(cluster=chosen["cluster"], user=chosen["user"], context=chosen["context"])


def _own_fields(body: Node | None) -> Fields:
    """Return the fields of an entry, without extensions: these speak of the file that it comes from."""
    return [(key.value, value) for key, value in pairs_of(body) if key.value != "extensions"]


def _embed(kind: str, fields: Fields, where: str, directory: Path | None) -> Fields:
    """Put files' contents in the place of their paths; a token's file stays one, for tokens are renewed.

    Relative paths start from ``directory``, also that of a program that makes credentials, unless PATH leads to it.
    """
    result: Fields = []
    given = {key for key, value in fields if value.value}
    for key, value in fields:
        as_data = _FILES[kind].get(key)
        if key == "exec":
            command = get_text(value, "command") or ""
            path = _based(command, directory, f"{where}: {kind} field exec.command") if "/" in command else None
            result.append((key, with_value(value, "command", text_node(str(path))) if path else value))
        elif key != "tokenFile" and as_data is None:
            result.append((key, value))
        elif value.value and as_data not in given:
            path = _based(value.value, directory, f"{where}: {kind} field {key}")
            content = _base64_of(path, f"{where}: {kind} {key}") if as_data else str(path)
            result.append((as_data or key, text_node(content)))
    return result


def _based(path: str, directory: Path | None, what: str) -> Path:
    """Return a path that may be relative to a kubeconfig's directory, without ``..``, as kubectl resolves it."""
    if Path(path).is_absolute():
        return Path(path)
    if directory is None:
        raise KubeconfigError(f"{what} is a relative path, which only a file can have")
    return Path(os.path.normpath(directory / path))


def _base64_of(path: Path, what: str) -> str:
    try:
        return base64.b64encode(files.read_regular(path)).decode()
    except OSError as exc:
        raise KubeconfigError(f"{what}: {path}: {exc.strerror}") from None


def override(wanted: Wanted, kind: str, name: str | None, fields: Fields | None) -> Wanted:
    """Return ``wanted`` with one entry renamed and fields of it replaced; the context follows new names."""
    old = wanted.entry(kind)
    merged = old.fields
    if fields:
        given = dict(fields)
        merged = [(key, value) for key, value in old.fields or [] if key not in given] + fields
    changed = dataclasses.replace(wanted, **{kind: Entry(name or old.name, merged)})
    if kind == "context" or changed.context.fields is None:
        return changed
    context = [
        (key, text_node(changed.entry(kind).name) if key == kind else value) for key, value in changed.context.fields
    ]
    return dataclasses.replace(changed, context=Entry(changed.context.name, context))
