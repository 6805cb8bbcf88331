# Copyright: cicd.sandbox contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the releases of a cluster were rendered to, a file for each object.

Scanners name the file in which they find something. In what Helm renders that is the template's, the same for all
releases of a chart: a file of one object is called by it instead.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any, Final

import yaml
from ansible_collections.cicd.sandbox.plugins.module_utils.helm.records import (
    DEPLOYED,
    SELECTOR,
    decode,
    revisions,
)
from ansible_collections.cicd.sandbox.plugins.module_utils.kubernetes.api import KubernetesApi, Target

_SEPARATOR: Final = re.compile(r"^---[ \t]*(?:#.*)?$", re.MULTILINE)
# Helm's own, which scanners would take for the file's name.
_SOURCE: Final = re.compile(r"^# Source: .*\n?", re.MULTILINE)
_UNUSUAL: Final = re.compile(r"[^A-Za-z0-9._-]")
# No scanner looks at these, and they are the greater part of a mesh's.
_LEFT_OUT: Final = "CustomResourceDefinition"
_DEFINITION: Final = re.compile(rf"^kind: {_LEFT_OUT}\s*$", re.MULTILINE)
_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def rendered(api: KubernetesApi) -> list[tuple[str, str]]:
    """Return namespace and manifest of each release that is deployed. Raises KubernetesError and RecordError."""
    secrets = api.objects(Target("Secret", "v1", label_selector=f"{SELECTOR},status={DEPLOYED}"))
    return [(revision.namespace, decode(revision).manifest) for revision in revisions(secrets)]


def files(manifests: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Return file name → content, an object each, of (namespace, manifest).

    Called as ``shop.Deployment.web.yaml``; where two would be called the same, the later ones have a number.
    """
    found: dict[str, str] = {}
    for namespace, manifest in manifests:
        for document in _SEPARATOR.split(manifest):
            # Not decoded where it is not needed: that takes the longest.
            items = [] if _DEFINITION.search(document) else list(yaml.load_all(document, Loader=_Loader))
            item = items[0] if items else None
            if not isinstance(item, dict) or item.get("kind") == _LEFT_OUT:
                continue
            metadata = item.get("metadata") or {}
            parts = (metadata.get("namespace") or namespace, item.get("kind"), metadata.get("name"))
            base = _UNUSUAL.sub("-", ".".join(str(part) for part in parts))
            name, number = f"{base}.yaml", 1
            while name in found:
                number += 1
                name = f"{base}-{number}.yaml"
            found[name] = _SOURCE.sub("", document).lstrip("\n")
    return found
