# Copyright: cicd.sandbox contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Compare objects as they were applied with what a cluster has of them now."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from ansible_collections.cicd.sandbox.plugins.module_utils.kubernetes.api import (
    KubernetesApi,
    KubernetesError,
    Object,
    Target,
)

# What tells items of a list apart, as the API server merges them; items of other lists have their places.
_KEYS = ("name", "mountPath", "containerPort", "port")
_MAPS = ("annotations", "data", "labels", "matchLabels", "nodeSelector")
_PARALLEL = 8


def differences(api: KubernetesApi, wanted: Sequence[Object]) -> list[str]:
    """Return a line for each object that is not there or says something else than is wanted, in their order.

    What an object has besides, as defaults and owners other than the manifest's put it there, is no difference. Raises
    KubernetesError.
    """

    def compare(item: Object) -> str:
        metadata = item["metadata"]
        target = Target(item["kind"], item["apiVersion"], metadata.get("namespace"), metadata["name"])
        try:
            (live,) = api.objects(target)
        except KubernetesError as error:
            if error.absent or error.unserved:
                return str(error)
            raise
        path = next(_differing(item, live, ""), None)
        return f"{target}: {path} is not as it was applied" if path else ""

    with ThreadPoolExecutor(_PARALLEL) as pool:
        return [line for line in pool.map(compare, wanted) if line]


def _differing(wanted: object, live: object, path: str) -> Iterator[str]:
    """Give the paths of fields that are wanted otherwise than they are."""
    if isinstance(wanted, Mapping) and isinstance(live, Mapping):
        for name, value in wanted.items():
            # The API server leaves empty fields out, but not empty values of maps.
            if name in live or value or path.rpartition(".")[2] in _MAPS:
                yield from _differing(value, live.get(name), f"{path}.{name}" if path else str(name))
    elif isinstance(wanted, Sequence) and isinstance(live, Sequence) and not isinstance(wanted, str):
        key = _key(wanted)
        if key:
            known = {item.get(key): item for item in live if isinstance(item, Mapping)}
            for item in wanted:
                yield from _differing(item, known.get(item[key]), f"{path}[{item[key]}]")
        elif len(wanted) != len(live):
            yield path
        else:
            for index, pair in enumerate(zip(wanted, live, strict=True)):
                yield from _differing(*pair, f"{path}[{index}]")
    elif wanted != live:
        yield path


def _key(items: Sequence[Any]) -> str | None:
    """Return the field that tells the items of a list apart, if there is one."""
    for key in _KEYS:
        values = [item.get(key) for item in items if isinstance(item, Mapping)]
        if items and len(values) == len(items) and None not in values and len(set(map(str, values))) == len(values):
            return key
    return None
