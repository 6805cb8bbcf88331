import assert from 'node:assert/strict';
import test from 'node:test';
import { startFakeApi, quotesOf } from './support/fake-api.js';
import { ask, startSite, words } from './support/site.js';

const QUOTES = quotesOf('ACME', ['1.0000', '2.0000']);

async function visit(t, headers, env) {
  const api = await startFakeApi(t, QUOTES);
  const site = await startSite(t, api.url, env);
  const page = await ask(site.port, '/', { headers });
  const links = [...page.body.matchAll(/href="(https?:[^"]+)"/g)].map((match) => match[1]);
  return { ...page, text: words(page.body), links };
}

test('two doors: each page speaks of the port it was asked through, and its links stay there', async (t) => {
  const api = await startFakeApi(t, QUOTES);
  const site = await startSite(t, api.url, { SIBLINGS: 'sandbox,grafana' });
  for (const port of [8080, 18080]) {
    const { body } = await site.get('/', { headers: { Host: `website.localhost:${port}` } });
    assert.match(words(body), new RegExp(`You came in through port ${port} of website\\.localhost`));
    const links = [...body.matchAll(/href="(https?:[^"]+)"/g)].map((match) => match[1]);
    assert.deepEqual(links, [`http://sandbox.localhost:${port}/`, `http://grafana.localhost:${port}/`]);
  }
});

test('two ports of the program itself', async (t) => {
  const api = await startFakeApi(t, QUOTES);
  const sites = await Promise.all([startSite(t, api.url), startSite(t, api.url)]);
  assert.notEqual(sites[0].port, sites[1].port);
  for (const { port } of sites) {
    const { body } = await ask(port, '/');
    assert.match(words(body), new RegExp(`through port ${port} of 127\\.0\\.0\\.1`));
    assert(body.includes(`href="http://sandbox.localhost:${port}/"`));
  }
});

test('without a port in the address it is the one of the scheme, and links leave it out', async (t) => {
  const page = await visit(t, { Host: 'website.example.org' }, { SIBLING_DOMAIN: 'example.org' });
  assert.match(page.text, /through port 80 of website\.example\.org/);
  assert.deepEqual(page.links, ['http://sandbox.example.org/']);
});

test('an IPv6 address as host', async (t) => {
  const page = await visit(t, { Host: '[::1]:8080' });
  assert.match(page.text, /through port 8080 of \[::1\]/);
});

const FORWARDED = { Host: 'front-end:3000', 'X-Forwarded-Host': 'website.localhost:8443', 'X-Forwarded-Proto': 'https' };

test('X-Forwarded headers of a stranger are not believed', async (t) => {
  const page = await visit(t, FORWARDED);
  assert.match(page.text, /through port 3000 of front-end/);
  assert.deepEqual(page.links, ['http://sandbox.localhost:3000/']);
});

test('X-Forwarded headers of a trusted proxy are', async (t) => {
  const page = await visit(t, FORWARDED, { TRUSTED_PROXIES: 'loopback' });
  assert.match(page.text, /through port 8443 of website\.localhost/);
  assert.deepEqual(page.links, ['https://sandbox.localhost:8443/']);
});

test('a trusted proxy that tells the scheme only: 443', async (t) => {
  const headers = { Host: 'website.localhost', 'X-Forwarded-Proto': 'https' };
  const page = await visit(t, headers, { TRUSTED_PROXIES: '127.0.0.0/8, ::1' });
  assert.match(page.text, /through port 443/);
  assert.deepEqual(page.links, ['https://sandbox.localhost/']);
});

for (const host of ['website.localhost:0', 'website.localhost:99999', 'a b', '"><script>', 'user@host', 'host/path']) {
  test(`the Host header "${host}" gets a clear 400`, async (t) => {
    const page = await visit(t, { Host: host });
    assert.equal(page.status, 400);
    assert.match(page.text, /Host header/);
    assert.doesNotMatch(page.body, /<script/);
    assert.deepEqual(page.links, []);
  });
}
