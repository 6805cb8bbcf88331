// A stand-in for the business-logic API that does what a test tells it.
import { createServer } from 'node:http';

/** Quotes of one symbol, ten minutes apart, newest first. */
export function quotesOf(symbol, prices, currency = 'EUR') {
  return prices
    .map((price, index) => ({
      id: index + 1,
      symbol,
      price,
      currency,
      quoted_at: new Date(Date.UTC(2026, 10, 23, 9, index * 10)).toISOString(),
    }))
    .reverse();
}

export const json = (response, status, body, type = 'application/json') => {
  response.writeHead(status, { 'Content-Type': type });
  response.end(JSON.stringify(body));
};

/** Started with a list of quotes or a handler (request, response); keeps what it received in `received`. */
export async function startFakeApi(t, behaviour = []) {
  const received = [];
  const api = { received, behaviour };
  const server = createServer(async (request, response) => {
    let body = '';
    for await (const chunk of request) body += chunk;
    received.push({ method: request.method, url: request.url, headers: request.headers, body });
    if (typeof api.behaviour === 'function') return api.behaviour(request, response, body, received.length);
    if (request.method === 'POST') return json(response, 201, JSON.parse(body));
    const symbol = new URL(request.url, 'http://api').searchParams.get('symbol');
    const quotes = api.behaviour.filter((quote) => !symbol || quote.symbol === symbol);
    return json(response, 200, { count: quotes.length, quotes });
  });
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
  api.stop = () => {
    server.closeAllConnections();
    return new Promise((resolve) => server.close(resolve));
  };
  t.after(api.stop);
  api.url = `http://127.0.0.1:${server.address().port}`;
  return api;
}
