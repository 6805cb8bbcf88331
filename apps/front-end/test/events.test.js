// New quotes for many visitors: resumption, gaps, slow visitors, the API away, and the end.
import assert from 'node:assert/strict';
import { request as httpRequest } from 'node:http';
import { connect } from 'node:net';
import test from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { EventReader, compareIds } from '../src/events.js';
import { readQuote, withQuote, writeQuote } from '../src/quotes.js';
import { startFakeStream } from './support/fake-stream.js';
import { startSite } from './support/site.js';

const FAST = { EVENTS_HEARTBEAT: '0.1', EVENTS_SILENCE: '5', API_RETRY_DELAY: '0.02' };

/** A visitor: {prices, events, beats, retry, headers, status, ended, close}; `after` goes into the header. */
function watch(port, { after, query = '' } = {}) {
  const visitor = { prices: [], events: [], beats: 0, ended: false, last: after, ids: 0, retries: [] };
  const headers = { Host: 'website.localhost', ...(after && { 'Last-Event-ID': after }) };
  const request = httpRequest({ host: '127.0.0.1', port, path: `/events${query}`, headers, agent: false });
  const reader = new EventReader();
  visitor.opened = new Promise((resolve) => {
    request.on('response', (response) => {
      Object.assign(visitor, { status: response.statusCode, headers: response.headers });
      response.setEncoding('utf8');
      response.on('data', (text) => {
        visitor.beats += text.split(': heartbeat').length - 1;
        for (const event of reader.read(text)) {
          if (event.retry) visitor.retries.push(Number(event.retry));
          if (event.id) visitor.last = event.id;
          if (event.id) visitor.ids += 1;
          if (event.event) visitor.events.push(event);
          if (event.event === 'quote') visitor.prices.push(JSON.parse(event.data).price);
        }
        resolve();
      });
      response.on('end', () => (visitor.ended = true));
      response.on('error', () => (visitor.cut = true));
      response.on('close', resolve);
    });
  });
  request.on('error', () => (visitor.cut = true));
  request.end();
  visitor.close = () => request.destroy();
  return visitor;
}

async function until(condition, what) {
  const deadline = Date.now() + 20_000;
  while (!condition()) {
    assert(Date.now() < deadline, `in time: ${what}`);
    await sleep(10);
  }
}

async function start(t, env = {}, options = {}) {
  const stream = await startFakeStream(t, options);
  const site = await startSite(t, stream.url, { ...FAST, ...env });
  return { stream, site };
}

test('ids grow by both their numbers, whatever their length', () => {
  const ids = ['9-0', '9-10', '10-2', '1767646800000-0', '18446744073709551615-0'];
  for (const [index, id] of ids.entries()) {
    assert.equal(compareIds(id, id), 0);
    if (index > 0) assert.equal(compareIds(ids[index - 1], id), -1);
    if (index > 0) assert.equal(compareIds(id, ids[index - 1]), 1);
  }
});

test('events are read from pieces of any length', () => {
  const text = 'retry: 5\nid: 1-0\n\n: beat\n\nid: 2-0\nevent: quote\ndata: {"a": ": b"}\n\n';
  for (const size of [1, 7, text.length]) {
    const reader = new EventReader();
    const found = [];
    for (let at = 0; at < text.length; at += size) found.push(...reader.read(text.slice(at, at + size)));
    assert.deepEqual(found, [{ retry: '5', id: '1-0' }, {}, { id: '2-0', event: 'quote', data: '{"a": ": b"}' }]);
  }
});

test('a quote takes its place among the newest, once', () => {
  const at = (minute, symbol = 'A') => readQuote({ symbol, price: '1.00', quoted_at: `2026-01-05T21:${minute}:00.000001Z` });
  const quotes = [at('30'), at('20'), at('10')];
  const minutes = (list) => list.map(({ momentText }) => momentText.slice(14, 16)).join(' ');
  assert.equal(minutes(withQuote(quotes, at('25'), 5)), '30 25 20 10');
  assert.equal(minutes(withQuote(quotes, at('40'), 3)), '40 30 20');
  assert.equal(withQuote(quotes, at('05'), 3), quotes);
  assert.equal(withQuote(quotes, at('20'), 5), quotes);
  assert.equal(withQuote(quotes, at('20', 'B'), 5).length, 4);
  assert.deepEqual(readQuote(JSON.parse(writeQuote(quotes[0]))), quotes[0]);
});

test('the answer is a stream that nobody on the way keeps back', async (t) => {
  const { stream, site } = await start(t);
  const visitor = watch(site.port);
  await visitor.opened;
  assert.equal(visitor.status, 200);
  assert.match(visitor.headers['content-type'], /^text\/event-stream(;|$)/);
  assert.equal(visitor.headers['cache-control'], 'no-store, no-transform');
  assert.equal(visitor.headers['x-accel-buffering'], 'no');
  assert.equal(visitor.headers['content-length'], undefined);
  await until(() => visitor.last === stream.last(), 'the id is told before the first event');
  const begun = Date.now();
  stream.publish('1.50');
  await until(() => visitor.prices.length === 1, 'the event comes');
  assert(Date.now() - begun < 1000);
  await until(() => visitor.beats >= 3, 'signs of life');
  const head = await site.get('/events', { method: 'HEAD', headers: { Host: 'website.localhost' } });
  assert.equal(head.status, 200);
  assert.equal((await site.get('/events?after=x')).status, 400);
  assert.equal((await site.get('/events', { headers: { Host: 'a b' } })).status, 400);
});

test('many visitors, one stream from the API', async (t) => {
  const { stream, site } = await start(t);
  const visitors = Array.from({ length: 200 }, () => watch(site.port));
  await Promise.all(visitors.map(({ opened }) => opened));
  await until(() => visitors.every(({ last }) => last), 'all are live');
  for (let price = 1; price <= 20; price += 1) stream.publish(price);
  await until(() => visitors.every(({ prices }) => prices.length >= 20), 'all have all');
  for (const { prices } of visitors) assert.deepEqual(prices, Array.from({ length: 20 }, (_, index) => String(index + 1)));
  assert.equal(stream.asked.length, 1);
  assert.equal(stream.api.received.length, 1);
  assert.match((await site.get('/metrics')).body, /^event_streams 200$/m);
  assert.match((await site.get('/metrics')).body, /^events_sent_total 4000$/m);
  for (const visitor of visitors) visitor.close();
  const metrics = async () => (await site.get('/metrics')).body;
  for (let text = ''; !/^event_streams 0$/m.test(text); text = await metrics()) await sleep(20);
  assert.match(await metrics(), /^http_requests_total\{method="GET",route="\/events",status="200"\} 200$/m);
  assert.doesNotMatch(await metrics(), /duration_seconds_count\{method="GET",route="\/events"/);
});

test('who comes again gets what came meanwhile, from here or from the API', async (t) => {
  const { stream, site } = await start(t);
  for (let price = 1; price <= 1200; price += 1) stream.publish(price);
  // The first visitor of this process: it knows nothing yet.
  const first = watch(site.port, { after: '100-0' });
  await until(() => first.prices.length === 1100, 'more than the API gives at a time');
  assert.equal(first.prices[0], '101');
  for (let price = 1201; price <= 1205; price += 1) stream.publish(price);
  await until(() => first.prices.length === 1105, 'and what comes then');
  const before = stream.api.received.length;
  const second = watch(site.port, { after: '1202-0', query: '?after=1-0' });
  await until(() => second.prices.length === 3, 'what is kept here');
  assert.deepEqual(second.prices, ['1203', '1204', '1205']);
  assert.equal(stream.api.received.length, before);
  const current = watch(site.port, { after: '1205-0' });
  await current.opened;
  await until(() => current.ids > 0, 'that the stream stands is told without an event, too');
  assert.deepEqual([current.last, current.prices], ['1205-0', []]);
  const third = watch(site.port, { query: '?after=1190-0' });
  await until(() => third.prices.length === 15, 'what the API has');
  assert.deepEqual(new Set(third.prices).size, 15);
  stream.publish(1206);
  await until(() => [first, second, third].every(({ prices }) => prices.at(-1) === '1206'), 'all are live');
  for (const { events } of [first, second, third]) {
    const ids = events.map(({ id }) => id);
    assert.equal(new Set(ids).size, ids.length);
    assert.deepEqual(ids, [...ids].sort(compareIds));
  }
});

test('events that come while a visitor catches up are neither lost nor doubled', async (t) => {
  const { stream, site } = await start(t);
  const live = watch(site.port);
  await until(() => live.last, 'one is live');
  let price = 0;
  const publisher = setInterval(() => stream.publish((price += 1)), 2);
  t.after(() => clearInterval(publisher));
  await until(() => price > 50, 'some were published');
  const late = Array.from({ length: 30 }, () => watch(site.port, { after: '0-0' }));
  await until(() => price > 400, 'many were published');
  clearInterval(publisher);
  const expected = Array.from({ length: price }, (_, index) => String(index + 1));
  for (const visitor of late) {
    await until(() => visitor.prices.length >= price, 'all events');
    assert.deepEqual(visitor.prices, expected);
  }
});

test('the stream from the API breaks, ends or falls silent: visitors notice nothing', async (t) => {
  const { stream, site } = await start(t, { EVENTS_SILENCE: '0.5' });
  const visitor = watch(site.port);
  await until(() => visitor.last, 'the visitor is live');
  stream.publish(1);
  await until(() => visitor.prices.length === 1, 'the first');
  stream.cut();
  stream.publish(2);
  await until(() => visitor.prices.length === 2, 'the second, after a cut');
  for (const one of stream.streams) one.end();
  await until(() => stream.streams.size === 0, 'the stream ended');
  stream.publish(3);
  await until(() => visitor.prices.length === 3, 'the third, after the end');
  stream.silent = true;
  const before = stream.asked.length;
  await until(() => stream.asked.length > before, 'asked anew after silence');
  stream.silent = false;
  stream.publish(4);
  await until(() => visitor.prices.length === 4, 'the fourth, after silence');
  stream.away = true;
  stream.cut();
  stream.publish(5);
  await sleep(300);
  assert.match((await site.get('/metrics')).body, /^events_up 0$/m);
  stream.away = false;
  await until(() => visitor.prices.length === 5, 'the fifth, after an outage');
  assert.deepEqual(visitor.prices, ['1', '2', '3', '4', '5']);
  assert.equal(visitor.cut, undefined);
  assert.equal(visitor.ended, false);
});

test('events that are not to be had any more: visitors are told to read the quotes anew', async (t) => {
  const { stream, site } = await start(t);
  for (let price = 1; price <= 10; price += 1) stream.publish(price);
  stream.trim(5);
  const late = watch(site.port, { after: '2-0' });
  await until(() => late.events.length === 1, 'the gap is told');
  assert.deepEqual(late.events[0], { id: '10-0', event: 'reset', data: '{}' });
  const stranger = watch(site.port, { after: '999-0' });
  await until(() => stranger.events.length === 1, 'an id that never was');
  assert.equal(stranger.events[0].event, 'reset');
  // The API's stream itself has a gap.
  stream.away = true;
  stream.cut();
  for (let price = 11; price <= 20; price += 1) stream.publish(price);
  stream.trim(10);
  stream.away = false;
  await until(() => late.events.length === 2 && stranger.events.length === 2, 'all are told');
  stream.publish(21);
  await until(() => late.prices.length === 1 && stranger.prices.length === 1, 'and go on');
  assert.deepEqual([late.prices, stranger.prices], [['21'], ['21']]);
});

test('the API away when a visitor comes: the stream begins when it is back', async (t) => {
  const { stream, site } = await start(t);
  stream.publish(1);
  stream.away = true;
  const [now, since] = [watch(site.port), watch(site.port, { after: '0-0' })];
  await until(() => now.beats > 1 && since.beats > 1, 'both wait');
  stream.away = false;
  await until(() => since.prices.length === 1 && now.last, 'both are live');
  stream.publish(2);
  await until(() => now.prices.length === 1, 'what comes then');
  assert.deepEqual([now.prices, since.prices], [['2'], ['1', '2']]);
});

test('a visitor that takes nothing is cut, and costs the others nothing', async (t) => {
  const { stream, site } = await start(t);
  const healthy = watch(site.port);
  await until(() => healthy.last, 'one is live');
  const slow = connect(site.port, '127.0.0.1');
  slow.write('GET /events HTTP/1.1\r\nHost: website.localhost\r\n\r\n');
  slow.pause();
  t.after(() => slow.destroy());
  const metrics = async () => (await site.get('/metrics')).body;
  while (!/^event_streams 2$/m.test(await metrics())) await sleep(20);
  const symbol = 'X'.repeat(20_000);
  for (let price = 1; price <= 1000 && !/^event_streams_cut_total 1$/m.test(await metrics()); price += 1) {
    stream.publish(price, symbol);
    await sleep(1);
  }
  assert.match(await metrics(), /^event_streams_cut_total 1$/m);
  stream.publish('9999');
  await until(() => healthy.prices.at(-1) === '9999', 'the other one has all');
  assert.equal(healthy.prices.length, stream.events.length);
});

test('no more visitors than may be', async (t) => {
  const { site } = await start(t, { EVENTS_LIMIT: '2' });
  const visitors = [watch(site.port), watch(site.port)];
  await Promise.all(visitors.map(({ opened }) => opened));
  const refused = await site.get('/events');
  assert.equal(refused.status, 503);
  assert.equal(refused.headers['retry-after'], '5');
  visitors[0].close();
  await until(() => site.lines.some(({ path }) => path === '/events'), 'one has gone');
  const next = watch(site.port);
  await next.opened;
  assert.equal(next.status, 200);
});

test('when the process is to stop, streams end soon and spread, with the time to come again', async (t) => {
  const { stream, site } = await start(t);
  const visitors = Array.from({ length: 50 }, () => watch(site.port));
  await until(() => visitors.every(({ last }) => last), 'all are live');
  stream.publish(1);
  await until(() => visitors.every(({ prices }) => prices.length === 1), 'all have the first');
  const begun = Date.now();
  const stopped = site.lifecycle.stop({ drainMs: 1500, gracefulTimeoutMs: 10_000 });
  const late = watch(site.port, { after: '1-0' });
  await until(() => late.ended, 'who comes now is sent on, and it is no error');
  assert.equal(late.status, 200);
  await until(() => visitors.every(({ ended }) => ended), 'all have ended');
  assert(Date.now() - begun < 1500);
  for (const { retries, prices, cut } of [...visitors]) {
    assert.deepEqual(prices, ['1']);
    assert.equal(cut, undefined);
    assert(retries.at(-1) >= 100 && retries.at(-1) <= 700);
  }
  assert(new Set(visitors.map(({ retries }) => retries.at(-1))).size > 10, 'not all at the same time');
  assert.equal(await stopped, true);
  await until(() => stream.streams.size === 0, 'the API is left');
});
