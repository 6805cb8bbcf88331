"""A site on hosts of a user's, seen from outside."""

from __future__ import annotations

import base64
import json
import os
import socket
import ssl
import stat
import subprocess
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import pytest
import yaml
from testinfra.host import Host

REPOSITORY = Path(__file__).resolve().parents[4]
SCENARIO = REPOSITORY / "molecule/existing"
INVENTORY = os.environ["SANDBOX_INVENTORY"]
STATE = Path(os.environ["SANDBOX_STATE_DIRECTORY"])
PLANES = {"cp-1": "198.18.7.21", "cp-2": "198.18.7.22", "cp-3": "198.18.7.23"}
WORKERS = {"worker-1": "198.18.7.31", "worker-2": "198.18.7.32"}
MEMBERS = {"etcd-1": "198.18.7.11", "etcd-2": "198.18.7.12", "etcd-3": "198.18.7.13"}
HOSTS = {"infra-1": "198.18.7.2", **MEMBERS, **PLANES, **WORKERS}
testinfra_hosts = ["ansible://machines"]


def machine(name: str) -> Host:
    return Host.get_host(f"ansible://{name}", ansible_inventory=INVENTORY)


def kubectl(*arguments: str, kubeconfig: str = "kubeconfig") -> str:
    line = [str(STATE / "bin/kubectl"), f"--kubeconfig={STATE / kubeconfig}", "--request-timeout=20s", *arguments]
    return subprocess.run(line, check=True, capture_output=True, text=True).stdout


def items(*arguments: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(kubectl("get", *arguments, "--output=json"))["items"]
    return found


def ready(entry: dict[str, Any]) -> bool:
    return {condition["type"]: condition["status"] for condition in entry["status"]["conditions"]}["Ready"] == "True"


def test_hosts_are_well_and_refuse_root(host):
    assert host.check_output("hostname") in HOSTS
    assert host.run("systemctl is-system-running --wait").stdout.strip() == "running"
    assert "permitrootlogin no" in host.check_output("sshd -T").splitlines()


def test_what_was_installed_is_roots(host):
    """The user is a way in, and leaves nothing."""
    owned = host.check_output("find / /srv /var/lib/etcd /var/lib/docker-registry -xdev -user deploy").splitlines()
    assert owned
    assert [path for path in owned if path != "/home/deploy" and not path.startswith("/home/deploy/")] == []
    kept = host.check_output("find /home/deploy -type f").splitlines()
    assert {Path(path).name for path in kept} <= {".bash_logout", ".bashrc", ".profile", "authorized_keys"}


def test_three_control_planes_and_two_workers_are_ready_at_their_addresses():
    nodes = {node["metadata"]["name"]: node for node in items("nodes")}
    assert {name: node["status"]["addresses"][0]["address"] for name, node in nodes.items()} == {**PLANES, **WORKERS}
    assert [name for name, node in nodes.items() if not ready(node)] == []
    tainted = {name for name, node in nodes.items() if node["spec"].get("taints")}
    assert tainted == set(PLANES)


def test_each_control_plane_runs_its_three_pods_with_one_authority():
    pods = items("pods", "--namespace=kube-system", "--selector=tier=control-plane")
    running = sorted((pod["spec"]["nodeName"], pod["metadata"]["labels"]["component"]) for pod in pods if ready(pod))
    parts = ("kube-apiserver", "kube-controller-manager", "kube-scheduler")
    assert running == sorted((plane, part) for plane in PLANES for part in parts)
    for path in ("pki/ca.key", "pki/sa.key", "policy/encryption.yml"):
        sums = {machine(plane).file(f"/etc/kubernetes/{path}").sha256sum for plane in PLANES}
        assert len(sums) == 1, path


def test_etcd_has_three_healthy_members_at_their_addresses():
    pki = "/etc/etcd/pki"
    line = (
        f"etcdctl --endpoints=https://etcd-1:2379 --cacert={pki}/ca.crt --cert={pki}/server.crt --key={pki}/server.key"
    )
    health = json.loads(machine("etcd-2").check_output(f"{line} endpoint health --cluster --write-out=json"))
    assert {entry["endpoint"]: entry["health"] for entry in health} == {
        f"https://{address}:2379": True for address in MEMBERS.values()
    }
    members = json.loads(machine("etcd-2").check_output(f"{line} member list --write-out=json"))["members"]
    assert {member["name"]: member["peerURLs"] for member in members} == {
        name: [f"https://{address}:2380"] for name, address in MEMBERS.items()
    }


SERVED = [
    *(("infra-1", port, authority) for port, authority in ((5000, "sandbox"), (8443, "sandbox"), (6443, "kubernetes"))),
    *((name, 6443, "kubernetes") for name in PLANES),
    *((name, 10250, "kubernetes") for name in (*PLANES, *WORKERS)),
    *((name, 2379, "etcd") for name in MEMBERS),
]


@pytest.mark.parametrize(("name", "port", "authority"), SERVED)
def test_certificates_are_good_for_name_and_address(name: str, port: int, authority: str) -> None:
    trust = ssl.create_default_context(cafile=STATE / f"pki/{authority}/ca.crt")
    if authority == "etcd":
        trust.load_cert_chain(STATE / "pki/etcd/admin.crt", STATE / "pki/etcd/admin.key")
    for asked in (name, HOSTS[name]):
        with (
            socket.create_connection((name, port), timeout=10) as connection,
            trust.wrap_socket(connection, server_hostname=asked) as wrapped,
        ):
            assert wrapped.getpeercert()


def test_the_website_answers_on_the_infra_host():
    request = urllib.request.Request("http://infra-1/", headers={"Host": "website.lab.internal"})
    with urllib.request.urlopen(request, timeout=10) as answer:
        assert '<th scope="row">' in answer.read().decode()


def test_the_landing_page_tells_those_who_log_in():
    host = {"Host": "sandbox.lab.internal"}
    with pytest.raises(urllib.error.HTTPError, match="401"):
        urllib.request.urlopen(urllib.request.Request("http://infra-1/", headers=host), timeout=10)
    login = f"sandbox:{(STATE / 'secrets/pages-password').read_text().strip()}"
    host["Authorization"] = "Basic " + base64.b64encode(login.encode()).decode()
    with urllib.request.urlopen(urllib.request.Request("http://infra-1/", headers=host), timeout=10) as answer:
        page = answer.read().decode()
    assert [address for address in HOSTS.values() if address not in page] == []


def test_the_users_kubeconfig_has_the_context_and_is_the_users_alone():
    path = STATE / "users-kubeconfig"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert "current-context" not in {key for key, value in yaml.safe_load(path.read_text()).items() if value}
    allowed = kubectl("--context=yours-user@yours", "auth", "can-i", "*", "*", kubeconfig=path.name)
    assert allowed.strip() == "yes"
    (cluster,) = yaml.safe_load(path.read_text())["clusters"]
    assert cluster["cluster"]["server"] == "https://infra-1:6443"


def test_hosts_of_the_users_are_not_taken_away():
    line = ["ansible-playbook", "playbooks/teardown.yml", f"--inventory={INVENTORY}"]
    refused = subprocess.run(line, check=False, capture_output=True, text=True, cwd=REPOSITORY)
    assert refused.returncode != 0
    assert "are hosts of yours" in refused.stdout
    assert "Nothing was removed" in refused.stdout
    assert "changed=0" in refused.stdout
    assert (STATE / "pki/kubernetes/ca.key").exists()
