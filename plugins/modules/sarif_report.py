# Copyright: cicd.sandbox contributors
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: sarif_report
short_description: Judge a SARIF log of any scanner
version_added: 0.1.0
author:
  - cicd.sandbox contributors
description:
  - Reads SARIF 2.1.0, whoever wrote it, such as C(kube-score score -o sarif), C(govulncheck -format sarif), Semgrep or
    CodeQL. For scanners that have a module of their own, theirs is to be preferred, as SARIF leaves out what they say
    besides.
  - Several runs in a log are judged as one report, which bears the scanners' own names.
  - Results that passed, or that are not applicable, are counted and are no findings. Those that the scanner suppressed
    are waived, unless somebody has still to agree.
  - A run that did not end well, and a result that could not be decided, make the report a partial one.
extends_documentation_fragment:
  - cicd.sandbox.report
options:
  target:
    description:
      - What was scanned, where the log does not say it, such as the program that C(govulncheck) looked at. Findings
        that are in no file have it as their resource.
    type: str
"""

EXAMPLES = r"""
- name: Look for known flaws in a program
  ansible.builtin.command:
    argv: [govulncheck, -mode=binary, -format=sarif, "-db=file:///var/lib/vulndb", /usr/local/bin/front-end]
  register: flaws
  changed_when: false

- name: Let nothing pass that the program calls
  cicd.sandbox.sarif_report:
    content: "{{ flaws.stdout }}"
    target: front-end
    fail_on: high
    waivers:
      - rule: GO-2026-*
        resource: front-end
        reason: Goes with the next release of the library.
        expires: "2027-01-31"
    html_path: /tmp/front-end.html

- name: Judge rendered charts
  cicd.sandbox.sarif_report:
    path: /tmp/kube-score.sarif
    waivers:
      - rule: container-image-pull-policy
        reason: Images have tags that are never moved.
        expires: "2027-01-31"
"""

RETURN = r"""
gate:
  description: The decision.
  returned: always, unless the report can't be read
  type: dict
  contains:
    passed:
      description: Whether a pipeline may go on.
      type: bool
    reasons:
      description: Why it may not; empty when it may.
      type: list
      elements: str
      sample: ["findings that must not be: 1 critical, 4 high"]
summary:
  description: What was asked, what was found and how it ended, in a line.
  returned: always, unless the report can't be read
  type: str
  sample: "fail_on high: 0 critical, 0 high, 97 medium; passed"
counts:
  description: How many findings count, by severity. What is waived or in the baseline does not.
  returned: always, unless the report can't be read
  type: dict
  sample: {critical: 1, high: 4, medium: 20, low: 0, info: 7}
score:
  description: The tool's score, 100 is best; null where it has none.
  returned: always, unless the report can't be read
  type: float
  sample: null
grade:
  description: The tool's grade; empty where it has none.
  returned: always, unless the report can't be read
  type: str
  sample: ""
passed_checks:
  description: How many checks passed, as far as the report says.
  returned: always, unless the report can't be read
  type: int
skipped_checks:
  description: How many checks were skipped. Those that could not be evaluated make the scan partial, too.
  returned: always, unless the report can't be read
  type: int
skipped_reasons:
  description: Why checks were skipped; each with C(reason) and C(checks), of these at most O(max_returned).
  returned: always, unless the report can't be read
  type: list
  elements: dict
findings:
  description: The findings that count, the worst first.
  returned: always, unless the report can't be read
  type: list
  elements: dict
  contains:
    tool:
      description: Whose finding it is, by the scanner's own name.
      type: str
    rule:
      description: The rule's id.
      type: str
      sample: GO-2026-0001
    title:
      description: What the rule is about.
      type: str
    severity:
      description: One of the five severities.
      type: str
      sample: high
    level:
      description: The tool's own word for it.
      type: str
    resource:
      description: What it is about, with C(api_version), C(kind), C(namespace), C(name) and C(container).
      type: dict
    message:
      description: What was found.
      type: str
    package:
      description: The package with its version, where there is one.
      type: str
    location:
      description: The file, where there is one.
      type: str
    line:
      description: The line in it, from 1; 0 where it is not known.
      type: int
    remediation:
      description: What to do about it.
      type: str
    link:
      description: Where to read more.
      type: str
    fingerprint:
      description: The same from scan to scan.
      type: str
truncated:
  description: Whether a list was cut at O(max_returned).
  returned: always, unless the report can't be read
  type: bool
waived:
  description: Findings that are waived, with C(reason) and C(expires), by a waiver or by the tool itself.
  returned: always, unless the report can't be read
  type: list
  elements: dict
expired_waivers:
  description:
    - Waivers that no longer count, with the number of C(findings) that they fit, and of those that count C(again)
      because of it.
  returned: always, unless the report can't be read
  type: list
  elements: dict
unused_waivers:
  description: Waivers that fit nothing. Those of rules that only other tools have are not among them.
  returned: always, unless the report can't be read
  type: list
  elements: dict
refused_waivers:
  description: Waivers that would need a last day for some of the findings that they fit.
  returned: always, unless the report can't be read
  type: list
  elements: dict
known:
  description: How many findings are in the baseline, too.
  returned: always, unless the report can't be read
  type: int
new:
  description: Findings that are not in the baseline, or are more severe than there; empty without one.
  returned: always, unless the report can't be read
  type: list
  elements: dict
fixed:
  description: Findings of the baseline that are gone.
  returned: always, unless the report can't be read
  type: list
  elements: dict
worse:
  description: Those of RV(new) that are in the baseline, with the severity that they had there as C(was).
  returned: always, unless the report can't be read
  type: list
  elements: dict
tool_version:
  description: The tool's version, where the report says it.
  returned: always, unless the report can't be read
  type: str
scanned_at:
  description: When it was scanned, as the tool wrote it.
  returned: always, unless the report can't be read
  type: str
cluster:
  description: The cluster's name, where the report says it.
  returned: always, unless the report can't be read
  type: str
target:
  description: What was scanned, where it is no cluster and the report says it; an image, a repository, a folder.
  returned: always, unless the report can't be read
  type: str
about:
  description: What else the report says of what was scanned, by name, such as the image's digest.
  returned: always, unless the report can't be read
  type: dict
unmatched_namespaces:
  description: Names in O(namespaces) and O(exclude_namespaces) that the report does not know.
  returned: always, unless the report can't be read
  type: list
  elements: str
empty:
  description: Whether nothing was scanned.
  returned: always, unless the report can't be read
  type: bool
degraded:
  description: Why the scan is partial; empty when it is whole.
  returned: always, unless the report can't be read
  type: list
  elements: str
"""

from typing import Final

from ansible_collections.cicd.sandbox.plugins.module_utils.reports.running import run

TOOL: Final = "sarif"


def main() -> None:
    run(TOOL, targeted=True)


if __name__ == "__main__":
    main()
