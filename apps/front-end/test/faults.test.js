// The API away, slow or out of its mind: the page says so and the process lives on.
import assert from 'node:assert/strict';
import dns from 'node:dns';
import test from 'node:test';
import { json, quotesOf, startFakeApi } from './support/fake-api.js';
import { NOBODY, startSite, words } from './support/site.js';

const QUOTES = quotesOf('ACME', ['1.0000', '2.0000']);
const list = (response) => json(response, 200, { quotes: QUOTES });

/** An address where nothing listens, which fetch does not refuse by itself. */
async function abandonedUrl(t) {
  const api = await startFakeApi(t);
  await api.stop();
  return api.url;
}

test('nothing listens: 503 with the reason, and the forms', async (t) => {
  const site = await startSite(t, await abandonedUrl(t));
  const page = await site.get('/?symbol=ACME');
  assert.equal(page.status, 503);
  assert.equal(page.headers['retry-after'], '5');
  const text = words(page.body);
  assert.match(text, /The quotes can’t be shown just now/);
  assert.match(text, /can't be reached: nothing listens at its address \(ECONNREFUSED\)/);
  assert.match(page.body, /<a href="\/\?symbol=ACME">Try again<\/a>/);
  assert.match(page.body, /role="alert"/);
  assert.doesNotMatch(page.body, /127\.0\.0\.1:/, 'the address is in the log only');
  const line = site.lines.find(({ status }) => status === 503);
  assert.equal(line.level, 'error');
  assert.match(line.reason, /ECONNREFUSED/);
});

test('a name that nobody knows, and a name service that does not answer', async (t) => {
  for (const [code, said] of [
    ['ENOTFOUND', 'its name is not known here (ENOTFOUND)'],
    ['EAI_AGAIN', 'the name service does not answer (EAI_AGAIN)'],
  ]) {
    const lookup = t.mock.method(dns, 'lookup', (_name, _options, callback) =>
      callback(Object.assign(new Error(code), { code })),
    );
    const site = await startSite(t, 'http://business-logic.invalid:8000');
    const page = await site.get('/');
    assert.equal(page.status, 503);
    assert(words(page.body).includes(said), words(page.body));
    assert.equal(lookup.mock.callCount(), 2, 'asked, and asked again');
    lookup.mock.restore();
  }
});

test('a port that may not be called', async (t) => {
  const site = await startSite(t, NOBODY);
  assert.equal((await site.get('/')).status, 503);
});

test('slow: 503 after two times the limit, and not later', async (t) => {
  const api = await startFakeApi(t, () => {});
  const site = await startSite(t, api.url, { API_TIMEOUT: '1.5' });
  const begun = Date.now();
  const page = await site.get('/');
  const seconds = (Date.now() - begun) / 1000;
  assert.equal(page.status, 503);
  assert.match(words(page.body), /did not answer within 1\.5 s/);
  assert.equal(api.received.length, 2);
  assert(seconds >= 3 && seconds < 20, `${seconds} s`);
});

test('the limit covers the body too', async (t) => {
  const api = await startFakeApi(t, (_request, response) => {
    response.writeHead(200, { 'Content-Type': 'application/json' });
    response.write('{"quotes": [');
  });
  const site = await startSite(t, api.url, { API_TIMEOUT: '0.2' });
  assert.match(words((await site.get('/')).body), /did not answer within 0\.2 s/);
});

test('one failure is not seen: a GET is tried again', async (t) => {
  for (const fault of [
    (response) => json(response, 503, { title: 'The database is unavailable' }),
    (response) => response.socket.destroy(),
    () => {},
  ]) {
    const api = await startFakeApi(t, (_request, response, _body, count) =>
      count === 1 ? fault(response) : list(response),
    );
    const site = await startSite(t, api.url, { API_TIMEOUT: '1.5' });
    const page = await site.get('/');
    assert.equal(page.status, 200);
    assert.equal(api.received.length, 2);
    assert.equal(api.received[0].headers['x-request-id'], api.received[1].headers['x-request-id']);
  }
});

test('the API has trouble of its own: its words are shown', async (t) => {
  const api = await startFakeApi(t, (_request, response) =>
    json(response, 503, { title: 'Unavailable', detail: 'The database does not answer.' }, 'application/problem+json'),
  );
  const site = await startSite(t, api.url);
  const page = await site.get('/');
  assert.equal(page.status, 503);
  assert.match(words(page.body), /answered with status 503: The database does not answer\./);
});

const NONSENSE = {
  'an HTML page': (response) => response.end('<h1>It works!</h1>'),
  'no list': (response) => json(response, 200, { items: [] }),
  'a list': (response) => json(response, 200, []),
  'null': (response) => json(response, 200, null),
  'a quote without price': (response) => json(response, 200, { quotes: [{ ...QUOTES[0], price: undefined }] }),
  'a price that is none': (response) => json(response, 200, { quotes: [{ ...QUOTES[0], price: 'dear' }] }),
  'an empty price': (response) => json(response, 200, { quotes: [{ ...QUOTES[0], price: '' }] }),
  'a moment that is none': (response) => json(response, 200, { quotes: [{ ...QUOTES[0], quoted_at: 'noon' }] }),
  'a symbol that is none': (response) => json(response, 200, { quotes: [{ ...QUOTES[0], symbol: { a: 1 } }] }),
  'a redirect': (response) => response.writeHead(302, { Location: 'http://example.invalid/' }).end(),
  'not found': (response) => json(response, 404, { title: 'Not Found' }),
  'a refused Host': (response) => json(response, 400, { detail: 'The service does not go by the name.' }),
};
for (const [name, answer] of Object.entries(NONSENSE)) {
  test(`an answer that can't be right gets 502: ${name}`, async (t) => {
    const api = await startFakeApi(t, (_request, response) => answer(response));
    const site = await startSite(t, api.url);
    const page = await site.get('/');
    assert.equal(page.status, 502);
    assert.match(words(page.body), /The quotes API (gave an answer|answered with status)/);
    assert.equal(api.received.length, 1, 'asking again would not help');
  });
}

test('when the API comes back the page does', async (t) => {
  let away = true;
  const api = await startFakeApi(t, (_request, response) => (away ? response.socket.destroy() : list(response)));
  const site = await startSite(t, api.url);
  assert.equal((await site.get('/')).status, 503);
  away = false;
  assert.equal((await site.get('/')).status, 200);
});
