"""Image registry and artifact store, as seen from the controller."""

from __future__ import annotations

import hashlib
import json
import socket
import ssl
import urllib.error

import pytest
from helpers import INFRA, STATE, Answer, get, machine, playbook

REGISTRY = f"https://{INFRA}:5000/v2"
FOR_NODES = f"https://{INFRA}:5002/v2"
STORE = f"https://{INFRA}:8443"
PASSWORD = (STATE / "secrets/registry-password").read_text().strip()


def test_the_registry_knows_one_user_and_the_cas_trust():
    assert get(f"{REGISTRY}/", ca="sandbox").status == 401
    assert get(f"{REGISTRY}/", ca="sandbox", password="wrong").status == 401
    assert get(f"{REGISTRY}/", ca="sandbox", password=PASSWORD).status == 200
    with pytest.raises(urllib.error.URLError, match="CERTIFICATE_VERIFY_FAILED"):
        get(f"{REGISTRY}/", ca="etcd", password=PASSWORD)


@pytest.mark.parametrize("name", ["registry", "registry-nodes"])
def test_the_password_is_the_users_alone(name):
    file = STATE / f"secrets/{name}-password"
    assert len(file.read_text().strip()) == 32
    assert file.stat().st_mode & 0o077 == 0


def test_nodes_read_the_same_images_and_write_none():
    password = (STATE / "secrets/registry-nodes-password").read_text().strip()
    assert password != PASSWORD
    path = "registry.k8s.io/for-nodes/manifests/1.0"
    kind = "application/vnd.oci.image.index.v1+json"
    index = json.dumps({"schemaVersion": 2, "mediaType": kind, "manifests": []}).encode()
    given = {"method": "PUT", "data": index, "Content_Type": kind, "ca": "sandbox"}
    # Neither with the nodes' password where images are written, nor with that of who writes where nodes read.
    assert get(f"{REGISTRY}/{path}", user="nodes", password=password, **given).status == 401
    assert get(f"{FOR_NODES}/{path}", user="nodes", password=password, **given).status == 405
    assert get(f"{FOR_NODES}/{path}", password=PASSWORD, **given).status == 401
    assert get(f"{REGISTRY}/{path}", password=PASSWORD, **given).status == 201
    there = get(f"{FOR_NODES}/{path}", user="nodes", password=password, ca="sandbox", Accept=kind)
    assert (there.status, there.body.encode()) == (200, index)
    digest = there.headers["Docker-Content-Digest"]
    removed = f"{REGISTRY}/registry.k8s.io/for-nodes/manifests/{digest}"
    assert get(removed, password=PASSWORD, ca="sandbox", method="DELETE").status == 202


def test_the_registry_takes_gives_and_deletes_an_image():
    def call(path: str, **arguments) -> Answer:
        url = path if path.startswith("https:") else f"{REGISTRY}/registry.k8s.io/test{path}"
        return get(url, ca="sandbox", password=PASSWORD, **arguments)

    blob = b"{}"
    digest = f"sha256:{hashlib.sha256(blob).hexdigest()}"
    place = call("/blobs/uploads/", method="POST").headers["Location"]
    place = place if place.startswith("https:") else f"https://{INFRA}:5000{place}"
    sent = call(f"{place}&digest={digest}", method="PUT", data=blob, Content_Type="application/octet-stream")
    assert sent.status == 201
    kind = "application/vnd.oci.image.manifest.v1+json"
    config = {"mediaType": "application/vnd.oci.image.config.v1+json", "digest": digest, "size": len(blob)}
    manifest = json.dumps({"schemaVersion": 2, "mediaType": kind, "config": config, "layers": []}).encode()
    assert call("/manifests/1.0", method="PUT", data=manifest, Content_Type=kind).status == 201
    there = call("/manifests/1.0", Accept=kind)
    assert there.body.encode() == manifest
    assert call(f"/manifests/{there.headers['Docker-Content-Digest']}", method="DELETE").status == 202
    assert call("/manifests/1.0", Accept=kind).status == 404


def test_the_store_lists_and_gives_files_with_their_sums():
    component = f"{STORE}/etcd"
    version = json.loads(get(f"{component}/", ca="sandbox").body)[0]["name"]
    sums = get(f"{component}/{version}/SHA256SUMS", ca="sandbox").body.split()
    names = {entry["name"] for entry in json.loads(get(f"{component}/{version}/", ca="sandbox").body)}
    assert {"etcd", "etcdctl", "etcdutl", "SHA256SUMS"} <= names
    assert len(sums[0]) == 64


def test_machines_have_the_stores_ca_and_trust_nothing_new_by_themselves():
    ask = f"curl --silent --fail {STORE}/etcd/"
    assert machine("etcd-1").run(f"{ask} --cacert /etc/cicd-sandbox/ca/sandbox.crt").rc == 0
    # 60: the peer's certificate can't be verified.
    assert machine("etcd-1").run(ask).rc == 60


def test_only_tls_1_2_and_newer(recwarn):
    for port in (5000, 5002, 8443):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        context.maximum_version = ssl.TLSVersion.TLSv1_1
        with socket.create_connection((INFRA, port), timeout=5) as plain, pytest.raises(ssl.SSLError):
            context.wrap_socket(plain)


def test_a_check_changes_nothing():
    checked = playbook("registry", "--check")
    assert checked.returncode == 0, checked.stdout
    assert not any(f"changed={number}" in checked.stdout for number in range(1, 10)), checked.stdout
