# Copyright: cicd.sandbox contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whose a sandbox is: nobody else's run goes on with it."""

from __future__ import annotations

import dataclasses
import json
import stat
import threading
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.cicd.sandbox.plugins.module_utils.runs import owner
from ansible_collections.cicd.sandbox.plugins.module_utils.runs.owner import ForeignSandboxError, Owner, claim, standing
from modules import run_module


@pytest.fixture
def library(tmp_path: Path) -> Path:
    return tmp_path / "lib/dev"


@pytest.fixture
def jo(tmp_path: Path) -> Owner:
    state = tmp_path / "jo/state"
    state.mkdir(parents=True)
    return Owner("dev", 61001, str(tmp_path / "jo"), str(state), "/jo/cicd", ("/jo/cicd/dev",), "198.18.0.0/24", 86400)


def test_who_comes_first_owns_it(library: Path, jo: Owner) -> None:
    assert claim(library, jo, dry_run=True)
    assert not library.parent.exists()
    assert claim(library, jo, dry_run=False)
    assert not claim(library, dataclasses.replace(jo, since=99999, checkout="/elsewhere"), dry_run=False)
    assert owner.read(library) == jo
    assert [path.name for path in library.parent.iterdir()] == ["dev"]
    assert [path.name for path in library.iterdir()] == ["owner.json"]
    # Whoever asks can read it.
    assert stat.S_IMODE(library.stat().st_mode) == 0o755
    assert stat.S_IMODE((library / "owner.json").stat().st_mode) == 0o644


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"uid": 61002}, "go on with it as its owner: run as uid 61001, or make"),
        ({"uid": 0}, "run as uid 61001 (without sudo)"),
        ({"home": "/x", "state": "/x/state"}, "go on with it as its owner: set HOME to {jo.home}, or make"),
        ({"uid": 61002, "home": "/x", "state": "/x/state"}, "run as uid 61001 and set HOME to {jo.home}, or make"),
        ({"state": "/x/state"}, "set sandbox_state_directory to {jo.state}, or"),
    ],
)
def test_nobody_else_goes_on_with_it(library: Path, jo: Owner, changes: dict[str, Any], words: str) -> None:
    claim(library, jo, dry_run=False)
    before = (library / "owner.json").read_bytes()
    other = dataclasses.replace(jo, since=99999, **changes)
    for dry_run in (True, False):
        with pytest.raises(ForeignSandboxError) as refused:
            claim(library, other, dry_run=dry_run)
    text = str(refused.value)
    assert "The sandbox dev of this machine is somebody else's: uid 61001 made it on 1970-01-0" in text
    assert f"from /jo/cicd; its keys are in {jo.state}" in text
    assert words.format(jo=jo) in text
    assert "Nothing was changed" in text
    assert (
        "Where its owner is gone for good, remove it with all its data: make down ARGS='--extra-vars sandbox_" in text
    )
    assert (library / "owner.json").read_bytes() == before


def test_with_sudo_it_is_roots(library: Path, jo: Owner) -> None:
    root = dataclasses.replace(jo, uid=0)
    assert "run as root (with sudo)" in owner.refusal(root, jo)


def test_keys_that_are_gone_are_said(library: Path, jo: Owner) -> None:
    Path(jo.state).rmdir()
    text = owner.refusal(jo, dataclasses.replace(jo, uid=61002))
    assert "as its owner" not in text
    assert "Its keys are gone, so nobody can go on with it, remove it with all its data: make down" in text


def test_a_link_to_the_same_keys_is_the_same_owner(library: Path, jo: Owner, tmp_path: Path) -> None:
    claim(library, jo, dry_run=False)
    (tmp_path / "link").symlink_to(jo.home)
    assert standing(library, dataclasses.replace(jo, state=str(tmp_path / "link/state"))) is None


def test_machines_without_a_record_are_those_of_who_has_their_key(library: Path, jo: Owner) -> None:
    (library / "cp-1").mkdir(parents=True)
    found = standing(library, jo)
    assert found is not None
    assert "nobody wrote down whose it is, and it is there since" in owner.refusal(found, jo)
    assert "as its owner" not in owner.refusal(found, jo)
    (Path(jo.state) / "ssh").mkdir()
    (Path(jo.state) / "ssh/id_ed25519").touch()
    assert standing(library, jo) is None
    assert claim(library, jo, dry_run=False)


@pytest.mark.parametrize("content", ["", "{", "[]", "{}", '{"sandbox": "dev"}'])
def test_a_record_that_says_nothing_is_nobodys_and_stays(library: Path, jo: Owner, content: str) -> None:
    library.mkdir(parents=True)
    (library / "owner.json").write_text(content)
    with pytest.raises(ForeignSandboxError, match="nobody wrote down"):
        claim(library, jo, dry_run=False)
    assert (library / "owner.json").read_text() == content


def test_addresses_of_another_sandbox_are_its(library: Path, jo: Owner) -> None:
    claim(library, jo, dry_run=False)
    mine = dataclasses.replace(jo, sandbox="mine", uid=61002, state="/x", network="198.18.0.128/25")
    with pytest.raises(ForeignSandboxError) as refused:
        claim(library.parent / "mine", mine, dry_run=False)
    text = str(refused.value)
    assert (
        "machines_network: 198.18.0.128/25 overlaps 198.18.0.0/24 of the sandbox dev of this machine: uid 61001" in text
    )
    assert not (library.parent / "mine").exists()
    assert claim(library.parent / "mine", dataclasses.replace(mine, network="198.18.1.0/24"), dry_run=False)


def test_of_two_at_once_one_is_refused(library: Path, jo: Owner) -> None:
    """Two sandboxes with the same addresses have a lock of a run each, which do not keep them apart."""
    refused: list[str] = []

    def run(number: int) -> None:
        mine = dataclasses.replace(jo, sandbox=f"s{number}", uid=62000 + number)
        try:
            claim(library.parent / mine.sandbox, mine, dry_run=False)
        except ForeignSandboxError as error:
            refused.append(str(error))

    threads = [threading.Thread(target=run, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(refused) == 7
    assert len(list(library.parent.iterdir())) == 1


def test_another_checkout_or_inventory_is_said(jo: Owner) -> None:
    assert owner.elsewhere(jo, jo) == ""
    there = dataclasses.replace(jo, checkout="/jo/other")
    assert "was made from /jo/cicd on 1970" in owner.elsewhere(jo, there)
    assert "goes on with the same machines from /jo/other with /jo/cicd/dev" in owner.elsewhere(jo, there)
    there = dataclasses.replace(jo, inventories=("/jo/cicd/my",))
    assert "was made with /jo/cicd/dev on 1970" in owner.elsewhere(jo, there)
    assert owner.elsewhere(jo, dataclasses.replace(jo, inventories=("/more", "/jo/cicd/dev"))) == ""


def test_module_writes_it_once(library: Path, jo: Owner, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = {
        "sandbox": "dev",
        "library": str(library),
        "state_directory": jo.state,
        "uid": jo.uid,
        "home": jo.home,
        "checkout": "/jo/x/../cicd",
        "inventories": ["/jo/cicd/dev"],
        "network": jo.network,
    }
    assert run_module("sandbox_owner", arguments, capsys, check=True)["changed"]
    assert not library.exists()
    first = run_module("sandbox_owner", arguments, capsys)
    assert (first["changed"], first["path"]) == (True, str(library / "owner.json"))
    assert not run_module("sandbox_owner", arguments, capsys)["changed"]
    said = json.loads((library / "owner.json").read_text())
    assert said["since"] > 1e9
    assert said | {"since": jo.since} == dataclasses.asdict(jo) | {"inventories": ["/jo/cicd/dev"]}
    assert "somebody else's" in run_module("sandbox_owner", arguments | {"uid": 5}, capsys)["msg"]
    where = arguments | {"library": "/proc/nowhere/dev"}
    assert run_module("sandbox_owner", where, capsys)["msg"].startswith("/proc/nowhere: ")
