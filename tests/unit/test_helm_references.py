# Copyright: cicd.sandbox contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Secrets and ConfigMaps that pods read: whoever changes one, its release is outdated."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.cicd.sandbox.plugins.module_utils.helm.plan import Release, State, survey
from ansible_collections.cicd.sandbox.plugins.module_utils.helm.prerequisites import (
    WantedSecret,
    earlier_values,
    secrets_to_apply,
)
from ansible_collections.cicd.sandbox.plugins.module_utils.helm.references import references, with_checksums
from ansible_collections.cicd.sandbox.plugins.module_utils.kubernetes.api import KubernetesApi
from checkout import REPOSITORY
from helm import only, render
from helm_records import deployment, helm_secret, make_chart
from local_server import FakeKubernetes, serving_kubernetes

WORKLOAD = REPOSITORY / "charts/workload"
# One of each way to read something.
READS = {
    "env": {"A": "plain", "B": {"secretKeyRef": {"name": "key", "key": "k"}}, "C": {"fieldRef": {"fieldPath": "x"}}},
    "envFrom": [{"secretRef": {"name": "all"}}, {"configMapRef": {"name": "settings"}}],
    "secretFiles": {"files": {"secret": "files", "mountPath": "/run/files"}},
    "extraVolumes": [
        {"name": "a", "secret": {"secretName": "volume"}},
        {"name": "b", "configMap": {"name": "volume"}},
        {"name": "c", "projected": {"sources": [{"secret": {"name": "part"}}, {"configMap": {"name": "part"}}]}},
        {"name": "d", "emptyDir": {}},
    ],
}
ALL = {("Secret", name) for name in ("key", "all", "files", "volume", "part")} | {
    ("ConfigMap", name) for name in ("settings", "volume", "part")
}


def content(kind: str, name: str, value: str = "1", namespace: str = "shop") -> dict[str, Any]:
    metadata = {"name": name, "namespace": namespace}
    return {"apiVersion": "v1", "kind": kind, "metadata": metadata, "data": {"k": value}}


@pytest.fixture
def fake() -> FakeKubernetes:
    return FakeKubernetes([content(kind, name) for kind, name in sorted(ALL)])


@pytest.fixture
def api(fake: FakeKubernetes, tmp_path: Path) -> Iterator[KubernetesApi]:
    with serving_kubernetes(fake, tmp_path / "kubeconfig"):
        yield KubernetesApi(str(tmp_path / "kubeconfig"))


def annotations(api: KubernetesApi, values: dict[str, Any], namespace: str = "shop") -> dict[str, str]:
    (release,) = with_checksums(api, [Release("web", namespace, WORKLOAD, values)])
    return dict(release.values.get("podAnnotations", {}))


def test_every_way_to_read_something_is_known() -> None:
    assert references(READS) == ALL
    assert references({}) == set()


@pytest.mark.parametrize("reference", sorted(ALL))
@pytest.mark.parametrize("change", ["other content", "gone"])
def test_what_changes_changes_the_pods(
    fake: FakeKubernetes, api: KubernetesApi, reference: tuple[str, str], change: str
) -> None:
    before = annotations(api, READS)
    (item,) = (one for one in fake.objects if (one["kind"], one["metadata"]["name"]) == reference)
    fake.objects.remove(item)
    if change != "gone":
        fake.objects.append(content(*reference, "2"))
    after = annotations(api, READS)
    changed = {"Secret": "checksum/secrets", "ConfigMap": "checksum/config-maps"}[reference[0]]
    assert {key for key in before if before[key] != after[key]} == {changed}
    fake.objects[:] = [one for one in fake.objects if (one["kind"], one["metadata"]["name"]) != reference] + [item]
    assert annotations(api, READS) == before


def test_labels_and_namesakes_change_nothing(fake: FakeKubernetes, api: KubernetesApi) -> None:
    before = annotations(api, READS)
    for item in fake.objects:
        item["metadata"]["labels"] = {"a": "b"}
    fake.objects += [content("Secret", "key", "other", "elsewhere"), content("Secret", "unread", "2")]
    assert annotations(api, READS) == before


def test_the_chart_puts_it_on_the_pods_of_every_kind(api: KubernetesApi) -> None:
    for kind in ("Deployment", "StatefulSet", "Job"):
        values = {"kind": kind, "image": {"repository": "example.com/web", "tag": "1"}, **READS}
        (release,) = with_checksums(api, [Release("web", "shop", WORKLOAD, values)])
        found = only(render(release.values), kind)["spec"]["template"]
        assert set(found["metadata"]["annotations"]) == {"checksum/secrets", "checksum/config-maps"}


def test_what_a_program_takes_in_by_itself_restarts_nothing_but_runs_its_hooks(api: KubernetesApi) -> None:
    files = {"files": {"secret": "files", "mountPath": "/run/files", "restart": False}}
    values = {"secretFiles": files, "hookJobs": {"tell": {"events": ["post-upgrade"]}}}
    (release,) = with_checksums(api, [Release("web", "shop", WORKLOAD, values)])
    assert "podAnnotations" not in release.values
    assert set(release.values["hookJobs"]["tell"]["podAnnotations"]) == {"checksum/secrets"}
    # What was given is left as it was.
    assert values["hookJobs"] == {"tell": {"events": ["post-upgrade"]}}


def test_what_only_a_hook_job_reads_runs_it_again(fake: FakeKubernetes, api: KubernetesApi) -> None:
    own = {"events": ["pre-upgrade"], "env": {"K": {"secretKeyRef": {"name": "key", "key": "k"}}}}
    release = Release("web", "shop", WORKLOAD, {"hookJobs": {"migrate": own}})
    (before,) = with_checksums(api, [release])
    assert "podAnnotations" not in before.values
    fake.objects[:] = [content("Secret", "key", "2")]
    (after,) = with_checksums(api, [release])
    assert before.values != after.values


def test_annotations_of_the_users_stay(api: KubernetesApi) -> None:
    found = annotations(api, {**READS, "podAnnotations": {"a": "b", "checksum/secrets": "mine"}})
    assert (found["a"], found["checksum/secrets"]) == ("b", "mine")


def test_other_charts_are_left_alone(api: KubernetesApi, tmp_path: Path) -> None:
    chart = make_chart(tmp_path / "chart")
    (chart / "Chart.yaml").write_text("apiVersion: v2\nname: theirs\nversion: 0.1.0\n")
    release = Release("web", "shop", chart, READS)
    assert with_checksums(api, [release]) == [release]


def test_a_release_is_outdated_and_says_why(fake: FakeKubernetes, api: KubernetesApi, tmp_path: Path) -> None:
    chart = make_chart(tmp_path / "chart")
    wanted = [Release("web", "shop", chart, READS)]
    (now,) = with_checksums(api, wanted)
    fake.objects += [helm_secret("web", chart, dict(now.values)), deployment("web")]
    assert survey(api, with_checksums(api, wanted))[0].state is State.CURRENT
    fake.objects[:] = [item for item in fake.objects if item["metadata"]["name"] != "files"]
    fake.objects.append(content("Secret", "files", "2"))
    (found,) = survey(api, with_checksums(api, wanted))
    assert found.state is State.OUTDATED
    assert found.reason == "content of Secrets or ConfigMaps that its pods read"
    more = Release("web", "shop", chart, {**READS, "podAnnotations": {"a": "b"}})
    assert survey(api, with_checksums(api, [more]))[0].reason == "values of podAnnotations"


def encoded(**data: str) -> dict[str, str]:
    return {key.replace("_", "-"): base64.b64encode(value.encode()).decode() for key, value in data.items()}


@pytest.mark.parametrize(
    ("data", "value", "expected"),
    [
        (None, "one", ""),
        ({}, "one", ""),
        (encoded(password="one"), "one", ""),
        (encoded(password="one"), "two", "one"),
        (encoded(password="two", password_earlier="one"), "three", "two\none"),
        # The right one is put back; a change that was never finished is not forgotten.
        (encoded(password="two", password_earlier="one"), "one", "two"),
        (encoded(password="two", password_earlier="one"), "two", "one"),
        (encoded(password="7", password_earlier="6\n5\n4\n3\n2\n1"), "8", "7\n6\n5\n4\n3"),
    ],
)
def test_earlier_values_are_kept(data: dict[str, str] | None, value: str, expected: str) -> None:
    assert earlier_values(data, "password", "password-earlier", value) == expected


def test_a_secret_without_the_key_for_earlier_values_is_made_anew(
    fake: FakeKubernetes, api: KubernetesApi, tmp_path: Path
) -> None:
    (tmp_path / "password").write_text("one\n")
    secret = WantedSecret("shop", "db", {"password": str(tmp_path / "password")}, {"password": "password-earlier"})
    fake.objects = [{**content("Secret", "db"), "data": encoded(password="one")}]
    assert secrets_to_apply(api, [secret]) == [secret]
    fake.objects[0]["data"] |= encoded(password_earlier="")
    assert secrets_to_apply(api, [secret]) == []
