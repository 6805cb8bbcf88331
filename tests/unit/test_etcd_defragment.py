# Copyright: cicd.sandbox contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Defragmentation of a member: only where it frees enough, never while another may be away, the leader last."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.cicd.sandbox.plugins.module_utils.etcd import defragment
from ansible_collections.cicd.sandbox.plugins.module_utils.etcd.defragment import main, read_metrics

MIB = 1048576
NAMES = ("etcd-1", "etcd-2", "etcd-3")
ENDPOINTS = {name: f"https://198.18.0.1{name[-1]}:2379" for name in NAMES}
NOSPACE = "memberID:2 alarm:NOSPACE"


class Cluster:
    """Three members that answer etcdctl; a defragmentation leaves what is in use."""

    def __init__(self) -> None:
        self.members: dict[str, dict[str, Any]] = {
            name: {"id": number, "size": 400 * MIB, "in_use": 100 * MIB, "away": False, "learner": False}
            for number, name in enumerate(NAMES, 1)
        }
        self.leader = 3
        self.errors: list[str] = []
        self.refuses: dict[str, str] = {}
        self.done: list[tuple[str, str]] = []

    def __call__(self, line: Sequence[str]) -> tuple[int, str, str]:
        endpoint = line[1].removeprefix("--endpoints=")
        words = [word for word in line[2:] if not word.startswith("--") or word == "--physical"]
        name = next((name for name, url in ENDPOINTS.items() if url == endpoint), "etcd-1")
        member = self.members[name]
        if words[0] in self.refuses:
            return 1, "", f'{{"level":"warn","error":"{self.refuses[words[0]]}"}}\n'
        if member["away"]:
            return 1, "", "Error: context deadline exceeded\n"
        if words == ["endpoint", "status"]:
            status = {
                "header": {"member_id": member["id"], "revision": 9},
                "leader": self.leader,
                "dbSize": member["size"],
                "dbSizeInUse": member["in_use"],
                "dbSizeQuota": 500 * MIB,
                "isLearner": member["learner"],
                "errors": self.errors,
            }
            return 0, json.dumps([{"Endpoint": endpoint, "Status": status}]), ""
        self.done.append((name, " ".join(words)))
        if words == ["defrag"]:
            member["size"] = member["in_use"]
        if words == ["alarm", "disarm"]:
            self.errors = []
        return 0, "", ""


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> Cluster:
    made = Cluster()
    monkeypatch.setattr(defragment.time, "sleep", lambda _: None)
    return made


@pytest.fixture
def settings(tmp_path: Path) -> Path:
    path = tmp_path / "settings.json"
    values = {
        "name": "etcd-1",
        "endpoint": ENDPOINTS["etcd-1"],
        "members": ENDPOINTS,
        "etcdctl": "etcdctl",
        "ca": "ca",
        "certificate": "crt",
        "key": "key",
        "ratio": 0.5,
        "minimum_bytes": 100 * MIB,
        "timeout": 0,
        "metrics": str(tmp_path / "metrics/etcd.prom"),
    }
    path.write_text(json.dumps(values))
    return path


def asked(
    capsys: pytest.CaptureFixture[str], settings: Path, cluster: Cluster, *words: str, name: str = "etcd-1"
) -> tuple[int, dict[str, Any]]:
    """Run the program on a member's host, as if it had the lock."""
    values = json.loads(settings.read_text())
    settings.write_text(json.dumps({**values, "name": name, "endpoint": ENDPOINTS[name]}))
    code = main(["--settings", str(settings), "--held", *words], cluster)
    return code, json.loads(capsys.readouterr().out)


def test_a_fragmented_member_is_defragmented(
    capsys: pytest.CaptureFixture[str], settings: Path, cluster: Cluster
) -> None:
    code, result = asked(capsys, settings, cluster, "due")
    assert (code, result["before_bytes"], result["after_bytes"]) == (0, 400 * MIB, 100 * MIB)
    assert cluster.done == [("etcd-1", "defrag")]
    metrics = read_metrics(settings.parent / "metrics/etcd.prom")
    assert metrics["freed_bytes"] == 300 * MIB
    assert asked(capsys, settings, cluster, "due")[1] == {
        "skipped": "0.0 MiB of 100.0 MiB would be freed, which is not enough"
    }
    assert len(cluster.done) == 1


@pytest.mark.parametrize(("size", "in_use"), [(400, 250), (150, 60)])
def test_where_little_is_freed_nothing_is_done(
    capsys: pytest.CaptureFixture[str], settings: Path, cluster: Cluster, size: int, in_use: int
) -> None:
    cluster.members["etcd-1"] |= {"size": size * MIB, "in_use": in_use * MIB}
    assert "not enough" in asked(capsys, settings, cluster, "due")[1]["skipped"]
    assert cluster.done == []
    # Unless somebody asks for it.
    assert asked(capsys, settings, cluster, "now")[0] == 0
    assert cluster.done == [("etcd-1", "defrag")]


def test_the_leader_comes_last(capsys: pytest.CaptureFixture[str], settings: Path, cluster: Cluster) -> None:
    result = asked(capsys, settings, cluster, "due", name="etcd-3")[1]
    assert result == {"skipped": "the leader comes last: etcd-1, etcd-2 before it"}
    for name in ("etcd-1", "etcd-2", "etcd-3"):
        assert asked(capsys, settings, cluster, "due", name=name)[0] == 0
    assert [name for name, _ in cluster.done] == ["etcd-1", "etcd-2", "etcd-3"]


@pytest.mark.parametrize("action", ["due", "now"])
@pytest.mark.parametrize(
    ("what", "words"),
    [
        ("away", "etcd-2 does not answer, so that no other member may be away"),
        ("learner", "etcd-2 has not caught up yet"),
        ("leaderless", "no common leader"),
    ],
)
def test_the_quorum_is_never_at_risk(
    capsys: pytest.CaptureFixture[str], settings: Path, cluster: Cluster, what: str, words: str, action: str
) -> None:
    if what == "leaderless":
        cluster.leader = 0
    else:
        cluster.members["etcd-2"][what] = True
    code, result = asked(capsys, settings, cluster, action)
    assert code == 1
    assert words in result["problem"]
    assert cluster.done == []


def test_the_timer_leaves_an_alarm_to_a_person(
    capsys: pytest.CaptureFixture[str], settings: Path, cluster: Cluster
) -> None:
    cluster.errors = [NOSPACE]
    code, result = asked(capsys, settings, cluster, "due")
    assert (code, result["problem"]) == (1, "etcd-1: the alarm NOSPACE 2 stands: see the playbook etcd_defragment")
    assert cluster.done == []
    assert asked(capsys, settings, cluster, "now")[0] == 0


def test_a_run_leaves_its_result_for_a_prometheus(
    capsys: pytest.CaptureFixture[str], settings: Path, cluster: Cluster
) -> None:
    path = settings.parent / "metrics/etcd.prom"
    cluster.members["etcd-1"]["size"] = 100 * MIB
    assert main(["--settings", str(settings), "due"], cluster) == 0
    well = read_metrics(path)
    assert well["problem"] == 0
    assert well["last_success_timestamp_seconds"] == well["last_run_timestamp_seconds"]
    cluster.members["etcd-2"]["away"] = True
    assert main(["--settings", str(settings), "due"], cluster) == 1
    ill = read_metrics(path)
    assert (ill["problem"], ill["last_success_timestamp_seconds"]) == (1, well["last_success_timestamp_seconds"])
    assert path.stat().st_mode & 0o777 == 0o644
    capsys.readouterr()


def test_old_revisions_are_dropped(capsys: pytest.CaptureFixture[str], settings: Path, cluster: Cluster) -> None:
    assert asked(capsys, settings, cluster, "compact") == (0, {"compacted": 9})
    assert cluster.done == [("etcd-1", "compact --physical 9")]
    cluster.refuses["compact"] = "mvcc: required revision has been compacted"
    assert asked(capsys, settings, cluster, "compact")[0] == 0
    cluster.refuses["compact"] = "etcdserver: corrupt cluster"
    assert "corrupt cluster" in asked(capsys, settings, cluster, "compact")[1]["problem"]


def test_an_alarm_is_disarmed_where_it_would_not_come_back(
    capsys: pytest.CaptureFixture[str], settings: Path, cluster: Cluster
) -> None:
    cluster.errors = [NOSPACE]
    cluster.members["etcd-3"]["size"] = 490 * MIB
    code, result = asked(capsys, settings, cluster, "disarm")
    assert code == 1
    assert "etcd-3 (490.0 MiB of 500.0 MiB) of the quota. Raise etcd_quota_bytes" in result["problem"]
    cluster.members["etcd-3"]["size"] = 200 * MIB
    assert asked(capsys, settings, cluster, "disarm") == (0, {"disarmed": ["NOSPACE 2"]})
    assert asked(capsys, settings, cluster, "disarm") == (0, {"disarmed": []})
    assert cluster.done == [("etcd-1", "alarm disarm")]


def test_a_corrupt_member_has_to_be_replaced_before(
    capsys: pytest.CaptureFixture[str], settings: Path, cluster: Cluster
) -> None:
    cluster.errors = ["memberID:2  alarm:CORRUPT "]
    code, result = asked(capsys, settings, cluster, "disarm")
    assert code == 1
    assert "the data of etcd-2 is CORRUPT. Move its data directory away" in result["problem"]
    # It joined again, under another id.
    cluster.members["etcd-2"]["id"] = 7
    assert asked(capsys, settings, cluster, "disarm")[0] == 0


def test_the_lock_is_kept_by_the_others(settings: Path, cluster: Cluster) -> None:
    values = json.loads(settings.read_text())
    line = defragment.held(defragment.Maintenance(values, cluster), values, ["program", "due"])
    assert line[1] == f"--endpoints={ENDPOINTS['etcd-2']},{ENDPOINTS['etcd-3']}"
    assert line[-5:] == ["--ttl=120", defragment.LOCK, "--", "program", "due"]
    assert not any(word.startswith("--command-timeout") for word in line)
