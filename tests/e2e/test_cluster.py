# Copyright: cicd.sandbox contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The cluster as its users and its attackers find it: through the API, from pods, and in etcd's raw values."""

from __future__ import annotations

import base64
import json
import secrets
import ssl
import stat
import subprocess
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from live_cluster import (
    CONTROL_PLANE,
    IMAGE,
    KUBECONFIG,
    KUBECTL,
    STATE,
    Object,
    apply,
    control_planes,
    etcd_values,
    get,
    kubectl,
    nodes,
    on,
    until,
    workers,
)

PACKING = "batch-packing"
HOSTNAME = "kubernetes.io/hostname"


def pod(name: str, *command: str, labels: dict[str, str] | None = None, **spec: Any) -> Object:
    """Describe a pod that sleeps, or runs a command."""
    container = {
        "name": "main",
        "image": IMAGE,
        "command": list(command) or ["sleep", "infinity"],
        "resources": {"requests": {"cpu": "10m", "memory": "8Mi"}},
        **spec.pop("container", {}),
    }
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "labels": {"app": name, **(labels or {})}},
        "spec": {"containers": [container], "terminationGracePeriodSeconds": 0, **spec},
    }


@pytest.fixture(scope="module")
def namespace() -> Iterator[str]:
    """Make a namespace that is gone afterwards, and let kubectl work in it."""
    name = f"cluster-test-{secrets.token_hex(3)}"
    kubectl("create", "namespace", name)
    KUBECTL.append(f"--namespace={name}")
    yield name
    KUBECTL.pop()
    kubectl("delete", "namespace", name, "--wait=true")


def ready(*names: str) -> None:
    kubectl("wait", "--for=condition=Ready", "--timeout=90s", *(f"pod/{name}" for name in names))


# --- API server ------------------------------------------------------------------------------------------------------


def server() -> str:
    address: str = yaml.safe_load(KUBECONFIG.read_text())["clusters"][0]["cluster"]["server"]
    return address


def without_credentials(path: str) -> int:
    authority = yaml.safe_load(KUBECONFIG.read_text())["clusters"][0]["cluster"]["certificate-authority-data"]
    context = ssl.create_default_context(cadata=base64.b64decode(authority).decode())
    try:
        with urllib.request.urlopen(f"{server()}{path}", context=context, timeout=10) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code


def test_the_api_is_reached_through_the_load_balancer() -> None:
    assert kubectl("get", "--raw=/readyz") == "ok"
    own = [entry["address"] for node in nodes().values() for entry in node["status"]["addresses"]]
    assert server().removeprefix("https://").rpartition(":")[0] not in own


@pytest.mark.parametrize(
    ("path", "status"),
    [("/livez", 200), ("/readyz", 200), ("/version", 401), ("/api/v1/nodes", 401), ("/api/v1/secrets", 401)],
)
def test_nobody_gets_more_than_health(path: str, status: int) -> None:
    assert without_credentials(path) == status


@pytest.mark.parametrize(
    ("allowed", "arguments"),
    [
        (True, ["create", "namespaces"]),
        (False, ["list", "secrets", "--as=system:anonymous", "--as-group=system:unauthenticated"]),
        (False, ["list", "secrets", "--as=somebody"]),
        (False, ["get", "pods", "--as=system:serviceaccount:default:default"]),
        (False, ["get", "secrets", "--as=system:node:worker-1", "--as-group=system:nodes"]),
        (False, ["delete", "nodes", "--as=system:serviceaccount:kube-system:coredns"]),
    ],
)
def test_who_may_do_what(allowed: bool, arguments: list[str]) -> None:
    answer = kubectl("auth", "can-i", *arguments, "--all-namespaces", fails=not allowed)
    assert answer.startswith("yes") == allowed


def test_no_join_token_is_left() -> None:
    tokens = get("secrets", "--namespace=kube-system", "--field-selector=type=bootstrap.kubernetes.io/token")
    assert tokens["items"] == []


def test_a_kubelet_reads_secrets_of_its_own_pods_only(namespace: str) -> None:
    """The rights of system:nodes come from no role: the Node authorizer knows which pod runs where."""
    here, there = workers()[0], workers()[-1]
    for name, node in (("near", here), ("far", there)):
        kubectl("create", "secret", "generic", name, "--from-literal=value=1")
        environment = [{"name": "VALUE", "valueFrom": {"secretKeyRef": {"name": name, "key": "value"}}}]
        apply(pod(name, nodeSelector={HOSTNAME: node}, container={"env": environment}))
    ready("near", "far")

    def read(secret: str) -> str:
        path = f"/api/v1/namespaces/{namespace}/secrets/{secret}"
        return on(here, f"kubectl --kubeconfig=/etc/kubernetes/kubelet.conf get --raw={path} 2>&1 || true")

    assert json.loads(read("near"))["metadata"]["name"] == "near"
    refused = read("far")
    assert f'User "system:node:{here}" cannot get resource "secrets"' in refused
    assert "no relationship found between node" in refused


def test_the_users_kubeconfig_leads_here_and_is_the_users_alone() -> None:
    """It is merged by the role cluster (cluster_kubeconfig_path)."""
    path = Path(json.loads((STATE / "kubeconfig-places.json").read_text())[0])
    assert stat.S_IMODE(path.stat().st_mode) & 0o077 == 0
    context = f"{STATE.name}-admin@{STATE.name}"
    line = [KUBECTL[0], f"--kubeconfig={path}", f"--context={context}", "--request-timeout=20s"]
    asked = [*line, "auth", "can-i", "*", "*", "--all-namespaces"]
    assert subprocess.run(asked, check=True, capture_output=True, text=True).stdout.strip() == "yes"
    seen = [*line, "config", "view", "--minify", "--output=jsonpath={.clusters[0].cluster.server}"]
    assert subprocess.run(seen, check=True, capture_output=True, text=True).stdout == server()


def test_secrets_are_encrypted_at_rest(namespace: str) -> None:
    marker = f"plain-{secrets.token_hex(16)}"
    for kind, source in (("secret", ["generic", "marker"]), ("configmap", ["marker"])):
        kubectl("create", kind, *source, f"--from-literal=value={marker}")
    encoded = base64.b64encode(marker.encode())
    paths = [f"/registry/{kind}/{namespace}/marker" for kind in ("secrets", "configmaps")]
    secret, configmap = (etcd_values(path)[path] for path in paths)
    assert secret.startswith(b"k8s:enc:")
    assert marker.encode() not in secret
    assert encoded not in secret
    assert marker.encode() in configmap, "the way etcd is read here does not show plain values"
    assert base64.b64decode(get("secret", "marker")["data"]["value"]) == marker.encode()


def test_the_audit_log_has_what_was_done_and_no_secrets(namespace: str) -> None:
    marker = f"audited-{secrets.token_hex(8)}"
    kubectl("create", "secret", "generic", "audited", f"--from-literal=value={marker}")
    command = f"grep -h -F {namespace} /var/log/kubernetes/audit.log || true"

    def events() -> list[Object]:
        lines = [line for plane in control_planes() for line in on(plane, command).splitlines()]
        found = [json.loads(line) for line in lines]
        return [event for event in found if event.get("objectRef", {}).get("name") == "audited"]

    (event,) = until(events)
    assert (event["verb"], event["level"], event["stage"]) == ("create", "Metadata", "ResponseComplete")
    encoded = base64.b64encode(marker.encode()).decode()
    for plane in control_planes():
        count = on(plane, f"grep -c -e {marker} -e {encoded} /var/log/kubernetes/audit.log || true")
        assert count.strip() == "0"


def test_keys_of_nodes_are_roots_alone() -> None:
    names = " -o ".join(f"-name '{name}'" for name in ("*.key", "*.conf", "hosts.toml", "encryption.yml"))
    # Which name servers pods ask is for everybody to read.
    folders = "/etc/kubernetes /etc/containerd/certs.d -path '*/resolver' -prune"
    find = f"find {folders} -o -type f \\( {names} \\) -printf '%m %u %p\\n'"
    for node in nodes():
        files = on(node, find).splitlines()
        assert len(files) >= 6
        assert [line for line in files if not line.startswith("600 root ")] == []


# --- scheduling ------------------------------------------------------------------------------------------------------


def test_control_planes_are_tainted_and_run_no_workloads(namespace: str) -> None:
    for name in control_planes():
        taints = [(taint["key"], taint["effect"]) for taint in nodes()[name]["spec"].get("taints", [])]
        assert (CONTROL_PLANE, "NoSchedule") in taints
    apply(pod("refused", nodeSelector={CONTROL_PLANE: ""}))

    def unschedulable() -> list[str]:
        conditions = get("pod", "refused")["status"].get("conditions", [])
        return [condition["message"] for condition in conditions if condition.get("reason") == "Unschedulable"]

    assert "untolerated taint" in until(unschedulable)[0]
    kubectl("delete", "pod", "refused")
    # What a DaemonSet has on every node is no workload.
    namespaces = {
        entry["metadata"]["namespace"]
        for entry in get("pods", "--all-namespaces")["items"]
        if entry["spec"].get("nodeName") in control_planes()
        and "DaemonSet" not in {owner["kind"] for owner in entry["metadata"].get("ownerReferences", [])}
    }
    assert namespaces == {"kube-system"}


def placed(app: str, count: int) -> list[str]:
    """Wait until so many pods have nodes, and return the nodes."""

    def names() -> list[str] | None:
        pods = get("pods", f"--selector=app={app}")["items"]
        found = [entry["spec"].get("nodeName", "") for entry in pods]
        return found if len(found) == count and all(found) else None

    found: list[str] | None = until(names)
    assert found, kubectl("get", "events", "--output=wide")
    return found


@pytest.mark.parametrize(("scheduler", "expected"), [("default-scheduler", 2), (PACKING, 1)])
def test_profiles_spread_and_pack(namespace: str, scheduler: str, expected: int) -> None:
    # Large enough to weigh against what runs on the nodes already.
    requests = {"resources": {"requests": {"cpu": "200m", "memory": "256Mi"}}}
    template = pod(scheduler, schedulerName=scheduler, container=requests)
    apply(
        {
            "apiVersion": "batch/v1",
            "kind": "Job",
            "metadata": {"name": scheduler},
            "spec": {
                "parallelism": 4,
                "completions": 4,
                "template": {
                    "metadata": {"labels": {"app": scheduler}},
                    "spec": template["spec"] | {"restartPolicy": "Never"},
                },
            },
        }
    )
    found = placed(scheduler, 4)
    # Pods that are going still fill their nodes, in the eyes of who places the next.
    kubectl("delete", "job", scheduler, "--cascade=foreground", "--timeout=120s", "--request-timeout=0")
    assert len(set(found)) == min(expected, len(workers())), found


# --- network, names, logs --------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def talkers(namespace: str) -> dict[str, str]:
    """Run a server on one worker, and a friend and a stranger on another; return where the server is reached."""
    here, there = workers()[0], workers()[-1]
    listen = ["sh", "-c", "mkdir /tmp/www && echo hello > /tmp/www/index.html && exec httpd -f -p 8080 -h /tmp/www"]
    apply(
        pod("server", *listen, nodeSelector={HOSTNAME: here}),
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": "server"},
            "spec": {"selector": {"app": "server"}, "ports": [{"port": 80, "targetPort": 8080}]},
        },
        pod("friend", nodeSelector={HOSTNAME: there}),
        pod("stranger", nodeSelector={HOSTNAME: there}),
    )
    ready("server", "friend", "stranger")
    return {
        "pod": f"{get('pod', 'server')['status']['podIP']}:8080",
        "service": "server",
        "name": f"server.{namespace}.svc",
    }


def hears(client: str, address: str) -> bool:
    command = f"wget -q -T 2 -O - http://{address}/ || true"
    return kubectl("exec", client, "--", "sh", "-c", command) == "hello"


def test_network_policies_are_enforced_between_nodes(talkers: dict[str, str]) -> None:
    for address in talkers.values():
        assert until(lambda address=address: hears("friend", address), 30), address
        assert until(lambda address=address: hears("stranger", address), 30), address
    apply(
        {
            "apiVersion": "networking.k8s.io/v1",
            "kind": "NetworkPolicy",
            "metadata": {"name": "friends-only"},
            "spec": {
                "podSelector": {"matchLabels": {"app": "server"}},
                "policyTypes": ["Ingress"],
                "ingress": [{"from": [{"podSelector": {"matchLabels": {"app": "friend"}}}]}],
            },
        }
    )
    assert until(lambda: not hears("stranger", talkers["pod"]), 30), "the policy is not enforced"
    for address in talkers.values():
        assert hears("friend", address), address
        assert not hears("stranger", address), address
    kubectl("delete", "networkpolicy", "friends-only")
    assert until(lambda: hears("stranger", talkers["service"]), 30)


CONNECT = """
import socket, sys
try:
    socket.create_connection((sys.argv[1], int(sys.argv[2])), timeout=3).close()
    print("open")
except OSError as error:
    print("closed:", error)
"""


def connects(client: Object, address: str, port: int) -> bool:
    """Tell whether a pod with Python can open a connection."""
    where = f"--namespace={client['metadata']['namespace']}"
    words = ["exec", where, client["metadata"]["name"], "--", "python", "-c", CONNECT, address, str(port)]
    return kubectl(*words) == "open"


def of_the_sample(release: str) -> Object:
    """Give a pod of the sample application that runs."""
    selector = f"--selector=app.kubernetes.io/instance={release},app.kubernetes.io/component=main"
    pods = get("pods", "--namespace=apps", selector, "--field-selector=status.phase=Running")["items"]
    found: Object = next(entry for entry in pods if "deletionTimestamp" not in entry["metadata"])
    return found


def test_only_the_api_reaches_the_database(namespace: str) -> None:
    """By the sample application's own policies. A pod that looks like the API's in another namespace is none."""
    api, database = of_the_sample("business-logic"), of_the_sample("postgresql")
    image = {"image": api["spec"]["containers"][0]["image"]}
    # A proxy beside it would take its connections, whoever refuses them then.
    labels = {**api["metadata"]["labels"], "sidecar.istio.io/inject": "false"}
    apply(pod("impostor", labels=labels, container=image))
    ready("impostor")
    impostor = get("pod", "impostor")
    address = database["status"]["podIP"]
    assert connects(api, address, 5432)
    assert connects(impostor, "kubernetes.default.svc", 443), "it has no network at all"
    assert not connects(impostor, address, 5432)
    kubectl("delete", "pod", "impostor")


def test_services_are_nftables_rules() -> None:
    configuration = get("configmap", "kube-proxy", "--namespace=kube-system")["data"]["config.conf"]
    assert yaml.safe_load(configuration)["mode"] == "nftables"
    # Its own nft: that of bookworm can't read all of these tables.
    for proxy in get("pods", "--namespace=kube-system", "--selector=k8s-app=kube-proxy")["items"]:
        name = proxy["metadata"]["name"]
        tables = kubectl("exec", "--namespace=kube-system", name, "--", "nft", "list", "tables")
        assert "table ip kube-proxy" in tables.splitlines(), f"{name} on {proxy['spec']['nodeName']}"


def test_names_of_the_cluster_are_found(talkers: dict[str, str]) -> None:
    assert "Address" in kubectl("exec", "friend", "--", "nslookup", "kubernetes.default.svc.cluster.local")


def test_kubelets_prove_who_they_are(namespace: str) -> None:
    """Logs pass through the API server, which takes kubelets of the cluster's CA only."""
    apply(pod("words", "sh", "-c", "echo spoken; exec sleep infinity"))
    ready("words")
    assert kubectl("logs", "words") == "spoken"
    line = "head -c0 </dev/null | openssl s_client -connect localhost:10250 -CAfile /etc/kubernetes/pki/kubelet/ca.crt"
    for node in nodes():
        assert "Verify return code: 0 (ok)" in on(node, f"{line} 2>/dev/null")


def test_kubelets_of_a_sandbox_share_a_disk_and_start_together() -> None:
    """Upstream's 10 and 15 per cent of a large disk would keep pods off all nodes; its other thresholds stay."""
    for node in nodes():
        settings = json.loads(kubectl("get", f"--raw=/api/v1/nodes/{node}/proxy/configz"))["kubeletconfig"]
        thresholds = settings["evictionHard"]
        assert thresholds["nodefs.available"] == thresholds["imagefs.available"] == "1Gi"
        assert thresholds["memory.available"] == "100Mi"
        assert settings["imageGCHighThresholdPercent"] == 100
        assert settings["crashLoopBackOff"] == {"maxContainerRestartPeriod": "5s"}


def test_the_pods_of_dns_run_on_different_nodes() -> None:
    pods = json.loads(kubectl("get", "pods", "--namespace=kube-system", "--selector=k8s-app=kube-dns", "--output=json"))
    where = [pod["spec"]["nodeName"] for pod in pods["items"] if "deletionTimestamp" not in pod["metadata"]]
    assert len(where) == len(set(where)) == 2


# --- metrics and storage ---------------------------------------------------------------------------------------------


def test_metrics_of_all_nodes_and_of_pods() -> None:
    """metrics-server reads each kubelet every 15 seconds."""

    def known() -> set[str]:
        items = json.loads(kubectl("get", "--raw=/apis/metrics.k8s.io/v1beta1/nodes"))["items"]
        return {item["metadata"]["name"] for item in items}

    assert until(lambda: known() == set(nodes()), 90), known()
    assert kubectl("top", "nodes", "--no-headers").count("\n") == len(nodes()) - 1
    assert "coredns" in kubectl("top", "pods", "--namespace=kube-system", "--no-headers")


def test_volumes_keep_what_pods_wrote(namespace: str) -> None:
    apply(
        {
            "apiVersion": "v1",
            "kind": "PersistentVolumeClaim",
            "metadata": {"name": "data"},
            "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "16Mi"}}},
        }
    )
    volume = {"volumes": [{"name": "data", "persistentVolumeClaim": {"claimName": "data"}}]}
    mount = {"volumeMounts": [{"name": "data", "mountPath": "/data"}]}
    apply(pod("writer", "sh", "-c", "echo kept > /data/file; exec sleep infinity", container=mount, **volume))
    ready("writer")
    claim = get("persistentvolumeclaim", "data")
    assert claim["status"]["phase"] == "Bound"
    assert claim["spec"]["storageClassName"] == "local-path"
    kubectl("delete", "pod", "writer")
    apply(pod("reader", container=mount, **volume))
    ready("reader")
    assert kubectl("exec", "reader", "--", "cat", "/data/file") == "kept"
    kubectl("delete", "pod", "reader")
    kubectl("delete", "persistentvolumeclaim", "data")
    name = claim["spec"]["volumeName"]
    assert until(lambda: name not in kubectl("get", "persistentvolumes", "--output=name")), "the volume was not removed"
