# Copyright: cicd.sandbox contributors
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: report_index
short_description: Write one page for all reports of a run
version_added: 0.1.0
author:
  - cicd.sandbox contributors
description:
  - Reads the reports that M(cicd.sandbox.popeye_report), M(cicd.sandbox.kubescape_report),
    M(cicd.sandbox.trivy_report), M(cicd.sandbox.istio_analysis_report) and M(cicd.sandbox.sarif_report) wrote for their
    C(json_path), and writes a page with the tool, the target, the verdict and the counts of each, and a link to its own
    page. What failed stands first.
  - It decides nothing and does not fail because a report did. A report that is expected and not there has not passed.
options:
  path:
    description:
      - Where to write the page. It needs nothing but itself; its links are relative.
    type: path
    required: true
  reports:
    description:
      - The reports of the run, in this order. One of this and O(directory) is needed.
    type: list
    elements: dict
    suboptions:
      json_path:
        description: What was written for the option of this name.
        type: path
        required: true
      html_path:
        description: Its page. Without it, the file beside the report that is called as it is, with C(.html).
        type: path
      name:
        description: How the report is called. Without it, as its file.
        type: str
  directory:
    description:
      - A directory of which all files that end in C(.json) are reports of the run; those that these modules did not
        write are left out. They come behind O(reports), by name.
    type: path
  history_path:
    description:
      - A file that tells how earlier runs ended, to which this one is added. Then the page shows for each report how
        the number of its findings went, and how the last runs ended. A run that ended as the one before did adds
        nothing.
      - Nothing is shown of earlier runs without it.
    type: path
  history_size:
    description:
      - How many runs the history has at most; the oldest are forgotten.
    type: int
    default: 100
  title:
    description:
      - The page's title.
    type: str
    default: Reports
attributes:
  check_mode:
    description: Reads, and writes nothing.
    support: full
  diff_mode:
    description: Shows what is written.
    support: full
notes:
  - The file is written with mode 0644, in one step, and only when its content changes. So is the history.
"""

EXAMPLES = r"""
- name: Write one page for all scans of this build
  cicd.sandbox.report_index:
    path: reports/index.html
    title: Scans of build 17
    directory: reports
    history_path: reports/history.json
  register: scans

- name: Write one page for two scans, of which each has to be there
  cicd.sandbox.report_index:
    path: reports/index.html
    reports:
      - name: image of the website
        json_path: reports/trivy.json
        html_path: reports/trivy.html
      - name: mesh
        json_path: reports/istio.json
"""

RETURN = r"""
passed:
  description: Whether all reports passed. False where there is none.
  returned: always
  type: bool
summary:
  description: How many reports there are and how they ended.
  returned: always
  type: str
  sample: "4 reports: 1 failed, 3 passed"
reports:
  description: What is on the page.
  returned: always
  type: list
  elements: dict
  contains:
    name:
      description: How the report is called.
      type: str
    tool:
      description: Which tool made it.
      type: str
    target:
      description: What was scanned; the cluster, an image, a repository, a folder.
      type: str
    passed:
      description: Whether the gate was open.
      type: bool
    summary:
      description: What was asked, what was found and how it ended, in a line.
      type: str
    counts:
      description: How many findings count, by severity.
      type: dict
    reasons:
      description: Why the gate was shut; empty when it was open.
      type: list
      elements: str
    json_path:
      description: The report.
      type: str
    html_path:
      description: Its page; empty where it has none.
      type: str
    problem:
      description: Why the report can't be read; empty where it was.
      type: str
history:
  description: Runs that O(history_path) tells of, the oldest first; empty without it.
  returned: always
  type: list
  elements: dict
  contains:
    at:
      description: When the run's reports were put together, in UTC.
      type: str
      sample: "2026-11-30T19:20:00Z"
    reports:
      description:
        - How each report ended, by name, with C(passed), whether its gate was open, and C(counts), the findings that
          count by severity, null where the report could not be read.
      type: dict
"""

import datetime as dt
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.cicd.sandbox.plugins.module_utils.reports.history import (
    Run,
    extended,
    history_parts,
    read_history,
)
from ansible_collections.cicd.sandbox.plugins.module_utils.reports.index import (
    Entry,
    index_parts,
    read_entry,
    summary,
)
from ansible_collections.cicd.sandbox.plugins.module_utils.reports.model import ReportError
from ansible_collections.cicd.sandbox.plugins.module_utils.reports.outputs import check_output, write


def entries(params: dict[str, Any]) -> list[Entry]:
    found = [
        read_entry(Path(item["json_path"]), Path(item["html_path"]) if item["html_path"] else None, item["name"] or "")
        for item in params["reports"] or []
    ]
    if not params["directory"]:
        return found
    directory = Path(params["directory"])
    if not directory.is_dir():
        raise ReportError(f"directory: {directory} is no directory; did the scans write their reports there?")
    listed = {entry.source.resolve() for entry in found}
    there = [read_entry(path) for path in sorted(directory.glob("*.json")) if path.resolve() not in listed]
    return found + [entry for entry in there if not entry.problem]


def with_history(
    params: dict[str, Any], path: Path, history: Path, found: list[Entry], *, check_mode: bool
) -> list[Run]:
    """Return the runs that the history has with this one."""
    if params["history_size"] < 1:
        raise ReportError(f"history_size: {params['history_size']} is less than one run")
    if history.resolve() == path.resolve():
        raise ReportError(f"history_path and path are the same file, {path}")
    check_output("history_path", history, check_mode=check_mode)
    names = [entry.name for entry in found]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise ReportError(f"reports: {', '.join(twice)} is there twice; with a history each needs a name of its own")
    outcomes = {entry.name: entry.outcome() for entry in found}
    return extended(read_history(history), outcomes, dt.datetime.now(dt.UTC), params["history_size"])


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "path": {"type": "path", "required": True},
            "reports": {
                "type": "list",
                "elements": "dict",
                "options": {
                    "json_path": {"type": "path", "required": True},
                    "html_path": {"type": "path"},
                    "name": {"type": "str"},
                },
            },
            "directory": {"type": "path"},
            "history_path": {"type": "path"},
            "history_size": {"type": "int", "default": 100},
            "title": {"type": "str", "default": "Reports"},
        },
        required_one_of=[("reports", "directory")],
        supports_check_mode=True,
    )
    path = Path(module.params["path"])
    history = Path(module.params["history_path"]) if module.params["history_path"] else None
    try:
        check_output("path", path, check_mode=module.check_mode)
        found = entries(module.params)
        runs = []
        diffs = []
        if history:
            runs = with_history(module.params, path, history, found, check_mode=module.check_mode)
            diffs.append(write("history_path", history, history_parts(runs), check_mode=module.check_mode))
        parts = index_parts(found, module.params["title"], path.absolute().parent, runs)
        diffs.append(write("path", path, parts, check_mode=module.check_mode))
    except ReportError as exc:
        module.fail_json(msg=str(exc))
    diffs = [diff for diff in diffs if diff]
    module.exit_json(
        changed=bool(diffs),
        diff=diffs,
        passed=bool(found) and all(entry.passed for entry in found),
        summary=summary(found),
        reports=[entry.as_dict() for entry in found],
        history=[run.as_dict() for run in runs],
    )


if __name__ == "__main__":
    main()
