# Copyright: cicd.sandbox contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a user's environment says of other clusters and of proxies does not reach the sandbox's own."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.cicd.sandbox.plugins.module_utils.artifacts.cache import Entry, Runner, Status
from ansible_collections.cicd.sandbox.plugins.module_utils.artifacts.catalogue import ImagePlan
from ansible_collections.cicd.sandbox.plugins.module_utils.artifacts.image import (
    Reference,
    npm_settings,
    pip_settings,
)
from ansible_collections.cicd.sandbox.plugins.module_utils.artifacts.packages import maven_proxies
from ansible_collections.cicd.sandbox.plugins.module_utils.artifacts.publish import Server as Registry
from ansible_collections.cicd.sandbox.plugins.module_utils.artifacts.publish import push_images
from ansible_collections.cicd.sandbox.plugins.module_utils.artifacts.store import Store
from ansible_collections.cicd.sandbox.plugins.module_utils.helm.plan import Release
from ansible_collections.cicd.sandbox.plugins.module_utils.helm.running import Helm
from ansible_collections.cicd.sandbox.plugins.module_utils.host.environment import for_downloads, for_own_hosts
from ansible_collections.cicd.sandbox.plugins.module_utils.kubernetes.api import KubernetesApi, Target
from ansible_collections.cicd.sandbox.plugins.module_utils.nspawn import debian_root
from checkout import REPOSITORY, files, load, relative
from local_server import Answer, FakeKubernetes, Received, Server, json_answer, serving, write_kubeconfig
from modules import run_module
from playbook_run import run_playbook

SPELLINGS = [name for upper in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY") for name in (upper, upper.lower())]


@pytest.fixture
def elsewhere() -> Iterator[Server]:
    """A server that nothing may be sent to."""
    with serving(lambda _request: Answer(403, b"you are wrong here")) as server:
        yield server
        assert [f"{request.method} {request.path}" for request in server.received] == []


@pytest.fixture
def hostile(elsewhere: Server, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """Have the environment of another project, whose cluster and proxy are the same server."""
    url = f"http://127.0.0.1:{elsewhere.port}"
    environment = dict.fromkeys(SPELLINGS, url)
    environment |= {"K8S_AUTH_HOST": url, "K8S_AUTH_API_KEY": "their-token", "K8S_AUTH_CONTEXT": "theirs"}
    environment |= {"K8S_AUTH_KUBECONFIG": "/nonexistent", "K8S_AUTH_USERNAME": "them", "K8S_AUTH_PASSWORD": "secret"}
    environment |= {"K8S_AUTH_VERIFY_SSL": "no", "K8S_AUTH_PROXY": url, "K8S_AUTH_IMPERSONATE_USER": "them"}
    environment |= {"HELM_KUBECONTEXT": "theirs", "HELM_DRIVER": "memory", "HELM_NAMESPACE": "theirs"}
    environment |= {"HELM_KUBEAPISERVER": url, "HELM_KUBETOKEN": "their-token", "KUBECONFIG": "/nonexistent"}
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    return environment


def program(path: Path) -> Path:
    """Make a program that writes its environment down."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text('#!/bin/sh\nenv >"$0.environment"\n')
    path.chmod(0o755)
    return path


def given(path: Path) -> set[str]:
    lines = path.with_name(f"{path.name}.environment").read_text().splitlines()
    return {line.partition("=")[0] for line in lines}


def test_own_api_server_is_asked_without_a_proxy(hostile: dict[str, str], tmp_path: Path) -> None:
    with serving(FakeKubernetes([]).answer) as server:
        write_kubeconfig(tmp_path / "kubeconfig", server.port)
        assert KubernetesApi(str(tmp_path / "kubeconfig")).objects(Target("Pod", "v1")) == []
    assert {request.headers["authorization"] for request in server.received} == {"Bearer t0k3n"}


def test_helm_and_skopeo_know_of_no_other_cluster_and_no_proxy(
    hostile: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    helm = program(tmp_path / "bin/helm")
    assert Helm(helm, tmp_path / "kubeconfig").apply(Release("web", "shop", tmp_path, {})) == ""
    skopeo = program(tmp_path / "bin/skopeo")
    monkeypatch.setenv("PATH", f"{skopeo.parent}:{os.environ['PATH']}")
    (tmp_path / "ca.crt").touch()
    registry = Registry("https://127.0.0.1:1", tmp_path / "ca.crt", "sandbox", "secret")
    entry = Entry(tmp_path / "cache", "images", "web", "1", "key")
    monkeypatch.setattr(Entry, "damage", lambda _entry, thorough: "")
    push_images(registry, [ImagePlan(Reference.parse("registry.sandbox.internal/web:1"), entry, own=True, make=None)])
    assert given(helm) & set(hostile) == given(skopeo) & set(hostile) == set()


def test_own_store_is_asked_without_a_proxy(hostile: dict[str, str]) -> None:
    with serving(lambda _request: Answer(200, b"0  etcd\n")) as server:
        assert Store(f"http://127.0.0.1:{server.port}", "etcd", "1").sums() == {"etcd": "0"}


class Cluster(FakeKubernetes):
    """Takes a namespace, and tells of none."""

    def answer(self, request: Received) -> Answer:
        kind = {"name": "namespaces", "singularName": "", "kind": "Namespace", "namespaced": False}
        known: dict[str, Any] = {
            "/version": {"major": "1", "minor": "37", "gitVersion": "v1.37.0"},
            "/api": {"kind": "APIVersions", "versions": ["v1"]},
            "/apis": {"kind": "APIGroupList", "groups": []},
            "/api/v1": {
                "kind": "APIResourceList",
                "groupVersion": "v1",
                "resources": [{**kind, "verbs": ["create", "get", "list", "patch"]}],
            },
        }
        if request.path.rstrip("/") in known:
            return json_answer(known[request.path.rstrip("/")])
        return json_answer(json.loads(request.body), 201) if request.method == "POST" else super().answer(request)


OBJECTS = """
- hosts: localhost
  gather_facts: false
  vars: {ansible_connection: local, ansible_python_interpreter: "{{ ansible_playbook_python }}"}
  tasks:
    - cicd.sandbox.cluster_objects:
        kubeconfig: "{{ playbook_dir }}/kubeconfig"
        definition: {apiVersion: v1, kind: Namespace, metadata: {name: shop}}
    - cicd.sandbox.cluster_objects_info:
        kubeconfig: "{{ playbook_dir }}/kubeconfig"
        kind: Namespace
        name: shop
"""


def test_modules_of_kubernetes_core_work_on_the_cluster_of_the_kubeconfig(
    hostile: dict[str, str], tmp_path: Path
) -> None:
    (tmp_path / "play.yml").write_text(OBJECTS)
    with serving(Cluster([]).answer) as server:
        write_kubeconfig(tmp_path / "kubeconfig", server.port)
        made, found = run_playbook(tmp_path / "play.yml").results()
    assert (made["changed"], made["result"]["metadata"]["name"], found["resources"]) == (True, "shop", [])
    assert {request.headers["authorization"] for request in server.received} == {"Bearer t0k3n"}
    assert not any(name.startswith("impersonate") for request in server.received for name in request.headers)


def tasks_of(path: Path) -> Iterator[dict[str, Any]]:
    """Give the tasks of a file, those in blocks as well."""
    found = load(path)
    waiting = list(found) if isinstance(found, list) else []
    while waiting:
        item = waiting.pop()
        if not isinstance(item, dict):
            continue
        yield item
        for part in ("block", "rescue", "always", "tasks", "pre_tasks", "post_tasks", "handlers"):
            waiting += item.get(part) or []


TASKS = [
    (relative(path), task)
    for path in files("roles/*/tasks/*.yml", "roles/*/handlers/*.yml", "playbooks/*.yml", "molecule/*.yml")
    for task in tasks_of(path)
]


def test_tasks_are_found() -> None:
    assert {"roles/release/tasks/prepare.yml", "roles/etcd/handlers/main.yml"} <= {path for path, _ in TASKS}


def test_no_task_has_a_module_that_the_environment_leads_to_other_clusters() -> None:
    wrong = [(path, name) for path, task in TASKS for name in task if name.startswith("kubernetes.core.")]
    assert wrong == []


def test_tasks_ask_own_addresses_without_a_proxy() -> None:
    asking = [(path, task[name]) for path, task in TASKS for name in task if name.endswith((".uri", ".get_url"))]
    assert asking
    assert [path for path, arguments in asking if arguments.get("use_proxy") is not False] == []


def test_kubeadm_runs_without_what_a_host_says_of_proxies_and_clusters() -> None:
    running = [
        (path, task)
        for path, task in TASKS
        if (task.get("ansible.builtin.command") or {}).get("argv", [""])[0] == "kubeadm"
    ]
    assert len(running) > 3
    wanted = "{{ sandbox_direct_environment }}"
    assert [path for path, task in running if task.get("environment") != wanted] == []
    emptied = load(REPOSITORY / "roles/sandbox/vars/main/environment.yml")["sandbox_direct_environment"]
    assert set(emptied) == {*SPELLINGS, "KUBECONFIG"}
    assert set(emptied.values()) == {""}


DOWNLOADS = ("artifacts_queue", "artifacts_source", "debian_root")


@pytest.mark.parametrize("module", DOWNLOADS)
def test_what_downloads_is_given_the_proxies(module: str) -> None:
    """Become drops them."""
    found = [(path, task) for path, task in TASKS if f"cicd.sandbox.{module}" in task]
    needing = [(path, task) for path, task in found if task[f"cicd.sandbox.{module}"].get("state") != "stopped"]
    assert needing
    assert [path for path, task in needing if not re.search("environment", task.get("environment", ""))] == []


@pytest.mark.parametrize(
    ("environment", "wanted"),
    [
        ({}, {}),
        ({"HTTPS_PROXY": "a"}, {"HTTPS_PROXY": "a", "https_proxy": "a"}),
        ({"https_proxy": "a", "HTTPS_PROXY": "b"}, {"HTTPS_PROXY": "a", "https_proxy": "a"}),
        (
            {"all_proxy": "a", "http_proxy": "b", "no_proxy": "c", "HOME": "/root"},
            {
                "HTTPS_PROXY": "a",
                "https_proxy": "a",
                "HTTP_PROXY": "b",
                "http_proxy": "b",
                "NO_PROXY": "c",
                "no_proxy": "c",
            },
        ),
    ],
)
def test_programs_that_download_find_proxies_in_the_spelling_they_know(
    environment: dict[str, str], wanted: dict[str, str]
) -> None:
    assert for_downloads(environment) == wanted


def test_builds_go_by_the_users_proxy(hostile: dict[str, str], tmp_path: Path) -> None:
    play = [
        {
            "hosts": "localhost",
            "gather_facts": False,
            "roles": ["cicd.sandbox.artifacts"],
            "tags": ["never"],
            "tasks": [
                {
                    "name": "Tell",
                    "ansible.builtin.debug": {"msg": "{{ __artifacts_environment }}"},
                    "tags": ["tell"],
                }
            ],
        }
    ]
    path = tmp_path / "play.yml"
    path.write_text(yaml.safe_dump(play))
    (told,) = [answer.result["msg"] for answer in run_playbook(path, "--tags=tell").answers if answer.task == "Tell"]
    assert {name: value for name, value in told.items() if "proxy" in name.lower()} == for_downloads(hostile)
    assert not set(told) & set(hostile) - set(for_downloads(hostile))


def test_the_rest_of_the_environment_stays() -> None:
    environment = {"PATH": "/bin", "HOME": "/root", "SSL_CERT_FILE": "/ca.crt"}
    assert for_own_hosts({**environment, "https_proxy": "a", "KUBECONFIG": "b", "K8S_AUTH_HOST": "c"}) == environment


@pytest.fixture
def private() -> Iterator[None]:
    """Have the umask of a careful user."""
    before = os.umask(0o077)
    yield
    os.umask(before)


@pytest.mark.usefixtures("private")
def test_what_modules_make_is_as_readable_as_it_has_to_be(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run_module("text_files", {"files": [{"path": str(tmp_path / "a/b"), "content": "c", "mode": "0644"}]}, capsys)
    assert [path.stat().st_mode & 0o777 for path in (tmp_path / "a", tmp_path / "a/b")] == [0o755, 0o644]


@pytest.mark.usefixtures("private")
def test_the_root_directory_of_machines_is_as_debian_has_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program(tmp_path / "bin/mmdebstrap").write_text(
        '#!/bin/sh\nfor word; do [ "${word#/}" = "$word" ] || mkdir "$word"; done\n'
    )
    monkeypatch.setenv("PATH", f"{tmp_path}/bin:{os.environ['PATH']}")
    root, made = debian_root.ensure(tmp_path / "cache", debian_root.Recipe("bookworm", ()))
    assert (made, root.stat().st_mode & 0o777) == (True, 0o755)


@pytest.mark.usefixtures("private")
def test_tools_of_builds_find_nothing_of_other_projects(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    foreign = {"PIP_USER": "1", "PIP_TARGET": "/nonexistent", "PYTHONPATH": "/nonexistent", "NPM_CONFIG_GLOBAL": "true"}
    foreign |= {"NODE_ENV": "production", "GIT_DIR": "/nonexistent", "GOFLAGS": "-mod=vendor", "GOROOT": "/nonexistent"}
    foreign |= {"TMPDIR": "/nonexistent", "LC_ALL": "xx_XX", "BASH_ENV": "/nonexistent"}
    users = {"PIP_INDEX_URL": "https://packages.example", "NPM_CONFIG_REGISTRY": "https://packages.example"}
    for name, value in {**foreign, **users}.items():
        monkeypatch.setenv(name, value)
    tool = program(tmp_path / "tool")
    entry = Entry(tmp_path / "cache", "tool", "1", "key")
    entry.log.parent.mkdir(parents=True)
    Runner(entry, Status.of(entry)).run([str(tool)])
    assert given(tool) & set(foreign) == {"PIP_USER", "LC_ALL"}
    assert given(tool) >= set(users)
    found = dict(line.split("=", 1) for line in tool.with_name("tool.environment").read_text().splitlines())
    assert (found["PIP_USER"], found["LC_ALL"]) == ("0", "C.UTF-8")
    assert tool.with_name("tool.environment").stat().st_mode & 0o777 == 0o644


def test_containers_are_not_told_where_the_host_installs() -> None:
    pip, _ = pip_settings("global.index-url='https://packages.example'\ninstall.user='true'\n:env:.target='/here'\n")
    npm, _ = npm_settings(["global = true\nprefix=/here\nregistry=https://packages.example\nomit=dev\n"], {})
    assert pip.splitlines()[1:] == ["index-url = https://packages.example"]
    assert npm.splitlines() == ["registry = https://packages.example"]


def test_maven_goes_by_the_proxy_as_well() -> None:
    assert maven_proxies({}) == []
    assert maven_proxies({"HTTPS_PROXY": "http://jo:secret@proxy.example:3128", "no_proxy": ".example, 10.0.0.1"}) == [
        "-Dhttps.proxyHost=proxy.example",
        "-Dhttps.proxyPort=3128",
        "-Dhttp.nonProxyHosts=*.example|10.0.0.1",
    ]
