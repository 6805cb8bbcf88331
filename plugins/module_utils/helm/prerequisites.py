# Copyright: cicd.sandbox contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a cluster has to have before releases: namespaces with their labels, Secrets made of the controller's files."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ansible_collections.cicd.sandbox.plugins.module_utils.helm.plan import Api
from ansible_collections.cicd.sandbox.plugins.module_utils.kubernetes.api import KubernetesError, Object, Target

# How many earlier values of a key are kept.
EARLIER = 5


@dataclass(frozen=True)
class WantedSecret:
    """A Secret. ``files``: the file that holds the value of each key; ``earlier``: key → key of its earlier values."""

    namespace: str
    name: str
    files: Mapping[str, str]
    earlier: Mapping[str, str] = field(default_factory=dict)


def namespaces_to_apply(api: Api, wanted: Mapping[str, Mapping[str, Any] | None]) -> list[Object]:
    """Definitions of namespaces that are missing or lack labels. Raises KubernetesError."""
    if not wanted:
        return []
    found = [item["metadata"] for item in api.objects(Target("Namespace", "v1"))]
    labels = {metadata["name"]: metadata.get("labels") or {} for metadata in found}
    return [
        {
            "apiVersion": "v1",
            "kind": "Namespace",
            "metadata": {"name": name, "labels": {key: str(value) for key, value in (own or {}).items()}},
        }
        for name, own in wanted.items()
        if name not in labels or any(labels[name].get(key) != str(value) for key, value in (own or {}).items())
    ]


def secrets_to_apply(api: Api, wanted: Sequence[WantedSecret]) -> list[WantedSecret]:
    """Those Secrets that the cluster lacks, or has with other values. Raises KubernetesError."""
    return [secret for secret in wanted if not _is_current(_found(api, secret), secret)]


def earlier_values(data: Mapping[str, str] | None, key: str, earlier: str, value: str) -> str:
    """Values that a key of a Secret had before the one it gets: newest first, a line each, for the key ``earlier``.

    ``data`` is what the Secret has, encoded; none where it is new.
    """
    held = [base64.b64decode((data or {}).get(name) or "").decode() for name in (key, earlier)]
    lines = [line for text in held for line in text.splitlines() if line and line != value]
    return "\n".join(list(dict.fromkeys(lines))[:EARLIER])


def _found(api: Api, secret: WantedSecret) -> Mapping[str, str] | None:
    try:
        (item,) = api.objects(Target("Secret", "v1", secret.namespace, secret.name))
    except KubernetesError as error:
        if error.absent:
            return None
        raise
    return item.get("data") or {}


def _is_current(data: Mapping[str, str] | None, secret: WantedSecret) -> bool:
    return data is not None and data.keys() >= set(secret.earlier.values()) and _holds(data, secret.files.items())


def _holds(data: Mapping[str, str], files: Iterable[tuple[str, str]]) -> bool:
    for key, path in files:
        try:
            # As the password lookup reads it.
            value = Path(path).expanduser().read_text(encoding="utf-8").rstrip()
        except OSError:
            return False
        if base64.b64encode(value.encode()).decode() != data.get(key):
            return False
    return True
