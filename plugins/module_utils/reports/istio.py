# Copyright: cicd.sandbox contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reports of ``istioctl analyze -o json``, 1.8 to 1.31: an array of messages, empty when all is well."""

from __future__ import annotations

import re
from collections import Counter
from operator import itemgetter
from typing import Any, Final

from ansible_collections.cicd.sandbox.plugins.module_utils.reports.model import (
    DetailedFinding,
    Finding,
    LazyResource,
    Report,
    Resource,
    Rule,
    as_text,
)
from ansible_collections.cicd.sandbox.plugins.module_utils.reports.severity import severity_of
from ansible_collections.cicd.sandbox.plugins.module_utils.reports.stream import Cursor, Piece

TOOL: Final = "istioctl"
# The code of an error in the analysis itself.
INTERNAL_ERROR: Final = "IST0001"

# hadolint and ShellCheck write arrays of objects with a code and a level, too.
_CODE: Final = re.compile(r"IST\d{4}")

_code_of: Final = itemgetter("code")
_level_of: Final = itemgetter("level")
_origin_of: Final = itemgetter("origin")

# A name of theirs may have dots without a namespace behind the last.
_CLUSTER_SCOPED: Final = {
    "Namespace", "Node", "CustomResourceDefinition", "GatewayClass", "MutatingWebhookConfiguration",
    "ValidatingWebhookConfiguration", "ClusterRole", "ClusterRoleBinding",
}  # fmt: skip


class _Messages:
    def __init__(self, report: Report) -> None:
        self.report = report
        self._severities: dict[str, str] = {}
        self._resources: dict[str, Resource] = {}
        self.clusters: set[str] = set()

    def read(self, cursor: Cursor) -> bool:
        """Consume the messages; say whether they are istioctl's: at least one has a code of theirs."""
        ours = False
        for piece in cursor.pieces():
            if piece.end and self._count(cursor.text, piece):
                continue
            for item in piece.values:
                if not isinstance(item, dict) or "code" not in item or "level" not in item:
                    return False
                ours = ours or _CODE.fullmatch(as_text(item["code"])) is not None
                self.report.findings.append(self._finding(item))
        return ours or not self.report.findings

    def _count(self, text: str, piece: Piece) -> bool:
        """Count messages that are as usual, to be made when somebody asks; say whether they are."""
        try:
            levels = Counter(map(_level_of, piece.values))
            codes = set(map(_code_of, piece.values))
            origins = set(map(_origin_of, piece.values))
            # A TypeError where one is no text.
            "".join(origins)
        except (KeyError, TypeError):
            return False
        # The first message of a code makes its rule.
        if INTERNAL_ERROR in codes or not codes <= self.report.rules.keys():
            return False
        self.clusters.update([as_text(item["cluster"]) for item in piece.values if "cluster" in item])
        _, start, end = piece
        counts: Counter[str] = Counter()
        for level, count in levels.items():
            counts[self._severity(level)] += count
        self.report.findings.later(counts, lambda: self._again(text, start, end), origins)
        return True

    def _again(self, text: str, start: int, end: int) -> list[Finding]:
        return [self._finding(item) for item in Cursor(f"[{text[start:end]}]").value()]

    def _severity(self, level: object) -> str:
        word = level if isinstance(level, str) else as_text(level)
        severity = self._severities.get(word)
        if severity is None:
            severity = self._severities[word] = severity_of(TOOL, word)
        return severity

    def _finding(self, item: dict[str, Any]) -> Finding:
        """Make a finding of a message."""
        code, level, message, origin = item.get("code"), item.get("level"), item.get("message"), item.get("origin")
        if type(code) is not str:
            code = as_text(code)
        if type(level) is not str:
            level = as_text(level)
        if type(message) is not str:
            message = as_text(message)
        if type(origin) is not str:
            origin = as_text(origin)
        rule = self.report.rules.get(code) or self._rule(code, item)
        severity = self._severities.get(level) or self._severity(level)
        resource = self._resources.get(origin)
        if resource is None:
            resource = self._resources[origin] = LazyResource(origin, _who)
        if len(item) <= 5 and "reference" not in item and "cluster" not in item and code != INTERNAL_ERROR:
            return Finding(rule, severity, resource, message, level)
        return self._detailed(DetailedFinding(rule, severity, resource, message, level), item)

    def _detailed(self, finding: DetailedFinding, item: dict[str, Any]) -> Finding:
        if "reference" in item:
            finding.location, finding.line = _place(as_text(item["reference"]))
        if "cluster" in item:
            cluster = as_text(item["cluster"])
            self.clusters.add(cluster)
            finding.message = f"{finding.message} (cluster {cluster})"
        if finding.rule.id == INTERNAL_ERROR:
            self.report.degrade(finding.message or "an internal error of the analysis")
        return finding

    def _rule(self, code: str, item: dict[str, Any]) -> Rule:
        link = item.get("documentationUrl", item.get("documentation_url"))
        # The messages of one code have the same beginning; the first stands for all.
        rule = Rule(id=code or "IST", title=as_text(item.get("message")), link=as_text(link))
        self.report.rules[code] = rule
        return rule


def _who(origin: str) -> tuple[str, str, str, str]:
    """Read "Kind namespace/name", before 1.10 "Kind name.namespace"."""
    kind, _, name = origin.partition(" ")
    if not name:
        return "", "", "", origin
    namespace = ""
    if "/" in name:
        namespace, _, name = name.partition("/")
    elif kind not in _CLUSTER_SCOPED and "." in name:
        name, _, namespace = name.rpartition(".")
    return "", kind, namespace, name


def _place(reference: str) -> tuple[str, int]:
    path, _, line = reference.rpartition(":")
    if path and line.isascii() and line.isdigit() and len(line) < 10:
        return path, int(line)
    return reference, 0


def read(cursor: Cursor) -> Report | None:
    """Read the report at the cursor; None where it is not istioctl's. ``null`` is how Go writes no messages."""
    report = Report(TOOL)
    if cursor.kind() == "n" and cursor.value() is None:
        return report
    if cursor.kind() != "[":
        return None
    messages = _Messages(report)
    if not messages.read(cursor):
        return None
    report.cluster = ", ".join(sorted(messages.clusters))
    return report
