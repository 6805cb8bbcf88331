# Copyright: cicd.sandbox contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a host says of its etcd member, from recorded answers of etcdctl 3.7 and systemctl 252."""

from __future__ import annotations

import dataclasses
import json
import time
from collections.abc import Sequence
from pathlib import Path

import pytest
from ansible_collections.cicd.sandbox.plugins.module_utils.etcd import member as etcd_member
from ansible_collections.cicd.sandbox.plugins.module_utils.etcd.client import Client
from ansible_collections.cicd.sandbox.plugins.module_utils.etcd.member import (
    Member,
    await_health,
    last_words,
    probe,
    shortened,
)

FIXTURES = Path(__file__).parent / "fixtures/etcd"
RUNNING = "ActiveState=active\nUnitFileState=enabled\nExecMainStartTimestampMonotonic={microseconds:.0f}\n"


class Host:
    """Answers command lines from files; what has no file ends with 1."""

    def __init__(self, **answers: str) -> None:
        self.answers = answers
        self.lines: list[list[str]] = []

    def __call__(self, line: Sequence[str]) -> tuple[int, str]:
        self.lines.append(list(line))
        if line[0] == "systemctl":
            return 0, self.answers["service"]
        words = "_".join(word for word in line[1:] if not word.startswith("-"))
        return (0, self.answers[words]) if words in self.answers else (1, "")


CLIENT = Client("https://127.0.0.1:2379", "ca", "crt", "key")


@pytest.fixture
def member(tmp_path: Path) -> Member:
    (tmp_path / "data/member/wal").mkdir(parents=True)
    (tmp_path / "data/member/wal/0.wal").touch()
    program = tmp_path / "etcd"
    program.touch()
    return Member(CLIENT, tmp_path / "data", "etcd.service", (program,))


def answer(name: str) -> str:
    return (FIXTURES / name).read_text(encoding="utf-8")


def running(seconds_ago: float = 0) -> str:
    return RUNNING.format(microseconds=(time.monotonic() - seconds_ago) * 1e6)


def test_a_healthy_member(member: Member) -> None:
    host = Host(
        service=running(), endpoint_status=answer("endpoint_status.json"), member_list=answer("member_list.json")
    )
    found = probe(member, host)
    assert found["data"]
    assert found["active"]
    assert found["enabled"]
    assert not found["outdated"]
    assert found["healthy"]
    assert found["cluster_id"] == "6c4a5e0a340cdbe7"
    assert found["version"] == "3.7.3"
    assert [item["name"] for item in found["members"]] == ["etcd-3", "etcd-1", "etcd-2"]
    assert found["members"][1] == {
        "id": "e6e3ef4a33da4c68",
        "name": "etcd-1",
        "peer_urls": ["https://198.18.6.11:2380"],
        "learner": False,
    }


def test_alarms_are_told_with_who_raised_them(member: Member) -> None:
    status = json.loads(answer("endpoint_status.json"))
    # Protobuf's own text puts one blank or two between fields.
    status[0]["Status"]["errors"] = [
        "memberID:117829225058784888 alarm:NOSPACE",
        "memberID:255  alarm:CORRUPT ",
        "etcdserver: no leader",
    ]
    host = Host(service=running(), endpoint_status=json.dumps(status), member_list=answer("member_list.json"))
    assert probe(member, host)["alarms"] == [
        {"alarm": "NOSPACE", "member_id": "1a29d0e4fc9d678"},
        {"alarm": "CORRUPT", "member_id": "ff"},
    ]


def test_without_a_quorum_it_is_not_healthy(member: Member) -> None:
    found = probe(member, Host(service=running(), endpoint_status=answer("endpoint_status.json")))
    assert found["active"]
    assert not found["healthy"]
    assert found["members"] == []
    assert found["cluster_id"]


def test_a_learner_is_healthy_with_a_leader_and_is_not_asked_for_members(member: Member) -> None:
    learner = answer("endpoint_status.json").replace('"version"', '"isLearner":true,"version"', 1)
    host = Host(service=running(), endpoint_status=learner)
    found = probe(member, host)
    assert found["learner"]
    assert found["healthy"]
    assert not any("list" in line for line in host.lines)


def test_a_stopped_service_is_not_asked(member: Member) -> None:
    host = Host(service="ActiveState=inactive\nUnitFileState=disabled\nExecMainStartTimestampMonotonic=0\n")
    found = probe(member, host)
    assert not found["active"]
    assert not found["enabled"]
    assert not found["outdated"]
    assert len(host.lines) == 1


def test_a_directory_without_log_is_no_data(member: Member) -> None:
    for path in (member.data_directory / "member/wal").iterdir():
        path.unlink()
    assert not probe(member, Host(service="ActiveState=inactive\n"))["data"]


def test_a_process_older_than_its_program_is_outdated(member: Member) -> None:
    assert probe(member, Host(service=running(seconds_ago=60)))["outdated"]


def test_waits_until_it_is_healthy(member: Member, monkeypatch: pytest.MonkeyPatch) -> None:
    host = Host(service=running(), endpoint_status=answer("endpoint_status.json"))

    def sleep(_: float) -> None:
        host.answers["member_list"] = answer("member_list.json")

    monkeypatch.setattr(etcd_member.time, "sleep", sleep)
    assert await_health(member, host, 60)["healthy"]


def test_looks_once_without_patience(member: Member) -> None:
    host = Host(service="ActiveState=inactive\n")
    assert not await_health(member, host, 0)["healthy"]
    assert len(host.lines) == 1


def test_shortens_what_etcd_wrote() -> None:
    text = answer("journal.txt")
    words = last_words("etcd.service", lambda _: (0, text))
    assert words[0] == "etcd.service: Start assertion failed"
    assert words[1] == "warn: prober detected unhealthy status (error: dial tcp 198.18.6.12:2380: i/o timeout)"
    assert shortened("[1, 2]") == "[1, 2]"


def test_questions_are_bounded() -> None:
    """Without a quorum some are never answered."""
    impatient = dataclasses.replace(CLIENT, patience=1.5)
    assert {"--dial-timeout=1.5s", "--command-timeout=1.5s"} < set(impatient.command("member", "list"))
