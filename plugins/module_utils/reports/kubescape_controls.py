# Copyright: cicd.sandbox contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What both formats of kubescape's reports say of controls and exceptions."""

from __future__ import annotations

from typing import Any, Final

from ansible_collections.cicd.sandbox.plugins.module_utils.reports.model import Rule, as_dicts, as_number, as_text
from ansible_collections.cicd.sandbox.plugins.module_utils.reports.severity import (
    severity_of,
    severity_of_score_factor,
)

TOOL: Final = "kubescape"
LINK: Final = "https://kubescape.io/docs/controls/"


def link_of(control: str) -> str:
    """Return the address of a control's page; nothing for controls that are not kubescape's own."""
    return f"{LINK}{control.lower()}/" if control.upper().startswith("C-") else ""


def named(names: list[str]) -> str:
    """Return why something passes: by the exceptions of these names."""
    said = ", ".join(dict.fromkeys(name for name in names if name))
    return f"exception in kubescape: {said or 'unnamed'}"


def exception_names(value: object) -> str:
    """Return the names of a rule's exceptions, which are an object or a list of them."""
    listed = [value] if isinstance(value, dict) and value else as_dicts(value)
    return ", ".join(as_text(item.get("name")) or "unnamed" for item in listed)


def rule_of(name: str, about: dict[str, Any], title: str = "") -> Rule:
    """Return the rule of a control, by what the report says about it."""
    return Rule(
        id=name or "C-0000",
        title=title or as_text(about.get("name")) or name,
        link=link_of(name),
        remediation=as_text(about.get("remediation")),
        description=as_text(about.get("description")),
    )


def severity_of_control(control: dict[str, Any]) -> tuple[str, str]:
    """Return a control's severity and the word it comes from."""
    word = as_text(control.get("severity"))
    if word:
        return severity_of(TOOL, word), word
    factor = as_number(control.get("scoreFactor"))
    return severity_of_score_factor(factor), "" if factor is None else f"scoreFactor {factor:g}"
