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
import contextlib
import dataclasses
import errno
import os
import re
import stat
import tempfile
import time
import traceback
from collections.abc import Iterator, Sequence
from typing import Any

YAML_IMPORT_ERROR: str | None = None
try:
    import yaml
except ImportError:
    YAML_IMPORT_ERROR = traceback.format_exc()

Node = Any  # yaml.nodes.Node; PyYAML ships no types
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
_TOP_LEVEL = frozenset({"apiVersion", "kind", "preferences", "clusters", "users", "contexts", "current-context"})

_STR, _MAP, _SEQ, _NULL, _MERGE = (f"tag:yaml.org,2002:{name}" for name in ("str", "map", "seq", "null", "merge"))
# Plain scalars that no YAML reader, 1.1 or 1.2, takes for something else than a string.
_PLAIN = re.compile(r"[A-Za-z/][A-Za-z0-9+/=_.@%-]*(?::[A-Za-z0-9+/=_.@%-]+)*")
_NOT_PLAIN = frozenset({"y", "n", "yes", "no", "on", "off", "true", "false", "null"})


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
        entry: Entry = getattr(self, kind)
        return entry


def text_node(value: str) -> Node:
    """A string as a YAML scalar, quoted wherever some reader could take it for another type."""
    plain = _PLAIN.fullmatch(value) and value.lower() not in _NOT_PLAIN
    return yaml.ScalarNode(_STR, value, style=None if plain else '"')


def mapping_node(pairs: Sequence[tuple[str, Node]]) -> Node:
    """A block mapping of string keys."""
    return yaml.MappingNode(_MAP, [(text_node(key), value) for key, value in pairs], flow_style=False)


def _list_node(items: Sequence[Node]) -> Node:
    return yaml.SequenceNode(_SEQ, list(items), flow_style=not items)


def get(node: Node | None, key: str) -> Node | None:
    """The value of a mapping's key, also one that comes through a YAML merge key (``<<``); None when absent."""
    if not isinstance(node, yaml.MappingNode):
        return None
    for key_node, value in node.value:
        if isinstance(key_node, yaml.ScalarNode) and key_node.value == key and key_node.tag != _MERGE:
            return value
    for key_node, value in node.value:
        if key_node.tag == _MERGE:
            for base in value.value if isinstance(value, yaml.SequenceNode) else [value]:
                found = get(base, key)
                if found is not None:
                    return found
    return None


def get_text(node: Node | None, key: str) -> str | None:
    """The value of a mapping's key as written; None when absent, null or no scalar."""
    value = get(node, key)
    if not isinstance(value, yaml.ScalarNode) or value.tag == _NULL:
        return None
    text: str = value.value
    return text


def with_value(node: Node | None, key: str, value: Node | None) -> Node:
    """A copy of a mapping with one key set, in its place, or (None) removed. The original may be shared: it stays."""
    pairs: list[tuple[Node, Node]] = []
    done = False
    for key_node, old in node.value if isinstance(node, yaml.MappingNode) else []:
        if isinstance(key_node, yaml.ScalarNode) and key_node.value == key and key_node.tag != _MERGE:
            if value is not None and not done:
                pairs.append((key_node, value))
            done = True
        else:
            pairs.append((key_node, old))
    if value is not None and not done:
        pairs.append((text_node(key), value))
    flow = node.flow_style if isinstance(node, yaml.MappingNode) and node.value else False
    return yaml.MappingNode(_MAP, pairs, flow_style=flow)


def same(one: Node | None, other: Node | None) -> bool:
    """Whether two nodes mean the same, whatever their style and the order of their keys."""
    if type(one) is not type(other):
        return False
    if one is None or one is other:
        return True
    if one.tag != other.tag:
        return False
    if isinstance(one, yaml.ScalarNode):
        return bool(one.value == other.value)
    if len(one.value) != len(other.value):
        return False
    if isinstance(one, yaml.SequenceNode):
        return all(same(a, b) for a, b in zip(one.value, other.value, strict=True))
    return all(
        any(same(key, other_key) and same(value, other_value) for other_key, other_value in other.value)
        for key, value in one.value
    )


class Kubeconfig:
    """The content of one kubeconfig file."""

    def __init__(self, root: Node, explicit_start: bool = False) -> None:
        self.root = root
        self._explicit_start = explicit_start

    @classmethod
    def parse(cls, text: str, where: str) -> Kubeconfig:
        """Read a kubeconfig; an empty text is an empty one. Raise KubeconfigError naming ``where`` and the line."""
        try:
            documents = list(yaml.compose_all(text, Loader=yaml.SafeLoader))
        except yaml.MarkedYAMLError as exc:
            mark = exc.problem_mark or exc.context_mark
            place = f" line {mark.line + 1}, column {mark.column + 1}:" if mark else ""
            raise KubeconfigError(f"{where}:{place} is not valid YAML: {exc.problem or exc.context}") from None
        except yaml.YAMLError as exc:
            # ReaderError; its text would quote the file.
            line = text.count("\n", 0, getattr(exc, "position", 0)) + 1
            raise KubeconfigError(f"{where}: line {line}: a character that YAML does not allow") from None
        except RecursionError:
            raise KubeconfigError(f"{where}: is nested too deeply for a kubeconfig") from None
        if len(documents) > 1:
            raise KubeconfigError(f"{where}: is not a kubeconfig: it holds {len(documents)} YAML documents")
        root = documents[0] if documents else None
        if root is None or (isinstance(root, yaml.ScalarNode) and root.tag == _NULL):
            root = mapping_node([])
        config = cls(root, text.startswith("---"))
        config._refuse_other_formats(where)
        return config

    def _refuse_other_formats(self, where: str) -> None:
        """Raise KubeconfigError when the file is something else than a kubeconfig."""
        wrong = f"{where}: is not a kubeconfig, nothing was changed: "
        if not isinstance(self.root, yaml.MappingNode):
            raise KubeconfigError(wrong + "its top level is not a mapping")
        if not self.root.value:
            return
        if not any(get(self.root, key) is not None for key in _TOP_LEVEL):
            raise KubeconfigError(wrong + "it has none of the keys " + ", ".join(sorted(_TOP_LEVEL)))
        for key, expected in (("apiVersion", "v1"), ("kind", "Config")):
            if (get_text(self.root, key) or expected) != expected:
                raise KubeconfigError(f"{wrong}its {key} is not {expected}")
        for kind in KINDS:
            value = get(self.root, f"{kind}s")
            if value is None or (isinstance(value, yaml.ScalarNode) and value.tag == _NULL):
                continue
            line = f"line {value.start_mark.line + 1}: " if value.start_mark else ""
            if not isinstance(value, yaml.SequenceNode):
                raise KubeconfigError(f"{wrong}{line}{kind}s is not a list")
            for index, entry in enumerate(value.value):
                if get_text(entry, "name") is None:
                    raise KubeconfigError(f"{wrong}{line}{kind}s[{index}] has no name")

    def text(self) -> str:
        """The file's content."""
        root = self.root
        for key, value in reversed((("apiVersion", "v1"), ("kind", "Config"))):
            if get(root, key) is None:
                root = yaml.MappingNode(
                    _MAP, [(text_node(key), text_node(value)), *root.value], flow_style=root.flow_style
                )
        return _serialize(root, self._explicit_start)

    def entries(self, kind: str) -> list[Node]:
        """The entries of one kind (cluster, user or context), as mappings of name and the kind's fields."""
        value = get(self.root, f"{kind}s")
        return list(value.value) if isinstance(value, yaml.SequenceNode) else []

    def find(self, kind: str, name: str) -> Node | None:
        """The first entry of that name."""
        return next((entry for entry in self.entries(kind) if get_text(entry, "name") == name), None)

    def names(self, kind: str) -> list[str]:
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
        self.root = with_value(self.root, f"{kind}s", _list_node(entries))

    def merge(
        self, wanted: Wanted, managed_by: str, set_current: str = "if_unset", force: bool = False
    ) -> dict[str, str]:
        """Put a context with its cluster and user in.

        ``set_current``: ``if_unset``, ``always`` or ``never``. An entry of that name which is not marked as
        ``managed_by``'s is taken over when it leads to the same place already, or with ``force``; otherwise
        KubeconfigError. Return per kind ``created``, ``updated`` or ``unchanged``.
        """
        self._refuse_foreign(wanted, managed_by, force)
        outcome = {kind: self._merge_entry(kind, wanted.entry(kind), managed_by) for kind in KINDS}
        name, current = wanted.context.name, self.current_context
        if current != name and (set_current == "always" or (set_current == "if_unset" and not current)):
            self._set_current_context(name)
            if current:
                entry = self.find("context", name)
                self._replace("context", name, _marked("context", entry, {"previous-current-context": current}))
        return outcome

    def _refuse_foreign(self, wanted: Wanted, managed_by: str, force: bool) -> None:
        for kind in KINDS:
            entry, old = wanted.entry(kind), self.find(kind, wanted.entry(kind).name)
            if entry.fields is None:
                if old is None:
                    raise KubeconfigError(f"{kind} {entry.name!r} is not in the file and nothing was given to make it")
                continue
            if old is None or force:
                continue
            owner = mark_of(kind, old).get("managed-by")
            if owner == managed_by or (owner is None and _leads_to_same(kind, old, entry.fields)):
                continue
            whose = f"is managed by {owner!r}" if owner else "was made by somebody else"
            raise KubeconfigError(
                f"{kind} {entry.name!r} {whose} and leads elsewhere; nothing was changed. "
                f"Rename one of the two, or set force=true to take it over"
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
        self, context: str, cluster: str | None, user: str | None, managed_by: str, force: bool = False
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
            outcome[kind] = self._remove_entry(kind, name, managed_by, force) if name else "absent"
        if outcome["context"] == "removed" and self.current_context == context:
            self._set_current_context(previous if self.find("context", previous) is not None else "")
        return outcome

    def _remove_entry(self, kind: str, name: str, managed_by: str, force: bool) -> str:
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
        """Whether an entry of anybody using this module is left."""
        return any(mark_of(kind, entry) for kind in KINDS for entry in self.entries(kind))

    def is_empty(self) -> bool:
        """Whether nothing but the frame of a kubeconfig is left."""
        frame = ("apiVersion", "kind")
        return not any(
            (value.value and not (isinstance(value, yaml.ScalarNode) and value.tag == _NULL))
            for key, value in self.root.value
            if key.value not in frame
        )

    def redacted(self, other: Kubeconfig | None = None) -> str:
        """The content for a diff: no keys, tokens, passwords, nor anything in a user whose meaning is not known.

        A hidden value that differs from ``other``'s is called ``changed``, so that a diff shows it.
        """
        known = {} if other is None else _secrets(other)
        root = self.root
        for kind in KINDS:
            entries = []
            for entry in self.entries(kind):
                secrets = known.get((kind, get_text(entry, "name") or ""))
                fields = get(entry, kind)
                if isinstance(fields, yaml.MappingNode):
                    entry = with_value(entry, kind, _redact(kind, fields, secrets))
                entries.append(entry)
            if entries:
                root = with_value(root, f"{kind}s", _list_node(entries))
        return _serialize(root, False)


def _serialize(root: Node, explicit_start: bool) -> str:
    text: str = yaml.serialize(
        root, Dumper=yaml.SafeDumper, width=2**31, allow_unicode=True, explicit_start=explicit_start
    )
    return text


def _leads_to_same(kind: str, entry: Node, fields: Fields) -> bool:
    given = dict(fields)
    return all(same(get(get(entry, kind), key), given.get(key)) for key in MANAGED[kind])


def _extension(extensions: Node | None) -> dict[str, str]:
    """What our extension in a list of extensions says."""
    if isinstance(extensions, yaml.SequenceNode):
        for item in extensions.value:
            body = get(item, "extension")
            if get_text(item, "name") == MARK and isinstance(body, yaml.MappingNode):
                return {key.value: value.value for key, value in body.value if isinstance(value, yaml.ScalarNode)}
    return {}


def _with_extension(extensions: Node | None, body: dict[str, str]) -> Node | None:
    """The list of extensions with ours set to ``body``; an empty body takes it out, and the list when it was alone."""
    old = extensions.value if isinstance(extensions, yaml.SequenceNode) else []
    ours = mapping_node(
        [("extension", mapping_node([(key, text_node(value)) for key, value in body.items()])), ("name", text_node(MARK))]
    )
    items = [item for item in old if get_text(item, "name") != MARK]
    if body:
        items.append(ours)
    return _list_node(items) if items else None


def mark_of(kind: str, entry: Node | None) -> dict[str, str]:
    """What our extension of an entry says: ``managed-by`` and, in contexts, ``previous-current-context``."""
    return _extension(get(get(entry, kind), "extensions"))


def _marked(kind: str, entry: Node, news: dict[str, str]) -> Node:
    """A copy of an entry with ``news`` added to its mark."""
    mark = mark_of(kind, entry)
    if mark == {**mark, **news}:
        return entry
    fields = get(entry, kind)
    extensions = _with_extension(get(fields, "extensions"), {**mark, **news})
    return with_value(entry, kind, with_value(fields, "extensions", extensions))


_OPEN_USER_FIELDS = frozenset({"client-certificate", "client-key", "tokenFile", "as", "as-uid", "as-groups"})
_SECRET_NAME = re.compile(r"token|passw|secret|credential|private|key-data", re.IGNORECASE)
_URL_USER = re.compile(r"(?<=://)[^/@\s]+(?=@)")


def _is_hidden(kind: str, key: str, value: Node) -> bool:
    if key == "extensions":
        return any(get_text(item, "name") != MARK for item in value.value if isinstance(value, yaml.SequenceNode))
    if kind == "user":
        return key not in _OPEN_USER_FIELDS
    return bool(_SECRET_NAME.search(key)) or key.endswith("-data") or not isinstance(value, yaml.ScalarNode)


def _secrets(config: Kubeconfig) -> dict[tuple[str, str], Node]:
    """The fields of every entry by kind and name."""
    return {
        (kind, get_text(entry, "name") or ""): get(entry, kind) for kind in KINDS for entry in config.entries(kind)
    }


def _redact(kind: str, fields: Node, before: Node | None) -> Node:
    pairs = []
    for key, value in fields.value:
        if _is_hidden(kind, key.value, value):
            old = get(before, key.value)
            value = text_node("<hidden, changed>" if old is not None and not same(old, value) else "<hidden>")
        elif isinstance(value, yaml.ScalarNode):
            value = yaml.ScalarNode(value.tag, _URL_USER.sub("<hidden>", value.value), style=value.style)
        pairs.append((key, value))
    return yaml.MappingNode(fields.tag, pairs, flow_style=fields.flow_style)


def data(value: str, argument: str) -> str:
    """PEM, or PEM in base64, as the base64 that a kubeconfig's ``…-data`` fields hold."""
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
    """Fields out of strings; those that are None are left out."""
    return [(key, text_node(value)) for key, value in pairs if value is not None]


# file → the field which holds the file's content instead
_FILES = {
    "cluster": {"certificate-authority": "certificate-authority-data"},
    "user": {"client-certificate": "client-certificate-data", "client-key": "client-key-data"},
    "context": {},
}


def select(config: Kubeconfig, where: str, context: str | None, directory: str | None) -> Wanted:
    """One context of a whole kubeconfig with its cluster and user, files embedded.

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
    """The fields of an entry, without marks of the file that it comes from."""
    fields: Fields = [(key.value, value) for key, value in body.value] if isinstance(body, yaml.MappingNode) else []
    return [(key, value) for key, value in fields if key != "extensions"]


def _embed(kind: str, fields: Fields, where: str, directory: str | None) -> Fields:
    result: Fields = []
    given = {key for key, value in fields if not (isinstance(value, yaml.ScalarNode) and value.value == "")}
    for key, value in fields:
        as_data = _FILES[kind].get(key)
        if key != "tokenFile" and as_data is None:
            result.append((key, value))
            continue
        if as_data in given or not value.value:
            continue
        path = os.path.expanduser(value.value)
        if not os.path.isabs(path):
            if directory is None:
                raise KubeconfigError(f"{where}: {kind} field {key} is a relative path, which only a file can have")
            path = os.path.join(directory, path)
        if as_data is None:
            result.append((key, text_node(path)))
            continue
        try:
            with open(path, "rb") as file:
                result.append((as_data, text_node(base64.b64encode(file.read()).decode())))
        except OSError as exc:
            raise KubeconfigError(f"{where}: {kind} field {key}: {path}: {exc.strerror}") from None
    return result


def override(wanted: Wanted, kind: str, name: str | None, fields: Fields | None) -> Wanted:
    """``wanted`` with one entry renamed and fields of it replaced; the context follows new names."""
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


class KubeconfigFile:
    """A kubeconfig's path: symbolic links followed, locked as kubectl does, replaced in one step."""

    def __init__(self, path: str) -> None:
        self.path = os.path.abspath(os.path.expanduser(path))
        self.target = os.path.realpath(self.path)
        if os.path.islink(self.target):
            raise KubeconfigError(f"{self.path}: too many symbolic links")

    def read(self) -> str | None:
        """The content; None when there is no file."""
        try:
            with open(self.target, "rb") as file:
                return file.read().decode("utf-8-sig")
        except FileNotFoundError:
            return None
        except UnicodeDecodeError as exc:
            line = exc.object.count(b"\n", 0, exc.start) + 1
            raise KubeconfigError(f"{self.path}: line {line}: is not UTF-8, so not a kubeconfig") from None
        except OSError as exc:
            raise KubeconfigError(f"{self.path}: {exc.strerror}") from None

    def missing(self) -> str:
        """What is not there: ``directory`` (then the file neither), ``file`` or nothing."""
        if os.path.lexists(self.target):
            return ""
        return "file" if os.path.isdir(os.path.dirname(self.target)) else "directory"

    @contextlib.contextmanager
    def locked(self, timeout: float) -> Iterator[None]:
        """Hold ``<path>.lock``, made exclusively, as client-go does; also the one of a link's target.

        Raise KubeconfigError naming the lock when it isn't free within ``timeout`` seconds.
        """
        locks = sorted({f"{self.path}.lock", f"{self.target}.lock"})
        deadline = time.monotonic() + timeout
        with contextlib.ExitStack() as held:
            for lock in locks:
                os.makedirs(os.path.dirname(lock), mode=0o700, exist_ok=True)
                _take(lock, deadline, timeout)
                held.callback(os.unlink, lock)
            yield

    def write(self, text: str) -> None:
        """Replace the content in one step; owner and mode stay, a new file is the user's alone (0600)."""
        try:
            before = os.stat(self.target)
        except FileNotFoundError:
            before = None
        directory = os.path.dirname(self.target)
        os.makedirs(directory, mode=0o700, exist_ok=True)
        handle, temporary = tempfile.mkstemp(prefix=f".{os.path.basename(self.target)}.", dir=directory)
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(text.encode())
                file.flush()
                if before is not None:
                    _same_owner(file.fileno(), before, self.path)
                os.fsync(file.fileno())
            os.replace(temporary, self.target)
        except BaseException:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(temporary)
            raise

    def delete(self) -> None:
        os.unlink(self.target)

    def delete_directory(self) -> None:
        """Remove the file's directory if nothing is left in it."""
        try:
            os.rmdir(os.path.dirname(self.target))
        except OSError as exc:
            if exc.errno not in (errno.ENOTEMPTY, errno.EEXIST, errno.ENOENT):
                raise


def _take(lock: str, deadline: float, timeout: float) -> None:
    while True:
        try:
            os.close(os.open(lock, os.O_CREAT | os.O_EXCL, 0))
            return
        except FileExistsError:
            if time.monotonic() >= deadline:
                raise KubeconfigError(_held(lock, timeout)) from None
            time.sleep(0.1)


def _held(lock: str, timeout: float) -> str:
    try:
        age = f", {max(0, round(time.time() - os.stat(lock).st_mtime))} s old,"
    except OSError:
        age = ""
    return (
        f"the lock {lock}{age} was still held after {timeout:g} s; nothing was changed. "
        "If no kubectl or other program is writing the file, remove the lock"
    )


def _same_owner(descriptor: int, before: os.stat_result, path: str) -> None:
    now = os.fstat(descriptor)
    if (now.st_uid, now.st_gid) != (before.st_uid, before.st_gid):
        try:
            os.fchown(descriptor, before.st_uid, before.st_gid)
        except PermissionError:
            raise KubeconfigError(
                f"{path}: belongs to uid {before.st_uid}, gid {before.st_gid}, which can't be kept as uid {now.st_uid}; "
                "nothing was changed. Run as its owner"
            ) from None
    os.fchmod(descriptor, stat.S_IMODE(before.st_mode))
