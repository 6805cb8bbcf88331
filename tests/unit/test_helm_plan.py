# Copyright: cicd.sandbox contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What has to be done for releases, known from Helm's own records in a pretended API."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from ansible_collections.cicd.sandbox.plugins.module_utils.helm.plan import (
    PlanError,
    Release,
    State,
    check_order,
    settled,
    survey,
)
from ansible_collections.cicd.sandbox.plugins.module_utils.helm.records import (
    RecordError,
    Revision,
    decode,
    targets,
)
from ansible_collections.cicd.sandbox.plugins.module_utils.kubernetes.api import KubernetesApi, Target
from helm_records import deployment, helm_secret, make_chart
from local_server import FakeKubernetes, serving_kubernetes


@pytest.fixture
def chart(tmp_path: Path) -> Path:
    return make_chart(tmp_path / "chart")


@pytest.fixture
def fake(chart: Path) -> FakeKubernetes:
    """A cluster in which release `web` is what is wanted."""
    return FakeKubernetes([helm_secret("web", chart, {"replicas": 2}), deployment("web")])


@pytest.fixture
def api(fake: FakeKubernetes, tmp_path: Path) -> Iterator[KubernetesApi]:
    with serving_kubernetes(fake, tmp_path / "kubeconfig"):
        yield KubernetesApi(str(tmp_path / "kubeconfig"))


@pytest.fixture
def web(chart: Path) -> Release:
    return Release("web", "shop", chart, {"replicas": 2})


def test_a_release_that_is_as_described_is_current(api: KubernetesApi, web: Release) -> None:
    (found,) = survey(api, [web])
    assert (found.state, found.reason) == (State.CURRENT, "")
    assert [str(target) for target in found.workloads] == ["Deployment shop/web"]
    assert settled(api, [found])


def test_one_look_serves_all_releases(fake: FakeKubernetes, chart: Path, tmp_path: Path) -> None:
    names = [f"web-{number}" for number in range(20)]
    fake.objects = [item for name in names for item in (helm_secret(name, chart), deployment(name))]
    with serving_kubernetes(fake, tmp_path / "config") as server:
        found = survey(KubernetesApi(str(tmp_path / "config")), [Release(name, "shop", chart) for name in names])
        assert {one.state for one in found} == {State.CURRENT}
        # Discovery of two API versions, the records, the Deployments.
        assert len(server.received) == 4


def test_a_release_that_nobody_installed_is_absent(api: KubernetesApi, chart: Path) -> None:
    # Another one of that name lives elsewhere.
    (found,) = survey(api, [Release("web", "other", chart)])
    assert (found.state, list(found.workloads)) == (State.ABSENT, [])


@pytest.mark.parametrize(
    ("file", "content", "reason"),
    [
        ("templates/deployment.yaml", "kind: StatefulSet\n", "templates/deployment.yaml of the chart"),
        ("templates/service.yaml", "kind: Service\n", "templates/service.yaml of the chart"),
        ("values.yaml", "replicas: 3\n", "values.yaml of the chart"),
        ("Chart.yaml", "name: workload\nversion: 0.2.0\n", "chart 0.1.0 → 0.2.0"),
        ("Chart.yaml", "name: workload\nversion: 0.1.0\nappVersion: '3'\n", "appVersion of the chart"),
    ],
)
def test_a_changed_chart_is_seen_under_one_version_too(
    api: KubernetesApi, web: Release, file: str, content: str, reason: str
) -> None:
    (web.chart / file).write_text(content)
    (found,) = survey(api, [web])
    assert (found.state, found.reason) == (State.OUTDATED, reason)


def test_changed_values_are_named(api: KubernetesApi, chart: Path) -> None:
    (found,) = survey(api, [Release("web", "shop", chart, {"replicas": 3, "image": {"tag": "1"}})])
    assert (found.state, found.reason) == (State.OUTDATED, "values of image, replicas")
    assert found.diff()["before"] == "# chart 0.1.0\nreplicas: 2\n"
    assert found.diff()["after"] == "# chart 0.1.0\nimage:\n  tag: '1'\nreplicas: 3\n"


def test_an_object_that_somebody_removed_is_missed(fake: FakeKubernetes, api: KubernetesApi, web: Release) -> None:
    fake.objects.pop()
    (found,) = survey(api, [web])
    assert (found.state, found.reason) == (State.INCOMPLETE, "Deployment shop/web is missing")


def test_a_kind_that_nobody_serves_any_more_is_missed(fake: FakeKubernetes, api: KubernetesApi, web: Release) -> None:
    gone = "apiVersion: example.org/v1\nkind: Gone\nmetadata: {name: web}\n"
    fake.objects = [helm_secret("web", web.chart, {"replicas": 2}, manifest=gone)]
    (found,) = survey(api, [web])
    assert (found.state, found.reason) == (State.INCOMPLETE, "Gone shop/web is missing")


def test_a_job_may_go_when_it_is_done(fake: FakeKubernetes, api: KubernetesApi, web: Release) -> None:
    job = "apiVersion: batch/v1\nkind: Job\nmetadata: {name: web}\n"
    fake.objects = [helm_secret("web", web.chart, {"replicas": 2}, manifest=job)]
    assert survey(api, [web])[0].state is State.CURRENT


@pytest.mark.parametrize("status", ["pending-install", "pending-upgrade", "pending-rollback", "failed"])
def test_an_attempt_that_did_not_end_is_told_with_its_record(
    fake: FakeKubernetes, api: KubernetesApi, web: Release, status: str
) -> None:
    fake.objects.append(helm_secret("web", web.chart, status=status, version=2))
    (found,) = survey(api, [web])
    assert (found.state, found.reason) == (State.UNFINISHED, f"revision 2 is {status}")
    assert [revision.definition()["metadata"]["name"] for revision in found.unfinished] == ["sh.helm.release.v1.web.v2"]


def test_the_last_revision_counts(fake: FakeKubernetes, api: KubernetesApi, web: Release) -> None:
    fake.objects[0]["metadata"]["labels"]["status"] = "superseded"
    fake.objects += [helm_secret("web", web.chart, {"replicas": 9}, version=number) for number in (2, 10)]
    fake.objects += [helm_secret("web", web.chart, {"replicas": 2}, version=11)]
    assert survey(api, [web])[0].state is State.CURRENT


def test_what_is_not_ready_is_not_settled(fake: FakeKubernetes, api: KubernetesApi, web: Release) -> None:
    fake.objects[1] = deployment("web", ready=False)
    found = survey(api, [web])
    assert found[0].state is State.CURRENT
    assert not settled(api, found)
    # Unless nobody waits for it.
    assert settled(api, survey(api, [Release(web.name, web.namespace, web.chart, web.values, wait=False)]))


def test_a_record_that_is_none_is_named() -> None:
    with pytest.raises(RecordError, match=r"Secret shop/sh\.web is no release of Helm's"):
        decode(Revision("shop", "web", 1, "deployed", "sh.web", "bm90IGd6aXA="))


def test_objects_of_a_manifest() -> None:
    manifest = """
apiVersion: v1
kind: List
items:
  - {apiVersion: v1, kind: ConfigMap, metadata: {name: one}}
---
# nothing
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: two, namespace: other}
"""
    assert targets(manifest, "shop") == [
        Target("ConfigMap", "v1", "shop", "one"),
        Target("Deployment", "apps/v1", "other", "two"),
    ]


def order(**after: list[str]) -> list[str]:
    return [release.name for release in check_order([Release(n, "x", Path(), after=a) for n, a in after.items()])]


def test_releases_stand_behind_what_they_come_after() -> None:
    assert order(web=["api"], api=["db", "cache"], db=[], cache=[]) == ["db", "cache", "api", "web"]


def test_contradicting_releases_are_refused() -> None:
    with pytest.raises(PlanError, match=r"web comes after dbb, .*; did you mean db"):
        order(web=["dbb"], db=[])
    with pytest.raises(PlanError, match="releases web, api wait for each other"):
        order(web=["api"], api=["web"], db=[])
    with pytest.raises(PlanError, match="release web is there twice"):
        check_order([Release("web", "a", Path()), Release("web", "b", Path())])
