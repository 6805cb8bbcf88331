// Line charts as inline SVG. The drawing is stretched to its box and its strokes are not, while the labels
// are HTML beside it: text stays readable at every width.
import { html } from '../html.js';
import { formatAxis, formatChange, formatMoment, formatPrice } from './format.js';

const MOST_MARKS = 40;
const ARROWS = { up: '▲', down: '▼', even: '■' };

/** Quotes, newest first → series by symbol and currency: {symbol, currency, quotes, oldest first}. */
export function groupIntoSeries(quotes) {
  const series = new Map();
  for (const quote of quotes) {
    const key = JSON.stringify([quote.symbol, quote.currency]);
    if (!series.has(key)) series.set(key, { symbol: quote.symbol, currency: quote.currency, quotes: [] });
    series.get(key).quotes.unshift(quote);
  }
  return [...series.values()];
}

const round = (value) => Math.round(value * 100) / 100;

/**
 * Points in a square of 100 by 100, y downwards; what has no extent lies in the middle. From quote to quote is
 * a step, as on trading charts: were time drawn to scale, a long pause would press everything else together.
 */
function toPoints(quotes, low, high) {
  return quotes.map((quote, index) => ({
    x: quotes.length === 1 ? 50 : round((index / (quotes.length - 1)) * 100),
    y: high === low ? 50 : round(((high - quote.price) / (high - low)) * 100),
    quote,
  }));
}

function measure({ symbol, currency, quotes }) {
  const ranked = [...quotes].sort((a, b) => a.price - b.price);
  const [lowest, highest] = [ranked[0], ranked.at(-1)];
  const [low, high] = [lowest.price, highest.price];
  const [first, last] = [quotes[0], quotes.at(-1)];
  const change = quotes.length > 1 && first.price !== 0 ? (last.price - first.price) / first.price : null;
  const description =
    `${symbol}: ${quotes.length === 1 ? 'one quote' : `${quotes.length} quotes`}, the latest ` +
    `${formatPrice(last.priceText)} ${currency} at ${formatMoment(last.quotedAt)} UTC, ` +
    `lowest ${formatPrice(lowest.priceText)}, highest ${formatPrice(highest.priceText)}`;
  return { low, high, first, last, change, description, points: toPoints(quotes, low, high) };
}

function drawing({ points, description }, { marks }) {
  const line = points.map(({ x, y }) => `${x} ${y}`).join('L');
  // A mark is a stroke of no length with round ends: a dot that stays round.
  const shown = marks && points.length <= MOST_MARKS ? points : points.slice(-1);
  return html`<svg viewBox="0 0 100 100" preserveAspectRatio="none" role="img" aria-label="${description}">
    <path class="grid" d="M0 0H100M0 50H100M0 100H100"/>
    <path class="area" d="M${points[0].x} 100L${line}L${points.at(-1).x} 100Z"/>
    <path class="line" d="M${line}"/>
    ${shown.map(
      ({ x, y, quote }) => html`<path class="mark" d="M${x} ${y}h0"><title>${formatPrice(quote.priceText)} ${
        quote.currency
      }, ${formatMoment(quote.quotedAt)} UTC</title></path>`,
    )}
  </svg>`;
}

function changeBadge(change) {
  if (change === null) return '';
  const word = change > 0 ? 'up' : change < 0 ? 'down' : 'even';
  return html`<span class="change ${word}">
    <span aria-hidden="true">${ARROWS[word]}</span><span class="unseen">${word}</span>
    ${formatChange(change)}</span>`;
}

const price = (quote) =>
  html`<span class="price">${formatPrice(quote.priceText)} <small>${quote.currency}</small></span>`;

/** One series with its axes. */
export function chart(series) {
  const measured = measure(series);
  const { low, high, first, last, change } = measured;
  const scale = low === high ? [low] : [high, (low + high) / 2, low];
  return html`<figure class="chart">
    <figcaption><strong>${series.symbol}</strong> ${price(last)} ${changeBadge(change)}</figcaption>
    <div class="plot">
      <div class="scale${low === high && ' single'}" aria-hidden="true">
        ${formatAxis(scale).map((text) => html`<span>${text}</span>`)}
      </div>
      ${drawing(measured, { marks: true })}
      <div class="span" aria-hidden="true"><span>${formatMoment(first.quotedAt)}</span>
        ${first !== last && html`<span>${formatMoment(last.quotedAt)}</span>`}</div>
    </div>
  </figure>`;
}

/** One series as a card that leads to it. */
export function card(series, href) {
  const measured = measure(series);
  return html`<li><a class="card" href="${href}">
    <strong>${series.symbol}</strong> ${changeBadge(measured.change)}
    ${price(measured.last)}
    ${drawing(measured, { marks: false })}
  </a></li>`;
}
