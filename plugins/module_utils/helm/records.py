# Copyright: cicd.sandbox contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Read what Helm remembers of its releases: one Secret for each revision, in the namespace of the release.

The Secret's key ``release`` holds JSON, compressed by gzip and encoded in base64 by Helm, and once more by the API
(helm.sh/helm/v3/pkg/storage/driver, encodeRelease). Its labels tell name, revision and status without that.
"""

from __future__ import annotations

import base64
import binascii
import gzip
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import yaml
from ansible_collections.cicd.sandbox.plugins.module_utils.kubernetes.api import Object, Target

SELECTOR = "owner=helm"
DEPLOYED = "deployed"
# Of an attempt that did not come to its end: Helm refuses to touch the first three ever after, and would take the
# last for installed.
UNFINISHED = frozenset({"pending-install", "pending-upgrade", "pending-rollback", "failed"})
# libyaml's parser, where it is there, reads a manifest in a tenth of the time.
_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class RecordError(Exception):
    """A Secret of Helm's can't be read; the message names it."""


@dataclass(frozen=True)
class Revision:
    """A revision of a release, by the labels of its Secret."""

    namespace: str
    name: str
    number: int
    status: str
    secret: str
    payload: str = field(repr=False, default="")

    def definition(self) -> Object:
        """The Secret that holds it, without its content."""
        metadata = {"namespace": self.namespace, "name": self.secret}
        return {"apiVersion": "v1", "kind": "Secret", "metadata": metadata}


@dataclass(frozen=True)
class Record:
    """What a revision holds. ``chart``: {metadata, templates, values, files}; ``values``: those over the chart's.

    ``hooks``: whether it has any; ``deployed``: when it was brought, in seconds since 1970.
    """

    chart: Mapping[str, Any]
    values: Mapping[str, Any]
    manifest: str
    hooks: bool = False
    deployed: float = 0.0


def revisions(secrets: Iterable[Object]) -> list[Revision]:
    """The revisions that Secrets hold; those that Helm did not make are left out."""
    found = []
    for secret in secrets:
        metadata = secret["metadata"]
        labels = metadata.get("labels") or {}
        if labels.get("owner") == "helm" and str(labels.get("version", "")).isdigit():
            found.append(
                Revision(
                    metadata["namespace"],
                    labels.get("name", ""),
                    int(labels["version"]),
                    labels.get("status", ""),
                    metadata["name"],
                    (secret.get("data") or {}).get("release", ""),
                )
            )
    return found


def latest(found: Iterable[Revision], namespace: str, name: str) -> Revision | None:
    """The last revision of a release, whatever became of it."""
    own = [revision for revision in found if (revision.namespace, revision.name) == (namespace, name)]
    return max(own, key=lambda revision: revision.number, default=None)


def decode(revision: Revision) -> Record:
    """What a revision holds. Raises RecordError."""
    try:
        text = gzip.decompress(base64.b64decode(base64.b64decode(revision.payload)))
        release = json.loads(text)
        deployed = str((release.get("info") or {}).get("last_deployed") or "")
        return Record(
            release.get("chart") or {},
            release.get("config") or {},
            release.get("manifest") or "",
            bool(release.get("hooks")),
            # Go writes nanoseconds, of which Python reads the first six digits.
            datetime.fromisoformat(re.sub(r"(\.\d{6})\d*", r"\1", deployed)).timestamp() if deployed else 0.0,
        )
    except (binascii.Error, OSError, EOFError, ValueError, AttributeError) as error:
        raise RecordError(f"Secret {revision.namespace}/{revision.secret} is no release of Helm's: {error}") from error


def targets(manifest: str, namespace: str) -> list[Target]:
    """The objects of a manifest, in its order. An object that names no namespace is in that of its release."""
    found = []
    for document in yaml.load_all(manifest, Loader=_Loader):
        for item in _items(document):
            metadata = item.get("metadata") or {}
            if item.get("kind") and metadata.get("name"):
                where = str(metadata.get("namespace") or namespace)
                found.append(Target(str(item["kind"]), str(item["apiVersion"]), where, str(metadata["name"])))
    return found


def _items(document: object) -> Iterable[Mapping[str, Any]]:
    if not isinstance(document, dict):
        return []
    if str(document.get("kind", "")).endswith("List") and isinstance(document.get("items"), list):
        return [item for item in document["items"] if isinstance(item, dict)]
    return [document]
