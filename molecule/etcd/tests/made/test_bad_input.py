"""What is refused while three members stand, and leaves them alone."""

from __future__ import annotations

import json

import pytest
from helpers import etcdctl, machine, playbook


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


def test_a_setting_with_which_etcd_does_not_start_costs_one_member():
    def starts():
        names = ("etcd-2", "etcd-3")
        return [machine(name).service("etcd").systemd_properties["ExecMainStartTimestamp"] for name in names]

    before = starts()
    wrong = {"etcd_environment": {"ETCD_MAX_REQUEST_BYTES": "many"}, "etcd_timeout": 5}
    failed = playbook("etcd", "-e", json.dumps(wrong))
    assert failed.returncode != 0
    assert "etcd-1 is not healthy after 5 s" in failed.stdout
    assert "many" in failed.stdout
    assert starts() == before
    etcdctl(machine("etcd-2"), "put /test/still here")
    corrected = playbook("etcd")
    assert corrected.returncode == 0, corrected.stdout
    etcdctl(machine("etcd-1"), "endpoint health --cluster")


def test_members_whose_authority_the_controller_lost_are_left_alone(tmp_path):
    refused = playbook("etcd", "-e", f"sandbox_pki_directory={tmp_path}")
    assert refused.returncode != 0
    assert "etcd-1 is a member of etcd already" in refused.stdout
    assert not (tmp_path / "etcd").exists()
