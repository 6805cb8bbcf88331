# Copyright: cicd.sandbox contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Volumes that are directories of a node, and what is said at claims whose directory was lost with its node."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ansible_collections.cicd.sandbox.plugins.module_utils.kubernetes.api import Object, Target

# Ends of the provisioner's name, by upstream's manifest and by its chart. It makes directories by `mkdir -m 0777 -p`.
PROVISIONERS = ("/local-path", "local-path-provisioner")
HOSTNAME = "kubernetes.io/hostname"
# Label of claims: seconds since 1970 when the loss was found; an annotation names the node.
LOST = "cicd.sandbox/volume-lost"
LOST_WITH = "cicd.sandbox/lost-with-node"
LOST_CLAIMS = Target("PersistentVolumeClaim", "v1", label_selector=LOST)


def local_volumes(volumes: Iterable[Object], node: str) -> list[dict[str, str]]:
    """Claims that are bound to a directory of local-path on a node: {node, path, namespace, claim}."""
    found = []
    for volume in volumes:
        metadata, spec = volume.get("metadata") or {}, volume.get("spec") or {}
        made_by = str((metadata.get("annotations") or {}).get("pv.kubernetes.io/provisioned-by", ""))
        path = (spec.get("hostPath") or spec.get("local") or {}).get("path")
        claim = spec.get("claimRef") or {}
        bound = (volume.get("status") or {}).get("phase") == "Bound"
        if made_by.endswith(PROVISIONERS) and path and claim and bound and node in _nodes(spec):
            found.append({"node": node, "path": path, "namespace": claim["namespace"], "claim": claim["name"]})
    return found


def _nodes(spec: Mapping[str, Any]) -> Sequence[str]:
    """The nodes on which a volume can be used, by name."""
    terms = ((spec.get("nodeAffinity") or {}).get("required") or {}).get("nodeSelectorTerms") or []
    return [
        name
        for term in terms
        for expression in term.get("matchExpressions") or []
        if expression.get("key") == HOSTNAME and expression.get("operator") == "In"
        for name in expression.get("values") or []
    ]


def lost_at(claim: Object) -> float:
    """When the loss of a claim's volume was found, in seconds since 1970; 0 where nothing is said, or not a time."""
    label = str((claim["metadata"].get("labels") or {}).get(LOST, ""))
    return float(label) if label.isdigit() else 0.0


def lost_volumes(claims: Iterable[Object], days: float) -> list[dict[str, str]]:
    """What to say of claims whose volume was lost in the last days: {claim, node, at}, the latest first."""
    recent = sorted(
        (claim for claim in claims if lost_at(claim) > time.time() - days * 86400), key=lost_at, reverse=True
    )
    return [
        {
            "claim": f"{claim['metadata']['namespace']}/{claim['metadata']['name']}",
            "node": str((claim["metadata"].get("annotations") or {}).get(LOST_WITH, "its node")),
            "at": time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(lost_at(claim))),
        }
        for claim in recent
    ]
