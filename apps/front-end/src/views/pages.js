// The pages: quotes with filter and form, and short messages.
import { html } from '../html.js';
import { card, chart, groupIntoSeries } from './chart.js';
import { decimalsOf, formatMoment, formatPrice } from './format.js';
import { layout } from './layout.js';

export const LIMITS = [20, 50, 100];
export const DEFAULT_LIMIT = 50;
const MOST_CARDS = 6;
// What is typed is a code and no word.
const CODE = html`autocomplete="off" autocapitalize="characters" spellcheck="false"`;

/** Where the page of a symbol ('' for all) is. */
export function quotesPath({ symbol = '', limit = DEFAULT_LIMIT, added = '' } = {}) {
  const query = new URLSearchParams();
  if (symbol) query.set('symbol', symbol);
  if (limit !== DEFAULT_LIMIT) query.set('limit', limit);
  if (added) query.set('added', added);
  return query.size > 0 ? `/?${query}` : '/';
}

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

function charts({ series, filter }) {
  if (series.length === 1) return chart(series[0]);
  return html`<ul class="cards">${series
    .slice(0, MOST_CARDS)
    .map((one) => card(one, quotesPath({ symbol: one.symbol, limit: filter.limit })))}</ul>`;
}

/** Date and time, which part only between each other. */
function moment(quotedAt) {
  const parts = formatMoment(quotedAt).split(' ');
  return html`<time datetime="${quotedAt.toISOString()}">${parts.map((part) => html` <span>${part}</span>`)}</time>`;
}

function table({ quotes, filter }) {
  const decimals = decimalsOf(quotes.map((quote) => quote.priceText));
  return html`<table>
    <caption>${quotes.length === 1 ? 'One quote' : `${quotes.length} quotes`}, newest first</caption>
    <thead><tr>
      <th scope="col">Symbol</th>
      <th scope="col" class="number">Price</th>
      <th scope="col" class="moment">Quoted at (UTC)</th>
    </tr></thead>
    <tbody>
${quotes.map(
  (quote) => html`      <tr>
        <th scope="row"><a href="${quotesPath({ symbol: quote.symbol, limit: filter.limit })}">${quote.symbol}</a></th>
        <td class="number">${formatPrice(quote.priceText, decimals)} <small>${quote.currency}</small></td>
        <td class="moment">${moment(quote.quotedAt)}</td>
      </tr>
`,
)}    </tbody>
  </table>`;
}

function listing({ quotes, filter }) {
  if (quotes.length === 0) {
    const whose = filter.symbol ? html` for <strong>${filter.symbol}</strong>` : '';
    return html`<p class="empty">There are no quotes${whose} yet.</p>`;
  }
  return [charts({ series: groupIntoSeries(quotes), filter }), table({ quotes, filter })];
}

const NOTHING_TYPED = { values: {}, errors: [] };

/**
 * The quotes page, as a string.
 * quotes: newest first, or null when they can't be had, and then `problem` says why;
 * filter: {symbol, limit}; filterErrors: [{field, message}]; form: {values, errors: [{field, message}]};
 * problem: {title, detail, link: words for the way to the quotes} of the request as a whole;
 * added: the symbol of a quote just added.
 */
export function quotesPage(site, { quotes, filter, filterErrors = [], form = NOTHING_TYPED, problem, added }) {
  const symbols = [...new Set((quotes ?? []).map((quote) => quote.symbol))].sort();
  const wrong = problem !== undefined || form.errors.length > 0 || filterErrors.length > 0;
  const name = filter.symbol ? `Quotes of ${filter.symbol}` : 'Quotes';
  return layout(site, {
    title: wrong ? `Problem: ${name}` : name,
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
        ${quotes !== null && listing({ quotes, filter })}
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
