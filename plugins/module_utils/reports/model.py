# Copyright: cicd.sandbox contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What all scanners' reports have in common."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from operator import attrgetter
from typing import Any, Final, overload

FORMAT: Final = "cicd.sandbox/report-1"

# What XML can't carry, what drives a terminal, and halves of surrogate pairs.
_UNSAFE: Final = re.compile("[^\t\n\x20-\x7e\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
# The zero times of Go and of Unix.
_ZERO_TIME: Final = re.compile(r"(?:0001-01-01|1970-01-01)T00:00:00(?:\.0+)?(?:Z|[+-]00:?00)?\Z")
_DIGITS: Final = re.compile(r"\d+")
_MOST_RESTS: Final = 10_000
_TAG: Final = re.compile(r"(?:@sha\d+:[0-9a-f]+|:[\w][\w.-]*)$")


class ReportError(Exception):
    """A report, or what belongs to it, can't be used. The text says what is wrong, where, and what to do."""


def safe(text: str) -> str:
    r"""Return a text with control characters and broken surrogates written out: ``\x1b``."""
    if text.isascii() and text.isprintable():
        return text
    return _UNSAFE.sub(_written_out, text.replace("\r\n", "\n"))


def _written_out(match: re.Match[str]) -> str:
    return match.group().encode("unicode_escape", "surrogatepass").decode("ascii")


def as_text(value: object) -> str:
    """Return what a report gives where text is expected; numbers and structures as JSON, null as nothing."""
    if isinstance(value, str):
        return value
    if value is None:
        return ""
    return json.dumps(value, default=str)[:2000]


def as_number(value: object) -> float | None:
    """Return a finite number, also from text; None where there is none."""
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        return None
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None


def as_count(value: object) -> int:
    """Return a number of things; 0 where there is none."""
    number = as_number(value)
    return int(number) if number is not None and number > 0 else 0


def as_time(value: object) -> str:
    """Return a point in time as the tool wrote it; nothing for the zero values that say that there is none."""
    text = as_text(value).strip()
    return "" if _ZERO_TIME.match(text) or text == "0" else text


def counted(number: int, one: str, many: str = "") -> str:
    """Return a number of things in words: "1 warning", "2 warnings"."""
    return f"{number:,} {one if number == 1 else many or one + 's'}"


def article(noun: str) -> str:
    """Return a noun with its indefinite article."""
    return f"{'an' if noun[:1].lower() in 'aeiou' else 'a'} {noun}"


def form_of(value: object) -> str:
    """Say what a decoded JSON value is, for messages about the wrong one."""
    if isinstance(value, dict):
        return "an object"
    if isinstance(value, list):
        return "a list"
    return f"the text {value[:40]!r}" if isinstance(value, str) else f"JSON's {as_text(value) or 'null'}"


def as_list(value: object) -> list[Any]:
    """Return a list; an empty one for null and for what is none."""
    return value if isinstance(value, list) else []


def as_dicts(value: object) -> list[dict[str, Any]]:
    """Return the objects of a list."""
    return [item for item in as_list(value) if isinstance(item, dict)]


def as_dict(value: object) -> dict[str, Any]:
    """Return an object; an empty one for null and for what is none."""
    return value if isinstance(value, dict) else {}


_TELLING: Final = {
    "severity", "level", "vulnerabilityid", "ruleid", "rule", "cve", "controlid", "rulestatus", "eosl",
}  # fmt: skip


def _telling(item: dict[str, Any]) -> bool:
    return not _TELLING.isdisjoint(key.lower() for key in item)


def could_be_findings(value: object, depth: int = 4) -> int:
    """Return how many entries a part of a report has that might be findings; 0 where nothing looks like it."""
    parts = list(value.values()) if isinstance(value, dict) else as_list(value)
    objects = as_dicts(parts)
    if any(_telling(item) for item in objects):
        return len(objects)
    if isinstance(value, dict) and _telling(value):
        return 1
    return sum(could_be_findings(item, depth - 1) for item in parts if isinstance(item, (dict, list))) if depth else 0


@dataclasses.dataclass(slots=True, eq=False)
class Rule:
    """What was checked. ``canonical`` is the id's spelling that outlives renames by the tool."""

    id: str
    title: str = ""
    link: str = ""
    remediation: str = ""
    description: str = ""
    canonical: str = ""
    alias: str = ""

    @property
    def names(self) -> set[str]:
        """All spellings by which people know the rule."""
        return {name for name in (self.id, self.canonical, self.alias) if name}


@dataclasses.dataclass(slots=True, eq=False)
class Resource:
    """What a finding is about; fields that the tool does not know are empty."""

    api_version: str = ""
    kind: str = ""
    namespace: str = ""
    name: str = ""

    @property
    def label(self) -> str:
        """Kind/name, as waivers match it."""
        return f"{self.kind}/{self.name}" if self.kind else self.name

    @property
    def identity(self) -> str:
        """What stays the same from scan to scan: an image without its tag or digest."""
        name = _TAG.sub("", self.name) if self.kind == "Image" else self.name
        return f"{self.kind}\0{self.namespace}\0{name}"


class LazyResource(Resource):
    """A resource that is read from the tool's own name for it when somebody asks: of most findings nobody does."""

    __slots__ = ("_read", "raw")

    def __init__(self, raw: str, read: Callable[[str], tuple[str, str, str, str]]) -> None:
        self.raw = raw
        self._read = read

    def __getattr__(self, name: str) -> str:
        """Fill in Resource's fields; Python calls this for those that are not there yet."""
        if name not in _FIELDS:
            raise AttributeError(name)
        self.api_version, self.kind, self.namespace, self.name = self._read(self.raw)
        return str(object.__getattribute__(self, name))


_FIELDS: Final = frozenset(field.name for field in dataclasses.fields(Resource))


class _Plain:
    """What most findings don't have: here once, not in each of a million of them."""

    __slots__ = ()

    container: str = ""
    # Why the tool itself lets it pass (an exception, a VEX statement); None where it does not.
    exception: str | None = None
    # What tells it from the rule's other findings on the resource, today and tomorrow; None: its message.
    key: str | None = None
    # In location, counted from 1; 0 where unknown.
    line: int = 0
    # A file.
    location: str = ""
    package: str = ""
    remedy: str = ""


class Finding(_Plain):
    """One thing that a tool found in one place. ``level`` is the tool's own word for the severity."""

    __slots__ = ("level", "message", "resource", "rule", "severity")

    def __init__(self, rule: Rule, severity: str, resource: Resource, message: str, level: str) -> None:
        self.rule = rule
        self.severity = severity
        self.resource = resource
        self.message = message
        self.level = level

    def as_dict(self, tool: str, fingerprint: str) -> dict[str, Any]:
        """Return the shared model's form: JSON that anybody may print."""
        resource = self.resource
        return {
            "tool": tool,
            "rule": safe(self.rule.id),
            "title": safe(self.rule.title),
            "severity": self.severity,
            "level": safe(self.level),
            "resource": {
                "api_version": safe(resource.api_version),
                "kind": safe(resource.kind),
                "namespace": safe(resource.namespace),
                "name": safe(resource.name),
                "container": safe(self.container),
            },
            "message": safe(self.message),
            "package": safe(self.package),
            "location": safe(self.location),
            "line": self.line,
            "remediation": safe(self.remedy or self.rule.remediation),
            "link": safe(self.rule.link),
            "fingerprint": fingerprint,
        }


class ContainerFinding(Finding):
    """A finding about a container."""

    # This hides the class attribute of the same name.
    __slots__ = ("container",)

    def __init__(self, rule: Rule, severity: str, resource: Resource, message: str, level: str, container: str) -> None:
        self.rule = rule
        self.severity = severity
        self.resource = resource
        self.message = message
        self.level = level
        self.container = container


class DetailedFinding(Finding):
    """A finding of which the tool says more."""

    # These hide the class attributes of the same names.
    __slots__ = ("container", "exception", "key", "line", "location", "package", "remedy")

    def __init__(self, rule: Rule, severity: str, resource: Resource, message: str, level: str) -> None:
        self.rule = rule
        self.severity = severity
        self.resource = resource
        self.message = message
        self.level = level
        self.container = ""
        self.exception = None
        self.key = None
        self.line = 0
        self.location = ""
        self.package = ""
        self.remedy = ""


class _Unread:
    """Findings that are still text: how many of each severity, what makes them, whose they are."""

    __slots__ = ("counts", "make", "names")

    def __init__(
        self, counts: Mapping[str, int], make: Callable[[], list[Finding]], names: AbstractSet[object]
    ) -> None:
        self.counts = counts
        self.make = make
        self.names = names


class Findings(Sequence[Finding]):
    """Findings in the report's order. Of a large report, most are counted and never made: nobody asks for them."""

    # Adds a finding. Not to be kept: later() puts another in its place.
    append: Callable[[Finding], None]

    def __init__(self, findings: Iterable[Finding] = ()) -> None:
        self._parts: list[list[Finding] | _Unread] = []
        self._begin(list(findings))

    def _begin(self, part: list[Finding]) -> None:
        self._parts.append(part)
        self.append = part.append

    def later(self, counts: Mapping[str, int], make: Callable[[], list[Finding]], names: AbstractSet[object]) -> None:
        """Add findings that ``make`` makes on demand; ``counts`` are theirs by severity.

        ``names`` are those of their resources: LazyResource.raw, or the id() of the one object for a plain one.
        """
        self._parts.append(_Unread(counts, make, names))
        self._begin([])

    def _part(self, number: int) -> list[Finding]:
        part = self._parts[number]
        if isinstance(part, _Unread):
            part = self._parts[number] = part.make()
        return part

    def __iter__(self) -> Iterator[Finding]:
        for number in range(len(self._parts)):
            yield from self._part(number)

    def __len__(self) -> int:
        return sum(sum(part.counts.values()) if isinstance(part, _Unread) else len(part) for part in self._parts)

    @overload
    def __getitem__(self, index: int) -> Finding: ...

    @overload
    def __getitem__(self, index: slice) -> list[Finding]: ...

    def __getitem__(self, index: int | slice) -> Finding | list[Finding]:
        return list(self)[index]

    def counts(self) -> Counter[str]:
        """Count by severity."""
        counts: Counter[str] = Counter()
        for part in self._parts:
            counts.update(part.counts if isinstance(part, _Unread) else map(attrgetter("severity"), part))
        return counts

    def of_severity(self, severity: str) -> Iterator[Finding]:
        """Give those of a severity."""
        for number, part in enumerate(self._parts):
            if not isinstance(part, _Unread) or part.counts.get(severity):
                yield from (finding for finding in self._part(number) if finding.severity == severity)

    def of_resources(self, resources: set[Resource]) -> Iterator[Finding]:
        """Give those of some resources of theirs."""
        names = {item.raw if isinstance(item, LazyResource) else id(item) for item in resources}
        for number, part in enumerate(self._parts):
            if not isinstance(part, _Unread) or not names.isdisjoint(part.names):
                yield from (finding for finding in self._part(number) if finding.resource in resources)


@dataclasses.dataclass(slots=True, eq=False)
class Report:
    """What a tool reported, whatever the tool."""

    tool: str
    tool_version: str = ""
    # Where to read about the tool, as it says itself.
    home: str = ""
    # As the tool wrote it.
    scanned_at: str = ""
    # What was scanned, in a few words, where it is no cluster: an image, a repository, a folder.
    target: str = ""
    # What else the report says of it, by name: digest, operating system, branch.
    about: dict[str, str] = dataclasses.field(default_factory=dict)
    cluster: str = ""
    context: str = ""
    # 0 to 100, more is better.
    score: float | None = None
    grade: str = ""
    findings: Findings = dataclasses.field(default_factory=Findings)
    passed: int = 0
    skipped: int = 0
    # Which checks were skipped, by the reason.
    skips: dict[str, list[str]] = dataclasses.field(default_factory=dict)
    # Namespaces that the scan knows, beside those of its findings and resources.
    namespaces: set[str] = dataclasses.field(default_factory=set)
    # Why the scan does not cover what it should.
    errors: list[str] = dataclasses.field(default_factory=list)
    # Nothing was scanned.
    empty: bool = False
    # Whether the tool itself lets some of the findings pass.
    has_exceptions: bool = False
    rules: dict[str, Rule] = dataclasses.field(default_factory=dict)
    resources: dict[tuple[str, str, str], Resource] = dataclasses.field(default_factory=dict)

    def resource(self, api_version: str, kind: str, namespace: str, name: str) -> Resource:
        """Return the one object for a resource: findings of the same resource share it."""
        key = (kind, namespace, name)
        known = self.resources.get(key)
        if known is None:
            known = self.resources[key] = Resource(api_version, *key)
        return known

    def name_target(self, target: str) -> None:
        """Name what was scanned, where the report does not: of findings that are in no place it is the resource."""
        self.target = self.target or target
        nowhere = self.resources.get(("", "", ""))
        if nowhere is not None:
            nowhere.name = target

    def degrade(self, why: str) -> None:
        """Note, once, that the scan is partial."""
        if why not in self.errors and len(self.errors) < 100:
            self.errors.append(why)

    def objects(self, value: object, what: str) -> list[dict[str, Any]]:
        """Return the objects of a list, null being an empty one; what is there and can't be read is named.

        ``what`` it is, with its place: "Vulnerabilities of web:1.2".
        """
        if value is None:
            return []
        if not isinstance(value, list):
            self.degrade(f"not read: {what}, which is {form_of(value)} and no list")
            return []
        found = [item for item in value if isinstance(item, dict)]
        if lost := len(value) - len(found):
            self.degrade(f"not read: {counted(lost, 'entry', 'entries')} of {what}, no object")
        return found

    def part(self, value: object, what: str) -> dict[str, Any]:
        """Return an object, null being an empty one; what is there and is none is named."""
        if value is not None and not isinstance(value, dict):
            self.degrade(f"not read: {what}, which is {form_of(value)} and no object")
        return as_dict(value)

    def unread(self, unknown: Mapping[str, Any], place: str) -> None:
        """Name those of the unknown parts of a report that could carry findings."""
        for key, value in unknown.items():
            if number := could_be_findings(value):
                self.degrade(f"not read: {key[:60]!r} of {place}, with {counted(number, 'entry', 'entries')}")

    def all_namespaces(self) -> set[str]:
        """Return the namespaces of which the report knows, as far as it says."""
        known = {resource.namespace for resource in self.resources.values()} | self.namespaces
        for resource in {finding.resource for finding in self.findings}:
            known.add(resource.namespace)
            if resource.kind == "Namespace":
                known.add(resource.name)
        return known


def fingerprints(tool: str, wanted: Sequence[Finding], everything: Findings) -> list[str]:
    """Return stable names, hexadecimal, for the wanted findings.

    Findings that nothing tells apart are counted in the report's order, so that no two names are equal; hence
    ``everything``, all of the report's findings.
    """
    # A report has one object for a resource, and so what might be equal is found by the object.
    resources = {finding.resource for finding in wanted}
    names = name_all(tool, everything.of_resources(resources), {id(finding) for finding in wanted})
    return [names[id(finding)] for finding in wanted]


def name_all(tool: str, findings: Iterable[Finding], chosen: AbstractSet[int] | None = None) -> dict[int, str]:
    """Return the stable names of all findings of some resources, or of those chosen among them, by the id() of each."""
    names: dict[int, str] = {}
    # How many there are of those that nothing tells apart, by the first one's name.
    same: dict[str, int] = {}
    # The same messages again and again, as a rule; and one resource after the other.
    rests: dict[str, str] = {}
    last: Resource | None = None
    identity = ""
    sha256 = hashlib.sha256
    for finding in findings:
        resource, rule, rest = finding.resource, finding.rule, finding.key
        if resource is not last:
            last, identity = resource, resource.identity
        if rest is None:
            message = finding.message
            rest = rests.get(message)
            if rest is None:
                rest = _DIGITS.sub("#", message)
                if len(rests) < _MOST_RESTS:
                    rests[message] = rest
        base = f"{tool}\0{rule.canonical or rule.id}\0{identity}\0{finding.container}\0{rest}\0"
        name = sha256(f"{base}0".encode("utf-8", "surrogatepass")).hexdigest()[:32]
        if name in same:
            same[name] = nth = same[name] + 1
            name = sha256(f"{base}{nth}".encode("utf-8", "surrogatepass")).hexdigest()[:32]
        else:
            same[name] = 0
        if chosen is None or id(finding) in chosen:
            names[id(finding)] = name
    return names
