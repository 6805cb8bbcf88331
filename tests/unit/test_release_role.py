# Copyright: cicd.sandbox contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Roles `release` and `apps`, with a Helm and an API server that only pretend."""

from __future__ import annotations

import base64
import json
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.cicd.sandbox.plugins.filter.htpasswd import htpasswd
from checkout import REPOSITORY, load
from helm import only, render
from helm_records import deployment, helm_secret
from local_server import Answer, FakeKubernetes, Received, json_answer, serving, write_kubeconfig
from playbook_run import run_playbook

PLAYBOOK = """
- hosts: localhost
  gather_facts: false
  tasks:
    - ansible.builtin.include_role: {name: "cicd.sandbox.{{ role }}"}
"""
HELM = """#!/bin/sh
name=$2
for word; do case $previous in --values) cp "$word" "$0.$name.values" ;; esac; previous=$word; done
[ -z "$SAYS" ] || { echo "Error: $SAYS" >&2; exit 1; }
"""
CHART = REPOSITORY / "charts/workload"
# As if all of it had been published before.
PUBLISHED = ["helm", "web", "postgresql", "valkey", "business_logic", "front_end"]
TAGS = dict.fromkeys(PUBLISHED[1:], "1.0")
# What every workload is told of the cluster.
AROUND: dict[str, Any] = {
    "gateway": {
        "namespace": "istio-ingress",
        "name": "sandbox",
        "workload": "istio-ingressgateway",
        "login": "",
        "domain": "localhost",
        "clients": [
            {
                "namespace": "istio-ingress",
                "labels": {"app": "istio-ingressgateway"},
                "serviceAccounts": ["istio-ingressgateway"],
            }
        ],
        "byNodePort": False,
    },
    "mesh": {"revision": "default", "namespace": "istio-system"},
    "metrics": {"clients": [{"namespace": "observability", "app": "prometheus"}]},
    "telemetry": {"receivers": [{"namespace": "observability", "app": "collector"}], "ports": [4317, 4318]},
}
WEB = {
    "name": "web",
    "namespace": "shop",
    "namespace_labels": {"team": "web"},
    "image": "web",
    "secrets": {"web": {"password": {}, "key": {"length": 64}}},
}


class Cluster(FakeKubernetes):
    """An API server that takes what it is given, but refuses objects of one kind, quoting what it was sent."""

    refused = ""

    def answer(self, request: Received) -> Answer:
        kinds = [
            {"name": "namespaces", "singularName": "", "kind": "Namespace", "namespaced": False},
            {"name": "secrets", "singularName": "", "kind": "Secret", "namespaced": True},
        ]
        for kind in kinds:
            kind["verbs"] = ["create", "delete", "get", "list", "patch"]
        found: dict[str, Any] = {
            "/version": {"major": "1", "minor": "37", "gitVersion": "v1.37.0"},
            "/api": {"kind": "APIVersions", "versions": ["v1"]},
            "/apis": {"kind": "APIGroupList", "groups": []},
        }
        if request.path.rstrip("/") == "/api/v1":
            answer = super().answer(request)
            known = json.loads(answer.body)["resources"]
            others = [item for item in known if item["name"] not in ("namespaces", "secrets")]
            return json_answer({"kind": "APIResourceList", "groupVersion": "v1", "resources": [*kinds, *others]})
        if request.path in found:
            return json_answer(found[request.path])
        if request.method == "GET":
            return super().answer(request)
        parts = request.path.strip("/").split("/")
        plural = "secrets" if "secrets" in parts else parts[2]
        if plural == self.refused:
            return self.status(403, "Forbidden", f"refused: {request.body.decode()}")
        if request.method == "DELETE":
            gone = [item for item in self.objects if item["metadata"]["name"] == parts[-1]]
            self.objects.remove(gone[0])
            return json_answer(gone[0])
        made = json.loads(request.body)
        if request.method == "PATCH":
            (item,) = (one for one in self.objects if one["metadata"]["name"] == parts[-1])
            item["data"] |= made.get("data", {})
            made = item
        elif not request.query.get("dryRun"):
            self.objects.append(made)
        return json_answer(made, 201)


@pytest.fixture
def cluster() -> Cluster:
    return Cluster([])


@pytest.fixture
def directory(tmp_path: Path, cluster: Cluster) -> Iterator[Path]:
    """A sandbox's state with a Helm and a kubeconfig."""
    helm = tmp_path / "bin/helm"
    helm.parent.mkdir()
    helm.write_text(HELM)
    helm.chmod(0o755)
    (tmp_path / "play.yml").write_text(PLAYBOOK)
    localhost = {
        "ansible_connection": "local",
        "ansible_python_interpreter": "{{ ansible_playbook_python }}",
        "__artifacts_found": {"source": "build"},
        "__artifacts_started": PUBLISHED,
        "__artifacts_published": PUBLISHED,
        "__artifacts_paths": {"helm": str(tmp_path)},
        "__artifacts_tags": TAGS,
    }
    inventory = {
        "all": {
            "vars": {"sandbox_name": f"t-{os.getpid()}", "sandbox_state_directory": str(tmp_path)},
            "hosts": {"localhost": localhost},
            "children": {"infra": {"hosts": {"infra-1": {"ansible_host": "192.0.2.2"}}}},
        }
    }
    (tmp_path / "hosts.yml").write_text(yaml.safe_dump(inventory))
    with serving(cluster.answer) as server:
        write_kubeconfig(tmp_path / "kubeconfig", server.port)
        yield tmp_path


def play(
    directory: Path, *arguments: str, role: str = "release", helm_says: str = "", **variables: Any
) -> tuple[int, str, list[dict[str, Any]]]:
    """Run a role; return how many tasks changed something, what the failed one said last, and all results."""
    base = {"role": role, "release_timeout": 1, "apps_timeout": 1, "sandbox_pages_user": ""}
    extra = json.dumps(base | variables)
    options = [f"--inventory={directory}/hosts.yml", f"--extra-vars={extra}", *arguments]
    run = run_playbook(directory / "play.yml", *options, fails=None, SAYS=helm_says)
    failed = [answer.result for answer in run.answers if answer.failed]
    assert (run.returncode != 0) == bool(failed), run.text
    return run.stats["localhost"]["changed"], failed[-1]["msg"] if failed else "", run.results()


def test_a_release_is_brought_with_what_it_needs(directory: Path, cluster: Cluster) -> None:
    changed, said, results = play(directory, release_list=[WEB])
    assert said == ""
    assert changed > 0
    made = {(item["kind"], item["metadata"]["name"]): item for item in cluster.objects}
    assert made["Namespace", "shop"]["metadata"]["labels"] == {"team": "web"}
    files = {path.name: path for path in (directory / "secrets").iterdir()}
    assert {name: (path.stat().st_mode & 0o777, len(path.read_text().strip())) for name, path in files.items()} == {
        "web-password": (0o600, 32),
        "web-key": (0o600, 64),
    }
    secret = made["Secret", "web"]["data"]
    assert base64.b64decode(secret["password"]).decode() == files["web-password"].read_text().strip()
    assert load(directory / "bin/helm.web.values") == {"image": {"tag": "1.0"}, **AROUND}
    told = json.dumps(results)
    plain = [path.read_text().strip() for path in files.values()]
    assert not any(word in told for text in plain for word in (text, base64.b64encode(text.encode()).decode()))


def test_the_second_run_is_one_look(directory: Path, cluster: Cluster) -> None:
    play(directory, release_list=[WEB])
    cluster.objects += [helm_secret("web", CHART, {"image": {"tag": "1.0"}, **AROUND}), deployment("web")]
    (directory / "bin/helm").unlink()
    assert play(directory, release_list=[WEB])[:2] == (0, "")
    assert play(directory, "--check", release_list=[WEB])[:2] == (0, "")


def test_releases_know_who_may_see_pages_that_ask(directory: Path) -> None:
    assert play(directory, "--check", release_list=[WEB], sandbox_pages_user="ann")[1] == ""
    assert not (directory / "secrets").exists()
    assert play(directory, release_list=[WEB], sandbox_pages_user="ann")[1] == ""
    file = directory / "secrets/pages-password"
    assert (file.stat().st_mode & 0o777, len(password := file.read_text().strip())) == (0o600, 32)
    assert load(directory / "bin/helm.web.values")["gateway"]["login"] == htpasswd(password, "ann")
    assert play(directory, release_list=[WEB], sandbox_pages_user="ann", istio_enabled=False)[1] == ""
    assert load(directory / "bin/helm.web.values")["gateway"]["login"] == ""


def test_check_mode_changes_nothing(directory: Path, cluster: Cluster) -> None:
    changed, said, _ = play(directory, "--check", release_list=[WEB])
    assert (said, cluster.objects, list(directory.glob("bin/helm.*"))) == ("", [], [])
    assert not (directory / "secrets").exists()
    assert changed > 0


def test_an_attempt_that_was_killed_is_taken_up_again(directory: Path, cluster: Cluster) -> None:
    cluster.objects = [helm_secret("web", CHART, status="pending-install")]
    assert play(directory, release_list=[WEB])[1] == ""
    assert [item for item in cluster.objects if item["metadata"].get("labels", {}).get("owner") == "helm"] == []
    assert (directory / "bin/helm.web.values").exists()


def test_where_there_is_no_cluster_that_is_said(directory: Path) -> None:
    (directory / "kubeconfig").unlink()
    said = play(directory, release_list=[WEB])[1]
    assert f"There is no cluster for web: {directory}/kubeconfig is not there. Make the cluster first" in said
    # Before the first run, check mode has nothing to look at.
    assert play(directory, "--check", release_list=[WEB])[:2] == (0, "")


def test_what_helm_refuses_is_said(directory: Path) -> None:
    said = play(directory, helm_says="values don't meet the specifications of the schema", release_list=[WEB])[1]
    assert "web (namespace shop): values don't meet the specifications of the schema" in said


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"chart": "worklod"}, "there is no chart worklod; there is workload"),
        ({"vlaues": {}}, "vlaues"),
        ({"after": ["db"]}, "release web comes after db, which is not among the releases"),
    ],
)
def test_a_wrong_description_is_refused_before_anything_changes(
    directory: Path, cluster: Cluster, wrong: dict[str, Any], words: str
) -> None:
    assert words in play(directory, release_list=[{**WEB, **wrong}])[1]
    assert cluster.objects == []
    assert not (directory / "secrets").exists()


@pytest.mark.parametrize("refused", ["namespaces", "secrets"])
def test_what_the_api_server_refuses_is_said_without_secrets(directory: Path, cluster: Cluster, refused: str) -> None:
    cluster.refused = refused
    _, said, results = play(directory, release_list=[WEB])
    assert "Forbidden" in said
    assert ("team" if refused == "namespaces" else "Secrets web of namespace shop can't be made from") in said
    passwords = [path.read_text().strip() for path in directory.glob("secrets/*")]
    assert len(passwords) == (0 if refused == "namespaces" else 2)
    told = json.dumps(results)
    assert not any(word in told for plain in passwords for word in (plain, base64.b64encode(plain.encode()).decode()))


def decoded(secret: dict[str, Any]) -> dict[str, str]:
    return {key: base64.b64decode(value).decode() for key, value in secret["data"].items()}


@pytest.mark.parametrize("database", ["postgresql", "valkey"])
def test_a_password_that_is_put_there_reaches_the_pods_with_the_one_before(
    directory: Path, cluster: Cluster, database: str
) -> None:
    assert play(directory, role="apps")[1] == ""
    file = directory / f"secrets/{database}-password"
    first = file.read_text().strip()
    names = {path.name.split(".")[1] for path in directory.glob("bin/helm.*.values")}
    before = {name: load(directory / f"bin/helm.{name}.values") for name in names}
    file.write_text("another\n")
    assert play(directory, role="apps")[1] == ""
    made = [item for item in cluster.objects if item["metadata"]["name"] == database]
    assert decoded(made[0]) == {"password": "another", "password-earlier": first}
    after = {name: load(directory / f"bin/helm.{name}.values") for name in names}
    # The database goes on; those that know its password are made anew.
    assert {name for name in names if before[name] != after[name]} == {"business-logic", f"{database}-password"}
    file.write_text(f"{first}\n")
    assert play(directory, role="apps")[1] == ""
    assert decoded(made[0]) == {"password": first, "password-earlier": "another"}


def test_quotes_are_made_up_where_it_is_wanted(directory: Path) -> None:
    assert play(directory, role="apps", apps_generator_enabled=False)[1] == ""
    assert not (directory / "bin/helm.quote-generator.values").exists()
    assert play(directory, role="apps", apps_sample_enabled=False)[1] == ""
    assert not (directory / "bin/helm.quote-generator.values").exists()
    assert play(directory, role="apps")[1] == ""
    assert load(directory / "bin/helm.quote-generator.values")["command"] == ["python", "-m", "quotes.generator"]
    assert load(REPOSITORY / "inventories/prod/group_vars/all/sandbox.yml")["apps_generator_enabled"] is False


def test_the_front_end_links_to_names_of_the_sandboxs_domain(directory: Path) -> None:
    more = {"front-end": {"replicas": 3}}
    assert play(directory, role="apps", sandbox_domain="example.org", apps_sample_values=more)[1] == ""
    values = load(directory / "bin/helm.front-end.values")
    assert (values["env"]["SIBLING_DOMAIN"], values["env"]["PORT"], values["replicas"]) == ("example.org", "3000", 3)
    assert values["env"]["TRUSTED_PROXIES"] == "127.0.0.6,192.0.2.2"
    assert values["gateway"] == {**AROUND["gateway"], "domain": "example.org"}


TRACED = ("business-logic", "front-end", "quote-generator")


def environment_of(directory: Path, release: str) -> list[dict[str, Any]]:
    """Variables of a release's container, in the order in which the chart writes them."""
    values = load(directory / f"bin/helm.{release}.values")
    return list(only(render(values, release), "Deployment")["spec"]["template"]["spec"]["containers"][0]["env"])


def test_the_programs_know_the_collector_and_what_they_are(directory: Path) -> None:
    said = {
        "observability_traces_percent": 25,
        "sandbox_apps_namespace": "shop",
        "sandbox_observability_namespace": "seen",
    }
    assert play(directory, role="apps", **said)[1] == ""
    for release in TRACED:
        variables = {item["name"]: item for item in environment_of(directory, release)}
        assert variables["OTEL_EXPORTER_OTLP_ENDPOINT"]["value"] == "http://collector.seen.svc:4318"
        assert variables["OTEL_TRACES_SAMPLER"]["value"] == "parentbased_traceidratio"
        assert variables["OTEL_TRACES_SAMPLER_ARG"]["value"] == "0.25"
        attributes = dict(part.split("=") for part in variables["OTEL_RESOURCE_ATTRIBUTES"]["value"].split(","))
        assert attributes["k8s.namespace.name"] == "shop"
        assert attributes["service.instance.id"] == attributes["k8s.pod.name"] == "$(K8S_POD_NAME)"
        # Kubernetes puts in what stands before it in the list.
        order = list(variables)
        named = re.findall(r"\$\((\w+)\)", variables["OTEL_RESOURCE_ATTRIBUTES"]["value"])
        assert set(named) == {"K8S_NODE_NAME", "K8S_POD_NAME", "K8S_POD_UID", "K8S_WORKLOAD_NAME"}
        assert all(order.index(name) < order.index("OTEL_RESOURCE_ATTRIBUTES") for name in named)
        assert all("fieldRef" in variables[name]["valueFrom"] for name in named)
    for release in ("postgresql", "valkey", "postgresql-password", "valkey-password"):
        assert "OTEL_" not in (directory / f"bin/helm.{release}.values").read_text()


def test_all_traces_are_kept_where_nothing_else_is_said(directory: Path) -> None:
    assert play(directory, role="apps")[1] == ""
    variables = {item["name"]: item.get("value") for item in environment_of(directory, "front-end")}
    assert variables["OTEL_TRACES_SAMPLER_ARG"] == "1.0"


def test_nothing_is_traced_where_nothing_is_observed(directory: Path) -> None:
    assert play(directory, role="apps", observability_enabled=False)[1] == ""
    assert not any("OTEL_" in (directory / f"bin/helm.{release}.values").read_text() for release in TRACED)


@pytest.mark.parametrize("share", [101.5, -0.1, "half"])
def test_more_traces_than_requests_are_refused_before_anything_is_changed(
    directory: Path, cluster: Cluster, share: float | str
) -> None:
    said = play(directory, role="apps", observability_traces_percent=share)[1]
    assert f"observability_traces_percent is {share}, which has to be from 0 to 100" in said
    assert cluster.objects == []


def test_applications_belong_to_the_mesh(directory: Path, cluster: Cluster) -> None:
    own = {**WEB, "values": {"gateway": {"name": "mine"}}}
    assert play(directory, role="apps", apps_releases=[own], istio_revision="canary")[1] == ""
    labels = {
        item["metadata"]["name"]: item["metadata"]["labels"] for item in cluster.objects if item["kind"] == "Namespace"
    }
    assert labels["shop"] == {"istio.io/rev": "canary", "team": "web"}
    assert labels["apps"] == {
        "istio.io/rev": "canary",
        "pod-security.kubernetes.io/enforce": "restricted",
        "cicd.sandbox/workload-labels": "required",
    }
    values = load(directory / "bin/helm.web.values")
    assert values["mesh"]["revision"] == "canary"
    assert values["gateway"] == {**AROUND["gateway"], "name": "mine"}


def test_without_a_mesh_the_load_balancer_asks_pages_itself(directory: Path, cluster: Cluster) -> None:
    assert play(directory, role="apps", apps_releases=[WEB], istio_enabled=False)[1] == ""
    labels = [item["metadata"]["labels"] for item in cluster.objects if item["kind"] == "Namespace"]
    assert [name for own in labels for name in own if "istio" in name] == []
    values = load(directory / "bin/helm.front-end.values")
    assert (values["gateway"]["byNodePort"], values["gateway"]["clients"]) == (True, [{"cidr": "192.0.2.2/32"}])
    assert values["mesh"]["revision"] == ""
    assert values["env"]["TRUSTED_PROXIES"] == "192.0.2.2"


def test_an_application_of_ones_own_stands_beside_the_sample_or_alone(directory: Path) -> None:
    assert play(directory, role="apps", apps_releases=[WEB])[1] == ""
    names = {path.name.split(".")[1] for path in directory.glob("bin/helm.*.values")}
    sample = {"postgresql", "valkey", "business-logic", "postgresql-password", "valkey-password", "front-end"}
    assert names == {*sample, "quote-generator", "web", "namespace-apps"}
    for path in directory.glob("bin/helm.*.values"):
        path.unlink()
    assert play(directory, role="apps", apps_releases=[WEB], apps_sample_enabled=False)[1] == ""
    assert [path.name for path in directory.glob("bin/helm.*.values")] == ["helm.web.values"]


def test_namespaces_are_isolated_that_the_inventory_names(directory: Path) -> None:
    other = {**WEB, "name": "other", "namespace": "others"}
    isolated = {"apps_sample_enabled": False, "apps_isolated_namespaces": ["apps", "shop"]}
    assert play(directory, role="apps", apps_releases=[WEB, other], **isolated)[1] == ""
    names = {path.name.split(".")[1] for path in directory.glob("bin/helm.*.values")}
    # The sample's namespace is not used.
    assert names == {"web", "other", "namespace-shop"}
    values = load(directory / "bin/helm.namespace-shop.values")
    assert values == {"mesh": {"revision": "default", "namespace": "istio-system"}}


def test_the_jobs_own_words_come_before_helms_patience_ends() -> None:
    values = load(REPOSITORY / "roles/apps/files/values/business-logic.yaml")["hookJobs"]["migrate"]
    (wait,) = [line.split()[-1] for line in values["args"][0].splitlines() if "wait_for_database" in line]
    tries = values["backoffLimit"] + 1
    # Kubernetes pauses for 10 s, then for twice as long; 15 s to start and to end each time on a busy machine.
    needed = tries * (int(wait) + 15) + 10 * (2 ** (tries - 1) - 1)
    assert needed < load(REPOSITORY / "roles/apps/defaults/main.yml")["apps_timeout"]


def test_what_has_to_be_published_is_known_before_it_is(tmp_path: Path) -> None:
    """An earlier role of the run has published its own: helm is there, the image of this release is not yet."""
    (tmp_path / "play.yml").write_text(f"""
- hosts: localhost
  gather_facts: false
  tasks:
    - ansible.builtin.include_role: {{name: cicd.sandbox.sandbox, public: true}}
    - ansible.builtin.include_vars: {REPOSITORY}/roles/release/vars/main.yml
    - ansible.builtin.debug: {{msg: "{{{{ __release_components }}}}"}}
      vars:
        role_path: {REPOSITORY}/roles/release
""")
    known = {"artifacts_paths": {"helm": str(tmp_path)}, "artifacts_images": {"istio": "1.0"}, "release_list": [WEB]}
    values = {"sandbox_state_directory": str(tmp_path), "release_namespace_labels": {}, **known}
    run = run_playbook(tmp_path / "play.yml", "--inventory=inventories/dev", f"--extra-vars={json.dumps(values)}")
    assert run.results()[-1]["msg"] == ["helm", "web"]
