# Copyright: cicd.sandbox contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Turn a list of releases, as an inventory describes them, into what modules are given."""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

# What the role needs itself.
HELM = "helm"
SECRET_LENGTH = 32
# As Helm has it for releases (ValidName); it is a label, as namespaces are (RFC 1123).
NAME = re.compile(r"[a-z0-9]([a-z0-9-]{0,51}[a-z0-9])?")


class DescriptionError(Exception):
    """A release is described wrongly; the message names it, the value and what to do."""


@dataclass(frozen=True)
class Surroundings:
    """Where charts are. ``paths`` and ``images``: component → its folder, and the tag of its image, once published.

    ``defaults``: chart of the collection → values under those of each of its releases.
    """

    charts: Path
    inventory: Path
    paths: Mapping[str, str]
    images: Mapping[str, str]
    defaults: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)


def check_names(releases: Sequence[Mapping[str, Any]]) -> None:
    """Refuse names that Kubernetes would. Raises DescriptionError."""
    for position, release in enumerate(releases):
        which = release.get("name") or f"number {position + 1}"
        for key in ("name", "namespace"):
            if not NAME.fullmatch(str(release.get(key) or "")):
                raise DescriptionError(
                    f"release {which}: {key} is {release.get(key)!r}; it has to be of lower-case letters, digits and "
                    f"dashes, 53 at most"
                )


def components(releases: Sequence[Mapping[str, Any]]) -> list[str]:
    """The components that have to be published before; none where there is no release."""
    found = [HELM] if releases else []
    for release in releases:
        folder = str(release.get("chart") or "")
        owner = [folder.partition(":")[0]] if _of_component(folder) else []
        found += [*owner, *release.get("components", []), *([release["image"]] if release.get("image") else [])]
    return list(dict.fromkeys(found))


def _of_component(chart: str) -> bool:
    return ":" in chart and "/" not in chart.partition(":")[0]


def chart_folder(release: Mapping[str, Any], around: Surroundings) -> str:
    """The folder of a release's chart. Raises DescriptionError."""
    chart, name = str(release.get("chart") or "workload"), release["name"]
    if _of_component(chart):
        component, _, folder = chart.partition(":")
        if component not in around.paths:
            raise DescriptionError(f"release {name}: chart {chart} is of component {component}, which has no files")
        return str(Path(around.paths[component]) / folder)
    if "/" in chart:
        path = around.inventory / Path(chart).expanduser()
        if not (path / "Chart.yaml").is_file():
            raise DescriptionError(f"release {name}: chart {chart} is not there: {path / 'Chart.yaml'} is missing")
        return str(path)
    if not (around.charts / chart / "Chart.yaml").is_file():
        known = sorted(path.parent.name for path in around.charts.glob("*/Chart.yaml"))
        near = difflib.get_close_matches(chart, known, 1) or known
        raise DescriptionError(
            f"release {name}: there is no chart {chart}; there is {', '.join(near)}, <component>:<folder>, "
            f"or a path with a slash, relative to {around.inventory}"
        )
    return str(around.charts / chart)


def merged(under: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """Two mappings in one, as Helm merges values: what `over` says goes, also within mappings of both."""
    found = {**under, **over}
    for key in under.keys() & over.keys():
        if isinstance(under[key], Mapping) and isinstance(over[key], Mapping):
            found[key] = merged(under[key], over[key])
    return found


def wanted(release: Mapping[str, Any], around: Surroundings) -> dict[str, Any]:
    """A release as modules want it. Raises DescriptionError."""
    values = merged(around.defaults.get(str(release.get("chart") or "workload"), {}), release.get("values") or {})
    if image := release.get("image"):
        if image not in around.images:
            raise DescriptionError(f"release {release['name']}: component {image} has no image of its own")
        values["image"] = {"tag": around.images[image], **values.get("image", {})}
    return {
        "name": release["name"],
        "namespace": release["namespace"],
        "chart": chart_folder(release, around),
        "values": values,
        "after": list(release.get("after", [])),
        "wait": release.get("wait", True),
    }


def namespaces(
    releases: Sequence[Mapping[str, Any]], defaults: Mapping[str, Any] | None = None
) -> dict[str, dict[str, str]]:
    """Namespace → the labels that it has to have, of all releases in it. Raises DescriptionError.

    defaults: labels where no release of the namespace says otherwise.
    """
    found: dict[str, dict[str, str]] = {}
    for release in releases:
        labels = found.setdefault(release["namespace"], {})
        for key, value in (release.get("namespace_labels") or {}).items():
            if labels.setdefault(key, str(value)) != str(value):
                raise DescriptionError(
                    f"release {release['name']}: namespace {release['namespace']} is to have the label {key}={value}, "
                    f"and for another release {labels[key]}"
                )
    own = {key: str(value) for key, value in (defaults or {}).items()}
    return {name: {**own, **labels} for name, labels in found.items()}


def secrets(releases: Sequence[Mapping[str, Any]], directory: Path) -> list[dict[str, Any]]:
    """The Secrets that releases need: namespace, name, and by key file, length, earlier. Raises DescriptionError.

    A key whose value is of a `file` has no length: it is not made.
    """
    found: dict[tuple[str, str], dict[str, Any]] = {}
    for release in releases:
        for name, keys in (release.get("secrets") or {}).items():
            if (release["namespace"], name) in found:
                raise DescriptionError(f"release {release['name']}: another release makes the Secret {name}, too")
            found[release["namespace"], name] = {
                "namespace": release["namespace"],
                "name": name,
                "files": {
                    key: str(Path(str((of or {}).get("file") or directory / f"{name}-{key}")).expanduser())
                    for key, of in keys.items()
                },
                "lengths": {
                    key: int((of or {}).get("length", SECRET_LENGTH))
                    for key, of in keys.items()
                    if not (of or {}).get("file")
                },
                "earlier": {key: f"{key}-earlier" for key, of in keys.items() if (of or {}).get("keep_earlier")},
            }
    return list(found.values())
