# Copyright: cicd.sandbox contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Waivers: findings that are known and accepted, for a reason, for a time."""

from __future__ import annotations

import dataclasses
import datetime as dt
import fnmatch
import re
from collections.abc import Callable, Sequence
from typing import Any, Final

from ansible_collections.cicd.sandbox.plugins.module_utils.reports.model import (
    Finding,
    ReportError,
    Rule,
    as_text,
    safe,
)
from ansible_collections.cicd.sandbox.plugins.module_utils.reports.severity import RANK

# How each tool's rules are called: a file of waivers may be shared by all of them.
_OWN_RULES: Final = {
    "popeye": re.compile(r"POP(?:-\d*|\Z)"),
    "kubescape": re.compile(r"(?:C-\d*|CVE-|GHSA-)"),
    "istioctl": re.compile(r"IST(?:\d+|\Z)"),
    "trivy": re.compile(
        r"(?:(?:CVE|GHSA|AVD|KSV|KCV|DS|AWS|AZU|GCP|DIG|GIT|NIF|OCI|OPNSTK|PYSEC|RUSTSEC|GO|DLA|DSA|RHSA|ELSA|ALAS|TEMP)-?\d*"
        r"|license-|EOSL|[a-z0-9]+-[a-z0-9-]+\Z)"
    ),
}
_WILD: Final = re.compile(r"[*?\[]")

_KEYS: Final = ("rule", "resource", "namespace", "reason", "expires")
# From this severity on, a waiver has to end some day.
NEEDS_EXPIRY: Final = "high"


@dataclasses.dataclass(slots=True, eq=False)
class Waiver:
    """Patterns of what is waived. ``expires`` is the last day on which it counts."""

    rule: str
    resource: str
    namespace: str
    reason: str
    expires: dt.date | None
    matched: int = 0
    # Findings that it would cover, had it an end.
    refused: int = 0
    # Findings that count again, because it has ended and no other covers them.
    again: int = 0
    _namespace_matches: Callable[[str], object] = dataclasses.field(init=False, repr=False)
    _resource_matches: Callable[[str], object] = dataclasses.field(init=False, repr=False)
    _rule_matches: Callable[[str], object] = dataclasses.field(init=False, repr=False)

    def __post_init__(self) -> None:
        self._namespace_matches = _glob(self.namespace)
        self._resource_matches = _glob(self.resource)
        self._rule_matches = _glob(self.rule)

    def fits_rule(self, rule: Rule) -> bool:
        """Say whether any of the rule's spellings is meant."""
        return any(self._rule_matches(name) for name in rule.names)

    def fits_namespace(self, namespace: str) -> bool:
        """Say whether a namespace is meant."""
        return self.namespace == "*" or bool(self._namespace_matches(namespace))

    def fits_resource(self, finding: Finding) -> bool:
        """Say whether the finding's resource, package or file is meant."""
        if self.resource == "*":
            return True
        matches, resource = self._resource_matches, finding.resource
        if (label := resource.label) and (matches(label) or matches(resource.name)):
            return True
        package, location = finding.package, finding.location
        if package and (matches(package) or matches(package.partition("@")[0])):
            return True
        return bool(location and matches(location))

    def concerns(self, tool: str) -> bool:
        """Say whether its rule may be one of a tool's: not when it is called as only another tool's rules are."""
        start = _WILD.split(self.rule, maxsplit=1)[0]
        owners = {name for name, form in _OWN_RULES.items() if start and form.match(start)}
        # How the rules of a tool are called that is known by its SARIF alone, nobody knows: like Trivy's, maybe.
        return not owners or (tool if tool in _OWN_RULES else "trivy") in owners

    def expired(self, today: dt.date) -> bool:
        """Say whether its last day is over."""
        return self.expires is not None and today > self.expires

    def as_dict(self) -> dict[str, Any]:
        """Return it as the user wrote it, with the number of findings that it fits."""
        return {
            "rule": safe(self.rule),
            "resource": safe(self.resource),
            "namespace": safe(self.namespace),
            "reason": safe(self.reason),
            "expires": self.expires.isoformat() if self.expires else None,
            "findings": self.matched,
            "again": self.again,
        }


def _glob(pattern: str) -> Callable[[str], object]:
    # A plain name is compared faster than matched.
    return re.compile(fnmatch.translate(pattern)).match if _WILD.search(pattern) else pattern.__eq__


def read_waivers(value: object, where: str) -> list[Waiver]:
    """Return the waivers of a list, or of a mapping with the key ``waivers``; ReportError names all that is wrong."""
    if isinstance(value, dict) and set(value) == {"waivers"}:
        value = value["waivers"]
    if value is None:
        return []
    if not isinstance(value, list):
        raise ReportError(f"{where}: expected a list of waivers, found {type(value).__name__}")
    problems: list[str] = []
    waivers: list[Waiver] = []
    for number, item in enumerate(value, 1):
        place = f"{where}: waiver {number}"
        rules = item.get("rule") if isinstance(item, dict) else None
        if not isinstance(rules, list):
            rules = [rules]
        elif not rules:
            problems.append(f"{place}: rule is an empty list")
        # What is accepted for the same reason is one waiver to its reader, and several here: each is used or not.
        for rule in rules:
            waiver = _read({**item, "rule": rule} if isinstance(item, dict) else item, problems, place)
            if waiver is not None:
                waivers.append(waiver)
    if problems:
        raise ReportError("; ".join(dict.fromkeys(problems)))
    return waivers


def _read(item: object, problems: list[str], where: str) -> Waiver | None:
    if not isinstance(item, dict):
        problems.append(f"{where}: expected a mapping with rule, reason and so on, found {as_text(item)[:60]!r}")
        return None
    found = len(problems)
    unknown = [as_text(key) for key in item if key not in _KEYS]
    if unknown:
        problems.append(f"{where}: unknown {', '.join(unknown)}; known are {', '.join(_KEYS)}")
    texts: dict[str, str] = {}
    for key, default in (("rule", ""), ("resource", "*"), ("namespace", "*"), ("reason", "")):
        value = item.get(key)
        if value is not None and not isinstance(value, (str, int)):
            problems.append(f"{where}: {key} is no text")
        texts[key] = default if value is None else as_text(value).strip()
        if not texts[key] and key in ("rule", "reason"):
            problems.append(f"{where}: {key} is missing" + (": say why it is accepted" if key == "reason" else ""))
    try:
        expires = _date(item.get("expires"))
    except ValueError:
        problems.append(f"{where}: expires is {as_text(item['expires'])[:40]!r}, not a date like 2027-01-31")
        return None
    return (
        None
        if len(problems) > found
        else Waiver(texts["rule"], texts["resource"], texts["namespace"], texts["reason"], expires)
    )


def _date(value: object) -> dt.date | None:
    if value is None or value == "":
        return None
    if isinstance(value, dt.datetime):
        return value.date()
    if isinstance(value, dt.date):
        return value
    if not isinstance(value, str) or not re.fullmatch(r"\d{4}-\d\d-\d\d", value.strip()):
        raise ValueError
    return dt.date.fromisoformat(value.strip())


class Matcher:
    """Finds the waiver of a finding: the first that fits and counts."""

    def __init__(self, waivers: Sequence[Waiver], today: dt.date) -> None:
        self._waivers = waivers
        self._today = today
        # Those that fit a rule and a namespace, of which there are few.
        self._fitting: dict[tuple[int, str], list[Waiver]] = {}

    def __call__(self, finding: Finding, *, wanted: bool = True) -> Waiver | None:
        """Return the waiver; note on those that fit whether they counted. ``wanted``: in a namespace that counts."""
        rule, namespace = finding.rule, finding.resource.namespace
        waivers = self._fitting.get((id(rule), namespace))
        if waivers is None:
            waivers = self._fitting[id(rule), namespace] = [
                waiver for waiver in self._waivers if waiver.fits_rule(rule) and waiver.fits_namespace(namespace)
            ]
        chosen: Waiver | None = None
        ended: Waiver | None = None
        for waiver in waivers:
            if not waiver.fits_resource(finding):
                continue
            waiver.matched += 1
            if waiver.expired(self._today):
                ended = ended or waiver
                continue
            if waiver.expires is None and RANK[finding.severity] <= RANK[NEEDS_EXPIRY]:
                waiver.refused += 1
                continue
            chosen = chosen or waiver
        if ended and not chosen and wanted and finding.exception is None:
            ended.again += 1
        return chosen
