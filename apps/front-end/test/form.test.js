import assert from 'node:assert/strict';
import test from 'node:test';
import { json, quotesOf, startFakeApi } from './support/fake-api.js';
import { ask, startSite, words } from './support/site.js';

const QUOTE = { symbol: 'ACME', price: '12.5', currency: 'USD' };
const QUOTES = quotesOf('ACME', ['1.0000', '2.0000']);

/** An API that answers POST with `answer` and lists quotes. */
const startApi = (t, answer) =>
  startFakeApi(t, (request, response, body) =>
    request.method === 'POST' ? answer(response, body) : json(response, 200, { quotes: QUOTES }),
  );
const created = (response, body) => {
  const quote = JSON.parse(body);
  json(response, 201, { ...quote, symbol: quote.symbol.toUpperCase() });
};

test('a good quote is passed on as JSON, and the answer is a redirect to it', async (t) => {
  const api = await startApi(t, created);
  const site = await startSite(t, api.url);
  const answer = await site.post({ symbol: ' acme ', price: '12.50', currency: 'eur', quoted_at: 'x' });
  assert.equal(answer.status, 303);
  assert.equal(answer.headers.location, '/?symbol=ACME&added=ACME');
  const [received] = api.received;
  assert.equal(received.method, 'POST');
  assert.equal(received.url, '/api/quotes/');
  assert.equal(received.headers['content-type'], 'application/json');
  assert.deepEqual(JSON.parse(received.body), { symbol: 'acme', price: '12.50', currency: 'EUR' });
  const page = await site.get(answer.headers.location);
  assert.match(words(page.body), /The quote of ACME was added\./);
  assert.match(page.body, /role="status"/);
});

test('errors stand beside their fields, and what was typed is kept', async (t) => {
  const api = await startApi(t, (response) =>
    json(
      response,
      422,
      {
        title: 'The quote is invalid',
        status: 422,
        errors: { price: ['must be greater than 0'], currency: ['must be three letters'], colour: ['is not a member'] },
      },
      'application/problem+json',
    ),
  );
  const site = await startSite(t, api.url);
  const page = await site.post({ ...QUOTE, price: '-1', currency: 'X' });
  assert.equal(page.status, 422);
  assert.match(page.body, /<title>Problem: Quotes<\/title>/);
  assert.match(page.body, /name="price" value="-1"[^>]* aria-invalid="true" aria-describedby="new-price-error">/);
  assert.match(page.body, /<p class="error" id="new-price-error">Price must be greater than 0\.<\/p>/);
  assert.match(page.body, /<p class="error" id="new-currency-error">Currency must be three letters\.<\/p>/);
  assert.match(page.body, /id="new-symbol" name="symbol" value="ACME"/);
  assert.doesNotMatch(page.body, /new-symbol-error/);
  assert.match(page.body, /<a href="#new-price">Price must be greater than 0\.<\/a>/);
  assert.match(page.body, /<li>Colour is not a member\.<\/li>/);
  assert.match(words(page.body), /The quote was not added/);
  assert.match(words(page.body), /2 quotes, newest first/, 'the quotes are still shown');
  assert.equal(api.received.filter(({ method }) => method === 'POST').length, 1);
});

test('a refusal as a whole is shown in its words', async (t) => {
  const detail = 'ACME has a quote at noon already.';
  const api = await startApi(t, (response) => json(response, 409, { title: 'Exists', detail }));
  const site = await startSite(t, api.url);
  const page = await site.post(QUOTE);
  assert.equal(page.status, 422);
  assert.match(words(page.body), /The quote was not added ACME has a quote at noon already\./);
});

test('a symbol that the API refuses to look for', async (t) => {
  const api = await startFakeApi(t, (_request, response) =>
    json(response, 400, { errors: { symbol: ['must be letters'] } }, 'application/problem+json'),
  );
  const site = await startSite(t, api.url);
  const page = await site.get('/?symbol=%C3%A4');
  assert.equal(page.status, 400);
  assert.match(page.body, /<input id="symbol"[^>]* aria-invalid="true" aria-describedby="symbol-error">/);
  assert.match(page.body, /<a href="#symbol">Symbol must be letters\.<\/a>/);
});

test('a quote is never sent twice: not after a time-out, a broken connection or a 503', async (t) => {
  for (const fault of [() => {}, (response) => response.socket.destroy(), (response) => json(response, 503, {})]) {
    const api = await startApi(t, fault);
    const site = await startSite(t, api.url, { API_TIMEOUT: '1.5' });
    const page = await site.post(QUOTE);
    assert.equal(page.status, 503);
    assert.match(words(page.body), /Whether the quote was added is not known/);
    assert.match(page.body, /name="price" value="12\.5"/);
    assert.equal(api.received.length, 1);
  }
});

test('where nothing listens the page knows that nothing was added', async (t) => {
  const api = await startFakeApi(t);
  await api.stop();
  const site = await startSite(t, api.url);
  const page = await site.post(QUOTE);
  assert.equal(page.status, 503);
  assert.match(words(page.body), /ECONNREFUSED.*The quote was not added\./);
  assert.match(page.body, /name="price" value="12\.5"/);
});

test('a form on another site adds nothing', async (t) => {
  const api = await startApi(t, created);
  const site = await startSite(t, api.url);
  const own = `http://website.localhost:${site.port}`;
  for (const headers of [
    { 'Sec-Fetch-Site': 'cross-site' },
    { 'Sec-Fetch-Site': 'same-site' },
    { Origin: 'http://evil.example' },
    { Origin: 'null' },
  ]) {
    const page = await site.post(QUOTE, headers);
    assert.equal(page.status, 403, JSON.stringify(headers));
    assert.match(words(page.body), /another site/);
  }
  assert.equal(api.received.length, 0);
  for (const headers of [{ 'Sec-Fetch-Site': 'same-origin', Origin: 'null' }, { Origin: own }, {}]) {
    assert.equal((await site.post(QUOTE, headers)).status, 303, JSON.stringify(headers));
  }
});

test('bodies that are no form are refused, and the process lives on', async (t) => {
  const errors = { symbol: ['is required'], price: ['is required'] };
  const api = await startApi(t, (response) => json(response, 422, { errors }));
  const site = await startSite(t, api.url);
  const send = (type, body) =>
    ask(site.port, '/', { method: 'POST', headers: { Host: 'website.localhost', 'Content-Type': type }, body });
  const form = 'application/x-www-form-urlencoded';
  assert.equal((await send(form, `symbol=${'x'.repeat(20_000)}`)).status, 413);
  assert.equal((await send(form, 'a=1&'.repeat(100))).status, 413);
  assert.equal((await send('application/json', '{}')).status, 422);
  assert.equal((await send(form, 'symbol=%E0%A4%A&price[]=1&price[]=2&__proto__=x')).status, 422);
  const page = await send(form, '');
  assert.match(words(page.body), /Symbol is required\. .*Price is required\./);
});
