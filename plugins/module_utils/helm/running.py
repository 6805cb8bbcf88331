# Copyright: cicd.sandbox contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Install or upgrade releases with Helm, those that don't need each other side by side, and wait for them."""

from __future__ import annotations

import concurrent.futures
import os
import subprocess
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import yaml
from ansible_collections.cicd.sandbox.plugins.module_utils.helm.plan import (
    WORKLOADS,
    Found,
    Release,
    State,
    installed_workloads,
    not_ready,
)
from ansible_collections.cicd.sandbox.plugins.module_utils.host.environment import for_own_hosts
from ansible_collections.cicd.sandbox.plugins.module_utils.kubernetes.api import (
    API_VERSIONS,
    KubernetesError,
    Object,
    Target,
)
from ansible_collections.cicd.sandbox.plugins.module_utils.kubernetes.conditions import is_hopeless, ready_problem
from ansible_collections.cicd.sandbox.plugins.module_utils.kubernetes.diagnosis import Api, diagnose_objects
from ansible_collections.cicd.sandbox.plugins.module_utils.kubernetes.hopeless import why_hopeless

_POLL = 1.0
# Every so many looks, pods are looked at as well.
_THOROUGH = 5
_SHOWN = 5
# What a release keeps for a rollback.
HISTORY = 10


class ReadingApi(Api, Protocol):
    """What is asked of the API server."""

    def objects(self, target: Target, until: float | None = ...) -> list[Object]:
        """Return the objects of a target."""


@dataclass(frozen=True)
class Helm:
    """The helm program, and the cluster it works on. ``timeout``: seconds for the hooks of a release."""

    program: Path
    kubeconfig: Path
    timeout: float = 300

    def argv(self, release: Release, values: str) -> list[str]:
        """The command line that installs or upgrades a release; ``values`` is a file."""
        return [
            str(self.program),
            "upgrade",
            release.name,
            str(release.chart),
            "--install",
            "--namespace",
            release.namespace,
            "--kubeconfig",
            str(self.kubeconfig),
            "--values",
            values,
            "--reset-values",
            "--history-max",
            str(HISTORY),
            "--timeout",
            f"{self.timeout:g}s",
        ]

    def apply(self, release: Release) -> str:
        """Install or upgrade a release; Helm's words where it refuses, or nothing."""
        environment = for_own_hosts(os.environ)
        with (
            tempfile.TemporaryDirectory(prefix="helm-") as home,
            tempfile.NamedTemporaryFile("w", suffix=".yaml", encoding="utf-8") as values,
        ):
            # What values hold may be secret: the file is the user's alone.
            yaml.safe_dump(dict(release.values), values)
            values.flush()
            environment |= {f"HELM_{kind}_HOME": home for kind in ("CACHE", "CONFIG", "DATA")}
            argv = self.argv(release, values.name)
            try:
                result = subprocess.run(argv, check=False, capture_output=True, text=True, env=environment)
            except OSError as error:
                return f"{self.program} can't be started: {error}"
        if result.returncode == 0:
            return ""
        return (result.stderr or result.stdout).strip().removeprefix("Error: ")


@dataclass
class Outcome:
    """What became of a release. ``seconds``: of Helm's work and of the wait; ``problem`` is empty when it went well."""

    found: Found
    applied: bool = False
    problem: str = ""
    seconds: float = 0.0
    diagnosis: list[str] = field(default_factory=list)

    def as_dict(self) -> dict[str, Any]:
        """Return it as the module does."""
        return {
            "name": self.found.release.name,
            "namespace": self.found.release.namespace,
            "state": self.found.state.value,
            "reason": self.found.reason,
            "applied": self.applied,
            "seconds": round(self.seconds, 1),
        }


class Installer:
    """Brings releases to a cluster. ``patience``: seconds that a release may take to get ready."""

    def __init__(self, api: ReadingApi, helm: Helm, patience: float = 300) -> None:
        self._api = api
        self._helm = helm
        self._patience = patience

    def run(self, found: Sequence[Found]) -> list[Outcome]:
        """Install what is not current, wait for what is to be waited for; an outcome for each, in their order.

        A release starts as soon as those that it comes after are ready. One that comes after a failed one is left out.
        """
        outcomes: dict[str, Outcome] = {}
        names = [one.release.name for one in found]
        waiting = list(found)
        # Those that are waited for by others have to be ready, whether or not anybody else waits for them.
        needed = {name for one in found for name in one.release.after}
        with concurrent.futures.ThreadPoolExecutor(max(1, len(found))) as pool:
            running: dict[concurrent.futures.Future[Outcome], Found] = {}
            while waiting or running:
                for one in [one for one in waiting if set(one.release.after) <= set(outcomes)]:
                    waiting.remove(one)
                    failed = [name for name in one.release.after if outcomes[name].problem]
                    if failed:
                        outcomes[one.release.name] = Outcome(one, problem=f"not tried: {', '.join(failed)} failed")
                    else:
                        wait = one.release.wait or one.release.name in needed
                        running[pool.submit(self._bring, one, wait=wait)] = one
                done, _ = concurrent.futures.wait(running, return_when=concurrent.futures.FIRST_COMPLETED)
                for future in done:
                    one, error = running.pop(future), future.exception()
                    # An error that nobody thought of is one release's, not all of them's.
                    unexpected = f"{type(error).__name__}: {' '.join(str(error).split())}"
                    outcomes[one.release.name] = Outcome(one, problem=unexpected) if error else future.result()
        return [outcomes[name] for name in names]

    def _bring(self, found: Found, *, wait: bool) -> Outcome:
        outcome = Outcome(found)
        begin = time.monotonic()
        workloads = found.workloads
        try:
            if found.state is not State.CURRENT:
                outcome.applied = True
                outcome.problem = self._helm.apply(found.release)
                if outcome.problem:
                    outcome.diagnosis = self._hooks_and_workloads(found.release)
                else:
                    workloads = installed_workloads(self._api, found.release)
            if wait and not outcome.problem:
                self._await(outcome, workloads)
        except KubernetesError as error:
            outcome.problem = str(error)
        outcome.seconds = time.monotonic() - begin
        return outcome

    def _await(self, outcome: Outcome, workloads: Sequence[Target]) -> None:
        end = time.monotonic() + self._patience
        looks = 0
        while True:
            try:
                problems = not_ready(self._api, workloads)
            except KubernetesError as error:
                if error.final:
                    raise
                problems = [(str(error), None)]
            if not problems:
                return
            looks += 1
            hopeless = self._hopeless([item for _, item in problems if item], thorough=looks % _THOROUGH == 0)
            if time.monotonic() >= end or hopeless:
                break
            time.sleep(_POLL)
        outcome.problem = f"not ready: {'; '.join(text for text, _ in problems[:_SHOWN])}"
        if hopeless:
            outcome.problem += f"; not waited for any longer: {hopeless}"
        outcome.diagnosis = diagnose_objects(self._api, [item for _, item in problems[:_SHOWN] if item])

    def _hopeless(self, items: Sequence[Object], *, thorough: bool) -> str:
        """Why waiting can't help, or nothing. To look at pods, too, takes requests of its own: now and then will do."""
        if thorough:
            return next(filter(None, (why_hopeless(self._api, item) for item in items)), "")
        return "it has failed for good" if any(map(is_hopeless, items)) else ""

    def _hooks_and_workloads(self, release: Release) -> list[str]:
        """What ails the objects of a release: Helm says of a hook that it failed or took too long, and no more."""
        ailing: list[Object] = []
        selector = f"app.kubernetes.io/instance={release.name}"
        for kind in WORKLOADS:
            target = Target(kind, API_VERSIONS[kind], release.namespace, label_selector=selector)
            ailing += [item for item in self._api.objects(target) if ready_problem(item)]
        return diagnose_objects(self._api, ailing)


def explain(outcomes: Sequence[Outcome]) -> str:
    """What failed and why, for a person."""
    failed = [outcome for outcome in outcomes if outcome.problem]
    lines = []
    for outcome in failed:
        release = outcome.found.release
        lines.append(f"{release.name} (namespace {release.namespace}): {outcome.problem}")
        lines += [f"  {line}" for line in outcome.diagnosis]
    return "\n".join(lines)
