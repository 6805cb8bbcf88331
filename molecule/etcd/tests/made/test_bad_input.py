"""What is refused while three members stand, and leaves them alone."""

from __future__ import annotations

import pytest
from helpers import machine, playbook


@pytest.mark.parametrize("members", ["0", "4"])
def test_a_number_of_members_that_cannot_be_is_refused(members):
    refused = playbook("etcd", "-e", f"etcd_members={members}")
    assert refused.returncode != 0
    assert f"etcd_members is {members}." in refused.stdout


def test_a_restore_has_to_be_asked_for_by_name():
    for arguments, words in (
        ((), "Name the snapshot to restore"),
        (("-e", "etcd_restore_snapshot=/no/such.db"), "/no/such.db is no file"),
    ):
        refused = playbook("etcd_restore", *arguments)
        assert refused.returncode != 0
        assert words in refused.stdout
        assert "changed=0" in refused.stdout


def test_a_broken_snapshot_is_refused_before_anything_stops(tmp_path):
    host = machine("etcd-1")
    broken = tmp_path / "broken.db"
    broken.write_bytes(b"no database" * 1000)
    before = host.service("etcd").systemd_properties["ExecMainStartTimestamp"]
    refused = playbook("etcd_restore", "-e", f"etcd_restore_snapshot={broken}")
    assert refused.returncode != 0
    assert "can't be restored; nothing was changed" in refused.stdout
    assert host.service("etcd").systemd_properties["ExecMainStartTimestamp"] == before
