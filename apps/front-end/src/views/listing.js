// Quotes as charts and a table. The page's script draws them anew with this module when a quote comes.
import { html } from '../html.js';
import { writeQuote } from '../quotes.js';
import { card, chart, groupIntoSeries } from './chart.js';
import { decimalsOf, formatMoment, formatPrice } from './format.js';

export const LIMITS = [20, 50, 100];
export const DEFAULT_LIMIT = 50;
const MOST_CARDS = 6;

/** Where the page of a symbol ('' for all) is. */
export function quotesPath({ symbol = '', limit = DEFAULT_LIMIT, added = '' } = {}) {
  const query = new URLSearchParams();
  if (symbol) query.set('symbol', symbol);
  if (limit !== DEFAULT_LIMIT) query.set('limit', limit);
  if (added) query.set('added', added);
  return query.size > 0 ? `/?${query}` : '/';
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
  (quote) => html`      <tr data-quote="${writeQuote(quote)}">
        <th scope="row"><a href="${quotesPath({ symbol: quote.symbol, limit: filter.limit })}">${quote.symbol}</a></th>
        <td class="number">${formatPrice(quote.priceText, decimals)} <small>${quote.currency}</small></td>
        <td class="moment">${moment(quote.quotedAt)}</td>
      </tr>
`,
)}    </tbody>
  </table>`;
}

/** `quotes`: newest first; `filter`: {symbol, limit}. */
export function listing({ quotes, filter }) {
  if (quotes.length === 0) {
    const whose = filter.symbol ? html` for <strong>${filter.symbol}</strong>` : '';
    return html`<p class="empty">There are no quotes${whose} yet.</p>`;
  }
  return html`${charts({ series: groupIntoSeries(quotes), filter })}${table({ quotes, filter })}`;
}
