"""The database reaches its quota: what is said, and the way out."""

from __future__ import annotations

import json

from helpers import MEMBERS, etcdctl, machine, playbook

# Large enough for a few writes; the members of this scenario hold next to nothing.
SMALL = 16 * 1024 * 1024
DISARM = "playbooks/etcd_defragment.yml -e etcd_defragment_disarm=true"
SIZES = "--write-out=json endpoint status --cluster"


def fill() -> None:
    """Write a key of 1 MB over and over, until the quota refuses it; 40 times at most."""
    host = machine("etcd-1")
    host.check_output("head -c 750000 /dev/urandom | base64 -w0 > /root/value")
    pki = "--cacert=/etc/etcd/pki/ca.crt --cert=/etc/etcd/pki/server.crt --key=/etc/etcd/pki/server.key"
    put = f"etcdctl --endpoints=https://127.0.0.1:2379 {pki} put /test/large < /root/value"
    refused = host.run(f"for n in $(seq 40); do {put} || exit 7; done")
    host.check_output("rm /root/value")
    assert refused.rc == 7
    assert "database space exceeded" in refused.stderr


def words(said: str) -> str:
    return " ".join(said.split())


def test_an_alarm_is_told_until_it_is_disarmed_and_the_members_are_defragmented():
    assert playbook("etcd", "-e", f"etcd_quota_bytes={SMALL}").returncode == 0
    fill()
    # Also with the larger quota, which is brought all the same.
    for arguments in (("-e", f"etcd_quota_bytes={SMALL}"), ()):
        told = playbook("etcd", *arguments)
        assert told.returncode != 0
        assert "The alarm NOSPACE stands (raised by etcd-" in words(told.stdout)
        assert DISARM in words(told.stdout)
    settings = machine("etcd-1").file("/etc/etcd/etcd.env").content_string
    assert f"ETCD_QUOTA_BACKEND_BYTES={SMALL}\n" not in settings
    # No timer touches anything meanwhile, and its metric says so.
    host = machine("etcd-2")
    assert host.run("systemctl start etcd-defragment").rc != 0
    metrics = host.file("/var/lib/prometheus/node-exporter/etcd_defragment.prom").content_string
    assert "etcd_defragment_problem 1\n" in metrics

    freed = playbook("etcd_defragment")
    assert freed.returncode == 0, freed.stdout
    assert "The alarm NOSPACE stands" in words(freed.stdout)
    sizes = [item["Status"]["dbSize"] for item in json.loads(etcdctl(host, SIZES))]
    assert len(sizes) == len(MEMBERS)
    assert max(sizes) < SMALL / 2

    disarmed = playbook("etcd_defragment", "-e", "etcd_defragment_disarm=true")
    assert disarmed.returncode == 0, disarmed.stdout
    assert "The alarm" not in disarmed.stdout
    etcdctl(machine("etcd-3"), "put /test/large small")
    kept = playbook("etcd")
    assert kept.returncode == 0, kept.stdout
    assert "changed=0" in kept.stdout
    assert host.run("systemctl start etcd-defragment").rc == 0
    metrics = host.file("/var/lib/prometheus/node-exporter/etcd_defragment.prom").content_string
    assert "etcd_defragment_problem 0\n" in metrics
    assert "etcd_defragment_last_defragmentation_timestamp_seconds " in metrics


def test_members_are_looked_at_by_a_timer_each_at_its_own_time():
    times = set()
    for name in MEMBERS:
        host = machine(name)
        assert host.service("etcd-defragment.timer").is_enabled
        times.add(host.check_output("systemctl show --property=TimersCalendar etcd-defragment.timer").split(";")[0])
    assert len(times) == len(MEMBERS)
