# Copyright: cicd.sandbox contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a cluster has to have before releases: namespaces with their labels, Secrets made of the controller's files."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ansible_collections.cicd.sandbox.plugins.module_utils.helm.plan import Api
from ansible_collections.cicd.sandbox.plugins.module_utils.kubernetes.api import KubernetesError, Object, Target


@dataclass(frozen=True)
class WantedSecret:
    """A Secret. ``files``: the file that holds the value of each key."""

    namespace: str
    name: str
    files: Mapping[str, str]


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
    return [secret for secret in wanted if not _holds(_found(api, secret), secret.files.items())]


def _found(api: Api, secret: WantedSecret) -> Mapping[str, str] | None:
    try:
        (item,) = api.objects(Target("Secret", "v1", secret.namespace, secret.name))
    except KubernetesError as error:
        if error.absent:
            return None
        raise
    return item.get("data") or {}


def _holds(data: Mapping[str, str] | None, files: Iterable[tuple[str, str]]) -> bool:
    if data is None:
        return False
    for key, path in files:
        try:
            # As the password lookup reads it.
            value = Path(path).expanduser().read_text(encoding="utf-8").rstrip()
        except OSError:
            return False
        if base64.b64encode(value.encode()).decode() != data.get(key):
            return False
    return True
