// The pages: quotes with filter and form, and short messages.
import { html } from '../html.js';
import { layout } from './layout.js';
import { LIMITS, listing, quotesPath } from './listing.js';

// What is typed is a code and no word.
const CODE = html`autocomplete="off" autocapitalize="characters" spellcheck="false"`;

/** A problem in a box that screen readers announce. `errors`: [{id, message}]; id is that of a field, or null. */
function alertBox({ title, detail, errors = [], link, href }) {
  return html`<section class="notice bad" role="alert" aria-labelledby="problem">
    <h2 id="problem">${title}</h2>
    ${detail && html`<p>${detail}</p>`}
    ${
      errors.length > 0 &&
      html`<ul>
        ${errors.map(({ id, message }) => html`<li>${id ? html`<a href="#${id}">${message}</a>` : message}</li>`)}
      </ul>`
    }
    ${link && html`<p><a href="${href}">${link}</a></p>`}
  </section>`;
}

function field({ id, name = id, label, value, errors = [], attributes }) {
  const wrong = errors.length > 0;
  return html`<div class="field${wrong && ' wrong'}">
    <label for="${id}">${label}</label>
    <input id="${id}" name="${name}" value="${value}" ${attributes}${
      wrong && html` aria-invalid="true" aria-describedby="${id}-error"`
    }>
    ${wrong && html`<p class="error" id="${id}-error">${errors.join(' ')}</p>`}
  </div>`;
}

function filterForm({ filter, filterErrors, symbols }) {
  return html`<form class="filter" action="/" method="get" role="search" aria-label="Quotes">
    ${field({
      id: 'symbol',
      label: 'Symbol',
      value: filter.symbol,
      errors: filterErrors.filter(({ field }) => field === 'symbol').map(({ message }) => message),
      attributes: html`list="symbols" placeholder="All" maxlength="12" ${CODE}`,
    })}
    <datalist id="symbols">${symbols.map((symbol) => html`<option value="${symbol}"></option>`)}</datalist>
    <div class="field">
      <label for="limit">Newest</label>
      <select id="limit" name="limit">${LIMITS.map(
        (limit) => html`<option${limit === filter.limit && ' selected'}>${limit}</option>`,
      )}</select>
    </div>
    <button>Show</button>
    ${filter.symbol && html`<a class="all" href="${quotesPath({ limit: filter.limit })}">All symbols</a>`}
  </form>`;
}

/** Ids in the form for a new quote; the filter has a symbol too. */
const newId = (name) => `new-${name}`;

function addForm({ values, errors, filter }) {
  const input = (name, options) => {
    const messages = errors.filter((error) => error.field === name).map(({ message }) => message);
    return field({ id: newId(name), name, value: values[name] ?? '', errors: messages, ...options });
  };
  return html`<section class="panel" aria-labelledby="add">
    <h2 id="add">Add a quote</h2>
    <form action="/" method="post">
      ${input('symbol', {
        label: 'Symbol',
        value: values.symbol ?? filter.symbol,
        attributes: html`required maxlength="12" ${CODE}`,
      })}
      <div class="pair">
        ${input('price', {
          label: 'Price',
          attributes: html`required maxlength="20" inputmode="decimal" autocomplete="off"`,
        })}
        ${input('currency', {
          label: 'Currency',
          attributes: html`maxlength="3" placeholder="USD" ${CODE}`,
        })}
      </div>
      <button class="main">Add quote</button>
    </form>
  </section>`;
}

/** The quotes, and what the page's script has to know of them. `position`: the last event that they include, or ''. */
function live({ quotes, filter, position }) {
  return html`<p id="live" class="state" role="status" hidden></p>
        <div id="listing" class="listing" data-symbol="${filter.symbol}" data-limit="${filter.limit}"
          data-after="${position}">${listing({ quotes, filter })}</div>`;
}

const NOTHING_TYPED = { values: {}, errors: [] };

/**
 * The quotes page, as a string.
 * quotes: newest first, or null when they can't be had, and then `problem` says why; position: see live();
 * filter: {symbol, limit}; filterErrors: [{field, message}]; form: {values, errors: [{field, message}]};
 * problem: {title, detail, link: words for the way to the quotes} of the request as a whole;
 * added: the symbol of a quote just added.
 */
export function quotesPage(site, { quotes, position = '', filter, filterErrors = [], form = NOTHING_TYPED, problem, added }) {
  const symbols = [...new Set((quotes ?? []).map((quote) => quote.symbol))].sort();
  const wrong = problem !== undefined || form.errors.length > 0 || filterErrors.length > 0;
  const name = filter.symbol ? `Quotes of ${filter.symbol}` : 'Quotes';
  return layout(site, {
    title: wrong ? `Problem: ${name}` : name,
    live: quotes !== null,
    main: html`
    <h1>${name}</h1>
    ${added && html`<p class="notice good" role="status">The quote of <strong>${added}</strong> was added.</p>`}
    ${problem && alertBox({ ...problem, href: quotesPath(filter) })}
    ${
      filterErrors.length > 0 &&
      alertBox({
        title: 'There can be no such quotes',
        errors: filterErrors.map(({ field, message }) => ({ id: field, message })),
      })
    }
    ${
      form.errors.length > 0 &&
      alertBox({
        title: 'The quote was not added',
        errors: form.errors.map(({ field, message }) => ({ id: field && newId(field), message })),
      })
    }
    <div class="columns">
      <div>
        ${filterForm({ filter, filterErrors, symbols })}
        ${quotes !== null && live({ quotes, filter, position })}
      </div>
      ${addForm({ ...form, filter })}
    </div>`,
  });
}

/** A page that only says something. */
export function messagePage(site, { title, detail }) {
  return layout(site, {
    title,
    main: html`
    <h1>${title}</h1>
    <p>${detail}</p>
    <p><a href="/">To the quotes</a></p>`,
  });
}
