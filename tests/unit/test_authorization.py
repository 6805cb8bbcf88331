# Copyright: cicd.sandbox contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whom API servers ask, what is refused of it before the first change, and the webhook's rules."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import jinja2
import pytest
import yaml
from ansible_collections.cicd.sandbox.plugins.module_utils.preflight.tenants import check_security
from checkout import REPOSITORY, load
from helm import run
from playbook_run import run_playbook

TEMPLATES = REPOSITORY / "roles/cluster/templates"
POLICIES = REPOSITORY / "roles/security/files/policies"
CONNECTION = "/etc/kubernetes/policy/authorization-webhook.yml"
HOURS = load(REPOSITORY / "roles/security/defaults/main.yml")["security_closed_hours"]


def rendered(name: str, **variables: Any) -> Any:
    templates = jinja2.Environment(trim_blocks=True, autoescape=jinja2.select_autoescape(default_for_string=False))
    templates.filters["to_json"] = json.dumps
    templates.filters["regex_replace"] = lambda text, pattern, new: re.sub(pattern, new, text)
    variables = {
        "sandbox_authorizers": ["Node", "Webhook", "RBAC"],
        "sandbox_webhook_failure_policy": "Deny",
        "sandbox_webhook_namespaces": ["dev", "prod"],
        "sandbox_webhook_port": 8181,
        "sandbox_webhook_client_directory": "/etc/kubernetes/pki/authorization",
        "__cluster_webhook_kubeconfig": CONNECTION,
        **variables,
    }
    return yaml.safe_load(templates.from_string((TEMPLATES / name).read_text()).render(variables))


def authorizers(**variables: Any) -> list[dict[str, Any]]:
    listed: list[dict[str, Any]] = rendered("kubernetes/authorization.yml.j2", **variables)["authorizers"]
    return listed


# --- what API servers are told ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "order", [["Node", "Webhook", "RBAC"], ["Node", "RBAC", "Webhook"], ["Node", "RBAC"]], ids=", ".join
)
def test_the_order_is_the_inventorys(order: list[str]) -> None:
    listed = authorizers(sandbox_authorizers=order)
    assert [item["type"] for item in listed] == order
    # An API server takes names of DNS, and no two of one name.
    names = [item["name"] for item in listed]
    assert all(re.fullmatch(r"[a-z0-9]([-.a-z0-9]*[a-z0-9])?", name) for name in names)
    assert len(set(names)) == len(names)
    assert [item["type"] for item in listed if "webhook" in item] == [name for name in order if name == "Webhook"]


def test_the_webhook_is_described_as_an_api_server_takes_it() -> None:
    (webhook,) = [item["webhook"] for item in authorizers() if "webhook" in item]
    assert webhook["connectionInfo"] == {"type": "KubeConfigFile", "kubeConfigFile": CONNECTION}
    assert (webhook["subjectAccessReviewVersion"], webhook["matchConditionSubjectAccessReviewVersion"]) == ("v1", "v1")
    assert 0 < int(webhook["timeout"].removesuffix("s")) <= 30
    assert webhook["failurePolicy"] == "Deny"
    assert set(webhook) == {
        *("connectionInfo", "subjectAccessReviewVersion", "matchConditionSubjectAccessReviewVersion", "timeout"),
        *("failurePolicy", "authorizedTTL", "unauthorizedTTL", "matchConditions"),
    }


def test_whoever_keeps_the_cluster_alive_never_waits_for_it() -> None:
    (webhook,) = [item["webhook"] for item in authorizers() if "webhook" in item]
    tenants = 'group in ["system:serviceaccounts:dev", "system:serviceaccounts:prod"]'
    assert [condition["expression"] for condition in webhook["matchConditions"]] == [
        "has(request.resourceAttributes)",
        f"!request.user.startsWith('system:') || request.groups.exists(group, {tenants})",
        "!('kubeadm:cluster-admins' in request.groups)",
    ]


def test_the_webhook_is_reached_on_the_loopback_by_certificates_of_its_own_authority() -> None:
    document = rendered("kubernetes/authorization-webhook.yml.j2")
    (cluster,), (user,) = document["clusters"], document["users"]
    assert cluster["cluster"]["server"] == "https://127.0.0.1:8181/"
    paths = [
        cluster["cluster"]["certificate-authority"],
        user["user"]["client-certificate"],
        user["user"]["client-key"],
    ]
    # Where kubeadm mounts what an API server reads.
    assert all(path.startswith("/etc/kubernetes/pki/") for path in paths)
    assert document["contexts"][0]["context"] == {"cluster": cluster["name"], "user": user["name"]}
    assert document["current-context"] == document["contexts"][0]["name"]


def test_nothing_is_restarted_for_another_order() -> None:
    """API servers read it again when it changes; a changed checksum would restart all of the control plane."""
    variables = load(REPOSITORY / "roles/cluster/vars/main/kubeadm.yml")
    restarted = " ".join(variables["__cluster_control_plane_paths"])
    assert "authorization" not in restarted
    written = [item["path"] for item in variables["__cluster_control_plane_files"]]
    # The configuration is read as soon as it is there.
    assert written.index("{{ __cluster_webhook_kubeconfig }}") < written.index("{{ __cluster_authorization }}")


# --- what is refused before the first change -------------------------------------------------------------------------


def findings(**values: Any) -> list[tuple[str, bool]]:
    tenants = [{"namespace": "prod"}]
    found = check_security({"security_tenants": tenants, **values}, lambda name: "all.yml", "dev-admin")
    return [(finding.text(), finding.warning) for finding in found]


@pytest.mark.parametrize("order", [["Node", "Webhook", "RBAC"], ["Node", "RBAC"], ["Webhook", "Node", "RBAC"]])
def test_orders_that_may_be_meant(order: list[str]) -> None:
    assert findings(security_authorizers=order) == []


@pytest.mark.parametrize(
    ("order", "words"),
    [
        (["Node", "Webhook"], "security_authorizers: RBAC is missing (all.yml). Nobody but members of system:masters"),
        (["Webhook", "RBAC"], "security_authorizers: Node is missing (all.yml)"),
        ([], "security_authorizers: RBAC is missing"),
        (["Node", "webhook", "RBAC"], "security_authorizers[1]: 'webhook' is nobody"),
        (["Node", "webhook", "RBAC"], "Did you mean Webhook?"),
        (["Node", "RBAC", "OPA"], "security_authorizers[2]: 'OPA' is nobody"),
        (["Node", "RBAC", "AlwaysAllow"], "It lets everybody do everything. Take it out."),
        (["AlwaysDeny", "Node", "RBAC"], "security_authorizers[0]: 'AlwaysDeny' is nobody"),
        (["Node", "ABAC", "RBAC"], "Write roles of RBAC instead."),
        (["Node", "RBAC", "Node"], "security_authorizers[2]: Node is asked twice"),
    ],
)
def test_orders_that_are_refused(order: list[str], words: str) -> None:
    found = findings(security_authorizers=order)
    assert words in " ".join(text for text, _ in found)
    assert not all(warning for _, warning in found)


def test_a_webhook_without_rules_to_come_first_is_a_warning() -> None:
    ((text, warning),) = findings(security_authorizers=["Node", "RBAC", "Webhook"])
    assert warning
    assert "Webhook comes after RBAC, whose yes ends the matter" in text


def test_a_warning_keeps_no_role_from_going_on(tmp_path: Path) -> None:
    (tmp_path / "play.yml").write_text(PLAYBOOK)
    for name in ("templates", "files"):
        (tmp_path / name).symlink_to(REPOSITORY / "roles/security" / name)
    values = {"sandbox_state_directory": str(tmp_path), "security_authorizers": ["Node", "RBAC", "Webhook"]}
    arguments = ["--inventory=inventories/dev", f"--extra-vars={json.dumps(values)}"]
    assert run_playbook(tmp_path / "play.yml", *arguments, fails=None).returncode == 0
    values["security_authorizers"] = ["Node", "Webhook"]
    arguments[1] = f"--extra-vars={json.dumps(values)}"
    assert "RBAC is missing" in run_playbook(tmp_path / "play.yml", *arguments, fails=None).text


def test_a_webhook_that_nobody_would_answer_is_refused() -> None:
    ((text, warning),) = findings(
        security_enabled=False, security_authorizers=["Node", "Webhook", "RBAC"], security_users=[{"name": "x y"}]
    )
    assert not warning
    assert "Webhook is asked, and security_enabled is false: nobody would answer" in text
    assert findings(security_enabled=False, security_authorizers=["Node", "RBAC"]) == []


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"namespaces": ["prd"]}, "security_closed_hours[0].namespaces: prd is no tenant's namespace"),
        ({"namespaces": []}, "security_closed_hours[0].namespaces: is empty"),
        ({"groups": []}, "security_closed_hours[0].groups: is empty"),
        ({"resources": ["Secrets"]}, "'Secrets' is no resource"),
        ({"from": "24:00"}, "security_closed_hours[0].from: '24:00' is no time of day"),
        # What YAML makes of 6:00 without quotes.
        ({"to": 360}, "security_closed_hours[0].to: '360' is no time of day"),
        ({"to": "22:00"}, "closes at 22:00 and opens at once"),
        ({"time_zone": "Berlin"}, "there is no time zone Berlin"),
    ],
)
def test_hours_that_are_refused(change: dict[str, Any], words: str) -> None:
    assert words in " ".join(text for text, _ in findings(security_closed_hours=[HOURS[0] | change]))


def test_the_roles_own_hours_are_taken() -> None:
    assert findings(security_closed_hours=HOURS) == []
    assert findings(security_closed_hours=[HOURS[0] | {"time_zone": "Europe/Berlin", "resources": ["pods/exec"]}]) == []


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"security_revoked_users": ["anna"]}, "anna is security_users[0], too"),
        ({"security_revoked_users": ["system:admin"]}, "system:admin is the cluster's own"),
        (
            {"security_revoked_users": ["berta"], "security_authorizers": ["Node", "RBAC"]},
            "is told to nobody, as API servers ask no webhook",
        ),
    ],
)
def test_revoked_users_that_are_refused(values: dict[str, Any], words: str) -> None:
    ((text, warning),) = findings(security_users=[{"name": "anna", "groups": ["developers"]}], **values)
    assert words in text
    assert not warning


def test_a_user_is_revoked_by_name() -> None:
    assert findings(security_revoked_users=["berta"], security_authorizers=["Node", "Webhook", "RBAC"]) == []


# --- what control planes have ----------------------------------------------------------------------------------------

PLAYBOOK = f"""
- hosts: localhost
  gather_facts: false
  tasks:
    - ansible.builtin.include_role: {{name: cicd.sandbox.security, tasks_from: refuse, public: true}}
    - ansible.builtin.include_vars: {REPOSITORY}/roles/security/vars/main.yml
    - cicd.sandbox.text_files:
        files: "{{{{ __security_rule_files + [__security_data_file, __security_unit_file] }}}}"
      check_mode: true
      diff: true
"""


def test_control_planes_have_the_rules_and_not_their_tests(tmp_path: Path) -> None:
    own = tmp_path / "no_jobs.rego"
    own.write_text('package authorization\n\ndeny contains "no" if attributes.resource == "jobs"\n')
    (tmp_path / "play.yml").write_text(PLAYBOOK)
    for name in ("templates", "files"):
        (tmp_path / name).symlink_to(REPOSITORY / "roles/security" / name)
    values = {
        "sandbox_state_directory": str(tmp_path),
        "security_policy_files": [str(own), str(tmp_path / "no_jobs_test.rego")],
        "security_revoked_users": ["berta"],
    }
    (tmp_path / "no_jobs_test.rego").write_text("package no_jobs_test\n")
    played = run_playbook(
        tmp_path / "play.yml", "--inventory=inventories/dev", f"--extra-vars={json.dumps(values)}", fails=None
    )
    assert played.returncode == 0, played.text
    written = {item["after_header"].partition(" ")[0]: item["after"] for item in played.results()[-1]["diff"]}
    rules = {path.name for path in POLICIES.glob("*.rego") if not path.name.endswith("_test.rego")} | {"no_jobs.rego"}
    assert set(written) == {
        *(f"/etc/opa/{name}" for name in rules),
        "/etc/opa/data.json",
        "/etc/systemd/system/opa.service",
    }
    assert written["/etc/opa/no_jobs.rego"] == own.read_text()
    data = json.loads(written["/etc/opa/data.json"])["security"]
    assert (data["closed_hours"], data["keep_namespaces_with_data"]) == (HOURS, True)
    assert data["revoked_users"] == ["berta"]
    unit = written["/etc/systemd/system/opa.service"]
    command = unit.partition("ExecStart=")[2].partition("Restart=")[0].replace("\\\n", " ").split()
    assert set(command) >= {"--addr=https://127.0.0.1:8181", "--authentication=tls", "--watch", "--skip-version-check"}
    assert {argument for argument in command if argument.endswith(".rego")} == {f"/etc/opa/{name}" for name in rules}


# --- the rules -------------------------------------------------------------------------------------------------------


def test_rules_are_strict_and_formatted() -> None:
    run("opa", "check", "--strict", str(POLICIES))
    assert run("opa", "fmt", "--list", str(POLICIES)) == ""


def test_rules_hold() -> None:
    results = json.loads(run("opa", "test", "--format=json", str(POLICIES)))
    failed = [item["name"] for item in results if item.get("fail") or item.get("error")]
    assert failed == []
    assert len(results) > 15


def test_rules_refuse_and_never_allow() -> None:
    """A yes of the webhook's would end the matter before RBAC is asked."""
    for path in POLICIES.glob("*.rego"):
        assert not re.search(r'"allowed": *true', path.read_text()), path.name
