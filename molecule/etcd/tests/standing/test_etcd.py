"""Three members as seen from their hosts and from the controller."""

from __future__ import annotations

import json
import subprocess

import pytest
from helpers import MEMBERS, STATE, etcdctl, marker, playbook

testinfra_hosts = ["ansible://etcd"]


def test_the_service_runs_and_starts_with_the_host(host):
    assert host.service("etcd").is_running
    assert host.service("etcd").is_enabled
    assert host.process.get(comm="etcd").user == "etcd"


def test_all_members_are_healthy_voters_of_the_remembered_cluster(host):
    listed = json.loads(etcdctl(host, "member list --write-out=json"))
    assert sorted(member["name"] for member in listed["members"]) == list(MEMBERS)
    assert not any(member.get("isLearner") for member in listed["members"])
    assert f"{listed['header']['cluster_id']:x}" == marker()["cluster_id"]
    etcdctl(host, "endpoint health --cluster")


def test_keys_are_their_owners_alone(host):
    for name in ("server", "peer"):
        key = host.file(f"/etc/etcd/pki/{name}.key")
        assert (key.user, key.mode) == ("etcd", 0o600)
    assert host.file("/var/lib/etcd").mode == 0o700


def test_nothing_lies_ready_to_make_another_cluster(host):
    assert not host.file("/run/etcd/join.env").exists
    assert "ETCD_INITIAL_CLUSTER_STATE=existing" in host.file("/etc/etcd/etcd.env").content_string


@pytest.mark.parametrize("port", [2379, 2380, 2381])
def test_nobody_is_let_in_without_a_certificate(host, port):
    ca = "/etc/etcd/pki/ca.crt"
    refused = host.run(f"curl --silent --cacert {ca} https://{host.check_output('hostname')}:{port}/health")
    # The server ends the connection in the handshake, or when the first bytes are sent or received.
    assert refused.rc in {35, 55, 56}
    assert refused.stdout == ""


def test_a_certificate_of_another_ca_is_not_enough(host):
    ca = STATE / "pki/etcd"
    line = ["curl", "--silent", "--show-error", "--cacert", ca / "ca.crt"]
    address = MEMBERS[host.check_output("hostname")]
    url = f"https://{address}:2379/health"
    own = ["--cert", ca / "admin.crt", "--key", ca / "admin.key"]
    assert subprocess.run([*line, *own, url], check=True, capture_output=True).stdout.startswith(b'{"health":"true"')
    other = STATE / "pki/sandbox"
    foreign = ["--cert", other / "ca.crt", "--key", other / "ca.key"]
    assert subprocess.run([*line, *foreign, url], check=False, capture_output=True).returncode != 0


def test_metrics_are_there_for_a_prometheus(host):
    address = MEMBERS[host.check_output("hostname")]
    pki = STATE / "pki/etcd"
    line = ["curl", "--silent", "--show-error", "--cacert", pki / "ca.crt", "--cert", pki / "metrics.crt"]
    url = f"https://{address}:2381/metrics"
    metrics = subprocess.run([*line, "--key", pki / "metrics.key", url], check=True, capture_output=True, text=True)
    assert "etcd_server_has_leader 1" in metrics.stdout
    # Nothing is said to who does not speak TLS.
    assert host.run(f"curl --silent http://{address}:2381/metrics").stdout == ""


def test_a_check_changes_nothing():
    checked = playbook("etcd", "--check")
    assert checked.returncode == 0, checked.stdout
    assert "changed=0" in checked.stdout
    assert not any(f"changed={number}" in checked.stdout for number in range(1, 10)), checked.stdout


@pytest.mark.parametrize("path", ["etcd.json", "pki/etcd/ca.key", "pki/etcd/admin.key", "pki/etcd/metrics.key"])
def test_what_the_controller_keeps_is_the_users_alone(path):
    assert (STATE / path).stat().st_mode & 0o077 == 0
