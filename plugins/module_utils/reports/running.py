# Copyright: cicd.sandbox contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the modules that judge reports have in common: arguments, files, the answer."""

from __future__ import annotations

import dataclasses
import datetime as dt
import json
import traceback
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule, missing_required_lib
from ansible_collections.cicd.sandbox.plugins.module_utils.reports.gate import NEVER, Judgement, Policy, judge
from ansible_collections.cicd.sandbox.plugins.module_utils.reports.model import Finding, Report, ReportError, safe
from ansible_collections.cicd.sandbox.plugins.module_utils.reports.outputs import WRITERS, check_paths, write
from ansible_collections.cicd.sandbox.plugins.module_utils.reports.reading import read_report, without_collector
from ansible_collections.cicd.sandbox.plugins.module_utils.reports.severity import SEVERITIES
from ansible_collections.cicd.sandbox.plugins.module_utils.reports.shared import header, read_baseline
from ansible_collections.cicd.sandbox.plugins.module_utils.reports.source import read_file
from ansible_collections.cicd.sandbox.plugins.module_utils.reports.waivers import Waiver, read_waivers

YAML_IMPORT_ERROR: str | None = None
try:
    import yaml
except ImportError:
    YAML_IMPORT_ERROR = traceback.format_exc()


def argument_spec(*, scored: bool, targeted: bool = False) -> dict[str, Any]:
    """Return the modules' arguments.

    ``min_score`` only where the tool gives a score, ``target`` where its report may not say what was scanned.
    """
    spec: dict[str, Any] = {
        "path": {"type": "path"},
        "content": {"type": "raw"},
        "fail_on": {"type": "str", "choices": [*SEVERITIES, NEVER], "default": "high"},
        "max_findings": {"type": "dict", "options": {severity: {"type": "int"} for severity in SEVERITIES}},
        "namespaces": {"type": "list", "elements": "str", "default": []},
        "exclude_namespaces": {"type": "list", "elements": "str", "default": []},
        # Read by read_waivers, which names the waiver that is wrong.
        "waivers": {"type": "list", "elements": "dict", "default": []},
        "waivers_file": {"type": "path"},
        "baseline": {"type": "path"},
        "allow_empty": {"type": "bool", "default": False},
        "allow_degraded": {"type": "bool", "default": False},
        "allow_unmatched": {"type": "bool", "default": False},
        "max_returned": {"type": "int", "default": 20},
        **{name: {"type": "path"} for name in WRITERS},
    }
    if scored:
        spec["min_score"] = {"type": "float"}
    if targeted:
        spec["target"] = {"type": "str"}
    return spec


def run(tool: str, *, scored: bool = False, targeted: bool = False) -> None:
    """Be the module for a tool."""
    module = AnsibleModule(
        argument_spec=argument_spec(scored=scored, targeted=targeted),
        mutually_exclusive=[("path", "content")],
        required_one_of=[("path", "content")],
        supports_check_mode=True,
    )
    try:
        with without_collector():
            returned = _run(module, tool)
    except ReportError as exc:
        module.fail_json(msg=str(exc))
    if returned["gate"]["passed"]:
        module.exit_json(**returned)
    module.fail_json(**returned)


def _run(module: AnsibleModule, tool: str) -> dict[str, Any]:
    params = module.params
    check_paths(params, check_mode=module.check_mode)
    if params["max_returned"] < 0:
        raise ReportError("max_returned is negative")
    policy = _policy(module)
    report = _report(params, tool)
    policy = dataclasses.replace(policy, baseline=_baseline(params, tool, report))
    judgement = judge(report, policy)
    returned = answer(judgement, max(params["max_returned"], 0))
    for waiver in policy.waivers:
        if waiver.refused:
            module.warn(
                f"The waiver of {safe(waiver.rule)} has no expires, and so does not cover findings from high on: "
                f"{waiver.refused} still {'counts' if waiver.refused == 1 else 'count'}"
            )
    for said in judgement.expired():
        module.warn(said)
    if judgement.unmatched and policy.allow_unmatched:
        names = ", ".join(repr(safe(name)) for name in judgement.unmatched)
        module.warn(f"The report has no namespace {names}")
    returned["diff"] = _write(module, judgement)
    returned["changed"] = bool(returned["diff"])
    if not judgement.passed:
        returned["msg"] = f"{judgement.message()}{_where_the_rest_is(params, judgement)}"
    return returned


def _policy(module: AnsibleModule) -> Policy:
    """Return what is asked of the report, but for its baseline."""
    params = module.params
    limits = {name: most for name, most in (params["max_findings"] or {}).items() if most is not None}
    negative = [name for name, most in limits.items() if most < 0]
    if negative:
        raise ReportError(f"max_findings: {', '.join(negative)} is negative")
    waivers = read_waivers(params["waivers"], "waivers")
    if params["waivers_file"]:
        waivers += _waivers_of_file(module, Path(params["waivers_file"]))
    return Policy(
        fail_on=params["fail_on"],
        max_findings=limits,
        min_score=params.get("min_score"),
        namespaces=params["namespaces"],
        exclude_namespaces=params["exclude_namespaces"],
        waivers=waivers,
        allow_empty=params["allow_empty"],
        allow_degraded=params["allow_degraded"],
        allow_unmatched=params["allow_unmatched"],
        today=dt.datetime.now(dt.UTC).date(),
    )


def _waivers_of_file(module: AnsibleModule, path: Path) -> list[Waiver]:
    if YAML_IMPORT_ERROR:
        reason = missing_required_lib("PyYAML", reason="for waivers_file")
        module.fail_json(msg=reason, exception=YAML_IMPORT_ERROR)
    try:
        document = yaml.safe_load(read_file(path))
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError, ValueError) as exc:
        raise ReportError(f"{path} is not valid YAML: {' '.join(str(exc).split())}") from None
    return read_waivers(document, str(path))


def _baseline(params: Mapping[str, Any], tool: str, report: Report) -> Mapping[str, Mapping[str, Any]] | None:
    """Return the findings of an earlier report of the same tool, which is not the reader's where it is SARIF."""
    if not params["baseline"]:
        return None
    path = Path(params["baseline"])
    return read_baseline(
        report.tool, read_file(path), f"the baseline {path}", lambda text, name: _read(params, tool, text, name)
    )


def _report(params: Mapping[str, Any], tool: str) -> Report:
    if params["path"]:
        path = Path(params["path"])
        return _read(params, tool, read_file(path), str(path))
    content = params["content"]
    # A template that gives JSON arrives decoded.
    text = content if isinstance(content, str) else json.dumps(content)
    return _read(params, tool, text, "content")


def _read(params: Mapping[str, Any], tool: str, data: bytes | str, name: str) -> Report:
    report = read_report(tool, data, name)
    if target := params.get("target"):
        report.name_target(target)
    return report


def _where_the_rest_is(params: Mapping[str, Any], judgement: Judgement) -> str:
    """Say where all findings are, when fewer are returned."""
    count = len(judgement.counting)
    if count <= params["max_returned"]:
        return ""
    written = next(
        (params[name] for name in ("json_path", "html_path", "junit_path", "sarif_path") if params[name]), ""
    )
    return f" All {count:,} findings: {written}" if written else f" json_path would write all {count:,} findings."


def answer(judgement: Judgement, most: int) -> dict[str, Any]:
    """Return what the module returns; its lists have at most so many findings."""
    policy = judgement.policy
    today = policy.today
    worst = judgement.worst(most)
    waived = judgement.waived[:most]
    lists = (judgement.counting, judgement.waived, judgement.fixed, judgement.worse)
    said = header(judgement.report)
    findings = _dicts(judgement, worst)
    return {
        "gate": {"passed": judgement.passed, "reasons": judgement.reasons},
        "summary": judgement.policy_line(),
        "counts": judgement.counts,
        "score": said["score"],
        "grade": said["grade"],
        "passed_checks": said["passed"],
        # "skipped" would make Ansible think that the task was.
        "skipped_checks": said["skipped"],
        "skipped_reasons": [{**skip, "checks": skip["checks"][:most]} for skip in said["skips"]],
        "findings": findings,
        "truncated": any(len(items) > most for items in lists),
        "waived": [
            {**entry, "reason": safe(reason), "expires": str(waiver.expires) if waiver and waiver.expires else None}
            for entry, (_, reason, waiver) in zip(_dicts(judgement, [item[0] for item in waived]), waived, strict=True)
        ],
        "expired_waivers": [waiver.as_dict() for waiver in policy.waivers if waiver.expired(today)],
        "unused_waivers": [
            waiver.as_dict()
            for waiver in policy.waivers
            if not waiver.matched and waiver.concerns(judgement.report.tool)
        ],
        "refused_waivers": [waiver.as_dict() for waiver in policy.waivers if waiver.refused],
        "known": len(judgement.known),
        "new": findings if policy.baseline is not None else [],
        "fixed": [dict(item) for item in judgement.fixed[:most]],
        "worse": [
            {**entry, "was": was}
            for entry, (_, was) in zip(
                _dicts(judgement, [item[0] for item in judgement.worse[:most]]), judgement.worse[:most], strict=True
            )
        ],
        "tool_version": said["tool_version"],
        "scanned_at": said["scanned_at"],
        "cluster": said["cluster"],
        "target": said["target"],
        "about": said["about"],
        "unmatched_namespaces": [safe(name) for name in judgement.unmatched],
        "empty": said["empty"],
        "degraded": said["degraded"],
    }


def _dicts(judgement: Judgement, findings: list[Finding]) -> list[dict[str, Any]]:
    names = judgement.fingerprints(findings)
    tool = judgement.report.tool
    return [finding.as_dict(tool, name) for finding, name in zip(findings, names, strict=True)]


def _write(module: AnsibleModule, judgement: Judgement) -> list[dict[str, str]]:
    """Write the reports that are asked for and not there yet; return what changed."""
    diffs: list[dict[str, str]] = []
    for name, parts in WRITERS.items():
        if not module.params[name]:
            continue
        changed = write(name, Path(module.params[name]), parts(judgement), check_mode=module.check_mode)
        if changed:
            diffs.append(changed)
    return diffs
