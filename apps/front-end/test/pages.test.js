import assert from 'node:assert/strict';
import test from 'node:test';
import { json, quotesOf, startFakeApi } from './support/fake-api.js';
import { readQuote } from '../src/quotes.js';
import { listing } from '../src/views/listing.js';
import { startSite, words } from './support/site.js';

const SCRIPT = '<script type="module" src="/assets/live.js"></script>';
const QUOTES = [
  ...quotesOf('ACME', ['118.4000', '119.2500', '120.1234']),
  ...quotesOf('GLOBEX', ['43.0000', '42.7500'], 'USD'),
];

test('all symbols: a card each, and a table with the newest first', async (t) => {
  const api = await startFakeApi(t, QUOTES);
  const site = await startSite(t, api.url);
  const page = await site.get('/');
  assert.equal(page.status, 200);
  assert.match(page.headers['content-type'], /^text\/html; charset=utf-8/);
  assert.equal(page.body.match(/<a class="card"/g).length, 2);
  assert.equal(page.body.match(/<th scope="row">/g).length, 5);
  const text = words(page.body);
  assert.match(text, /ACME ▲ up \+1\.46% 120\.1234 EUR/);
  assert.match(text, /GLOBEX ▼ down −0\.58% 42\.75 USD/);
  assert.match(text, /5 quotes, newest first/);
  const moments = [...page.body.matchAll(/<time datetime="([^"]+)"/g)].map((match) => match[1]);
  assert.deepEqual(moments, [...moments].sort().reverse());
  assert.equal(api.received[0].url, '/api/quotes/?limit=50');
});

test('one symbol: the filter reaches the API, the page has a chart with axes', async (t) => {
  const api = await startFakeApi(t, QUOTES);
  const site = await startSite(t, api.url);
  const page = await site.get('/?symbol=+acme&limit=20');
  assert.equal(api.received[0].url, '/api/quotes/?limit=20&symbol=ACME');
  assert.match(page.body, /<title>Quotes of ACME<\/title>/);
  assert.match(page.body, /<input id="symbol" name="symbol" value="ACME"/);
  assert.match(page.body, /<option selected>20<\/option>/);
  // Highest at the top (y 0), first at the left, equal steps.
  assert.match(page.body, /<path class="line" d="M0 100L50 50.68L100 0"\/>/);
  const [, description] = /<svg [^>]*role="img" aria-label="([^"]+)"/.exec(page.body);
  assert.equal(
    description,
    'ACME: 3 quotes, the latest 120.1234 EUR at 2026-11-23 09:20 UTC, lowest 118.40, highest 120.1234',
  );
  assert.equal(page.body.match(/class="mark"/g).length, 3);
});

test('a limit that is not offered is not passed on', async (t) => {
  const api = await startFakeApi(t, QUOTES);
  const site = await startSite(t, api.url);
  for (const query of ['limit=1000000', 'limit=x', 'limit=20&limit=50', 'symbol=A&symbol=B']) {
    await site.get(`/?${query}`);
  }
  assert.deepEqual(new Set(api.received.map(({ url }) => url)), new Set(['/api/quotes/?limit=50']));
});

test('one quote, equal prices and no quotes make sound drawings', async (t) => {
  const api = await startFakeApi(t);
  const site = await startSite(t, api.url);
  const same = quotesOf('ACME', ['5.0000', '5.0000']);
  for (const quotes of [[same[0]], same]) {
    api.behaviour = quotes;
    const { body } = await site.get('/?symbol=ACME');
    assert.match(body, /<path class="line" d="M(0|50) 50/);
    assert.doesNotMatch(body, /NaN|Infinity|undefined|null/);
  }
  api.behaviour = [];
  assert.match(words((await site.get('/?symbol=ACME')).body), /There are no quotes for ACME yet/);
  assert.match(words((await site.get('/')).body), /There are no quotes yet/);
});

test('a price keeps all its digits, and those of a table are alike', async (t) => {
  const api = await startFakeApi(t);
  const site = await startSite(t, api.url);
  for (const [given, shown] of [
    [['9999999999.1234', '0.0001', '5.0000'], ['5.0000', '0.0001', '9,999,999,999.1234']],
    [['1200.0000', '7.5000', '10'], ['10.00', '7.50', '1,200.00']],
    [['0.123456789012'], ['0.123456789012']],
  ]) {
    api.behaviour = quotesOf('ACME', given);
    const { body } = await site.get('/');
    assert.deepEqual([...body.matchAll(/<td class="number">([\d.,]+) /g)].map((match) => match[1]), shown);
  }
});

test('what stands in data, query, header or error is shown as text', async (t) => {
  const evil = '"><script>alert(1)</script>';
  const api = await startFakeApi(t, quotesOf(evil, ['1.0000', '2.0000'], evil));
  const site = await startSite(t, api.url, { HOSTNAME: evil });
  const query = new URLSearchParams({ symbol: evil.toUpperCase(), added: evil });
  const typed = { symbol: evil, price: evil, currency: evil };
  const pages = [await site.get('/'), await site.get(`/?${query}`), await site.post(typed)];
  api.behaviour = (request, response) => {
    if (request.method === 'GET' && !request.url.includes('symbol=')) return json(response, 200, { quotes: [] });
    return json(response, 422, { title: evil, detail: evil, errors: { price: [evil], [evil]: [evil] } });
  };
  pages.push(await site.post(typed), await site.get('/?symbol=x'));
  api.behaviour = (_request, response) => json(response, 503, { detail: evil });
  pages.push(await site.get('/'), await site.get(`/${encodeURI(evil)}`));
  for (const page of pages) {
    assert.doesNotMatch(page.body.replace(SCRIPT, ''), /<script/i);
    if (page.status !== 303) assert.match(page.body, /&quot;&gt;&lt;script&gt;/i);
  }
  assert.deepEqual(pages.map(({ status }) => status), [200, 200, 303, 422, 400, 503, 404]);
});

test('the browser is told to run no script but the own one and to load nothing from elsewhere', async (t) => {
  const api = await startFakeApi(t, QUOTES);
  const site = await startSite(t, api.url);
  for (const path of ['/', '/nowhere', '/assets/style.css']) {
    const { headers } = await site.get(path);
    const policy = headers['content-security-policy'];
    assert.match(policy, /default-src 'none'/);
    assert.match(policy, /style-src 'self';/);
    assert.match(policy, /script-src 'self';/);
    assert.match(policy, /connect-src 'self';/);
    assert.match(policy, /frame-ancestors 'none'/);
    assert.doesNotMatch(policy, /unsafe|https?:|data:|\*/);
    assert.equal(headers['x-content-type-options'], 'nosniff');
    assert.equal(headers['x-powered-by'], undefined);
  }
  const body = (await site.get('/')).body.replace(SCRIPT, '');
  assert.doesNotMatch(body, /<script|<style|style="|onclick=|\/\/(?!sandbox\.localhost)/);
});

test('each field has a label, each id is there once', async (t) => {
  const api = await startFakeApi(t, QUOTES);
  const site = await startSite(t, api.url);
  const { body } = await site.get('/');
  const ids = [...body.matchAll(/ id="([^"]+)"/g)].map((match) => match[1]);
  assert.equal(new Set(ids).size, ids.length);
  const fields = [...body.matchAll(/<(?:input|select) id="([^"]+)"/g)].map((match) => match[1]);
  assert.deepEqual(fields, ['symbol', 'limit', 'new-symbol', 'new-price', 'new-currency']);
  for (const field of fields) assert(body.includes(`<label for="${field}">`), field);
});

test('style and icon come with the page; unchanged ones are not sent again', async (t) => {
  const api = await startFakeApi(t, QUOTES);
  const site = await startSite(t, api.url);
  const { body } = await site.get('/');
  for (const [, path] of body.matchAll(/<link [^>]*href="([^"]+)"/g)) {
    const asset = await site.get(path);
    assert.equal(asset.status, 200);
    assert.equal(asset.headers['cache-control'], 'no-cache');
    const again = await site.get(path, { headers: { Host: 'website.localhost', 'If-None-Match': asset.headers.etag } });
    assert.equal(again.status, 304);
  }
  for (const path of ['/assets/', '/assets/../app.js', '/assets/%2e%2e/app.js', '/assets/nothing.css', '/assets/app.js']) {
    assert.notEqual((await site.get(path)).status, 200, path);
  }
});

test('the script and all it imports come with the page', async (t) => {
  const api = await startFakeApi(t, QUOTES);
  const site = await startSite(t, api.url);
  assert((await site.get('/')).body.includes(SCRIPT));
  const found = new Set();
  const visit = async (path) => {
    if (found.has(path)) return;
    found.add(path);
    const module = await site.get(path);
    assert.equal(module.status, 200, path);
    assert.match(module.headers['content-type'], /javascript/);
    for (const [, imported] of module.body.matchAll(/ from '([^']+)';/g)) {
      await visit(new URL(imported, `http://site${path}`).pathname);
    }
  };
  await visit('/assets/live.js');
  assert.equal(found.size, 6);
});

test('what a page shows its script can draw again', async (t) => {
  const api = await startFakeApi(t, (_request, response) =>
    json(response, 200, { quotes: QUOTES, last_event_id: '1767646800000-0' }),
  );
  const site = await startSite(t, api.url);
  for (const [path, symbol] of [['/', ''], ['/?symbol=ACME&limit=20', 'ACME']]) {
    const { body } = await site.get(path);
    const [, drawn] = /data-after="1767646800000-0">(.*?)<\/div>\s*<\/div>\s*<section class="panel"/s.exec(body);
    const unescaped = (text) => text.replaceAll('&quot;', '"').replaceAll('&amp;', '&');
    const rows = [...drawn.matchAll(/<tr data-quote="([^"]+)">/g)].map((match) => JSON.parse(unescaped(match[1])));
    assert.equal(rows.length, QUOTES.length);
    const filter = { symbol, limit: symbol ? 20 : 50 };
    assert.equal(listing({ quotes: rows.map(readQuote), filter }).toString(), drawn);
  }
});

test('unknown paths and methods get a page that says so', async (t) => {
  const api = await startFakeApi(t, QUOTES);
  const site = await startSite(t, api.url);
  const missing = await site.get('/nowhere');
  assert.equal(missing.status, 404);
  assert.match(words(missing.body), /Page not found/);
  const wrong = await site.get('/', { method: 'DELETE', headers: { Host: 'website.localhost' } });
  assert.equal(wrong.status, 405);
  assert.equal(wrong.headers.allow, 'GET, HEAD, POST');
  const head = await site.get('/', { method: 'HEAD', headers: { Host: 'website.localhost' } });
  assert.equal(head.status, 200);
  assert.equal(head.body, '');
  assert.equal((await site.get('/%zz')).status, 404);
});
