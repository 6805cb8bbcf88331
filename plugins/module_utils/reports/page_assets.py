# Copyright: cicd.sandbox contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Style and script of the HTML page."""

from __future__ import annotations

from typing import Final

STYLE: Final = """
:root{color-scheme:light dark;--text:#1d2430;--soft:#5a6577;--ground:#fff;--panel:#f4f6f9;--line:#d5dbe4;--link:#0b57a4;
--critical:#8f1239;--high:#c2410c;--medium:#a16207;--low:#1d6fb8;--info:#5a6577;--open:#15803d;--shut:#b91c1c}
@media (prefers-color-scheme:dark){:root{--text:#e6eaf0;--soft:#a3aec0;--ground:#12161d;--panel:#1b212b;--line:#343d4b;
--link:#7cb8f5;--critical:#fb7199;--high:#fb923c;--medium:#facc15;--low:#60a5fa;--info:#a3aec0;--open:#4ade80;
--shut:#f87171}}
*{box-sizing:border-box}
body{margin:0 auto;max-width:90rem;padding:1rem;background:var(--ground);color:var(--text);
font:16px/1.5 system-ui,sans-serif}
h1{font-size:1.5rem;margin:0}h2{font-size:1.15rem;margin:0 0 .5rem}h3{font-size:1rem;margin:.5rem 0 0}
section{margin:1.25rem 0}dl{display:flex;flex-wrap:wrap;gap:.25rem 1.5rem;margin:.5rem 0}
dt{color:var(--soft);font-size:.8rem}dd{margin:0;overflow-wrap:anywhere}a{color:var(--link)}
.gate{background:var(--panel);border-left:.4rem solid var(--open);padding:.75rem 1rem;border-radius:.25rem}
.gate.shut{border-color:var(--shut)}.gate ul{margin:0;padding-left:1.2rem;overflow-wrap:anywhere}
.charts{display:grid;grid-template-columns:repeat(auto-fit,minmax(17rem,1fr));gap:1.5rem}
table{border-collapse:collapse;width:100%}th{text-align:left;font-weight:600}
.bars th{font-weight:400;padding-right:.5rem;max-width:14rem;min-width:5rem}
.bars .number{text-align:right;padding-right:.5rem;font-variant-numeric:tabular-nums}.bars .bar{width:60%}
rect.critical{fill:var(--critical)}rect.high{fill:var(--high)}rect.medium{fill:var(--medium)}
rect.low{fill:var(--low)}rect.info{fill:var(--info)}rect.group,rect.same{fill:var(--link)}
rect.new{fill:var(--shut)}rect.fixed{fill:var(--open)}svg{display:block}.trend{max-width:40rem}
.policy{margin:.5rem 0;font-weight:600}.policy.open,td.open{color:var(--open)}.policy.shut,td.shut{color:var(--shut)}
form{display:flex;flex-wrap:wrap;gap:.5rem 1rem;align-items:end}form label{font-size:.9rem}
fieldset{border:0;padding:0;margin:0;display:flex;flex-wrap:wrap;gap:.25rem .75rem}legend{font-size:.9rem;padding:0}
input,select,button{font:inherit;color:inherit;background:var(--ground);border:1px solid var(--line);
border-radius:.25rem;
padding:.25rem .5rem;max-width:100%}
button{cursor:pointer}button:disabled{opacity:.5;cursor:default}
.bars .number,thead th{white-space:nowrap}
@media (min-width:45rem){#table{table-layout:fixed}.column-severity{width:6.5rem}.column-namespace{width:13%}
.column-resource{width:24%}.column-rule{width:10.5rem}.column-status{width:8.5rem}}
:focus-visible{outline:3px solid var(--link);outline-offset:1px}
thead button{border:0;padding:.25rem 0;background:none;font-weight:600}
thead th[aria-sort=ascending] button::after{content:" \\25B2"}
thead th[aria-sort=descending] button::after{content:" \\25BC"}
main>section>table td,main>section>table thead th{border-bottom:1px solid var(--line);padding:.35rem .6rem .35rem 0;
vertical-align:top}
td{overflow-wrap:anywhere;white-space:pre-line}td small{display:block;color:var(--soft)}
.severity{font-weight:600;white-space:nowrap}.severity.critical{color:var(--critical)}.severity.high{color:var(--high)}
.severity.medium{color:var(--medium)}.severity.low{color:var(--low)}.severity.info{color:var(--info)}
.bars td,.bars th{padding-top:.1rem;padding-bottom:.1rem}nav{margin:.75rem 0}
@media (max-width:45rem){.bars .bar{width:40%}main>section>table thead{position:absolute;clip-path:inset(50%);width:1px;
height:1px;overflow:hidden}
main>section>table tr{display:block;border-bottom:2px solid var(--line);padding:.4rem 0}
main>section>table td{display:grid;grid-template-columns:6.5rem 1fr;border:0;padding:.1rem 0}
main>section>table td::before{content:attr(data-name);color:var(--soft)}td>*{grid-column:2}}
.index .number{font-variant-numeric:tabular-nums}.index td[data-name=Tool]{white-space:nowrap}
@media (min-width:45rem){.index td.number,.index th.number{text-align:right;padding-right:1rem}
.index td[data-name=Target]{min-width:12rem}}
.index .verdict{font-weight:600;min-width:6rem}
svg.line polyline{fill:none;stroke:var(--link);stroke-width:1.5}svg.line circle{fill:var(--link)}
@media print{form,nav{display:none}}
"""

SCRIPT: Final = """
"use strict";
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const names = ["Severity", "Namespace", "Resource", "Rule", "Message", "Status"];
  const statuses = ["counts", "known", "waived"];
  const size = 100;
  const form = document.getElementById("filter");
  if (!form) return;
  const body = document.querySelector("#table tbody");
  const rows = data.rows;
  const texts = rows.map((row) => {
    const rule = data.rules[row[3]];
    return [data.severities[row[0]], row[1], row[2], rule[0], rule[1], row[4], statuses[row[5]], row[7]]
      .join("\\n").toLowerCase();
  });
  let order = rows.map((_, index) => index);
  let column = 0, down = false, page = 0, shown = order;

  const number = (count) => count.toLocaleString("en");

  if (form.elements.namespace) {
    for (const name of [...new Set(rows.map((row) => row[1]))].sort()) {
      const option = document.createElement("option");
      option.value = "=" + name;
      option.textContent = name || "(none)";
      form.elements.namespace.append(option);
    }
  }

  const value = (row) => column === 3 ? data.rules[row[3]][0] : row[column];
  const compare = (one, other) => {
    const first = value(rows[one]), second = value(rows[other]);
    const by = typeof first === "number" ? first - second : first < second ? -1 : first > second ? 1 : 0;
    return (down ? -by : by) || one - other;
  };

  // Long names break behind their separators.
  const write = (element, text) => {
    for (const part of text.split(/(?<=[/:@._-])(?=\\w{2})/)) {
      if (element.childNodes.length) element.append(document.createElement("wbr"));
      element.append(part);
    }
  };
  const cell = (line, name, text, kind) => {
    const td = line.insertCell();
    td.dataset.name = name;
    const span = document.createElement("span");
    if (kind === "text") span.textContent = text;
    else write(span, text);
    if (kind) span.className = kind;
    td.append(span);
    return td;
  };
  const note = (td, text) => {
    if (!text) return;
    const small = document.createElement("small");
    small.textContent = text;
    td.append(small);
  };

  const draw = () => {
    const pages = Math.max(1, Math.ceil(shown.length / size));
    page = Math.min(page, pages - 1);
    const fresh = document.createElement("tbody");
    for (const index of shown.slice(page * size, (page + 1) * size)) {
      const row = rows[index], rule = data.rules[row[3]], line = fresh.insertRow();
      for (const column of data.columns) {
        const name = names[column];
        if (column === 0) {
          const severity = data.severities[row[0]];
          cell(line, name, severity, "severity " + severity);
        } else if (column === 3) {
          const td = cell(line, name, rule[2] ? "" : rule[0]);
          if (!rule[2]) continue;
          const link = document.createElement("a");
          link.href = rule[2];
          link.rel = "noopener noreferrer";
          write(link, rule[0]);
          td.firstChild.append(link);
        } else if (column === 4) {
          note(cell(line, name, row[4], "text"), row[6] || rule[3]);
        } else if (column === 5) {
          note(cell(line, name, statuses[row[5]]), row[7]);
        } else {
          cell(line, name, row[column]);
        }
      }
    }
    if (!shown.length) {
      const td = fresh.insertRow().insertCell();
      td.colSpan = data.columns.length;
      td.className = "none";
      td.textContent = "No finding fits the search and the filters.";
    }
    body.replaceChildren(...fresh.children);
    const whole = data.all > rows.length
      ? `the worst ${number(rows.length)} of ${number(data.all)}` : number(rows.length);
    document.getElementById("shown").textContent =
      `${number(shown.length)} of ${whole} ${data.all === 1 ? "finding" : "findings"}.`;
    document.getElementById("page").textContent = `Page ${page + 1} of ${pages}`;
    document.getElementById("back").disabled = page === 0;
    document.getElementById("next").disabled = page >= pages - 1;
    document.getElementById("pages").hidden = pages === 1;
  };

  const filter = () => {
    const words = form.elements.text.value.toLowerCase().split(/\\s+/).filter(Boolean);
    const namespace = form.elements.namespace ? form.elements.namespace.value : "";
    const status = form.elements.status ? statuses.indexOf(form.elements.status.value) : -1;
    const wanted = new Set([...form.querySelectorAll("[name=severity]:checked")]
      .map((box) => data.severities.indexOf(box.value)));
    shown = order.filter((index) => {
      const row = rows[index];
      return wanted.has(row[0]) && (!namespace || row[1] === namespace.slice(1)) &&
        (status < 0 || row[5] === status) && words.every((word) => texts[index].includes(word));
    });
    page = 0;
    draw();
  };

  const sort = () => {
    order = order.sort(compare);
    document.querySelectorAll("#table th").forEach((th, index) => {
      th.setAttribute("aria-sort", data.columns[index] !== column ? "none" : down ? "descending" : "ascending");
    });
    filter();
  };

  document.querySelectorAll("#table thead button").forEach((button) => {
    button.addEventListener("click", () => {
      const chosen = Number(button.dataset.column);
      down = chosen === column ? !down : false;
      column = chosen;
      sort();
    });
  });
  form.addEventListener("input", filter);
  form.addEventListener("submit", (event) => event.preventDefault());
  document.getElementById("back").addEventListener("click", () => { page -= 1; draw(); });
  document.getElementById("next").addEventListener("click", () => { page += 1; draw(); });
  sort();
})();
"""
