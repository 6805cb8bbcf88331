"""Certificates after all of them had ended yesterday: seen from outside, and by another run."""

from __future__ import annotations

import base64
import functools
import os
import ssl
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from cryptography import x509
from site_run import changes

STATE = Path(os.environ["SANDBOX_STATE_DIRECTORY"])
HOSTS = Path(os.environ["SANDBOX_INVENTORY"]) / "hosts.yml"
KUBELET, API_SERVER = 10250, 6443


def addresses(group: str) -> list[str]:
    children = yaml.safe_load(HOSTS.read_text())["all"]["children"]["machines"]["children"]
    return [host["ansible_host"] for host in children[group]["hosts"].values()]


def endpoints() -> Iterator[tuple[str, int, str]]:
    """Everything that serves with a certificate: address, port, CA."""
    for address in addresses("infra"):
        yield from [(address, 5000, "sandbox"), (address, 8443, "sandbox"), (address, API_SERVER, "kubernetes")]
    for address in addresses("etcd"):
        yield from [(address, 2379, "etcd"), (address, 2380, "etcd")]
    for address in addresses("control_plane") + addresses("workers"):
        yield address, KUBELET, "kubernetes"
    for address in addresses("control_plane"):
        yield address, API_SERVER, "kubernetes"


def days_left(certificate: x509.Certificate) -> float:
    return (certificate.not_valid_after_utc.timestamp() - time.time()) / 86400


@functools.cache
def user_of(kubeconfig: Path, cluster: str) -> Any:
    """The certificate with which a kubeconfig's user of a cluster logs in."""
    content = yaml.safe_load(kubeconfig.read_text())
    (name,) = {row["context"]["user"] for row in content["contexts"] if row["context"]["cluster"] == cluster}
    (user,) = [row["user"] for row in content["users"] if row["name"] == name]
    return x509.load_pem_x509_certificate(base64.b64decode(user["client-certificate-data"]))


@pytest.mark.parametrize(("address", "port", "authority"), list(endpoints()))
def test_what_is_served_is_new(address: str, port: int, authority: str) -> None:
    pem = ssl.get_server_certificate((address, port), ca_certs=str(STATE / f"pki/{authority}/ca.crt"), timeout=10)
    assert days_left(x509.load_pem_x509_certificate(pem.encode())) > 300


def test_the_admins_certificate_is_new_for_this_sandbox_and_for_the_user() -> None:
    own = user_of(STATE / "kubeconfig", "t-site")
    assert days_left(own) > 300
    assert user_of(Path("~/.kube/config").expanduser(), "t-site") == own


def test_nothing_is_left_for_the_run_after_it() -> None:
    assert changes("--tags", "registry,etcd,cluster") == []
