# Copyright: cicd.sandbox contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Role `scan`, with programs that only pretend."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from checkout import REPOSITORY
from helm_records import helm_secret, make_chart
from local_server import FakeKubernetes, serving_kubernetes
from playbook_run import run_playbook

PLAYBOOK = """
- hosts: localhost
  gather_facts: false
  tasks:
    - ansible.builtin.include_role: {name: cicd.sandbox.scan}
"""
ISTIOCTL = """#!/bin/sh
printf '%s\\n' "$@" > "$0.arguments"
env > "$0.environment"
cat "$0.says"
exit 79
"""
BROKEN = {
    "code": "IST0101",
    "level": "Error",
    "message": "Referenced host not found: nobody.shop",
    "origin": "VirtualService shop/web",
    "reference": "shop.yaml:12",
}
OUTSIDE = {
    "code": "IST0102",
    "level": "Info",
    "message": "The namespace is not enabled for Istio injection.",
    "origin": "Namespace legacy",
}
ADVICE = {"code": "IST0103", "level": "Warning", "message": "The pod has no proxy.", "origin": "Pod shop/web-0"}


@pytest.fixture
def state(tmp_path: Path) -> Path:
    (tmp_path / "bin").mkdir()
    program = tmp_path / "bin/istioctl"
    program.write_text(ISTIOCTL)
    program.chmod(0o755)
    (tmp_path / "kubeconfig").write_text("{}")
    return tmp_path


def here(state: Path) -> dict[str, Any]:
    """Give variables that have this computer play the infra host, with a directory for its landing page."""
    return {
        "sandbox_state_directory": str(state),
        "sandbox_page_directory": str(state / "www"),
        "ansible_connection": "local",
        "ansible_become": False,
        "ansible_python_interpreter": sys.executable,
    }


def scan(state: Path, *found: dict[str, str], **variables: Any) -> Any:
    (state / "bin/istioctl.says").write_text(json.dumps(found))
    (state / "play.yml").write_text(PLAYBOOK)
    values = {**here(state), "scan_scanners": ["istio"], "scan_enforced": True, **variables}
    return run_playbook(
        state / "play.yml", "--inventory=inventories/dev", f"--extra-vars={json.dumps(values)}", fails=None
    )


def problems(run: Any) -> list[str]:
    return [str(answer.result["msg"]) for answer in run.answers if answer.failed]


def test_what_a_scan_finds_is_told_and_written(state: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KUBECONFIG", "/somebody/elses")
    run = scan(state, OUTSIDE)
    assert problems(run) == []
    assert any("1 info" in str(result.get("msg")) for result in run.results())
    written = json.loads((state / "reports/istio.json").read_text())
    assert "legacy" in json.dumps(written)
    assert "IST0102" in (state / "reports/istio.html").read_text()
    assert (state / "reports/istio.xml").is_file()
    arguments = (state / "bin/istioctl.arguments").read_text().split()
    assert {f"--kubeconfig={state}/kubeconfig", "--all-namespaces", "--output=json"} <= set(arguments)
    assert "/somebody/elses" not in (state / "bin/istioctl.environment").read_text()


def test_reports_can_be_read_beside_the_landing_page(state: Path) -> None:
    published = state / "www/reports"
    scan(state, OUTSIDE)
    assert {path.name for path in published.iterdir()} == {"index.html", "istio.html"}
    assert "IST0102" in (published / "istio.html").read_text()
    assert 'href="./istio.html"' in (published / "index.html").read_text()
    # Of one that ended otherwise, the page tells what came to it; for the sandbox that is no change.
    run = scan(state, OUTSIDE, ADVICE, scan_istio_fail_on="never")
    assert {host["changed"] for host in run.stats.values()} == {0}
    assert "+1" in (published / "index.html").read_text()
    assert len(json.loads((state / "reports/history.json").read_text())["runs"]) == 2
    # They tell what is weak: not where everybody reaches a landing page that asks for nothing.
    scan(state, sandbox_landing_login=False, sandbox_local_endpoint_enabled=False)
    assert not published.exists()


@pytest.mark.parametrize("finding", [BROKEN, ADVICE])
def test_errors_and_warnings_close_the_gate_with_their_place(state: Path, finding: dict[str, str]) -> None:
    (said,) = problems(scan(state, finding))
    assert finding["origin"].split()[1].split("/")[1] in said
    assert finding["code"] in (state / "reports/istio.xml").read_text()
    assert problems(scan(state, ADVICE, scan_istio_fail_on="high")) == []


def test_a_waiver_has_a_reason_and_opens_the_gate(state: Path) -> None:
    waiver = {"rule": "IST0103", "namespace": "shop", "reason": "A database without a proxy."}
    assert problems(scan(state, ADVICE, scan_istio_waivers=[waiver])) == []
    (said,) = problems(scan(state, ADVICE, scan_istio_waivers=[{"rule": "IST0103"}]))
    assert "reason" in said


def test_waivers_are_refused_before_anybody_looks(state: Path) -> None:
    wrong = [{"rule": "KSV-0014", "reason": "x", "expires": "soon"}, {"rule": "POP-106"}]
    (said,) = problems(scan(state, ADVICE, scan_waivers=wrong))
    assert "scan_waivers: waiver 1: expires is 'soon', not a date like 2027-01-31" in said
    assert "scan_waivers: waiver 2: reason is missing" in said
    assert not (state / "bin/istioctl.arguments").exists()


def test_without_a_sandbox_or_a_mesh_that_is_said(state: Path) -> None:
    run = scan(state, istio_enabled=False)
    left_out = "Left out: istioctl analyze, as istio_enabled is false."
    assert left_out in [result.get("msg") for result in run.results()]
    assert not (state / "reports").exists()
    (state / "kubeconfig").unlink()
    (said,) = problems(scan(state))
    assert said.startswith(f"{state}/kubeconfig is not there: no sandbox dev stands on this machine")


# --- scanners that are made for it -----------------------------------------------------------------------------------

EACH = """
- hosts: localhost
  gather_facts: false
  vars:
    __scan_reports: []
  tasks:
    - ansible.builtin.include_role: {name: cicd.sandbox.scan, tasks_from: popeye}
    - ansible.builtin.include_role: {name: cicd.sandbox.scan, tasks_from: written}
    - ansible.builtin.include_role: {name: cicd.sandbox.scan, tasks_from: govulncheck}
    - ansible.builtin.include_role: {name: cicd.sandbox.scan, tasks_from: gate}
"""
FIXTURES = REPOSITORY / "tests/unit/reports/fixtures"
SECRET = """---
# Source: web/templates/secret.yaml
kind: Secret
metadata: {name: web}
stringData: {password: not-for-others}
"""
# A control of nodes, of which nothing was looked at, and one that passed.
LOOKED = {"Target": "Pod/web", "Class": "config", "Misconfigurations": [{"ID": "KSV-0017", "Status": "PASS"}]}
CONTROLS = {
    "ID": "k8s-cis-1.23",
    "Title": "CIS",
    "RelatedResources": None,
    "Results": [
        {"ID": "1.1.1", "Name": "Ensure the mode of a file", "Results": None},
        {"ID": "5.2.2", "Name": "Ensure no privileged container", "Results": [LOOKED]},
    ],
}
PROGRAMS = {
    "popeye": f"cat {FIXTURES}/popeye/0.22.1-recorded-all.json",
    "trivy": f"""case $1,$PWD in
filesystem,*/scan/charts) ls -l > $0.sees; cat {FIXTURES}/trivy/0.74.0-recorded-config.json ;;
k8s,*)
  for argument; do
    case $argument in
    --output=*) written=${{argument#*=}} ;;
    --kubeconfig=*) cat ${{argument#*=}} > $0.config ;;
    esac
  done
  echo '{json.dumps(CONTROLS)}' > $written ;;
*) echo '{{"SchemaVersion": 2}}' ;;
esac""",
    "kube-score": f"cat {FIXTURES}/sarif/2.1.0-kube-score-1.20.0.json; exit 1",
    "govulncheck": f"""case $1 in
-mode=extract) printf '{{"name": "govulncheck-extract"}}\\n{{"modules": []}}\\n' ;;
*) cat {FIXTURES}/sarif/2.1.0-govulncheck-1.9.0.json ;;
esac""",
}


def each(state: Path, **variables: Any) -> Any:
    for name, script in PROGRAMS.items():
        program = state / "bin" / name
        program.write_text(f"#!/bin/sh\nprintf '%s\\n' \"$@\" '' >> $0.arguments\n{script}\n")
        program.chmod(0o755)
    (state / "reports").mkdir()
    built = state / "cache/opa"
    built.mkdir(parents=True)
    (built / "opa").touch()
    (state / "play.yml").write_text(EACH)
    values = {
        **here(state),
        "scan_enforced": True,
        "scan_waivers": [],
        "scan_shipped_waivers": [],
        "artifacts_paths": {"opa": str(built), "go_vulnerabilities": "/data"},
        "artifacts_layouts": {"registry.sandbox.internal/web:1.0": "/layouts/web"},
        "artifacts_unmade": ["valkey"],
        **variables,
    }
    chart = make_chart(state / "chart")
    cluster = FakeKubernetes([helm_secret("web", chart, namespace=name, manifest=SECRET) for name in ("shop", "prod")])
    with serving_kubernetes(cluster, state / "kubeconfig"):
        return run_playbook(
            state / "play.yml", "--inventory=inventories/dev", f"--extra-vars={json.dumps(values)}", fails=None
        )


def test_every_scanner_looks_before_the_gate_decides(state: Path) -> None:
    run = each(state)
    (said,) = problems(run)
    assert [line.partition(":")[0] for line in said.splitlines()] == [
        *("popeye", "trivy", "kube-score", "govulncheck", "All of it"),
    ]
    names = ["cis", "govulncheck", "kube-score", "popeye", "trivy"]
    for ending in ("html", "json", "sarif", "xml"):
        assert (
            sorted(
                path.stem for path in (state / "reports").glob(f"*.{ending}") if path.stem not in ("index", "history")
            )
            == names
        )
    assert all(name in (state / "reports/index.html").read_text() for name in names)
    # Read-only, and silent on the network.
    assert {"--as=system:scanner", "--as-group=system:scanner"} <= set(arguments(state, "popeye"))
    silent = ["--skip-check-update", "--skip-version-check", "--disable-telemetry", "--offline-scan"]
    calls = " ".join(arguments(state, "trivy")).split("  ")
    # Charts, applications, images' sources and the inventory; an image; the cluster.
    assert [call.split()[0] for call in calls] == [*["filesystem"] * 4, "image", "k8s"]
    assert all(set(silent) <= set(call.split()) for call in calls)
    assert "--input=/layouts/web" in calls[-2]
    (user,) = yaml.safe_load((state / "bin/trivy.config").read_text())["users"]
    assert (user["user"]["as"], user["user"]["as-groups"]) == ("system:scanner", ["system:scanner"])
    assert arguments(state, "kube-score")[4:6] == ["prod.Secret.web.yaml", "shop.Secret.web.yaml"]
    assert arguments(state, "govulncheck")[:2] == ["-mode=extract", f"{state}/cache/opa/opa"]
    assert "-db=file:///data/osv" in arguments(state, "govulncheck")


def arguments(state: Path, name: str) -> list[str]:
    return (state / f"bin/{name}.arguments").read_text().splitlines()


def test_where_it_is_not_enforced_a_shut_gate_is_told(state: Path) -> None:
    waivers = [{"rule": "KSV-*", "resource": "*", "reason": "a copy of the shop's", "expires": "2099-01-01"}]
    run = each(state, scan_enforced=False, scan_waivers=waivers)
    assert problems(run) == []
    # What is found is told, and is no change.
    assert run.stats["localhost"]["changed"] == 0
    told = next(str(item["msg"]) for item in run.results() if str(item.get("msg")).startswith("scan_enforced is false"))
    assert "popeye" in told


def test_what_could_not_be_looked_at_is_said_by_name_and_is_not_passed(state: Path) -> None:
    run = each(state, scan_enforced=False)
    (said,) = [item["msg"] for item in run.results() if "Left out:" in str(item.get("msg"))]
    assert "Left out: CIS 1.1.1 Ensure the mode of a file" in said
    assert any(line.startswith("Left out: known vulnerabilities") for line in said)
    assert any(line.startswith("Left out: kubescape") for line in said)
    assert any(line.startswith("Left out: images and programs of valkey") for line in said)
    assert json.loads((state / "reports/cis.json").read_text())["skipped"] == 1


def test_rendered_charts_are_for_nobody_else_and_gone_afterwards(state: Path) -> None:
    run = each(state, scan_enforced=False)
    seen = [line.split() for line in (state / "bin/trivy.sees").read_text().splitlines()[1:]]
    assert {(line[0], line[-1]) for line in seen} == {
        ("-rw-------", "prod.Secret.web.yaml"),
        ("-rw-------", "shop.Secret.web.yaml"),
    }
    assert not (state / "scan").exists()
    assert "not-for-others" not in run.text
