# Copyright: cicd.sandbox contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Read the checks that a task gives. Everything that is wrong is named, with its place: ``checks[2].status``."""

from __future__ import annotations

import base64
import dataclasses
import difflib
import json
import re
import ssl
import traceback
import urllib.parse
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ansible.module_utils.common.arg_spec import ArgumentSpecValidator, ValidationResult
from ansible.module_utils.errors import UnsupportedError
from ansible_collections.cicd.sandbox.plugins.module_utils.checks.expectations import (
    OPERATORS,
    Expectation,
    shown,
)
from ansible_collections.cicd.sandbox.plugins.module_utils.checks.http import SECRET_HEADERS, Request
from ansible_collections.cicd.sandbox.plugins.module_utils.kubernetes.api import API_VERSIONS, Target

JMESPATH_IMPORT_ERROR: str | None = None
try:
    import jmespath
except ImportError:
    JMESPATH_IMPORT_ERROR = traceback.format_exc()

METHODS = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]
READING_METHODS = frozenset({"GET", "HEAD"})
_MAX_SECONDS = 24 * 3600.0
_OPERATORS: dict[str, Any] = {
    "equals": {"type": "raw"},
    "contains": {"type": "raw"},
    "matches": {"type": "str"},
    "gt": {"type": "float"},
    "gte": {"type": "float"},
    "lt": {"type": "float"},
    "lte": {"type": "float"},
}
_OBJECT: dict[str, Any] = {"kind": {"type": "str", "required": True}, "api_version": {"type": "str"}}
_BEHIND: dict[str, Any] = {**_OBJECT, "namespace": {"type": "str"}, "name": {"type": "str", "required": True}}
_VALUES: dict[str, Any] = {
    "type": "list",
    "elements": "dict",
    "options": {"query": {"type": "str", "required": True}, **_OPERATORS},
}
_KUBERNETES: dict[str, Any] = {
    **_OBJECT,
    "namespace": {"type": "str"},
    "name": {"type": "str"},
    "label_selector": {"type": "str"},
    "condition": {"type": "str"},
    "condition_status": {"type": "str", "choices": ["True", "False", "Unknown"]},
    "minimum": {"type": "int", "default": 1},
    "values": _VALUES,
}
# Of a check of an address, without those that have a default.
_OF_ADDRESSES: dict[str, Any] = {
    "headers": {"type": "dict"},
    "body": {"type": "str"},
    "json": {"type": "raw"},
    "username": {"type": "str"},
    "password_file": {"type": "path"},
    "ca_path": {"type": "path"},
    "server_name": {"type": "str"},
    "client_cert": {"type": "path"},
    "client_key": {"type": "path"},
    "max_time": {"type": "float"},
    "response_headers": {"type": "dict"},
    "contains": {"type": "raw"},
    "matches": {"type": "raw"},
    "values": _VALUES,
    "behind": {"type": "list", "elements": "dict", "options": _BEHIND},
}
CHECK: dict[str, Any] = {
    "name": {"type": "str", "required": True},
    "deadline": {"type": "float"},
    "timeout": {"type": "float"},
    "url": {"type": "str"},
    "method": {"type": "str", "choices": METHODS, "default": "GET"},
    "validate_certs": {"type": "bool", "default": True},
    "follow_redirects": {"type": "bool", "default": False},
    "status": {"type": "list", "elements": "int", "default": [200]},
    **_OF_ADDRESSES,
    "kubernetes": {
        "type": "dict",
        "options": _KUBERNETES,
        "mutually_exclusive": [("name", "label_selector")],
        "required_by": {"condition_status": ("condition",)},
    },
}
VALIDATOR = ArgumentSpecValidator(
    CHECK,
    mutually_exclusive=[("url", "kubernetes"), ("body", "json")],
    required_one_of=[("url", "kubernetes")],
    required_together=[("username", "password_file")],
    required_by={"client_key": ("client_cert",), **dict.fromkeys(_OF_ADDRESSES.keys() - {"client_key"}, ("url",))},
)
OPERATORS_VALIDATOR = ArgumentSpecValidator(_OPERATORS)


class ArgumentError(Exception):
    """What is wrong with the arguments, a line for each."""

    def __init__(self, problems: Sequence[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = list(problems)


@dataclasses.dataclass(frozen=True)
class Query:
    """A JMESPath expression on the answer's JSON, and what its value is expected to be."""

    text: str
    compiled: Any
    expectation: Expectation


@dataclasses.dataclass(frozen=True)
class HttpExpectations:
    """What an answer is expected to be."""

    statuses: tuple[int, ...] = (200,)
    headers: Mapping[str, Expectation] = dataclasses.field(default_factory=dict)
    queries: tuple[Query, ...] = ()
    contains: tuple[str, ...] = ()
    matches: tuple[re.Pattern[str], ...] = ()
    max_time: float | None = None


@dataclasses.dataclass(frozen=True)
class HttpArguments:
    """A check of an address. ``behind``: what in the cluster answers there, for the diagnosis."""

    request: Request
    expected: HttpExpectations
    behind: tuple[Target, ...] = ()
    secrets: tuple[str, ...] = ()

    @property
    def only_reads(self) -> bool:
        """Whether it may run in check mode."""
        return self.request.method in READING_METHODS


@dataclasses.dataclass(frozen=True)
class KubernetesArguments:
    """A check of objects. ``condition`` None: that they are ready, in the way of their kind. ``queries``: of each."""

    target: Target
    condition: str | None = None
    condition_status: str = "True"
    minimum: int = 1
    queries: tuple[Query, ...] = ()


@dataclasses.dataclass(frozen=True)
class CheckArguments:
    """One check. Times are in seconds: ``timeout`` of an attempt, ``deadline`` of all of them."""

    name: str
    what: HttpArguments | KubernetesArguments
    timeout: float
    deadline: float


def read_checks(checks: Sequence[Mapping[str, Any]], timeout: float, deadline: float) -> list[CheckArguments]:
    """Return the checks; ArgumentError names every problem of every check.

    Each is validated by Ansible's own validator, one by one: of a list it would not say which item is wrong.
    """
    problems: list[str] = []
    read = []
    for index, given in enumerate(checks):
        try:
            read.append(_check(given, timeout, deadline))
        except ArgumentError as exc:
            problems += [f"checks[{index}]{problem}" for problem in exc.problems]
    seen: dict[str, int] = {}
    for index, given in enumerate(checks):
        name = str(given.get("name"))
        if name in seen:
            problems.append(f"checks[{index}].name: {name!r} is the name of checks[{seen[name]}], too")
        seen.setdefault(name, index)
    if problems:
        raise ArgumentError(problems)
    return read


class _Check:
    """The values of one check, validated against CHECK; problems that Ansible can't see are collected."""

    def __init__(self, given: Mapping[str, Any]) -> None:
        self.given = dict(given)
        if isinstance(self.given.get("behind"), Mapping):
            self.given["behind"] = [self.given["behind"]]
        result = VALIDATOR.validate(self.given)
        self.values: dict[str, Any] = result.validated_parameters
        self.problems = [f": {message}" for message in _messages(result)]

    def complain(self, option: str, problem: str) -> None:
        """Note a problem of an option, e.g. ``values[0].query``."""
        self.problems.append(f".{option}: {problem}")

    def settle(self) -> None:
        """Raise ArgumentError where anything is wrong."""
        if self.problems:
            raise ArgumentError(self.problems)

    def texts(self, option: str) -> tuple[str, ...]:
        """Return a text or a list of texts as a tuple. A list of Ansible's would be cut at commas."""
        value = self.values.get(option)
        items = value if isinstance(value, list) else [] if value is None else [value]
        for item in items:
            if not isinstance(item, str) or not item:
                self.complain(option, f"{shown(item, 60)} is not a text, or empty")
        return tuple(item for item in items if isinstance(item, str) and item)

    def seconds(self, option: str, at_least: float) -> float | None:
        """Return a number of seconds, None where there is none."""
        value: float | None = self.values.get(option)
        if value is not None and not at_least <= value <= _MAX_SECONDS:
            self.complain(option, f"{value:g} is not a number from {at_least:g} to {_MAX_SECONDS:g}")
        return value

    def file(self, option: str) -> Path | None:
        """Return the path of a file that is there."""
        path = self.values.get(option)
        if path and not Path(path).is_file():
            self.complain(option, f"{path}: no such file")
            return None
        return Path(path) if path else None

    def pattern(self, option: str, text: Any) -> re.Pattern[str] | None:
        """Compile a regular expression."""
        try:
            return re.compile(text)
        except (re.error, TypeError, OverflowError, RecursionError) as exc:
            self.complain(option, f"{text!r} is not a regular expression: {exc}")
            return None


def _messages(result: ValidationResult) -> list[str]:
    """Return what Ansible's validator found; of an unknown option it gives the name alone."""
    return [f"{'unknown: ' if isinstance(error, UnsupportedError) else ''}{error.msg}" for error in result.errors]


def _check(given: Mapping[str, Any], timeout: float, deadline: float) -> CheckArguments:
    check = _Check(given)
    # What has another type than it should have can't be looked into.
    check.settle()
    attempt, until = check.seconds("timeout", 0.1), check.seconds("deadline", 0)
    what: HttpArguments | KubernetesArguments
    what = _kubernetes(check) if check.values["kubernetes"] else _http(check)
    check.settle()
    return CheckArguments(
        check.values["name"], what, timeout if attempt is None else attempt, deadline if until is None else until
    )


def _http(check: _Check) -> HttpArguments:
    values = check.values
    url = _url(check)
    headers = _headers(check)
    body = _body(check, headers)
    secrets = [value for key, value in headers.items() if SECRET_HEADERS.search(key)]
    secrets += _basic_auth(check, headers)
    request = Request(
        url=url,
        method=values["method"],
        headers=headers,
        body=body,
        tls=_tls(check),
        follow_redirects=values["follow_redirects"],
        server_name=values["server_name"] or "",
    )
    behind = tuple(_target(check, f"behind[{index}]", item) for index, item in enumerate(values["behind"] or ()))
    # An empty text is everywhere: hidden, it would garble all that is said.
    return HttpArguments(request, _http_expectations(check), behind, tuple(filter(None, secrets)))


def _url(check: _Check) -> str:
    url: str = check.values["url"]
    try:
        parts = urllib.parse.urlsplit(url)
        port = parts.port
    except ValueError as exc:
        check.complain("url", f"{url!r}: {exc}")
        return ""
    if parts.scheme not in {"http", "https"} or not parts.hostname or port == 0:
        check.complain("url", f"{url!r} is not an address of http or https")
        return ""
    if parts.username is not None:
        check.complain("url", "holds a user; use username and password_file, which are not shown")
        return ""
    if re.search(r"[\x00-\x20\x7f\ud800-\udfff]", url):
        check.complain("url", f"{url!r} has a space or a control character")
        return ""
    path = urllib.parse.quote(parts.path, safe="/%:@!$&'()*+,;=~")
    query = urllib.parse.quote(parts.query, safe="/%:@!$&'()*+,;=~?[]")
    return urllib.parse.urlunsplit((parts.scheme, parts.netloc, path, query, ""))


def _headers(check: _Check) -> dict[str, str]:
    headers: dict[str, str] = {}
    for key, value in (check.values["headers"] or {}).items():
        if not re.fullmatch(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+", str(key)):
            check.complain(f"headers.{key}", "is not a header's name")
        elif isinstance(value, Mapping | list) or value is None:
            check.complain(f"headers.{key}", f"{shown(value, 60)} is not a text")
        elif re.search(r"[\r\n\0]", str(value)) or not str(value).isascii():
            check.complain(f"headers.{key}", "has a line break or a character outside ASCII")
        else:
            headers[str(key)] = str(value)
    return headers


def _body(check: _Check, headers: dict[str, str]) -> bytes | None:
    values = check.values
    if values["json"] is None:
        try:
            return values["body"].encode() if values["body"] else None
        except UnicodeEncodeError as exc:
            check.complain("body", f"can't be sent as UTF-8: {exc.reason} at position {exc.start}")
            return None
    if not any(key.lower() == "content-type" for key in headers):
        headers["Content-Type"] = "application/json"
    return json.dumps(values["json"]).encode()


def _basic_auth(check: _Check, headers: dict[str, str]) -> list[str]:
    """Add the header; return what must not be shown."""
    path = check.file("password_file")
    if path is None:
        return []
    try:
        password = path.read_text(encoding="utf-8").rstrip("\r\n")
    except (OSError, UnicodeDecodeError) as exc:
        check.complain("password_file", f"{path}: {getattr(exc, 'strerror', None) or 'is not UTF-8'}")
        return []
    joined = base64.b64encode(f"{check.values['username']}:{password}".encode()).decode()
    headers["Authorization"] = f"Basic {joined}"
    return [password, joined]


def _tls(check: _Check) -> ssl.SSLContext | None:
    authority, certificate, key = check.file("ca_path"), check.file("client_cert"), check.file("client_key")
    # A redirect may lead from http to https.
    if not check.values["url"].lower().startswith("https:") and not check.values["follow_redirects"]:
        return None
    option, path = "ca_path", authority
    try:
        context = ssl.create_default_context(cafile=authority)
        option, path = "client_cert", certificate
        if certificate:
            context.load_cert_chain(certificate, key, password="")
    except OSError as exc:
        reason = exc.strerror or getattr(exc, "reason", None) or str(exc)
        check.complain(option, f"{path}: can't be used: {reason}")
        return None
    if not check.values["validate_certs"]:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


def _http_expectations(check: _Check) -> HttpExpectations:
    statuses: list[int] = check.values["status"]
    for status in statuses:
        if not 100 <= status <= 599:
            check.complain("status", f"{status} is not an HTTP status, a number from 100 to 599")
    if not statuses:
        check.complain("status", "is an empty list")
    headers = {
        str(key).lower(): _header_expectation(check, f"response_headers.{key}", value)
        for key, value in (check.values["response_headers"] or {}).items()
    }
    patterns = [check.pattern("matches", text) for text in check.texts("matches")]
    return HttpExpectations(
        statuses=tuple(statuses),
        headers=headers,
        queries=tuple(_queries(check, "values", check.values["values"], check.given.get("values"))),
        contains=check.texts("contains"),
        matches=tuple(pattern for pattern in patterns if pattern is not None),
        max_time=check.seconds("max_time", 0.001),
    )


def _queries(check: _Check, option: str, values: Any, given: Any) -> list[Query]:
    """Read expected values. values: as validated; given: as they came."""
    queries = []
    for index, item in enumerate(values or ()):
        place = f"{option}[{index}]"
        # What was not given is null after validation; ``equals`` may be given as null.
        operators = {name: item[name] for name in OPERATORS if name in given[index]}
        if operators.get("matches") is not None:
            check.pattern(f"{place}.matches", operators["matches"])
        queries.append(Query(item["query"], _compiled(check, place, item["query"]), Expectation(operators)))
    return queries


def _compiled(check: _Check, place: str, text: str) -> Any:
    if JMESPATH_IMPORT_ERROR:
        check.complain(f"{place}.query", "needs the Python library jmespath, which is missing")
        return None
    try:
        return jmespath.compile(text)
    except (ValueError, RecursionError) as exc:  # jmespath's errors are the former
        check.complain(f"{place}.query", f"{text!r} is not JMESPath: {' '.join(str(exc).split())}")
        return None


def _header_expectation(check: _Check, option: str, value: Any) -> Expectation:
    """Read an expectation of a header: a text it equals, or a mapping of operators."""
    if not isinstance(value, Mapping):
        if value is None or isinstance(value, list):
            check.complain(option, f"{shown(value, 60)} is neither a text nor a mapping of operators")
        return Expectation({"equals": str(value)})
    result = OPERATORS_VALIDATOR.validate(dict(value))
    for message in _messages(result):
        check.complain(option, message)
    operators = {name: result.validated_parameters[name] for name in OPERATORS if name in value}
    if operators.get("matches") is not None:
        check.pattern(f"{option}.matches", operators["matches"])
    return Expectation(operators)


def _target(check: _Check, option: str, values: Mapping[str, Any]) -> Target:
    kind = values["kind"]
    version = values["api_version"] or API_VERSIONS.get(kind, "")
    if not version:
        closest = difflib.get_close_matches(kind, list(API_VERSIONS), 1)
        hint = f"; did you mean {closest[0]}?" if closest else ""
        check.complain(f"{option}.api_version", f"is missing, and that of kind {kind} is not known{hint}")
    selector = values.get("label_selector")
    return Target(kind, version, values["namespace"] or None, values["name"] or None, selector or None)


def _kubernetes(check: _Check) -> KubernetesArguments:
    values = check.values["kubernetes"]
    if values["minimum"] < 0:
        check.complain("kubernetes.minimum", f"{values['minimum']} is below 0")
    target = _target(check, "kubernetes", values)
    given = check.given["kubernetes"].get("values")
    return KubernetesArguments(
        target,
        values["condition"],
        values["condition_status"] or "True",
        values["minimum"],
        tuple(_queries(check, "kubernetes.values", values["values"], given)),
    )
