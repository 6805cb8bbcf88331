# Copyright: cicd.sandbox contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Client certificates of users, by the cluster's own API for it, each in a kubeconfig.

https://kubernetes.io/docs/reference/access-authn-authz/certificate-signing-requests/ : the name that a certificate has
is its common name, its groups are its organizations. A certificate can't be revoked: it is short-lived, and what its
groups may do is taken from them.
"""

from __future__ import annotations

import base64
import secrets
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Protocol

import yaml
from ansible_collections.cicd.sandbox.plugins.module_utils.host.certificate_expiry import not_after
from ansible_collections.cicd.sandbox.plugins.module_utils.host.certificates import (
    issued_by,
    new_key,
    usable_key,
)
from ansible_collections.cicd.sandbox.plugins.module_utils.kubernetes.api import Object
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.x509.oid import NameOID

REQUESTS = "/apis/certificates.k8s.io/v1/certificatesigningrequests"
SIGNER = "kubernetes.io/kube-apiserver-client"
# A signer backdates what it signs for clocks that are behind.
BACKDATED = timedelta(minutes=10)


class UserError(Exception):
    """A user gets no certificate; the message says who, and why."""


class Api(Protocol):
    """What is asked of the API server."""

    def get(self, path: str) -> Object:
        """Return the object at a path."""

    def send(self, method: str, path: str, body: Object | None = None) -> Object:
        """Post, put or delete an object."""


@dataclass(frozen=True)
class User:
    """A user. ``context``, ``entry``: names of the context and of the user in a kubeconfig; ``namespace``: its own."""

    name: str
    groups: Sequence[str]
    context: str
    entry: str
    namespace: str = ""


@dataclass(frozen=True)
class Cluster:
    """Where the API server is, and the CA (PEM) by which it and its users are known; ``name`` in a kubeconfig."""

    name: str
    server: str
    authority: bytes


@dataclass(frozen=True)
class Credentials:
    """A private key and a certificate, PEM."""

    key: bytes
    certificate: bytes


def cluster_of(kubeconfig: str, name: str) -> Cluster:
    """Read server and CA of a kubeconfig's first cluster. Raises UserError."""
    try:
        cluster = yaml.safe_load(kubeconfig)["clusters"][0]["cluster"]
        return Cluster(name, str(cluster["server"]), base64.b64decode(cluster["certificate-authority-data"]))
    except (yaml.YAMLError, LookupError, TypeError, ValueError) as error:
        raise UserError(f"the admin's kubeconfig names no server with its CA: {error}") from None


def render(cluster: Cluster, user: User, credentials: Credentials) -> str:
    """Return a kubeconfig with one context."""
    context = {"cluster": cluster.name, "user": user.entry, **({"namespace": user.namespace} if user.namespace else {})}
    document = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": user.context,
        "clusters": [
            {
                "name": cluster.name,
                "cluster": {"server": cluster.server, "certificate-authority-data": _encoded(cluster.authority)},
            }
        ],
        "users": [
            {
                "name": user.entry,
                "user": {
                    "client-certificate-data": _encoded(credentials.certificate),
                    "client-key-data": _encoded(credentials.key),
                },
            }
        ],
        "contexts": [{"name": user.context, "context": context}],
    }
    return yaml.safe_dump(document, sort_keys=False)


def credentials_in(kubeconfig: str) -> Credentials | None:
    """Read what :func:`render` wrote; None where it is something else."""
    try:
        user = yaml.safe_load(kubeconfig)["users"][0]["user"]
        return Credentials(base64.b64decode(user["client-key-data"]), base64.b64decode(user["client-certificate-data"]))
    except (yaml.YAMLError, LookupError, TypeError, ValueError):
        return None


def why_due(user: User, held: Credentials | None, authority: bytes, lifetime: timedelta, now: datetime) -> str:
    """Say why a user needs a new certificate; an empty text while a third of its time is left."""
    if held is None or not usable_key(held.key):
        return "there is none"
    try:
        certificate = x509.load_pem_x509_certificate(held.certificate)
        issuer = x509.load_pem_x509_certificate(authority)
    except ValueError:
        return "it can't be read"
    key = serialization.load_pem_private_key(held.key, password=None)
    end = not_after(certificate)
    reasons = (
        (_public(key.public_key()) != _public(certificate.public_key()), "it belongs to another private key"),
        (not issued_by(certificate, issuer), "another CA issued it"),
        (_texts(certificate, NameOID.COMMON_NAME) != [user.name], "its name changed"),
        (sorted(_texts(certificate, NameOID.ORGANIZATION_NAME)) != sorted(set(user.groups)), "its groups changed"),
        (end - now > lifetime + BACKDATED, "it lives longer than is asked for"),
        (end - now < lifetime / 3, f"it ends on {end:%Y-%m-%d %H:%M} UTC"),
    )
    return next((text for due, text in reasons if due), "")


def issue(api: Api, user: User, lifetime: timedelta, timeout: float) -> Credentials:
    """Have the cluster sign a certificate with a new key. Raises UserError and KubernetesError.

    The request is deleted: nobody else has what it was signed for, and a list of requests is to tell of open ones.
    """
    key = new_key()
    name = f"sandbox-{secrets.token_hex(8)}"
    request = api.send("post", REQUESTS, _request(name, user, key, lifetime))
    path = f"{REQUESTS}/{name}"
    try:
        approved = {
            "type": "Approved",
            "status": "True",
            "reason": "SandboxUser",
            "message": "A user of the sandbox's inventory",
        }
        api.send("put", f"{path}/approval", {**request, "status": {"conditions": [approved]}})
        return Credentials(key, _await(api, path, user, timeout))
    finally:
        api.send("delete", path)


def _request(name: str, user: User, key: bytes, lifetime: timedelta) -> Object:
    attributes = [x509.NameAttribute(NameOID.ORGANIZATION_NAME, group) for group in dict.fromkeys(user.groups)]
    subject = x509.Name([*attributes, x509.NameAttribute(NameOID.COMMON_NAME, user.name)])
    private: Any = serialization.load_pem_private_key(key, password=None)
    csr = x509.CertificateSigningRequestBuilder().subject_name(subject).sign(private, hashes.SHA256())
    return {
        "apiVersion": "certificates.k8s.io/v1",
        "kind": "CertificateSigningRequest",
        "metadata": {"name": name},
        "spec": {
            "request": _encoded(csr.public_bytes(serialization.Encoding.PEM)),
            "signerName": SIGNER,
            "expirationSeconds": int(lifetime.total_seconds()),
            "usages": ["client auth"],
        },
    }


def _await(api: Api, path: str, user: User, timeout: float) -> bytes:
    deadline = time.monotonic() + timeout
    while True:
        status: Mapping[str, Any] = api.get(path).get("status") or {}
        if status.get("certificate"):
            return base64.b64decode(status["certificate"])
        refused = [item for item in status.get("conditions") or [] if item.get("type") in {"Denied", "Failed"}]
        if refused:
            raise UserError(f"{user.name}: the cluster signs no certificate: {refused[0].get('message')}")
        if time.monotonic() >= deadline:
            raise UserError(
                f"{user.name}: the certificate was approved and not signed within {timeout:g} s: see whether the "
                "controller manager runs (kubectl --namespace kube-system get pods)"
            )
        time.sleep(0.2)


def _texts(certificate: x509.Certificate, kind: x509.ObjectIdentifier) -> list[str]:
    return [str(attribute.value) for attribute in certificate.subject.get_attributes_for_oid(kind)]


def _public(key: Any) -> bytes:
    encoded: bytes = key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    return encoded


def _encoded(data: bytes) -> str:
    return base64.b64encode(data).decode()
