# Copyright: cicd.sandbox contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tell whether a chart in a folder is the one that a release was made of, file by file.

Its version alone says little: a chart that is being worked on changes under one version.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

CHART = "Chart.yaml"
VALUES = "values.yaml"
TEMPLATES = "templates"


class ChartError(Exception):
    """A folder holds no chart; the message names it."""


def read_yaml(path: Path) -> dict[str, Any]:
    """The mapping in a YAML file; empty where the file is. Raises ChartError."""
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise ChartError(f"{path}: {' '.join(str(error).split())}") from error
    if content is not None and not isinstance(content, dict):
        raise ChartError(f"{path} is not a mapping")
    return content or {}


def chart_difference(recorded: Mapping[str, Any], folder: Path) -> str:
    """What differs between the chart of a record and a folder, in a few words; empty where nothing does.

    Subcharts are compared by what Chart.yaml says of them: Helm's record holds no more. Raises ChartError.
    """
    metadata = recorded.get("metadata") or {}
    chart = read_yaml(folder / CHART)
    if str(metadata.get("version")) != str(chart.get("version")):
        return f"chart {metadata.get('version')} → {chart.get('version')}"
    for name in ("name", "appVersion", "dependencies"):
        if (metadata.get(name) or None) != (chart.get(name) or None):
            return f"{name} of the chart"
    values = read_yaml(folder / VALUES) if (folder / VALUES).is_file() else {}
    if (recorded.get("values") or {}) != values:
        return f"{VALUES} of the chart"
    return _files_difference(recorded, folder)


def _files_difference(recorded: Mapping[str, Any], folder: Path) -> str:
    templates = _recorded_files(recorded.get("templates"))
    others = _recorded_files(recorded.get("files"))
    here = {str(path.relative_to(folder)) for path in (folder / TEMPLATES).rglob("*") if path.is_file()}
    changed = sorted(here ^ set(templates))
    for name, content in {**templates, **others}.items():
        path = folder / name
        if not path.is_file() or path.read_bytes() != content:
            changed.append(name)
    more = f" and {len(changed) - 1} more" if len(changed) > 1 else ""
    return f"{changed[0]}{more} of the chart" if changed else ""


def _recorded_files(entries: object) -> dict[str, bytes]:
    found = entries if isinstance(entries, list) else []
    return {str(entry["name"]): base64.b64decode(entry.get("data") or "") for entry in found}
