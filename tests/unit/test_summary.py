# Copyright: cicd.sandbox contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the summary says of an inventory: addresses, credentials, what was left out and why."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from checkout import REPOSITORY
from playbook_run import run_playbook

PLAYBOOK = f"""
- hosts: localhost
  gather_facts: false
  tasks:
    - ansible.builtin.include_role: {{name: cicd.sandbox.sandbox, public: true}}
    - ansible.builtin.include_vars: {REPOSITORY}/roles/summary/defaults/main.yml
    - ansible.builtin.include_vars: {REPOSITORY}/roles/summary/vars/main.yml
    - ansible.builtin.set_fact:
        __summary_machines: >-
          {{{{ [dict(name='infra-1', address='a', roles='infra', kubernetes='')] * groups['machines'] | length }}}}
        __summary_times: []
        sandbox_cluster:
          problem: ""
          pages:
            - name: website
              hosts: ["website.{{{{ sandbox_domain }}}}"]
              title: Sample application
              login: false
              text: Quotes.
              path: /
          page_problems: "{{{{ problems | default([]) }}}}"
    - ansible.builtin.debug:
        msg:
          links: "{{{{ __summary_links | map(attribute='url') }}}}"
          left_out: "{{{{ __summary_left_out }}}}"
          secrets: "{{{{ __summary_secrets }}}}"
          page: "{{{{ lookup('ansible.builtin.template', '{REPOSITORY}/roles/summary/templates/index.html.j2') }}}}"
          text: "{{{{ lookup('ansible.builtin.template', '{REPOSITORY}/roles/summary/templates/summary.txt.j2') }}}}"
"""


def summary(directory: Path, source: dict[str, str], inventory: str = "dev", **variables: Any) -> dict[str, Any]:
    """Say what the summary says where the network was found like this."""
    (directory / "artifacts-source.json").write_text(json.dumps(source))
    (directory / "play.yml").write_text(PLAYBOOK)
    (directory / "variables.yml").write_text(yaml.safe_dump(variables | {"sandbox_state_directory": str(directory)}))
    arguments = [f"--inventory=inventories/{inventory}", f"--extra-vars=@{directory}/variables.yml"]
    said: dict[str, Any] = run_playbook(directory / "play.yml", *arguments).results()[-1]["msg"]
    return said


def test_a_sandbox_of_official_releases_lacks_nothing(tmp_path: Path) -> None:
    said = summary(tmp_path, {"source": "release", "reason": "official releases can be had: they are used"})
    assert said["left_out"] == []
    assert "Nothing: no part was switched off" in said["page"]
    assert said["links"] == ["http://website.localhost:8080/", "http://sandbox.localhost:8080/"]
    assert "machines on this computer. <code>make down</code>" in said["page"]
    assert [row["what"] for row in said["secrets"]] == [
        "kubeconfig, context dev-admin@dev",
        "admin kubeconfig of this sandbox alone",
        "break-glass kubeconfig, for repairs alone",
        "image registry 198.18.0.2:5000, user sandbox",
        "dashboards, user admin",
        "SSH key of the machines, user root",
    ]


def test_what_was_built_is_not_upstreams(tmp_path: Path) -> None:
    reason = "no official releases from here (https://dl.k8s.io: refused): all is built from package registries"
    upstream, envoy = summary(tmp_path, {"source": "build", "reason": reason})["left_out"]
    assert upstream["name"] == "upstream's binaries and signatures"
    assert upstream["reason"].startswith(f"{reason}. ")
    assert envoy["name"] == "Istio's own Envoy"
    without = summary(tmp_path, {"source": "build", "reason": reason}, istio_enabled=False)["left_out"]
    assert [row["name"] for row in without] == [upstream["name"], "login of the pages"]


@pytest.mark.parametrize(
    ("variables", "reason"),
    [
        ({"observability_enabled": False}, "observability_enabled is false: there are no metrics"),
        ({"observability_kiali_enabled": False}, "observability_kiali_enabled is false"),
        # Nobody misses a look at a mesh that there is not.
        ({"observability_kiali_enabled": False, "istio_enabled": False}, ""),
    ],
)
def test_why_there_is_no_kiali(tmp_path: Path, variables: dict[str, Any], reason: str) -> None:
    rows = [row["reason"] for row in summary(tmp_path, {}, **variables)["left_out"] if row["name"] == "Kiali"]
    assert [row.startswith(reason) for row in rows] == ([True] if reason else [])


def test_what_is_switched_off_is_said_with_what_was_added(tmp_path: Path) -> None:
    mine = {"name": "my part", "reason": "I took it out"}
    page = {"name": "HTTPRoute shop/shop", "reason": "the page shop can't be reached"}
    said = summary(tmp_path, {}, cluster_local_path_enabled=False, summary_left_out=[mine], problems=[page])
    assert [row["name"] for row in said["left_out"]] == ["my part", "HTTPRoute shop/shop", "StorageClass local-path"]
    assert "left out: StorageClass local-path: cluster_local_path_enabled is false" in said["text"]


def test_hosts_of_yours_are_reached_at_their_own_names(tmp_path: Path) -> None:
    said = summary(tmp_path, {}, "prod", sandbox_domain="sandbox.lan")
    assert said["links"][0] == "http://website.sandbox.lan/"
    assert "machines on hosts of yours.</p>" in said["page"]
    assert next(row["what"] for row in said["secrets"]) == "kubeconfig, context production-admin@production"
    assert not [row for row in said["secrets"] if "SSH" in row["what"]]


def test_what_was_made_anew_for_security_updates_is_said(tmp_path: Path) -> None:
    base = "docker.io/library/debian:trixie-slim"
    said = summary(tmp_path, {}, machines_root={"refreshed": True}, artifacts_refreshed=[base])
    for name in ("root file system of the machines", base):
        assert f"made anew for security updates, older than 30 days: {name}" in said["text"]
    assert "made anew" not in summary(tmp_path, {})["text"]


def test_what_was_changed_on_this_computer_is_said(tmp_path: Path) -> None:
    settings, packages = tmp_path / "settings.json", tmp_path / "packages.json"
    files = {"sandbox_host_settings_file": str(settings), "sandbox_host_packages_file": str(packages)}
    untouched = summary(tmp_path, {}, **files)["text"]
    assert "on this computer until" not in untouched
    entry = {"before": "128", "set": "8192", "sandboxes": ["dev", "other"]}
    others = {"before": "0", "set": "1", "sandboxes": ["other"]}
    settings.write_text(json.dumps({"fs.inotify.max_user_instances": entry, "net.ipv4.ip_forward": others}))
    packages.write_text('["buildah", "skopeo"]')
    said = summary(tmp_path, {}, **files)["text"]
    assert "Changed on this computer until make down\n  fs.inotify.max_user_instances: 128 -> 8192\n" in said
    assert "ip_forward" not in said
    assert "Installed on this computer until make clean: buildah, skopeo\n" in said


def test_where_the_login_of_pages_is(tmp_path: Path) -> None:
    said = summary(tmp_path, {}, sandbox_landing_login=True, sandbox_pages_user="reader")
    (row,) = [row for row in said["secrets"] if row["what"] == "pages sandbox, user reader"]
    assert row["where"] == f"{tmp_path}/secrets/pages-password"


def test_how_the_last_scan_ended_is_on_the_page(tmp_path: Path) -> None:
    assert "Scans" not in summary(tmp_path, {})["page"]
    counts = dict.fromkeys(("critical", "high", "medium", "low", "info"), 0)
    runs = [
        {"at": "2026-11-29T10:00:00Z", "reports": {"trivy": {"passed": True, "counts": counts}}},
        {
            "at": "2026-11-30T10:00:00Z",
            "reports": {
                "trivy": {"passed": False, "counts": counts | {"high": 17}},
                "cis": {"passed": False, "counts": None},
            },
        },
    ]
    (tmp_path / "reports").mkdir()
    (tmp_path / "reports/history.json").write_text(json.dumps({"format": "x", "runs": runs}))
    page = summary(tmp_path, {})["page"]
    assert '<a href="reports/trivy.html">trivy</a></td><td class="bad">failed</td>' in page
    assert '<td class="number">17</td>' in page
    assert "since 2026-11-30T10:00:00Z" in page
    assert "Scans" not in summary(tmp_path, {}, sandbox_reports_published=False)["page"]
