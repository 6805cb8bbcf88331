"""What several tests of this scenario use."""

from __future__ import annotations

import base64
import json
import os
import ssl
import subprocess
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from testinfra.host import Host

REPOSITORY = Path(__file__).resolve().parents[3]
INVENTORY = os.environ["SANDBOX_INVENTORY"]
STATE = Path(os.environ["SANDBOX_STATE_DIRECTORY"])
ENDPOINT_PORT = int(os.environ["SANDBOX_LOCAL_ENDPOINT_PORT"])
INFRA = "198.18.3.2"
MEMBERS = {"etcd-1": "198.18.3.11", "etcd-2": "198.18.3.12", "etcd-3": "198.18.3.13"}


def machine(name: str) -> Host:
    """Give testinfra's host of a name, for tests that need a certain one."""
    return Host.get_host(f"ansible://{name}", ansible_inventory=INVENTORY)


def playbook(name: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a playbook of the collection on this scenario's inventory."""
    line = ["ansible-playbook", f"playbooks/{name}.yml", "--inventory", INVENTORY, *arguments]
    return subprocess.run(line, check=False, capture_output=True, text=True, cwd=REPOSITORY)


def marker() -> dict[str, Any]:
    """Read what the controller remembers of the cluster."""
    remembered: dict[str, Any] = json.loads((STATE / "etcd.json").read_text())
    return remembered


def etcdctl(host: Any, *arguments: str) -> str:
    """Run etcdctl on a member with the server's certificate."""
    pki = "/etc/etcd/pki"
    credentials = f"--cacert={pki}/ca.crt --cert={pki}/server.crt --key={pki}/server.key"
    words: str = host.check_output(f"etcdctl --endpoints=https://127.0.0.1:2379 {credentials} {' '.join(arguments)}")
    return words


@dataclass
class Answer:
    status: int
    headers: Any
    body: str


def get(
    url: str,
    *,
    ca: str = "",
    user: str = "sandbox",
    password: str = "",
    method: str = "GET",
    data: bytes | None = None,
    **headers: str,
):
    """Send a request, give the answer whatever its status is."""
    context = ssl.create_default_context(cafile=STATE / "pki" / ca / "ca.crt") if ca else None
    if password:
        headers["Authorization"] = "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()
    names = {name.replace("_", "-"): value for name, value in headers.items()}
    request = urllib.request.Request(url, headers=names, method=method, data=data)
    try:
        with urllib.request.urlopen(request, timeout=30, context=context) as answer:
            return Answer(answer.status, answer.headers, answer.read().decode(errors="replace"))
    except urllib.error.HTTPError as error:
        return Answer(error.code, error.headers, error.read().decode(errors="replace"))
