# Copyright: cicd.sandbox contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which releases the role istio asks for, and what it refuses."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from checkout import REPOSITORY
from helm import only, render
from playbook_run import run_playbook

# Says what the role has worked out, instead of doing its work.
PLAYBOOK = f"""
- hosts: localhost
  gather_facts: false
  tasks:
    - ansible.builtin.include_role: {{name: cicd.sandbox.istio, tasks_from: preflight, public: true}}
    - ansible.builtin.include_vars: {REPOSITORY}/roles/istio/vars/main.yml
    - ansible.builtin.debug:
        msg: MESSAGE
"""


def releases(directory: Path, source: str = "build", **variables: Any) -> dict[str, dict[str, Any]]:
    """The releases by name, where components come from there."""
    (directory / "artifacts-source.json").write_text(json.dumps({"source": source, "reason": "so it is"}))
    run = play(directory, **variables)
    assert run.returncode == 0, run.text
    return {release["name"]: release for release in run.results()[-1]["msg"]}


def play(directory: Path, said: str = "{{ __istio_releases }}", **variables: Any) -> Any:
    (directory / "play.yml").write_text(PLAYBOOK.replace("MESSAGE", json.dumps(said)))
    values = {"sandbox_state_directory": str(directory), **variables}
    arguments = ["--inventory=inventories/dev", f"--extra-vars={json.dumps(values)}"]
    return run_playbook(directory / "play.yml", *arguments, fails=None)


def test_demo_is_small_and_its_gateway_survives_a_worker(tmp_path: Path) -> None:
    found = releases(tmp_path)
    assert list(found) == ["istio-base", "istio-cni", "istiod", "istio-ingressgateway", "istio-egressgateway", "mesh"]
    istiod, ingress = found["istiod"]["values"], found["istio-ingressgateway"]["values"]
    assert (istiod["profile"], istiod["replicaCount"], ingress["replicaCount"]) == ("demo", 1, 2)
    assert [(port["name"], port["nodePort"]) for port in ingress["service"]["ports"]] == [
        ("status-port", 30021),
        ("http2", 30080),
        ("https", 30443),
    ]
    assert found["istio-ingressgateway"]["after"] == ["istiod"]
    assert found["istio-ingressgateway"]["namespace_labels"] == {"pod-security.kubernetes.io/enforce": "restricted"}


def test_default_has_two_of_each_and_no_profile(tmp_path: Path) -> None:
    found = releases(tmp_path, istio_profile="default")
    counts = [
        found[name]["values"]["replicaCount"] for name in ("istiod", "istio-ingressgateway", "istio-egressgateway")
    ]
    assert counts == [2, 2, 2]
    assert [name for name, release in found.items() if "profile" in release["values"]] == []


def test_only_plain_envoy_goes_without_istios_filters(tmp_path: Path) -> None:
    plain = releases(tmp_path)["istiod"]["values"]
    assert plain["telemetry"] == {"enabled": False}
    assert plain["env"] == {
        "ENABLE_NATIVE_SIDECARS": "true",
        "PILOT_ENABLE_METADATA_EXCHANGE": "false",
        "PILOT_ENABLE_ALPN_FILTER": "false",
    }
    # By which it is told who asks which Service, and of nothing else.
    (wanted,) = plain["meshConfig"]["defaultConfig"]["proxyStatsMatcher"]["inclusionRegexps"]
    told = "cluster.outbound|8000||business-logic.apps.svc.cluster.local;.upstream_"
    for name in ("rq_200", "rq_503", "rq_time", "cx_rx_bytes_total", "cx_tx_bytes_total", "cx_total", "cx_destroy"):
        assert re.fullmatch(wanted, told + name), name
    for name in ("rq_2xx", "rq_total", "rq_timeout", "cx_total_http2"):
        assert not re.fullmatch(wanted, told + name), name
    assert not re.fullmatch(wanted, told.replace("outbound", "inbound") + "rq_200")
    assert not re.fullmatch(wanted, told.replace(".upstream", ".external.upstream") + "rq_200")
    official = releases(tmp_path, source="release")["istiod"]["values"]
    assert "telemetry" not in official
    assert "defaultConfig" not in official["meshConfig"]
    assert official["env"] == {"ENABLE_NATIVE_SIDECARS": "true"}


def test_a_revision_is_a_control_plane_of_its_own(tmp_path: Path) -> None:
    found = releases(tmp_path, istio_revision="canary")
    assert found["istiod-canary"]["values"]["revision"] == "canary"
    assert found["istio-ingressgateway"]["values"]["revision"] == "canary"
    assert found["istio-ingressgateway"]["after"] == ["istiod-canary"]
    assert found["istio-base"]["values"]["defaultRevision"] == "canary"


def control_plane(release: str, revision: str) -> dict[str, Any]:
    annotations = {"meta.helm.sh/release-name": release}
    return {"metadata": {"name": release, "labels": {"istio.io/rev": revision}, "annotations": annotations}}


def proxied(name: str, revision: str, phase: str = "Running", **metadata: Any) -> dict[str, Any]:
    annotations = {"istio.io/rev": revision}
    metadata |= {"name": name, "namespace": "apps", "annotations": annotations}
    return {"metadata": metadata, "status": {"phase": phase}}


def test_only_pods_that_run_keep_an_earlier_control_plane(tmp_path: Path) -> None:
    pods = [
        proxied("moved", "canary"),
        proxied("stays", "default"),
        proxied("done", "old", "Succeeded"),
        proxied("going", "old", deletionTimestamp="2026-01-01T00:00:00Z"),
    ]
    planes = [
        control_plane("istiod", "default"),
        control_plane("istiod-old", "old"),
        control_plane("istiod-canary", "canary"),
    ]
    known = {"__istio_found": {"resources": planes}, "__istio_pods": {"resources": pods}}
    said = "{{ {'earlier': __istio_earlier, 'followers': __istio_followers} }}"
    run = play(tmp_path, said, istio_revision="canary", **known)
    assert run.returncode == 0, run.text
    assert run.results()[-1]["msg"] == {
        "earlier": [{"release": "istiod", "revision": "default"}, {"release": "istiod-old", "revision": "old"}],
        "followers": [{"namespace": "apps", "pod": "stays", "revision": "default"}],
    }


def test_values_go_over_the_roles_own(tmp_path: Path) -> None:
    mine = {"istiod": {"meshConfig": {"connectTimeout": "3s"}}, "mesh": {"mtls": "PERMISSIVE"}}
    found = releases(tmp_path, istio_values=mine)
    assert found["istiod"]["values"]["meshConfig"]["connectTimeout"] == "3s"
    assert found["istiod"]["values"]["meshConfig"]["accessLogEncoding"] == "JSON"
    assert found["mesh"]["values"]["mtls"] == "PERMISSIVE"


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"istio_ingress_replicas": 3}, "istio_ingress_replicas is 3, but the group workers has 2 hosts"),
        ({"istio_revision": "1.31"}, "istio_revision is 1.31; it has to be of lower-case letters"),
        ({"istio_values": {"istoid": {}}}, "istio_values has istoid, of which there is no release"),
    ],
)
def test_what_can_be_no_mesh_is_refused(tmp_path: Path, wrong: dict[str, Any], words: str) -> None:
    run = play(tmp_path, **wrong)
    failed = [answer.result["msg"] for answer in run.answers if answer.failed]
    assert len(failed) == 1
    assert words in failed[0]


def test_the_mesh_is_strict_and_has_one_gateway() -> None:
    chart = REPOSITORY / "charts/mesh"
    documents = render({"gateway": {"domain": "lab.internal"}}, "mesh", "--namespace=istio-system", chart=chart)
    strict, gateway = only(documents, "PeerAuthentication"), only(documents, "Gateway")
    assert (strict["metadata"]["namespace"], strict["spec"]) == ("istio-system", {"mtls": {"mode": "STRICT"}})
    assert (gateway["metadata"]["namespace"], gateway["metadata"]["name"]) == ("istio-ingress", "sandbox")
    (listener,) = gateway["spec"]["listeners"]
    assert [kind for kind in ("ServiceAccount", "Secret", "Role") if kind in {item["kind"] for item in documents}] == []
    assert (listener["hostname"], listener["port"]) == ("*.lab.internal", 80)
    assert gateway["spec"]["addresses"][0]["value"] == "istio-ingressgateway.istio-ingress.svc.cluster.local"
    assert listener["allowedRoutes"] == {"namespaces": {"from": "All"}}


def test_the_gateway_leaves_routes_of_production_alone(tmp_path: Path) -> None:
    values = releases(tmp_path)["mesh"]["values"]
    documents = render(values, "mesh", "--namespace=istio-system", chart=REPOSITORY / "charts/mesh")
    listener, tls = only(documents, "Gateway")["spec"]["listeners"]
    assert tls["allowedRoutes"] == listener["allowedRoutes"]
    allowed = listener["allowedRoutes"]["namespaces"]
    assert allowed["from"] == "Selector"
    refused = {rule["key"]: rule["values"] for rule in allowed["selector"]["matchExpressions"]}
    assert {rule["operator"] for rule in allowed["selector"]["matchExpressions"]} == {"NotIn"}
    assert set(refused) == {"kubernetes.io/metadata.name", "cicd.sandbox/environment"}
    assert all("prod" in names for names in refused.values())


def test_pods_of_the_mesh_ask_only_what_is_declared(tmp_path: Path) -> None:
    for mode, variables in (("REGISTRY_ONLY", {}), ("ALLOW_ANY", {"istio_outbound_traffic_policy": "ALLOW_ANY"})):
        mesh = releases(tmp_path, **variables)["istiod"]["values"]["meshConfig"]
        assert mesh["outboundTrafficPolicy"] == {"mode": mode}


def test_proxies_tell_their_spans_where_something_is_observed(tmp_path: Path) -> None:
    found = releases(tmp_path, observability_traces_percent=12.5)
    mesh = found["istiod"]["values"]["meshConfig"]
    (provider,) = mesh["extensionProviders"]
    collector = {"service": "collector.observability.svc.cluster.local", "port": 4317}
    assert provider == {"name": "opentelemetry", "opentelemetry": collector}
    # The line of a request leads to its trace.
    line = json.loads(mesh["accessLogFormat"])
    assert line["trace_id"] == "%TRACE_ID%"
    assert {"authority", "method", "path", "response_code", "duration"} <= set(line)
    documents = render(found["mesh"]["values"], "mesh", "--namespace=istio-system", chart=REPOSITORY / "charts/mesh")
    telemetry = only(documents, "Telemetry")
    assert telemetry["metadata"]["namespace"] == "istio-system"
    assert telemetry["spec"] == {
        "tracing": [{"providers": [{"name": "opentelemetry"}], "randomSamplingPercentage": 12.5}]
    }


def test_nothing_is_traced_where_nothing_is_observed(tmp_path: Path) -> None:
    found = releases(tmp_path, observability_enabled=False)
    assert "extensionProviders" not in found["istiod"]["values"]["meshConfig"]
    documents = render(found["mesh"]["values"], "mesh", "--namespace=istio-system", chart=REPOSITORY / "charts/mesh")
    assert "Telemetry" not in {item["kind"] for item in documents}


@pytest.mark.parametrize("revision", ["", "canary"])
def test_a_namespace_answers_nobody_that_is_not_declared(revision: str) -> None:
    chart = REPOSITORY / "charts/namespace"
    documents = render({"mesh": {"revision": revision}}, "namespace-shop", "--namespace=shop", chart=chart)
    policy = only(documents, "NetworkPolicy")["spec"]
    assert (policy["podSelector"], policy["policyTypes"], policy["ingress"]) == ({}, ["Ingress", "Egress"], [])
    ports = [port["port"] for rule in policy["egress"] for port in rule["ports"]]
    if not revision:
        assert ports == []
        assert len(documents) == 1
        return
    # Proxies need names and their control plane, whatever is beside them.
    assert ports == [53, 53, 15012]
    assert only(documents, "AuthorizationPolicy")["spec"] == {}
    without = {"mesh": {"revision": revision}, "authorizationPolicy": {"enabled": False}}
    assert [document["kind"] for document in render(without, "n", chart=chart)] == ["NetworkPolicy"]
    without = {"mesh": {"revision": revision}, "networkPolicy": {"enabled": False}}
    assert [document["kind"] for document in render(without, "n", chart=chart)] == ["AuthorizationPolicy"]


def test_the_gateway_has_its_certificate_from_a_secret_that_one_account_may_renew() -> None:
    """The account may do nothing else: what it runs on is no node of the cluster."""
    chart, values = REPOSITORY / "charts/mesh", {"gateway": {"certificate": "pages", "renewer": "renewer"}}
    documents = render(values, "mesh", "--namespace=istio-system", chart=chart)
    plain, tls = only(documents, "Gateway")["spec"]["listeners"]
    assert (plain["protocol"], plain["port"]) == ("HTTP", 80)
    assert (tls["protocol"], tls["port"], tls["hostname"]) == ("HTTPS", 443, "*.localhost")
    assert tls["tls"] == {"mode": "Terminate", "certificateRefs": [{"name": "pages"}]}
    assert tls["allowedRoutes"] == plain["allowedRoutes"]
    role, binding = only(documents, "Role"), only(documents, "RoleBinding")
    assert role["rules"] == [
        {"apiGroups": [""], "resources": ["secrets"], "resourceNames": ["pages"], "verbs": ["get", "patch"]}
    ]
    assert binding["subjects"] == [{"kind": "ServiceAccount", "name": "renewer", "namespace": "istio-ingress"}]
    assert {item["metadata"]["namespace"] for item in (role, binding, only(documents, "Secret"))} == {"istio-ingress"}


def test_without_tls_the_gateway_asks_for_no_certificate(tmp_path: Path) -> None:
    assert releases(tmp_path)["mesh"]["values"]["gateway"]["certificate"] == "sandbox-pages"
    assert releases(tmp_path, sandbox_pages_https="off")["mesh"]["values"]["gateway"]["certificate"] == ""
