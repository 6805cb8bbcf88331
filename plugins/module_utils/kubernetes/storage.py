# Copyright: cicd.sandbox contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Have Kubernetes write anew what it has stored, such as with another key, by its own StorageVersionMigrations.

https://kubernetes.io/docs/tasks/manage-kubernetes-objects/storage-version-migration/
"""

from __future__ import annotations

import contextlib
import dataclasses
import time
from collections.abc import Iterable, Sequence

from ansible_collections.cicd.sandbox.plugins.module_utils.kubernetes.api import KubernetesApi, KubernetesError, Object
from ansible_collections.cicd.sandbox.plugins.module_utils.kubernetes.conditions import (
    condition_of,
    condition_problem,
    why,
)

MIGRATIONS = "/apis/storagemigration.k8s.io/v1/storageversionmigrations"
# Ours, so that what a killed run left is known from other people's.
PREFIX = "cicd-sandbox-"
POLL = 0.5


@dataclasses.dataclass(frozen=True, order=True)
class Resource:
    """A resource that the API server stores, by its group ("" for the core's) and plural name."""

    group: str
    name: str

    def __str__(self) -> str:
        return f"{self.name}.{self.group}" if self.group else self.name

    def fits(self, pattern: str) -> bool:
        """Whether an entry of an EncryptionConfiguration means it: ``secrets``, ``*.apps``, ``*.`` (core), ``*.*``."""
        name, _dot, group = pattern.partition(".")
        return name in ("*", self.name) and group in (("*", self.group) if name == "*" else (self.group,))


def stored(api: KubernetesApi) -> set[Resource]:
    """Return all resources that are in etcd: those whose stored version the API server tells a hash of."""
    lists = [
        (str(group.get("name")), f"/apis/{version.get('groupVersion')}")
        for group in _dicts(api.get("/apis"), "groups")
        for version in _dicts(group, "versions")
    ]
    found = {("", item) for item in _stored_names(api.get("/api/v1"))}
    for group_name, path in lists:
        # An API that another server answers, which is away, stores nothing here.
        with contextlib.suppress(KubernetesError):
            found |= {(group_name, item) for item in _stored_names(api.get(path))}
    return {Resource(*pair) for pair in found}


def _stored_names(answer: Object) -> set[str]:
    return {str(item.get("name")) for item in _dicts(answer, "resources") if item.get("storageVersionHash")}


def chosen(api: KubernetesApi, patterns: Sequence[str]) -> list[Resource]:
    """Return the stored resources that any of the patterns means, sorted; one that means none is a KubernetesError."""
    known = stored(api)
    for pattern in patterns:
        if not any(resource.fits(pattern) for resource in known):
            raise KubernetesError(f"resources: the API server stores nothing that is called {pattern}", final=True)
    return sorted(resource for resource in known if any(resource.fits(pattern) for pattern in patterns))


def check_served(api: KubernetesApi) -> None:
    """Raise KubernetesError where the API server has no migrations."""
    try:
        api.get(MIGRATIONS)
    except KubernetesError as exc:
        if exc.absent:
            why = "the API server does not serve storagemigration.k8s.io/v1, which Kubernetes has from 1.37"
            raise KubernetesError(why, final=True) from None
        raise


def migrate(api: KubernetesApi, resources: Iterable[Resource], seconds: float) -> None:
    """Have all objects of resources written anew, and wait; a KubernetesError says which are not, and why.

    What an earlier call left is removed first: it may have ended before that of now was asked for.
    """
    end = time.monotonic() + seconds
    left = {f"{PREFIX}{str(resource).lower()}": resource for resource in resources}
    for item in _dicts(api.get(MIGRATIONS), "items"):
        if _name(item) in left:
            api.send("delete", f"{MIGRATIONS}/{_name(item)}")
    for name, resource in left.items():
        spec = {"resource": {"group": resource.group, "resource": resource.name}}
        kind = {"apiVersion": "storagemigration.k8s.io/v1", "kind": "StorageVersionMigration"}
        api.send("post", MIGRATIONS, {**kind, "metadata": {"name": name}, "spec": spec})
    while left:
        items = {_name(item): item for item in _dicts(api.get(MIGRATIONS), "items")}
        for name, resource in list(left.items()):
            if name not in items:
                raise KubernetesError(f"{resource}: somebody removed StorageVersionMigration {name}", final=True)
            item = items[name]
            if condition_problem(item, "Failed", "True") is None:
                words = why(condition_of(item, "Failed") or {})
                raise KubernetesError(f"{resource}: is not written anew{words}", final=True)
            if condition_problem(item, "Succeeded", "True") is None:
                api.send("delete", f"{MIGRATIONS}/{name}")
                del left[name]
            elif time.monotonic() > end:
                words = why(condition_of(item, "Running") or {"message": "nobody has begun"})
                raise KubernetesError(f"{resource}: is not written anew after {seconds:g} s{words}")
        if left:
            time.sleep(POLL)


def _name(item: Object) -> str:
    return str((item.get("metadata") or {}).get("name"))


def _dicts(answer: Object, name: str) -> list[Object]:
    found = answer.get(name) or []
    if not isinstance(found, list) or not all(isinstance(item, dict) for item in found):
        raise KubernetesError(f"the API server's answer has no list of {name}")
    return found
