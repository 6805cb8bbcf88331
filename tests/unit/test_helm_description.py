# Copyright: cicd.sandbox contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Releases as an inventory describes them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from ansible.errors import AnsibleFilterError
from ansible_collections.cicd.sandbox.plugins.filter.releases import releases
from checkout import REPOSITORY
from helm_records import make_chart

CHARTS = REPOSITORY / "charts"
PATHS = {"helm": "/cache/helm", "metrics_server": "/cache/metrics"}


def read(tmp_path: Path, *described: dict[str, Any], published: bool = True, **images: str) -> dict[str, Any]:
    paths = PATHS if published else {}
    return releases(described, str(CHARTS), str(tmp_path), str(tmp_path / "secrets"), paths, images)


def test_what_has_to_be_published_is_known_before_it_is(tmp_path: Path) -> None:
    found = read(
        tmp_path,
        {"name": "metrics", "namespace": "kube-system", "chart": "metrics_server:chart", "components": ["pause"]},
        {"name": "web", "namespace": "shop", "image": "front_end"},
        published=False,
    )
    assert found["components"] == ["helm", "metrics_server", "pause", "front_end"]
    assert "releases" not in found
    assert read(tmp_path)["components"] == []


def test_charts_are_found_where_they_are_said_to_be(tmp_path: Path) -> None:
    make_chart(tmp_path / "mine")
    found = read(
        tmp_path,
        {"name": "a", "namespace": "x", "chart": "metrics_server:chart"},
        {"name": "b", "namespace": "x"},
        {"name": "c", "namespace": "x", "chart": "./mine"},
        {"name": "d", "namespace": "x", "chart": str(tmp_path / "mine")},
    )
    charts = [release["chart"] for release in found["releases"]]
    assert charts == ["/cache/metrics/chart", str(CHARTS / "workload"), str(tmp_path / "mine"), str(tmp_path / "mine")]


@pytest.mark.parametrize(
    ("chart", "words"),
    [
        ("worklod", "release a: there is no chart worklod; there is workload, <component>:<folder>, or a path"),
        ("./none", "release a: chart ./none is not there: .*/none/Chart.yaml is missing"),
        ("prometheus:chart", "release a: chart prometheus:chart is of component prometheus, which has no files"),
    ],
)
def test_a_chart_that_is_not_there_is_named(tmp_path: Path, chart: str, words: str) -> None:
    with pytest.raises(AnsibleFilterError, match=words):
        read(tmp_path, {"name": "a", "namespace": "x", "chart": chart})


def test_the_tag_of_the_image_is_the_components(tmp_path: Path) -> None:
    own = {"name": "a", "namespace": "x", "image": "web", "values": {"image": {"repository": "r"}, "replicas": 2}}
    (release,) = read(tmp_path, own, web="1.2-abc")["releases"]
    assert release["values"] == {"image": {"tag": "1.2-abc", "repository": "r"}, "replicas": 2}
    own["values"] = {"image": {"tag": "pinned"}}
    assert read(tmp_path, own, web="1.2-abc")["releases"][0]["values"]["image"]["tag"] == "pinned"
    with pytest.raises(AnsibleFilterError, match="release a: component web has no image of its own"):
        read(tmp_path, own)


def test_values_go_over_those_of_all_releases_of_a_chart(tmp_path: Path) -> None:
    make_chart(tmp_path / "mine")
    described = [
        {"name": "a", "namespace": "x", "values": {"mesh": {"revision": "canary"}, "list": [2]}},
        {"name": "b", "namespace": "x", "chart": "./mine", "values": {"own": 1}},
    ]
    under = {"workload": {"mesh": {"revision": "", "namespace": "istio-system"}, "list": [1]}}
    found = releases(described, str(CHARTS), str(tmp_path), str(tmp_path / "secrets"), PATHS, {}, under)["releases"]
    assert [release["values"] for release in found] == [
        {"mesh": {"revision": "canary", "namespace": "istio-system"}, "list": [2]},
        {"own": 1},
    ]
    assert under["workload"]["mesh"] == {"revision": "", "namespace": "istio-system"}


def test_a_label_of_all_namespaces_gives_way_to_a_releases_own(tmp_path: Path) -> None:
    one = {"name": "a", "namespace": "x", "namespace_labels": {"istio.io/rev": "none"}}
    two = {"name": "b", "namespace": "y"}
    around = (str(CHARTS), str(tmp_path), str(tmp_path / "secrets"), {}, {}, {}, {"istio.io/rev": "default"})
    assert releases([one, two], *around)["namespaces"] == {
        "x": {"istio.io/rev": "none"},
        "y": {"istio.io/rev": "default"},
    }


def test_namespaces_have_the_labels_of_all_their_releases(tmp_path: Path) -> None:
    one = {"name": "a", "namespace": "x", "namespace_labels": {"team": "web", "strict": True}}
    two = {"name": "b", "namespace": "x"}
    assert read(tmp_path, one, two, {"name": "c", "namespace": "y"})["namespaces"] == {
        "x": {"team": "web", "strict": "True"},
        "y": {},
    }
    two["namespace_labels"] = {"team": "data"}
    with pytest.raises(AnsibleFilterError, match=r"release b: namespace x is to have the label team=data, and .* web"):
        read(tmp_path, one, two)


def test_secrets_are_made_of_files(tmp_path: Path) -> None:
    one = {"name": "a", "namespace": "x", "secrets": {"db": {"password": {}, "key": {"length": 64}}}}
    (secret,) = read(tmp_path, one)["secrets"]
    assert secret == {
        "namespace": "x",
        "name": "db",
        "files": {key: str(tmp_path / f"secrets/db-{key}") for key in ("password", "key")},
        "lengths": {"password": 32, "key": 64},
        "earlier": {},
    }
    with pytest.raises(AnsibleFilterError, match="release b: another release makes the Secret db, too"):
        read(tmp_path, one, {**one, "name": "b"})


def test_a_secret_may_be_of_a_file_that_is_there(tmp_path: Path) -> None:
    one = {"name": "a", "namespace": "x", "secrets": {"tls": {"ca.crt": {"file": "/pki/ca.crt"}, "password": {}}}}
    (secret,) = read(tmp_path, one)["secrets"]
    assert secret["files"] == {"ca.crt": "/pki/ca.crt", "password": str(tmp_path / "secrets/tls-password")}
    assert secret["lengths"] == {"password": 32}


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        (
            "name",
            "My_Shop",
            "release My_Shop: name is 'My_Shop'; it has to be of lower-case letters",
        ),
        ("name", None, "release number 1: name is None"),
        ("name", "x" * 54, "53 at most"),
        ("namespace", "", "release a: namespace is ''"),
        ("namespace", "-x", "release a: namespace is '-x'"),
    ],
)
def test_names_that_kubernetes_would_refuse_are_refused(
    tmp_path: Path, key: str, value: str | None, words: str
) -> None:
    with pytest.raises(AnsibleFilterError, match=words):
        read(tmp_path, {"name": "a", "namespace": "x", key: value})
