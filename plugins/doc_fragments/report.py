# Copyright: cicd.sandbox contributors
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations


class ModuleDocFragment:
    """What the modules that judge scanners' reports have in common."""

    DOCUMENTATION = r"""
description:
  - The module reads the report, drops what is waived or in a baseline, and decides whether a pipeline may go on. When
    it may not, the module fails, and returns the same data as when it may.
  - Reports for CI servers and for people are written before it fails.
options:
  path:
    description:
      - The report, a file on the target, also compressed with gzip.
    type: path
  content:
    description:
      - The report itself. Excludes O(path).
    type: raw
  fail_on:
    description:
      - The least severity of which a single finding closes the gate. V(never) leaves the decision to O(max_findings).
      - The tools' own words become severities by one table, see the how-to on reports.
    type: str
    choices: [critical, high, medium, low, info, never]
    default: high
  max_findings:
    description:
      - How many findings of a severity are let pass. For the severities named here it replaces O(fail_on).
    type: dict
    suboptions:
      critical:
        description: How many critical findings are let pass.
        type: int
      high:
        description: How many high findings are let pass.
        type: int
      medium:
        description: How many medium findings are let pass.
        type: int
      low:
        description: How many low findings are let pass.
        type: int
      info:
        description: How many findings of severity info are let pass.
        type: int
  namespaces:
    description:
      - Only findings in these namespaces are looked at. An empty text stands for what is in no namespace.
    type: list
    elements: str
    default: []
  exclude_namespaces:
    description:
      - Findings in these namespaces are not looked at.
    type: list
    elements: str
    default: []
  waivers:
    description:
      - Findings that are accepted. A waiver that has expired no longer counts; it is returned, as is one that fits
        nothing.
    type: list
    elements: dict
    default: []
    suboptions:
      rule:
        description:
          - Rule id, or a pattern with C(*) and C(?), or a list of such.
          - Old and new spellings of Trivy's checks are one.
        type: raw
        required: true
      resource:
        description: Pattern for C(Kind/name), the name alone, the package or the file.
        type: str
        default: "*"
      namespace:
        description: Pattern for the namespace.
        type: str
        default: "*"
      reason:
        description: Why it is accepted.
        type: str
        required: true
      expires:
        description:
          - Last day on which it counts, in UTC, like V(2027-01-31). Without it, the waiver does not cover findings of
            severity high or critical.
        type: str
  waivers_file:
    description:
      - YAML file on the target with a list of such waivers, used together with O(waivers).
    type: path
  baseline:
    description:
      - An earlier report, the tool's own or one written for O(json_path). Only findings that are not in it count, or
        that are more severe than there.
    type: path
  junit_path:
    description:
      - Where to write a JUnit report, a suite per namespace. What closes the gate fails there; what is waived is
        skipped.
    type: path
  sarif_path:
    description:
      - Where to write a SARIF 2.1.0 report, with the 25,000 worst findings.
    type: path
  html_path:
    description:
      - Where to write a page for people. It needs nothing but itself.
    type: path
  json_path:
    description:
      - Where to write all findings as JSON, in the same form for all tools. It can be a O(baseline).
    type: path
  allow_empty:
    description:
      - Whether a report of a scan that looked at nothing may pass.
    type: bool
    default: false
  allow_degraded:
    description:
      - Whether a report of a partial scan may pass.
    type: bool
    default: false
  allow_unmatched:
    description:
      - Whether names in O(namespaces) and O(exclude_namespaces) may pass that are in no finding and no resource of the
        report. A name that is mistyped would leave findings out unseen.
    type: bool
    default: false
  max_returned:
    description:
      - How many findings are returned at most, in each list, the worst first. O(json_path) has all.
    type: int
    default: 20
requirements:
  - PyYAML, for O(waivers_file)
attributes:
  check_mode:
    description: Reads and judges, and writes nothing.
    support: full
  diff_mode:
    description: Shows what is written.
    support: full
notes:
  - Files are written with mode 0644, in one step, and only when their content changes.
"""
