# Copyright: cicd.sandbox contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the mesh costs a request and a pod: latencies by way of two proxies, beside those without any.

    .venv/bin/python benchmarks/mesh.py

On the standing sandbox, in two namespaces that are taken away again: a server and a client with a proxy each, and the
same without. The clients send 100 requests a second in turns of some seconds, so that what else the machines do hits
both alike; a request begins when it is due, whether the one before was answered or not. Memory and processor time of
proxies are those that the kubelets tell of all pods that have one.
"""

from __future__ import annotations

import argparse
import json
import secrets
import statistics
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from latencies import table
from slowness import slowness

STATE = Path("~/.local/state/cicd-sandbox/dev").expanduser()
# Answers with a kilobyte, on connections that are kept.
SERVER = """
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

class Kilobyte(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = -1
    disable_nagle_algorithm = True

    def do_GET(self):
        self.send_response(200)
        self.send_header("Content-Length", "1024")
        self.end_headers()
        self.wfile.write(b"x" * 1024)

    def log_message(self, *arguments):
        pass

ThreadingHTTPServer(("0.0.0.0", 8080), Kilobyte).serve_forever()
"""
# Prints the seconds that each request took, from when it was due.
CLIENT = """
import http.client, json, queue, sys, threading, time

rate, seconds, workers = 100, float(sys.argv[1]), 16
due, times = queue.SimpleQueue(), []

def work():
    connection = http.client.HTTPConnection("server", 8080, timeout=10)
    while (moment := due.get()) is not None:
        connection.request("GET", "/")
        answer = connection.getresponse()
        answer.read()
        assert answer.status == 200, answer.status
        times.append(time.monotonic() - moment)

threads = [threading.Thread(target=work) for _ in range(workers)]
for thread in threads:
    thread.start()
begun = time.monotonic()
for number in range(int(rate * seconds)):
    moment = begun + number / rate
    time.sleep(max(0.0, moment - time.monotonic()))
    due.put(moment)
for _ in threads:
    due.put(None)
for thread in threads:
    thread.join()
assert len(times) == int(rate * seconds), f"{len(times)} of {int(rate * seconds)} requests were answered"
json.dump(times, sys.stdout)
"""
LABELS = {"pod-security.kubernetes.io/enforce": "restricted"}

Object = dict[str, Any]
Kubectl = Callable[..., str]


def kubectl_of(state: Path) -> Kubectl:
    """A way to call the sandbox's kubectl as its admin, which returns what it says."""
    line = [str(state / "bin/kubectl"), f"--kubeconfig={state / 'kubeconfig'}"]

    def kubectl(*arguments: str, stdin: str | None = None) -> str:
        done = subprocess.run([*line, *arguments], check=False, capture_output=True, text=True, input=stdin)
        if done.returncode != 0:
            sys.exit(f"kubectl {' '.join(arguments)}\n{done.stderr}")
        return done.stdout

    return kubectl


def pod(namespace: str, name: str, image: str, program: str, *, node: str) -> Object:
    """A pod of Python on a node, as Pod Security's level restricted wants it."""
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": namespace, "labels": {"app": name, "version": "benchmark"}},
        "spec": {
            "nodeName": node,
            "automountServiceAccountToken": False,
            "terminationGracePeriodSeconds": 0,
            "securityContext": {"runAsNonRoot": True, "runAsUser": 10001, "seccompProfile": {"type": "RuntimeDefault"}},
            "containers": [
                {
                    "name": "main",
                    "image": image,
                    "command": ["python3", "-c", program],
                    "resources": {"requests": {"cpu": "10m", "memory": "32Mi"}, "limits": {"memory": "128Mi"}},
                    "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
                }
            ],
        },
    }


@contextmanager
def pairs(kubectl: Kubectl) -> Iterator[dict[str, str]]:
    """Servers and clients with proxies and without: which → namespace."""
    suffix = secrets.token_hex(3)
    apps = json.loads(kubectl("get", "namespace", "apps", "--output=json"))
    if "istio.io/rev" not in apps["metadata"]["labels"]:
        sys.exit("namespace apps is not of the mesh: there is nothing to compare")
    revision = {"istio.io/rev": apps["metadata"]["labels"]["istio.io/rev"]}
    api = json.loads(kubectl("--namespace=apps", "get", "deployment", "business-logic", "--output=json"))
    image = api["spec"]["template"]["spec"]["containers"][0]["image"]
    selector = "--selector=!node-role.kubernetes.io/control-plane"
    workers = json.loads(kubectl("get", "nodes", selector, "--output=json"))["items"]
    nodes = [worker["metadata"]["name"] for worker in workers]
    spaces = {"without a proxy": f"benchmark-plain-{suffix}", "with proxies": f"benchmark-mesh-{suffix}"}
    objects: list[Object] = []
    for which, namespace in spaces.items():
        labels = LABELS | (revision if which == "with proxies" else {})
        space = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace, "labels": labels}}
        ports = [{"name": "http", "port": 8080}]
        service = {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": "server", "namespace": namespace},
            "spec": {"selector": {"app": "server"}, "ports": ports},
        }
        objects += [space, service, pod(namespace, "server", image, SERVER, node=nodes[0])]
        objects.append(pod(namespace, "client", image, "import time; time.sleep(86400)", node=nodes[-1]))
    try:
        kubectl("apply", "--filename=-", stdin=json.dumps({"apiVersion": "v1", "kind": "List", "items": objects}))
        for namespace in spaces.values():
            kubectl(f"--namespace={namespace}", "wait", "--for=condition=Ready", "--timeout=120s", "pod", "--all")
        yield spaces
    finally:
        kubectl("delete", "namespace", *spaces.values(), "--ignore-not-found")


def ask(kubectl: Kubectl, namespace: str, seconds: float) -> list[float]:
    """Seconds that each request of a turn took."""
    line = ["exec", "--stdin", "client", "--container=main", "--", "python3", "-", f"{seconds:g}"]
    times: list[float] = json.loads(kubectl(f"--namespace={namespace}", *line, stdin=CLIENT))
    return times


def proxies(kubectl: Kubectl) -> tuple[list[float], list[float]]:
    """MB and thousandths of a core of each proxy beside a container of an application."""
    told = json.loads(kubectl("get", "--raw", "/apis/metrics.k8s.io/v1beta1/pods"))["items"]
    containers = [
        container
        for item in told
        if len(item["containers"]) > 1
        for container in item["containers"]
        if container["name"] == "istio-proxy"
    ]
    memory = [int(container["usage"]["memory"].removesuffix("Ki")) * 1024 / 1e6 for container in containers]
    processor = [_thousandths(container["usage"]["cpu"]) for container in containers]
    return memory, processor


def _thousandths(quantity: str) -> float:
    """Thousandths of a core, of a quantity as Kubernetes writes it."""
    units = {"n": 1e-6, "u": 1e-3, "m": 1.0}
    return float(quantity[:-1]) * units[quantity[-1]] if quantity[-1] in units else float(quantity) * 1000


def main() -> None:
    """Measure, and print ratios."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--state", type=Path, default=STATE, help="state directory of the sandbox")
    parser.add_argument("--turns", type=int, default=6, help="of each client")
    parser.add_argument("--seconds", type=float, default=5, help="of each turn")
    chosen = parser.parse_args()
    kubectl = kubectl_of(chosen.state)
    clock, processors = slowness()
    print(f"machine {clock:.2f} times slower than in a fast hour by the clock, {processors:.2f} by processor time")
    with pairs(kubectl) as spaces:
        times: dict[str, list[float]] = {which: [] for which in spaces}
        for namespace in spaces.values():
            ask(kubectl, namespace, 2)
        for _turn in range(chosen.turns):
            for which, namespace in spaces.items():
                times[which] += ask(kubectl, namespace, chosen.seconds)
        print(f"{len(times['with proxies'])} requests of each", *table(times), sep="\n")
    memory, processor = proxies(kubectl)
    print(f"{len(memory)} proxies beside applications, median and most")
    print(f"memory      {statistics.median(memory):4.0f} MB {max(memory):4.0f} MB")
    print(f"processors  {statistics.median(processor):4.0f} m  {max(processor):4.0f} m")


if __name__ == "__main__":
    main()
