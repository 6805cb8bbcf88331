# Copyright: cicd.sandbox contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What charts/workload renders, and what it refuses."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from checkout import REPOSITORY
from helm import CHART, SAMPLE, Manifest, Values, manifests, names, only, render, run, template, try_run

KINDS = ("Deployment", "StatefulSet", "DaemonSet", "Job")
DIGEST = f"sha256:{'0' * 64}"
POSTGRESQL_PASSWORD = ("postgresql", "password")


def workload(**values: Any) -> dict[str, Any]:
    """Give the least values the chart takes, and more on top."""
    return {"image": {"repository": "example.com/web", "tag": "1.0"}, **values}


def with_port(**values: Any) -> dict[str, Any]:
    return workload(ports={"http": {"containerPort": 8080}}, **values)


def speaking_http(**values: Any) -> dict[str, Any]:
    return workload(ports={"http": {"containerPort": 8080, "servicePort": 80, "appProtocol": "http"}}, **values)


def with_job(**job: Any) -> dict[str, Any]:
    return workload(hookJobs={"migrate": {"events": ["pre-install", "pre-upgrade"], **job}})


def pod(documents: list[Manifest], kind: str = "Deployment", name: str | None = None) -> Manifest:
    """Give the pod template of a Deployment, StatefulSet, DaemonSet or Job."""
    return only(documents, kind, name)["spec"]["template"]


def container(documents: list[Manifest], kind: str = "Deployment", name: str | None = None) -> Manifest:
    (found,) = pod(documents, kind, name)["spec"]["containers"]
    return found


def by_name(items: list[Manifest]) -> dict[str, Manifest]:
    return {item["name"]: item for item in items}


def sample(name: str) -> dict[str, Any]:
    (path,) = (path for path in SAMPLE if path.stem == name)
    values = yaml.safe_load(path.read_text(encoding="utf-8"))
    values["image"]["tag"] = "1.0"
    return values


# --- the chart itself ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", [None, *SAMPLE], ids=lambda path: path.stem if path else "defaults")
def test_lint_finds_nothing(path: Path | None) -> None:
    values = ["--values", str(path)] if path else []
    done = try_run("helm", "lint", "--strict", str(CHART), *values, "--set-string", "image.tag=1.0")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "[WARNING]" not in done.stdout
    assert "[ERROR]" not in done.stdout


def test_readme_is_what_helm_docs_makes_of_the_chart() -> None:
    made = run("helm-docs", "--dry-run", "--sort-values-order", "file", "--chart-search-root", ".", cwd=CHART)
    standing = (CHART / "README.md").read_text(encoding="utf-8")
    assert standing.strip() == made.strip(), "run in charts/workload: helm-docs --sort-values-order file"


def test_every_value_is_described() -> None:
    table = (CHART / "README.md").read_text(encoding="utf-8").partition("## Values")[2]
    rows = [line for line in table.splitlines() if line.startswith("| ") and not line.startswith("| Key")]
    assert len(rows) > 60
    assert not [row for row in rows if row.endswith("|  |")]


def objects_of(schema: Any, path: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    if isinstance(schema, dict):
        if "properties" in schema and isinstance(schema["properties"], dict):
            yield path, schema
        for name, part in schema.items():
            yield from objects_of(part, f"{path}/{name}")


def test_schema_refuses_unknown_members_wherever_it_names_some() -> None:
    schema = json.loads((CHART / "values.schema.json").read_text(encoding="utf-8"))
    found = dict(objects_of(schema))
    assert len(found) > 20
    assert not [path for path, part in found.items() if part.get("additionalProperties") is not False]


def test_schema_knows_every_value() -> None:
    schema = json.loads((CHART / "values.schema.json").read_text(encoding="utf-8"))
    values = yaml.safe_load((CHART / "values.yaml").read_text(encoding="utf-8"))
    assert set(schema["properties"]) == {*values, "global"}


# --- what it refuses -------------------------------------------------------------------------------------------------

REFUSED: list[tuple[Values, str]] = [
    (workload(kind="CronJob"), "at '/kind': value must be one of 'Deployment', 'StatefulSet', 'DaemonSet', 'Job'"),
    (workload(replica=2), "at '': additional properties 'replica' not allowed"),
    (workload(replicas="2"), "at '/replicas': got string, want integer"),
    (workload(replicas=-1), "at '/replicas': minimum: got -1, want 0"),
    ({"image": {"repository": "example.com/web", "tag": 17}}, "at '/image/tag': got number, want string"),
    ({"image": {"name": "web"}}, "at '/image': additional properties 'name' not allowed"),
    ({"image": {"repository": "https://example.com/web", "tag": "1"}}, "at '/image/repository'"),
    (workload(env={"PORT": 80}), "at '/env/PORT': got number, want string or object"),
    (workload(env={"A": {"secretRef": {}}}), "at '/env/A': additional properties 'secretRef' not allowed"),
    (workload(env={"a-b": "c"}), "at '/env': additional properties 'a-b' not allowed"),
    (workload(ports={"http": {"port": 80}}), "at '/ports/http': missing property 'containerPort'"),
    (workload(ports={"http": {"containerPort": 70000}}), "at '/ports/http/containerPort': maximum"),
    (workload(ports={"http": {"containerPort": 80, "nodePort": 8080}}), "at '/ports/http/nodePort': minimum"),
    (workload(probes={"ready": {}}), "at '/probes': additional properties 'ready' not allowed"),
    (
        with_port(probes={"liveness": {"httpGet": {"path": "/"}}}),
        "at '/probes/liveness/httpGet': missing property 'port'",
    ),
    (workload(probes={"liveness": {"period": 3}}), "at '/probes/liveness': additional properties 'period' not allowed"),
    (
        workload(resources={"limits": {"memory": "1 GB"}}),
        "/resources/limits/memory': '1 GB' does not match",
    ),
    (workload(secretFiles={"a": {"secret": "a"}}), "at '/secretFiles/a': missing property 'mountPath'"),
    (workload(emptyDirs={"a": {"mountPath": "tmp"}}), "at '/emptyDirs/a/mountPath'"),
    (workload(podLabels={"app.kubernetes.io/name": "x"}), "podLabels: app.kubernetes.io/name is set by the chart"),
    (workload(commonLabels={"team": 1}), "at '/commonLabels/team': got number, want string"),
    (workload(serviceAccount={"automount": True}), "additional properties 'automount' not allowed"),
    (workload(networkPolicy={"ingress": {"a": {"from": []}}}), "at '/networkPolicy/ingress/a/from': minItems"),
    (workload(networkPolicy={"egress": {"a": {"to": [{"app": "b"}]}}}), "missing property 'ports'"),
    (workload(networkPolicy={"egress": {"a": {"to": [{"cidr": "10.0.0.1"}], "ports": [1]}}}), "to/0/cidr"),
    (
        workload(hookJobs={"migrate": {"events": ["pre-start"]}}),
        "/hookJobs/migrate/events/0': value must be one of",
    ),
    (workload(hookJobs={"migrate": {}}), "at '/hookJobs/migrate': missing property 'events'"),
    (workload(tolerations=[{"keys": "a"}]), "additional properties 'keys' not allowed"),
    ({}, "image.repository must be set"),
    ({"image": {"repository": "example.com/web"}}, "image.tag or image.digest must be set"),
    (workload(volumeClaims={"data": {"mountPath": "/data", "size": "1Gi"}}), "volumeClaims need kind StatefulSet"),
    (
        workload(ports={"http": {"containerPort": 80, "nodePort": 30080}}),
        "ports.http.nodePort needs service.type NodePort, not ClusterIP",
    ),
    (workload(page={"name": "My Shop"}), "at '/page/name': 'My Shop' does not match"),
    (with_port(page={"name": "shop", "path": "in"}), "at '/page/path'"),
    (with_port(page={"name": "shop", "port": "web"}), 'page.port: "web" is not a name in ports (http)'),
    (with_port(page={"name": "shop"}, kind="Job"), "page.name: a Job has no Service that a page could be at"),
    (
        with_port(networkPolicy={"ingress": {"web": {"from": [{"app": "a"}], "methods": ["GET"]}}}),
        "networkPolicy.ingress.web: methods and paths need ports of HTTP; say ports.http.appProtocol: http",
    ),
    (with_port(traffic={"timeout": 3}), "traffic: timeout and retries need a port of HTTP"),
    (
        speaking_http(traffic={"timeout": 3, "retries": {"attempts": 2, "perTryTimeout": 3}}),
        "traffic.retries.perTryTimeout (3) must be less than traffic.timeout (3)",
    ),
    (with_port(traffic={"retry": 3}), "at '/traffic': additional properties 'retry' not allowed"),
    (workload(externalServices={"mail": {"host": "mail.example.com"}}), "missing property 'port'"),
    (workload(podLabels={"version": "2"}), "podLabels: version is set by the chart"),
    (
        with_port(page={"name": "shop"}, service={"enabled": False}),
        "page.name: service.enabled false has no Service that a page could be at",
    ),
    (
        with_port(service={"externalTrafficPolicy": "Local"}),
        "externalTrafficPolicy needs service.type NodePort",
    ),
    (workload(preStopSleepSeconds=30), "terminationGracePeriodSeconds (30) must be more than preStopSleepSeconds (30)"),
    (workload(strategy={"maxSurge": 0}), "strategy.maxUnavailable and strategy.maxSurge can't both be 0"),
    (
        with_port(networkPolicy={"ingress": {"a": {"from": [{"app": "b"}], "ports": ["grpc"]}}}),
        'networkPolicy.ingress.a.ports: "grpc" is not a name in ports (http)',
    ),
    (
        workload(networkPolicy={"ingress": {"a": {"from": [{"app": "b"}]}}}),
        "ports is empty, there is nothing to connect",
    ),
    (
        with_port(networkPolicy={"ingress": {"a": {"from": [{"app": "b", "cidr": "10.0.0.1/32"}]}}}),
        "a peer has cidr, or app, labels, namespace and serviceAccounts, not both",
    ),
    (
        with_port(probes={"readiness": {"httpGet": {"port": "web"}}}),
        'probes.readiness.httpGet.port: "web" is not a name in ports (http)',
    ),
    (workload(metrics={"enabled": True}), 'metrics.port: "http" is not a name in ports (none)'),
    (workload(gateway={"login": "ann:password"}), "at '/gateway/login'"),
    (workload(hookJobs={"main": {"events": ["pre-install"]}}), "hookJobs.main: this name is the workload's own"),
]


@pytest.mark.parametrize(("values", "words"), REFUSED, ids=[words for _, words in REFUSED])
def test_refuses(values: Values, words: str) -> None:
    done = try_run("helm", *template("web"), values=values)
    assert done.returncode != 0, "accepted"
    assert words in done.stderr


# --- what each kind makes --------------------------------------------------------------------------------------------


def test_deployment() -> None:
    documents = render(with_port(replicas=2))
    assert sorted(names(documents)) == [
        "Deployment/web",
        "NetworkPolicy/web",
        "PodDisruptionBudget/web",
        "Service/web",
        "ServiceAccount/web",
    ]
    assert {item["metadata"]["namespace"] for item in documents} == {"shop"}


def test_stateful_set() -> None:
    claims = {"data": {"mountPath": "/data", "size": "1Gi", "storageClass": "fast", "subPath": "db"}}
    documents = render(with_port(kind="StatefulSet", volumeClaims=claims))
    assert sorted(names(documents)) == [
        "NetworkPolicy/web",
        "Service/web",
        "Service/web-headless",
        "ServiceAccount/web",
        "StatefulSet/web",
    ]
    headless = only(documents, "Service", "web-headless")["spec"]
    assert headless["clusterIP"] == "None"
    stateful_set = only(documents, "StatefulSet")["spec"]
    assert stateful_set["serviceName"] == "web-headless"
    assert stateful_set["persistentVolumeClaimRetentionPolicy"] == {"whenDeleted": "Retain", "whenScaled": "Retain"}
    (claim,) = stateful_set["volumeClaimTemplates"]
    assert claim["spec"] == {
        "accessModes": ["ReadWriteOnce"],
        "storageClassName": "fast",
        "resources": {"requests": {"storage": "1Gi"}},
    }
    mounts = by_name(container(documents, "StatefulSet")["volumeMounts"])
    assert mounts["data"] == {"name": "data", "mountPath": "/data", "subPath": "db"}


def test_daemon_set() -> None:
    strategy = {"maxUnavailable": 1, "maxSurge": 0}
    documents = render(with_port(kind="DaemonSet", replicas=2, strategy=strategy))
    # Nodes say how many pods there are: there is nothing to spread, and a drain leaves them alone.
    assert sorted(names(documents)) == ["DaemonSet/web", "NetworkPolicy/web", "Service/web", "ServiceAccount/web"]
    daemon_set = only(documents, "DaemonSet")["spec"]
    assert "replicas" not in daemon_set
    assert daemon_set["updateStrategy"] == {"type": "RollingUpdate", "rollingUpdate": strategy}
    assert "topologySpreadConstraints" not in daemon_set["template"]["spec"]
    assert daemon_set["template"]["spec"]["restartPolicy"] == "Always"
    assert container(documents, "DaemonSet")["lifecycle"] == {"preStop": {"sleep": {"seconds": 5}}}


def test_job() -> None:
    documents = render(with_port(kind="Job", replicas=2, job={"backoffLimit": 0, "ttlSecondsAfterFinished": 60}))
    assert [name.partition("/")[0] for name in sorted(names(documents))] == ["Job", "NetworkPolicy", "ServiceAccount"]
    job = only(documents, "Job")["spec"]
    assert (job["completions"], job["backoffLimit"], job["ttlSecondsAfterFinished"]) == (1, 0, 60)
    assert "activeDeadlineSeconds" not in job
    assert job["template"]["spec"]["restartPolicy"] == "Never"
    assert "topologySpreadConstraints" not in job["template"]["spec"]
    assert "lifecycle" not in container(documents, "Job")


def test_a_job_that_differs_has_another_name() -> None:
    first, same, other = (
        only(render(workload(kind="Job", args=[word])), "Job")["metadata"]["name"] for word in ("one", "one", "two")
    )
    assert first == same != other
    assert first.startswith("web-")


def test_names_stay_within_what_kubernetes_allows() -> None:
    release = "r" * 53
    documents = render(with_port(kind="StatefulSet", hookJobs={"m" * 10: {"events": ["pre-install"]}}), release)
    assert max(len(item["metadata"]["name"]) for item in documents) <= 63
    assert len(only(documents, "StatefulSet")["metadata"]["name"]) <= 52  # its pods' label has 11 characters more


# --- hardened by default ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [*KINDS, "hook"])
def test_pods_are_hardened(kind: str) -> None:
    documents = render(with_job() if kind == "hook" else workload(kind=kind))
    spec = pod(documents, "Job" if kind == "hook" else kind)["spec"]
    assert spec["automountServiceAccountToken"] is False
    assert spec["enableServiceLinks"] is False
    assert spec["serviceAccountName"] == ("web-migrate" if kind == "hook" else "web")
    assert spec["securityContext"]["runAsNonRoot"] is True
    assert spec["securityContext"]["runAsUser"] > 0
    assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    (only_container,) = spec["containers"]
    assert only_container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "privileged": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert only_container["resources"]["requests"].keys() == {"cpu", "memory"}
    assert "memory" in only_container["resources"]["limits"]
    assert spec["volumes"] == [{"name": "empty-tmp", "emptyDir": {"sizeLimit": "64Mi"}}]


def test_a_weaker_setting_leaves_the_others() -> None:
    values = workload(containerSecurityContext={"readOnlyRootFilesystem": False}, podSecurityContext={"runAsUser": 7})
    documents = render(values)
    assert container(documents)["securityContext"]["capabilities"] == {"drop": ["ALL"]}
    assert pod(documents)["spec"]["securityContext"]["runAsNonRoot"] is True
    assert pod(documents)["spec"]["securityContext"]["runAsUser"] == 7


def test_service_accounts_have_no_token_unless_asked() -> None:
    assert only(render(workload()), "ServiceAccount")["automountServiceAccountToken"] is False
    documents = render(workload(serviceAccount={"automountToken": True, "name": "robot"}))
    assert only(documents, "ServiceAccount", "robot")["automountServiceAccountToken"] is True
    assert pod(documents)["spec"]["serviceAccountName"] == "robot"
    assert pod(render(workload(serviceAccount={"create": False})))["spec"]["serviceAccountName"] == "default"


# --- labels and selectors --------------------------------------------------------------------------------------------


def selectors(documents: list[Manifest]) -> Iterator[dict[str, str]]:
    """Give all labels by which the objects select pods, a hook Job's policy apart."""
    for item in documents:
        spec = item.get("spec", {})
        if "helm.sh/hook" in item["metadata"].get("annotations", {}):
            continue
        if item["kind"] == "Service":
            yield spec["selector"]
        elif item["kind"] in {"Deployment", "StatefulSet", "DaemonSet", "PodDisruptionBudget"}:
            yield spec["selector"]["matchLabels"]
        elif item["kind"] == "NetworkPolicy":
            yield spec["podSelector"]["matchLabels"]
        for constraint in spec.get("template", {}).get("spec", {}).get("topologySpreadConstraints", []):
            yield constraint["labelSelector"]["matchLabels"]


@pytest.mark.parametrize("kind", ["Deployment", "StatefulSet", "DaemonSet"])
def test_selectors_never_change_and_leave_hook_jobs_alone(kind: str, tmp_path: Path) -> None:
    later_chart = shutil.copytree(CHART, tmp_path / "workload")
    description = (CHART / "Chart.yaml").read_text(encoding="utf-8")
    (later_chart / "Chart.yaml").write_text(description.replace("version: 0.", "version: 99."), encoding="utf-8")
    claims = {"volumeClaims": {"data": {"mountPath": "/data", "size": "1Gi"}}} if kind == "StatefulSet" else {}
    values = with_port(kind=kind, replicas=2, hookJobs={"migrate": {"events": ["pre-upgrade"]}}, **claims)
    later = {
        **values,
        "image": {"repository": "example.com/other", "tag": "2.0"},
        "partOf": "shop",
        "commonLabels": {"team": "blue"},
        "podLabels": {"tier": "web"},
    }
    before, after = render(values), render(later, chart=later_chart)
    expected = {
        "app.kubernetes.io/name": "web",
        "app.kubernetes.io/instance": "web",
        "app.kubernetes.io/component": "main",
    }
    found = [*selectors(before), *selectors(after)]
    assert len(found) >= (6 if kind == "DaemonSet" else 10)
    assert all(labels == expected for labels in found)
    assert expected.items() <= pod(before, kind)["metadata"]["labels"].items()
    assert pod(before, "Job", "web-migrate")["metadata"]["labels"]["app.kubernetes.io/component"] == "migrate"
    if claims:
        old, new = (only(documents, kind)["spec"]["volumeClaimTemplates"] for documents in (before, after))
        assert old == new


def test_standard_labels() -> None:
    values = with_port(partOf="shop", commonLabels={"team": "blue"}, hookJobs={"migrate": {"events": ["pre-install"]}})
    for item in render(values):
        labels = item["metadata"]["labels"]
        assert labels["app.kubernetes.io/version"] == "1.0"
        assert labels["app.kubernetes.io/part-of"] == "shop"
        assert labels["app.kubernetes.io/managed-by"] == "Helm"
        assert labels["helm.sh/chart"].startswith("workload-")
        assert labels["team"] == "blue"


def test_a_new_chart_version_restarts_no_pods() -> None:
    assert "helm.sh/chart" not in pod(render(workload()))["metadata"]["labels"]


def test_name_overrides() -> None:
    documents = render(workload(nameOverride="shop", fullnameOverride="storefront"))
    assert only(documents, "Deployment", "storefront")["metadata"]["labels"]["app.kubernetes.io/name"] == "shop"


# --- rolling updates -------------------------------------------------------------------------------------------------


def test_rolling_update_takes_no_pod_away_before_another_serves() -> None:
    documents = render(with_port(replicas=2))
    strategy = only(documents, "Deployment")["spec"]["strategy"]
    assert strategy == {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 0, "maxSurge": 1}}
    assert container(documents)["lifecycle"] == {"preStop": {"sleep": {"seconds": 5}}}
    assert pod(documents)["spec"]["terminationGracePeriodSeconds"] == 30
    assert "lifecycle" not in container(render(workload(preStopSleepSeconds=0)))


def test_spread_never_blocks_an_update_or_a_lost_node() -> None:
    (constraint,) = pod(render(workload(replicas=2)))["spec"]["topologySpreadConstraints"]
    assert constraint["topologyKey"] == "kubernetes.io/hostname"
    assert constraint["whenUnsatisfiable"] == "DoNotSchedule"
    # Old pods don't count against the new; nor do control planes, drained and lost nodes.
    assert constraint["matchLabelKeys"] == ["pod-template-hash"]
    assert constraint["nodeTaintsPolicy"] == "Honor"
    (constraint,) = pod(render(workload(kind="StatefulSet")), "StatefulSet")["spec"]["topologySpreadConstraints"]
    assert "matchLabelKeys" not in constraint
    assert "topologySpreadConstraints" not in pod(render(workload(topologySpread={"enabled": False})))["spec"]


def test_disruption_budget_only_where_a_pod_can_be_spared() -> None:
    assert not [name for name in names(render(workload(replicas=1))) if name.startswith("PodDisruption")]
    budget = only(render(workload(replicas=3)), "PodDisruptionBudget")["spec"]
    assert (budget["maxUnavailable"], budget["unhealthyPodEvictionPolicy"]) == (1, "AlwaysAllow")
    off = render(workload(replicas=3, podDisruptionBudget={"enabled": False}))
    assert not [name for name in names(off) if name.startswith("PodDisruption")]


def test_changed_configuration_restarts_pods() -> None:
    first, second = (render(workload(config={"files": {"app.ini": text}})) for text in ("a = 1\n", "a = 2\n"))
    assert only(first, "ConfigMap")["data"] == {"app.ini": "a = 1\n"}
    checksums = {pod(documents)["metadata"]["annotations"]["checksum/config"] for documents in (first, second)}
    assert len(checksums) == 2
    assert by_name(container(first)["volumeMounts"])["config-map"]["mountPath"] == "/etc/workload"


# --- what a pod gets -------------------------------------------------------------------------------------------------


def test_image_by_digest() -> None:
    image = {"repository": "example.com/web", "tag": "1.0", "digest": DIGEST}
    assert container(render({"image": image}))["image"] == f"example.com/web@{DIGEST}"


def test_environment() -> None:
    source = {"secretKeyRef": {"name": "database", "key": "password"}}
    documents = render(workload(env={"A": "1", "B": source}, envFrom=[{"configMapRef": {"name": "more"}}]))
    assert container(documents)["env"] == [{"name": "A", "value": "1"}, {"name": "B", "valueFrom": source}]
    assert container(documents)["envFrom"] == [{"configMapRef": {"name": "more"}}]


def test_secret_files() -> None:
    files = {"database": {"secret": "database", "mountPath": "/run/secrets/database", "keys": {"password": "pass"}}}
    documents = render(workload(secretFiles=files))
    volume = by_name(pod(documents)["spec"]["volumes"])["secret-database"]["secret"]
    assert volume == {"secretName": "database", "defaultMode": 0o440, "items": [{"key": "password", "path": "pass"}]}
    mount = by_name(container(documents)["volumeMounts"])["secret-database"]
    assert mount == {"name": "secret-database", "mountPath": "/run/secrets/database", "readOnly": True}


def test_a_default_directory_can_be_taken_away() -> None:
    documents = render(workload(emptyDirs={"tmp": None}))
    assert "volumes" not in pod(documents)["spec"]
    assert "volumeMounts" not in container(documents)


def test_further_volumes() -> None:
    volume = {"name": "shared", "persistentVolumeClaim": {"claimName": "shared"}}
    mount = {"name": "shared", "mountPath": "/shared"}
    documents = render(workload(extraVolumes=[volume], extraVolumeMounts=[mount]))
    assert volume in pod(documents)["spec"]["volumes"]
    assert mount in container(documents)["volumeMounts"]


def test_probes_and_resources_are_passed_on() -> None:
    probe = {"httpGet": {"path": "/livez", "port": "http"}, "periodSeconds": 3}
    resources = {"requests": {"cpu": "1", "memory": "1Gi"}, "limits": {"memory": "2Gi"}}
    documents = render(with_port(probes={"startup": probe, "liveness": probe, "readiness": probe}, resources=resources))
    for name in ("startupProbe", "livenessProbe", "readinessProbe"):
        assert container(documents)[name] == probe
    assert container(documents)["resources"] == resources


def test_scheduling() -> None:
    toleration = {"key": "dedicated", "operator": "Exists", "effect": "NoSchedule"}
    settings = {
        "schedulerName": "batch-packing",
        "priorityClassName": "low",
        "nodeSelector": {"disk": "ssd"},
        "tolerations": [toleration],
    }
    assert settings.items() <= pod(render(workload(kind="Job", **settings)), "Job")["spec"].items()


PAGE = {"name": "shop", "text": "Buy.", "healthPath": "/live", "contains": "<h1>", "timeout": 30}
PAGE_PORTS = {"http": {"containerPort": 3000, "servicePort": 80}, "admin": {"containerPort": 3001}}


def test_a_page_is_told_by_its_route() -> None:
    gateway = {"namespace": "gateways", "name": "front", "domain": "lab.internal"}
    documents = render(workload(ports=PAGE_PORTS, page=PAGE, gateway=gateway))
    route = only(documents, "HTTPRoute")
    assert route["metadata"]["annotations"] == {
        "cicd.sandbox/title": "shop",
        "cicd.sandbox/text": "Buy.",
        "cicd.sandbox/path": "/",
        "cicd.sandbox/health-path": "/live",
        "cicd.sandbox/contains": "<h1>",
    }
    name = only(documents, "Service")["metadata"]["name"]
    assert route["spec"] == {
        "parentRefs": [{"namespace": "gateways", "name": "front"}],
        "hostnames": ["shop.lab.internal"],
        "rules": [{"backendRefs": [{"name": name, "port": 80}], "timeouts": {"request": "30s"}}],
    }
    assert not [name for name in names(render(workload(ports=PAGE_PORTS))) if name.startswith("HTTPRoute/")]


def test_a_page_may_ask_for_a_login_at_the_gateway() -> None:
    gateway = {"namespace": "gateways", "workload": "front", "domain": "lab.internal"}
    values = workload(ports=PAGE_PORTS, page={**PAGE, "login": True}, gateway=gateway)
    assert "EnvoyFilter" not in {document["kind"] for document in render(values)}
    login = "ann:{SHA}W6ph5Mm5Pz8GgiULbPgzG37mj9g="
    documents = render({**values, "gateway": {**gateway, "login": login}})
    assert only(documents, "HTTPRoute")["metadata"]["annotations"]["cicd.sandbox/login"] == "true"
    asks = only(documents, "EnvoyFilter")
    assert asks["metadata"]["namespace"] == "gateways"
    assert asks["spec"]["workloadSelector"]["labels"] == {"app": "front"}
    hosts = [patch["match"]["routeConfiguration"]["vhost"]["name"] for patch in asks["spec"]["configPatches"]]
    assert hosts == ["shop.lab.internal:80", "shop.lab.internal:443"]
    for patch in asks["spec"]["configPatches"]:
        (users,) = [each["users"] for each in patch["patch"]["value"]["typed_per_filter_config"].values()]
        assert users == {"inlineString": login}
        assert patch["patch"]["value"]["request_headers_to_remove"] == ["authorization"]
    open_to_all = render({**values, "page": PAGE, "gateway": {**gateway, "login": login}})
    assert "EnvoyFilter" not in {document["kind"] for document in open_to_all}


def test_streams_of_a_page_have_no_time_limit() -> None:
    values = workload(ports=PAGE_PORTS, page=PAGE, traffic={"streams": ["/events", "/more"]})
    rules = only(render(values), "HTTPRoute")["spec"]["rules"]
    assert [rule["timeouts"]["request"] for rule in rules] == ["30s", "0s"]
    assert "matches" not in rules[0]
    assert [match["path"] for match in rules[1]["matches"]] == [
        {"type": "PathPrefix", "value": value} for value in ("/events", "/more")
    ]
    assert rules[0]["backendRefs"] == rules[1]["backendRefs"]


def test_a_page_may_be_a_part_of_what_the_workload_answers() -> None:
    values = workload(ports=PAGE_PORTS, page={**PAGE, "paths": ["/read", "/live"]})
    (rule,) = only(render(values), "HTTPRoute")["spec"]["rules"]
    assert [match["path"] for match in rule["matches"]] == [
        {"type": "PathPrefix", "value": value} for value in ("/read", "/live")
    ]


def test_a_page_lets_its_gateway_in() -> None:
    clients = [{"namespace": "istio-ingress", "labels": {"app": "istio-ingressgateway"}}]
    own = {"ingress": {"others": {"from": [{"app": "other"}]}}}
    values = workload(ports=PAGE_PORTS, gateway={"clients": clients}, networkPolicy=own)
    (others,) = only(render(values), "NetworkPolicy")["spec"]["ingress"]
    documents = render({**values, "page": PAGE})
    assert only(documents, "Service")["spec"]["type"] == "ClusterIP"
    ingress = only(documents, "NetworkPolicy")["spec"]["ingress"]
    assert ingress == [
        others,
        {
            "from": [
                {
                    "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "istio-ingress"}},
                    "podSelector": {"matchLabels": {"app": "istio-ingressgateway"}},
                }
            ],
            "ports": [{"port": "http", "protocol": "TCP"}],
        },
    ]


def test_without_a_gateway_nodes_lead_to_a_page() -> None:
    gateway = {"byNodePort": True, "clients": [{"cidr": "198.18.0.2/32"}]}
    documents = render(workload(ports=PAGE_PORTS, page=PAGE, gateway=gateway))
    service = only(documents, "Service")["spec"]
    # Local: the policy lets the load balancer in by its address.
    assert (service["type"], service["externalTrafficPolicy"]) == ("NodePort", "Local")
    (rule,) = only(documents, "NetworkPolicy")["spec"]["ingress"]
    assert rule["from"] == [{"ipBlock": {"cidr": "198.18.0.2/32"}}]
    plain = render(workload(ports=PAGE_PORTS, gateway=gateway))
    assert only(plain, "Service")["spec"]["type"] == "ClusterIP"
    assert only(plain, "NetworkPolicy")["spec"]["ingress"] == []


def test_pods_of_a_mesh_may_ask_its_control_plane() -> None:
    values = with_port(networkPolicy={"dns": {"enabled": False}}, hookJobs={"migrate": {"events": ["pre-install"]}})
    assert "istio.io/rev" not in pod(render(values))["metadata"]["labels"]
    stays = {"revision": "canary", "namespace": "mesh", "replacePods": False}
    assert "istio.io/rev" not in pod(render({**values, "mesh": stays}))["metadata"]["labels"]
    documents = render({**values, "mesh": {"revision": "canary", "namespace": "mesh"}})
    for kind, name in (("Deployment", "web"), ("Job", "web-migrate")):
        assert pod(documents, kind)["metadata"]["labels"]["istio.io/rev"] == "canary"
        # Its proxy looks it up, though the program has no need of DNS.
        dns, rule = only(documents, "NetworkPolicy", name)["spec"]["egress"]
        assert [port["port"] for port in dns["ports"]] == [53, 53]
        assert rule == {
            "to": [
                {
                    "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "mesh"}},
                    "podSelector": {"matchLabels": {"app": "istiod"}},
                }
            ],
            "ports": [{"port": 15012, "protocol": "TCP"}],
        }


MESH = {"revision": "default", "namespace": "istio-system"}
GATEWAY_PODS = {"namespace": "istio-ingress", "labels": {"app": "gateway"}, "serviceAccounts": ["gateway"]}
SOURCES: list[tuple[dict[str, Any], dict[str, Any]]] = [
    ({"app": "a"}, {"principals": ["cluster.local/ns/shop/sa/a"]}),
    ({"app": "a", "namespace": "b"}, {"principals": ["cluster.local/ns/b/sa/a"]}),
    ({"app": "a", "namespace": "*"}, {"principals": ["*/sa/a"]}),
    (
        {"app": "a", "serviceAccounts": ["a", "a-migrate"]},
        {"principals": ["cluster.local/ns/shop/sa/a", "cluster.local/ns/shop/sa/a-migrate"]},
    ),
    (GATEWAY_PODS, {"principals": ["cluster.local/ns/istio-ingress/sa/gateway"]}),
    ({"labels": {"role": "probe"}}, {"namespaces": ["shop"]}),
    ({"namespace": "monitoring"}, {"namespaces": ["monitoring"]}),
    ({"namespace": "*"}, {"principals": ["*"]}),
    (
        {"cidr": "198.18.0.0/24", "except": ["198.18.0.9/32"]},
        {"ipBlocks": ["198.18.0.0/24"], "notIpBlocks": ["198.18.0.9/32"]},
    ),
]


@pytest.mark.parametrize(("peer", "source"), SOURCES, ids=[json.dumps(peer) for peer, _source in SOURCES])
def test_a_mesh_knows_peers_by_their_identity(peer: dict[str, Any], source: dict[str, Any]) -> None:
    values = speaking_http(mesh=MESH, networkPolicy={"ingress": {"one": {"from": [peer]}}})
    policy = only(render(values, "web", "--namespace=shop"), "AuthorizationPolicy")
    assert policy["spec"]["rules"] == [
        {"from": [{"source": source}], "to": [{"operation": {"ports": ["8080"]}}]},
    ]


def test_a_mesh_holds_to_methods_and_paths() -> None:
    rule = {"from": [{"app": "a"}], "ports": ["http"], "methods": ["GET"], "paths": ["/api/*"]}
    values = speaking_http(mesh=MESH, networkPolicy={"enabled": False, "ingress": {"one": rule}})
    documents = render(values)
    (found,) = only(documents, "AuthorizationPolicy")["spec"]["rules"]
    assert found["to"] == [{"operation": {"ports": ["8080"], "methods": ["GET"], "paths": ["/api/*"]}}]
    assert "NetworkPolicy/web" not in names(documents)


def test_without_rules_a_mesh_answers_nobody() -> None:
    spec = only(render(with_port(mesh=MESH)), "AuthorizationPolicy")["spec"]
    assert spec["action"] == "ALLOW"
    assert "rules" not in spec
    assert spec["selector"]["matchLabels"]["app.kubernetes.io/component"] == "main"
    for values in (with_port(), with_port(mesh=MESH, authorizationPolicy={"enabled": False})):
        assert not [name for name in names(render(values)) if name.startswith("AuthorizationPolicy/")]


def test_the_sample_database_answers_the_api_and_its_jobs_only() -> None:
    documents = render({**sample("postgresql"), "mesh": MESH}, "postgresql", "--namespace=apps")
    rules = only(documents, "AuthorizationPolicy")["spec"]["rules"]
    principals = [name for rule in rules for peer in rule["from"] for name in peer["source"]["principals"]]
    # As the charts of those who ask name their ServiceAccounts.
    accounts = [
        document["metadata"]["name"]
        for name in ("business-logic", "postgresql-password")
        for document in render(sample(name), name)
        if document["kind"] == "ServiceAccount"
    ]
    assert sorted(principals) == sorted(f"cluster.local/ns/apps/sa/{name}" for name in accounts)


TRAFFIC = {"timeout": 3, "retries": {"attempts": 2, "perTryTimeout": 0.8}, "streams": ["/events"]}


def test_a_mesh_repeats_what_is_safe() -> None:
    documents = render(speaking_http(mesh=MESH, traffic=TRAFFIC), "web", "--namespace=shop")
    host = "web.shop.svc.cluster.local"
    spec = only(documents, "VirtualService")["spec"]
    assert spec["hosts"] == [host]
    streams, safe, others = spec["http"]
    for route in (streams, safe, others):
        assert route["route"] == [{"destination": {"host": host, "port": {"number": 80}}}]
        assert {match["port"] for match in route["match"]} == {80}
    assert streams["match"] == [{"port": 80, "uri": {"prefix": "/events"}}]
    assert "timeout" not in streams
    assert streams["retries"]["retryOn"] == "connect-failure,refused-stream"
    assert safe["match"][0]["method"] == {"regex": "GET|HEAD|OPTIONS"}
    assert (safe["timeout"], safe["retries"]["attempts"], safe["retries"]["perTryTimeout"]) == ("3s", 2, "0.8s")
    assert "gateway-error" in safe["retries"]["retryOn"]
    assert (others["timeout"], others["retries"]["retryOn"]) == ("3s", "connect-failure,refused-stream")
    assert "perTryTimeout" not in others["retries"]


def test_a_mesh_leaves_pods_alone_that_fail() -> None:
    traffic = {"outlierDetection": {"interval": "2s"}, "connectionPool": {"tcp": {"maxConnections": 9}}}
    documents = render(with_port(mesh=MESH, traffic=traffic))
    assert only(documents, "DestinationRule")["spec"]["trafficPolicy"] == traffic
    kinds = {name.partition("/")[0] for name in names(render(speaking_http(traffic={**TRAFFIC, **traffic})))}
    assert not kinds & {"VirtualService", "DestinationRule", "AuthorizationPolicy", "ServiceEntry"}


def test_a_mesh_lets_declared_hosts_be_asked() -> None:
    external = {
        "mail": {"host": "mail.example.com", "port": 465},
        "page": {"host": "example.com", "port": 80, "protocol": "HTTP"},
    }
    documents = render(workload(mesh=MESH, externalServices=external))
    assert only(documents, "ServiceEntry", "web-mail")["spec"] == {
        "hosts": ["mail.example.com"],
        "exportTo": ["."],
        "location": "MESH_EXTERNAL",
        "resolution": "DNS",
        "ports": [{"name": "tls-465", "number": 465, "protocol": "TLS"}],
    }
    assert only(documents, "ServiceEntry", "web-page")["spec"]["ports"][0]["name"] == "http-80"


def test_pods_tell_a_mesh_their_app_and_version() -> None:
    labels = pod(render(with_job()))["metadata"]["labels"]
    assert (labels["app"], labels["version"]) == ("web", "1.0")
    image = {"repository": "example.com/web", "digest": DIGEST}
    assert pod(render({"image": image}))["metadata"]["labels"]["version"] == "0" * 63


READER = {"namespace": "observability", "app": "prometheus"}


# A proxy has metrics, whatever the program beside it has.
@pytest.mark.parametrize(
    ("enabled", "revision", "port"), [(True, "", "http"), (True, "default", 15020), (False, "default", 15020)]
)
def test_who_reads_metrics_is_let_in_where_they_are(enabled: bool, revision: str, port: str | int) -> None:
    values = with_port(metrics={"enabled": enabled, "clients": [READER]}, mesh={"revision": revision})
    (rule,) = only(render(values), "NetworkPolicy")["spec"]["ingress"]
    assert rule == {
        "from": [
            {
                "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "observability"}},
                "podSelector": {"matchLabels": {"app.kubernetes.io/name": "prometheus"}},
            }
        ],
        "ports": [{"port": port, "protocol": "TCP"}],
    }


def test_nobody_reads_metrics_of_who_has_none() -> None:
    for metrics in ({"enabled": False, "clients": [READER]}, {"enabled": True, "clients": []}):
        assert only(render(with_port(metrics=metrics)), "NetworkPolicy")["spec"]["ingress"] == []


@pytest.mark.parametrize("values", [{}, {"networkPolicy": {"dns": {"enabled": False}}}])
def test_who_takes_telemetry_may_be_sent_it(values: Values) -> None:
    receivers = [{"app": "collector", "namespace": "observability"}]
    policy = only(render(workload(telemetry={"receivers": receivers}, **values)), "NetworkPolicy")["spec"]
    assert policy["egress"][-1] == {
        "to": [
            {
                "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "observability"}},
                "podSelector": {"matchLabels": {"app.kubernetes.io/name": "collector"}},
            }
        ],
        "ports": [{"port": 4317, "protocol": "TCP"}, {"port": 4318, "protocol": "TCP"}],
    }
    hook = only(render(with_job() | {"telemetry": {"receivers": receivers}}), "NetworkPolicy", "web-migrate")["spec"]
    assert policy["egress"][-1] in hook["egress"]


def test_metrics_annotations() -> None:
    annotations = pod(render(with_port(metrics={"enabled": True}, podAnnotations={"a": "b"})))["metadata"][
        "annotations"
    ]
    assert annotations == {
        "prometheus.io/scrape": "true",
        "prometheus.io/port": "8080",
        "prometheus.io/path": "/metrics",
        "a": "b",
    }


# --- service ---------------------------------------------------------------------------------------------------------


def test_service_with_a_fixed_node_port() -> None:
    ports = {"http": {"containerPort": 3000, "servicePort": 80, "nodePort": 30080, "appProtocol": "http"}}
    documents = render(workload(ports=ports, service={"type": "NodePort", "externalTrafficPolicy": "Local"}))
    service = only(documents, "Service")["spec"]
    assert (service["type"], service["externalTrafficPolicy"]) == ("NodePort", "Local")
    assert service["ports"] == [
        {
            "name": "http",
            "port": 80,
            "targetPort": "http",
            "protocol": "TCP",
            "nodePort": 30080,
            "appProtocol": "http",
        }
    ]


def test_no_service_without_ports_or_by_wish() -> None:
    for values in (workload(), with_port(service={"enabled": False})):
        assert not [name for name in names(render(values)) if name.startswith("Service/")]


# --- network policy --------------------------------------------------------------------------------------------------


def test_network_policy_refuses_all_but_dns_by_default() -> None:
    policy = only(render(with_port()), "NetworkPolicy")["spec"]
    assert policy["policyTypes"] == ["Ingress", "Egress"]
    assert policy["ingress"] == []
    (rule,) = policy["egress"]
    assert rule["ports"] == [{"port": 53, "protocol": "UDP"}, {"port": 53, "protocol": "TCP"}]
    assert rule["to"] == [
        {
            "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "kube-system"}},
            "podSelector": {"matchLabels": {"k8s-app": "kube-dns"}},
        }
    ]
    silent = only(render(workload(networkPolicy={"dns": {"enabled": False}})), "NetworkPolicy")["spec"]
    assert silent["egress"] == []


PEERS: list[tuple[Values, Manifest]] = [
    ({"app": "db"}, {"podSelector": {"matchLabels": {"app.kubernetes.io/name": "db"}}}),
    (
        {"app": "db", "namespace": "data"},
        {
            "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "data"}},
            "podSelector": {"matchLabels": {"app.kubernetes.io/name": "db"}},
        },
    ),
    ({"namespace": "data"}, {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "data"}}}),
    ({"namespace": "*", "labels": {"a": "b"}}, {"namespaceSelector": {}, "podSelector": {"matchLabels": {"a": "b"}}}),
    (
        {"cidr": "198.51.100.0/24", "except": ["198.51.100.7/32"]},
        {"ipBlock": {"cidr": "198.51.100.0/24", "except": ["198.51.100.7/32"]}},
    ),
]


@pytest.mark.parametrize(("peer", "expected"), PEERS)
def test_network_policy_peers(peer: Values, expected: Manifest) -> None:
    rules = {
        "ingress": {"clients": {"from": [peer]}},
        "egress": {"servers": {"to": [peer, peer], "ports": [5432, {"port": 53, "protocol": "UDP"}]}},
        "dns": {"enabled": False},
    }
    policy = only(render(with_port(networkPolicy=rules)), "NetworkPolicy")["spec"]
    assert policy["ingress"] == [{"from": [expected], "ports": [{"port": "http", "protocol": "TCP"}]}]
    ports = [{"port": 5432, "protocol": "TCP"}, {"port": 53, "protocol": "UDP"}]
    assert policy["egress"] == [{"to": [expected, expected], "ports": ports}]


def test_network_policy_lets_in_to_the_named_ports_only() -> None:
    ports = {"http": {"containerPort": 80}, "admin": {"containerPort": 81}}
    rules = {"all": {"from": [{"app": "a"}]}, "some": {"from": [{"app": "b"}], "ports": ["http"]}}
    policy = only(render(workload(ports=ports, networkPolicy={"ingress": rules})), "NetworkPolicy")["spec"]
    assert [[port["port"] for port in rule["ports"]] for rule in policy["ingress"]] == [["admin", "http"], ["http"]]


def test_network_policy_can_be_left_out() -> None:
    values = with_job()
    assert not [
        name
        for name in names(render({**values, "networkPolicy": {"enabled": False}}))
        if name.startswith("NetworkPolicy")
    ]


# --- hook jobs -------------------------------------------------------------------------------------------------------


def test_hook_job_brings_what_is_not_there_before_the_release() -> None:
    documents = render({**with_job(weight=5), "config": {"files": {"a": "b"}}})
    hooks = [item for item in documents if "helm.sh/hook" in item["metadata"].get("annotations", {})]
    assert sorted(names(hooks)) == [
        "ConfigMap/web-migrate",
        "Job/web-migrate",
        "NetworkPolicy/web-migrate",
        "ServiceAccount/web-migrate",
    ]
    assert {item["metadata"]["annotations"]["helm.sh/hook"] for item in hooks} == {"pre-install,pre-upgrade"}
    weights = {item["kind"]: int(item["metadata"]["annotations"]["helm.sh/hook-weight"]) for item in hooks}
    assert weights.pop("Job") == 5
    assert set(weights.values()) == {4}
    policies = {item["kind"]: item["metadata"]["annotations"]["helm.sh/hook-delete-policy"] for item in hooks}
    assert policies.pop("Job") == "before-hook-creation"  # its log stays
    assert set(policies.values()) == {"before-hook-creation,hook-succeeded"}
    volumes = by_name(pod(documents, "Job")["spec"]["volumes"])
    assert volumes["config-map"]["configMap"]["name"] == "web-migrate"


def test_hook_job_inherits_and_overrides() -> None:
    values = with_port(
        command=["serve"],
        args=["--all"],
        env={"A": "1", "B": "2"},
        secretFiles={"database": {"secret": "database", "mountPath": "/run/secrets/database"}},
        probes={"liveness": {"tcpSocket": {"port": "http"}}},
        metrics={"enabled": True},
        podLabels={"mesh": "in"},
        nodeSelector={"disk": "ssd"},
        hookJobs={
            "migrate": {
                "events": ["pre-upgrade"],
                "args": ["migrate"],
                "env": {"B": "3"},
                "image": {"tag": "2.0"},
                "resources": {"limits": {"memory": "1Gi"}},
                "podLabels": {"mesh": "out"},
                "backoffLimit": 0,
            }
        },
    )
    documents = render(values)
    job = only(documents, "Job")
    assert job["spec"]["backoffLimit"] == 0
    assert job["spec"]["ttlSecondsAfterFinished"] == 86400
    hook = container(documents, "Job")
    assert hook["name"] == "migrate"
    assert hook["image"] == "example.com/web:2.0"
    assert "command" not in hook
    assert hook["args"] == ["migrate"]
    assert hook["env"] == [{"name": "A", "value": "1"}, {"name": "B", "value": "3"}]
    assert hook["resources"] == {"requests": {"cpu": "10m", "memory": "64Mi"}, "limits": {"memory": "1Gi"}}
    assert not {"ports", "livenessProbe", "lifecycle"} & hook.keys()
    template = pod(documents, "Job")
    assert "annotations" not in template["metadata"]
    assert template["metadata"]["labels"]["mesh"] == "out"
    assert template["spec"]["nodeSelector"] == {"disk": "ssd"}
    assert template["spec"]["restartPolicy"] == "Never"
    assert "secret-database" in by_name(template["spec"]["volumes"])
    # And the workload is as it was.
    assert container(documents)["env"][1] == {"name": "B", "value": "2"}
    assert container(documents)["image"] == "example.com/web:1.0"


def test_hook_job_reaches_what_the_workload_reaches_or_what_it_says() -> None:
    egress = {"database": {"to": [{"app": "db"}], "ports": [5432]}}
    own = {"store": {"to": [{"app": "store"}], "ports": [443]}}
    values = with_port(
        networkPolicy={"egress": egress, "ingress": {"a": {"from": [{"app": "b"}]}}, "dns": {"enabled": False}},
        hookJobs={
            "migrate": {"events": ["pre-install"]},
            "backup": {"events": ["pre-upgrade"], "networkPolicy": {"egress": own}},
        },
    )
    documents = render(values)
    ports = {}
    for name in ("migrate", "backup"):
        policy = only(documents, "NetworkPolicy", f"web-{name}")["spec"]
        assert policy["podSelector"]["matchLabels"]["app.kubernetes.io/component"] == name
        assert policy["ingress"] == []
        ports[name] = [rule["ports"][0]["port"] for rule in policy["egress"]]
    assert ports == {"migrate": [5432], "backup": [443]}


# --- notes -----------------------------------------------------------------------------------------------------------


def test_notes_say_how_to_watch_reach_and_who_may(tmp_path: Path) -> None:
    # `helm template` shows no notes: let a ConfigMap carry them.
    chart = shutil.copytree(CHART, tmp_path / "workload")
    shutil.move(chart / "templates/NOTES.txt", chart / "notes.txt")
    carrier = 'kind: Notes\nmetadata: {name: notes}\ntext: {{ tpl (.Files.Get "notes.txt") . | toJson }}\n'
    (chart / "templates/notes.yaml").write_text(carrier, encoding="utf-8")

    values = sample("front-end")
    values["ports"]["http"]["nodePort"] = 30080
    values["service"] = {"type": "NodePort"}
    values["gateway"] = {"clients": [{"namespace": "istio-ingress"}]}
    values["hookJobs"] = {"migrate": {"events": ["pre-install"]}}
    values["networkPolicy"]["ingress"] = {"load-balancer": {"from": [{"cidr": "198.51.100.2/32"}]}}
    text = only(render(values, "front-end", chart=chart), "Notes")["text"]
    assert "Deployment front-end is in namespace shop." in text
    assert "rollout status deployment/front-end" in text
    assert "front-end.shop:3000 (http) inside the cluster, port 30080 of every node" in text
    assert "Let in: load-balancer, page.\nLet out to: api, DNS." in text
    assert "Job front-end-migrate runs at pre-install" in text

    text = only(render(workload(kind="Job"), "pack", chart=chart), "Notes")["text"]
    assert "get jobs,pods --selector app.kubernetes.io/instance=pack" in text
    assert "Let in: nobody (networkPolicy.ingress is empty).\nLet out to: DNS." in text


# --- the sample application's values ---------------------------------------------------------------------------------


def secrets(documents: list[Manifest]) -> set[tuple[str, str]]:
    """Give Secret and key of all files from Secrets."""
    specs = [item["spec"]["template"]["spec"] for item in documents if "template" in item.get("spec", {})]
    volumes = [volume["secret"] for spec in specs for volume in spec.get("volumes", []) if "secret" in volume]
    return {(volume["secretName"], item["key"]) for volume in volumes for item in volume["items"]}


def test_sample_replicas_survive_a_node() -> None:
    for name in ("front-end", "business-logic"):
        documents = render(sample(name), name)
        assert only(documents, "Deployment")["spec"]["replicas"] == 2
        assert only(documents, "PodDisruptionBudget")


def test_sample_front_end() -> None:
    documents = render(sample("front-end"), "front-end")
    service = only(documents, "Service")["spec"]
    assert (service["type"], [port["port"] for port in service["ports"]]) == ("ClusterIP", [3000])
    assert only(documents, "HTTPRoute")["spec"]["hostnames"] == ["website.localhost"]
    assert not secrets(documents)


def test_sample_business_logic() -> None:
    documents = render(sample("business-logic"), "business-logic")
    assert secrets(documents) == {
        POSTGRESQL_PASSWORD,
        ("postgresql", "password-earlier"),
        ("valkey", "password"),
        ("valkey", "password-earlier"),
        ("business-logic", "secret-key"),
    }
    readiness, liveness = (
        container(documents)[f"{name}Probe"]["httpGet"]["path"] for name in ("readiness", "liveness")
    )
    assert (readiness, liveness) == ("/readyz", "/livez")
    migrate = container(documents, "Job", "business-logic-migrate")
    assert "manage.py migrate" in migrate["args"][0]
    assert secrets([only(documents, "Job")]) == secrets(documents)


def test_sample_postgresql() -> None:
    documents = render(sample("postgresql"), "postgresql")
    assert secrets(documents) == {POSTGRESQL_PASSWORD}
    (claim,) = only(documents, "StatefulSet")["spec"]["volumeClaimTemplates"]
    assert claim["spec"]["resources"]["requests"]["storage"] == "1Gi"
    assert only(documents, "NetworkPolicy")["spec"]["egress"] == []


def test_sample_valkey() -> None:
    documents = render({**sample("valkey"), "mesh": MESH}, "valkey", "--namespace=apps")
    assert secrets(documents) == {("valkey", "password"), ("valkey", "password-earlier")}
    (claim,) = only(documents, "StatefulSet")["spec"]["volumeClaimTemplates"]
    assert claim["spec"]["resources"]["requests"]["storage"] == "1Gi"
    configuration = only(documents, "ConfigMap")["data"]["valkey.conf"].splitlines()
    # Nothing that was acknowledged is lost, be it by an end or for want of memory.
    assert {"appendonly yes", "appendfsync always", "maxmemory-policy noeviction"} <= set(configuration)
    (most,) = [int(line.split()[1].removesuffix("mb")) for line in configuration if line.startswith("maxmemory ")]
    assert 2 * most <= int(container(documents, "StatefulSet")["resources"]["limits"]["memory"].removesuffix("Mi"))
    # The API, and who changes its password: not the API's hook Jobs, and not the website.
    rules = only(documents, "AuthorizationPolicy")["spec"]["rules"]
    principals = [name for rule in rules for peer in rule["from"] for name in peer["source"]["principals"]]
    assert principals == [f"cluster.local/ns/apps/sa/{name}" for name in ("business-logic", "valkey-password")]


def test_sample_streams_are_not_cut() -> None:
    documents = render({**sample("business-logic"), "mesh": MESH}, "business-logic", "--namespace=apps")
    streams = only(documents, "VirtualService")["spec"]["http"][0]
    assert "timeout" not in streams
    settings = (REPOSITORY / "apps/business-logic/business_logic/settings.py").read_text()
    assert f'STREAM_PATH = "{streams["match"][0]["uri"]["prefix"]}"' in settings
    page, events = only(render(sample("front-end"), "front-end"), "HTTPRoute")["spec"]["rules"]
    assert events["matches"] == [{"path": {"type": "PathPrefix", "value": "/events"}}]
    assert (events["timeouts"]["request"], page["timeouts"]["request"]) == ("0s", "10s")


def test_sample_releases_may_talk_to_each_other_as_declared() -> None:
    """Whoever may leave for a release is let in there, on a port it has."""
    values = {path.stem: sample(path.stem) for path in SAMPLE}
    calls = [
        (caller, peer["app"], rule["ports"])
        for caller, own in values.items()
        for rule in own["networkPolicy"].get("egress", {}).values()
        for peer in rule["to"]
    ]
    assert {(caller, called) for caller, called, _ in calls} == {
        ("front-end", "business-logic"),
        ("business-logic", "postgresql"),
        ("business-logic", "valkey"),
        ("postgresql-password", "postgresql"),
        ("valkey-password", "valkey"),
        ("quote-generator", "business-logic"),
    }
    for caller, called, ports in calls:
        rules = values[called]["networkPolicy"]["ingress"].values()
        assert caller in {peer.get("app") for rule in rules for peer in rule["from"]}
        assert set(ports) <= {port["containerPort"] for port in values[called]["ports"].values()}


@pytest.mark.parametrize("path", SAMPLE, ids=lambda path: path.stem)
def test_sample_has_no_secret_in_it(path: Path) -> None:
    documents = manifests(run("helm", *template(path.stem), values=sample(path.stem)))
    assert not [name for name in names(documents) if name.startswith("Secret/")]
    for item in documents:
        for only_container in item.get("spec", {}).get("template", {}).get("spec", {}).get("containers", []):
            for variable in only_container.get("env", []):
                secretive = any(word in variable["name"] for word in ("PASSWORD", "SECRET", "TOKEN"))
                assert not secretive or variable["name"].endswith("_FILE")
