# Copyright: cicd.sandbox contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which keys values in etcd are encrypted with, as an etcdctl that only pretends tells them."""

from __future__ import annotations

import base64
import json
from collections.abc import Sequence

import pytest
from ansible_collections.cicd.sandbox.plugins.module_utils.etcd import encryption
from ansible_collections.cicd.sandbox.plugins.module_utils.etcd.client import Client
from ansible_collections.cicd.sandbox.plugins.module_utils.etcd.encryption import EncryptionError, keys_in_use

CLIENT = Client("https://127.0.0.1:2379", ca="ca", certificate="c", key="k")


def encrypted(key: str) -> bytes:
    return f"k8s:enc:secretbox:v1:{key}:".encode() + bytes(range(256)) * 4


class Etcd:
    """Its values by their paths; another revision has another one."""

    def __init__(self, values: dict[str, bytes]) -> None:
        self.values = values
        self.calls: list[list[str]] = []

    def __call__(self, line: Sequence[str]) -> tuple[int, str]:
        arguments = list(line)[list(line).index("get") :]
        self.calls.append(arguments)
        _get, limit, revision, begin, end = arguments
        assert revision == ("--rev=0" if len(self.calls) == 1 else "--rev=7")
        number = int(limit.removeprefix("--limit="))
        paths = sorted(path for path in self.values if begin <= path < end)
        found = [
            {"key": base64.b64encode(path.encode()).decode(), "value": base64.b64encode(self.values[path]).decode()}
            for path in paths[:number]
        ]
        answer = {"header": {"revision": 7 if len(self.calls) == 1 else 9}, "kvs": found, "count": len(paths)}
        return 0, json.dumps({**answer, "more": True} if len(paths) > number else answer)


@pytest.mark.parametrize("page", [2, 3, 5, 500])
def test_each_value_is_counted_once(monkeypatch: pytest.MonkeyPatch, page: int) -> None:
    monkeypatch.setattr(encryption, "PAGE", page)
    etcd = Etcd(
        {
            "/registry/configmaps/a/b": b"k8s\0\n\x0f\n\x02v1 k8s:enc:secretbox:v1:imitation:",
            "/registry/secrets/a/1": encrypted("sandbox"),
            "/registry/secrets/a/2": encrypted("key-20261130T160000Z"),
            "/registry/secrets/a/3": encrypted("sandbox"),
            "/registry/secrets/z": b"",
            "/registry0": encrypted("elsewhere"),
            "/other": encrypted("elsewhere"),
        }
    )
    found = keys_in_use(CLIENT, etcd, "/registry/")
    assert found.counts == {"": 2, "sandbox": 2, "key-20261130T160000Z": 1}
    assert found.examples["sandbox"] == "/registry/secrets/a/1"
    assert found.examples[""] == "/registry/configmaps/a/b"


def test_where_nothing_is_nothing_is_found() -> None:
    assert keys_in_use(CLIENT, lambda line: (0, '{"header": {"revision": 3}}'), "/registry/").counts == {}


@pytest.mark.parametrize(
    ("code", "out", "words"),
    [
        (1, "", "etcdctl get /registry/ ended with 1"),
        (0, "Error", "etcdctl get /registry/ answers 'Error'"),
        (0, "[]", r"answers '\[\]'"),
        (0, '{"header": {"revision": 3}, "kvs": [{"key": "!"}]}', "answers"),
    ],
)
def test_what_is_no_answer_is_an_error(code: int, out: str, words: str) -> None:
    with pytest.raises(EncryptionError, match=words):
        keys_in_use(CLIENT, lambda line: (code, out), "/registry/")
