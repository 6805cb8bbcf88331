# Copyright: cicd.sandbox contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The background queue: order, failure, being killed, being stopped; with a `go` that needs no network."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import fake_go
import pytest
from ansible.module_utils.testing import patch_module_args
from ansible_collections.cicd.sandbox.plugins.module_utils.artifacts import go
from ansible_collections.cicd.sandbox.plugins.module_utils.artifacts.cache import Status, remove_tree
from ansible_collections.cicd.sandbox.plugins.module_utils.artifacts.catalogue import Catalogue, open_catalogue
from ansible_collections.cicd.sandbox.plugins.module_utils.artifacts.effort import BEHIND, Effort
from ansible_collections.cicd.sandbox.plugins.module_utils.artifacts.queue import (
    BUILDING,
    CACHED,
    FAILED,
    MISSING,
    QUEUED,
    Awaiting,
    Schedule,
    State,
    explain,
    is_awaited,
    mark_queued,
    run,
    runners,
    start,
    stop,
    survey,
    sweep,
)
from ansible_collections.cicd.sandbox.plugins.module_utils.host.proc import arguments, descendants, threads
from ansible_collections.cicd.sandbox.plugins.modules import artifacts_queue

NAMES = ["first", "second", "third"]


def component(name: str, needed: int) -> dict[str, Any]:
    recipe = {"module": f"example.com/{name}", "version": "v1.0.0", "packages": {name: "."}}
    return {"version": "1.0.0", "needed": needed, "files": [name], "build": {"go": [recipe]}}


@pytest.fixture
def values(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """The module's option `catalogue`: three components in the order third, second, first."""
    home = tmp_path / "home"
    monkeypatch.setenv("PATH", f"{fake_go.install(home)}:/usr/bin:/bin")
    monkeypatch.setattr(go, "GO_PLACES", ())
    for name in NAMES:
        fake_go.add_module(home, f"example.com/{name}", "v1.0.0", {"main.go": "package main"})
    (tmp_path / "cache").mkdir()
    return {
        "components": {name: component(name, 3 - number) for number, name in enumerate(NAMES)},
        "cache": str(tmp_path / "cache"),
        "source": "build",
        "collection": str(tmp_path),
        "go": {"minimum": "1.26", "fallback": "1.26.5"},
    }


@pytest.fixture
def catalogue(values: dict[str, Any]) -> Iterator[Catalogue]:
    catalogue = open_catalogue(values)
    yield catalogue
    stop(catalogue.cache, "*")


def states(catalogue: Catalogue, names: list[str] | None = None) -> dict[str, str]:
    return {state.component: state.state for state in survey(catalogue, names or NAMES)}


def built(tmp_path: Path) -> list[str]:
    calls = fake_go.calls(tmp_path / "home")
    return [Path(call["argv"][-2]).name for call in calls if call["argv"][0] == "build"]


def wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_everything_is_made_in_the_order_of_need(catalogue: Catalogue, tmp_path: Path) -> None:
    assert set(states(catalogue).values()) == {MISSING}
    run(catalogue, NAMES, slots=1, niceness=0)
    assert set(states(catalogue).values()) == {CACHED}
    assert built(tmp_path) == ["third", "second", "first"]


def test_a_failure_is_kept_and_stops_no_other(catalogue: Catalogue, tmp_path: Path) -> None:
    remove_tree(tmp_path / "home/modules/example.com_second@v1.0.0")
    run(catalogue, NAMES, slots=2, niceness=0)
    assert states(catalogue) == {"first": CACHED, "second": FAILED, "third": CACHED}
    (failed,) = survey(catalogue, ["second"])
    assert "404 Not Found" in explain([failed])
    assert failed.log in explain([failed])


def test_a_failure_that_is_nobodys_fault_is_kept_too(catalogue: Catalogue, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: Any) -> None:
        raise KeyError("surprise")

    monkeypatch.setattr(Catalogue, "make", broken)
    run(catalogue, ["first"], slots=1)
    (failed,) = survey(catalogue, ["first"])
    assert failed.state == FAILED
    assert "KeyError: 'surprise'" in failed.error


def test_a_detached_runner_makes_what_is_missing(catalogue: Catalogue, tmp_path: Path) -> None:
    (tmp_path / "home/slow").write_text("0.3")
    pid = start(catalogue, NAMES, "dev", slots=2, niceness=0)
    assert pid != os.getpid()
    assert set(states(catalogue).values()) <= {QUEUED, BUILDING, CACHED}
    assert [number for _, number in runners(catalogue.cache, "dev")] == [pid]
    assert runners(catalogue.cache, "prod") == []
    wait_for(lambda: set(states(catalogue).values()) == {CACHED})
    wait_for(lambda: runners(catalogue.cache) == [])


def test_a_killed_runner_leaves_what_the_next_one_takes_up(catalogue: Catalogue, tmp_path: Path) -> None:
    (tmp_path / "home/slow").write_text("60")
    pid = start(catalogue, NAMES, "dev", slots=1, niceness=0)
    wait_for(lambda: states(catalogue)["third"] == BUILDING)
    os.kill(pid, signal.SIGKILL)
    wait_for(lambda: set(states(catalogue).values()) == {MISSING})
    (lost,) = survey(catalogue, ["first"])
    assert "run again with the tag artifacts" in explain([lost])

    (tmp_path / "home/slow").unlink()
    start(catalogue, NAMES, "dev", slots=2, niceness=0)
    wait_for(lambda: set(states(catalogue).values()) == {CACHED})


def test_a_runner_is_stopped_with_what_it_started(catalogue: Catalogue, tmp_path: Path) -> None:
    (tmp_path / "home/slow").write_text("60")
    pid = start(catalogue, NAMES, "dev", slots=1, niceness=0)
    wait_for(lambda: states(catalogue)["third"] == BUILDING)
    assert stop(catalogue.cache, "prod") == []
    assert stop(catalogue.cache, "dev") == [pid]
    assert set(states(catalogue).values()) == {MISSING}
    assert list(catalogue.cache.glob("*/*/.*")) == []
    assert stop(catalogue.cache, "dev") == []


def test_an_owner_whose_name_begins_with_anothers_is_somebody_else(catalogue: Catalogue, tmp_path: Path) -> None:
    (tmp_path / "home/slow").write_text("60")
    pid = start(catalogue, NAMES, "dev-2", slots=1, niceness=0)
    assert runners(catalogue.cache, "dev") == []
    assert stop(catalogue.cache, "dev") == []
    assert [number for _, number in runners(catalogue.cache, "dev-2")] == [pid]


def test_what_another_owner_makes_is_made_also_when_that_one_is_stopped(
    catalogue: Catalogue, values: dict[str, Any], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    def call() -> dict[str, Any]:
        with patch_module_args({"catalogue": values, "owner": "dev", "niceness": 0}), pytest.raises(SystemExit):
            artifacts_queue.main()
        result: dict[str, Any] = json.loads(capsys.readouterr().out)
        return result

    (tmp_path / "home/slow").write_text("60")
    start(catalogue, NAMES, "dev-2", slots=1, niceness=0)
    wait_for(lambda: states(catalogue)["third"] == BUILDING)
    own = call()
    assert own["started"] == ["third", "second", "first"]
    assert call()["started"] == []
    assert len(runners(catalogue.cache, "dev")) == 1

    (tmp_path / "home/slow").unlink()
    stop(catalogue.cache, "dev-2")
    seen: set[str] = set()

    def finished() -> bool:
        found = set(states(catalogue).values())
        seen.update(found)
        return found == {CACHED}

    wait_for(finished)
    # Whoever waits sees at no moment that nobody makes it.
    assert MISSING not in seen
    assert FAILED not in seen


def test_who_waits_for_another_runner_takes_no_slot(catalogue: Catalogue, tmp_path: Path) -> None:
    (tmp_path / "home/slow").write_text("60")
    start(catalogue, ["third"], "dev", slots=2, niceness=0)
    wait_for(lambda: states(catalogue, ["third"])["third"] == BUILDING)
    start(catalogue, ["third", "second"], "dev-2", slots=2, niceness=0)
    start(catalogue, ["third", "second"], "dev-3", slots=2, niceness=0)
    wait_for(lambda: states(catalogue, ["second"])["second"] == BUILDING)


def test_what_is_being_made_is_not_swept(catalogue: Catalogue, tmp_path: Path) -> None:
    entry = catalogue.plan("first").entry
    assert entry is not None
    entry.partial.mkdir(parents=True)
    (tmp_path / "home/slow").write_text("60")
    start(catalogue, ["third"], "dev", slots=1, niceness=0)
    wait_for(lambda: states(catalogue, ["third"])["third"] == BUILDING)
    third = catalogue.plan("third").entry
    assert third is not None
    wait_for(third.partial.exists)
    sweep(catalogue.cache)
    assert not entry.partial.exists()
    assert third.partial.exists()


def test_remnants_of_a_status_are_not_believed(catalogue: Catalogue) -> None:
    entry = catalogue.plan("first").entry
    assert entry is not None
    Status.of(entry).write(entry, state="building", pid=1)
    assert states(catalogue)["first"] == MISSING


def test_a_corrupt_entry_is_made_anew(catalogue: Catalogue) -> None:
    run(catalogue, ["first"], slots=1, niceness=0)
    entry = catalogue.plan("first").entry
    assert entry is not None
    (entry.directory / "first").write_text("spoilt")
    assert states(catalogue)["first"] == MISSING
    run(catalogue, ["first"], slots=1, niceness=0)
    assert states(catalogue)["first"] == CACHED


# --- who comes first --------------------------------------------------------------------------------------------------


def test_what_somebody_waits_for_is_made_first(catalogue: Catalogue, tmp_path: Path) -> None:
    mark_queued(catalogue, NAMES)
    (entry,) = catalogue.plan("first").entries
    with Awaiting() as awaiting:
        awaiting.wait_for([entry])
        assert is_awaited(entry)
        run(catalogue, NAMES, slots=1, niceness=0)
    assert built(tmp_path) == ["first", "third", "second"]
    assert not entry.awaited.exists()


def test_waiting_ends_with_whoever_waits(catalogue: Catalogue) -> None:
    (entry,) = catalogue.plan("first").entries
    with Awaiting() as awaiting:
        # Nobody has it in a queue yet.
        awaiting.wait_for([entry])
        assert not is_awaited(entry)
        mark_queued(catalogue, ["first"])
        awaiting.wait_for([entry])
        assert is_awaited(entry)
        with Awaiting() as another:
            another.wait_for([entry])
        assert is_awaited(entry)
    assert not is_awaited(entry)


def test_one_is_in_front_and_the_others_give_way(catalogue: Catalogue, tmp_path: Path) -> None:
    (tmp_path / "home/slow").write_text("60")
    mark_queued(catalogue, NAMES)
    schedule = Schedule(catalogue, NAMES, niceness=3)

    def niceness() -> dict[str, int]:
        return {name: effort.niceness for name, (_, effort) in dict(schedule._made).items()}

    with ThreadPoolExecutor(1) as pool:
        done = pool.submit(schedule.run, 2)
        wait_for(lambda: niceness() == {"third": 3, "second": BEHIND})
        with Awaiting() as awaiting:
            awaiting.wait_for(catalogue.plan("second").entries)
            wait_for(lambda: niceness() == {"third": BEHIND, "second": 3})
        wait_for(lambda: niceness() == {"third": 3, "second": BEHIND})
        wait_for(lambda: sorted(built(tmp_path)) == ["second", "third"])
        (tmp_path / "home/slow").unlink()
        for pid in [pid for pid in descendants(os.getpid()) if b"build" in arguments(pid)]:
            os.kill(pid, signal.SIGKILL)
        done.result()
    assert states(catalogue) == {"first": CACHED, "second": FAILED, "third": FAILED}


def test_all_that_a_tool_has_started_changes_its_niceness(tmp_path: Path) -> None:
    def niceness(pid: int) -> list[int]:
        found = [os.getpriority(os.PRIO_PROCESS, each) for process in descendants(pid) for each in threads(process)]
        return sorted(found)

    effort = Effort(0)
    program = "import os, threading, time; threading.Thread(target=time.sleep, args=[60]).start(); os.fork()"
    with subprocess.Popen([sys.executable, "-W", "ignore", "-c", f"{program}; time.sleep(60)"]) as process:
        own = os.getpriority(os.PRIO_PROCESS, 0)
        wait_for(lambda: niceness(process.pid) == [own] * 3)
        with effort.of(process.pid):
            effort.change(BEHIND)
            assert niceness(process.pid) == [BEHIND] * 3
        for pid in reversed(descendants(process.pid)):
            os.kill(pid, signal.SIGKILL)


def test_progress_is_one_line() -> None:
    state = State("etcd", "3.7.3", BUILDING, since=100, step="compiling etcd", detail="12 packages")
    assert state.describe(170) == "etcd 3.7.3: for 1:10 min, compiling etcd: 12 packages"
    assert State("etcd", "3.7.3", QUEUED).describe(170) == "etcd 3.7.3: queued"


def test_the_module_starts_only_what_is_missing(
    catalogue: Catalogue, values: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    def call(**more: Any) -> dict[str, Any]:
        arguments = {"catalogue": values, "owner": "dev", "niceness": 0, **more}
        with patch_module_args(arguments), pytest.raises(SystemExit):
            artifacts_queue.main()
        result: dict[str, Any] = json.loads(capsys.readouterr().out)
        return result

    run(catalogue, ["first"], slots=1, niceness=0)
    foreseen = call(_ansible_check_mode=True)
    assert (foreseen["changed"], foreseen["started"], foreseen["pid"]) == (True, ["third", "second"], 0)
    assert set(states(catalogue, ["second", "third"]).values()) == {MISSING}
    started = call()
    assert (started["changed"], started["started"]) == (True, ["third", "second"])
    wait_for(lambda: set(states(catalogue).values()) == {CACHED})
    wait_for(lambda: runners(catalogue.cache) == [])
    again = call()
    assert (again["changed"], again["started"]) == (False, [])
    assert set(again["states"].values()) == {CACHED}
    assert call(state="stopped")["changed"] is False
    assert "no component 'none'" in call(names=["none"])["msg"]
