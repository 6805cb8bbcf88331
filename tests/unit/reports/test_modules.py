# Copyright: cicd.sandbox contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The modules that judge reports as Ansible runs them."""

from __future__ import annotations

import gzip
import importlib
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible.module_utils.testing import patch_module_args
from checkout import REPOSITORY

FIXTURES = Path(__file__).parent / "fixtures"
MODULES = {
    "popeye_report": "popeye/0.8.0.json",
    "kubescape_report": "kubescape/2.9.2.json",
    "trivy_report": "trivy/0.56.0-fs.json",
    "istio_analysis_report": "istioctl/1.31.0.json",
    "sarif_report": "sarif/2.1.0-govulncheck-1.9.0.json",
}
OUTPUTS = ("junit_path", "sarif_path", "html_path", "json_path")
RETURNED = {
    "gate", "counts", "score", "grade", "findings", "truncated", "waived", "expired_waivers", "unused_waivers", "new",
    "fixed", "tool_version", "scanned_at", "degraded",
}  # fmt: skip


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Any:
    """Run a module; give what it returns."""
    # Other tests import what only controllers have; from then on, a module's warnings would be shown, not returned.
    monkeypatch.setattr("ansible.module_utils._internal.is_controller", False)

    def runner(name: str, *, check: bool = False, **arguments: Any) -> dict[str, Any]:
        module = importlib.import_module(f"ansible_collections.cicd.sandbox.plugins.modules.{name}")
        if not {"path", "content"} & arguments.keys():
            arguments["path"] = str(FIXTURES / MODULES[name])
        with patch_module_args({**arguments, "_ansible_check_mode": check}), pytest.raises(SystemExit):
            module.main()
        returned: dict[str, Any] = json.loads(capsys.readouterr().out)
        return returned

    return runner


@pytest.mark.parametrize("name", MODULES)
def test_what_is_found_fails_with_all_data(run: Any, name: str) -> None:
    returned = run(name)
    assert returned["failed"] is True
    assert returned.keys() >= RETURNED
    assert returned["gate"]["passed"] is False
    assert "findings that must not be" in returned["msg"]
    assert returned["findings"]
    assert returned["changed"] is False


@pytest.mark.parametrize("name", MODULES)
def test_passing(run: Any, name: str) -> None:
    returned = run(name, fail_on="never")
    assert "failed" not in returned
    assert returned["gate"] == {"passed": True, "reasons": []}
    documented = yaml.safe_load(
        importlib.import_module(f"ansible_collections.cicd.sandbox.plugins.modules.{name}").RETURN
    )
    assert set(documented) == set(returned) - {"changed", "diff", "invocation", "warnings"}


@pytest.mark.parametrize("name", MODULES)
def test_arguments_are_documented(name: str) -> None:
    base = "ansible_collections.cicd.sandbox.plugins"
    fragment = importlib.import_module(f"{base}.doc_fragments.report").ModuleDocFragment.DOCUMENTATION
    own = importlib.import_module(f"{base}.modules.{name}").DOCUMENTATION
    options = yaml.safe_load(fragment)["options"] | yaml.safe_load(own).get("options", {})
    spec = importlib.import_module(f"{base}.module_utils.reports.running").argument_spec(
        scored="min_score" in own, targeted="target" in yaml.safe_load(own).get("options", {})
    )
    assert set(options) == set(spec)
    for option, said in options.items():
        assert (said["type"], said.get("default"), said.get("choices")) == (
            spec[option]["type"],
            spec[option].get("default"),
            spec[option].get("choices"),
        )


@pytest.mark.parametrize("name", MODULES)
def test_examples_work(run: Any, name: str, tmp_path: Path) -> None:
    """They run as they are, but for the files they name."""
    module = importlib.import_module(f"ansible_collections.cicd.sandbox.plugins.modules.{name}")
    report = FIXTURES / MODULES[name]
    waivers = tmp_path / "waivers.yml"
    waivers.write_text("- {rule: nothing, reason: an example}\n")
    here = {"path": str(report), "baseline": str(report), "waivers_file": str(waivers), "content": report.read_text()}
    here |= {output: str(tmp_path / output) for output in OUTPUTS}
    examples = [
        task[f"cicd.sandbox.{name}"] for task in yaml.safe_load(module.EXAMPLES) if f"cicd.sandbox.{name}" in task
    ]
    assert examples
    for example in examples:
        returned = run(name, **{option: here.get(option, value) for option, value in example.items()})
        assert "gate" in returned, returned["msg"]
        assert all(Path(here[option]).exists() for option in example if option in here and option != "content")


@pytest.mark.parametrize("name", MODULES)
def test_reports_are_written_once(run: Any, name: str, tmp_path: Path) -> None:
    paths = {output: str(tmp_path / "made" / output) for output in OUTPUTS}
    arguments = {**paths, "_ansible_diff": True}
    checked = run(name, check=True, **arguments)
    assert checked["changed"] is True
    assert len(checked["diff"]) == 4
    assert not (tmp_path / "made").exists()
    (tmp_path / "made").mkdir()
    for changed in (True, False):
        returned = run(name, **arguments)
        # Written although the gate is shut.
        assert (returned["changed"], returned["failed"]) == (changed, True)
        assert len(returned["diff"]) == 4 * changed
    assert sorted(path.name for path in (tmp_path / "made").iterdir()) == sorted(OUTPUTS)
    assert all(path.stat().st_mode & 0o777 == 0o644 for path in (tmp_path / "made").iterdir())
    (tmp_path / "made" / "html_path").write_text("cut")
    assert [item["after_header"] for item in run(name, **arguments)["diff"]] == [paths["html_path"]]


def test_what_was_scanned_is_named(run: Any, tmp_path: Path) -> None:
    """A log that has no word of it is told; its own earlier log and what was written of it are baselines alike."""
    log, written = FIXTURES / MODULES["sarif_report"], tmp_path / "written.json"
    waiver = {"rule": "GO-2026-0001", "resource": "front-end", "reason": "not served", "expires": "2099-01-01"}
    returned = run("sarif_report", target="front-end", waivers=[waiver], json_path=str(written))
    assert (returned["target"], len(returned["waived"])) == ("front-end", 1)
    assert {item["resource"]["name"] for item in returned["findings"]} == {"front-end"}
    assert run("sarif_report", target="back-end", waivers=[waiver])["waived"] == []
    for baseline, known in ((log, 3), (written, 2)):
        assert run("sarif_report", target="front-end", baseline=str(baseline))["known"] == known
    other = FIXTURES / "sarif/2.1.0-kube-score-1.20.0.json"
    refused = run("sarif_report", baseline=str(other))["msg"]
    assert refused == f"the baseline {other} is a report on 'kube-score', a baseline for govulncheck is needed"


def test_content_and_compression(run: Any, tmp_path: Path) -> None:
    text = (FIXTURES / MODULES["popeye_report"]).read_text()
    packed = tmp_path / "report.json.gz"
    packed.write_bytes(gzip.compress(text.encode()))
    # A template that gives JSON arrives decoded.
    for arguments in ({"content": text}, {"content": json.loads(text)}, {"path": str(packed)}):
        assert run("popeye_report", **arguments)["counts"]["high"] == 1


def test_waivers_and_baseline(run: Any, tmp_path: Path) -> None:
    waivers = tmp_path / "waivers.yml"
    waivers.write_text(
        "- {rule: POP-202, resource: Pod/cart-*, reason: starts slowly, expires: 2099-01-01}\n"
        "- {rule: POP-102, reason: was known, expires: 2020-01-01}\n"
        "- {rule: POP-999, reason: nothing}\n"
    )
    returned = run("popeye_report", waivers_file=str(waivers), waivers=[{"rule": "POP-202", "reason": "no end"}])
    assert returned["gate"]["passed"] is True
    assert [(item["rule"], item["reason"], item["expires"]) for item in returned["waived"]] == [
        ("POP-202", "starts slowly", "2099-01-01")
    ]
    assert [(item["rule"], item["findings"]) for item in returned["expired_waivers"]] == [("POP-102", 1)]
    assert [item["rule"] for item in returned["unused_waivers"]] == ["POP-999"]
    assert [item["rule"] for item in returned["refused_waivers"]] == ["POP-202"]
    assert "no expires" in str(returned["warnings"])

    baseline = tmp_path / "baseline.json"
    run("popeye_report", json_path=str(baseline))
    for path in (baseline, FIXTURES / MODULES["popeye_report"]):
        returned = run("popeye_report", baseline=str(path))
        assert (returned["known"], returned["new"], returned["fixed"]) == (3, [], [])
    other = run("popeye_report", baseline=str(baseline), path=str(FIXTURES / "popeye/0.20.0.json"), allow_degraded=True)
    assert len(other["new"]) == 2
    assert len(other["fixed"]) == 2


def test_few_are_returned(run: Any) -> None:
    returned = run("popeye_report", max_returned=1)
    assert [item["severity"] for item in returned["findings"]] == ["high"]
    assert returned["truncated"] is True
    assert returned["counts"]["medium"] == 2
    assert run("popeye_report", max_returned=3)["truncated"] is False


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"path": "/nonexistent/report.json"}, "does not exist; did the scan run?"),
        ({"path": "/"}, "is a directory"),
        ({"content": ""}, "content is empty"),
        ({"content": "[]"}, "content is an empty JSON array, not a popeye report"),
        ({"content": "x", "path": "/x"}, "mutually exclusive"),
        ({"max_returned": -1}, "max_returned is negative"),
        ({"max_findings": {"high": -1}}, "high is negative"),
        ({"waivers": [{"rule": "x"}]}, "waivers: waiver 1: reason is missing"),
        ({"waivers_file": "/nonexistent/waivers.yml"}, "does not exist"),
        ({"baseline": "/nonexistent/baseline.json"}, "does not exist"),
        ({"html_path": "/"}, "html_path: / is a directory"),
        ({"html_path": "/tmp/none.html", "json_path": "/tmp/../tmp/none.html"}, "are the same file"),
        ({"html_path": "/dev/null/x"}, "html_path: /dev/null/x can't be written: /dev/null is no directory"),
        ({"html_path": "/tpm/x/y.html"}, "the directory /tpm does not exist (is /tmp meant?); make it first"),
        ({"path": "/" + "x" * 300}, "File name too long"),
        ({"html_path": "/tmp/" + "x" * 300}, "can't be written: File name too long"),
        ({"html_path": "/tmp/\0x"}, "can't have a null character"),
    ],
)
def test_wrong_arguments(run: Any, arguments: dict[str, Any], words: str) -> None:
    returned = run("popeye_report", **arguments)
    assert returned["failed"] is True
    assert words in returned["msg"]
    assert "exception" not in returned


def test_links_in_a_circle(run: Any, tmp_path: Path) -> None:
    (tmp_path / "round").symlink_to(tmp_path / "round")
    for option in ("path", "baseline", "waivers_file"):
        assert "Too many levels of symbolic links" in run("popeye_report", **{option: str(tmp_path / "round")})["msg"]
    assert "is no directory" in run("popeye_report", html_path=str(tmp_path / "round" / "x"))["msg"]


def test_the_message_says_where_the_rest_is(run: Any, tmp_path: Path) -> None:
    assert run("popeye_report", max_returned=1)["msg"].endswith(" json_path would write all 3 findings.")
    path = str(tmp_path / "popeye.html")
    assert run("popeye_report", max_returned=1, html_path=path)["msg"].endswith(f" All 3 findings: {path}")
    assert "All 3" not in run("popeye_report")["msg"]


@pytest.mark.parametrize("name", MODULES)
def test_other_tools_waivers_are_not_called_unused(run: Any, name: str) -> None:
    rules = ["POP-9999", "C-9999", "IST9999", "KSV-9999", "POP-99*", "AVD-XYZ-9", "some-secret", "PPO-106", "*-none"]
    waivers = [{"rule": rule, "reason": "shared by all"} for rule in rules]
    unused = [item["rule"] for item in run(name, waivers=waivers)["unused_waivers"]]
    own = {
        "popeye_report": ["POP-9999", "POP-99*"],
        "kubescape_report": ["C-9999"],
        "istio_analysis_report": ["IST9999"],
        "trivy_report": ["KSV-9999", "AVD-XYZ-9", "some-secret"],
        "sarif_report": ["KSV-9999", "AVD-XYZ-9", "some-secret"],
    }
    # What is like nobody's rules may be mistyped.
    assert unused == [*own[name], "PPO-106", "*-none"]


def test_broken_waivers_file(run: Any, tmp_path: Path) -> None:
    for content in (b"a: [", b"\xff\xfe\x00", b"- x: !!python/object:os.system {}"):
        (tmp_path / "w.yml").write_bytes(content)
        assert "not valid YAML" in run("popeye_report", waivers_file=str(tmp_path / "w.yml"))["msg"]


def test_playbook(tmp_path: Path) -> None:
    """All of them on this machine: in check mode, then twice."""
    tasks = [
        {
            f"cicd.sandbox.{name}": {
                "path": str(FIXTURES / fixture),
                "fail_on": "never",
                **{output: str(tmp_path / f"{name}.{output}") for output in OUTPUTS},
            }
        }
        for name, fixture in MODULES.items()
    ]
    play = {"hosts": "localhost", "connection": "local", "gather_facts": False, "tasks": tasks}
    play["vars"] = {"ansible_python_interpreter": sys.executable}
    (tmp_path / "play.yml").write_text(json.dumps([play]))
    environment = os.environ | {"ANSIBLE_COLLECTIONS_PATH": f"{REPOSITORY}/.collections"}
    number = len(MODULES)
    for arguments, changed in (["--check", "--diff"], number), ([], number), ([], 0):
        command = ["ansible-playbook", "-i", "localhost,", *arguments, str(tmp_path / "play.yml")]
        done = subprocess.run(
            command,
            capture_output=True,
            text=True,
            check=False,
            env=environment,
            cwd=tmp_path,
            stdin=subprocess.DEVNULL,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        assert f"ok={number}    changed={changed} " in done.stdout
        assert len(list(tmp_path.glob("*_path"))) == (0 if arguments else len(OUTPUTS) * number)
