# Copyright: cicd.sandbox contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The stack grafana: its releases, who may ask whom, what its programs are told, and that all else is the same."""

from __future__ import annotations

import configparser
import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from checkout import REPOSITORY, load
from helm import only, run
from observability import configuration, objects, on_open_network, play, releases

COMPONENTS = {
    "loki": "loki",
    "tempo": "tempo",
    "tempo-query": "tempo_query",
    "jaeger": "jaeger_query",
    "grafana": "grafana",
}


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    """Nothing is said of the stack: official images can be had."""
    return releases(on_open_network(tmp_path_factory.mktemp("open")))


@pytest.fixture(scope="module")
def embedded(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    """The other stack on the same network."""
    return releases(on_open_network(tmp_path_factory.mktemp("embedded")), observability_stack="perses")


def pages(found: dict[str, dict[str, Any]]) -> dict[str, bool]:
    """Pages by name → whether the gateway asks for a login."""
    all_pages = [release["values"]["page"] for release in found.values() if "page" in release["values"]]
    return {page["name"]: page.get("login", False) for page in all_pages}


def peers(found: dict[str, dict[str, Any]], name: str, way: str) -> dict[str, list[int]]:
    """Programs in the policy of a release → the ports."""
    rules = only(objects(found[name]), "NetworkPolicy")["spec"][way]
    return {
        peer["podSelector"]["matchLabels"]["app.kubernetes.io/name"]: [port["port"] for port in rule.get("ports", [])]
        for rule in rules
        for peer in rule["from" if way == "ingress" else "to"]
        if "app.kubernetes.io/name" in peer.get("podSelector", {}).get("matchLabels", {})
    }


def test_it_is_taken_where_official_images_can_be_had(found: dict[str, Any], embedded: dict[str, Any]) -> None:
    other = {"victorialogs", "perses"}
    assert set(found) - set(embedded) == {"loki", "tempo", "tempo-query", "grafana"}
    assert set(embedded) - set(found) == other
    for release in found.values():
        expected = "privileged" if release["name"] == "agent" else "restricted"
        assert list(release["namespace_labels"].values()) == [expected]


@pytest.mark.parametrize(("name", "component_name"), COMPONENTS.items())
def test_programs_are_official_images_and_nothing_of_them_is_built(
    found: dict[str, Any], name: str, component_name: str
) -> None:
    path = REPOSITORY / f"roles/sandbox/vars/main/components/{component_name}.yml"
    component = load(path)[f"sandbox_component_{component_name}"]
    assert set(component) == {"version", "needed", "roles", "images"}
    (image,) = component["images"]
    assert list(image) == ["reference"]
    assert found[name]["components"] == [component_name]
    values = found[name]["values"]["image"]
    assert f"{values['repository']}:{values['tag']}" == image["reference"].replace("{version}", component["version"])
    pod = only(objects(found[name]), found[name]["values"]["kind"])["spec"]["template"]
    assert pod["spec"]["securityContext"]["runAsUser"] == (472 if name == "grafana" else 10001)
    assert pod["spec"]["containers"][0]["securityContext"]["readOnlyRootFilesystem"] is True
    assert pod["spec"]["automountServiceAccountToken"] is False
    assert "istio.io/rev" not in pod["metadata"]["labels"]


def test_both_stacks_have_the_same_pages_with_the_same_logins(found: dict[str, Any], embedded: dict[str, Any]) -> None:
    assert pages(found) == pages(embedded)
    # Who asks for a login himself is asked for none before.
    assert pages(found)["dashboards"] is False
    assert pages(found)["logs"] is True
    assert pages(found)["traces"] is True


def test_of_loki_the_gateway_passes_on_what_reads(found: dict[str, Any]) -> None:
    (route,) = (item for item in objects(found["loki"]) if item["kind"] == "HTTPRoute")
    paths = {match["path"]["value"] for rule in route["spec"]["rules"] for match in rule["matches"]}
    assert "/loki/api/v1/query_range" in paths
    # Whole elements of a path, so that /loki/api/v1/delete or /otlp is none of them.
    assert {path.rpartition("/")[2] for path in paths} <= {
        "labels",
        "label",
        "query",
        "query_range",
        "series",
        "tail",
        "ready",
    }
    assert found["loki"]["values"]["page"]["path"] in paths


@pytest.mark.parametrize("name", ["observability", "kube-state-metrics", "alertmanager", "agent", "kiali"])
def test_what_is_common_to_both_does_not_know_which(found: dict[str, Any], embedded: dict[str, Any], name: str) -> None:
    assert found[name]["values"] == embedded[name]["values"]


def test_metrics_rules_and_alerts_are_the_same(found: dict[str, Any], embedded: dict[str, Any]) -> None:
    one, other = (dict(stack["prometheus"]["values"]) for stack in (found, embedded))
    assert one.pop("networkPolicy") != other.pop("networkPolicy")
    assert one == other


def test_the_collector_differs_in_where_it_sends(found: dict[str, Any], embedded: dict[str, Any]) -> None:
    one, other = (configuration(stack["collector"]) for stack in (found, embedded))
    exporters = one["exporters"]
    assert set(exporters) == {"otlp_grpc/tempo", "otlp_http/loki", "prometheus"}
    assert exporters["otlp_grpc/tempo"] == {**other["exporters"]["otlp_grpc/jaeger"], "endpoint": "tempo:4317"}
    kept = {**other["exporters"]["otlp_http/victorialogs"], "logs_endpoint": "http://loki:3100/otlp/v1/logs"}
    del kept["headers"]
    assert exporters["otlp_http/loki"] == kept
    text = yaml.safe_dump(one["service"]).replace("/loki", "/victorialogs").replace("/tempo", "/jaeger")
    assert yaml.safe_load(text) == other["service"]
    for part in ("extensions", "receivers", "processors", "connectors"):
        assert one[part] == other[part]


def test_the_collector_takes_its_configuration(found: dict[str, Any], tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    text = found["collector"]["values"]["config"]["files"]["config.yaml"]
    path.write_text(text.replace("/var/lib/otelcol", str(tmp_path)))
    run("otelcol-contrib", "validate", "--config", str(path))


def test_who_asks_whom_is_let_in(found: dict[str, Any]) -> None:
    asked = {
        ("collector", "loki"): [3100],
        ("collector", "tempo"): [4317],
        ("grafana", "prometheus"): [9090],
        ("grafana", "loki"): [3100],
        ("grafana", "tempo"): [3200],
        ("jaeger", "tempo-query"): [7777],
        ("tempo-query", "tempo"): [3200],
        ("kiali", "jaeger"): [16686],
    }
    for (name, target), ports in asked.items():
        assert peers(found, name, "egress")[target] == ports, (name, target)
        listening = {port["containerPort"] for port in found[target]["values"]["ports"].values()}
        assert set(ports) <= listening
        admitted = peers(found, target, "ingress")
        # Ports are named there: of a program that is let in without one, all are meant.
        assert name in admitted, (name, target)
    for name in COMPONENTS:
        assert not {"victorialogs", "perses"} & {*peers(found, name, "ingress"), *peers(found, name, "egress")}
    assert not {"victorialogs", "perses"} & set(peers(found, "prometheus", "ingress"))


def test_what_asks_jaegers_api_goes_on(found: dict[str, Any]) -> None:
    values = found["jaeger"]["values"]
    assert values["ports"]["http"]["containerPort"] == 16686
    assert "--grpc-storage.server=tempo-query:7777" in values["args"]
    assert values["env"]["SPAN_STORAGE_TYPE"] == "grpc"
    bridge = yaml.safe_load(found["tempo-query"]["values"]["config"]["files"]["config.yaml"])
    assert bridge == {"address": "0.0.0.0:7777", "backend": "tempo:3200", "services_query_duration": "48h"}
    kiali = yaml.safe_load(found["kiali"]["values"]["config"]["files"]["config.yaml"])
    assert kiali["external_services"]["tracing"]["in_cluster_url"] == "http://jaeger:16686"


def test_lines_and_traces_are_kept_as_long_as_is_said(tmp_path: Path) -> None:
    found = releases(on_open_network(tmp_path), observability_logs_days=3, observability_traces_hours=5)
    loki = configuration(found["loki"])
    assert loki["limits_config"]["retention_period"] == "72h"
    assert loki["limits_config"]["reject_old_samples_max_age"] == "72h"
    # Without it Loki forgets nothing.
    assert loki["compactor"]["retention_enabled"] is True
    tempo = configuration(found["tempo"])
    assert tempo["overrides"]["defaults"]["compaction"]["block_retention"] == "5h"
    for name, config in (("loki", loki), ("tempo", tempo)):
        (claim,) = found[name]["values"]["volumeClaims"].values()
        paths = [text for text in strings(config) if text.startswith("/")]
        assert paths
        assert all(text.startswith(claim["mountPath"]) for text in paths)


def strings(value: Any) -> list[str]:
    if isinstance(value, dict | list):
        items = value.values() if isinstance(value, dict) else value
        return [text for item in items for text in strings(item)]
    return [value] if isinstance(value, str) else []


def test_loki_takes_as_much_of_a_line_as_agents_pass_on(found: dict[str, Any]) -> None:
    """What it refuses is lost: the collector does not send it again."""
    limits = configuration(found["loki"])["limits_config"]
    (statement,) = (
        text
        for text in configuration(found["agent"])["processors"]["transform"]["log_statements"]
        if text.startswith("limit(")
    )
    attributes = int(statement.split(",")[1])
    assert limits["max_structured_metadata_entries_count"] >= attributes + 20
    labels = limits["otlp_config"]["resource_attributes"]
    assert labels["ignore_defaults"] is True
    (indexed,) = labels["attributes_config"]
    # Of what there are many, such as pods and traces, no label is made.
    assert set(indexed["attributes"]) == {"k8s.namespace.name", "k8s.container.name", "service.name"}


def test_nobody_is_told_of_the_sandbox(found: dict[str, Any]) -> None:
    assert configuration(found["loki"])["analytics"] == {"reporting_enabled": False}
    assert configuration(found["tempo"])["usage_report"] == {"reporting_enabled": False}
    ini = settings(found)
    assert ini["analytics"]["reporting_enabled"] == "false"
    assert ini["analytics"]["check_for_updates"] == "false"
    assert ini["plugins"]["preinstall_disabled"] == "true"
    assert ini["news"]["news_feed_enabled"] == "false"


def settings(found: dict[str, Any]) -> configparser.ConfigParser:
    ini = configparser.ConfigParser(interpolation=None)
    ini.read_string(found["grafana"]["values"]["config"]["files"]["grafana.ini"])
    return ini


def test_grafana_asks_for_a_login_with_a_password_of_its_own(tmp_path: Path) -> None:
    found = releases(on_open_network(tmp_path), observability_dashboards_user="ann")
    ini = settings(found)
    assert ini["security"]["admin_user"] == "ann"
    assert ini["auth.anonymous"]["enabled"] == "false"
    assert ini["users"]["allow_sign_up"] == "false"
    assert ini["server"]["root_url"] == "http://dashboards.localhost:8080/"
    secret = found["grafana"]["secrets"]["grafana"]
    assert secret == {"admin-password": {"length": 32}, "secret-key": {"length": 32}}
    pod = only(objects(found["grafana"]), "StatefulSet")["spec"]["template"]["spec"]
    (mount,) = (item for item in pod["containers"][0]["volumeMounts"] if item["name"] == "secret-login")
    for name, key in (("admin_password", "admin-password"), ("secret_key", "secret-key")):
        assert ini["security"][name] == f"$__file{{{mount['mountPath']}/{key}}}"
    # The summary says where it is: role release keeps it as <secret>-<key>.
    (tmp_path / "told").mkdir()
    tasks = [{"ansible.builtin.debug": {"var": "sandbox_dashboards_password_file"}}]
    told = play(on_open_network(tmp_path / "told"), tasks=tasks)
    assert told.results()[-1]["sandbox_dashboards_password_file"].endswith("/secrets/grafana-admin-password")


def test_grafana_finds_what_it_is_provisioned_with(found: dict[str, Any]) -> None:
    values = found["grafana"]["values"]
    files = values["config"]["files"]
    pod = only(objects(found["grafana"]), "StatefulSet")["spec"]["template"]["spec"]
    container = pod["containers"][0]
    mounts = {mount["name"]: mount["mountPath"] for mount in container["volumeMounts"]}
    environment = {item["name"]: item["value"] for item in container["env"]}
    assert environment["GF_PATHS_CONFIG"] == f"{mounts['config-map']}/grafana.ini"
    assert environment["GF_PATHS_PROVISIONING"] == mounts["provisioning"]
    (volume,) = (item for item in pod["volumes"] if item["name"] == "provisioning")
    assert volume["configMap"]["name"] == only(objects(found["grafana"]), "ConfigMap")["metadata"]["name"]
    for item in volume["configMap"]["items"]:
        assert item["key"] in files
        # Grafana looks for each kind in a folder of its own.
        assert item["path"].startswith(f"{Path(item['key']).stem}/")
    (provider,) = yaml.safe_load(files["dashboards.yml"])["providers"]
    assert provider["options"]["path"] == mounts["config-map"]
    home = settings(found)["dashboards"]["default_home_dashboard_path"]
    assert Path(home).parent == Path(mounts["config-map"])
    assert Path(home).name in files
    services = {
        release["name"]: release["values"]["ports"] for release in found.values() if "ports" in release["values"]
    }
    for source in yaml.safe_load(files["datasources.yml"])["datasources"]:
        host, _, port = source["url"].removeprefix("http://").partition(":")
        assert int(port) in {item["containerPort"] for item in services[host].values()}


def test_a_dashboard_that_says_nothing_of_other_stores_is_refused_before(tmp_path: Path) -> None:
    panel = {"title": "Lines", "kind": "log_lines", "queries": [{"logs": "*"}]}
    mine = {"name": "mine", "title": "Mine", "groups": [{"title": "G", "panels": [panel]}]}
    (tmp_path / "open").mkdir()
    refused = play(on_open_network(tmp_path / "open"), observability_dashboards=[mine])
    assert "dashboard mine, panel Lines: with the stack grafana a query of logs is asked in LogQL" in refused.text
    (tmp_path / "closed").mkdir()
    assert play(tmp_path / "closed", observability_dashboards=[mine]).returncode == 0


def test_what_can_not_be_had_is_refused_with_what_was_found(tmp_path: Path) -> None:
    state = {"wanted": "auto", "source": "build", "network": "closed", "reason": "no official releases from here (x)"}
    (tmp_path / "artifacts-source.json").write_text(json.dumps(state))
    refused = play(tmp_path, observability_stack="grafana")
    (message,) = [answer.result["msg"] for answer in refused.answers if answer.failed]
    assert message.startswith("observability_stack is grafana, ")
    assert "can not be had here: no official releases from here (x). Take perses, or auto" in message


@pytest.mark.parametrize("stack", ["perses", "grafana"])
def test_limits_are_shown_on_the_dashboard_of_either(tmp_path: Path, stack: str) -> None:
    cluster = {"pages": [{"name": "dashboards", "title": "D", "host": "dashboards.localhost", "path": "/"}]}
    tasks = [{"ansible.builtin.debug": {"msg": "{{ __observability_demo_dashboards.path }}"}}]
    shown = play(
        on_open_network(tmp_path),
        tasks=tasks,
        sandbox_cluster=cluster,
        observability_stack=stack,
        __observability_demo_begun=5,
    )
    path = shown.results()[-1]["msg"]
    beginning = {"perses": "/projects/sandbox/dashboards/workloads?", "grafana": "/d/workloads?"}[stack]
    assert path.startswith(f"{beginning}var-namespace=limits-demo&")
    assert ("&start=5000&end=" if stack == "perses" else "&from=5000&to=") in path
