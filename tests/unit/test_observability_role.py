# Copyright: cicd.sandbox contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the role observability asks for: releases, what Prometheus looks at, rules that hold, alerts that come."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml
from checkout import REPOSITORY
from helm import only, run
from observability import ROLE, objects, play, releases

RULES = sorted((ROLE / "files/rules").glob("*.rules.yml"))
CASES = REPOSITORY / "tests/unit/fixtures/observability"
RUNBOOKS = REPOSITORY / "docs/how-to/alerts.md"


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    return releases(tmp_path_factory.mktemp("default"))


@pytest.fixture(scope="module")
def scrape(found: dict[str, dict[str, Any]]) -> dict[str, Any]:
    files = found["prometheus"]["values"]["config"]["files"]
    return {job["job_name"]: job for job in yaml.safe_load(files["prometheus.yml"])["scrape_configs"]}


# --- releases ---------------------------------------------------------------------------------------------------------


def test_rights_come_first_and_all_is_restricted(found: dict[str, dict[str, Any]]) -> None:
    assert list(found) == [
        "observability",
        "kube-state-metrics",
        "alertmanager",
        "prometheus",
        "victorialogs",
        "jaeger",
        "collector",
        "agent",
        "perses",
        "kiali",
    ]
    assert {name: release.get("after") for name, release in found.items()} == {
        "observability": None,
        "kube-state-metrics": ["observability"],
        "alertmanager": None,
        "prometheus": ["observability"],
        "victorialogs": None,
        "jaeger": None,
        "collector": ["observability"],
        "agent": None,
        "perses": None,
        "kiali": ["observability"],
    }
    for name, release in found.items():
        # Directories of a node are given to agents alone, who have a namespace of their own for that.
        expected = ("observability-agents", "privileged") if name == "agent" else ("observability", "restricted")
        assert (release["namespace"], *release["namespace_labels"].values()) == expected


@pytest.mark.parametrize(
    ("name", "component_name"),
    [
        ("kube-state-metrics", "kube_state_metrics"),
        ("alertmanager", "alertmanager"),
        ("prometheus", "prometheus"),
        ("victorialogs", "victoria_logs"),
        ("jaeger", "jaeger"),
        ("collector", "otel_collector"),
        ("agent", "otel_collector"),
        ("kiali", "kiali"),
    ],
)
def test_programs_are_upstreams_at_the_catalogues_versions(
    found: dict[str, dict[str, Any]], name: str, component_name: str
) -> None:
    path = REPOSITORY / f"roles/sandbox/vars/main/components/{component_name}.yml"
    component = yaml.safe_load(path.read_text())[f"sandbox_component_{component_name}"]
    assert found[name]["components"] == [component_name]
    (image,) = component["images"]
    values = found[name]["values"]["image"]
    assert f"{values['repository']}:{values['tag']}" == image["reference"].replace("{version}", component["version"])
    documents = objects(found[name])
    pod = only(documents, found[name]["values"]["kind"])["spec"]["template"]
    assert pod["spec"]["securityContext"]["runAsUser"] == (0 if name == "agent" else 65534)
    # No proxy beside it.
    assert "istio.io/rev" not in pod["metadata"]["labels"]
    assert pod["spec"]["automountServiceAccountToken"] is False


@pytest.mark.parametrize("name", ["kube-state-metrics", "prometheus", "collector", "kiali"])
def test_tokens_are_bound_to_the_pod_and_end_within_the_hour(found: dict[str, dict[str, Any]], name: str) -> None:
    documents = objects(found[name])
    pod = only(documents, found[name]["values"]["kind"])["spec"]["template"]["spec"]
    (volume,) = (volume for volume in pod["volumes"] if "projected" in volume)
    token, *_ = volume["projected"]["sources"]
    assert token == {"serviceAccountToken": {"path": "token", "expirationSeconds": 3600}}
    (mount,) = (mount for mount in pod["containers"][0]["volumeMounts"] if mount["name"] == volume["name"])
    assert mount["mountPath"] == "/var/run/secrets/kubernetes.io/serviceaccount"


@pytest.mark.parametrize("name", ["alertmanager", "victorialogs", "jaeger", "agent", "perses"])
def test_who_asks_nothing_of_the_api_has_no_token(found: dict[str, dict[str, Any]], name: str) -> None:
    pod = only(objects(found[name]), found[name]["values"]["kind"])["spec"]["template"]["spec"]
    assert not [volume for volume in pod["volumes"] if "projected" in volume]


def test_nobody_may_change_anything_or_read_secrets(found: dict[str, dict[str, Any]]) -> None:
    roles = [item for item in objects(found["observability"]) if item["kind"] == "ClusterRole"]
    assert {role["metadata"]["name"] for role in roles} == {
        "observability-prometheus",
        "observability-kube-state-metrics",
        "observability-collector",
        "observability-kiali",
    }
    for role in roles:
        for rule in role["rules"]:
            assert set(rule["verbs"]) <= {"get", "list", "watch"}
            refused = {"*", "secrets", "configmaps", "nodes/proxy"} & set(rule.get("resources", []))
            # Kiali does not start where it can't list all ConfigMaps; it shows none but Istio's.
            assert refused <= ({"configmaps"} if role["metadata"]["name"] == "observability-kiali" else set())


def test_pages_are_for_the_gateway_alone(found: dict[str, dict[str, Any]]) -> None:
    assert {name: release["values"].get("page", {}).get("name") for name, release in found.items()} == {
        "observability": None,
        "kube-state-metrics": None,
        "alertmanager": "alerts",
        "prometheus": "prometheus",
        "victorialogs": "logs",
        "jaeger": "traces",
        "collector": None,
        "agent": None,
        "perses": "dashboards",
        "kiali": "kiali",
    }
    policy = only(objects(found["kube-state-metrics"]), "NetworkPolicy")["spec"]
    (rule,) = policy["ingress"]
    assert rule["from"] == [{"podSelector": {"matchLabels": {"app.kubernetes.io/name": "prometheus"}}}]
    peers = [peer for rule in policy["egress"] for peer in rule["to"]]
    assert {"ipBlock": {"cidr": "198.18.0.21/32"}} in peers


def test_dashboards_ask_for_a_login_with_a_password_of_their_own(found: dict[str, dict[str, Any]]) -> None:
    release = found["perses"]
    assert (release["image"], release["values"]["image"]) == (
        "perses",
        {"repository": "registry.sandbox.internal/perses"},
    )
    secret = release["secrets"]["perses"]
    # Of AES-256, as Perses wants it.
    assert secret["encryption-key"] == {"length": 32}
    assert secret["user.yaml"]["file"].endswith("/secrets/perses-user.yaml")
    config = yaml.safe_load(release["values"]["config"]["files"]["perses.yml"])
    security = config["security"]
    assert security["enable_auth"] is True
    assert security["authentication"] == {"disable_sign_up": True, "providers": {"enable_native": True}}
    assert "encryption_key" not in security
    pod = only(objects(release), "StatefulSet")["spec"]["template"]["spec"]
    mounts = {mount["mountPath"] for mount in pod["containers"][0]["volumeMounts"]}
    # The database is on the volume, what is provisioned and the key are mounted.
    folders = [*config["provisioning"]["folders"], "/perses", "/etc/perses-key"]
    assert set(folders) <= mounts
    assert config["database"]["file"]["folder"].startswith("/perses/")
    assert pod["containers"][0]["securityContext"]["readOnlyRootFilesystem"] is True


def test_dashboards_of_the_collection_and_of_the_inventory_are_brought(tmp_path: Path) -> None:
    panel = {"title": "Up", "kind": "stat", "queries": [{"metrics": "up"}]}
    mine = {"name": "mine", "title": "Mine", "groups": [{"title": "G", "panels": [panel]}]}
    found = releases(tmp_path, observability_dashboards=[mine], observability_dashboards_user="ann")
    files = found["perses"]["values"]["config"]["files"]
    resources = [json.loads(text) for name, text in files.items() if name.endswith(".json")]
    dashboards = [item["metadata"]["name"] for item in resources if item["kind"] == "Dashboard"]
    assert dashboards == ["platform", "trace", "workloads", "mine"]
    (binding,) = (item["spec"] for item in resources if item["kind"] == "GlobalRoleBinding")
    assert binding["subjects"] == [{"kind": "User", "name": "ann"}]
    first = yaml.safe_load(files["perses.yml"])["frontend"]["important_dashboards"]
    assert [item["dashboard"] for item in first] == dashboards
    # Perses takes .json and .yaml as what is provisioned: its configuration is none of it.
    assert {Path(name).suffix for name in files} == {".json", ".yml"}


def test_the_dashboards_may_ask_what_they_show(found: dict[str, dict[str, Any]]) -> None:
    policy = only(objects(found["perses"]), "NetworkPolicy")["spec"]
    asked = {
        peer["podSelector"]["matchLabels"]["app.kubernetes.io/name"]: [port["port"] for port in rule["ports"]]
        for rule in policy["egress"]
        for peer in rule["to"]
        if "app.kubernetes.io/name" in peer.get("podSelector", {}).get("matchLabels", {})
    }
    assert asked == {"prometheus": [9090], "victorialogs": [9428], "jaeger": [16686]}
    for name in asked:
        rules = only(objects(found[name]), "NetworkPolicy", name)["spec"]["ingress"]
        peers = [peer for rule in rules for peer in rule["from"]]
        assert {"podSelector": {"matchLabels": {"app.kubernetes.io/name": "perses"}}} in peers


def test_the_password_is_made_once_and_read_by_its_owner_alone(tmp_path: Path) -> None:
    login = [{"ansible.builtin.include_tasks": str(ROLE / "tasks/login.yml")}]
    state = tmp_path / "state"
    described = []
    for number in range(2):
        run = play(tmp_path / str(number), tasks=login, sandbox_state_directory=str(state))
        assert run.returncode == 0, run.text
        described.append((state / "secrets/perses-user.yaml").read_text())
    password = (state / "secrets/perses-password").read_text().split()[0]
    assert described[0] == described[1]
    assert yaml.safe_load(described[0])["spec"]["nativeProvider"]["password"] == password
    assert len(password) == 32
    for name in ("perses-user.yaml", "perses-password"):
        assert (state / "secrets" / name).stat().st_mode & 0o777 == 0o600
    assert (state / "secrets").stat().st_mode & 0o777 == 0o700
    assert password not in run.text


def test_values_go_over_the_roles_own(tmp_path: Path) -> None:
    mine = {"prometheus": {"resources": {"limits": {"memory": "1Gi"}}}, "alertmanager": {"page": {"title": "Alarms"}}}
    found = releases(tmp_path, observability_values=mine)
    assert found["prometheus"]["values"]["resources"]["limits"]["memory"] == "1Gi"
    assert found["prometheus"]["values"]["resources"]["requests"]["memory"] == "192Mi"
    assert found["alertmanager"]["values"]["page"]["title"] == "Alarms"


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"observability_values": {"promtail": {}}}, "observability_values has promtail, of which there is no release"),
        ({"observability_stack": "elastic"}, "observability_stack is elastic, not one of auto, perses, grafana"),
        ({"observability_stack": "grafana"}, "observability_stack is grafana, whose programs (Loki, Tempo, Grafana)"),
        (
            {"observability_metrics_size": "4GB"},
            "observability_metrics_size is 4GB and observability_metrics_volume 4Gi",
        ),
        (
            {"observability_logs_size": "5GB"},
            "observability_logs_size is 5GB and observability_logs_volume 4Gi",
        ),
        ({"observability_traces_percent": 101}, "observability_traces_percent is 101, which has to be from 0 to 100"),
        ({"observability_traces_hours": 0}, "observability_traces_hours 0, of which each has to be 1 or more"),
        ({"observability_redactions": [{"replacement": "x"}]}, "of observability_redactions has no regex"),
        ({"observability_metrics_size": "much"}, "observability_metrics_size is much"),
        ({"observability_scrape_configs": [{"job_name": "etcd"}]}, "has the job_name etcd, which the role has"),
        ({"observability_scrape_configs": [{}]}, "needs a job_name"),
        ({"observability_dashboards_user": "Ann B"}, "observability_dashboards_user is Ann B"),
        (
            {"observability_dashboards": [{"name": "trace", "title": "T", "groups": []}]},
            "a name that another dashboard has",
        ),
        (
            {"observability_dashboards": [{"name": "mine", "title": "M", "colour": 1}]},
            "dashboard mine: colour is unknown",
        ),
    ],
)
def test_what_can_not_be_meant_is_refused(tmp_path: Path, wrong: dict[str, Any], words: str) -> None:
    run = play(tmp_path, **wrong)
    results = [answer.result for answer in run.answers if answer.failed]
    items = [item for result in results for item in result.get("results", [result])]
    failed = [item["msg"] for item in items if item.get("failed")]
    assert len(failed) == 1
    assert words in failed[0]


# --- what is looked at ------------------------------------------------------------------------------------------------


def test_all_that_stands_is_looked_at(scrape: dict[str, Any]) -> None:
    assert set(scrape) == {
        "alertmanager",
        "api-server",
        "containers",
        "control-plane",
        "coredns",
        "etcd",
        "kube-state-metrics",
        "kubelet",
        "load-balancer",
        "machines",
        "pods",
        "prometheus",
        "registry",
        "spans",
    }
    machines = {config["labels"]["instance"]: config["targets"] for config in scrape["machines"]["static_configs"]}
    assert len(machines) == 7
    assert machines["infra-1"] == ["198.18.0.2:9100"]
    etcd = {config["labels"]["instance"]: config["targets"] for config in scrape["etcd"]["static_configs"]}
    assert etcd == {f"etcd-{number}": [f"198.18.0.1{number}:2381"] for number in (1, 2, 3)}
    assert scrape["registry"]["static_configs"][0]["targets"] == ["198.18.0.2:8405"]


def test_certificates_are_verified_but_those_that_programs_sign_themselves(scrape: dict[str, Any]) -> None:
    assert [name for name, job in scrape.items() if job.get("tls_config", {}).get("insecure_skip_verify")] == [
        "control-plane"
    ]
    for name in ("api-server", "kubelet", "containers"):
        assert scrape[name]["tls_config"]["ca_file"].endswith("/serviceaccount/ca.crt")
    assert set(scrape["etcd"]["tls_config"]) == {"ca_file", "cert_file", "key_file"}


def test_an_inventorys_own_targets_and_rules_are_added(tmp_path: Path) -> None:
    job = {"job_name": "mine", "static_configs": [{"targets": ["192.0.2.1:80"]}]}
    group = {"name": "mine", "rules": [{"alert": "Mine", "expr": 'up{job="mine"} == 0'}]}
    found = releases(tmp_path, observability_scrape_configs=[job], observability_rule_groups=[group])
    files = found["prometheus"]["values"]["config"]["files"]
    assert yaml.safe_load(files["prometheus.yml"])["scrape_configs"][-1] == job
    assert yaml.safe_load(files["inventory.rules.yml"]) == {"groups": [group]}


# --- the mesh ---------------------------------------------------------------------------------------------------------


def test_kiali_looks_and_changes_nothing(found: dict[str, dict[str, Any]]) -> None:
    config = yaml.safe_load(found["kiali"]["values"]["config"]["files"]["config.yaml"])
    assert config["deployment"]["view_only_mode"] is True
    assert config["external_services"]["prometheus"]["url"] == "http://prometheus:9090"
    assert config["external_services"]["tracing"]["in_cluster_url"] == "http://jaeger:16686"
    # Jaeger has no page here.
    assert "url" not in config["external_services"]["tracing"]
    role = next(
        item
        for item in objects(found["observability"])
        if item["kind"] == "ClusterRole" and item["metadata"]["name"] == "observability-kiali"
    )
    assert {verb for rule in role["rules"] for verb in rule["verbs"]} == {"get", "list", "watch"}
    readable = {resource for rule in role["rules"] for resource in rule["resources"]}
    assert not readable & {"*", "secrets", "pods/log", "pods/exec", "pods/portforward", "pods/proxy", "services/proxy"}
    for name in ("prometheus", "jaeger"):
        peers = [peer for rule in found[name]["values"]["networkPolicy"]["ingress"].values() for peer in rule["from"]]
        assert {"app": "kiali"} in peers, name


@pytest.mark.parametrize("variables", [{"observability_kiali_enabled": False}, {"istio_enabled": False}])
def test_without_kiali_or_a_mesh_nobody_may_look_at_it(tmp_path: Path, variables: dict[str, Any]) -> None:
    found = releases(tmp_path, **variables)
    assert "kiali" not in found
    roles = [item["metadata"]["name"] for item in objects(found["observability"]) if item["kind"] == "ClusterRole"]
    assert "observability-kiali" not in roles
    kept = "mesh.rules.yml" in found["prometheus"]["values"]["config"]["files"]
    assert kept is ("istio_enabled" not in variables)


def test_istios_own_proxies_tell_its_metrics_themselves(tmp_path: Path) -> None:
    (tmp_path / "artifacts-source.json").write_text(json.dumps({"source": "release", "reason": "so it is"}))
    found = releases(tmp_path)
    files = found["prometheus"]["values"]["config"]["files"]
    assert "mesh.rules.yml" not in files
    assert "envoy_" not in files["prometheus.yml"]
    kiali = yaml.safe_load(found["kiali"]["values"]["config"]["files"]["config.yaml"])
    assert kiali["external_services"]["tracing"]["url"] == "http://traces.localhost:8080"


def relabelled(rules: list[dict[str, Any]], labels: dict[str, str]) -> dict[str, str]:
    """What Prometheus makes of a sample's labels; empty where it drops the sample."""
    for rule in rules:
        text = ";".join(labels.get(name, "") for name in rule["source_labels"])
        match = re.fullmatch(rule["regex"], text)
        if match is None:
            continue
        if rule.get("action") == "drop":
            return {}
        value = re.sub(r"\$(\d)", lambda group, match=match: match[int(group[1])], rule.get("replacement", "$1"))
        labels = {**labels, rule["target_label"]: value}
    return labels


@pytest.mark.parametrize(
    ("cluster", "service", "name", "namespace"),
    [
        ("outbound|8000||api.apps.svc.cluster.local", "api.apps.svc.cluster.local", "api", "apps"),
        ("outbound|8000|v1|api.apps.svc.cluster.local", "api.apps.svc.cluster.local", "api", "apps"),
        ("outbound|443||mail.example.com", "mail.example.com", "mail.example.com", "unknown"),
        ("inbound|8000||", None, None, None),
        ("xds-grpc", None, None, None),
        ("", None, None, None),
    ],
)
def test_proxies_clusters_are_services_to_prometheus(
    scrape: dict[str, Any], cluster: str, service: str | None, name: str | None, namespace: str | None
) -> None:
    rules = scrape["pods"]["metric_relabel_configs"]
    told = {"__name__": "envoy_cluster_upstream_rq", "response_code": "404", "cluster_name": cluster}
    found = relabelled(rules, told)
    assert found.items() >= told.items()
    labels = ("destination_service", "destination_service_name", "destination_service_namespace")
    assert tuple(found.get(label) for label in labels) == (service, name, namespace)


def test_other_metrics_of_pods_stay_as_they_are(scrape: dict[str, Any]) -> None:
    rules = scrape["pods"]["metric_relabel_configs"]
    for told in (
        {"__name__": "http_requests_total", "status": "404"},
        {"__name__": "http_request_duration_seconds_bucket", "le": "0.5"},
        {"__name__": "envoy_cluster_upstream_rq_time_bucket", "le": "250.0"},
    ):
        assert relabelled(rules, told) == told
    # As Envoy writes them and as Prometheus does.
    for whole in ("", ".0"):
        for le in ("0.5", *(f"{ms}{whole}" for ms in (1, 30000, 60000, 300000, 600000, 1800000, 3600000))):
            assert relabelled(rules, {"__name__": "envoy_cluster_upstream_rq_time_bucket", "le": le}) == {}
        for le in ("+Inf", *(f"{ms}{whole}" for ms in (5, 10, 25, 50, 100, 250, 500, 1000, 2500, 5000, 10000))):
            assert relabelled(rules, {"__name__": "envoy_cluster_upstream_rq_time_bucket", "le": le})


def written(found: dict[str, dict[str, Any]], directory: Path, release: str) -> Path:
    for name, text in found[release]["values"]["config"]["files"].items():
        (directory / name).write_text(text)
    return directory


def test_prometheus_takes_its_configuration(found: dict[str, dict[str, Any]], tmp_path: Path) -> None:
    directory = written(found, tmp_path, "prometheus")
    # promtool looks for the files that the pod has.
    path = directory / "prometheus.yml"
    text = path.read_text().replace("/etc/prometheus/", f"{directory}/")
    for name in ("ca.crt", "metrics.crt", "metrics.key", "token"):
        (directory / name).write_text("")
    path.write_text(
        re.sub(r"/(etc/prometheus-etcd|var/run/secrets/kubernetes.io/serviceaccount)", str(directory), text)
    )
    said = run("promtool", "check", "config", "--syntax-only", str(path))
    assert "SUCCESS" in said


def test_alertmanager_tells_whom_the_inventory_says(tmp_path: Path) -> None:
    receiver = {"webhook_configs": [{"url": "http://192.0.2.1/"}]}
    found = releases(tmp_path, observability_receiver=receiver)
    path = written(found, tmp_path, "alertmanager") / "alertmanager.yml"
    assert yaml.safe_load(path.read_text())["receivers"] == [{"name": "default", **receiver}]
    assert "SUCCESS" in run("amtool", "check-config", str(path))


def test_alertmanager_takes_the_configuration_without_a_receiver(
    found: dict[str, dict[str, Any]], tmp_path: Path
) -> None:
    path = written(found, tmp_path, "alertmanager") / "alertmanager.yml"
    assert yaml.safe_load(path.read_text())["receivers"] == [{"name": "default"}]
    assert "SUCCESS" in run("amtool", "check-config", str(path))


# --- rules and alerts -------------------------------------------------------------------------------------------------


def alerts() -> list[dict[str, Any]]:
    groups = [group for path in RULES for group in yaml.safe_load(path.read_text())["groups"]]
    return [rule for group in groups for rule in group["rules"] if "alert" in rule]


@pytest.mark.parametrize("path", RULES, ids=lambda path: path.name)
def test_rules_are_prometheus_own(path: Path) -> None:
    assert "SUCCESS" in run("promtool", "check", "rules", "--lint=all", "--lint-fatal", str(path))


def hold(cases: Path, directory: Path) -> None:
    """Have promtool try rules with cases of its own form."""
    for path in (*RULES, cases):
        shutil.copy(path, directory)
    assert "SUCCESS" in run("promtool", "test", "rules", str(directory / cases.name))


def test_what_is_recorded_of_the_mesh_names_both_ends_of_each_way(tmp_path: Path) -> None:
    hold(CASES / "mesh.test.yml", tmp_path)


def test_what_is_recorded_of_pods_is_what_runs(tmp_path: Path) -> None:
    hold(CASES / "records.test.yml", tmp_path)


def test_alerts_come_and_go(tmp_path: Path) -> None:
    cases = CASES / "alerts.test.yml"
    hold(cases, tmp_path)
    tested = {
        case["alertname"] for test in yaml.safe_load(cases.read_text())["tests"] for case in test["alert_rule_test"]
    }
    assert tested == {alert["alert"] for alert in alerts()}


def test_each_alert_has_a_runbook_and_each_runbook_an_alert() -> None:
    sections = re.findall(r"^## (\w+)$", RUNBOOKS.read_text(), re.MULTILINE)
    assert sections == sorted(alert["alert"] for alert in alerts())
    for alert in alerts():
        assert alert["labels"]["severity"] in ("critical", "warning")
        assert set(alert["annotations"]) == {"summary", "description"}
