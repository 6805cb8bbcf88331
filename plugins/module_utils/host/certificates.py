# Copyright: cicd.sandbox contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Private keys, signing requests and the question whether a certificate still does; no Ansible in here.

Runs with the cryptography of Debian bookworm (38) as well as with a current one. Keys are ECDSA on P-256.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from ansible_collections.cicd.sandbox.plugins.module_utils.host.certificate_expiry import NO_RENEWAL, not_after
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

USAGES: Mapping[str, x509.ObjectIdentifier] = {
    "serverAuth": ExtendedKeyUsageOID.SERVER_AUTH,
    "clientAuth": ExtendedKeyUsageOID.CLIENT_AUTH,
}


class CertificateError(ValueError):
    """What was asked for can't be a certificate; the text names what is wrong."""


@dataclass(frozen=True)
class Wanted:
    """A certificate that a host is to have. Alternative names are written `DNS:name` or `IP:address`."""

    name: str
    directory: str
    common_name: str
    organization: str = ""
    subject_alt_names: Sequence[str] = ()
    usages: Sequence[str] = ("serverAuth",)

    @property
    def path(self) -> str:
        """Path of the files without their ending: what tells one certificate of a host from another."""
        return f"{self.directory.rstrip('/')}/{self.name}"


def new_key() -> bytes:
    """Make a private key, PEM (PKCS #8, not encrypted)."""
    key = ec.generate_private_key(ec.SECP256R1())
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def usable_key(pem: bytes | None) -> bool:
    """Whether the text is an elliptic-curve private key without a password."""
    if not pem:
        return False
    try:
        return isinstance(_load_key(pem), ec.EllipticCurvePrivateKey)
    except (ValueError, TypeError):
        return False


def request(wanted: Wanted, key_pem: bytes) -> str:
    """Make the signing request, PEM, with alternative names and usages as extensions."""
    key = _load_key(key_pem)
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise CertificateError(f"{wanted.path}.key is not an elliptic-curve key")
    builder = (
        x509.CertificateSigningRequestBuilder()
        .subject_name(_subject(wanted))
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_key_usage(), critical=True)
        .add_extension(x509.ExtendedKeyUsage(_usages(wanted)), critical=False)
    )
    names = alternative_names(wanted.subject_alt_names)
    if names:
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
    return builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM).decode()


def sign(csr_pem: str, authority_pem: bytes, authority_key_pem: bytes, days: int) -> str:
    """Sign a request by a CA: the certificate, PEM, with all that the request asks for.

    It is valid from an hour ago, so that a host whose clock is a little behind takes it too. Raises CertificateError,
    also where the CA itself has ended: nobody would believe what it signs.
    """
    try:
        csr = x509.load_pem_x509_csr(csr_pem.encode())
        authority = x509.load_pem_x509_certificate(authority_pem)
        key = _load_key(authority_key_pem)
        issuer = authority.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    except (ValueError, TypeError, x509.ExtensionNotFound) as error:
        raise CertificateError(f"the CA or the request can't be used: {error}") from error
    if _public_bytes(key.public_key()) != _public_bytes(authority.public_key()):
        raise CertificateError("the CA's private key is not that of its certificate")
    now = datetime.now(UTC)
    if not_after(authority) <= now:
        raise CertificateError(f"{_authority_end(authority)}, and what it signed with it. {NO_RENEWAL}")
    builder = (
        x509.CertificateBuilder()
        .subject_name(csr.subject)
        .issuer_name(authority.subject)
        .public_key(csr.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(days=days))
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(csr.public_key()), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(issuer), critical=False)
    )
    for extension in csr.extensions:
        builder = builder.add_extension(extension.value, extension.critical)
    return builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM).decode()


def new_authority(common_name: str, organization: str, key_pem: bytes, days: int) -> bytes:
    """Make the certificate of a CA, PEM, signed by its own key: it signs certificates, and no other CA.

    It is valid from an hour ago, as what it signs is. Raises CertificateError where the key is of no use.
    """
    if not usable_key(key_pem):
        raise CertificateError("the CA's private key is no elliptic-curve key without a password")
    key = _load_key(key_pem)
    name = x509.Name(
        [
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, organization),
            x509.NameAttribute(NameOID.COMMON_NAME, common_name),
        ]
    )
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(days=days))
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_key_usage(authority=True), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )
    return certificate.public_bytes(serialization.Encoding.PEM)


def authority_warning(authority_pem: bytes, days: int) -> str:
    """Say that a CA ends before what it would sign now for so many days; an empty text where it does not."""
    authority = x509.load_pem_x509_certificate(authority_pem)
    if not_after(authority) - datetime.now(UTC) >= timedelta(days=days):
        return ""
    return f"{_authority_end(authority)}, and what it signed with it. {NO_RENEWAL}"


def why_due(
    wanted: Wanted, key_pem: bytes | None, certificate_pem: bytes | None, authority_pem: bytes, renew_before: timedelta
) -> str:
    """Say why the certificate must be issued (again); an empty text when it does as it is."""
    if not certificate_pem:
        return "there is none"
    if not usable_key(key_pem):
        return "its private key is missing or unreadable"
    try:
        certificate = x509.load_pem_x509_certificate(certificate_pem)
    except ValueError:
        return "it can't be read"
    authority = x509.load_pem_x509_certificate(authority_pem)
    reasons = (
        (_public_bytes(_load_key(key_pem or b"").public_key()) != _public_bytes(certificate.public_key()),
         "it belongs to another private key"),
        (not issued_by(certificate, authority), "another CA issued it"),
        (certificate.subject != _subject(wanted), "its subject changed"),
        (_names_of(certificate) != set(alternative_names(wanted.subject_alt_names)), "its alternative names changed"),
        (_usages_of(certificate) != set(_usages(wanted)), "its usages changed"),
        (not_after(certificate) - datetime.now(UTC) < renew_before,
         f"it ends on {not_after(certificate):%Y-%m-%d}"),
    )  # fmt: skip
    return next((text for due, text in reasons if due), "")


def issued_by(certificate: x509.Certificate, authority: x509.Certificate) -> bool:
    """Whether the certificate names this CA and this CA's key as its issuer."""
    try:
        issuer_key = certificate.extensions.get_extension_for_class(x509.AuthorityKeyIdentifier).value.key_identifier
        authority_key = authority.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value.digest
    except x509.ExtensionNotFound:
        return False
    return certificate.issuer == authority.subject and issuer_key == authority_key


def alternative_names(texts: Sequence[str]) -> list[x509.GeneralName]:
    """Read `DNS:name` and `IP:address`."""
    names: list[x509.GeneralName] = []
    for text in texts:
        kind, _, value = text.partition(":")
        if kind == "DNS" and value:
            names.append(x509.DNSName(value))
        elif kind == "IP":
            try:
                names.append(x509.IPAddress(ipaddress.ip_address(value)))
            except ValueError as error:
                raise CertificateError(f"alternative name {text!r}: {error}") from error
        else:
            raise CertificateError(f"alternative name {text!r} starts with neither DNS: nor IP:")
    return names


def _authority_end(authority: x509.Certificate) -> str:
    end = not_after(authority)
    name = authority.subject.rfc4514_string()
    return f"the CA {name} {'ends' if end > datetime.now(UTC) else 'ended'} on {end:%Y-%m-%d}"


def _load_key(pem: bytes) -> Any:
    return serialization.load_pem_private_key(pem, password=None)


def _subject(wanted: Wanted) -> x509.Name:
    parts = [x509.NameAttribute(NameOID.COMMON_NAME, wanted.common_name)]
    if wanted.organization:
        parts.insert(0, x509.NameAttribute(NameOID.ORGANIZATION_NAME, wanted.organization))
    return x509.Name(parts)


def _usages(wanted: Wanted) -> list[x509.ObjectIdentifier]:
    unknown = sorted(set(wanted.usages) - set(USAGES))
    if unknown:
        raise CertificateError(f"{wanted.path}: unknown usage {', '.join(unknown)}; known: {', '.join(USAGES)}")
    return [USAGES[usage] for usage in wanted.usages]


def _key_usage(*, authority: bool = False) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not authority,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=authority,
        crl_sign=authority,
        encipher_only=False,
        decipher_only=False,
    )


def _names_of(certificate: x509.Certificate) -> set[x509.GeneralName]:
    try:
        return set(certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value)
    except x509.ExtensionNotFound:
        return set()


def _usages_of(certificate: x509.Certificate) -> set[x509.ObjectIdentifier]:
    try:
        return set(certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value)
    except x509.ExtensionNotFound:
        return set()


def _public_bytes(key: Any) -> bytes:
    encoded: bytes = key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    return encoded
