# Copyright: cicd.sandbox contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The standing sandbox's cluster as tests use it: kubectl as its admin, waiting, and pods."""

from __future__ import annotations

import base64
import functools
import json
import os
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml

STATE = Path(
    os.environ.get("SANDBOX_STATE_DIRECTORY", Path("~/.local/state/cicd-sandbox/dev").expanduser())  # make e2e
)
KUBECONFIG = STATE / "kubeconfig"
KUBECTL = [str(STATE / "bin/kubectl"), f"--kubeconfig={KUBECONFIG}", "--request-timeout=20s"]
CONTROL_PLANE = "node-role.kubernetes.io/control-plane"
IMAGE = "docker.io/library/busybox:latest"

Object = dict[str, Any]


def kubectl(*arguments: str, stdin: str | None = None, fails: bool = False) -> str:
    """Run kubectl as the sandbox's admin and return what it says."""
    done = try_kubectl(*arguments, stdin=stdin)
    assert (done.returncode != 0) == fails, f"kubectl {' '.join(arguments)}\n{done.stdout}{done.stderr}"
    return done.stdout.strip()


def try_kubectl(*arguments: str, stdin: str | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*KUBECTL, *arguments], check=False, capture_output=True, text=True, input=stdin)


def context(user: str) -> str:
    return f"{STATE.name}-admin@{STATE.name}" if user == "admin" else f"{user}@{STATE.name}"


def as_user(user: str, *arguments: str, stdin: str | None = None) -> subprocess.CompletedProcess[str]:
    """Run kubectl by a context of the user's own kubeconfig, as a person would."""
    path = json.loads((STATE / "kubeconfig-places.json").read_text())[0]
    line = [KUBECTL[0], f"--kubeconfig={path}", f"--context={context(user)}", "--request-timeout=20s", *arguments]
    return subprocess.run(line, check=False, capture_output=True, text=True, input=stdin)


def get(*arguments: str) -> Object:
    answer: Object = json.loads(kubectl("get", *arguments, "--output=json"))
    return answer


@functools.cache
def nodes() -> dict[str, Object]:
    return {node["metadata"]["name"]: node for node in get("nodes")["items"]}


def control_planes() -> list[str]:
    return [name for name, node in nodes().items() if CONTROL_PLANE in node["metadata"]["labels"]]


def workers() -> list[str]:
    return [name for name in nodes() if name not in control_planes()]


@functools.cache
def inventory() -> Object:
    """The inventory as Ansible lists it."""
    path = os.environ.get("SANDBOX_INVENTORY", "inventories/dev")
    line = ["ansible-inventory", f"--inventory={path}", "--list"]
    listed: Object = json.loads(subprocess.run(line, check=True, capture_output=True, text=True).stdout)
    return listed


def address(machine: str) -> str:
    return str(inventory()["_meta"]["hostvars"][machine]["ansible_host"])


def on(machine: str, *line: str) -> str:
    """Run a command on a machine, a node or not, as root over SSH."""
    options = [
        "-Fnone",
        f"-oUserKnownHostsFile={STATE}/ssh/known_hosts",
        "-oBatchMode=yes",
        "-oIdentitiesOnly=yes",
        f"-i{STATE}/ssh/id_ed25519",
    ]
    command = ["ssh", *options, f"root@{address(machine)}", *line]
    run = subprocess.run(command, check=False, capture_output=True, text=True, timeout=180)
    assert run.returncode == 0, f"{machine}: {' '.join(line)} ended with {run.returncode}\n{run.stdout}{run.stderr}"
    return run.stdout


def etcd_values(path: str, *, below: bool = False) -> dict[str, bytes]:
    """Read a path of etcd, or all below it, with the API server's certificate: path → value as it is stored."""
    configuration = get("configmap", "kubeadm-config", "--namespace=kube-system")["data"]["ClusterConfiguration"]
    endpoint = yaml.safe_load(configuration)["etcd"]["external"]["endpoints"][0]
    pki = "/etc/kubernetes/pki/etcd"
    credentials = [f"--cacert {pki}/ca.crt", f"--cert {pki}/apiserver-etcd-client.crt"]
    asked = {"key": path, **({"range_end": path[:-1] + chr(ord(path[-1]) + 1)} if below else {})}
    body = json.dumps({name: base64.b64encode(value.encode()).decode() for name, value in asked.items()})
    line = ["curl -sS --fail", *credentials, f"--key {pki}/apiserver-etcd-client.key", f"--data '{body}'"]
    answer = json.loads(on(control_planes()[0], *line, f"{endpoint}/v3/kv/range"))
    return {base64.b64decode(item["key"]).decode(): base64.b64decode(item["value"]) for item in answer["kvs"]}


def apply(*objects: Object) -> None:
    kubectl("apply", "--filename=-", stdin=yaml.safe_dump_all(objects))


@contextmanager
def standing(*objects: Object) -> Iterator[None]:
    """Have objects in the cluster for a while."""
    apply(*objects)
    try:
        yield
    finally:
        for item in objects:
            where = [f"--namespace={item['metadata']['namespace']}"] if "namespace" in item["metadata"] else []
            kubectl("delete", *where, "--ignore-not-found", f"{item['kind']}/{item['metadata']['name']}")


def until(condition: Callable[[], Any], seconds: float = 60) -> Any:
    """Try until it is true, and return what it is."""
    deadline = time.monotonic() + seconds
    while not (value := condition()) and time.monotonic() < deadline:
        time.sleep(0.5)
    return value


@contextmanager
def meanwhile(work: Callable[[], object], pause: float) -> Iterator[None]:
    """Have something done again and again, with so many seconds between, until the block ends."""
    ended = threading.Event()

    def repeat() -> None:
        while not ended.wait(pause):
            work()

    thread = threading.Thread(target=repeat)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def sleeper(name: str, namespace: str, *command: str, account: str | None = None, image: str = IMAGE) -> list[Object]:
    """Describe a pod with a ServiceAccount, as Pod Security's level restricted wants it; it sleeps, or runs a command.

    account: a ServiceAccount that is there; one of the pod's name is described where it is left out.
    """
    container = {
        "name": "main",
        "image": image,
        "command": list(command) or ["sleep", "infinity"],
        "resources": {"requests": {"cpu": "10m", "memory": "8Mi"}, "limits": {"memory": "64Mi"}},
        "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
    }
    pod: Object = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": namespace, "labels": {"app": name, "version": "test"}},
        "spec": {
            "serviceAccountName": account or name,
            "automountServiceAccountToken": False,
            "terminationGracePeriodSeconds": 0,
            "securityContext": {"runAsNonRoot": True, "runAsUser": 10001, "seccompProfile": {"type": "RuntimeDefault"}},
            "containers": [container],
        },
    }
    own = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": name, "namespace": namespace}}
    return [pod] if account else [own, pod]


def ready(namespace: str, *names: str) -> None:
    pods = [f"pod/{name}" for name in names]
    kubectl("--namespace", namespace, "wait", "--for=condition=Ready", "--timeout=120s", *pods, "--request-timeout=0")
