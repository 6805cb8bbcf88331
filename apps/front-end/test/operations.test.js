// What an operator relies on: health, metrics, log lines, request ids.
import assert from 'node:assert/strict';
import test from 'node:test';
import { quotesOf, startFakeApi } from './support/fake-api.js';
import { startSite } from './support/site.js';

const QUOTES = quotesOf('ACME', ['1.0000', '2.0000']);

async function abandonedUrl(t) {
  const api = await startFakeApi(t);
  await api.stop();
  return api.url;
}

test('alive and ready, and what is known of the API', async (t) => {
  const api = await startFakeApi(t, QUOTES);
  const site = await startSite(t, api.url);
  const live = await site.get('/livez', { headers: { Host: '10.244.1.7:3000' } });
  assert.equal(live.status, 200);
  assert.deepEqual(JSON.parse(live.body), { status: 'alive' });
  assert.deepEqual(JSON.parse((await site.get('/readyz')).body), { status: 'ready', api: { status: 'unknown' } });
  assert.equal(api.received.length, 0, 'probes do not call the API');
  await site.get('/');
  assert.equal(JSON.parse((await site.get('/readyz')).body).api.status, 'reachable');
});

test('without the API the process stays ready, and says what is missing', async (t) => {
  const site = await startSite(t, await abandonedUrl(t));
  await site.get('/');
  const ready = await site.get('/readyz');
  assert.equal(ready.status, 200);
  const { api } = JSON.parse(ready.body);
  assert.equal(api.status, 'failing');
  assert.match(api.reason, /ECONNREFUSED/);
});

test('while draining the process is alive, not ready, and ends connections', async (t) => {
  const api = await startFakeApi(t, QUOTES);
  const site = await startSite(t, api.url);
  site.lifecycle.draining = true;
  const ready = await site.get('/readyz');
  assert.equal(ready.status, 503);
  assert.equal(JSON.parse(ready.body).status, 'draining');
  assert.equal((await site.get('/livez')).status, 200);
  const page = await site.get('/');
  assert.equal(page.status, 200);
  assert.equal(page.headers.connection, 'close');
});

test('metrics count requests by route and calls by outcome', async (t) => {
  const api = await startFakeApi(t, QUOTES);
  const site = await startSite(t, api.url);
  await site.get('/?symbol=ACME');
  await site.get('/nowhere-1');
  await site.get('/nowhere-2');
  await site.get('/assets/style.css');
  const { headers, body } = await site.get('/metrics');
  assert.match(headers['content-type'], /^text\/plain; version=0\.0\.4/);
  assert.match(body, /^http_requests_total\{method="GET",route="\/",status="200"\} 1$/m);
  assert.match(body, /^http_requests_total\{method="GET",route="unmatched",status="404"\} 2$/m);
  assert.match(body, /^http_requests_total\{method="GET",route="\/assets\/",status="200"\} 1$/m);
  assert.match(body, /^http_request_duration_seconds_count\{method="GET",route="\/"\} 1$/m);
  assert.match(body, /^http_requests_in_progress 1$/m);
  assert.match(body, /^api_requests_total\{method="GET",outcome="ok"\} 1$/m);
  assert.match(body, /^api_up 1$/m);
  assert.match(body, /^front_end_build_info\{version="\d+\.\d+\.\d+"\} 1$/m);
  assert.doesNotMatch(body, /nowhere/);
});

test('metrics tell of a failing API', async (t) => {
  const site = await startSite(t, await abandonedUrl(t));
  await site.get('/');
  const { body } = await site.get('/metrics');
  assert.match(body, /^api_up 0$/m);
  assert.match(body, /^api_requests_total\{method="GET",outcome="unreachable"\} 2$/m);
});

test('a request id is passed on, returned, shown and logged', async (t) => {
  const api = await startFakeApi(t, QUOTES);
  const site = await startSite(t, api.url);
  const headers = { Host: 'website.localhost', 'X-Request-Id': 'abc-123', traceparent: '00-1-2-01', b3: '0' };
  const page = await site.get('/', { headers });
  assert.equal(page.headers['x-request-id'], 'abc-123');
  assert.match(page.body, /<code>abc-123<\/code>/);
  assert.equal(api.received[0].headers['x-request-id'], 'abc-123');
  assert.equal(api.received[0].headers.traceparent, '00-1-2-01');
  assert.equal(api.received[0].headers.b3, '0');
  assert.equal(site.lines.at(-1).request_id, 'abc-123');
});

test('a request id that would do harm in a log or a header is replaced', async (t) => {
  const api = await startFakeApi(t, QUOTES);
  const site = await startSite(t, api.url);
  for (const given of ['', 'a b', '<script>', 'x'.repeat(129)]) {
    const page = await site.get('/', { headers: { Host: 'website.localhost', 'X-Request-Id': given } });
    assert.match(page.headers['x-request-id'], /^[0-9a-f-]{36}$/);
    assert.equal(api.received.at(-1).headers['x-request-id'], page.headers['x-request-id']);
  }
});

test('one line per request', async (t) => {
  const api = await startFakeApi(t, QUOTES);
  const site = await startSite(t, api.url);
  const headers = { Host: 'website.localhost', 'User-Agent': 'x'.repeat(2000), 'X-Forwarded-For': '192.0.2.7' };
  const page = await site.get('/?symbol=ACME', { headers });
  await site.get('/livez');
  assert.deepEqual(site.lines.map(({ message }) => message), ['GET / 200', 'GET /livez 200']);
  const [line] = site.lines;
  assert.equal(line.level, 'info');
  assert.equal(line.logger, 'front_end');
  assert.equal(line.path, '/');
  assert.equal(line.query, 'symbol=ACME');
  assert.equal(line.route, '/');
  assert.equal(line.status, 200);
  assert.equal(line.bytes, Buffer.byteLength(page.body));
  assert.equal(line.forwarded_for, '192.0.2.7');
  assert.equal(line.user_agent.length, 512);
  assert.equal(typeof line.duration_ms, 'number');
  assert(!Number.isNaN(Date.parse(line.time)));
});

test('successful probes need not be logged', async (t) => {
  const api = await startFakeApi(t, QUOTES);
  const site = await startSite(t, api.url, { LOG_PROBES: 'false' });
  for (const path of ['/livez', '/readyz', '/metrics']) await site.get(path);
  site.lifecycle.draining = true;
  await site.get('/readyz');
  assert.deepEqual(site.lines.map(({ message }) => message), ['GET /readyz 503']);
});
