# Copyright: cicd.sandbox contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The one table from every tool's words to the five severities."""

from __future__ import annotations

import math
from typing import Final

# Worst first: the order of reports, bars and tables.
SEVERITIES: Final = ("critical", "high", "medium", "low", "info")
RANK: Final = {severity: rank for rank, severity in enumerate(SEVERITIES)}

# A word that no version of a tool is known to use is judged as this: a gate must not open for what nobody understands.
UNKNOWN_WORD: Final = "high"

# What a tool itself says it has not rated ("unknown") is medium.
TABLE: Final[dict[str, dict[str, str]]] = {
    # Levels of issues: 0 (ok) is no finding and not here.
    "popeye": {"3": "high", "2": "medium", "1": "info", "error": "high", "warning": "medium", "info": "info"},
    "kubescape": {
        "critical": "critical",
        "high": "high",
        "medium": "medium",
        "low": "low",
        # Of vulnerabilities in images (Grype's word).
        "negligible": "info",
        "unknown": "medium",
        "": "medium",
    },
    "trivy": {
        "critical": "critical",
        "high": "high",
        "medium": "medium",
        "low": "low",
        "unknown": "medium",
        "": "medium",
        # A distribution whose support has ended: what is wrong with it is no longer told.
        "eosl": "high",
    },
    "istioctl": {"error": "high", "warning": "medium", "info": "info"},
    # Levels of results that have no score.
    "sarif": {"error": "high", "warning": "medium", "note": "low", "none": "info"},
}

# GitHub's bounds for the property security-severity of SARIF's rules.
_SECURITY_SEVERITIES: Final = ((9.0, "critical"), (7.0, "high"), (4.0, "medium"))

# kubescape's own thresholds, for files that say scoreFactor (v2), baseScore or alertScore (v1) but no severity.
_SCORE_FACTORS: Final = ((9.0, "critical"), (7.0, "high"), (4.0, "medium"), (1.0, "low"))


def severity_of(tool: str, word: str) -> str:
    """Return the severity for a tool's word, in whatever case it is written."""
    return TABLE[tool].get(word.strip().lower(), UNKNOWN_WORD)


def severity_of_score_factor(factor: float | None) -> str:
    """Return kubescape's severity for a score factor of 0 to 10; without one it is unrated."""
    if factor is None or not math.isfinite(factor):
        return TABLE["kubescape"]["unknown"]
    for least, severity in _SCORE_FACTORS:
        if factor >= least:
            return severity
    return TABLE["kubescape"]["unknown"]


def severity_of_security_severity(score: float) -> str:
    """Return the severity for a score of more than 0, to 10."""
    return next((severity for least, severity in _SECURITY_SEVERITIES if score >= least), "low")
