# Copyright: cicd.sandbox contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tokens of the standing sandbox's pods: whose they are, for whom, until when, and what ends them."""

from __future__ import annotations

import base64
import json
import secrets
import ssl
import urllib.error
import urllib.request
from collections.abc import Iterator
from typing import Any, NamedTuple

import pytest
import yaml
from live_cluster import KUBECONFIG, Object, apply, get, kubectl, on, ready, sleeper, standing, until

NAMESPACE = f"tokens-{secrets.token_hex(3)}"
ISSUER = "https://kubernetes.default.svc.cluster.local"
CLUSTER = yaml.safe_load(KUBECONFIG.read_text())["clusters"][0]["cluster"]
REVIEW = {"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"}


def claims(token: str) -> dict[str, Any]:
    """What a token says of itself."""
    part = token.split(".")[1]
    said: dict[str, Any] = json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))
    return said


def known_as(token: str) -> str:
    """Who the API server takes the bearer of a token for; "" for nobody."""
    context = ssl.create_default_context(cadata=base64.b64decode(CLUSTER["certificate-authority-data"]).decode())
    request = urllib.request.Request(
        f"{CLUSTER['server']}/apis/authentication.k8s.io/v1/selfsubjectreviews",
        json.dumps(REVIEW).encode(),
        {"Authorization": f"Bearer {token}", "Content-Type": "application/json"},
    )
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=context))
    try:
        with opener.open(request, timeout=20) as answer:
            name: str = json.load(answer)["status"]["userInfo"]["username"]
    except urllib.error.HTTPError as error:
        if error.code != 401:
            raise
        return ""
    return name


def mounted(pod: Object, volume: str, file: str = "token") -> str:
    """The token that a kubelet has put in a pod, read on its node."""
    kept = f"/var/lib/kubelet/pods/{pod['metadata']['uid']}/volumes/kubernetes.io~projected/{volume}/{file}"
    # Where a host protects links in directories that all may write to, root follows none of the pod's user's.
    return on(pod["spec"]["nodeName"], f'cat "$(readlink -f {kept})"')


class Pod(NamedTuple):
    """A pod of the tests', with a token for the API server and one for somebody else."""

    described: Object
    own: str
    elsewhere: str


@pytest.fixture
def pod() -> Iterator[Pod]:
    account, described = sleeper("asks", NAMESPACE)
    (container,) = described["spec"]["containers"]
    container["volumeMounts"] = [{"name": name, "mountPath": f"/tokens/{name}"} for name in ("own", "elsewhere")]
    described["spec"]["volumes"] = [
        {"name": name, "projected": {"sources": [{"serviceAccountToken": {"path": "token", **asked}}]}}
        for name, asked in {
            "own": {"expirationSeconds": 600},
            "elsewhere": {"expirationSeconds": 600, "audience": "elsewhere"},
        }.items()
    ]
    with standing({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}}):
        apply(account, described)
        ready(NAMESPACE, "asks")
        found = get("pod", "asks", f"--namespace={NAMESPACE}")
        yield Pod(found, mounted(found, "own"), mounted(found, "elsewhere"))


def test_a_token_ends_with_its_pod_and_is_for_nobody_else(pod: Pod) -> None:
    said = claims(pod.own)
    bound = said["kubernetes.io"]
    assert said["aud"] == [ISSUER]
    assert 0 < said["exp"] - said["iat"] <= 600
    assert bound["pod"] == {key: pod.described["metadata"][key] for key in ("name", "uid")}
    assert bound["node"]["name"] == pod.described["spec"]["nodeName"]
    assert known_as(pod.own) == f"system:serviceaccount:{NAMESPACE}:asks"
    # One for somebody else is none for the API server.
    assert claims(pod.elsewhere)["aud"] == ["elsewhere"]
    assert known_as(pod.elsewhere) == ""
    kubectl("delete", "pod", "asks", f"--namespace={NAMESPACE}", "--grace-period=0")
    # An answer about a token is kept for ten seconds.
    assert until(lambda: known_as(pod.own) == "", 60)


def test_no_secret_is_a_token_but_one_that_no_kubelet_renews() -> None:
    kind = "--field-selector=type=kubernetes.io/service-account-token"
    # Whoever renews the pages' certificate is on the infra host, and may change one Secret.
    assert kubectl("get", "secrets", "--all-namespaces", kind, "--output=name") == "secret/sandbox-pages-renewer"


def tokens(pod: Object) -> dict[str, Object]:
    """The projected tokens of a pod, by their volumes."""
    return {
        volume["name"]: source["serviceAccountToken"]
        for volume in pod["spec"].get("volumes", [])
        for source in volume.get("projected", {}).get("sources", [])
        if "serviceAccountToken" in source
    }


@pytest.mark.trial
def test_who_watches_has_a_token_of_an_hour_and_others_have_none() -> None:
    pods = get("pods", "--namespace=observability")["items"]
    of_the_api = {
        pod["metadata"]["name"]: name for pod in pods for name, token in tokens(pod).items() if "audience" not in token
    }
    # None is there because nobody said that it is not wanted.
    assert not [name for name in of_the_api.values() if name.startswith("kube-api-access")]
    assert {"prometheus-0", "collector-0"} <= set(of_the_api)
    assert not [name for name in of_the_api if name.startswith(("perses", "victorialogs", "jaeger"))]
    (prometheus,) = [pod for pod in pods if pod["metadata"]["name"] == "prometheus-0"]
    said = claims(mounted(prometheus, of_the_api["prometheus-0"]))
    assert said["aud"] == [ISSUER]
    assert 0 < said["exp"] - said["iat"] <= 3600
    assert said["kubernetes.io"]["pod"]["name"] == "prometheus-0"


@pytest.mark.trial
def test_the_applications_pods_have_none_for_the_api_server() -> None:
    for pod in get("pods", "--namespace=apps")["items"]:
        found = tokens(pod)
        # The proxy of the mesh shows its own to istiod.
        assert {token.get("audience") for token in found.values()} <= {"istio-ca"}, pod["metadata"]["name"]
