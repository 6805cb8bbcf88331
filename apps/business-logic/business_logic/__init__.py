"""The quotes service: settings, HTTP conventions, health, metrics and logs. The domain is in `quotes`."""

from __future__ import annotations

import tomllib
from pathlib import Path

BASE_DIRECTORY = Path(__file__).resolve().parent.parent


def _read_version() -> str:
    with (BASE_DIRECTORY / "pyproject.toml").open("rb") as file:
        return str(tomllib.load(file)["project"]["version"])


__version__ = _read_version()
