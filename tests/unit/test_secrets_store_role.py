# Copyright: cicd.sandbox contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the role secrets_store asks for, what it refuses, and what becomes of it where there is no store."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from ansible_collections.cicd.sandbox.plugins.module_utils.preflight.store import Wanted, check_store
from checkout import REPOSITORY
from helm import only, render, try_run
from playbook_run import PlaybookRun, run_playbook

CHART = REPOSITORY / "charts/secrets"
# Without what has no meaning for a check, and without providers that the role does not know.
SCHEMAS = REPOSITORY / "tests/unit/fixtures/external_secrets"
RENDERING = f"""
- hosts: localhost
  gather_facts: false
  tasks:
    - ansible.builtin.include_role: {{name: cicd.sandbox.secrets_store, tasks_from: preflight, public: true}}
    - ansible.builtin.include_vars: {REPOSITORY}/roles/secrets_store/vars/main.yml
    - ansible.builtin.debug:
        msg:
          openbao: "{{{{ __secrets_store_openbao_releases }}}}"
          settings: "{{{{ __secrets_store_settings }}}}"
          releases: "{{{{ __secrets_store_releases }}}}"
          checks: "{{{{ __secrets_store_checks }}}}"
          brought: "{{{{ __secrets_store_all_releases }}}}"
"""
APPLICATIONS = """
- hosts: localhost
  gather_facts: false
  tasks:
    - ansible.builtin.include_role: {name: cicd.sandbox.apps, tasks_from: preflight, public: true}
    - ansible.builtin.debug:
        msg: "{{ dict(__apps_sample | map(attribute='name') | zip(secrets)) }}"
      vars:
        secrets: "{{ __apps_sample | map(attribute='secrets', default={}) }}"
"""
SITE = """
- hosts: localhost
  gather_facts: false
  tasks:
    - ansible.builtin.include_role: {name: cicd.sandbox.secrets_store}
"""
AWS = {"region": "eu-central-1", "account_role_arn": "arn:aws:iam::1:role/x"}
AZURE = {"vault_url": "https://x.vault.azure.net", "tenant_id": "t"}
GCP = {"project_id": "p", "service_account": "x@p.iam", "cluster_location": "europe-west3", "cluster_name": "c"}
OWN = {"namespace": "shop", "name": "database", "keys": {"password": {"keep_earlier": True}, "salt": {}}}


def play(folder: Path, text: str, **variables: Any) -> PlaybookRun:
    (folder / "play.yml").write_text(text)
    for name in ("templates", "files"):
        if not (folder / name).exists():
            (folder / name).symlink_to(REPOSITORY / "roles/secrets_store" / name)
    values = {"sandbox_state_directory": str(folder), **variables}
    return run_playbook(
        folder / "play.yml", "--inventory=inventories/dev", f"--extra-vars={json.dumps(values)}", fails=None
    )


def found(folder: Path, provider: str, **variables: Any) -> Any:
    # As the network is looked at by a run before.
    source = {"source": "build" if provider == "openbao" else "release"}
    (folder / "artifacts-source.json").write_text(json.dumps(source))
    run = play(folder, RENDERING, secrets_store_provider=provider, **variables)
    return run.results()[-1]["msg"]


def objects(release: dict[str, Any]) -> list[dict[str, Any]]:
    return render(release["values"], release["name"], f"--namespace={release['namespace']}", chart=CHART)


def strict(schema: Any) -> Any:
    """The schema, refusing keys that it does not name: the API server would drop them."""
    if isinstance(schema, list):
        return [strict(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    made = {key: strict(value) for key, value in schema.items()}
    if "properties" in schema and "additionalProperties" not in schema and schema.get("type") == "object":
        made["additionalProperties"] = False
    return made


def check(document: dict[str, Any]) -> None:
    schema = strict(json.loads((SCHEMAS / f"{document['kind'].lower()}-0.16.2.json").read_text()))
    schema["properties"]["metadata"] = {"type": "object"}
    jsonschema.validate(document, schema)


# --- no store ---------------------------------------------------------------------------------------------------------


def test_without_a_store_nothing_is_done(tmp_path: Path) -> None:
    run = play(tmp_path, SITE)
    assert run.returncode == 0, run.text
    assert run.stats["localhost"]["changed"] == 0
    # Its include alone, beside checks of arguments.
    done = [answer.task for answer in run.answers if not answer.result.get("skipped")]
    skipped = [answer.task for answer in run.answers if answer.result.get("skipped")]
    assert [task for task in done if "Validating arguments" not in task and "include_role" not in task] == []
    assert [task.rpartition(" : ")[2] for task in skipped] == ["Have the store, and Secrets made of it"]


@pytest.mark.parametrize(("variables", "made"), [({}, True), ({"secrets_store_provider": "openbao"}, False)])
def test_the_sample_applications_secrets_are_files_where_there_is_no_store(
    tmp_path: Path, variables: dict[str, Any], *, made: bool
) -> None:
    releases = play(tmp_path, APPLICATIONS, **variables).results()[-1]["msg"]
    password = {"password": {"length": 32, "keep_earlier": True}}
    wanted = {
        "postgresql": {"postgresql": password},
        "valkey": {"valkey": password},
        "business-logic": {"business-logic": {"secret-key": {"length": 64}}},
    }
    assert {name: secrets for name, secrets in releases.items() if secrets} == (wanted if made else {})


# --- OpenBao ----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def openbao(tmp_path_factory: pytest.TempPathFactory) -> Any:
    folder = tmp_path_factory.mktemp("openbao")
    (folder / "pki/openbao").mkdir(parents=True)
    (folder / "pki/openbao/ca.crt").write_text("a certificate")
    versions = {"versions": {"apps/postgresql": 3, "apps/valkey": 1, "apps/business-logic": 1, "shop/database": 2}}
    return found(folder, "openbao", secrets_store_secrets=[OWN], __secrets_store_kept=versions)


def test_openbao_is_restricted_keeps_its_data_and_has_a_token_of_its_pods_alone(openbao: Any) -> None:
    release = next(entry for entry in openbao["openbao"] if entry["name"] == "openbao")
    assert release["namespace_labels"] == {"pod-security.kubernetes.io/enforce": "restricted"}
    documents = render(release["values"], "openbao", "--namespace=openbao")
    stateful_set = only(documents, "StatefulSet")
    pod = stateful_set["spec"]["template"]["spec"]
    container = pod["containers"][0]
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["automountServiceAccountToken"] is False
    assert container["securityContext"]["readOnlyRootFilesystem"] is True
    assert container["command"] == ["/bin/bao"]
    assert "sealedcode" not in container["readinessProbe"]["httpGet"]["path"]
    assert [claim["metadata"]["name"] for claim in stateful_set["spec"]["volumeClaimTemplates"]] == ["data"]
    (token,) = [
        source["serviceAccountToken"]
        for volume in pod["volumes"]
        for source in volume.get("projected", {}).get("sources", [])
        if "serviceAccountToken" in source
    ]
    assert token["expirationSeconds"] == 3600
    configuration = json.loads(only(documents, "ConfigMap")["data"]["openbao.json"])
    assert configuration["audit"][0]["file"]["stdout"]["options"] == {"file_path": "stdout"}
    assert (
        configuration["storage"][0]["raft"]["path"]
        == container["volumeMounts"][[mount["name"] for mount in container["volumeMounts"]].index("data")]["mountPath"]
    )


def test_only_the_operator_of_external_secrets_reaches_openbao(openbao: Any) -> None:
    release = next(entry for entry in openbao["openbao"] if entry["name"] == "openbao")
    policy = only(render(release["values"], "openbao", "--namespace=openbao"), "NetworkPolicy")["spec"]
    (rule,) = policy["ingress"]
    (peer,) = rule["from"]
    assert peer["namespaceSelector"]["matchLabels"] == {"kubernetes.io/metadata.name": "external-secrets"}
    assert peer["podSelector"]["matchLabels"] == {"app.kubernetes.io/name": "external-secrets"}


def test_an_application_reads_its_own_secrets_by_a_bound_token(openbao: Any) -> None:
    settings = {entry["path"]: entry["data"] for entry in openbao["settings"]}
    for namespace in ("apps", "shop"):
        role = settings[f"auth/kubernetes/role/{namespace}"]
        assert role["bound_service_account_namespaces"] == [namespace]
        assert role["bound_service_account_names"] == ["secrets-store"]
        assert role["audience"] == "openbao"
        assert role["token_policies"] == [namespace]
        policy = settings[f"sys/policies/acl/{namespace}"]["policy"]
        paths = [line.split('"')[1] for line in policy.splitlines() if line.startswith("path")]
        assert paths == [f"secret/data/{namespace}/*", f"secret/metadata/{namespace}/*"]
        assert "update" not in policy
    # Engines and methods before what is in them.
    order = [entry["path"] for entry in openbao["settings"]]
    assert order.index("sys/auth/kubernetes") < order.index("auth/kubernetes/config")


def test_each_namespace_has_an_operator_that_sees_no_other(openbao: Any) -> None:
    operators = [entry for entry in openbao["releases"] if entry["chart"] == "external_secrets:chart"]
    assert [entry["values"]["scopedNamespace"] for entry in operators] == ["apps", "shop"]
    assert all(entry["values"]["scopedRBAC"] for entry in operators)
    # One policy for all of them.
    assert [len(entry["values"]["extraObjects"]) for entry in operators] == [1, 0]
    ports = [rule["ports"] for rule in operators[0]["values"]["extraObjects"][0]["spec"]["egress"]]
    assert [[entry["port"] for entry in rule] for rule in ports] == [[53, 53], [6443], [8200]]


def test_secrets_are_synced_in_their_version_and_outlive_the_store(openbao: Any) -> None:
    release = next(entry for entry in openbao["releases"] if entry["namespace"] == "apps")
    documents = objects(release)
    for document in documents:
        if document["kind"] != "ServiceAccount":
            check(document)
    secret = only(documents, "ExternalSecret", "postgresql")["spec"]
    assert secret["target"]["creationPolicy"] == "Orphan"
    assert secret["target"]["template"]["metadata"]["annotations"] == {"cicd.sandbox/version": "3"}
    assert secret["dataFrom"] == [{"extract": {"key": "apps/postgresql"}}]
    store = only(documents, "SecretStore")["spec"]["provider"]["vault"]
    assert store["auth"]["kubernetes"]["serviceAccountRef"] == {"name": "secrets-store", "audiences": ["openbao"]}
    assert store["caBundle"] == "YSBjZXJ0aWZpY2F0ZQ=="
    waited = {check_["name"]: check_["kubernetes"] for check_ in openbao["checks"]}
    assert waited["version of apps/postgresql"]["values"][0]["equals"] == "3"


def test_what_was_brought_is_taken_away_the_last_first(openbao: Any) -> None:
    made = {(entry["name"], entry["namespace"]) for entry in openbao["openbao"] + openbao["releases"]}
    brought = [(entry["name"], entry["namespace"]) for entry in openbao["brought"]]
    assert set(brought) == made
    assert brought.index(("secrets-store", "apps")) < brought.index(("external-secrets-apps", "external-secrets"))


# --- stores of others -------------------------------------------------------------------------------------------------


KEYS = {"access_key_id_file": "FILE", "secret_access_key_file": "FILE"}
OTHERS = [
    ("aws", AWS, "apps/postgresql"),
    (
        "aws",
        {"region": "r", "role_arn": "arn:aws:iam::1:role/y", "service": "ParameterStore", **KEYS},
        "apps/postgresql",
    ),
    ("azure", {**AZURE, "client_id": "i"}, "apps-postgresql"),
    ("azure", {**AZURE, "client_id_file": "FILE", "client_secret_file": "FILE"}, "apps-postgresql"),
    ("gcp", GCP, "apps-postgresql"),
    ("gcp", {"project_id": "p", "key_file": "FILE"}, "apps-postgresql"),
]


@pytest.fixture(scope="module")
def others(tmp_path_factory: pytest.TempPathFactory) -> list[list[dict[str, Any]]]:
    """The releases of each of OTHERS, in one run of a play for each."""
    folder = tmp_path_factory.mktemp("others")
    (folder / "credential").write_text("x")
    (folder / "artifacts-source.json").write_text('{"source": "release"}')
    plays = []
    for provider, values, _ in OTHERS:
        (one,) = yaml.safe_load(RENDERING)
        given = {name: value.replace("FILE", str(folder / "credential")) for name, value in values.items()}
        one["vars"] = {"secrets_store_provider": provider, f"secrets_store_{provider}": given}
        one["tasks"][-1]["ansible.builtin.debug"]["msg"] = "{{ __secrets_store_releases }}"
        plays.append(one)
    run = play(folder, yaml.safe_dump(plays))
    assert run.returncode == 0, run.text
    return [answer.result["msg"] for answer in run.answers if isinstance(answer.result.get("msg"), list)]


@pytest.mark.parametrize("number", range(len(OTHERS)), ids=[f"{entry[0]}-{'-'.join(entry[1])}" for entry in OTHERS])
def test_stores_of_others_are_as_their_definition_wants_them(others: list[list[dict[str, Any]]], number: int) -> None:
    _, values, key = OTHERS[number]
    release = next(entry for entry in others[number] if entry["namespace"] == "apps")
    documents = objects(release)
    for document in documents:
        if document["kind"] != "ServiceAccount":
            check(document)
    assert only(documents, "ExternalSecret", "postgresql")["spec"]["dataFrom"] == [{"extract": {"key": key}}]
    by_file = any(name.endswith("_file") for name in values)
    assert bool(release.get("secrets")) is by_file
    assert bool(only(documents, "ServiceAccount")["metadata"].get("annotations")) is not by_file
    # A Secret that the store refers to is one that the release has made.
    referred = set(yaml_values(only(documents, "SecretStore")["spec"], "key"))
    assert referred == set(release.get("secrets", {}).get("secrets-store", {}))


def yaml_values(node: Any, key: str) -> list[str]:
    if isinstance(node, list):
        return [value for item in node for value in yaml_values(item, key)]
    if not isinstance(node, dict):
        return []
    own = [str(node[key])] if key in node else []
    return own + [value for item in node.values() for value in yaml_values(item, key)]


# --- refusals ---------------------------------------------------------------------------------------------------------


SECRETS = [
    {"namespace": "apps", "name": "postgresql", "keys": {"password": {"keep_earlier": True}}},
    {"namespace": "apps", "name": "business-logic", "keys": {"secret-key": {}}},
]


def errors(provider: str, **changes: Any) -> list[str]:
    values = {"built": provider == "openbao", "secrets": SECRETS, **changes}
    return check_store(Wanted(provider, **values))


@pytest.mark.parametrize(
    ("provider", "changes", "said"),
    [
        ("aws", {"values": AWS, "built": True}, "Take artifacts_source: release"),
        ("aws", {"values": {**AWS, "region": ""}}, "secrets_store_aws has no region"),
        (
            "azure",
            {"values": AZURE},
            "says not as who the store is asked: either client_id_file and client_secret_file",
        ),
        ("gcp", {"values": {**GCP, "key_file": __file__}}, "says twice as who the store is asked"),
        (
            "gcp",
            {"values": {"project_id": "p", "key_file": "/nowhere/key.json"}},
            "key_file is /nowhere/key.json, which is no file of the controller",
        ),
        ("openbao", {"secrets": [*SECRETS, OWN, OWN]}, "shop/database is there more than once"),
        ("openbao", {"secrets": [*SECRETS, *SECRETS[:1]]}, "or is one of the sample application's"),
        ("openbao", {"secrets": [{**OWN, "name": "Data_base"}]}, "shop/Data_base is no name"),
        ("openbao", {"secrets": [{**OWN, "keys": {}}]}, "shop/database has no keys"),
        ("openbao", {"rotated": ["apps/postgres"]}, "no secret apps/postgres. Did you mean apps/postgresql?"),
        ("openbao", {"rotated": ["apps/business-logic"]}, "has no key with keep_earlier"),
        ("gcp", {"values": GCP, "rotated": ["apps/postgresql"]}, "secrets_store_provider is gcp: change it there"),
        ("openbao", {"refresh": "often"}, "secrets_store_refresh is often"),
        ("openbao", {"refresh": ""}, "secrets_store_refresh is ,"),
    ],
)
def test_what_can_not_be_had_is_told(provider: str, changes: dict[str, Any], said: str) -> None:
    (error,) = errors(provider, **changes)
    assert said in error


@pytest.mark.parametrize(
    ("provider", "changes"),
    [
        ("openbao", {"rotated": ["apps/postgresql"], "refresh": "1h30m"}),
        ("aws", {"values": AWS}),
        ("gcp", {"values": {"project_id": "p", "key_file": __file__}}),
    ],
)
def test_what_can_be_had_is_not_refused(provider: str, changes: dict[str, Any]) -> None:
    assert errors(provider, **changes) == []


def test_it_is_refused_before_the_first_change(tmp_path: Path) -> None:
    run = play(tmp_path, RENDERING, secrets_store_provider="aws", secrets_store_aws={"region": "r"})
    (failed,) = [answer for answer in run.answers if answer.failed]
    assert "Nothing was changed" in failed.result["msg"]
    assert "says not as who the store is asked" in failed.result["msg"]
    assert "Take artifacts_source: release" in failed.result["msg"]


def test_a_store_that_there_is_not_is_refused_with_those_there_are(tmp_path: Path) -> None:
    run = play(tmp_path, RENDERING, secrets_store_provider="vault")
    (failed,) = [answer for answer in run.answers if answer.failed]
    assert "Nothing was changed" in failed.result["msg"]
    assert "secrets_store_provider is vault, which is none of none, openbao, aws, azure, gcp" in failed.result["msg"]


def test_the_chart_refuses_two_stores_and_a_version_that_is_none() -> None:
    for values in (
        {"provider": {"vault": {}, "aws": {}}},
        {"secrets": [{"name": "x", "key": "y", "version": 0}]},
        {"refreshInterval": "often"},
    ):
        done = try_run("helm", "template", "store", str(CHART), "--values=-", values=values)
        assert done.returncode != 0, values


def test_the_store_is_kept_away_by_the_inventories_that_are_here() -> None:
    for inventory in ("dev", "prod"):
        for path in (REPOSITORY / "inventories" / inventory).rglob("*.yml"):
            settings = yaml.safe_load(path.read_text()) or {}
            assert "secrets_store_provider" not in settings, path
