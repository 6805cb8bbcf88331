# Copyright: cicd.sandbox contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What tenants of the standing sandbox may have, and who may do what in their namespaces."""

from __future__ import annotations

import base64
import functools
import json
import secrets
import stat
import subprocess
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml
from checkout import REPOSITORY
from cryptography import x509
from cryptography.x509.oid import NameOID
from helm import manifests, run
from live_cluster import (
    KUBECTL,
    STATE,
    Object,
    apply,
    as_user,
    context,
    control_planes,
    get,
    kubectl,
    on,
    sleeper,
    standing,
    try_kubectl,
    until,
)

TENANTS = ["dev", "prod", "apps"]
USERS = ["dev-user", "viewer", "prod-user"]
MATRIX = json.loads((STATE / "access-matrix.json").read_text())
SUFFIX = secrets.token_hex(3)


def pod(namespace: str, **container: Any) -> Object:
    """Describe a pod as Pod Security's level restricted wants it; its container says what is asked for."""
    (described,) = sleeper("tried", namespace, account="default")
    described["spec"]["containers"][0].update(container)
    return described


def tried(described: Object) -> Any:
    """Have the API server say what it would make of an object."""
    return try_kubectl("create", "--dry-run=server", "--output=json", "--filename=-", stdin=yaml.safe_dump(described))


# --- what they may have ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("namespace", TENANTS)
def test_a_container_that_says_nothing_gets_limits(namespace: str) -> None:
    answer = tried(pod(namespace, resources={}))
    assert answer.returncode == 0, answer.stderr
    containers = {item["name"]: item for item in json.loads(answer.stdout)["spec"]["containers"]}
    resources = containers["main"]["resources"]
    assert resources["limits"]["memory"] == "256Mi"
    assert resources["requests"]["memory"] == "64Mi"


@pytest.mark.parametrize("namespace", TENANTS)
def test_a_container_over_the_maximum_is_refused_with_the_limit_named(namespace: str) -> None:
    answer = tried(pod(namespace, resources={"limits": {"memory": "3Gi"}}))
    assert answer.returncode != 0
    most = {"apps": "2Gi"}.get(namespace, "1Gi")
    assert f"maximum memory usage per Container is {most}, but limit is 3Gi" in answer.stderr


@pytest.mark.parametrize("namespace", TENANTS)
def test_what_is_not_restricted_is_refused(namespace: str) -> None:
    answer = tried(pod(namespace, securityContext={"privileged": True}))
    assert answer.returncode != 0
    assert 'violates PodSecurity "restricted:latest": privileged' in answer.stderr


@pytest.mark.parametrize("namespace", TENANTS)
def test_a_quota_holds_and_leaves_room_for_what_runs_to_be_replaced(namespace: str) -> None:
    quota = get("resourcequota", "tenant", f"--namespace={namespace}")["status"]
    assert quota["hard"]["limits.memory"]
    assert quota["used"].keys() == quota["hard"].keys()
    described = pod(namespace, resources={"limits": {"memory": "1Gi"}})
    containers = described["spec"]["containers"]
    described["spec"]["containers"] = [containers[0] | {"name": f"main-{number}"} for number in range(5)]
    answer = tried(described)
    assert answer.returncode != 0
    assert "exceeded quota: tenant, requested: " in answer.stderr
    if namespace == "apps":
        assert int(quota["used"]["pods"]) * 2 < int(quota["hard"]["pods"])


# --- users -----------------------------------------------------------------------------------------------------------


@functools.cache
def certificate(user: str) -> x509.Certificate:
    document = yaml.safe_load((STATE / f"users/{context(user)}.kubeconfig").read_text())
    return x509.load_pem_x509_certificate(base64.b64decode(document["users"][0]["user"]["client-certificate-data"]))


def named(user: str, kind: x509.ObjectIdentifier) -> list[str]:
    return [str(attribute.value) for attribute in certificate(user).subject.get_attributes_for_oid(kind)]


@pytest.mark.parametrize("user", ["admin", *USERS])
def test_certificates_end_soon_and_are_their_users_alone(user: str) -> None:
    path = STATE / f"users/{context(user)}.kubeconfig"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert named(user, NameOID.COMMON_NAME) == [context(user).partition("@")[0]]
    assert not [group for group in named(user, NameOID.ORGANIZATION_NAME) if group.startswith("system:")]
    assert certificate(user).not_valid_after_utc - datetime.now(UTC) < timedelta(days=8)
    asked = as_user(user, "auth", "whoami", "--output=json")
    assert asked.returncode == 0, asked.stderr
    assert json.loads(asked.stdout)["status"]["userInfo"]["username"] == context(user).partition("@")[0]


def test_no_context_but_the_admins_is_the_clusters_admin() -> None:
    path = json.loads((STATE / "kubeconfig-places.json").read_text())[0]
    document = yaml.safe_load(Path(path).read_text())
    here = [item["name"] for item in document["contexts"] if item["context"]["cluster"] == STATE.name]
    assert sorted(here) == sorted(context(user) for user in ["admin", *USERS])
    may = {
        name: subprocess.run(
            [KUBECTL[0], f"--kubeconfig={path}", f"--context={name}", "auth", "can-i", "*", "*", "--all-namespaces"],
            check=False,
            capture_output=True,
            text=True,
        ).stdout.split()
        for name in here
    }
    # Whoever is refused may be told why: within hours that are closed, by the rule that says so.
    assert {name: said[:1] for name, said in may.items()} == {
        name: ["yes" if name == context("admin") else "no"] for name in here
    }
    # Nor is an entry of a user left that no context has.
    used = {item["context"]["user"] for item in document["contexts"]}
    assert {item["name"] for item in document["users"]} == used


def test_only_the_break_glass_kubeconfig_is_of_system_masters() -> None:
    path = STATE / "break-glass.kubeconfig"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    asked = subprocess.run(
        [KUBECTL[0], f"--kubeconfig={path}", "auth", "whoami", "--output=json"],
        check=True,
        capture_output=True,
        text=True,
    )
    assert "system:masters" in json.loads(asked.stdout)["status"]["userInfo"]["groups"]
    everyday = json.loads(as_user("admin", "auth", "whoami", "--output=json").stdout)["status"]["userInfo"]["groups"]
    assert "system:masters" not in everyday


# --- the matrix ------------------------------------------------------------------------------------------------------


def flat(lines: list[Any]) -> Iterator[str]:
    for line in lines:
        yield from flat(line) if isinstance(line, list) else [line]


def review(user: str, namespace: str, line: str) -> Object:
    """Describe the question whether a user may do what a line of the matrix says."""
    verb, _, what = line.partition(" ")
    what, _, subresource = what.partition("/")
    resource, _, group = what.partition(".")
    return {
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SubjectAccessReview",
        "spec": {
            "user": named(user, NameOID.COMMON_NAME)[0],
            "groups": [*named(user, NameOID.ORGANIZATION_NAME), "system:authenticated"],
            "resourceAttributes": {
                "verb": verb,
                "resource": resource,
                "group": group,
                "subresource": subresource,
                "namespace": namespace,
            },
        },
    }


def questions(entry: Object) -> list[tuple[str, str, bool]]:
    """Namespace, line and expected answer of an entry."""
    return [
        (namespace, line, expected)
        for namespace in entry["namespaces"]
        for key, expected in (("can", True), ("cannot", False))
        for line in flat(entry[key])
    ]


@pytest.mark.parametrize("entry", MATRIX, ids=lambda entry: f"{entry['user']}-{'-'.join(entry['namespaces']) or 'all'}")
def test_the_cluster_answers_as_the_matrix_says(entry: Object) -> None:
    asked = questions(entry)
    assert asked
    reviews = [review(entry["user"], namespace, line) for namespace, line, _ in asked]
    document = yaml.safe_dump_all(reviews)
    answers = kubectl("create", "--filename=-", "--output=jsonpath={.status.allowed}{' '}", stdin=document).split()
    said = [answer == "true" for answer in answers]
    assert len(said) == len(asked)
    wrong = [(*question[:2], answer) for question, answer in zip(asked, said, strict=True) if question[2] != answer]
    assert wrong == []


def test_the_matrix_names_every_user_and_both_answers() -> None:
    assert {entry["user"] for entry in MATRIX} == {"admin", *USERS}
    for user in ["admin", *USERS]:
        expected = {answer for entry in MATRIX if entry["user"] == user for _, _, answer in questions(entry)}
        assert True in expected
        assert user == "admin" or False in expected


CALLS: list[tuple[str, str, list[str], bool]] = [
    ("viewer", "dev", ["get", "pods"], True),
    ("viewer", "apps", ["logs", "deployment/front-end", "--container=front-end", "--tail=1"], True),
    ("viewer", "apps", ["get", "secrets"], False),
    ("viewer", "apps", ["exec", "deployment/front-end", "--", "true"], False),
    ("viewer", "apps", ["attach", "deployment/front-end"], False),
    ("viewer", "apps", ["port-forward", "deployment/front-end", "0:3000"], False),
    ("viewer", "apps", ["create", "token", "default"], False),
    ("viewer", "dev", ["create", "configmap", "tried", "--dry-run=server"], False),
    ("dev-user", "dev", ["create", "configmap", "tried", "--dry-run=server"], True),
    ("dev-user", "dev", ["get", "secrets"], False),
    ("dev-user", "dev", ["create", "token", "default"], False),
    ("dev-user", "prod", ["get", "pods"], False),
    ("dev-user", "apps", ["exec", "deployment/front-end", "--", "true"], False),
    ("prod-user", "prod", ["get", "pods"], True),
    ("prod-user", "dev", ["get", "pods"], False),
    ("prod-user", "prod", ["create", "configmap", "tried", "--dry-run=server"], False),
    ("prod-user", "prod", ["get", "secrets"], False),
]


@pytest.mark.parametrize(("user", "namespace", "call", "allowed"), CALLS, ids=lambda value: str(value)[:40])
def test_real_calls_end_as_the_matrix_says(user: str, namespace: str, call: list[str], *, allowed: bool) -> None:
    done = as_user(user, f"--namespace={namespace}", *call)
    assert (done.returncode == 0) == allowed, done.stdout + done.stderr
    if not allowed:
        assert "Error from server (Forbidden)" in done.stderr or 'is forbidden: User "' in done.stderr


# --- what pods may use -----------------------------------------------------------------------------------------------

OPEN = f"open-{SUFFIX}"
SECRET, VALUE = f"guarded-{SUFFIX}", secrets.token_hex(8)


def secret(namespace: str) -> Object:
    metadata = {"name": SECRET, "namespace": namespace}
    return {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "stringData": {"value": VALUE}}


def thief(namespace: str, app: str = "thief") -> Object:
    """Describe a pod that says what a Secret holds."""
    (described,) = sleeper(f"thief-{SUFFIX}", namespace, "cat", "/secret/value", account="default")
    described["metadata"]["labels"]["app"] = app
    described["spec"]["restartPolicy"] = "Never"
    described["spec"]["containers"][0]["volumeMounts"] = [{"name": "secret", "mountPath": "/secret"}]
    described["spec"]["volumes"] = [{"name": "secret", "secret": {"secretName": SECRET}}]
    return described


@pytest.fixture(scope="module")
def unguarded() -> Iterator[str]:
    """A namespace that is no tenant's, with a Secret, in which developers have the rights that they have in theirs."""
    namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": OPEN}}
    bindings = [
        {
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "RoleBinding",
            "metadata": {"name": role, "namespace": OPEN},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": role},
            "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "Group", "name": "developers"}],
        }
        for role in ("view", "developer")
    ]
    with standing(namespace):
        apply(secret(OPEN), *bindings)
        yield OPEN


def brought(user: str, described: Object, *arguments: str) -> subprocess.CompletedProcess[str]:
    return as_user(user, "create", "--filename=-", *arguments, stdin=yaml.safe_dump(described))


def test_whoever_may_create_a_pod_may_read_secrets_where_nothing_keeps_them(unguarded: str) -> None:
    assert as_user("dev-user", f"--namespace={unguarded}", "get", "secret", SECRET).returncode != 0
    made = brought("dev-user", thief(unguarded))
    assert made.returncode == 0, made.stderr

    def said() -> str:
        return as_user("dev-user", f"--namespace={unguarded}", "logs", f"thief-{SUFFIX}").stdout.strip()

    assert until(said, 90) == VALUE


def test_the_guard_closes_it_and_grants_secrets_by_app(unguarded: str) -> None:
    values = {"isolated": False, "pods": [{"app": "web", "secrets": [SECRET], "service_accounts": ["web"]}]}
    chart = str(REPOSITORY / "charts/tenant")
    guard = manifests(run("helm", "template", "tenant", chart, f"--namespace={unguarded}", "--values=-", values=values))
    with standing(*guard):

        def refused() -> str:
            done = brought("dev-user", thief(unguarded), "--dry-run=server")
            return done.stderr if "may not use the Secrets" in done.stderr else ""

        words = until(refused, 30)
        assert f"may not use the Secrets {SECRET} for dev-user, who may not read them" in words
        granted = brought("dev-user", thief(unguarded, "web"), "--dry-run=server")
        assert "already exists" in granted.stderr or granted.returncode == 0, granted.stderr
        other = thief(unguarded, "web")
        other["metadata"]["name"] = "other"
        other["spec"]["volumes"][0]["secret"]["secretName"] = "another"
        assert "may not use the Secrets another for" in brought("dev-user", other, "--dry-run=server").stderr


def uses(**spec: Any) -> Object:
    """Describe a pod of the tenant dev with more in its spec; `container` is merged into its container."""
    described = pod("dev", **spec.pop("container", {}))
    described["spec"].update(spec)
    return described


REFERENCE = {"name": SECRET, "key": "value"}
ENVIRONMENT = {"env": [{"name": "A", "value": "1"}, {"name": "B", "valueFrom": {"secretKeyRef": REFERENCE}}]}
WAYS: dict[str, Object] = {
    "volume": uses(volumes=[{"name": "a", "secret": {"secretName": SECRET}}]),
    "projected": uses(volumes=[{"name": "a", "projected": {"sources": [{"secret": {"name": SECRET}}]}}]),
    "env": uses(container=ENVIRONMENT),
    "env-from": uses(container={"envFrom": [{"secretRef": {"name": SECRET}}]}),
    "pull": uses(imagePullSecrets=[{"name": SECRET}]),
    "init": uses(initContainers=[pod("dev", **ENVIRONMENT)["spec"]["containers"][0] | {"name": "first"}]),
}


@pytest.mark.parametrize("way", WAYS)
def test_no_way_of_using_a_secret_is_left_open(way: str) -> None:
    refused = brought("dev-user", WAYS[way], "--dry-run=server")
    assert f"may not use the Secrets {SECRET} for dev-user" in refused.stderr
    allowed = brought("admin", WAYS[way], "--dry-run=server")
    assert allowed.returncode == 0, allowed.stderr


def template(described: Object) -> Object:
    return {"metadata": {"labels": described["metadata"]["labels"]}, "spec": described["spec"]}


def workload(kind: str, described: Object) -> Object:
    """Describe what makes such pods."""
    job = {"template": template(described | {"spec": described["spec"] | {"restartPolicy": "Never"}})}
    selector = {"matchLabels": {"app": described["metadata"]["labels"]["app"]}}
    specs: dict[str, tuple[str, Object]] = {
        "Deployment": ("apps/v1", {"replicas": 0, "selector": selector, "template": template(described)}),
        "StatefulSet": ("apps/v1", {"replicas": 0, "selector": selector, "template": template(described)}),
        "Job": ("batch/v1", job),
        "CronJob": ("batch/v1", {"schedule": "0 0 1 1 *", "jobTemplate": {"spec": job}}),
    }
    version, spec = specs[kind]
    metadata = {"name": f"tried-{SUFFIX}", "namespace": "dev"}
    return {"apiVersion": version, "kind": kind, "metadata": metadata, "spec": spec}


@pytest.mark.parametrize("kind", ["Deployment", "StatefulSet", "Job", "CronJob"])
def test_nor_is_what_makes_pods(kind: str) -> None:
    refused = brought("dev-user", workload(kind, WAYS["volume"]), "--dry-run=server")
    assert f"pods of {kind} tried-{SUFFIX} may not use the Secrets {SECRET} for dev-user" in refused.stderr
    allowed = brought("dev-user", workload(kind, uses()), "--dry-run=server")
    assert allowed.returncode == 0, allowed.stderr


def test_a_workload_with_secrets_is_changed_by_nobody_who_may_not_read_them() -> None:
    with standing(secret("dev"), workload("Deployment", WAYS["volume"])):
        images = json.dumps({"spec": {"template": {"spec": {"containers": [{"name": "main", "image": "mine"}]}}}})
        line = ["--namespace=dev", "patch", "deployment", f"tried-{SUFFIX}", f"--patch={images}", "--dry-run=server"]
        refused = as_user("dev-user", *line)
        assert f"may not use the Secrets {SECRET} for dev-user" in refused.stderr
        assert as_user("admin", *line).returncode == 0


def test_a_pod_is_no_service_account_whose_token_its_bringer_may_not_make() -> None:
    account = {
        "apiVersion": "v1",
        "kind": "ServiceAccount",
        "metadata": {"name": f"robot-{SUFFIX}", "namespace": "dev"},
    }
    with standing(account):
        described = uses(serviceAccountName=f"robot-{SUFFIX}")
        refused = brought("dev-user", described, "--dry-run=server")
        assert f"may not be ServiceAccount robot-{SUFFIX} for dev-user, who may make no token of it" in refused.stderr
        allowed = brought("admin", described, "--dry-run=server")
        assert allowed.returncode == 0, allowed.stderr


# --- the audit log ---------------------------------------------------------------------------------------------------


def audited(name: str, **expected: Any) -> list[Object]:
    """Events of the audit log of an object of that name, once there is one with all that is expected."""

    def matching() -> list[Object]:
        command = f"grep -h -F {name} /var/log/kubernetes/audit.log || true"
        lines = [line for plane in control_planes() for line in on(plane, command).splitlines()]
        found = [json.loads(line) for line in lines]
        flat = [
            (event, {"verb": event["verb"], "user": event["user"]["username"], **(event.get("objectRef") or {})})
            for event in found
        ]
        return [event for event, facts in flat if expected.items() <= facts.items()]

    found: list[Object] = until(matching, 15)
    return found


def test_whoever_read_a_secret_or_tried_is_in_the_audit_log() -> None:
    admin, viewer = (named(user, NameOID.COMMON_NAME)[0] for user in ("admin", "viewer"))
    with standing(secret("dev")):
        assert as_user("admin", "--namespace=dev", "get", "secret", SECRET).returncode == 0
        assert as_user("viewer", "--namespace=dev", "get", "secret", SECRET).returncode != 0
        (event, *_) = audited(SECRET, verb="get", resource="secrets", namespace="dev", user=admin)
        assert event["responseStatus"]["code"] == 200
        assert "administrators" in event["user"]["groups"]
        (event, *_) = audited(SECRET, verb="get", resource="secrets", namespace="dev", user=viewer)
        assert event["responseStatus"]["code"] == 403
        # What it holds is in no line.
        encoded = base64.b64encode(VALUE.encode()).decode()
        for plane in control_planes():
            assert on(plane, f"grep -c -e {VALUE} -e {encoded} /var/log/kubernetes/audit.log || true").strip() == "0"


def test_a_node_that_reads_a_secret_is_in_the_audit_log() -> None:
    with standing(secret("dev")):
        node = control_planes()[0]
        path = f"/api/v1/namespaces/dev/secrets/{SECRET}"
        on(node, f"kubectl --kubeconfig=/etc/kubernetes/kubelet.conf get --raw={path} || true")
        (event, *_) = audited(SECRET, verb="get", resource="secrets", user=f"system:node:{node}")
        assert event["responseStatus"]["code"] == 403


def test_whoever_runs_commands_in_a_pod_is_in_the_audit_log() -> None:
    pods = get("pods", "--namespace=apps", "--selector=app=front-end")["items"]
    name = pods[0]["metadata"]["name"]
    as_user("admin", "--namespace=apps", "exec", name, "--container=front-end", "--", "true")
    as_user("viewer", "--namespace=apps", "exec", name, "--container=front-end", "--", "true")
    codes = {}
    for user in ("admin", "viewer"):
        asker = named(user, NameOID.COMMON_NAME)[0]
        events = audited(name, resource="pods", subresource="exec", namespace="apps", user=asker)
        codes[user] = events[-1]["responseStatus"]["code"]
    assert codes == {"admin": 101, "viewer": 403}


def test_whoever_changed_rights_is_in_the_audit_log_with_what_was_changed() -> None:
    binding: Object = {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "RoleBinding",
        "metadata": {"name": f"rights-{SUFFIX}", "namespace": "dev"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "view"},
        "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "Group", "name": f"strangers-{SUFFIX}"}],
    }
    assert brought("admin", binding).returncode == 0
    kubectl("delete", "rolebinding", f"rights-{SUFFIX}", "--namespace=dev")
    admin = named("admin", NameOID.COMMON_NAME)[0]
    (event, *_) = audited(f"rights-{SUFFIX}", verb="create", resource="rolebindings", user=admin)
    assert event["requestObject"]["subjects"][0]["name"] == f"strangers-{SUFFIX}"
    assert audited(f"rights-{SUFFIX}", verb="delete", resource="rolebindings")


def test_the_use_of_the_break_glass_kubeconfig_is_in_the_audit_log() -> None:
    name = f"glass-{SUFFIX}"
    line = [KUBECTL[0], f"--kubeconfig={STATE / 'break-glass.kubeconfig'}", "get", "configmap", name]
    subprocess.run(line, check=False, capture_output=True)
    (event, *_) = audited(name, verb="get", resource="configmaps")
    assert (event["user"]["username"], "system:masters" in event["user"]["groups"]) == ("kubernetes-super-admin", True)
