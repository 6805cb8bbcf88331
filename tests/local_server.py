# Copyright: cicd.sandbox contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Servers on loopback for tests: HTTP and HTTPS with prepared answers, and a Kubernetes API out of objects."""

from __future__ import annotations

import contextlib
import dataclasses
import datetime as dt
import ipaddress
import json
import re
import ssl
import threading
from collections.abc import Callable, Collection, Iterator, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID


@dataclasses.dataclass
class Answer:
    """What a server answers. A header that is None is left out; `raw` is sent as it is, instead of HTTP."""

    status: int = 200
    body: bytes = b""
    headers: Mapping[str, str | None] = dataclasses.field(default_factory=dict)
    raw: bytes | None = None


@dataclasses.dataclass
class Received:
    """What a server was sent."""

    method: str
    path: str
    query: dict[str, list[str]]
    headers: dict[str, str]
    body: bytes


Answers = Callable[[Received], Answer]


@dataclasses.dataclass
class Server:
    """A running server: its port, and what it was sent so far."""

    port: int
    received: list[Received]


def json_answer(value: Any, status: int = 200) -> Answer:
    return Answer(status, json.dumps(value).encode(), {"Content-Type": "application/json"})


class _Handler(BaseHTTPRequestHandler):
    """Answers one request a connection."""

    protocol_version = "HTTP/1.1"
    server: _Server

    def handle_one_request(self) -> None:
        # A client that goes away, or does not trust the certificate, is what some tests are about.
        with contextlib.suppress(OSError):
            super().handle_one_request()

    def __getattr__(self, name: str) -> Any:
        if name.startswith("do_"):
            return self.answer
        raise AttributeError(name)

    def answer(self) -> None:
        parts = urlsplit(self.path)
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        headers = {key.lower(): value for key, value in self.headers.items()}
        request = Received(self.command, parts.path, parse_qs(parts.query), headers, body)
        self.server.received.append(request)
        answer = self.server.answers(request)
        self.close_connection = True
        if answer.raw is not None:
            self.wfile.write(answer.raw)
            return
        self.send_response(answer.status)
        sent = {"Content-Length": str(len(answer.body)), "Connection": "close"} | dict(answer.headers)
        for key, value in sent.items():
            if value is not None:
                self.send_header(key, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(answer.body)

    def log_message(self, *_arguments: object) -> None:
        pass


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, answers: Answers, tls: ssl.SSLContext | None) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.answers = answers
        self.tls = tls
        self.received: list[Received] = []

    def finish_request(self, request: Any, client_address: Any) -> None:
        if self.tls is not None:
            request = self.tls.wrap_socket(request, server_side=True)
        with contextlib.closing(request):
            super().finish_request(request, client_address)

    def handle_error(self, *_arguments: object) -> None:
        pass


@contextlib.contextmanager
def serving(answers: Answers, tls: ssl.SSLContext | None = None) -> Iterator[Server]:
    """Serve on a free port of 127.0.0.1."""
    with _Server(answers, tls) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        try:
            yield Server(server.server_address[1], server.received)
        finally:
            server.shutdown()
            thread.join()


@dataclasses.dataclass(frozen=True)
class Authority:
    """A CA with one certificate for website.localhost and 127.0.0.1, which clients use, too."""

    ca: Path
    certificate: Path
    key: Path

    def server_context(self, *, ask_client: bool = False) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.certificate, self.key)
        if ask_client:
            context.load_verify_locations(self.ca)
            context.verify_mode = ssl.CERT_REQUIRED
        return context


def make_authority(directory: Path) -> Authority:
    """Make a CA and a certificate in a directory."""
    now = dt.datetime.now(dt.UTC)
    ca_key, key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    ca_name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "test CA")])

    def signed(subject: x509.Name, public: Any, extension: x509.ExtensionType, *, is_ca: bool) -> x509.Certificate:
        builder = x509.CertificateBuilder().subject_name(subject).issuer_name(ca_name).public_key(public)
        builder = builder.serial_number(x509.random_serial_number())
        builder = builder.not_valid_before(now - dt.timedelta(days=1)).not_valid_after(now + dt.timedelta(days=1))
        builder = builder.add_extension(x509.BasicConstraints(ca=is_ca, path_length=None), critical=True)
        return builder.add_extension(extension, critical=False).sign(ca_key, hashes.SHA256())

    names: list[x509.GeneralName] = [x509.DNSName("website.localhost")]
    names.append(x509.IPAddress(ipaddress.ip_address("127.0.0.1")))
    identifier = x509.SubjectKeyIdentifier.from_public_key(ca_key.public_key())
    authority = Authority(directory / "ca.crt", directory / "tls.crt", directory / "tls.key")
    pem = serialization.Encoding.PEM
    authority.ca.write_bytes(signed(ca_name, ca_key.public_key(), identifier, is_ca=True).public_bytes(pem))
    leaf = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "website")])
    certificate = signed(leaf, key.public_key(), x509.SubjectAlternativeName(names), is_ca=False)
    authority.certificate.write_bytes(certificate.public_bytes(pem))
    authority.key.write_bytes(key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()))
    return authority


_PLURALS = {
    "v1": {
        "ConfigMap": "configmaps",
        "Event": "events",
        "Namespace": "namespaces",
        "Node": "nodes",
        "PersistentVolume": "persistentvolumes",
        "PersistentVolumeClaim": "persistentvolumeclaims",
        "Pod": "pods",
        "Secret": "secrets",
        "Service": "services",
    },
    "apps/v1": {
        "DaemonSet": "daemonsets",
        "Deployment": "deployments",
        "ReplicaSet": "replicasets",
        "StatefulSet": "statefulsets",
    },
    "apiregistration.k8s.io/v1": {"APIService": "apiservices"},
    "batch/v1": {"Job": "jobs"},
    "external-secrets.io/v1": {"ExternalSecret": "externalsecrets"},
    "gateway.networking.k8s.io/v1": {"HTTPRoute": "httproutes"},
}
_CLUSTER_WIDE = ("APIService", "Namespace", "Node", "PersistentVolume")


class FakeKubernetes:
    """A Kubernetes API out of objects: discovery, get, list by labels and fields, events and logs.

    `logs` is by "<pod>/<container>", or "<pod>/<container>/previous". `objects` may be changed while it serves.
    `unserved` are API versions that it does not know.
    """

    def __init__(
        self, objects: list[dict[str, Any]], logs: dict[str, str] | None = None, unserved: Collection[str] = ()
    ) -> None:
        self.objects = objects
        self.unserved = unserved
        self.logs = logs or {}

    def answer(self, request: Received) -> Answer:
        parts = request.path.strip("/").split("/")
        version = parts[1] if parts[0] == "api" else "/".join(parts[1:3])
        rest = parts[2:] if parts[0] == "api" else parts[3:]
        if version not in _PLURALS or version in self.unserved:
            return self.status(404, "NotFound", "the server could not find the requested resource")
        if not rest:
            resources = [
                {"name": plural, "kind": kind, "namespaced": kind not in _CLUSTER_WIDE}
                for kind, plural in _PLURALS[version].items()
            ]
            return json_answer({"resources": [{"name": "pods/log", "kind": "Pod", "namespaced": True}, *resources]})
        namespace, rest = (rest[1], rest[2:]) if rest[0] == "namespaces" and len(rest) > 2 else (None, rest)
        if rest[2:] == ["log"]:
            return self.log(rest[1], request)
        found = [item for item in self.objects if self.fits(item, version, rest[0], namespace, request.query)]
        if len(rest) == 1:
            return json_answer({"items": found})
        for item in found:
            if item["metadata"]["name"] == rest[1]:
                return json_answer(item)
        return self.status(404, "NotFound", f'{rest[0]} "{rest[1]}" not found')

    @staticmethod
    def fits(item: dict[str, Any], version: str, plural: str, namespace: str | None, query: dict[str, Any]) -> bool:
        metadata = item["metadata"]
        if item["apiVersion"] != version or _PLURALS[version].get(item["kind"]) != plural:
            return False
        if namespace and metadata.get("namespace") != namespace:
            return False
        fields = dict(pair.split("=") for pair in query.get("fieldSelector", [""])[0].split(",") if pair)
        # As in `a=1,b in (2, 3)`.
        wanted = query.get("labelSelector", [""])[0]
        selector = re.findall(r"([\w./-]+)(?:=([^,]*)| in \(([^)]*)\))", wanted)
        labels = metadata.get("labels", {})
        if re.fullmatch(r"[\w./-]+", wanted) and wanted not in labels:
            return False
        fit = all(labels.get(key) in (among.split(", ") if among else [one]) for key, one, among in selector)
        return fields.items() <= item.items() and fit

    def log(self, pod: str, request: Received) -> Answer:
        previous = "/previous" if request.query.get("previous") else ""
        name = f"{pod}/{request.query['container'][0]}{previous}"
        if name not in self.logs:
            return self.status(400, "BadRequest", f"container in pod {pod} has no log")
        lines = self.logs[name].splitlines()[-int(request.query["tailLines"][0]) :]
        return Answer(200, "\n".join(lines).encode(), {"Content-Type": "text/plain"})

    @staticmethod
    def status(code: int, reason: str, message: str) -> Answer:
        return json_answer({"kind": "Status", "reason": reason, "message": message, "code": code}, code)


@contextlib.contextmanager
def serving_kubernetes(fake: FakeKubernetes, kubeconfig: Path) -> Iterator[Server]:
    """Serve a Kubernetes API, and write the kubeconfig that leads to it, as JSON."""
    with serving(fake.answer) as server:
        write_kubeconfig(kubeconfig, server.port)
        yield server


def write_kubeconfig(path: Path, port: int) -> None:
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "test",
        "clusters": [{"name": "test", "cluster": {"server": f"http://127.0.0.1:{port}"}}],
        "users": [{"name": "test", "user": {"token": "t0k3n"}}],
        "contexts": [{"name": "test", "context": {"cluster": "test", "user": "test"}}],
    }
    path.write_text(json.dumps(config), encoding="utf-8")
