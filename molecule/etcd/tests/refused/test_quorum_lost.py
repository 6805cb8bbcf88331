"""Two of three members lost their data: nothing is made anew, and the run says what to do."""

from __future__ import annotations

from helpers import marker, playbook

testinfra_hosts = ["ansible://etcd-2", "ansible://etcd-3"]


def test_the_run_is_refused_and_says_what_to_do():
    before = marker()
    refused = playbook("etcd")
    assert refused.returncode != 0
    words = " ".join(refused.stdout.split())
    assert "needs 2, but only 1 still has data (etcd-1); the data of etcd-2, etcd-3 is gone" in words
    assert "etcd_restore.yml -e etcd_restore_snapshot=" in words
    assert marker() == before


def test_no_snapshot_of_what_does_not_answer():
    refused = playbook("etcd_snapshot")
    assert refused.returncode != 0
    assert "no snapshot" in refused.stdout


def test_members_without_data_do_not_start_by_themselves(host):
    host.run("systemctl restart etcd")
    assert not host.service("etcd").is_running
    assert not host.file("/var/lib/etcd/data").exists
