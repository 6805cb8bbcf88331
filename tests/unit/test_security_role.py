# Copyright: cicd.sandbox contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the role security asks for, what it refuses, and what its charts make of it."""

from __future__ import annotations

import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.cicd.sandbox.plugins.module_utils.preflight.tenants import check_security, quantity
from checkout import REPOSITORY, load
from helm import only, render
from playbook_run import PlaybookRun, run_playbook

TENANT, ACCESS = (REPOSITORY / f"charts/{name}" for name in ("tenant", "access"))
DEFAULTS = load(REPOSITORY / "roles/security/defaults/main.yml")
PLAYBOOK = f"""
- hosts: localhost
  gather_facts: false
  tasks:
    - ansible.builtin.include_role: {{name: cicd.sandbox.security, tasks_from: refuse, public: true}}
    - ansible.builtin.include_vars: {REPOSITORY}/roles/security/vars/main.yml
    - ansible.builtin.debug:
        msg: "{{{{ __security_releases }}}}"
"""
SHOP: dict[str, Any] = {
    "namespace": "shop",
    "quota": {"requests.cpu": "2", "limits.memory": "4Gi", "pods": 10},
    "default_requests": {"cpu": "50m"},
    "default_limits": {"memory": "256Mi"},
    "max_limits": {"memory": "1Gi"},
}


def play(directory: Path, **variables: Any) -> PlaybookRun:
    (directory / "play.yml").write_text(PLAYBOOK)
    (directory / "templates").symlink_to(REPOSITORY / "roles/security/templates")
    values = {"sandbox_state_directory": str(directory), **variables}
    arguments = ["--inventory=inventories/dev", f"--extra-vars={json.dumps(values)}"]
    return run_playbook(directory / "play.yml", *arguments, fails=None)


def findings(**values: Any) -> list[str]:
    found = check_security({"security_tenants": [SHOP], **values}, lambda name: f"all.yml:{len(name)}", "dev-admin")
    return [finding.text() for finding in found]


def shop(**changes: Any) -> list[str]:
    return findings(security_tenants=[SHOP | changes])


# --- tenants ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("2", 2),
        (2, 2),
        (0.5, Decimal("0.5")),
        ("500m", Decimal("0.5")),
        ("1Gi", 2**30),
        ("1.5Gi", 3 * 2**29),
        ("1e3", 1000),
        ("2E3", 2000),
        ("2E", 2 * 10**18),
        ("0", 0),
        *(
            (text, None)
            for text in ("", "-1", "1GB", "1gi", "1 Gi", "Gi", "1K", "NaN", "1e99999", "two", True, None, [])
        ),
    ],
)
def test_quantities_are_those_of_kubernetes(text: object, value: Decimal | None) -> None:
    assert quantity(text) == value


def test_a_sound_tenant_is_taken() -> None:
    assert findings() == []
    others = {"count/deployments.apps": 3, "fast.storageclass.storage.k8s.io/requests.storage": "1Gi"}
    assert shop(quota=SHOP["quota"] | others | {"requests.nvidia.com/gpu": 1, "limits.hugepages-2Mi": "4Mi"}) == []


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"namespace": "Shop"}, "[0].namespace: 'Shop' is no name of a namespace"),
        ({"namespace": "kube-system"}, "kube-system is a namespace of the cluster's own"),
        ({"namespace": "istio-system"}, "istio-system is a namespace of the cluster's own"),
        ({"quota": {"pods": "many"}}, "[0].quota.pods: 'many' is no quantity"),
        ({"quota": {"pods": -1}}, "[0].quota.pods: -1 is no quantity"),
        (
            {"quota": {"request.cpu": 1}},
            "[0].quota.request.cpu: is no resource that can be limited here (all.yml:16). Did",
        ),
        ({"quota": {"request.cpu": 1}}, "Did you mean requests.cpu?"),
        ({"max_limits": {"memory": "1GB"}}, "[0].max_limits.memory: '1GB' is no quantity"),
        ({"max_limits": {"pods": 1}}, "[0].max_limits.pods: is no resource"),
        ({"max_limits": {"memory": "128Mi"}}, "memory of default_limits is more than that of max_limits"),
        (
            {"default_requests": {"cpu": 1, "memory": "512Mi"}},
            "memory of default_requests is more than that of default_limits",
        ),
        (
            {"default_requests": {"cpu": 2}, "max_limits": {"cpu": "1900m"}},
            "cpu of default_requests is more than that of max_limits",
        ),
        (
            {"quota": {"requests.cpu": 5, "limits.cpu": 4}, "default_limits": {"cpu": 1}},
            "requests.cpu 5 is more than limits.cpu 4",
        ),
        ({"quota": {"limits.cpu": 4}}, "quota has limits.cpu, and default_limits has no cpu"),
        ({"quota": {"requests.cpu": "20m"}}, "cpu of default_requests is more than the quota's requests.cpu"),
    ],
)
def test_what_contradicts_itself_is_told_with_its_place(changes: dict[str, Any], words: str) -> None:
    (finding,) = shop(**changes)
    assert words in finding
    assert finding.startswith("security_tenants[0]")
    assert "(all.yml:16)" in finding


def test_two_tenants_have_two_namespaces() -> None:
    (finding,) = findings(security_tenants=[SHOP, SHOP])
    assert finding.startswith("security_tenants[1]: namespace shop is that of security_tenants[0], too (all.yml:16)")


def test_exceptions_have_a_tenant_and_a_reason() -> None:
    sound = {"namespace": "shop", "level": "baseline", "reason": "its proxy opens port 80"}
    assert findings(security_exceptions=[sound]) == []
    assert "reason: there is none for shop" in findings(security_exceptions=[sound | {"reason": " "}])[0]
    assert "shpo is no tenant's namespace" in findings(security_exceptions=[sound | {"namespace": "shpo"}])[0]
    assert "Did you mean shop?" in findings(security_exceptions=[sound | {"namespace": "shpo"}])[0]
    assert "namespace shop is that of" in findings(security_exceptions=[sound, sound])[0]


@pytest.mark.parametrize("value", ["dev", 3, None, [3], {"namespace": "dev"}, [{"namespace": "a", "quota": 3}]])
def test_what_is_of_a_wrong_type_is_left_to_the_specification(value: object) -> None:
    assert findings(security_tenants=value, security_exceptions=value if isinstance(value, str) else []) == []


def test_the_roles_own_tenants_are_sound_and_restricted(tmp_path: Path) -> None:
    run = play(tmp_path)
    assert run.returncode == 0, run.text
    tenants = {release["namespace"]: release for release in run.results()[-1]["msg"] if release["chart"] == "tenant"}
    assert list(tenants) == ["dev", "prod", "apps"]
    for name, release in tenants.items():
        # Role apps has releases namespace-<name>.
        assert release["name"] == f"tenant-{name}"
        labels = release["namespace_labels"]
        assert (labels["pod-security.kubernetes.io/enforce"], labels["cicd.sandbox/tenant"]) == ("restricted", name)
        assert release["values"]["exception"] == {}


def test_an_exception_is_enforced_and_listed(tmp_path: Path) -> None:
    exception = {"namespace": "shop", "level": "baseline", "reason": "its proxy opens port 80"}
    run = play(tmp_path, security_tenants=[SHOP], security_exceptions=[exception])
    assert run.returncode == 0, run.text
    (release,) = [release for release in run.results()[-1]["msg"] if release["chart"] == "tenant"]
    assert release["namespace_labels"]["pod-security.kubernetes.io/enforce"] == "baseline"
    listed = only(render(release["values"], chart=TENANT), "ConfigMap")
    assert listed["data"] == {"level": "baseline", "reason": "its proxy opens port 80"}
    assert listed["metadata"]["labels"]["cicd.sandbox/exception"] == "pod-security"


def test_a_run_refuses_before_its_first_change(tmp_path: Path) -> None:
    run = play(tmp_path, security_tenants=[SHOP | {"max_limits": {"memory": "64Mi"}}])
    assert run.returncode != 0
    message = run.results()[-1]["msg"]
    assert message.startswith("Nothing was changed. To put right:\n  - security_tenants[0]: memory of default_limits")


def test_preflight_tells_it_with_file_and_line(tmp_path: Path) -> None:
    inventory = tmp_path / "inventory"
    (inventory / "group_vars").mkdir(parents=True)
    (inventory / "hosts.yml").write_text("all: {hosts: {localhost: }}\n")
    variables = inventory / "group_vars/all.yml"
    variables.write_text(f"# Mine.\nsecurity_tenants: {json.dumps([SHOP | {'quota': {'pods': 'ten'}}])}\n")
    playbook = tmp_path / "play.yml"
    playbook.write_text(
        "- hosts: localhost\n  gather_facts: false\n  tasks:\n"
        "    - ansible.builtin.include_role: {name: cicd.sandbox.security, tasks_from: preflight}\n"
        "    - ansible.builtin.debug: {msg: '{{ security_findings | map(attribute=\"text\") }}'}\n"
    )
    run = run_playbook(playbook, "--inventory=inventories/dev", f"--inventory={inventory}")
    (finding,) = run.results()[-1]["msg"]
    assert finding.startswith(f"security_tenants[0].quota.pods: 'ten' is no quantity ({variables}:2). Write")


# --- users -----------------------------------------------------------------------------------------------------------

ANNA = {"name": "anna", "groups": ["developers"], "namespace": "shop"}
READS: dict[str, Any] = {"apiGroups": [""], "resources": ["pods"], "verbs": ["get"]}
BINDING: dict[str, Any] = {"group": "developers", "role": "reader", "namespaces": ["shop"]}


def rights(users: Any = (ANNA,), roles: Any = None, bindings: Any = (BINDING,), **more: Any) -> list[str]:
    return findings(
        security_users=list(users),
        security_roles={"reader": [READS]} if roles is None else roles,
        security_bindings=list(bindings),
        **more,
    )


def test_sound_users_are_taken() -> None:
    urls = {"nonResourceURLs": ["/metrics"], "verbs": ["get"]}
    bindings = [BINDING, BINDING | {"role": "view"}, {"group": "developers", "role": "urls"}]
    assert rights(roles={"reader": [READS], "urls": [urls]}, bindings=bindings, security_certificate_hours=24) == []
    admin = {"name": "dev-admin", "groups": ["administrators"]}
    assert rights([ANNA, admin], bindings=[BINDING, {"group": "administrators", "role": "cluster-admin"}]) == []


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"name": "system:admin"}, "security_users[0].name: 'system:admin' is no name of a user"),
        ({"name": "Anna"}, "'Anna' is no name of a user"),
        ({"groups": []}, "security_users[0].groups: anna is in no group"),
        ({"groups": ["system:masters"]}, "'system:masters' is no group for anna"),
        ({"namespace": "shpo"}, "shpo is no tenant's namespace"),
    ],
)
def test_users_that_the_cluster_would_refuse(changes: dict[str, Any], words: str) -> None:
    (finding,) = rights([ANNA | changes])
    assert words in finding
    assert "(all.yml:14)" in finding


def test_who_names_tenants_alone_need_not_name_users_and_rights() -> None:
    values = DEFAULTS | {"security_tenants": [SHOP], "security_users": DEFAULTS["security_users"][1:]}
    assert check_security(values, lambda name: "all.yml:1" if name == "security_tenants" else "") == []


def test_two_users_have_two_names() -> None:
    assert "security_users[1]: name anna is that of security_users[0], too" in rights([ANNA, ANNA])[0]


@pytest.mark.parametrize("hours", [0, 9000, "0"])
def test_certificates_live_hours_and_not_years(hours: Any) -> None:
    assert f"security_certificate_hours: is {hours}" in rights(security_certificate_hours=hours)[0]


@pytest.mark.parametrize(
    ("roles", "words"),
    [
        ({"reader": "all"}, "security_roles[reader]: is no list of rules"),
        ({"reader": [READS | {"verb": ["get"]}]}, "[0].verb: is nothing that a rule has"),
        ({"reader": [READS | {"verb": ["get"]}]}, "Did you mean verbs?"),
        ({"reader": [READS | {"verbs": []}]}, "security_roles[reader][0]: has no verbs"),
        ({"reader": [READS | {"verbs": "get"}]}, "[0].verbs: is no list of texts"),
        ({"reader": [READS | {"resources": []}]}, "has to have resources or else nonResourceURLs"),
        ({"reader": [{"resources": ["pods"], "verbs": ["get"]}]}, "has resources of no apiGroups"),
        ({"reader": [READS], "view": [READS]}, "view is a role that every cluster has"),
        ({"reader": [READS], "Re ader": [READS]}, "'Re ader' is no name of a role"),
    ],
)
def test_roles_that_the_cluster_would_refuse(roles: dict[str, Any], words: str) -> None:
    (finding,) = rights(roles=roles)
    assert words in finding


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"role": "raeder"}, "security_bindings[0].role: there is no role raeder (all.yml:17). Did you mean reader?"),
        ({"namespaces": ["shpo"]}, "[0].namespaces: shpo is no tenant's namespace"),
        ({"namespaces": ["kube-system"]}, "kube-system is no tenant's namespace"),
        ({"group": "system:authenticated"}, "'system:authenticated' is no group of users"),
        ({"namespaces": ["shop", "shop"]}, "developers has reader in shop by security_bindings[0], too"),
    ],
)
def test_bindings_that_lead_nowhere_or_come_twice(changes: dict[str, Any], words: str) -> None:
    (finding,) = rights(bindings=[BINDING | changes])
    assert words in finding


@pytest.mark.parametrize("role", ["cluster-admin", "all"])
def test_nobody_but_the_admin_is_the_clusters_admin(role: str) -> None:
    roles = {"reader": [READS], "all": [{"apiGroups": ["*"], "resources": ["*"], "verbs": ["*"]}]}
    (finding,) = rights(roles=roles, bindings=[BINDING, {"group": "developers", "role": role}])
    assert "security_bindings[1]: anna would be the cluster's admin, as members of developers" in finding
    assert rights(roles=roles, bindings=[BINDING, {"group": "developers", "role": role, "namespaces": ["shop"]}]) == []


@pytest.mark.parametrize(
    ("grant", "words"),
    [
        ({"app": "web app", "secrets": ["a"]}, "[0].pods[0].app: 'web app' is no value of a label"),
        ({"app": "web", "secrets": ["It's"]}, '[0].pods[0]: "It\'s" is no name of an object'),
        ({"app": "web"}, "[0].pods[0]: grants nothing"),
    ],
)
def test_what_pods_may_use_has_names(grant: dict[str, Any], words: str) -> None:
    (finding,) = shop(pods=[grant])
    assert words in finding
    assert shop(pods=[{"app": "web", "secrets": ["session"]}, {"service_accounts": ["web"]}]) == []


def matrix(**changes: Any) -> list[str]:
    entry = {"user": "anna", "namespaces": ["shop"], "can": ["get pods"], "cannot": [["get secrets"]]} | changes
    return rights(security_matrix=[entry])


def test_a_sound_matrix_is_taken() -> None:
    assert matrix() == []
    lines = ["patch deployments.apps/scale", "approve signers.certificates.k8s.io", "* *", "get *.*"]
    assert matrix(user="admin", namespaces=["", "kube-system"], can=lines, cannot=[]) == []


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"user": "ana"}, "security_matrix[0].user: ana is none of security_users (all.yml:15). Did you mean anna?"),
        ({"namespaces": ["shpo"]}, "security_matrix[0].namespaces: shpo is no tenant's namespace"),
        ({"namespaces": []}, "security_matrix[0].namespaces: is empty"),
        ({"can": ["pods"]}, "security_matrix[0].can: 'pods' is no line of the matrix"),
        ({"can": ["get Pods"]}, "'get Pods' is no line of the matrix"),
        ({"cannot": [["gte secrets"]]}, "'gte secrets': there is no verb gte"),
        ({"cannot": ["get pods"]}, "security_matrix[0]: anna cannot get pods in shop, and can by security_matrix[0]"),
        ({"can": [], "cannot": []}, "security_matrix[0]: says nothing"),
    ],
)
def test_lines_that_name_nobody_or_say_yes_and_no(changes: dict[str, Any], words: str) -> None:
    (finding,) = matrix(**changes)
    assert words in finding


def test_the_roles_own_matrix_is_sound() -> None:
    own = load(REPOSITORY / "roles/security/files/matrix.yml")
    tenants = [SHOP | {"namespace": name} for name in ("dev", "prod", "apps")]
    users = [{"name": name, "groups": ["any"]} for name in ("dev-user", "viewer", "prod-user")]
    assert findings(security_tenants=tenants, security_users=users, security_matrix=own) == []


def test_the_roles_own_rights_are_those_of_the_tenants(tmp_path: Path) -> None:
    run = play(tmp_path)
    assert run.returncode == 0, run.text
    releases = {release["name"]: release for release in run.results()[-1]["msg"]}
    assert releases["access"]["values"]["bindings"] == [
        {"group": "administrators", "role": "cluster-admin"},
        {"group": "viewers", "role": "cluster-viewer"},
        {"group": "system:scanner", "role": "scanner"},
        # By it the authorization webhook looks which namespaces have data.
        {"group": "system:authorization-webhook", "role": "claims-viewer"},
    ]
    assert releases["tenant-dev"]["values"]["bindings"] == [
        {"group": "developers", "role": "view"},
        {"group": "developers", "role": "developer"},
        {"group": "viewers", "role": "view"},
    ]
    assert releases["tenant-apps"]["values"]["bindings"] == [{"group": "viewers", "role": "view"}]
    access = render(releases["access"]["values"], chart=ACCESS)
    assert only(access, "ClusterRole", "operator")["rules"] == DEFAULTS["security_roles"]["operator"]
    bound = only(access, "ClusterRoleBinding", "administrators-cluster-admin")
    assert bound["subjects"] == [{"apiGroup": "rbac.authorization.k8s.io", "kind": "Group", "name": "administrators"}]
    binding = only(render(releases["tenant-dev"]["values"], chart=TENANT), "RoleBinding", "developers-developer")
    assert binding["roleRef"] == {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "developer"}


def test_no_role_of_users_reads_secrets_runs_commands_or_makes_tokens() -> None:
    secret = {
        "secrets",
        "pods/exec",
        "pods/attach",
        "pods/ephemeralcontainers",
        "serviceaccounts/token",
        "nodes/proxy",
        "*",
    }
    for name, rules in DEFAULTS["security_roles"].items():
        for rule in rules:
            assert not secret & set(rule["resources"]), name
            assert not {"*", "impersonate", "bind", "escalate"} & set(rule["verbs"]), name


# --- charts ----------------------------------------------------------------------------------------------------------


def test_the_chart_limits_the_namespace_and_each_container() -> None:
    values = {
        "quota": {"requests.cpu": 2, "pods": "10"},
        "limits": {"default": {"memory": "256Mi"}, "max": {"memory": "1Gi"}, "defaultRequest": {}},
    }
    documents = render(values, chart=TENANT)
    quota, limits = only(documents, "ResourceQuota"), only(documents, "LimitRange")
    assert quota["spec"]["hard"] == {"requests.cpu": "2", "pods": "10"}
    assert limits["spec"]["limits"] == [
        {"type": "Container", "default": {"memory": "256Mi"}, "max": {"memory": "1Gi"}},
    ]
    assert {item["metadata"]["namespace"] for item in (quota, limits)} == {"shop"}


def test_the_chart_keeps_other_tenants_out_unless_it_is_told() -> None:
    policy = only(render({}, chart=TENANT), "NetworkPolicy")
    assert policy["spec"]["ingress"] == [
        {
            "from": [
                {"podSelector": {}},
                {
                    "namespaceSelector": {
                        "matchExpressions": [{"key": "cicd.sandbox/tenant", "operator": "DoesNotExist"}]
                    }
                },
            ]
        }
    ]
    kinds = [item["kind"] for item in render({"isolated": False}, chart=TENANT)]
    assert kinds == ["ValidatingAdmissionPolicy", "ValidatingAdmissionPolicyBinding"]


def test_the_chart_grants_secrets_by_app() -> None:
    pods = [
        {"secrets": ["shared"], "service_accounts": ["web", "jobs"]},
        {"app": "web", "secrets": ["session", "tls"]},
    ]
    documents = render({"pods": pods, "tenants": ["dev", "shop"]}, chart=TENANT)
    policy = only(documents, "ValidatingAdmissionPolicy")["spec"]
    variables = {item["name"]: item["expression"] for item in policy["variables"]}
    assert variables["granted"] == "[''] + ['shared'] + (variables.app == 'web' ? ['session','tls'] : [])"
    assert variables["accounts"] == "['default'] + ['web','jobs'] + (variables.app == 'web' ? [] : [])"
    assert policy["matchConstraints"]["namespaceSelector"] == {"matchLabels": {"kubernetes.io/metadata.name": "shop"}}
    assert policy["failurePolicy"] == "Fail"
    assert policy["matchConditions"][0]["expression"].endswith("in ['dev','shop']")
    binding = only(documents, "ValidatingAdmissionPolicyBinding")["spec"]
    assert binding["validationActions"] == ["Deny"]
