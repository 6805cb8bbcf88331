# Copyright: cicd.sandbox contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""HTML: one page that needs nothing else, for people.

Nothing of a report is ever markup or script in it: texts are escaped, findings are data that the page's own script puts
into text nodes, and a content security policy lets no other script run.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections import Counter
from collections.abc import Iterator
from html import escape
from typing import Any, Final

from ansible_collections.cicd.sandbox.plugins.module_utils.reports.gate import Judgement, one_line
from ansible_collections.cicd.sandbox.plugins.module_utils.reports.model import Finding, safe
from ansible_collections.cicd.sandbox.plugins.module_utils.reports.page_assets import SCRIPT, STYLE
from ansible_collections.cicd.sandbox.plugins.module_utils.reports.sarif import is_link
from ansible_collections.cicd.sandbox.plugins.module_utils.reports.severity import SEVERITIES

# More make the page slow; the JSON has them all.
MOST_ROWS: Final = 20_000
# Without script, and in the chart of namespaces.
_MOST_STATIC: Final = 100
_MOST_NAMESPACES: Final = 12


def html_parts(judgement: Judgement) -> Iterator[str]:
    """Give the page in parts."""
    report = judgement.report
    title = f"{report.tool} report" + (f" on {safe(report.cluster)}" if report.cluster else "")
    sources = {"default": "'none'", "script": f"'{_hash(SCRIPT)}'", "style": f"'{_hash(STYLE)}'"}
    policy = "; ".join(f"{kind}-src {source}" for kind, source in sources.items())
    policy += "; base-uri 'none'; form-action 'none'"
    yield from (
        "<!doctype html>\n",
        '<html lang="en"><head><meta charset="utf-8">',
        f'<meta http-equiv="Content-Security-Policy" content="{escape(policy)}">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        '<meta name="color-scheme" content="light dark">',
        f"<title>{escape(title)}</title><style>{STYLE}</style></head>\n<body>",
        f"<header><h1>{escape(title)}</h1>{_facts(judgement)}</header>\n<main>",
        _gate(judgement),
        _charts(judgement),
        _table(judgement),
        _waivers(judgement),
        "</main>\n",
        f'<script type="application/json" id="data">{_data(judgement)}</script>\n',
        f"<script>{SCRIPT}</script></body></html>\n",
    )


def as_html(judgement: Judgement) -> bytes:
    """Return the page."""
    return "".join(html_parts(judgement)).encode()


def _hash(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def _facts(judgement: Judgement) -> str:
    report = judgement.report
    facts = {
        "Version": report.tool_version,
        "Scanned": report.scanned_at,
        "Context": report.context if report.context != report.cluster else "",
        "Score": "" if report.score is None else f"{report.score:g} of 100",
        "Grade": report.grade,
        "Passed checks": f"{report.passed:,}" if report.passed else "",
    }
    said = "".join(f"<div><dt>{name}</dt><dd>{escape(safe(text))}</dd></div>" for name, text in facts.items() if text)
    return f"<dl>{said}</dl>"


def _gate(judgement: Judgement) -> str:
    reasons = "".join(f"<li>{escape(reason)}</li>" for reason in judgement.reasons)
    state, word = ("open", "The gate is open") if judgement.passed else ("shut", "The gate is shut")
    degraded = "".join(f"<li>{escape(safe(error))}</li>" for error in judgement.report.errors)
    said = f'<section class="gate {state}" aria-labelledby="gate"><h2 id="gate">{word}</h2><ul>{reasons}</ul>'
    if judgement.report.empty:
        said += "<p>Nothing was scanned.</p>"
    if degraded:
        said += f"<h3>The scan is partial</h3><ul>{degraded}</ul>"
    return said + "</section>\n"


def _bar(label: str, count: int, most: int, kind: str) -> str:
    width = 100 * count / most if most else 0
    return (
        f'<tr><th scope="row">{escape(label)}</th><td class="number">{count:,}</td><td class="bar">'
        f'<svg role="img" aria-label="{count:,}" width="100%" height="14">'
        f'<rect class="{kind}" width="{width:.1f}%" height="14" rx="3"/></svg></td></tr>'
    )


def _charts(judgement: Judgement) -> str:
    counts = judgement.counts
    most = max(counts.values(), default=0)
    severities = "".join(_bar(name, counts[name], most, name) for name in SEVERITIES)
    namespaces = Counter(finding.resource.namespace for finding in judgement.counting).most_common()
    shown = namespaces[:_MOST_NAMESPACES]
    rest = sum(count for _, count in namespaces[_MOST_NAMESPACES:])
    most = max((count for _, count in shown), default=0)
    bars = "".join(_bar(safe(name) or "(none)", count, most, "namespace") for name, count in shown)
    if rest:
        bars += _bar(f"{len(namespaces) - _MOST_NAMESPACES} more", rest, max(most, rest), "namespace")
    return (
        f'<section class="charts"><div><h2>By severity</h2><table class="bars">{severities}</table></div>'
        f'<div><h2>By namespace</h2><table class="bars">{bars}</table></div></section>\n'
    )


def _table(judgement: Judgement) -> str:
    boxes = "".join(
        f'<label class="{name}"><input type="checkbox" name="severity" value="{name}" checked> {name}</label>'
        for name in SEVERITIES
    )
    heads = "".join(
        f'<th scope="col" aria-sort="none"><button type="button" data-column="{column}">{name}</button></th>'
        for column, name in enumerate(("Severity", "Namespace", "Resource", "Rule", "Message", "Status"))
    )
    worst = "".join(f"<li>{escape(one_line(finding))}</li>" for finding in judgement.worst(_MOST_STATIC))
    return (
        '<section aria-labelledby="findings"><h2 id="findings">Findings</h2>'
        '<form id="filter"><label>Search <input type="search" name="text" autocomplete="off"></label>'
        '<label>Namespace <select name="namespace"><option value="">all</option></select></label>'
        '<label>Status <select name="status"><option value="">all</option><option>counts</option>'
        "<option>known</option><option>waived</option></select></label>"
        f"<fieldset><legend>Severity</legend>{boxes}</fieldset></form>"
        '<p id="shown" role="status"></p>'
        f'<table id="table"><thead><tr>{heads}</tr></thead><tbody></tbody></table>'
        '<nav id="pages" aria-label="Pages"><button type="button" id="back">Back</button> <span id="page"></span> '
        '<button type="button" id="next">Next</button></nav>'
        f"<noscript><p>Without script, the worst are:</p><ul>{worst}</ul></noscript></section>\n"
    )


def _waivers(judgement: Judgement) -> str:
    today = judgement.policy.today
    rows = []
    for waiver in judgement.policy.waivers:
        state = "expired" if waiver.expired(today) else "used" if waiver.matched else "fits nothing"
        if waiver.refused:
            state = "has no end, which findings from high on need"
        cells = (waiver.rule, waiver.namespace, waiver.resource, waiver.reason, str(waiver.expires or ""), state)
        names = ("Rule", "Namespace", "Resource", "Reason", "Until", "State")
        rows.append(_row(names, (*cells, str(waiver.matched)), "Findings"))
    own = Counter(reason for _, reason, waiver in judgement.waived if waiver is None)
    for reason, count in sorted(own.items()):
        names = ("Rule", "Namespace", "Resource", "Reason", "Until", "State")
        rows.append(_row(names, ("", "", "", reason, "", "by the tool", str(count)), "Findings"))
    if not rows:
        return ""
    heads = "".join(
        f'<th scope="col">{name}</th>'
        for name in ("Rule", "Namespace", "Resource", "Reason", "Until", "State", "Findings")
    )
    return (
        '<section aria-labelledby="waivers"><h2 id="waivers">Waivers</h2>'
        f"<table><thead><tr>{heads}</tr></thead><tbody>{''.join(rows)}</tbody></table></section>\n"
    )


def _row(names: tuple[str, ...], cells: tuple[str, ...], last: str) -> str:
    pairs = zip((*names, last), cells, strict=True)
    return "<tr>" + "".join(f'<td data-name="{name}">{escape(safe(cell))}</td>' for name, cell in pairs) + "</tr>"


def _data(judgement: Judgement) -> str:
    """Return the findings as JSON that can stand in a script element."""
    rules: dict[int, int] = {}
    listed: list[list[str]] = []
    rows: list[list[Any]] = []
    reasons = {id(finding): reason for finding, reason, _ in judgement.waived}
    known = {id(finding) for finding in judgement.known}
    counting = judgement.worst(min(len(judgement.counting), MOST_ROWS))
    findings: list[Finding] = [*counting, *judgement.known, *(finding for finding, _, _ in judgement.waived)]
    for finding in findings[:MOST_ROWS]:
        rule, resource = finding.rule, finding.resource
        index = rules.setdefault(id(rule), len(rules))
        if index == len(listed):
            link = rule.link if is_link(rule.link) else ""
            listed.append([safe(rule.id), safe(rule.title)[:300], link, safe(rule.remediation)[:1000]])
        place = " ".join(part for part in (resource.label, finding.container, finding.package, _file(finding)) if part)
        status = 2 if id(finding) in reasons else 1 if id(finding) in known else 0
        row = [
            SEVERITIES.index(finding.severity),
            safe(resource.namespace),
            safe(place),
            index,
            safe(finding.message)[:2000],
            status,
            safe(finding.remedy)[:1000],
            safe(reasons.get(id(finding), "")),
        ]
        rows.append(row)
    data = {"rules": listed, "rows": rows, "all": len(findings), "severities": SEVERITIES}
    text = json.dumps(data, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _file(finding: Finding) -> str:
    return f"{finding.location}:{finding.line}" if finding.line else finding.location
