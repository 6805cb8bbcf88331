# Copyright: cicd.sandbox contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Run smoke checks side by side, each until it passes or its deadline is over, and say what was wrong."""

from __future__ import annotations

import concurrent.futures
import dataclasses
import json
import re
import time
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from ansible_collections.cicd.sandbox.plugins.module_utils.checks.arguments import (
    CheckArguments,
    HttpArguments,
    HttpExpectations,
    KubernetesArguments,
    Query,
)
from ansible_collections.cicd.sandbox.plugins.module_utils.checks.expectations import shown
from ansible_collections.cicd.sandbox.plugins.module_utils.checks.http import HttpError, Response, send
from ansible_collections.cicd.sandbox.plugins.module_utils.checks.junit import Case
from ansible_collections.cicd.sandbox.plugins.module_utils.checks.patterns import UndecidedError, matches
from ansible_collections.cicd.sandbox.plugins.module_utils.kubernetes.api import KubernetesApi, KubernetesError, Object
from ansible_collections.cicd.sandbox.plugins.module_utils.kubernetes.conditions import (
    condition_problem,
    is_hopeless,
    name_of,
    ready_problem,
)
from ansible_collections.cicd.sandbox.plugins.module_utils.kubernetes.diagnosis import diagnose, diagnose_objects
from ansible_collections.cicd.sandbox.plugins.module_utils.kubernetes.hopeless import why_hopeless

MAX_PARALLEL = 16
_FIRST_PAUSE, _LONGEST_PAUSE = 0.5, 5.0  # between requests, doubling
_POLL = 1.0  # between looks at objects: cheap for the API server, and a wait ends soon after what it waits for
_THOROUGH = 5  # every so many looks at objects, the pods behind them are looked at as well
_SHOWN_BODY = 500
_SHOWN_OBJECTS = 5


@dataclasses.dataclass
class Outcome:
    """What one attempt found. ``reason`` is empty when it passed; ``final`` when another can't help."""

    reason: str = ""
    status: int | None = None
    final: bool = False
    received: list[str] = dataclasses.field(default_factory=list)
    failing: list[Object] = dataclasses.field(default_factory=list)


@dataclasses.dataclass
class Result:
    """What became of one check. ``elapsed``: seconds of all attempts; ``diagnosis``: lines."""

    name: str
    passed: bool
    attempts: int = 0
    elapsed: float = 0.0
    status: int | None = None
    reason: str = ""
    skipped: bool = False
    diagnosis: list[str] = dataclasses.field(default_factory=list)

    def as_dict(self) -> dict[str, Any]:
        """Return it as the module does."""
        return dataclasses.asdict(self) | {"elapsed": round(self.elapsed, 3)}

    def as_case(self) -> Case:
        """Return it as a case of a JUnit report."""
        failed = not self.passed and not self.skipped
        return Case(
            self.name,
            self.elapsed,
            failure=self.reason if failed else None,
            skipped=self.reason if self.skipped else None,
            details="\n".join(self.diagnosis),
        )


class Runner:
    """Runs checks. ``sleep`` takes seconds; ``api`` is the cluster that they speak of."""

    def __init__(
        self, api: KubernetesApi, *, only_read: bool = False, sleep: Callable[[float], object] = time.sleep
    ) -> None:
        self._api = api
        self._only_read = only_read
        self._sleep = sleep

    def run(self, checks: Sequence[CheckArguments]) -> list[Result]:
        """Run all checks and return a result for each, in their order. Deadlines count from now.

        Also a check that ends in an error that nobody thought of only fails itself.
        """
        begin = time.monotonic()
        with concurrent.futures.ThreadPoolExecutor(min(MAX_PARALLEL, max(1, len(checks)))) as pool:
            tried = [pool.submit(self._try, check, begin) for check in checks]
            # These begin after those that they wait for.
            told = [pool.submit(self._diagnosis, check, future) for check, future in zip(checks, tried, strict=True)]
        return [self._result(*of_one) for of_one in zip(checks, tried, told, strict=True)]

    def _try(self, check: CheckArguments, begin: float) -> tuple[Result, Outcome]:
        what = check.what
        if self._only_read and isinstance(what, HttpArguments) and not what.only_reads:
            reason = f"check mode: {what.request.method} may change"
            return Result(check.name, passed=False, skipped=True, reason=reason), Outcome()
        begun = time.monotonic()
        end = begin + check.deadline
        pause = _FIRST_PAUSE if isinstance(what, HttpArguments) else _POLL
        attempts = 0
        while True:
            attempts += 1
            # What is tried only once has all the time that an attempt may take.
            limit = min(check.timeout, max(1.0, end - time.monotonic())) if check.deadline else check.timeout
            outcome = self._attempt(what, limit)
            if attempts % _THOROUGH == 0 and not outcome.final and isinstance(what, KubernetesArguments):
                outcome = self._without_hope(what, outcome, limit)
            remaining = end - time.monotonic()
            if not outcome.reason or outcome.final or remaining <= 0:
                break
            self._sleep(min(pause, remaining))
            if isinstance(what, HttpArguments):
                pause = min(2 * pause, _LONGEST_PAUSE)
        return Result(
            check.name,
            passed=not outcome.reason,
            attempts=attempts,
            elapsed=time.monotonic() - begun,
            status=outcome.status,
            reason=outcome.reason,
        ), outcome

    def _result(
        self,
        check: CheckArguments,
        tried: concurrent.futures.Future[tuple[Result, Outcome]],
        told: concurrent.futures.Future[list[str]],
    ) -> Result:
        error = tried.exception()
        if error is not None:
            result = Result(check.name, passed=False, attempts=1, reason=_unexpected(error))
        else:
            result, outcome = tried.result()
            error = told.exception()
            more = told.result() if error is None else [f"no more is known: {_unexpected(error)}"]
            result.diagnosis = [*outcome.received, *more]
        # A server may answer with what it was sent; Ansible hides it, the report would not.
        secrets = check.what.secrets if isinstance(check.what, HttpArguments) else ()
        result.reason = _printable(_without(result.reason, secrets))
        result.diagnosis = [_printable(_without(line, secrets)) for line in result.diagnosis]
        return result

    def _attempt(self, what: HttpArguments | KubernetesArguments, limit: float) -> Outcome:
        if isinstance(what, KubernetesArguments):
            return look_at(self._api, what, limit)
        until = time.monotonic() + limit
        try:
            response = send(what.request, limit)
        except HttpError as exc:
            return Outcome(str(exc), final=exc.final)
        problems = http_problems(what.expected, response, until)
        return Outcome("; ".join(problems), response.status, received=received(response) if problems else [])

    def _without_hope(self, what: KubernetesArguments, outcome: Outcome, limit: float) -> Outcome:
        """Tell also when the pods behind an object are such that waiting can't help."""
        failing = [] if what.condition else outcome.failing[:_SHOWN_OBJECTS]
        api = self._api.by(time.monotonic() + limit)
        hopeless = next(filter(None, (why_hopeless(api, obj) for obj in failing)), "")
        if not hopeless:
            return outcome
        reason = f"{outcome.reason}; not waited for any longer: {hopeless}"
        return dataclasses.replace(outcome, reason=reason, final=True)

    def _diagnosis(self, check: CheckArguments, tried: concurrent.futures.Future[tuple[Result, Outcome]]) -> list[str]:
        if tried.exception() is not None:
            return []
        what, (result, outcome) = check.what, tried.result()
        if result.passed or result.skipped:
            return []
        # All of it has as long as an attempt.
        api = self._api.by(time.monotonic() + check.timeout)
        if isinstance(what, HttpArguments):
            return diagnose(api, what.behind)
        return diagnose_objects(api, outcome.failing[:_SHOWN_OBJECTS])


def _without(text: str, secrets: Sequence[str]) -> str:
    for secret in secrets:
        text = text.replace(secret, "********")
    return text


def _printable(text: str) -> str:
    return re.sub(r"[^\n\x20-\x7e\xa0-\ud7ff\ue000-\uffff\U00010000-\U0010ffff]", "\N{REPLACEMENT CHARACTER}", text)


def _unexpected(error: BaseException) -> str:
    """Return an error that nobody thought of, and where it came from."""
    place = traceback.extract_tb(error.__traceback__)[-1]
    words = " ".join(str(error).split())
    return f"the check itself failed: {type(error).__name__}: {words} ({Path(place.filename).name}:{place.lineno})"


def http_problems(expected: HttpExpectations, response: Response, until: float | None = None) -> list[str]:
    """Return how an answer differs from what is expected.

    until: moment of the monotonic clock when it has to be known.
    """
    problems = []
    if response.status not in expected.statuses:
        problems.append(f"status {response.status}, expected {' or '.join(map(str, expected.statuses))}")
    for name, expectation in expected.headers.items():
        if name in response.headers:
            problems += [f"header {name} {problem}" for problem in expectation.problems(response.headers[name], until)]
        else:
            problems.append(f"header {name} is missing")
    if response.truncated and (expected.queries or expected.contains or expected.matches):
        problems.append(f"the answer is longer than {len(response.body)} bytes, only these were looked at")
    text = response.text if expected.contains or expected.matches else ""
    problems += [f"the answer does not contain {shown(word)}" for word in expected.contains if word not in text]
    for pattern in expected.matches:
        try:
            if not matches(pattern.pattern, text, until):
                problems.append(f"the answer does not match {pattern.pattern!r}")
        except UndecidedError as exc:
            problems.append(f"whether the answer matches {exc}")
    if expected.queries:
        problems += _json_problems(expected, response, until)
    if expected.max_time is not None and response.elapsed > expected.max_time:
        problems.append(f"the answer took {response.elapsed:.3f} s, expected at most {expected.max_time:g} s")
    return problems


def _json_problems(expected: HttpExpectations, response: Response, until: float | None) -> list[str]:
    try:
        document = json.loads(response.body)
    except (ValueError, RecursionError) as exc:
        return [f"the answer is not JSON: {exc}"]
    return query_problems(expected.queries, document, until)


def query_problems(queries: Sequence[Query], document: object, until: float | None = None) -> list[str]:
    """Return how values in a document, of JSON's types, differ from what is expected.

    until: moment of the monotonic clock when it has to be known.
    """
    problems = []
    for query in queries:
        try:
            value = query.compiled.search(document)
        except ValueError as exc:  # jmespath's errors, e.g. a function on the wrong type
            problems.append(f"{query.text}: {' '.join(str(exc).split())}")
            continue
        problems += [f"{query.text} {problem}" for problem in query.expectation.problems(value, until)]
    return problems


def received(response: Response) -> list[str]:
    """Return what an answer was, its body cut to a readable length and without control characters."""
    kind = response.headers.get("content-type", "no content type")
    size = f"more than {len(response.body)}" if response.truncated else str(len(response.body))
    lines = [f"received: status {response.status}, {kind}, {size} bytes in {response.elapsed:.3f} s"]
    if encoding := response.headers.get("content-encoding"):
        lines.append(f"  its body is encoded ({encoding}), which nobody asked for, and is looked at as it came")
    text = _printable(response.text[: _SHOWN_BODY + 1].replace("\r\n", "\n"))
    if len(text) > _SHOWN_BODY:
        text = f"{text[:_SHOWN_BODY]}…"
    return lines + [f"  {line}" for line in text.splitlines() if line.strip()]


def look_at(api: KubernetesApi, wanted: KubernetesArguments, limit: float) -> Outcome:
    """Return whether objects are what they are wanted to be. ``limit``: seconds that looking may take."""
    until = time.monotonic() + limit
    try:
        objects = api.objects(wanted.target, until)
    except KubernetesError as exc:
        return Outcome(str(exc), final=exc.final)
    problems, failing = [], []
    for obj in objects:
        if wanted.condition:
            problem = condition_problem(obj, wanted.condition, wanted.condition_status)
        else:
            problem = ready_problem(obj)
        if differing := query_problems(wanted.queries, obj, until):
            problem = "; ".join([*differing, *([problem] if problem else [])])
        if problem:
            problems.append(f"{name_of(obj)}: {problem}")
            failing.append(obj)
    more = len(problems) - _SHOWN_OBJECTS
    problems = problems[:_SHOWN_OBJECTS] + ([f"… and {more} more"] if more > 0 else [])
    if len(objects) < wanted.minimum:
        problems.insert(0, f"found {len(objects)} {wanted.target}, expected at least {wanted.minimum}")
    # A Job that has failed stays so, unless it is its failure that is waited for.
    hopeless = wanted.condition is None and any(map(is_hopeless, failing))
    return Outcome("; ".join(problems), final=hopeless, failing=failing)


def summary(results: Sequence[Result]) -> str:
    """Return what failed and why, for a person."""
    failed = [result for result in results if not result.passed and not result.skipped]
    lines = [f"{len(failed)} of {len(results)} checks failed"]
    for result in failed:
        times = f"{result.attempts} attempt{'' if result.attempts == 1 else 's'} in {result.elapsed:.1f} s"
        lines.append(f"{result.name}: {result.reason} ({times})")
        lines += [f"  {line}" for line in result.diagnosis]
    return "\n".join(lines)
