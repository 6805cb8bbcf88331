# Copyright: cicd.sandbox contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Volumes that are directories of a node, and what is said at claims whose directory was lost with its node."""

from __future__ import annotations

import datetime as dt
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ansible_collections.cicd.sandbox.plugins.module_utils.kubernetes.api import Object, Target

# Ends of the provisioner's name, by upstream's manifest and by its chart. It makes directories by `mkdir -m 0777 -p`.
PROVISIONERS = ("/local-path", "local-path-provisioner")
PROVISIONED_BY = "pv.kubernetes.io/provisioned-by"
HOSTNAME = "kubernetes.io/hostname"
# Types of hostPath that are a directory, or become one.
_DIRECTORIES = frozenset({"", "Directory", "DirectoryOrCreate"})
# Label of claims: seconds since 1970 when the loss was found; an annotation names the node.
LOST = "cicd.sandbox/volume-lost"
LOST_WITH = "cicd.sandbox/lost-with-node"
LOST_CLAIMS = Target("PersistentVolumeClaim", "v1", label_selector=LOST)


def local_volumes(volumes: Iterable[Object], node: str, around: Iterable[Object] = ()) -> list[dict[str, Any]]:
    """Volumes that are a directory of a node, of local-path or made by people: {node, path, namespace, claim, older}.

    Namespace and claim are empty where nothing claims one. ``older`` is whether the volume was there before the node
    joined, and nobody has said since that it was lost. A path that is no directory (a device, a file), and what another
    provisioner made, is left out. around: nodes, claims and pods of the cluster; pods tell where a volume that may be
    used on any node is used.
    """
    around = list(around)
    used = _claims_on(node, _of_kind(around, "Pod"))
    born = next((_born(item) for item in _of_kind(around, "Node") if item["metadata"].get("name") == node), "")
    told = {_claim_name(claim): lost_at(claim) for claim in _of_kind(around, "PersistentVolumeClaim")}
    found = []
    for volume in volumes:
        metadata, spec = volume.get("metadata") or {}, volume.get("spec") or {}
        made_by = str((metadata.get("annotations") or {}).get(PROVISIONED_BY, ""))
        path = _directory(spec)
        phase = (volume.get("status") or {}).get("phase")
        claim = spec.get("claimRef") or {}
        name = (str(claim.get("namespace", "")), str(claim.get("name", "")))
        if made_by and not made_by.endswith(PROVISIONERS):
            continue
        if not path or phase not in {"Available", "Bound"} or (phase == "Bound" and not claim):
            continue
        if node in _nodes(spec) or (not spec.get("nodeAffinity") and name in used):
            older = "" < _born(volume) < born and told.get(name, 0.0) < _seconds(born)
            found.append({"node": node, "path": path, "namespace": name[0], "claim": name[1], "older": older})
    return found


def _of_kind(objects: Iterable[Object], kind: str) -> list[Object]:
    return [item for item in objects if item.get("kind") == kind]


def _born(item: Object) -> str:
    """When an object was made: in UTC as ISO 8601, which sorts; empty where it does not say."""
    return str((item.get("metadata") or {}).get("creationTimestamp") or "")


def _seconds(moment: str) -> float:
    """Seconds since 1970 of such a moment."""
    return dt.datetime.fromisoformat(moment).timestamp()


def _claim_name(claim: Object) -> tuple[str, str]:
    return str(claim["metadata"].get("namespace", "")), str(claim["metadata"]["name"])


def claiming_pods(pods: Iterable[Object], volumes: Iterable[Mapping[str, Any]]) -> list[dict[str, str]]:
    """Pods that use the claims of volumes, as local_volumes gives them: {namespace, name}."""
    claims = {(volume["namespace"], volume["claim"]) for volume in volumes}
    return [
        {"namespace": str(pod["metadata"]["namespace"]), "name": str(pod["metadata"]["name"])}
        for pod in pods
        if claims & _claims_of(pod)
    ]


def _claims_on(node: str, pods: Iterable[Object]) -> set[tuple[str, str]]:
    """Claims, by namespace and name, of pods that were put on a node."""
    here = (pod for pod in pods if (pod.get("spec") or {}).get("nodeName") == node)
    return {claim for pod in here for claim in _claims_of(pod)}


def _claims_of(pod: Object) -> set[tuple[str, str]]:
    namespace = str(pod["metadata"].get("namespace", ""))
    volumes = (pod.get("spec") or {}).get("volumes") or []
    named = (str((volume.get("persistentVolumeClaim") or {}).get("claimName", "")) for volume in volumes)
    return {(namespace, name) for name in named if name}


def _directory(spec: Mapping[str, Any]) -> str:
    """The directory of a node that a volume is; empty where it is none, or something else of the node's."""
    if spec.get("volumeMode") == "Block":
        return ""
    host_path = spec.get("hostPath") or {}
    if host_path and host_path.get("type", "") not in _DIRECTORIES:
        return ""
    path = str((host_path or spec.get("local") or {}).get("path") or "")
    # A device that gets a file system is a path of `local`, too.
    return "" if path == "/dev" or path.startswith("/dev/") else path


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
