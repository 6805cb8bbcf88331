"""After the restore: what was there at the snapshot is there, on every member, and watchers can't be misled."""

from __future__ import annotations

import json

from helpers import MEMBERS, STATE, etcdctl, marker

testinfra_hosts = ["ansible://etcd"]


def test_what_was_saved_is_there_and_nothing_else(host):
    assert etcdctl(host, "get /test/kept --print-value-only") == "before the snapshot"
    assert etcdctl(host, "get /test/later") == ""


def test_all_members_are_back_in_a_cluster_of_its_own(host):
    listed = json.loads(etcdctl(host, "member list --write-out=json"))
    assert sorted(member["name"] for member in listed["members"]) == list(MEMBERS)
    assert f"{listed['header']['cluster_id']:x}" == marker()["cluster_id"]
    (note,) = (STATE / "backups/etcd").glob("*.json")
    assert json.loads(note.read_text())["cluster_id"] != marker()["cluster_id"]


def test_revisions_went_on_far_ahead(host):
    status = json.loads(etcdctl(host, "endpoint status --write-out=json"))
    assert status[0]["Status"]["header"]["revision"] > 1_000_000_000


def test_snapshots_are_the_users_alone():
    for path in (STATE / "backups/etcd").iterdir():
        assert path.stat().st_mode & 0o077 == 0
