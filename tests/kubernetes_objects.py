# Copyright: cicd.sandbox contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Objects of the Kubernetes API that tests share: tests/unit/fixtures/kubernetes/<name>.json."""

from __future__ import annotations

import json
from typing import Any

from checkout import REPOSITORY


def fixture(name: str) -> Any:
    """Read one of them anew, so that a test may change it."""
    return json.loads((REPOSITORY / f"tests/unit/fixtures/kubernetes/{name}.json").read_text(encoding="utf-8"))
