# Copyright: cicd.sandbox contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""From a file or a text to a report: decoding, recognising, mending."""

from __future__ import annotations

import contextlib
import gc
from collections.abc import Callable, Iterator
from typing import Final

from ansible_collections.cicd.sandbox.plugins.module_utils.reports import (
    istio,
    kubescape,
    kubescape_controls,
    popeye,
    sarif_log,
    trivy,
)
from ansible_collections.cicd.sandbox.plugins.module_utils.reports.identify import whose
from ansible_collections.cicd.sandbox.plugins.module_utils.reports.model import Report, ReportError, article
from ansible_collections.cicd.sandbox.plugins.module_utils.reports.source import as_json_text
from ansible_collections.cicd.sandbox.plugins.module_utils.reports.stream import Cursor, explain

Reader = Callable[[Cursor], Report | None]

READERS: Final[dict[str, Reader]] = {
    popeye.TOOL: popeye.read,
    kubescape_controls.TOOL: kubescape.read,
    trivy.TOOL: trivy.read,
    istio.TOOL: istio.read,
    sarif_log.TOOL: sarif_log.read,
}


@contextlib.contextmanager
def without_collector() -> Iterator[None]:
    """Keep Python from looking for cycles among a million findings, which have none."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def read_report(tool: str, data: bytes | str, name: str) -> Report:
    """Return a tool's report. ``name`` is how messages call it; ReportError says what is wrong with it."""
    text = as_json_text(data, name)
    del data
    with without_collector():
        report = _read(tool, text, name)
        if report is not None:
            return report
        cursor = Cursor(text)
        try:
            raise ReportError(f"{name} is {whose(cursor.value())}, not {article(f'{tool} report')}")
        except (ValueError, RecursionError) as exc:
            raise explain(exc, text, name) from None


def _read(tool: str, text: str, name: str) -> Report | None:
    """Read; once more when only what popeye alone writes is wrong."""
    try:
        return _read_strictly(tool, text)
    except (ValueError, RecursionError) as exc:
        if tool != popeye.TOOL or "escape" not in str(exc):
            raise explain(exc, text, name) from None
    mended = popeye.mend(text)
    try:
        return _read_strictly(tool, mended)
    except (ValueError, RecursionError) as exc:
        raise explain(exc, mended, name) from None


def _read_strictly(tool: str, text: str) -> Report | None:
    cursor = Cursor(text)
    report = READERS[tool](cursor)
    if report is not None:
        cursor.finish()
    return report
