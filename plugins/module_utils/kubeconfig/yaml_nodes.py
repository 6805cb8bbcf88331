# Copyright: cicd.sandbox contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Read, change and write YAML as nodes.

Values never become Python's, so what is not touched keeps its spelling (``0123``, ``1e3``, ``"on"``), order, anchors
and unknown keys. Comments are lost.
"""

from __future__ import annotations

import re
import traceback
from collections.abc import Sequence
from typing import Any

YAML_IMPORT_ERROR: str | None = None
try:
    import yaml
except ImportError:
    YAML_IMPORT_ERROR = traceback.format_exc()

Node = Any  # a yaml.nodes.Node, whose value is untyped

STR, MAP, SEQ, NULL, MERGE = (f"tag:yaml.org,2002:{name}" for name in ("str", "map", "seq", "null", "merge"))
# Plain scalars that no YAML reader, 1.1 or 1.2, takes for something else than a string.
_PLAIN = re.compile(r"[A-Za-z/][A-Za-z0-9+/=_.@%-]*(?::[A-Za-z0-9+/=_.@%-]+)*")
_NOT_PLAIN = frozenset({"y", "n", "yes", "no", "on", "off", "true", "false", "null"})


class NotYamlError(Exception):
    """Why a text is not YAML, and where."""


def text_node(value: str) -> Node:
    """Return a string as a YAML scalar, quoted wherever some reader could take it for another type."""
    plain = _PLAIN.fullmatch(value) and value.lower() not in _NOT_PLAIN
    return yaml.ScalarNode(STR, value, style=None if plain else '"')


def mapping_node(pairs: Sequence[tuple[str, Node]]) -> Node:
    """Return a block mapping of string keys."""
    return yaml.MappingNode(MAP, [(text_node(key), value) for key, value in pairs], flow_style=False)


def list_node(items: Sequence[Node]) -> Node:
    """Return a block list, ``[]`` when empty."""
    return yaml.SequenceNode(SEQ, list(items), flow_style=not items)


def is_null(node: Node | None) -> bool:
    """Tell whether there is no value."""
    return node is None or (isinstance(node, yaml.ScalarNode) and node.tag == NULL)


def items_of(node: Node | None) -> list[Node]:
    """Return a list's items; none when it is no list."""
    return list(node.value) if isinstance(node, yaml.SequenceNode) else []


def pairs_of(node: Node | None) -> list[tuple[Node, Node]]:
    """Return a mapping's keys and values; none when it is no mapping."""
    return list(node.value) if isinstance(node, yaml.MappingNode) else []


def get(node: Node | None, key: str) -> Node | None:
    """Return the value of a mapping's key, be it through a YAML merge key (``<<``); None when absent."""
    for key_node, value in pairs_of(node):
        if isinstance(key_node, yaml.ScalarNode) and key_node.value == key and key_node.tag != MERGE:
            return value
    for key_node, value in pairs_of(node):
        if key_node.tag == MERGE:
            for base in items_of(value) or [value]:
                found = get(base, key)
                if found is not None:
                    return found
    return None


def get_text(node: Node | None, key: str) -> str | None:
    """Return the value of a mapping's key as written; None when absent, null or no scalar."""
    value = get(node, key)
    if not isinstance(value, yaml.ScalarNode) or value.tag == NULL:
        return None
    text: str = value.value
    return text


def with_value(node: Node | None, key: str, value: Node | None) -> Node:
    """Return a copy of a mapping with one key set, in its place, or (None) removed. The original may be shared."""
    pairs: list[tuple[Node, Node]] = []
    done = False
    for key_node, old in pairs_of(node):
        if isinstance(key_node, yaml.ScalarNode) and key_node.value == key and key_node.tag != MERGE:
            if value is not None and not done:
                pairs.append((key_node, value))
            done = True
        else:
            pairs.append((key_node, old))
    if value is not None and not done:
        pairs.append((text_node(key), value))
    flow = node.flow_style if isinstance(node, yaml.MappingNode) and node.value else False
    return yaml.MappingNode(MAP, pairs, flow_style=flow)


def same(one: Node | None, other: Node | None) -> bool:
    """Tell whether two nodes mean the same, whatever their style and the order of their keys."""
    if one is None or other is None or one is other:
        return one is other
    if type(one) is not type(other) or one.tag != other.tag:
        return False
    if isinstance(one, yaml.ScalarNode):
        return bool(one.value == other.value)
    if isinstance(one, yaml.SequenceNode):
        return len(one.value) == len(other.value) and all(map(same, one.value, other.value))
    return len(one.value) == len(other.value) and all(
        any(same(key, other_key) and same(value, other_value) for other_key, other_value in other.value)
        for key, value in one.value
    )


def serialize(root: Node, *, explicit_start: bool = False) -> str:
    """Return the YAML text of a node, long values on one line."""
    return str(
        yaml.serialize(root, Dumper=yaml.SafeDumper, width=2**31, allow_unicode=True, explicit_start=explicit_start)
    )


def compose(text: str, where: str) -> tuple[Node | None, int]:
    """Return the first document of a YAML text, None when there is none, and the number of documents.

    Raise NotYamlError with ``where``, line and column; its text never quotes the file, which may hold secrets.
    """
    try:
        documents = list(yaml.compose_all(text, Loader=yaml.SafeLoader))
    except yaml.MarkedYAMLError as exc:
        mark = exc.problem_mark or exc.context_mark
        place = f" line {mark.line + 1}, column {mark.column + 1}:" if mark else ""
        raise NotYamlError(f"{where}:{place} is not valid YAML: {exc.problem or exc.context}") from None
    except yaml.YAMLError as exc:
        line = text.count("\n", 0, getattr(exc, "position", 0)) + 1
        raise NotYamlError(f"{where}: line {line}: a character that YAML does not allow") from None
    except RecursionError:
        raise NotYamlError(f"{where}: is nested too deeply") from None
    return (documents[0] if documents else None), len(documents)
