"""The OpenAPI document: kept by hand in openapi.json, true to the code by the tests."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

from django.http import HttpRequest, JsonResponse

from business_logic import __version__


@cache
def document() -> dict[str, Any]:
    """The document with the service's version, which the file leaves to pyproject.toml."""
    content: dict[str, Any] = json.loads(Path(__file__).with_name("openapi.json").read_text(encoding="utf-8"))
    content["info"]["version"] = __version__
    return content


def serve(request: HttpRequest) -> JsonResponse:
    return JsonResponse(document())
