// Quotes as the API gives them. The page's script uses this module, too.

// Prices are strings: a JSON number would be read as floating point.
const DECIMAL = /^-?\d{1,40}(\.\d{1,40})?$/;

/** A quote as the page uses it, or null where the API's is no quote. */
export function readQuote(item) {
  const { symbol, price, currency = '', quoted_at: quotedAt } = item ?? {};
  const moment = new Date(quotedAt);
  const sound = [symbol, price, currency, quotedAt].every((value) => typeof value === 'string');
  if (!sound || !DECIMAL.test(price) || Number.isNaN(moment.getTime())) return null;
  return { symbol, price: Number(price), priceText: price, currency, quotedAt: moment, momentText: quotedAt };
}

/** What readQuote reads. */
export const writeQuote = ({ symbol, priceText, currency, momentText }) =>
  JSON.stringify({ symbol, price: priceText, currency, quoted_at: momentText });

/** A symbol has one quote per moment. */
export const keyOf = ({ symbol, momentText }) => `${symbol} ${momentText}`;

/** The `limit` newest of `quotes`, newest first, with one more; `quotes` itself where that changes nothing. */
export function withQuote(quotes, quote, limit) {
  if (quotes.some((other) => keyOf(other) === keyOf(quote))) return quotes;
  const newest = [quote, ...quotes].sort((a, b) => b.quotedAt - a.quotedAt).slice(0, limit);
  return newest.includes(quote) ? newest : quotes;
}
