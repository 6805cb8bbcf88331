# Copyright: cicd.sandbox contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reports of popeye, ``-o json``, 0.8 to 0.22.

``popeye`` has score, grade, report_time, errors and the sections (``sanitizers`` before 0.20); a section has a linter
(``sanitizer``), perhaps a gvr, a tally, and issues: a list for every "namespace/name".
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from itertools import chain
from operator import itemgetter
from typing import Any, Final

from ansible_collections.cicd.sandbox.plugins.module_utils.reports.model import (
    ContainerFinding,
    DetailedFinding,
    Finding,
    LazyResource,
    Report,
    Resource,
    Rule,
    as_count,
    as_dict,
    as_number,
    as_text,
    as_time,
    counted,
    form_of,
)
from ansible_collections.cicd.sandbox.plugins.module_utils.reports.severity import severity_of
from ansible_collections.cicd.sandbox.plugins.module_utils.reports.stream import Cursor, Piece

TOOL: Final = "popeye"
CODES: Final = "https://github.com/derailed/popeye/blob/master/docs/codes.md"

_KINDS: Final = (
    "Pod", "Deployment", "StatefulSet", "DaemonSet", "ReplicaSet", "Job", "CronJob", "Service", "Endpoints",
    "ConfigMap", "Secret", "ServiceAccount", "Node", "Namespace", "PersistentVolume", "PersistentVolumeClaim",
    "HorizontalPodAutoscaler", "PodDisruptionBudget", "NetworkPolicy", "Ingress", "IngressClass", "Role", "RoleBinding",
    "ClusterRole", "ClusterRoleBinding", "PodSecurityPolicy", "StorageClass", "Gateway", "GatewayClass", "HTTPRoute",
    "LimitRange", "ResourceQuota", "Cluster",
)  # fmt: skip


def _plural(kind: str) -> str:
    name = kind.lower()
    if name.endswith("s"):
        return name if name.endswith("ts") else name + "es"
    return name[:-1] + "ies" if name.endswith("cy") else name + "s"


# popeye calls kinds "pod", "pods" or "PODS", by version.
_KIND_OF: Final = {_plural(kind): kind for kind in _KINDS} | {kind.lower(): kind for kind in _KINDS}
_level_of: Final = itemgetter("level")
_LEVELS: Final[dict[Any, str]] = {level: severity_of(TOOL, str(level)) for level in (1, 2, 3)}
_USUAL: Final = {0, 1, 2, 3}
_LEVEL: Final = '"level"'
_WORDS: Final[dict[Any, str]] = {1: "info", 2: "warning", 3: "error"}
# What stands in brackets or quotes, and numbers.
_PARTICULAR: Final = re.compile(r"""([(\["])[^()\[\]"]*([)\]"])|(?<!\w)\d[\w.%]*""")
# What Go's %q writes and JSON does not know (popeye 0.22 quotes resource names so).
_GO_ESCAPE: Final = re.compile(r"\\(\\|x([0-9a-fA-F]{2})|U([0-9a-fA-F]{8})|([av']))")
_GO_CONTROLS: Final = {"a": "\\u0007", "v": "\\u000b", "'": "'"}


class _Place:
    """Where issues stand."""

    def __init__(self, linter: str, gvr: str) -> None:
        self.kind = _KIND_OF.get(linter.strip().lower(), linter)
        self.api_version = gvr.rpartition("/")[0]

    def read(self, name: str) -> tuple[str, str, str, str]:
        """Read popeye's name of a resource."""
        namespace, slash, rest = name.partition("/")
        return (self.api_version, self.kind, namespace, rest) if slash else (self.api_version, self.kind, "", name)


def _particulars_left_out(message: str) -> str:
    """Return what a code's messages have in common: popeye's reports don't have the codes' own texts."""
    return _PARTICULAR.sub(lambda match: f"{match[1] or ''}…{match[2] or ''}", message).strip()


def _pairs(text: str, start: int, end: int) -> Iterable[tuple[str, Any]]:
    return Cursor(f"{{{text[start:end]}}}").pairs()


class _Sections:
    """Reads sections into a report."""

    def __init__(self, report: Report) -> None:
        self.report = report
        self.counted = 0
        # By the text up to the closing bracket: a rule's id.
        self._rules: dict[str, Rule] = {}
        # By kind and popeye's name.
        self._resources: dict[str, dict[str, Resource]] = {}

    def read(self, cursor: Cursor) -> None:
        """Consume a section."""
        if cursor.kind() != "{":
            self.report.degrade(f"not read: a section, which is {form_of(cursor.value())} and no object")
            return
        linter, gvr = "", ""
        noted = worse = named = 0
        late: list[tuple[str, Any]] = []
        rest: dict[str, Any] = {}
        for key in cursor.members():
            if key in ("linter", "sanitizer"):
                linter = as_text(cursor.value())
            elif key == "gvr":
                gvr = as_text(cursor.value())
            elif key == "tally":
                noted, worse = self._tally(cursor.value(), linter or "a section")
            elif key == "issues" and cursor.kind() == "{" and linter:
                named += self._issues(_Place(linter, gvr), cursor)
            elif key == "issues":
                value = cursor.value()
                late += as_dict(value).items()
                if value is not None and not isinstance(value, dict):
                    self.report.degrade(f"not read: issues of {linter or 'a section'}, {form_of(value)} and no object")
            else:
                rest[key] = cursor.value()
        if late:
            named += len(late)
            for finding in self._findings(_Place(linter, gvr), late):
                self.report.findings.append(finding)
        # A resource of which there are several issues may be in the tally more than once.
        if worse > named or (noted and not named):
            resources = counted(noted + worse, "resource")
            listed = f"issues of {named:,} are listed" if named else "no issues are listed"
            self.report.degrade(f"{linter or 'a section'}: {resources} with issues by the tally, but {listed}")
        self.report.unread(rest, linter or "a section")

    def _tally(self, value: Any, place: str) -> tuple[int, int]:
        """Count resources; return of how many there are only notes, and of how many warnings or errors."""
        if value is not None and not isinstance(value, dict):
            self.report.degrade(f"not read: the tally of {place}, which is {form_of(value)} and no object")
        tally = as_dict(value)
        ok, noted, warned, failed = (as_count(tally.get(level)) for level in ("ok", "info", "warning", "error"))
        self.report.passed += ok
        self.counted += ok + noted + warned + failed
        return noted, warned + failed

    def _issues(self, place: _Place, cursor: Cursor) -> int:
        """Consume a section's issues; return of how many resources they are."""
        named = 0
        for piece in cursor.pieces():
            named += len(piece.values)
            if piece.end and self._count(place, cursor.text, piece):
                continue
            pairs = piece.values if not piece.end else _pairs(cursor.text, *piece[1:])
            for finding in self._findings(place, pairs):
                self.report.findings.append(finding)
        return named

    def _count(self, place: _Place, text: str, piece: Piece) -> bool:
        """Count issues that are as usual, to be made when somebody asks; say whether they are."""
        try:
            levels = Counter(map(_level_of, chain.from_iterable(piece.values.values())))
        except (KeyError, TypeError):
            return False
        # Without a name, they may be errors of the scan; fewer than the text has are left when a name repeats.
        if "" in piece.values or not levels.keys() <= _USUAL or levels.total() != text.count(_LEVEL, *piece[1:]):
            return False
        counts = {_LEVELS[level]: count for level, count in levels.items() if level}
        names, start, end = piece
        self.report.findings.later(counts, lambda: self._findings(place, _pairs(text, start, end)), set(names))
        return True

    def _findings(self, place: _Place, issues: Iterable[tuple[str, Any]]) -> list[Finding]:
        """Make findings of issues by name."""
        known = self._resources.setdefault(place.kind, {})
        found: list[Finding] = []
        add = found.append
        rules, levels, words = self._rules, _LEVELS, _WORDS
        for name, listed in issues:
            resource = known.get(name)
            if resource is None:
                resource = known[name] = LazyResource(name, place.read)
            for issue in listed if type(listed) is list else self._no_list(resource, listed):
                try:
                    message, level, group = issue["message"], issue["level"], issue["group"]
                    severity = levels[level]
                    rule = rules[message[: message.index("]")]]
                except (KeyError, TypeError, ValueError, AttributeError):
                    found += self._odd(resource, name, issue)
                    continue
                if group == "__root__":
                    add(Finding(rule, severity, resource, message, words[level]))
                elif type(group) is str:
                    add(ContainerFinding(rule, severity, resource, message, words[level], group))
                else:
                    found += self._odd(resource, name, issue)
        return found

    def _no_list(self, resource: Resource, listed: Any) -> list[Any]:
        """Name issues that can't be read; null is how Go writes none."""
        if listed is not None:
            self.report.degrade(f"not read: issues of {resource.label}, {form_of(listed)} and no list")
        return []

    def _odd(self, resource: Resource, name: str, issue: Any) -> list[Finding]:
        """Make a finding of what is not as usual: a rule's first issue, an error of the scan, an unknown field."""
        if not isinstance(issue, dict):
            self.report.degrade(f"not read: an issue of {resource.label}, {form_of(issue)} and no object")
            return []
        message, level = as_text(issue.get("message")), issue.get("level")
        number = float(level) if isinstance(level, bool) else as_number(level)
        coded = message.startswith("[POP-") and "]" in message
        if number == 0:
            return []
        if not coded and not name and (number is None or number >= 3):
            self.report.degrade(f"{resource.kind}: {message or 'unknown error'}")
            return []
        word = as_text(int(number)) if number is not None else as_text(level)
        finding = DetailedFinding(
            self._rule(message, coded=coded),
            severity_of(TOOL, word),
            resource,
            message,
            _WORDS.get(number, as_text(level)),
        )
        group = as_text(issue.get("group"))
        finding.container = "" if group == "__root__" else group
        return [finding]

    def _rule(self, message: str, *, coded: bool) -> Rule:
        start = message[: message.index("]")] if coded else ""
        rule = self._rules.get(start)
        if rule is None:
            title = _particulars_left_out(message[len(start) + 1 :]) if coded else "popeye message without a code"
            rule = Rule(id=start[1:] or "POP", title=title, link=CODES)
            # A short cut by equal texts; never for messages that only look like coded ones.
            self._rules[start] = rule
            self.report.rules[rule.id] = rule
        return rule


def read(cursor: Cursor) -> Report | None:
    """Read the report at the cursor; None where it is not popeye's."""
    report = Report(TOOL)
    if cursor.kind() != "{":
        return None
    found = False
    rest: dict[str, Any] = {}
    for key in cursor.members():
        if key == "popeye" and cursor.kind() == "{":
            found = True
            _body(report, cursor)
        elif key == "ClusterName":
            report.cluster = as_text(cursor.value())
        elif key == "ContextName":
            report.context = as_text(cursor.value())
        else:
            rest[key] = cursor.value()
    if not found:
        return None
    report.unread(rest, "the report")
    return report


def _body(report: Report, cursor: Cursor) -> None:
    sections = _Sections(report)
    rest: dict[str, Any] = {}
    for key in cursor.members():
        if key in ("sections", "sanitizers") and cursor.kind() == "[":
            for _ in cursor.places():
                sections.read(cursor)
        elif key in ("sections", "sanitizers"):
            value = cursor.value()
            if value is not None:
                report.degrade(f"not read: {key}, which is {form_of(value)} and no list")
        elif key == "errors":
            for error in _errors(cursor.value(pairs=True)):
                report.degrade(error)
        elif key == "score":
            report.score = as_number(cursor.value())
        elif key == "grade":
            report.grade = as_text(cursor.value())
        elif key == "report_time":
            report.scanned_at = as_time(cursor.value())
        elif key in ("version", "popeye_version"):
            report.tool_version = as_text(cursor.value())
        else:
            rest[key] = cursor.value()
    report.unread(rest, "the report")
    report.empty = not sections.counted and not report.findings


def _errors(value: Any) -> list[str]:
    """Read errors in all their shapes; in 0.11 and before, a list of empty objects has lost the texts."""
    errors: list[str] = []
    for item in value if isinstance(value, list) else [value]:
        if isinstance(item, tuple):
            errors.append(as_text(item[1]) or "an error without a text")
        elif item in ([], {}):
            errors.append("an error whose text popeye lost")
        elif isinstance(item, list):
            errors += _errors(item)
        elif item is not None:
            errors.append(as_text(item))
    return errors


def mend(text: str) -> str:
    r"""Return text in which what only Go may escape (``\x41``, ``\a``, ``\U0001F600``) is as JSON has it."""
    return _GO_ESCAPE.sub(_as_json, text)


def _as_json(match: re.Match[str]) -> str:
    whole, byte, wide, control = match.groups()
    if byte:
        return f"\\u00{byte}"
    if wide:
        point = int(wide, 16)
        if point > 0x10FFFF:
            return "\\ufffd"
        return "".join(
            f"\\u{unit}" for unit in re.findall("....", chr(point).encode("utf-16-be", "surrogatepass").hex())
        )
    return _GO_CONTROLS[control] if control else f"\\{whole}"
