# Copyright: cicd.sandbox contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Renewal of certificates that kubeadm and kubelets made, on this host and with programs that only pretend."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml
from checkout import REPOSITORY
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from playbook_run import run_playbook

ADMIN = "/etc/kubernetes/admin.conf"
PROGRAM = """\
#!/bin/sh
echo "$(basename "$0") $*" >> {directory}/calls
case "$*" in *show*) echo LoadState=loaded; echo ActiveState=active ;; *is-enabled*) echo enabled ;; esac
"""


class Node:
    """A node of a standing cluster: this host, with files in a directory of its own."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.kubeconfig = directory / "kubelet.conf"
        user = {"client-certificate-data": "ended", "client-key-data": "secret"}
        self.kubeconfig.write_text(yaml.safe_dump({"users": [{"name": "default-auth", "user": user}]}))
        for name in ("pki", "certificates"):
            (directory / name).mkdir()
        for name in ("kubeadm", "systemctl"):
            (directory / name).write_text(PROGRAM.format(directory=directory))
            (directory / name).chmod(0o755)

    def renew(self, *due: str, last: str = "", check: bool = False) -> dict[str, Any]:
        """Renew what is due, where the last renewal was at a time; give the facts that other tasks go by."""
        variables = {
            "sandbox_name": "t",
            "sandbox_state_directory": str(self.directory / "state"),
            "__cluster_renewal_record": f"{self.directory}/renewed-",
            "__cluster_control_plane_paths": [],
            "__cluster_control_plane_written": {"checksums": {}},
            "__cluster_keys_written": {"checksums": {}},
            "__cluster_kubelet_kubeconfig": str(self.kubeconfig),
            "__cluster_kubelet_pki": str(self.directory / "pki"),
            "__cluster_kubelet_certificates": str(self.directory / "certificates"),
        }
        tasks: list[dict[str, Any]] = [
            {"ansible.builtin.include_role": {"name": "cicd.sandbox.sandbox", "public": True}},
            {"ansible.builtin.include_vars": {"dir": f"{REPOSITORY}/roles/cluster/vars/main"}},
            {
                "ansible.builtin.include_role": {"name": "cicd.sandbox.pki", "tasks_from": "ca", "public": True},
                "vars": {"pki_ca_name": "kubernetes"},
            },
            {"ansible.builtin.set_fact": {"pki_watched_due": list(due), "__cluster_renewal": last}},
            {"ansible.builtin.include_tasks": f"{REPOSITORY}/roles/cluster/tasks/renewal.yml"},
            {
                "ansible.builtin.debug": {
                    "msg": {
                        "annotation": "{{ lookup('ansible.builtin.template', template) }}",
                        "record": "{{ __cluster_control_plane_checksum }}",
                        "renewal": "{{ __cluster_renewal }}",
                        "renews": "{{ __cluster_renews }}",
                    }
                },
                "vars": {
                    "template": f"{REPOSITORY}/roles/cluster/templates/kubeadm/patch-control-plane.yml.j2",
                    "component": "kube-apiserver",
                },
            },
        ]
        (self.directory / "play.yml").write_text(
            yaml.safe_dump([{"hosts": "all", "gather_facts": False, "tasks": tasks}])
        )
        (self.directory / "variables.yml").write_text(yaml.safe_dump(variables))
        groups = {name: {"hosts": {"cp-1": {}}} for name in ("infra", "control_plane")}
        local = {"ansible_connection": "local", "ansible_python_interpreter": "{{ ansible_playbook_python }}"}
        inventory = {"all": {"vars": local, "children": groups | {"etcd": {}, "workers": {}}}}
        (self.directory / "hosts.yml").write_text(yaml.safe_dump(inventory))
        arguments = [f"--inventory={self.directory}/hosts.yml", f"--extra-vars=@{self.directory}/variables.yml"]
        arguments += ["--check"] if check else []
        run = run_playbook(self.directory / "play.yml", *arguments, programs=self.directory)
        said: dict[str, Any] = run.results("cp-1")[-1]["msg"]
        return said

    def calls(self, program: str) -> list[str]:
        """What a program was called with, but to look."""
        path = self.directory / "calls"
        lines = path.read_text().splitlines() if path.exists() else []
        return [line for line in lines if line.startswith(program) and "show" not in line and "is-" not in line]

    def records(self) -> list[str]:
        return [path.name for path in self.directory.glob("renewed-*")]


@pytest.fixture
def node(tmp_path: Path) -> Node:
    return Node(tmp_path)


def test_what_kubeadm_made_is_renewed_by_it_and_the_control_plane_told_to_restart(node: Node) -> None:
    (node.directory / "renewed-20250101T000000Z").touch()
    said = node.renew(ADMIN, "/etc/kubernetes/pki/apiserver.crt", last="20250101T000000Z")
    assert node.calls("kubeadm") == ["kubeadm certs renew all --config /etc/kubernetes/kubeadm.yml"]
    assert node.calls("systemctl") == ["systemctl restart kubelet"]
    assert node.records() == [f"renewed-{said['renewal']}"]
    assert said["renewal"] > f"{datetime.now(UTC) - timedelta(minutes=5):%Y%m%dT%H%M%SZ}"
    assert said["renews"] is True
    assert list((node.directory / "certificates").iterdir()) == []

    # What their pods are restarted for. A run that was killed before left the record, and the next one finds that time.
    assert said["record"] == hashlib.sha256(said["renewal"].encode()).hexdigest()
    assert yaml.safe_load(said["annotation"])["metadata"]["annotations"] == {"sandbox-configuration": said["record"]}


def test_a_kubelet_is_given_a_certificate_where_it_looks_for_its_own_but_in_check_mode(node: Node) -> None:
    place = node.directory / "certificates"
    (place / "kubelet-client-2025.pem").write_text("ended\n")
    (place / "kubelet-client-current.pem").symlink_to(place / "kubelet-client-2025.pem")
    said = node.renew(str(node.kubeconfig), last="20250101T000000Z")
    assert node.calls("kubeadm") == []
    assert node.calls("systemctl") == ["systemctl restart kubelet"]
    assert (said["renewal"], said["renews"], node.records()) == ("20250101T000000Z", False, [])

    # The kubelet replaces the link when it renews by itself, and refuses a file in its place.
    assert (place / "kubelet-client-current.pem").is_symlink()
    assert (place / "kubelet-client-2025.pem").read_text() == "ended\n"
    pem = (place / "kubelet-client-current.pem").read_bytes()
    assert (place / "kubelet-client-current.pem").stat().st_mode & 0o777 == 0o600
    certificate = x509.load_pem_x509_certificate(pem)
    assert certificate.subject.rfc4514_string() == "CN=system:node:cp-1,O=system:nodes"
    authority = x509.load_pem_x509_certificate((node.directory / "state/pki/kubernetes/ca.crt").read_bytes())
    certificate.verify_directly_issued_by(authority)
    key = serialization.load_pem_private_key(pem[pem.index(b"-----BEGIN PRIVATE") :], password=None)
    assert key.public_key() == certificate.public_key()
    (user,) = yaml.safe_load(node.kubeconfig.read_text())["users"]
    place_of = str(place / "kubelet-client-current.pem")
    assert user["user"] == {"client-certificate": place_of, "client-key": place_of}

    before = sorted(node.directory.glob("[!p]*"))
    node.renew(ADMIN, str(node.kubeconfig), last="20250101T000000Z", check=True)
    assert sorted(node.directory.glob("[!p]*")) == before
    assert len(list(place.iterdir())) == 3
    assert node.calls("kubeadm") == []
