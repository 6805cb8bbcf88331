# Copyright: cicd.sandbox contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""OpenBao's seal, settings and secrets, against one in memory that speaks its API."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from http.server import ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.cicd.sandbox.plugins.module_utils.openbao import sealing, settings, stored
from ansible_collections.cicd.sandbox.plugins.module_utils.openbao.server import BaoError, Place, Server, reached
from ansible_collections.cicd.sandbox.plugins.module_utils.openbao.settings import Setting
from ansible_collections.cicd.sandbox.plugins.module_utils.openbao.stored import Key, Secret
from fake_openbao import ROOT, FakeBao, handler

DATABASE = Secret("shop", "database", {"password": Key(24, keep_earlier=True)})


@pytest.fixture
def fake() -> FakeBao:
    return FakeBao()


@pytest.fixture
def bao(fake: FakeBao) -> Iterator[Server]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler(fake))
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield Server(f"http://127.0.0.1:{server.server_port}", "", 5)
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def opened(fake: FakeBao, bao: Server, tmp_path: Path) -> Server:
    """One that is open, asked as root."""
    sealing.initialise(bao, tmp_path / "keys.json")
    bao.become(sealing.root_token(bao, sealing.read_keys(tmp_path / "keys.json")))
    fake.settings["sys/mounts/secret"] = {"type": "kv"}
    return bao


def nothing(_namespace: str, _name: str, _key: str) -> None:
    """Nothing is known from elsewhere."""


def keep(
    bao: Server, *secrets: Secret, rotated: tuple[str, ...] = (), known: Callable[..., Any] = nothing
) -> list[str]:
    """Have secrets; why each was written."""
    found, _ = stored.changes(bao, "secret", secrets, rotated, known)
    stored.apply(bao, "secret", found)
    return [change.why for change in found]


# --- the seal ---------------------------------------------------------------------------------------------------------


def test_it_is_initialised_and_opened_and_its_root_token_is_no_more(fake: FakeBao, bao: Server, tmp_path: Path) -> None:
    path = tmp_path / "secrets/keys.json"
    assert sealing.seal_of(bao) == sealing.Seal(initialised=False, sealed=True)
    sealing.initialise(bao, path)
    assert sealing.seal_of(bao) == sealing.Seal(initialised=True, sealed=False)
    assert fake.tokens == set()
    assert path.stat().st_mode & 0o777 == 0o600
    assert ROOT not in path.read_text()
    assert sealing.read_keys(path) == sealing.Keys(fake.shares, 3)


def test_it_is_opened_again_with_as_few_keys_as_it_takes(fake: FakeBao, bao: Server, tmp_path: Path) -> None:
    sealing.initialise(bao, tmp_path / "keys.json")
    # A run that was killed had given one.
    fake.sealed, fake.given = True, ["x"]
    sealing.unseal(bao, sealing.read_keys(tmp_path / "keys.json"))
    assert sealing.seal_of(bao) == sealing.Seal(initialised=True, sealed=False)
    assert fake.given == fake.shares[:3]


def test_keys_of_one_that_is_gone_are_kept(bao: Server, tmp_path: Path) -> None:
    path = tmp_path / "keys.json"
    path.write_text("of another")
    sealing.initialise(bao, path)
    assert (tmp_path / "keys.json.earlier").read_text() == "of another"


def test_keys_of_another_are_refused(fake: FakeBao, bao: Server, tmp_path: Path) -> None:
    sealing.initialise(bao, tmp_path / "keys.json")
    fake.sealed = True
    with pytest.raises(BaoError, match="unseal failed, invalid key"):
        sealing.unseal(bao, sealing.Keys(["a", "b", "c"], 3))


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "nothing else opens it"),
        ("no json", "does not hold unseal keys"),
        ("[]", "does not hold unseal keys"),
        ('{"unseal_keys": ["a"], "threshold": 3}', "holds 1 unseal keys, and 3 are wanted"),
    ],
)
def test_keys_that_can_not_be_read_are_told_with_what_to_do(tmp_path: Path, content: str | None, said: str) -> None:
    if content is not None:
        (tmp_path / "keys.json").write_text(content)
    with pytest.raises(BaoError, match=said) as error:
        sealing.read_keys(tmp_path / "keys.json")
    assert error.value.final


def test_a_root_token_is_made_of_the_keys_whatever_was_begun_before(fake: FakeBao, bao: Server, tmp_path: Path) -> None:
    sealing.initialise(bao, tmp_path / "keys.json")
    fake.root = {"nonce": "other", "keys": ["x"]}
    assert sealing.root_token(bao, sealing.read_keys(tmp_path / "keys.json")) == ROOT
    assert fake.tokens == {ROOT}


@pytest.mark.parametrize(("encoded", "otp"), [("", ""), ("AAAA", "x"), ("!", "x")])
def test_an_answer_without_a_root_token_is_refused(encoded: str, otp: str) -> None:
    with pytest.raises(BaoError, match="holds no root token"):
        sealing.decoded(encoded, otp)


# --- settings ---------------------------------------------------------------------------------------------------------


def test_what_is_missing_or_different_is_written_once(fake: FakeBao, opened: Server) -> None:
    wanted = [
        Setting("sys/mounts/secret", {"type": "kv", "options": {"version": "2"}}),
        Setting("sys/policies/acl/shop", {"policy": "path"}),
        Setting("auth/kubernetes/role/shop", {"token_policies": ["b", "a"], "token_ttl": 600}),
    ]
    due = settings.due(opened, wanted)
    assert due == wanted
    settings.apply(opened, due)
    # As it is told: more of it, sorted, with line breaks.
    fake.settings["auth/kubernetes/role/shop"] |= {"token_policies": ["a", "b"], "token_num_uses": 0}
    fake.settings["sys/policies/acl/shop"]["policy"] = "path\n"
    assert settings.due(opened, wanted) == []
    fake.settings["auth/kubernetes/role/shop"]["token_ttl"] = 60
    assert settings.due(opened, wanted) == [wanted[2]]


@pytest.mark.parametrize(
    ("found", "wanted", "held"),
    [
        (None, {}, False),
        ({}, {"a": 1}, False),
        ({"a": "1"}, {"a": 1}, True),
        ({"a": False}, {"a": False}, True),
        ({"a": None}, {"a": False}, False),
        ({"a": ["x"]}, {"a": ["x", "y"]}, False),
    ],
)
def test_what_holds(found: object, wanted: dict[str, Any], *, held: bool) -> None:
    assert settings.holds(found, wanted) is held


def test_who_is_not_let_in_is_told_from_who_asks_wrongly(fake: FakeBao, opened: Server) -> None:
    opened.become("s.stranger")
    with pytest.raises(BaoError, match="permission denied") as error:
        opened.read("sys/mounts/secret")
    assert error.value.denied
    fake.sealed = True
    with pytest.raises(BaoError, match="Vault is sealed") as error:
        opened.read("sys/mounts/secret")
    assert not error.value.denied


# --- secrets ----------------------------------------------------------------------------------------------------------


def test_what_is_missing_is_made_once(fake: FakeBao, opened: Server) -> None:
    assert keep(opened, DATABASE) == ["password was missing"]
    (values,) = fake.versions["shop/database"]
    assert values is not None
    assert len(values["password"]) == 24
    assert values["password-earlier"] == ""
    assert keep(opened, DATABASE) == []


def test_an_engine_that_sets_itself_up_is_waited_for(fake: FakeBao, opened: Server) -> None:
    fake.upgrading = 2
    assert keep(opened, DATABASE) == ["password was missing"]
    assert len(fake.versions["shop/database"]) == 1


def test_an_engine_that_does_not_come_is_told(fake: FakeBao, opened: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    fake.upgrading = 1000
    monkeypatch.setattr(stored, "SET_UP", 0.5)
    with pytest.raises(BaoError, match="Upgrading from non-versioned"):
        keep(opened, DATABASE)


def test_values_there_are_already_are_taken_with_their_earlier_ones(fake: FakeBao, opened: Server) -> None:
    held = {"password": "now", "password-earlier": "before\nlong ago"}
    assert keep(opened, DATABASE, known=lambda *where: held.get(where[-1])) == ["password was missing"]
    assert fake.versions["shop/database"] == [held]


def test_a_rotation_keeps_the_value_before(fake: FakeBao, opened: Server) -> None:
    fake.versions["shop/database"] = [{"password": "old", "password-earlier": "a\nb\nc\nd\ne"}]
    assert keep(opened, DATABASE, rotated=("shop/database",)) == ["password is new"]
    values = fake.versions["shop/database"][-1]
    assert values is not None
    assert values["password"] != "old"
    assert values["password-earlier"] == "old\na\nb\nc\nd"
    assert keep(opened, DATABASE) == []


def test_a_value_that_somebody_changed_alone_gets_the_one_before(fake: FakeBao, opened: Server) -> None:
    fake.versions["shop/database"] = [{"password": "old", "password-earlier": "a"}, {"password": "new"}]
    assert keep(opened, DATABASE) == ["password-earlier lacked a value"]
    assert fake.versions["shop/database"][-1] == {"password": "new", "password-earlier": "old"}
    assert keep(opened, DATABASE) == []


def test_a_secret_that_was_deleted_is_made_over_the_versions_it_had(fake: FakeBao, opened: Server) -> None:
    fake.versions["shop/database"] = [{"password": "old"}, None]
    assert keep(opened, DATABASE) == ["password was missing, password-earlier lacked a value"]
    values = fake.versions["shop/database"][2]
    assert values is not None
    assert values["password-earlier"] == "old"


def test_who_changes_a_secret_meanwhile_is_not_overwritten(fake: FakeBao, opened: Server) -> None:
    found, _ = stored.changes(opened, "secret", [DATABASE], [], nothing)
    fake.versions["shop/database"] = [{"password": "theirs"}]
    with pytest.raises(BaoError, match="did not match the current version"):
        stored.apply(opened, "secret", found)
    assert fake.versions["shop/database"] == [{"password": "theirs"}]


@pytest.mark.parametrize(
    ("secret", "title", "said"),
    [
        (DATABASE, "shop/databse", "there is no secret shop/databse to rotate; there are shop/database"),
        (Secret("shop", "api", {"key": Key()}), "shop/api", "would be locked out"),
    ],
)
def test_what_can_not_be_rotated_is_refused(secret: Secret, title: str, said: str) -> None:
    with pytest.raises(BaoError, match=said):
        stored.check_rotated([secret], [title])


# --- the way there ----------------------------------------------------------------------------------------------------


def program(folder: Path, *lines: str) -> str:
    path = folder / "kubectl"
    path.write_text("\n".join(["#!/bin/sh", *lines]))
    path.chmod(0o755)
    return str(path)


def test_the_pod_is_reached_by_a_forward_that_ends_with_its_use(tmp_path: Path) -> None:
    kubectl = program(
        tmp_path,
        f'echo "$@" > {tmp_path}/argv; echo $$ > {tmp_path}/pid',
        'echo "Forwarding from 127.0.0.1:4711 -> 8200"',
        "exec sleep 60",
    )
    with reached(Place(kubectl, "/kubeconfig", "openbao", "openbao-0", 8200), "", 5):
        pid = int((tmp_path / "pid").read_text())
        assert Path(f"/proc/{pid}").exists()
    assert not Path(f"/proc/{pid}").exists()
    assert (tmp_path / "argv").read_text().split() == [
        "--kubeconfig=/kubeconfig",
        "--namespace=openbao",
        "port-forward",
        "--address=127.0.0.1",
        "pod/openbao-0",
        ":8200",
    ]


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        (['echo "error: pod is not running" >&2', "exit 1"], "can't be reached: error: pod is not running"),
        (["exec sleep 60"], "kubectl says nothing for 0.5 s"),
    ],
)
def test_a_pod_that_is_not_reached_is_told(tmp_path: Path, lines: list[str], said: str) -> None:
    place = Place(program(tmp_path, *lines), "/kubeconfig", "openbao", "openbao-0", 8200)
    with pytest.raises(BaoError, match=said), reached(place, "", 0.5):
        pass
