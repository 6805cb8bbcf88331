# Copyright: cicd.sandbox contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Certificates of users: when one is asked for, what is asked of the cluster, and what is written."""

from __future__ import annotations

import base64
import stat
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.cicd.sandbox.plugins.module_utils.certificates import users
from ansible_collections.cicd.sandbox.plugins.module_utils.host import certificates
from ansible_collections.cicd.sandbox.plugins.module_utils.kubernetes.api import KubernetesError, Object
from ansible_collections.cicd.sandbox.plugins.modules import user_certificates
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.x509.oid import NameOID
from modules import run_module

WEEK = 7 * 86400
ANNA = {"name": "anna", "groups": ["developers", "readers"], "context": "anna@dev", "entry": "anna@dev"}


class Cluster:
    """An API server that signs what is approved, as the controller manager does."""

    def __init__(self) -> None:
        self.key = certificates.new_key()
        self.authority = certificates.new_authority("kubernetes", "cicd.sandbox", self.key, 3650)
        self.requests: dict[str, Object] = {}
        self.calls: list[tuple[str, str]] = []
        self.age = timedelta()
        self.verdict = "Approved"

    def get(self, path: str) -> Object:
        return self.requests[path]

    def send(self, method: str, path: str, body: Object | None = None) -> Object:
        self.calls.append((method, path.rpartition("/")[2] if method == "put" else ""))
        if method == "delete":
            return self.requests.pop(path)
        assert body is not None
        if method == "post":
            assert path == users.REQUESTS
            self.requests[f"{path}/{body['metadata']['name']}"] = body
            return body
        path = path.removesuffix("/approval")
        (condition,) = body["status"]["conditions"]
        assert (condition["type"], condition["status"]) == ("Approved", "True")
        if self.verdict == "Approved":
            body["status"]["certificate"] = base64.b64encode(self.sign(body["spec"])).decode()
        elif self.verdict:
            body["status"]["conditions"] += [{"type": self.verdict, "message": "no such signer"}]
        self.requests[path] = body
        return body

    def sign(self, spec: Object) -> bytes:
        assert spec["signerName"] == "kubernetes.io/kube-apiserver-client"
        assert spec["usages"] == ["client auth"]
        request = x509.load_pem_x509_csr(base64.b64decode(spec["request"]))
        authority = x509.load_pem_x509_certificate(self.authority)
        identifier = authority.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
        now = datetime.now(UTC) - self.age
        key: Any = serialization.load_pem_private_key(self.key, password=None)
        return (
            x509.CertificateBuilder()
            .subject_name(request.subject)
            .issuer_name(authority.subject)
            .public_key(request.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(minutes=5))
            .not_valid_after(now + timedelta(seconds=spec["expirationSeconds"]))
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(identifier), critical=False)
            .sign(key, hashes.SHA256())
            .public_bytes(serialization.Encoding.PEM)
        )


class Site:
    """A state directory with the admin's kubeconfig, and the module run in it."""

    def __init__(self, directory: Path, cluster: Cluster, capsys: pytest.CaptureFixture[str]) -> None:
        self.directory, self.cluster, self.capsys = directory, cluster, capsys
        self.file = directory / "users/anna@dev.kubeconfig"
        self.serve("https://198.18.0.2:6443")

    def serve(self, server: str) -> None:
        authority = base64.b64encode(self.cluster.authority).decode()
        entry = {"name": "dev", "cluster": {"server": server, "certificate-authority-data": authority}}
        (self.directory / "kubeconfig").write_text(yaml.safe_dump({"clusters": [entry]}))

    def run(self, *asked: dict[str, Any], check: bool = False, seconds: int = WEEK, **more: Any) -> dict[str, Any]:
        arguments = {
            "kubeconfig": str(self.directory / "kubeconfig"),
            "directory": str(self.directory / "users"),
            "cluster": "dev",
            "users": list(asked or [ANNA]),
            "seconds": seconds,
            **more,
        }
        return run_module("user_certificates", arguments, self.capsys, check=check)

    def certificate(self) -> x509.Certificate:
        user = yaml.safe_load(self.file.read_text())["users"][0]["user"]
        return x509.load_pem_x509_certificate(base64.b64decode(user["client-certificate-data"]))


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Site:
    cluster = Cluster()
    monkeypatch.setattr(user_certificates, "KubernetesApi", lambda path: cluster)
    return Site(tmp_path, cluster, capsys)


def test_a_user_gets_a_certificate_and_keeps_it(site: Site) -> None:
    result = site.run(ANNA | {"namespace": "shop"})
    assert (result["changed"], result["issued"], result["unwanted"]) == (True, {"anna": "there is none"}, [])
    assert site.cluster.calls == [("post", ""), ("put", "approval"), ("delete", "")]
    assert site.cluster.requests == {}
    subject = site.certificate().subject
    assert [name.value for name in subject.get_attributes_for_oid(NameOID.COMMON_NAME)] == ["anna"]
    groups = [name.value for name in subject.get_attributes_for_oid(NameOID.ORGANIZATION_NAME)]
    assert groups == ["developers", "readers"]
    assert stat.S_IMODE(site.file.stat().st_mode) == 0o600
    assert stat.S_IMODE(site.file.parent.stat().st_mode) == 0o700
    document = yaml.safe_load(site.file.read_text())
    assert document["contexts"] == [
        {"name": "anna@dev", "context": {"cluster": "dev", "user": "anna@dev", "namespace": "shop"}}
    ]
    assert document["clusters"][0]["cluster"]["server"] == "https://198.18.0.2:6443"
    again = site.run(ANNA | {"namespace": "shop"})
    assert (again["changed"], again["issued"]) == (False, {})
    assert len(site.cluster.calls) == 3


@pytest.mark.parametrize(("days", "renewed"), [(4.6, False), (4.7, True), (8, True)])
def test_it_is_renewed_when_less_than_a_third_is_left(site: Site, days: float, *, renewed: bool) -> None:
    site.cluster.age = timedelta(days=days)
    site.run()
    site.cluster.age = timedelta()
    before = site.file.read_text()
    result = site.run()
    assert result["changed"] is renewed
    assert (site.file.read_text() != before) is renewed
    assert site.run()["changed"] is False


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"groups": ["developers"]}, "its groups changed"),
        ({"groups": ["readers", "developers"]}, ""),
        ({"name": "berta"}, "its name changed"),
    ],
)
def test_it_says_what_the_inventory_says(site: Site, change: dict[str, Any], why: str) -> None:
    site.run()
    result = site.run(ANNA | change)
    assert list(result["issued"].values()) == ([why] if why else [])
    assert result["changed"] is bool(why)


def test_one_of_another_ca_or_of_a_longer_life_is_made_anew(site: Site) -> None:
    site.run()
    assert site.run(seconds=3600)["issued"] == {"anna": "it lives longer than is asked for"}
    site.cluster.key = certificates.new_key()
    site.cluster.authority = certificates.new_authority("kubernetes", "cicd.sandbox", site.cluster.key, 3650)
    site.serve("https://198.18.0.2:6443")
    assert site.run(seconds=3600)["issued"] == {"anna": "another CA issued it"}


def test_what_leads_elsewhere_or_is_open_is_mended_with_the_same_certificate(site: Site) -> None:
    site.run()
    serial = site.certificate().serial_number
    site.serve("https://198.18.0.3:6443")
    result = site.run()
    assert (result["changed"], result["issued"], site.certificate().serial_number) == (True, {}, serial)
    site.file.chmod(0o644)
    assert site.run()["changed"] is True
    assert stat.S_IMODE(site.file.stat().st_mode) == 0o600
    assert site.certificate().serial_number == serial
    site.file.write_text("users: [")
    assert site.run()["issued"] == {"anna": "there is none"}


def test_check_mode_asks_for_nothing(site: Site) -> None:
    result = site.run(check=True)
    assert (result["changed"], result["issued"]) == (True, {"anna": "there is none"})
    assert site.cluster.calls == []
    assert not site.file.parent.exists()
    site.run()
    assert site.run(check=True)["changed"] is False


def test_who_is_not_asked_for_is_told(site: Site) -> None:
    site.run()
    berta = ANNA | {"name": "berta", "context": "berta@dev"}
    assert site.run(berta)["unwanted"] == ["anna@dev"]
    assert site.file.exists()


def test_why_there_is_none_is_told_and_no_request_is_left(site: Site) -> None:
    site.cluster.verdict = "Failed"
    assert site.run()["msg"] == "anna: the cluster signs no certificate: no such signer"
    site.cluster.verdict = ""
    assert "anna: the certificate was approved and not signed within 0.3 s" in site.run(timeout=0.3)["msg"]
    assert site.cluster.requests == {}
    assert not site.file.exists()


def test_an_api_that_refuses_is_told(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(method: str, path: str, body: Object | None = None) -> Object:
        raise KubernetesError("the API server answers 403 Forbidden: no")

    monkeypatch.setattr(site.cluster, "send", refuse)
    result = site.run()
    assert result["failed"]
    assert result["msg"] == "the API server answers 403 Forbidden: no"


def test_no_key_is_in_what_the_module_says(site: Site) -> None:
    said = str(site.run())
    user = yaml.safe_load(site.file.read_text())["users"][0]["user"]
    assert user["client-key-data"] not in said
    assert "PRIVATE KEY" not in said
