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

from ansible.module_utils.parsing.convert_bool import boolean
from ansible_collections.cicd.sandbox.plugins.module_utils.checks.expectations import (
    OPERATORS,
    Expectation,
    is_number,
    shown,
)
from ansible_collections.cicd.sandbox.plugins.module_utils.checks.http import Request
from ansible_collections.cicd.sandbox.plugins.module_utils.kubernetes.api import API_VERSIONS, Target

JMESPATH_IMPORT_ERROR: str | None = None
try:
    import jmespath
except ImportError:
    JMESPATH_IMPORT_ERROR = traceback.format_exc()

METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
READING_METHODS = frozenset({"GET", "HEAD"})
_MAX_SECONDS = 24 * 3600.0
_SECRET_HEADERS = re.compile(r"authorization|cookie|token|secret|password|api-?key", re.IGNORECASE)


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
    """A check of objects. ``condition`` None: that they are ready, in the way of their kind."""

    target: Target
    condition: str | None = None
    condition_status: str = "True"
    minimum: int = 1


@dataclasses.dataclass(frozen=True)
class CheckArguments:
    """One check. Times are in seconds: ``timeout`` of an attempt, ``deadline`` of all of them."""

    name: str
    what: HttpArguments | KubernetesArguments
    timeout: float
    deadline: float


def read_checks(checks: Sequence[Any], timeout: float, deadline: float) -> list[CheckArguments]:
    """Return the checks; ArgumentError names every problem of every check."""
    problems: list[str] = []
    read = [_check(_Fields(f"checks[{i}]", check, problems), timeout, deadline) for i, check in enumerate(checks)]
    seen: dict[str, int] = {}
    for index, check in enumerate(read):
        if check.name and check.name in seen:
            problems.append(f"checks[{index}].name: {check.name!r} is the name of checks[{seen[check.name]}], too")
        seen.setdefault(check.name, index)
    if problems:
        raise ArgumentError(problems)
    return read


class _Fields:
    """The values of one mapping, each taken once; what nobody takes is unknown. Problems are collected."""

    def __init__(self, where: str, values: Any, problems: list[str]) -> None:
        self.where = where
        self.problems = problems
        self._known: list[str] = []
        self._values: dict[str, Any] = {}
        if isinstance(values, Mapping):
            self._values = {str(key): value for key, value in values.items()}
        else:
            problems.append(f"{where}: {shown(values, 60)} is not a mapping")

    def complain(self, key: str, problem: str) -> None:
        """Note a problem of one value."""
        self.problems.append(f"{self.where}.{key}: {problem}")

    def take(self, key: str) -> Any:
        """Return a value as it was given; None when it was not."""
        self._known.append(key)
        return self._values.get(key)

    def has(self, key: str) -> bool:
        """Tell whether a value was given."""
        return self._values.get(key) is not None

    def text(self, key: str, *, required: bool = False, choices: Sequence[str] = ()) -> str:
        """Return a text; empty when there is none."""
        value = self.take(key)
        if value is None or value == "":
            if required:
                self.complain(key, "is missing")
            return ""
        if not isinstance(value, str | int | float) or isinstance(value, bool):
            self.complain(key, f"{shown(value, 60)} is not a text")
            return ""
        if choices and str(value) not in choices:
            self.complain(key, f"{value!r} is not one of {', '.join(choices)}{_closest(str(value), choices)}")
        return str(value)

    def texts(self, key: str) -> tuple[str, ...]:
        """Return a text or a list of texts as a tuple."""
        value = self.take(key)
        items = value if isinstance(value, list) else [] if value is None else [value]
        good = [item for item in items if isinstance(item, str) and item]
        for item in items:
            if not isinstance(item, str) or not item:
                self.complain(key, f"{shown(item, 60)} is not a text, or empty")
        return tuple(good)

    def number(self, key: str, default: float, at_least: float = 0.0, at_most: float = _MAX_SECONDS) -> float:
        """Return a number, also one written as a text."""
        value = self.take(key)
        if value is None:
            return default
        try:
            number = float(value) if is_number(value) or isinstance(value, str) else float("nan")
        except ValueError:
            number = float("nan")
        if not at_least <= number <= at_most or number in {float("inf"), -float("inf")}:
            bounds = f" from {at_least:g} to {at_most:g}" if at_most < float("inf") else ""
            self.complain(key, f"{shown(value, 60)} is not a number{bounds}")
            return default
        return number

    def boolean(self, key: str, *, default: bool) -> bool:
        """Return yes or no, in all the ways that Ansible knows."""
        value = self.take(key)
        if value is None:
            return default
        try:
            return bool(boolean(value))
        except TypeError:
            self.complain(key, f"{shown(value, 60)} is not a boolean")
            return default

    def file(self, key: str) -> Path | None:
        """Return the path of a file that is there."""
        name = self.text(key)
        if not name:
            return None
        path = Path(name).expanduser()
        if not path.is_file():
            self.complain(key, f"{path}: no such file")
            return None
        return path

    def mapping(self, key: str) -> dict[str, Any]:
        """Return a mapping; empty when there is none."""
        value = self.take(key)
        if value is None:
            return {}
        if not isinstance(value, Mapping):
            self.complain(key, f"{shown(value, 60)} is not a mapping")
            return {}
        return {str(name): item for name, item in value.items()}

    def exclusive(self, *keys: str) -> None:
        """Complain when more than one of these is given."""
        given = [key for key in keys if self.has(key)]
        if len(given) > 1:
            self.problems.append(f"{self.where}: {' and '.join(given)} exclude each other")

    def done(self, where: str = "") -> None:
        """Complain about what nobody took."""
        for key in self._values:
            if key not in self._known:
                hint = _closest(key, self._known) or f", known: {', '.join(self._known)}"
                self.complain(key, f"is unknown{where}{hint}")


def _closest(word: str, words: Sequence[str]) -> str:
    found = difflib.get_close_matches(word, words, 1)
    return f", did you mean {found[0]}?" if found else ""


def _check(fields: _Fields, timeout: float, deadline: float) -> CheckArguments:
    name = fields.text("name", required=True)
    attempt = fields.number("timeout", timeout, 0.1)
    until = fields.number("deadline", deadline)
    what: HttpArguments | KubernetesArguments
    if fields.has("kubernetes"):
        what = _kubernetes(_Fields(f"{fields.where}.kubernetes", fields.take("kubernetes"), fields.problems))
        fields.done(" beside kubernetes")
    else:
        fields.take("kubernetes")
        what = _http(fields)
        fields.done()
    return CheckArguments(name, what, attempt, until)


def _http(fields: _Fields) -> HttpArguments:
    url = _url(fields)
    method = fields.text("method").upper() or "GET"
    if method not in METHODS:
        fields.complain("method", f"{method!r} is not one of {', '.join(METHODS)}{_closest(method, METHODS)}")
    headers = _headers(fields)
    body = _body(fields, headers)
    secrets = [value for key, value in headers.items() if _SECRET_HEADERS.search(key)]
    secrets += _basic_auth(fields, headers)
    request = Request(
        url=url,
        method=method,
        headers=headers,
        body=body,
        tls=_tls(fields, url),
        follow_redirects=fields.boolean("follow_redirects", default=False),
    )
    # An empty text is everywhere: hidden, it would garble all that is said.
    return HttpArguments(request, _http_expectations(fields), _behind(fields), tuple(filter(None, secrets)))


def _url(fields: _Fields) -> str:
    url = fields.text("url", required=True)
    if not url:
        return ""
    try:
        parts = urllib.parse.urlsplit(url)
        port = parts.port
    except ValueError as exc:
        fields.complain("url", f"{url!r}: {exc}")
        return ""
    if parts.scheme not in {"http", "https"} or not parts.hostname or port == 0:
        fields.complain("url", f"{url!r} is not an address of http or https")
        return ""
    if parts.username is not None:
        fields.complain("url", "holds a user; use username and password_file, which are not shown")
        return ""
    if re.search(r"[\x00-\x20\x7f]", url):
        fields.complain("url", f"{url!r} has a space or a control character")
        return ""
    path = urllib.parse.quote(parts.path, safe="/%:@!$&'()*+,;=~")
    query = urllib.parse.quote(parts.query, safe="/%:@!$&'()*+,;=~?[]")
    return urllib.parse.urlunsplit((parts.scheme, parts.netloc, path, query, ""))


def _headers(fields: _Fields) -> dict[str, str]:
    headers: dict[str, str] = {}
    for key, value in fields.mapping("headers").items():
        if not re.fullmatch(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+", key):
            fields.complain(f"headers.{key}", "is not a header's name")
        elif isinstance(value, Mapping | list) or value is None:
            fields.complain(f"headers.{key}", f"{shown(value, 60)} is not a text")
        elif re.search(r"[\r\n\0]", str(value)) or not str(value).isascii():
            fields.complain(f"headers.{key}", "has a line break or a character outside ASCII")
        else:
            headers[key] = str(value)
    return headers


def _body(fields: _Fields, headers: dict[str, str]) -> bytes | None:
    fields.exclusive("body", "json")
    value = fields.take("json")
    if value is None:
        text = fields.text("body")
        return text.encode() if text else None
    if not any(key.lower() == "content-type" for key in headers):
        headers["Content-Type"] = "application/json"
    return json.dumps(value).encode()


def _basic_auth(fields: _Fields, headers: dict[str, str]) -> list[str]:
    """Add the header; return what must not be shown."""
    user, path = fields.text("username"), fields.file("password_file")
    if not user and not fields.has("password_file"):
        return []
    if not user or not fields.has("password_file"):
        fields.complain("username", "and password_file are only of use together")
    if not user or path is None:
        return []
    try:
        password = path.read_text(encoding="utf-8").rstrip("\r\n")
    except (OSError, UnicodeDecodeError) as exc:
        fields.complain("password_file", f"{path}: {getattr(exc, 'strerror', None) or 'is not UTF-8'}")
        return []
    joined = base64.b64encode(f"{user}:{password}".encode()).decode()
    headers["Authorization"] = f"Basic {joined}"
    return [password, joined]


def _tls(fields: _Fields, url: str) -> ssl.SSLContext | None:
    authority = fields.file("ca_path")
    certificate, key = fields.file("client_cert"), fields.file("client_key")
    validate = fields.boolean("validate_certs", default=True)
    if key and not certificate:
        fields.complain("client_key", "is of use with client_cert only")
    if not url.startswith("https:"):
        return None
    argument = "ca_path"
    try:
        context = ssl.create_default_context(cafile=authority)
        argument = "client_cert"
        if certificate:
            context.load_cert_chain(certificate, key, password="")
    except OSError as exc:
        reason = exc.strerror or getattr(exc, "reason", None) or str(exc)
        fields.complain(argument, f"{authority if argument == 'ca_path' else certificate}: can't be used: {reason}")
        return None
    if not validate:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


def _http_expectations(fields: _Fields) -> HttpExpectations:
    max_time = fields.number("max_time", 0.0, 0.001)
    return HttpExpectations(
        statuses=_statuses(fields),
        headers={
            key.lower(): _expectation(fields, f"response_headers.{key}", value)
            for key, value in fields.mapping("response_headers").items()
        },
        queries=tuple(_queries(fields)),
        contains=fields.texts("contains"),
        matches=tuple(
            pattern for text in fields.texts("matches") if (pattern := _pattern(fields, "matches", text)) is not None
        ),
        max_time=max_time or None,
    )


def _statuses(fields: _Fields) -> tuple[int, ...]:
    value = fields.take("status")
    if value is None:
        return (200,)
    statuses = []
    for item in value if isinstance(value, list) else [value]:
        text = str(item)
        if isinstance(item, bool) or not re.fullmatch(r"[1-5][0-9][0-9]", text):
            fields.complain("status", f"{item!r} is not an HTTP status, a number from 100 to 599")
        else:
            statuses.append(int(text))
    if value == []:
        fields.complain("status", "is an empty list")
    return tuple(statuses)


def _pattern(fields: _Fields, key: str, text: Any) -> re.Pattern[str] | None:
    try:
        return re.compile(text)
    except (re.error, TypeError) as exc:
        fields.complain(key, f"{text!r} is not a regular expression: {exc}")
        return None


def _queries(fields: _Fields) -> list[Query]:
    value = fields.take("values")
    if value is None:
        return []
    if not isinstance(value, list):
        fields.complain("values", f"{shown(value, 60)} is not a list")
        return []
    queries = []
    for index, item in enumerate(value):
        one = _Fields(f"{fields.where}.values[{index}]", item, fields.problems)
        text = one.text("query", required=True)
        compiled = _compiled(one, text) if text else None
        operators = {name: item[name] for name in OPERATORS if isinstance(item, Mapping) and name in item}
        for name in OPERATORS:
            one.take(name)
        one.done()
        queries.append(Query(text, compiled, _operators(fields, f"values[{index}]", operators)))
    return queries


def _compiled(fields: _Fields, text: str) -> Any:
    if JMESPATH_IMPORT_ERROR:
        fields.complain("query", "needs the Python library jmespath, which is missing")
        return None
    try:
        return jmespath.compile(text)
    except jmespath.exceptions.JMESPathError as exc:
        fields.complain("query", f"{text!r} is not JMESPath: {' '.join(str(exc).split())}")
        return None


def _expectation(fields: _Fields, key: str, value: Any) -> Expectation:
    """Read an expectation of a header: a text it equals, or a mapping of operators."""
    if not isinstance(value, Mapping):
        if value is None or isinstance(value, list):
            fields.complain(key, f"{shown(value, 60)} is neither a text nor a mapping of operators")
        return Expectation({"equals": str(value)})
    for name in value:
        if name not in OPERATORS:
            closest = _closest(str(name), OPERATORS) or f", known: {', '.join(OPERATORS)}"
            fields.complain(f"{key}.{name}", f"is unknown{closest}")
    return _operators(fields, key, {name: value[name] for name in OPERATORS if name in value})


def _operators(fields: _Fields, key: str, operators: dict[str, Any]) -> Expectation:
    good = {}
    for name, operand in operators.items():
        if name == "matches":
            if _pattern(fields, f"{key}.matches", operand) is None:
                continue
        elif name not in {"equals", "contains"}:
            limit = _Fields(f"{fields.where}.{key}", operators, fields.problems)
            good[name] = limit.number(name, 0.0, -float("inf"), float("inf"))
            continue
        good[name] = operand
    return Expectation(good)


def _behind(fields: _Fields) -> tuple[Target, ...]:
    value = fields.take("behind")
    if value is None:
        return ()
    targets = []
    for index, item in enumerate(value if isinstance(value, list) else [value]):
        where = f"{fields.where}.behind" + (f"[{index}]" if isinstance(value, list) else "")
        one = _Fields(where, item, fields.problems)
        targets.append(_target(one, needs_name=True))
        one.done()
    return tuple(targets)


def _target(fields: _Fields, *, needs_name: bool) -> Target:
    kind = fields.text("kind", required=True)
    version = fields.text("api_version") or API_VERSIONS.get(kind, "")
    if kind and not version:
        closest = _closest(kind, list(API_VERSIONS))
        fields.complain("api_version", f"is missing, and kind {kind} is not one whose API version is known{closest}")
    name = fields.text("name", required=needs_name)
    selector = "" if needs_name else fields.text("label_selector")
    if name and selector:
        fields.exclusive("name", "label_selector")
    return Target(kind, version, fields.text("namespace") or None, name or None, selector or None)


def _kubernetes(fields: _Fields) -> KubernetesArguments:
    target = _target(fields, needs_name=False)
    condition = fields.text("condition") or None
    status = fields.take("condition_status")
    if condition is None and status is not None:
        fields.complain("condition_status", "is of use with condition only")
    # YAML's true is the condition's "True".
    wanted = "True" if status is None else str(status).capitalize() if isinstance(status, bool) else str(status)
    if wanted not in {"True", "False", "Unknown"}:
        fields.complain("condition_status", f"{wanted!r} is not one of True, False, Unknown")
    minimum = fields.number("minimum", 1.0, at_most=1e6)
    if minimum != int(minimum):
        fields.complain("minimum", f"{minimum:g} is not a whole number")
    fields.done()
    return KubernetesArguments(target, condition, wanted, int(minimum))
