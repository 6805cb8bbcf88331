# Copyright: cicd.sandbox contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""YAML as nodes: what is not touched stays to the letter."""

from __future__ import annotations

import pytest
import yaml
from ansible_collections.cicd.sandbox.plugins.module_utils.kubeconfig.yaml_nodes import (
    Node,
    NotYamlError,
    compose,
    get,
    get_text,
    mapping_node,
    same,
    serialize,
    text_node,
    with_value,
)


def node(text: str) -> Node:
    return compose(text, "test")[0]


@pytest.mark.parametrize(
    "text",
    [
        "a: 0123\nb: 1e3\nc: 1_000\nd: 2026-01-02\n",
        "a: on\nb: ~\nc: 'yes'\nd: \"1\"\n",
        "z: 1\na: [1, {b: c}]\nm:\n- x\n- y\n",
        "a: &x\n  b: c\nd: *x\n",
        "a: |\n  first\n  second\nb: ünï\n",
        f"a: {'long ' * 100}end\n",
    ],
)
def test_a_text_comes_back_as_it_was(text: str) -> None:
    assert serialize(node(text)).replace("id001", "x") == text


@pytest.mark.parametrize(
    "value", ["1e3", "0x10", "12345678e9", "on", "Y", "null", "~", "", "- a", "a: b", "# a", "1.5"]
)
def test_a_text_that_could_be_something_else_is_quoted(value: str) -> None:
    written = serialize(mapping_node([("key", text_node(value))]))
    assert '"' in written
    assert yaml.safe_load(written) == {"key": value}


@pytest.mark.parametrize("value", ["dev", "dev-admin@dev", "https://198.18.0.2:6443", "LS0tLS1CRUdJTg=="])
def test_a_plain_text_stays_plain(value: str) -> None:
    assert serialize(mapping_node([("key", text_node(value))])) == f"key: {value}\n"


def test_values_come_through_merge_keys() -> None:
    document = node("base: &b {a: 1, b: 2}\none:\n  <<: *b\n  a: 3\ntwo:\n  <<: [*b]\n")
    assert get_text(get(document, "one"), "a") == "3"
    assert get_text(get(document, "one"), "b") == "2"
    assert get_text(get(document, "two"), "b") == "2"


def test_a_shared_mapping_is_copied_not_changed() -> None:
    document = node("one: &x {a: 1}\ntwo: *x\n")
    changed = with_value(document, "one", with_value(get(document, "one"), "a", text_node("b")))
    assert yaml.safe_load(serialize(changed)) == {"one": {"a": "b"}, "two": {"a": 1}}


def test_values_keep_their_place_and_are_set_once() -> None:
    document = node("a: 1\nb: 2\na: 3\n")
    assert serialize(with_value(document, "a", text_node("x"))) == "a: x\nb: 2\n"
    assert serialize(with_value(document, "a", None)) == "b: 2\n"
    assert serialize(with_value(document, "c", text_node("x"))) == "a: 1\nb: 2\na: 3\nc: x\n"


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        ("{a: 1, b: [x]}", "b:\n- 'x'\na: 1\n", True),
        ("{a: 1}", "{a: '1'}", False),
        ("[1, 2]", "[2, 1]", False),
        ("[1]", "[1, 1]", False),
        ("{a: 1}", "[a]", False),
    ],
)
def test_same_compares_meaning(one: str, other: str, expected: bool) -> None:
    assert same(node(one), node(other)) is expected


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a: 1\nb: [secret\n", "file: line 3, column 1: is not valid YAML"),
        ("a: b\n\tc: secret\n", "file: line 2, column 1: is not valid YAML"),
        ("a: 1\nb: secret\x00\n", "file: line 2: a character that YAML does not allow"),
        ("[" * 1000, "file: is nested too deeply"),
    ],
)
def test_what_is_not_yaml_is_named_without_quoting_it(text: str, words: str) -> None:
    with pytest.raises(NotYamlError) as caught:
        compose(text, "file")
    assert str(caught.value).startswith(words)
    assert "secret" not in str(caught.value)
