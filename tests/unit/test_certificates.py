# Copyright: cicd.sandbox contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Certificates of a host: when one is due, what is asked for, and the module that keeps them."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from ansible.module_utils.testing import patch_module_args
from ansible_collections.cicd.sandbox.plugins.module_utils.host.certificates import (
    CertificateError,
    Wanted,
    authority_warning,
    new_authority,
    new_key,
    request,
    sign,
    usable_key,
    why_due,
)
from ansible_collections.cicd.sandbox.plugins.modules import host_certificates
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from playbook_run import run_playbook

WANTED = Wanted("server", "/etc/etcd/pki", "etcd-1", subject_alt_names=("DNS:etcd-1", "IP:198.18.0.11"))
MONTH = timedelta(days=30)


class Authority:
    """A CA that signs requests as community.crypto does: with the request's extensions."""

    def __init__(self, name: str = "sandbox", days: float = 3650) -> None:
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        self.pem = self._pem(self._builder(self.name, self.key.public_key(), days))

    @property
    def key_pem(self) -> bytes:
        return self.key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )

    def sign(self, csr: str, days: int = 365) -> bytes:
        asked = x509.load_pem_x509_csr(csr.encode())
        builder = self._builder(asked.subject, asked.public_key(), days)
        for extension in asked.extensions:
            builder = builder.add_extension(extension.value, extension.critical)
        issuer = x509.AuthorityKeyIdentifier.from_issuer_public_key(self.key.public_key())
        return self._pem(builder.add_extension(issuer, critical=False))

    def _builder(self, subject: x509.Name, key: Any, days: float) -> x509.CertificateBuilder:
        now = datetime.now(UTC)
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self.name)
            .public_key(key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(hours=1))
            .not_valid_after(now + timedelta(days=days))
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
        )

    def _pem(self, builder: x509.CertificateBuilder) -> bytes:
        return builder.sign(self.key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


@pytest.fixture(scope="module")
def authority() -> Authority:
    return Authority()


@pytest.fixture(scope="module")
def key() -> bytes:
    return new_key()


@pytest.fixture(scope="module")
def certificate(authority: Authority, key: bytes) -> bytes:
    return authority.sign(request(WANTED, key))


def test_a_request_says_all_that_is_wanted(key: bytes) -> None:
    wanted = replace(WANTED, organization="system:masters", usages=("serverAuth", "clientAuth"))
    asked = x509.load_pem_x509_csr(request(wanted, key).encode())
    assert asked.subject.rfc4514_string() == "CN=etcd-1,O=system:masters"
    names = asked.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == ["etcd-1"]
    assert [str(address) for address in names.get_values_for_type(x509.IPAddress)] == ["198.18.0.11"]
    usages = asked.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert set(usages) == {ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH}
    assert asked.is_signature_valid


def test_a_certificate_that_does_is_kept(authority: Authority, key: bytes, certificate: bytes) -> None:
    assert why_due(WANTED, key, certificate, authority.pem, MONTH) == ""


def test_the_order_of_names_does_not_matter(authority: Authority, key: bytes, certificate: bytes) -> None:
    wanted = replace(WANTED, subject_alt_names=tuple(reversed(WANTED.subject_alt_names)))
    assert why_due(wanted, key, certificate, authority.pem, MONTH) == ""


@pytest.mark.parametrize(
    ("wanted", "reason"),
    [
        (replace(WANTED, subject_alt_names=("DNS:etcd-1",)), "its alternative names changed"),
        (replace(WANTED, common_name="etcd-2"), "its subject changed"),
        (replace(WANTED, organization="group"), "its subject changed"),
        (replace(WANTED, usages=("clientAuth",)), "its usages changed"),
    ],
)
def test_a_change_makes_it_due(
    authority: Authority, key: bytes, certificate: bytes, wanted: Wanted, reason: str
) -> None:
    assert why_due(wanted, key, certificate, authority.pem, MONTH) == reason


def test_what_else_makes_it_due(authority: Authority, key: bytes, certificate: bytes) -> None:
    assert why_due(WANTED, key, None, authority.pem, MONTH) == "there is none"
    assert why_due(WANTED, key, b"nonsense", authority.pem, MONTH) == "it can't be read"
    assert why_due(WANTED, None, certificate, authority.pem, MONTH) == "its private key is missing or unreadable"
    assert why_due(WANTED, new_key(), certificate, authority.pem, MONTH) == "it belongs to another private key"
    assert why_due(WANTED, key, certificate, Authority("other").pem, MONTH) == "another CA issued it"


def test_a_new_ca_of_the_same_name_makes_it_due(key: bytes, certificate: bytes) -> None:
    assert why_due(WANTED, key, certificate, Authority().pem, MONTH) == "another CA issued it"


def test_it_is_due_before_it_ends(authority: Authority, key: bytes) -> None:
    certificate = authority.sign(request(WANTED, key), days=29)
    assert why_due(WANTED, key, certificate, authority.pem, MONTH).startswith("it ends on 2")
    assert why_due(WANTED, key, certificate, authority.pem, timedelta(days=20)) == ""


@pytest.mark.parametrize("name", ["etcd-1", "URI:x", "DNS:", "IP:198.18.0.300"])
def test_a_name_that_is_none_is_named(key: bytes, name: str) -> None:
    with pytest.raises(CertificateError, match=name):
        request(replace(WANTED, subject_alt_names=(name,)), key)


def test_keys_that_are_of_use() -> None:
    other = rsa.generate_private_key(65537, 2048).private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    assert usable_key(new_key())
    assert not usable_key(other)
    assert not usable_key(b"")
    assert not usable_key(None)


def run(capsys: pytest.CaptureFixture[str], **arguments: Any) -> dict[str, Any]:
    with patch_module_args(arguments), pytest.raises(SystemExit):
        host_certificates.main()
    result: dict[str, Any] = json.loads(capsys.readouterr().out)
    return result


def test_the_module_asks_installs_and_then_has_nothing_to_do(
    tmp_path: Path, authority: Authority, capsys: pytest.CaptureFixture[str]
) -> None:
    directory = tmp_path / "pki"
    arguments: dict[str, Any] = {
        "authority": authority.pem.decode(),
        "certificates": [{"name": name, "directory": str(directory), "common_name": name} for name in ("a", "b")],
    }
    asked = run(capsys, **arguments)
    assert asked["changed"]
    assert [item["path"] for item in asked["requests"]] == [f"{directory}/a", f"{directory}/b"]
    assert (directory / "a.key").stat().st_mode & 0o777 == 0o600
    assert not (directory / "a.crt").exists()

    again = run(capsys, **arguments)
    keys = [x509.load_pem_x509_csr(result["requests"][0]["csr"].encode()).public_key() for result in (asked, again)]
    assert keys[0] == keys[1], "an interrupted run made another key"

    signed = {item["path"]: authority.sign(item["csr"]).decode() for item in asked["requests"]}
    installed = run(capsys, **arguments, signed=signed)
    assert installed["installed"] == list(signed)
    assert installed["due"] == []
    assert (directory / "ca.crt").read_bytes() == authority.pem

    last = run(capsys, **arguments)
    assert not last["changed"]
    assert last["requests"] == last["installed"] == []


def test_the_module_looks_at_what_others_keep_and_leaves_it(
    tmp_path: Path, authority: Authority, key: bytes, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "kubeadms.crt").write_bytes(authority.sign(request(WANTED, key), days=40))
    arguments: dict[str, Any] = {
        "authority": authority.pem.decode(),
        "certificates": [],
        "watched": [f"{tmp_path}/*.crt"],
    }
    for days, due in ((30, False), (60, True)):
        result = run(capsys, **arguments, renew_before_days=days)
        assert [(row["path"], row["due"]) for row in result["watched"]] == [(f"{tmp_path}/kubeadms.crt", due)]
        assert not result["changed"]
        assert result["due"] == result["requests"] == []


def test_the_module_mends_modes(tmp_path: Path, authority: Authority, capsys: pytest.CaptureFixture[str]) -> None:
    arguments: dict[str, Any] = {
        "authority": authority.pem.decode(),
        "certificates": [{"name": "a", "directory": str(tmp_path), "common_name": "a"}],
    }
    asked = run(capsys, **arguments)["requests"][0]
    run(capsys, **arguments, signed={asked["path"]: authority.sign(asked["csr"]).decode()})
    (tmp_path / "a.key").chmod(0o644)
    assert run(capsys, **arguments)["changed"]
    assert (tmp_path / "a.key").stat().st_mode & 0o777 == 0o600


def test_the_module_only_looks_in_check_mode(
    tmp_path: Path, authority: Authority, capsys: pytest.CaptureFixture[str]
) -> None:
    result = run(
        capsys,
        authority=authority.pem.decode(),
        certificates=[{"name": "a", "directory": str(tmp_path / "pki"), "common_name": "a"}],
        _ansible_check_mode=True,
    )
    assert result["changed"]
    assert result["due"] == [{"path": f"{tmp_path}/pki/a", "reason": "there is none"}]
    assert result["requests"] == []
    assert not (tmp_path / "pki").exists()


def test_the_module_names_a_wrong_name(
    tmp_path: Path, authority: Authority, capsys: pytest.CaptureFixture[str]
) -> None:
    result = run(
        capsys,
        authority=authority.pem.decode(),
        certificates=[
            {"name": "a", "directory": str(tmp_path), "common_name": "a", "subject_alt_names": ["198.18.0.1"]}
        ],
    )
    assert result["failed"]
    assert "198.18.0.1" in result["msg"]


def test_a_ca_signs_what_is_asked_for(authority: Authority, key: bytes) -> None:
    authority_key = authority.key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    signed = sign(request(WANTED, key), authority.pem, authority_key, 90).encode()
    assert why_due(WANTED, key, signed, authority.pem, timedelta(days=89)) == ""
    assert why_due(WANTED, key, signed, authority.pem, timedelta(days=91)).startswith("it ends on ")
    x509.load_pem_x509_certificate(signed).verify_directly_issued_by(x509.load_pem_x509_certificate(authority.pem))
    with pytest.raises(CertificateError, match="the CA's private key is not that of its certificate"):
        sign(request(WANTED, key), Authority().pem, authority_key, 90)
    with pytest.raises(CertificateError, match="the CA or the request can't be used"):
        sign("no request", authority.pem, authority_key, 90)


def test_a_ca_that_ends_before_what_it_signs_is_warned_of() -> None:
    warning = authority_warning(Authority("old", 90).pem, 365)
    assert "the CA CN=old ends on 20" in warning
    assert "make the sandbox anew" in warning
    assert authority_warning(Authority("young", 366).pem, 365) == ""


def test_a_ca_that_has_ended_signs_nothing(key: bytes) -> None:
    ended = Authority("gone", -1 / 48)
    with pytest.raises(CertificateError, match=r"the CA CN=gone ended on 20.*make the sandbox anew"):
        sign(request(WANTED, key), ended.pem, ended.key_pem, 90)


PLAYBOOK = """
- hosts: localhost
  gather_facts: false
  vars:
    wanted: [{name: server, directory: "{{ folder }}/tls", common_name: web, subject_alt_names: ["DNS:web"]}]
  tasks:
    - ansible.builtin.include_role: {name: cicd.sandbox.pki, tasks_from: ca}
    - ansible.builtin.include_role: {name: cicd.sandbox.pki, tasks_from: certificate}
      vars: {pki_certificates: "{{ wanted }}"}
    - ansible.builtin.debug: {msg: "{{ pki_certificates_issued }}"}
    - ansible.builtin.include_role: {name: cicd.sandbox.pki, tasks_from: certificate}
      vars: {pki_certificates: "{{ wanted }}"}
    - ansible.builtin.debug: {msg: "{{ pki_certificates_issued }}"}
"""


def test_a_new_ca_signs_certificates_and_no_ca(key: bytes) -> None:
    pem = new_authority("t etcd CA", "cicd.sandbox", key, 30)
    authority = x509.load_pem_x509_certificate(pem)
    authority.verify_directly_issued_by(authority)
    assert authority.subject.rfc4514_string() == "CN=t etcd CA,O=cicd.sandbox"
    found = {item.oid._name: (item.critical, item.value) for item in authority.extensions}
    critical, constraints = found["basicConstraints"]
    assert (critical, constraints.ca, constraints.path_length) == (True, True, 0)
    critical, usage = found["keyUsage"]
    assert (critical, usage.key_cert_sign, usage.crl_sign, usage.digital_signature) == (True, True, True, False)
    signed = x509.load_pem_x509_certificate(sign(request(WANTED, new_key()), pem, key, 10).encode())
    signed.verify_directly_issued_by(authority)
    with pytest.raises(CertificateError):
        new_authority("t etcd CA", "cicd.sandbox", b"no key", 30)


def test_a_ca_is_made_once(tmp_path: Path) -> None:
    folder = tmp_path / "state/pki/etcd"
    task = {"directory": str(folder), "common_name": "etcd CA", "organization": "cicd.sandbox"}
    play = {
        "hosts": "localhost",
        "connection": "local",
        "gather_facts": False,
        "tasks": [{"cicd.sandbox.certificate_authority": task}],
    }
    (tmp_path / "play.yml").write_text(json.dumps([play]))

    def made(*arguments: str) -> list[str]:
        (result,) = run_playbook(tmp_path / "play.yml", "--inventory=localhost,", *arguments).results()
        assert result["changed"] is bool(result["made"])
        return [Path(path).name for path in result["made"]]

    assert made("--check") == ["ca.key", "ca.crt"]
    assert not folder.exists()
    assert made() == ["ca.key", "ca.crt"]
    assert {path.stat().st_mode & 0o777 for path in (folder, folder.parent, folder.parents[1])} == {0o700}
    assert [(folder / name).stat().st_mode & 0o777 for name in ("ca.key", "ca.crt")] == [0o600, 0o644]
    key = (folder / "ca.key").read_bytes()
    # As after a run that was killed in between.
    (folder / "ca.crt").unlink()
    assert made() == ["ca.crt"]
    assert (folder / "ca.key").read_bytes() == key
    assert made() == []


def test_the_role_issues_in_one_task_and_then_has_nothing_to_do(tmp_path: Path) -> None:
    (tmp_path / "play.yml").write_text(PLAYBOOK)
    (tmp_path / "hosts.yml").write_text("infra: {hosts: {localhost: {ansible_connection: local}}}")
    extra = {"folder": str(tmp_path), "sandbox_state_directory": str(tmp_path / "state"), "sandbox_name": "t-pki"}
    run = run_playbook(tmp_path / "play.yml", f"--inventory={tmp_path}/hosts.yml", f"--extra-vars={json.dumps(extra)}")
    path = f"{tmp_path}/tls/server"
    assert [result["msg"] for result in run.results() if "msg" in result and isinstance(result["msg"], list)] == [
        [path],
        [],
    ]
    kept = [answer.result for answer in run.answers if "due" in answer.result]
    assert [(result["changed"], [due["reason"] for due in result["due"]]) for result in kept] == [
        (True, ["there is none"]),
        (False, []),
    ]
    certificate = x509.load_pem_x509_certificate(Path(f"{path}.crt").read_bytes())
    authority = x509.load_pem_x509_certificate((tmp_path / "state/pki/sandbox/ca.crt").read_bytes())
    certificate.verify_directly_issued_by(authority)
    assert Path(f"{path}.key").stat().st_mode & 0o777 == 0o600
    # The CA of ten years outlives them; one of a month is warned of by each run, also by one that issues nothing.
    assert not [result for result in kept if "warnings" in result]
    # The CA's key stays where it is.
    assert not list((tmp_path / "tls").glob("ca.key"))


def test_a_check_before_there_is_a_ca_says_what_it_would_sign(tmp_path: Path) -> None:
    (tmp_path / "play.yml").write_text(PLAYBOOK)
    (tmp_path / "hosts.yml").write_text("infra: {hosts: {localhost: {ansible_connection: local}}}")
    extra = {"folder": str(tmp_path), "sandbox_state_directory": str(tmp_path / "state"), "sandbox_name": "t-pki"}
    arguments = [f"--inventory={tmp_path}/hosts.yml", f"--extra-vars={json.dumps(extra)}", "--check"]
    run = run_playbook(tmp_path / "play.yml", *arguments)
    kept = [answer.result for answer in run.answers if "due" in answer.result]
    due = [{"path": f"{tmp_path}/tls/server", "reason": "there is no authority yet"}]
    assert [(result["changed"], result["due"]) for result in kept] == [(True, due)] * 2
    assert not (tmp_path / "tls").exists()


def test_each_run_warns_of_a_ca_that_ends_soon(tmp_path: Path) -> None:
    (tmp_path / "play.yml").write_text(PLAYBOOK)
    (tmp_path / "hosts.yml").write_text("infra: {hosts: {localhost: {ansible_connection: local}}}")
    state = {"sandbox_state_directory": str(tmp_path / "state"), "sandbox_name": "t-pki", "pki_ca_days": 60}
    extra = {"folder": str(tmp_path), **state}
    run = run_playbook(tmp_path / "play.yml", f"--inventory={tmp_path}/hosts.yml", f"--extra-vars={json.dumps(extra)}")
    kept = [answer.result for answer in run.answers if "due" in answer.result]
    assert [[text.partition(" ends on")[0] for text in result["warnings"]] for result in kept] == [
        ["the CA CN=t-pki sandbox CA,O=cicd.sandbox"]
    ] * 2
