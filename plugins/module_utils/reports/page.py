# Copyright: cicd.sandbox contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""HTML: one page that needs nothing else, for people.

Nothing of a report is ever markup or script in it: texts are escaped, findings are data that the page's own script puts
into text nodes, and a content security policy lets no other script run.
"""

from __future__ import annotations

import base64
import datetime as dt
import hashlib
import json
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from html import escape
from typing import Any, Final

from ansible_collections.cicd.sandbox.plugins.module_utils.reports.gate import Judgement, one_line
from ansible_collections.cicd.sandbox.plugins.module_utils.reports.model import Finding, counted, safe
from ansible_collections.cicd.sandbox.plugins.module_utils.reports.page_assets import SCRIPT, STYLE
from ansible_collections.cicd.sandbox.plugins.module_utils.reports.sarif import is_link
from ansible_collections.cicd.sandbox.plugins.module_utils.reports.severity import SEVERITIES

# More make the page slow; the JSON has them all.
MOST_ROWS: Final = 20_000
# Without script, in the second chart, and of the checks skipped for one reason.
_MOST_STATIC: Final = 100
_MOST_BARS: Final = 12
_MOST_CHECKS: Final = 50
_TIME: Final = re.compile(r"(\d{4}-\d\d-\d\d)[T ](\d\d:\d\d)(?::\d\d(?:[.,]\d+)?)?\s*(Z|[+-]\d\d:?\d\d|)\Z")


def html_parts(judgement: Judgement) -> Iterator[str]:
    """Give the page in parts."""
    report = judgement.report
    target = f" of {safe(judgement.target)}" if judgement.target else ""
    title = f"{report.tool} report{target}"
    line = judgement.policy_line()
    yield beginning(f"{title}: {line}", SCRIPT)
    verdict = "open" if judgement.passed else "shut"
    yield f'<header><h1>{wrapped(title)}</h1><p class="policy {verdict}">{escape(line)}</p>'
    yield f"{_facts(judgement)}</header>\n<main>"
    yield _gate(judgement)
    yield _skipped(judgement)
    yield _trend(judgement)
    yield _charts(judgement)
    rows = _Rows(judgement)
    yield _table(judgement, rows)
    yield _waivers(judgement)
    yield "</main>\n"
    yield f'<script type="application/json" id="data">{rows.data()}</script>\n'
    yield f"<script>{SCRIPT}</script></body></html>\n"


def as_html(judgement: Judgement) -> bytes:
    """Return the page."""
    return "".join(html_parts(judgement)).encode()


def beginning(title: str, script: str = "") -> str:
    """Return a page up to its body, with a policy that lets only its own style and script run."""
    sources = {"default": "'none'", "style": f"'{_hash(STYLE)}'"} | ({"script": f"'{_hash(script)}'"} if script else {})
    policy = "; ".join(f"{kind}-src {source}" for kind, source in sources.items())
    policy += "; base-uri 'none'; form-action 'none'"
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{escape(policy)}">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        '<meta name="color-scheme" content="light dark">'
        f"<title>{escape(title)}</title><style>{STYLE}</style></head>\n<body>"
    )


def _hash(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def wrapped(text: str) -> str:
    """Return a text as markup in which long names break behind their separators."""
    return re.sub(r"([/:@._-])(?=\w{2})", r"\1<wbr>", escape(text))


def readable(time: str) -> str:
    """Return a point in time as people write it: "23 November 2026, 14:28 UTC"; as it is where it can't be read."""
    match = _TIME.fullmatch(time.strip())
    try:
        day = dt.date.fromisoformat(match[1]) if match else None
    except ValueError:
        day = None
    if match is None or day is None:
        return safe(time)
    zone = {"Z": " UTC", "": "", "+00:00": " UTC", "+0000": " UTC"}.get(match[3], f" UTC{match[3]}")
    return f"{day.day} {day:%B %Y}, {match[2]}{zone}"


def rounded(number: float) -> str:
    """Return a score with one decimal at most."""
    return f"{round(number, 1):g}"


def _facts(judgement: Judgement) -> str:
    report = judgement.report
    facts = {
        "Scanned": readable(report.scanned_at) if report.scanned_at else "the report does not say when",
        f"Version of {report.tool}": report.tool_version,
        "Cluster": report.cluster if report.cluster != judgement.target else "",
        "Context": report.context if report.context not in (report.cluster, judgement.target) else "",
        **report.about,
        # Of nothing, all is well.
        "Score": "" if report.score is None or report.empty else f"{rounded(report.score)} of 100",
        "Grade": "" if report.empty else report.grade,
        "Passed checks": f"{report.passed:,}" if report.passed else "",
        "Skipped checks": f"{report.skipped:,}" if report.skipped else "",
    }
    said = "".join(
        f"<div><dt>{escape(safe(name))}</dt><dd>{wrapped(safe(text))}</dd></div>"
        for name, text in facts.items()
        if text
    )
    return f"<dl>{said}</dl>"


def _gate(judgement: Judgement) -> str:
    reasons = "".join(f"<li>{escape(reason)}</li>" for reason in [*judgement.reasons, *judgement.expired()])
    state, word = ("open", "The gate is open") if judgement.passed else ("shut", "The gate is shut")
    degraded = "".join(f"<li>{escape(safe(error))}</li>" for error in judgement.report.errors)
    said = f'<section class="gate {state}" aria-labelledby="gate"><h2 id="gate">{word}</h2><ul>{reasons}</ul>'
    if judgement.report.empty:
        said += "<p>Nothing was scanned.</p>"
    if degraded:
        said += f"<h3>The scan is partial</h3><ul>{degraded}</ul>"
    return said + "</section>\n"


def _skipped(judgement: Judgement) -> str:
    """Return which checks were skipped, and why."""
    skips = judgement.report.skips
    if not skips:
        return ""
    rows = []
    for reason, checks in sorted(skips.items(), key=lambda item: -len(item[1])):
        more = f" and {len(checks) - _MOST_CHECKS:,} more" if len(checks) > _MOST_CHECKS else ""
        cells = (reason, f"{len(checks):,}", ", ".join(checks[:_MOST_CHECKS]) + more)
        rows.append(_row(("Reason", "Checks", "Which"), cells))
    return (
        '<section aria-labelledby="skipped"><h2 id="skipped">Skipped checks</h2>'
        f"<table>{_heads(('Reason', 'Checks', 'Which'))}<tbody>{''.join(rows)}</tbody></table></section>\n"
    )


def _trend(judgement: Judgement) -> str:
    """Return what changed since the baseline."""
    if judgement.policy.baseline is None:
        return ""
    counts = {"new": len(judgement.counting), "fixed": len(judgement.fixed), "same": len(judgement.known)}
    most = max(counts.values())
    bars = "".join(_bar(name, count, most, name) for name, count in counts.items())
    worse = (
        f"<p>{counted(len(judgement.worse), 'of the new is', 'of the new are')} more severe than in the baseline.</p>"
    )
    return (
        '<section class="trend" aria-labelledby="trend"><h2 id="trend">Since the baseline</h2>'
        f'<div><table class="bars">{bars}</table>{worse if judgement.worse else ""}</div></section>\n'
    )


def _bar(label: str, count: int, most: int, kind: str) -> str:
    width = 100 * count / most if most else 0
    return (
        f'<tr><th scope="row" title="{escape(label)}">{wrapped(label)}</th><td class="number">{count:,}</td>'
        f'<td class="bar"><svg role="img" aria-label="{count:,}" width="100%" height="14">'
        f'<rect class="{kind}" width="{width:.1f}%" height="14" rx="3"/></svg></td></tr>'
    )


def _charts(judgement: Judgement) -> str:
    counts = judgement.counts
    most = max(counts.values(), default=0)
    if not most:
        return ""
    severities = "".join(_bar(name, counts[name], most, name) for name in SEVERITIES)
    name, groups = _grouped(judgement)
    second = f'<div><h2>By {name}</h2><table class="bars">{_bars(groups)}</table></div>' if groups else ""
    return (
        f'<section class="charts"><div><h2>By severity</h2><table class="bars">{severities}</table></div>'
        f"{second}</section>\n"
    )


def _grouped(judgement: Judgement) -> tuple[str, Counter[str]]:
    """Count the findings that count by what tells them apart: namespaces; in an image, packages; else rules."""
    namespaces = Counter(finding.resource.namespace for finding in judgement.counting)
    if any(namespaces):
        return "namespace", Counter({safe(name) or "(no namespace)": count for name, count in namespaces.items()})
    packages = Counter(finding.package.partition("@")[0] or finding.package for finding in judgement.counting)
    if any(packages):
        return "package", Counter({safe(name) or "(no package)": count for name, count in packages.items()})
    return "rule", Counter(safe(finding.rule.id) for finding in judgement.counting)


def _bars(groups: Counter[str]) -> str:
    listed = groups.most_common()
    shown = listed[:_MOST_BARS]
    rest = sum(count for _, count in listed[_MOST_BARS:])
    most = max(rest, max((count for _, count in shown), default=0))
    bars = "".join(_bar(name, count, most, "group") for name, count in shown)
    return bars + (_bar(f"{len(listed) - _MOST_BARS:,} more", rest, most, "group") if rest else "")


class _Rows:
    """The table's rows as data: of what counts, the worst; then what is known and what is waived."""

    def __init__(self, judgement: Judgement) -> None:
        self._judgement = judgement
        reasons = {id(finding): reason for finding, reason, _ in judgement.waived}
        known = {id(finding) for finding in judgement.known}
        counting = judgement.worst(min(len(judgement.counting), MOST_ROWS))
        findings = [*counting, *judgement.known, *(finding for finding, _, _ in judgement.waived)][:MOST_ROWS]
        self.all = len(judgement.counting) + len(judgement.known) + len(judgement.waived)
        self._rules: dict[int, int] = {}
        self._listed: list[list[str]] = []
        was = {id(finding): word for finding, word in judgement.worse}
        self.rows = [
            self._row(
                finding,
                2 if id(finding) in reasons else 1 if id(finding) in known else 0,
                reasons.get(id(finding)) or (f"{was[id(finding)]} in the baseline" if id(finding) in was else ""),
            )
            for finding in findings
        ]
        # A column in which nothing stands takes room from the others.
        hidden = {
            1: not any(row[1] for row in self.rows),
            2: not any(row[2] for row in self.rows),
            5: not any(row[5] or row[7] for row in self.rows),
        }
        self.columns = [column for column in range(6) if not hidden.get(column)]

    def _row(self, finding: Finding, status: int, why: str) -> list[Any]:
        rule, resource = finding.rule, finding.resource
        index = self._rules.setdefault(id(rule), len(self._rules))
        if index == len(self._listed):
            link = rule.link if is_link(rule.link) else ""
            self._listed.append([safe(rule.id), safe(rule.title)[:300], link, safe(rule.remediation)[:1000]])
        # What all of the page is about is in its head.
        label = "" if resource.name and resource.name == self._judgement.report.target else resource.label
        place = " ".join(part for part in (label, finding.container, finding.package, _file(finding)) if part)
        return [
            SEVERITIES.index(finding.severity),
            safe(resource.namespace),
            safe(place),
            index,
            safe(message_beside(finding))[:2000],
            status,
            safe(finding.remedy)[:1000],
            safe(why),
        ]

    def data(self) -> str:
        """Return the rows as JSON that can stand in a script element."""
        data = {
            "rules": self._listed,
            "rows": self.rows,
            "all": self.all,
            "columns": self.columns,
            "severities": SEVERITIES,
        }
        text = json.dumps(data, separators=(",", ":"))
        return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def message_beside(finding: Finding) -> str:
    """Return a finding's message without what stands beside it: the rule's id, the package, the file."""
    message = finding.message.removeprefix(f"[{finding.rule.id}] ")
    name, _, version = finding.package.partition("@")
    for start in (f"{name} {version}: ", f"{name}: "):
        if name and message.startswith(start):
            message = message.removeprefix(start)
            break
    if finding.location:
        message = message.removesuffix(f" in {finding.location}")
    # What mends it is told below.
    if finding.remedy and message.startswith("fixed in "):
        message = message.partition(": ")[2] or message
    return message


_COLUMNS: Final = ("Severity", "Namespace", "Resource", "Rule", "Message", "Status")


def _table(judgement: Judgement, rows: _Rows) -> str:
    heading = '<section aria-labelledby="findings"><h2 id="findings">Findings</h2>'
    if not rows.rows:
        return f'{heading}<p id="shown" role="status">No findings.</p></section>\n'
    boxes = "".join(
        f'<label class="{name}"><input type="checkbox" name="severity" value="{name}" checked> {name}</label>'
        for name in SEVERITIES
    )
    heads = "".join(
        f'<th scope="col" aria-sort="none" class="column-{_COLUMNS[column].lower()}">'
        f'<button type="button" data-column="{column}">{_COLUMNS[column]}</button></th>'
        for column in rows.columns
    )
    namespaces = '<label>Namespace <select name="namespace"><option value="">all</option></select></label>'
    statuses = (
        '<label>Status <select name="status"><option value="">all</option><option>counts</option>'
        "<option>known</option><option>waived</option></select></label>"
    )
    cut = (
        f"<p>The page has the worst {len(rows.rows):,} of {rows.all:,} findings; json_path writes all.</p>"
        if rows.all > len(rows.rows)
        else ""
    )
    worst = "".join(f"<li>{escape(one_line(finding))}</li>" for finding in judgement.worst(_MOST_STATIC))
    return (
        f'{heading}{cut}<form id="filter"><label>Search <input type="search" name="text" autocomplete="off"></label>'
        f"{namespaces if 1 in rows.columns else ''}{statuses if 5 in rows.columns else ''}"
        f"<fieldset><legend>Severity</legend>{boxes}</fieldset></form>"
        '<p id="shown" role="status"></p>'
        f'<table id="table"><thead><tr>{heads}</tr></thead><tbody></tbody></table>'
        '<nav id="pages" aria-label="Pages"><button type="button" id="back">Back</button> <span id="page"></span> '
        '<button type="button" id="next">Next</button></nav>'
        f"<noscript><p>Without script, the worst are:</p><ul>{worst}</ul></noscript></section>\n"
    )


_WAIVER_COLUMNS: Final = ("Rule", "Namespace", "Resource", "Reason", "Until", "State", "Findings")


def _waivers(judgement: Judgement) -> str:
    today, tool = judgement.policy.today, judgement.report.tool
    rows = []
    for waiver in judgement.policy.waivers:
        if not waiver.matched and not waiver.concerns(tool):
            continue
        state = "used" if waiver.matched else "fits nothing"
        if waiver.expired(today):
            again = counted(waiver.again, "finding counts", "findings count")
            state = f"expired: {again} again" if waiver.again else "expired"
        elif waiver.refused:
            state = "has no end, which findings from high on need"
        cells = (waiver.rule, waiver.namespace, waiver.resource, waiver.reason, str(waiver.expires or ""), state)
        rows.append(_row(_WAIVER_COLUMNS, (*cells, f"{waiver.matched:,}")))
    own = Counter(reason for _, reason, waiver in judgement.waived if waiver is None)
    for reason, count in sorted(own.items()):
        rows.append(_row(_WAIVER_COLUMNS, ("", "", "", reason, "", "by the tool", f"{count:,}")))
    if not rows:
        return ""
    return (
        '<section aria-labelledby="waivers"><h2 id="waivers">Waivers</h2>'
        f"<table>{_heads(_WAIVER_COLUMNS)}<tbody>{''.join(rows)}</tbody></table></section>\n"
    )


def _heads(names: Sequence[str]) -> str:
    return "<thead><tr>" + "".join(f'<th scope="col">{name}</th>' for name in names) + "</tr></thead>"


def _row(names: Sequence[str], cells: Sequence[str]) -> str:
    pairs = zip(names, cells, strict=True)
    return "<tr>" + "".join(f'<td data-name="{name}">{wrapped(safe(cell))}</td>' for name, cell in pairs) + "</tr>"


def _file(finding: Finding) -> str:
    return f"{finding.location}:{finding.line}" if finding.line else finding.location
