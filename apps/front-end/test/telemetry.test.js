// Traces: spans of requests, of calls of the API and of events; ids in log lines and exemplars; a collector that is away.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createServer, request as httpRequest } from 'node:http';
import { createServer as createSocketServer } from 'node:net';
import { after, beforeEach, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { SpanKind, SpanStatusCode } from '@opentelemetry/api';
import { ExportResultCode } from '@opentelemetry/core';
import { InMemorySpanExporter, SimpleSpanProcessor } from '@opentelemetry/sdk-trace-base';
import { NodeTracerProvider } from '@opentelemetry/sdk-trace-node';
import { EventReader } from '../src/events.js';
import { createLogger } from '../src/log.js';
import { Exporter, instrument } from '../src/telemetry.js';
import { json, quotesOf, startFakeApi } from './support/fake-api.js';
import { startFakeStream } from './support/fake-stream.js';
import { ask, startSite } from './support/site.js';

const TRACE = '0af7651916cd43dd8448eb211c80319c';
const CALLER = 'b7ad6b7169203331';
const traceparent = `00-${TRACE}-${CALLER}-01`;
const QUOTES = quotesOf('ACME', ['1.0000', '2.0000']);
const SERVER = new URL('../src/main.js', import.meta.url).pathname;

const exporter = new InMemorySpanExporter();
const provider = new NodeTracerProvider({ spanProcessors: [new SimpleSpanProcessor(exporter)] });
after(instrument(provider));
beforeEach(() => exporter.reset());

// Those of the stand-in for the API, which is in this process, are not looked at.
const ofApi = ({ name, kind }) => kind === SpanKind.SERVER && ['GET', 'POST'].includes(name);
const spans = () => exporter.getFinishedSpans().filter((span) => !ofApi(span));
const named = (name) => spans().filter((span) => span.name === name);
function only(name) {
  const found = named(name);
  assert.equal(found.length, 1, `${name} among ${spans().map((span) => span.name)}`);
  return found[0];
}
const spanId = (span) => span.spanContext().spanId;
const traceId = (span) => span.spanContext().traceId;

async function until(condition, what) {
  const deadline = Date.now() + 20_000;
  while (!condition()) {
    assert(Date.now() < deadline, `in time: ${what}`);
    await sleep(10);
  }
}

const visit = (site, path, headers = {}) =>
  site.get(path, { headers: { Host: `website.localhost:${site.port}`, traceparent, ...headers } });

/** A visitor's stream: {events, last, close}. */
function watch(port, { headers = {}, query = '' } = {}) {
  const visitor = { events: [], last: undefined };
  const reader = new EventReader();
  const request = httpRequest({
    host: '127.0.0.1', port, path: `/events${query}`, headers: { Host: 'website.localhost', ...headers }, agent: false,
  });
  request.on('response', (response) => {
    response.setEncoding('utf8');
    response.on('data', (text) => {
      for (const event of reader.read(text)) {
        if (event.id) visitor.last = event.id;
        if (event.event) visitor.events.push(event);
      }
    });
    response.on('error', () => {});
  });
  request.on('error', () => {});
  request.end();
  visitor.close = () => request.destroy();
  return visitor;
}

test('a request, its handler and the call of the API are one trace, the caller’s', async (t) => {
  const api = await startFakeApi(t, QUOTES);
  const site = await startSite(t, api.url);
  await visit(site, '/?symbol=ACME');
  await until(() => named('GET /').length === 1, 'the span ends');
  const [served, handler, call] = [only('GET /'), only('request handler /'), only('GET')];
  assert.deepEqual([traceId(served), served.parentSpanContext.spanId], [TRACE, CALLER]);
  assert.equal(served.kind, SpanKind.SERVER);
  assert.equal(served.attributes['http.route'], '/');
  assert.equal(served.attributes['http.response.status_code'], 200);
  assert.equal(served.attributes['url.path'], '/');
  assert.equal(handler.parentSpanContext.spanId, spanId(served));
  assert.equal(call.kind, SpanKind.CLIENT);
  assert.deepEqual([traceId(call), call.parentSpanContext.spanId], [TRACE, spanId(handler)]);
  assert.match(call.attributes['url.full'], /\/api\/quotes\/\?limit=50&symbol=ACME$/);
  // Once: the API is told of the call, and not of what came from the visitor besides.
  assert.equal(api.received[0].headers.traceparent, `00-${TRACE}-${spanId(call)}-01`);
});

test('headers of other kinds of tracing are not passed on beside one’s own', async (t) => {
  const api = await startFakeApi(t, QUOTES);
  const site = await startSite(t, api.url);
  await visit(site, '/', { b3: '0', tracestate: 'a=1' });
  assert.equal(api.received[0].headers.b3, undefined);
  assert.equal(api.received[0].headers.tracestate, 'a=1');
});

test('what the caller does not sample is not, and the API is told so', async (t) => {
  const api = await startFakeApi(t, QUOTES);
  const site = await startSite(t, api.url);
  await visit(site, '/', { traceparent: `00-${TRACE}-${CALLER}-00` });
  assert.match(api.received[0].headers.traceparent, new RegExp(`^00-${TRACE}-[0-9a-f]{16}-00$`));
  assert.deepEqual(spans(), []);
  assert.doesNotMatch((await visit(site, '/metrics', { Accept: 'application/openmetrics-text' })).body, /trace_id/);
});

test('a caller whose context is none', async (t) => {
  const api = await startFakeApi(t, QUOTES);
  const site = await startSite(t, api.url);
  for (const wrong of ['', '00-1-2-01', `00-${'0'.repeat(32)}-${CALLER}-01`, 'x'.repeat(5000)]) {
    exporter.reset();
    assert.equal((await visit(site, '/', { traceparent: wrong })).status, 200);
    await until(() => named('GET /').length === 1, 'the span ends');
    assert.equal(only('GET /').parentSpanContext, undefined);
  }
});

test('each attempt to call the API has its span, and a failure is an error', async (t) => {
  const api = await startFakeApi(t, (_request, response) => json(response, 503, { title: 'away' }));
  const site = await startSite(t, api.url);
  assert.equal((await visit(site, '/')).status, 503);
  await until(() => named('GET /').length === 1, 'the span ends');
  const calls = named('GET');
  assert.equal(calls.length, 2);
  for (const span of [...calls, only('GET /')]) assert.equal(span.status.code, SpanStatusCode.ERROR);
});

test('probes and polls make no spans', async (t) => {
  const stream = await startFakeStream(t);
  const site = await startSite(t, stream.url);
  for (const path of ['/livez', '/readyz', '/metrics', '/metrics?x=1']) await visit(site, path);
  assert.deepEqual(spans(), []);
});

test('the form: route, status and the call that was refused', async (t) => {
  const refusal = { title: 'The quote is invalid', errors: { price: ['is required'] } };
  const api = await startFakeApi(t, (request, response) =>
    request.method === 'POST' ? json(response, 422, refusal, 'application/problem+json') : json(response, 200, { quotes: QUOTES }),
  );
  const site = await startSite(t, api.url);
  assert.equal((await site.post({ symbol: 'ACME' }, { traceparent })).status, 422);
  await until(() => named('POST /').length === 1, 'the span ends');
  assert.equal(only('POST /').attributes['http.response.status_code'], 422);
  assert.equal(only('POST').attributes['http.response.status_code'], 422);
});

test('log lines have the ids of their span', async (t) => {
  const api = await startFakeApi(t, QUOTES);
  const site = await startSite(t, api.url);
  await visit(site, '/');
  await until(() => named('GET /').length === 1 && site.lines.length === 1, 'the line is written');
  const [line] = site.lines;
  assert.deepEqual([line.trace_id, line.span_id], [TRACE, spanId(only('GET /'))]);
  await visit(site, '/livez');
  await until(() => site.lines.length === 2, 'the second');
  assert.equal(site.lines[1].trace_id, undefined);
});

test('exemplars, where a scraper understands them', async (t) => {
  const api = await startFakeApi(t, QUOTES);
  const site = await startSite(t, api.url);
  await visit(site, '/');
  await until(() => named('GET /').length === 1, 'the span ends');
  const accept = 'application/openmetrics-text;version=1.0.0;q=0.6,text/plain;version=0.0.4;q=0.5';
  const labels = `trace_id="${TRACE}",span_id="${spanId(only('GET /'))}"`;
  // Twice in turns: one format leaves no trace in the other.
  for (let round = 0; round < 2; round += 1) {
    const [open, plain] = [await visit(site, '/metrics', { Accept: accept }), await visit(site, '/metrics')];
    assert.match(open.headers['content-type'], /^application\/openmetrics-text; version=1\.0\.0/);
    assert.match(open.body, new RegExp(`^http_request_duration_seconds_bucket\\{.*route="/"\\} 1 # \\{${labels}\\} \\S+ \\S+$`, 'm'));
    assert.match(open.body, /^# TYPE http_requests counter$/m);
    assert.match(open.body, /^http_requests_total\{method="GET",route="\/",status="200"\} 1$/m);
    assert(open.body.endsWith('# EOF\n'));
    assert.match(plain.headers['content-type'], /^text\/plain; version=0\.0\.4/);
    assert.match(plain.body, /^# TYPE http_requests_total counter$/m);
    assert.match(plain.body, /^http_requests_total\{method="GET",route="\/",status="200"\} 1$/m);
    assert.doesNotMatch(plain.body, /trace_id|# EOF/);
  }
});

test('an event’s delivery belongs to whoever published it, and is linked to that and to the visitors’ streams', async (t) => {
  const stream = await startFakeStream(t);
  const site = await startSite(t, stream.url);
  const own = '11111111111111111111111111111111';
  const visitors = [
    watch(site.port, { headers: { traceparent: `00-${own}-2222222222222222-01` } }),
    watch(site.port),
  ];
  await until(() => visitors.every(({ last }) => last), 'both are live');
  const streams = named('GET /events');
  assert.equal(streams.length, 2, 'their spans ended when the streams began');
  const first = streams.find((span) => traceId(span) === own);
  assert.deepEqual([first.attributes['http.route'], first.attributes['http.response.status_code']], ['/events', 200]);
  const id = stream.publish('1.50', 'ACME', { traceparent, tracestate: 'a=1' });
  await until(() => named('deliver to visitors').length === 1, 'it is delivered');
  const deliver = only('deliver to visitors');
  assert.equal(deliver.kind, SpanKind.CONSUMER);
  assert.deepEqual([traceId(deliver), deliver.parentSpanContext.spanId], [TRACE, CALLER]);
  const linked = deliver.links.map(({ context }) => context.spanId);
  assert.deepEqual(new Set(linked), new Set([CALLER, ...streams.map(spanId)]));
  assert.equal(linked[0], CALLER);
  assert.equal(deliver.attributes['messaging.message.id'], id);
  assert.equal(deliver.attributes['visitors.count'], 2);
  // Who comes later gets it from what is kept, and that is a delivery, too.
  const late = watch(site.port, { query: '?after=0-0' });
  await until(() => late.events.length === 1, 'the third has it');
  await until(() => named('deliver to visitors').length === 2, 'and a span tells so');
  assert.equal(named('deliver to visitors')[1].parentSpanContext.spanId, CALLER);
  for (const visitor of [...visitors, late]) visitor.close();
});

test('an event that the API’s list has is delivered in the same way', async (t) => {
  const stream = await startFakeStream(t);
  const site = await startSite(t, stream.url);
  stream.publish('1.50', 'ACME', { traceparent });
  const visitor = watch(site.port, { query: '?after=0-0' });
  await until(() => visitor.events.length === 1, 'it has come');
  await until(() => named('deliver to visitors').length === 1, 'it is delivered');
  assert.equal(only('deliver to visitors').parentSpanContext.spanId, CALLER);
  visitor.close();
});

test('an event whose publisher is not known, and one whose context is none', async (t) => {
  const stream = await startFakeStream(t);
  const site = await startSite(t, stream.url);
  const visitor = watch(site.port);
  await until(() => visitor.last, 'it is live');
  stream.publish('1');
  stream.publish('2', 'ACME', { traceparent: 'nonsense' });
  await until(() => visitor.events.length === 2, 'both come');
  await until(() => named('deliver to visitors').length === 2, 'and have spans');
  for (const span of named('deliver to visitors')) {
    assert.equal(span.parentSpanContext, undefined);
    assert.equal(span.links.length, 1);
  }
  visitor.close();
});

test('the API’s stream is opened in a trace of its own, which does not last as long as it does', async (t) => {
  const stream = await startFakeStream(t);
  const site = await startSite(t, stream.url);
  const visitor = watch(site.port, { headers: { traceparent } });
  await until(() => visitor.last, 'it is live');
  const opened = named('GET').find((span) => span.attributes['url.full'].endsWith('/events/stream/'));
  assert(opened, 'it has ended');
  assert.notEqual(traceId(opened), TRACE);
  const { headers } = stream.api.received.find(({ url }) => url.endsWith('/events/stream/'));
  assert.equal(headers.traceparent, `00-${traceId(opened)}-${spanId(opened)}-01`);
  visitor.close();
});

test('many visitors, one span with no more links than a span may have', async (t) => {
  const stream = await startFakeStream(t);
  const site = await startSite(t, stream.url);
  const visitors = Array.from({ length: 150 }, () => watch(site.port));
  await until(() => visitors.every(({ last }) => last), 'all are live');
  stream.publish('1', 'ACME', { traceparent });
  await until(() => visitors.every(({ events }) => events.length === 1), 'all have it');
  const deliver = only('deliver to visitors');
  assert.deepEqual([deliver.attributes['visitors.count'], deliver.links.length], [150, 100]);
  for (const visitor of visitors) visitor.close();
});

test('the exporter says once that spans are lost, and once that they are sent again', () => {
  const lines = [];
  const logger = createLogger({ stream: { write: (line) => lines.push(JSON.parse(line)) } });
  let result = { code: ExportResultCode.FAILED, error: new Error('refused') };
  const wrapped = new Exporter({ export: (_spans, done) => done(result) }, { where: 'http://collector.test', logger });
  const results = [];
  for (let round = 0; round < 3; round += 1) wrapped.export([], ({ code }) => results.push(code));
  result = { code: ExportResultCode.SUCCESS };
  for (let round = 0; round < 3; round += 1) wrapped.export([], ({ code }) => results.push(code));
  assert.deepEqual(results, [1, 1, 1, 0, 0, 0]);
  assert.deepEqual(lines.map(({ level, message }) => `${level}: ${message}`), [
    'warning: spans are lost: the collector does not take them',
    'info: spans are sent again',
  ]);
  assert.deepEqual([lines[0].reason, lines[0].endpoint], ['refused', 'http://collector.test']);
});

/** The program as a process, in front of an API: {port, lines, stop, get}. */
async function startProcess(t, apiUrl, env) {
  const child = spawn(process.execPath, [SERVER], {
    env: { PATH: process.env.PATH, PORT: '0', DRAIN_SECONDS: '0', API_URL: apiUrl, OTEL_BSP_SCHEDULE_DELAY: '50', ...env },
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  t.after(() => child.kill('SIGKILL'));
  const lines = [];
  let rest = '';
  child.stdout.setEncoding('utf8').on('data', (text) => {
    const parts = (rest + text).split('\n');
    rest = parts.pop();
    lines.push(...parts.map((line) => JSON.parse(line)));
  });
  const listening = () => lines.find(({ message }) => message === 'listening');
  await until(listening, 'it listens');
  const { port } = listening();
  const get = (path, headers = {}) => ask(port, path, { headers: { Host: 'website.localhost', ...headers } });
  const stop = async () => {
    const begun = Date.now();
    child.kill('SIGTERM');
    const [code] = await once(child, 'exit');
    return { code, ms: Date.now() - begun };
  };
  return { get, lines, stop };
}

/** A collector of OTLP over HTTP: {url, bodies, status}. */
async function startCollector(t, status = 200) {
  const state = { bodies: [], status };
  const server = createServer(async (request, response) => {
    const parts = [];
    for await (const part of request) parts.push(part);
    if (request.url === '/v1/traces') state.bodies.push(Buffer.concat(parts).toString('latin1'));
    response.writeHead(state.status).end();
  });
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
  t.after(() => {
    server.closeAllConnections();
    server.close();
  });
  return Object.assign(state, { url: `http://127.0.0.1:${server.address().port}` });
}

const complaints = ({ lines }) => lines.filter(({ message }) => /spans are|OpenTelemetry/.test(message));

test('the program sends its spans, the last ones at its end, with what they are spans of', async (t) => {
  const api = await startFakeApi(t, QUOTES);
  const collector = await startCollector(t);
  const site = await startProcess(t, api.url, {
    OTEL_EXPORTER_OTLP_ENDPOINT: collector.url,
    OTEL_BSP_SCHEDULE_DELAY: '60000',
    OTEL_RESOURCE_ATTRIBUTES: 'k8s.pod.name=front-end-1',
  });
  assert.equal((await site.get('/', { traceparent })).status, 200);
  await until(() => site.lines.some(({ trace_id: id }) => id === TRACE), 'the line has the trace’s id');
  assert.equal((await site.stop()).code, 0);
  const sent = collector.bodies.join('');
  for (const text of ['front-end', 'service.version', 'front-end-1', 'GET /', 'request handler /', 'url.full']) {
    assert(sent.includes(text), text);
  }
  assert(sent.includes(Buffer.from(TRACE, 'hex').toString('latin1')), 'the trace’s id');
  assert.deepEqual(complaints(site), []);
});

for (const kind of ['refuses', 'is silent', 'answers 503', 'has no name']) {
  test(`a collector that ${kind} costs nothing, and is told of once`, async (t) => {
    const api = await startFakeApi(t, QUOTES);
    const failing = await startCollector(t, 503);
    const silent = createSocketServer(() => {});
    await new Promise((resolve) => silent.listen(0, '127.0.0.1', resolve));
    t.after(() => silent.close());
    const endpoint = {
      refuses: 'http://127.0.0.1:1',
      'is silent': `http://127.0.0.1:${silent.address().port}`,
      'answers 503': failing.url,
      'has no name': 'http://collector.observability.invalid:4318',
    }[kind];
    const site = await startProcess(t, api.url, {
      OTEL_EXPORTER_OTLP_ENDPOINT: endpoint,
      OTEL_EXPORTER_OTLP_TIMEOUT: '5000',
      OTEL_BSP_MAX_QUEUE_SIZE: '16',
      OTEL_BSP_MAX_EXPORT_BATCH_SIZE: '8',
    });
    let slowest = 0;
    for (let number = 0; number < 60; number += 1) {
      const begun = Date.now();
      assert.equal((await site.get('/')).status, 200);
      slowest = Math.max(slowest, Date.now() - begun);
    }
    // Who waited for the collector would wait for as long as an attempt may take.
    assert(slowest < 4000, `${slowest} ms`);
    await until(() => complaints(site).length > 0, 'the log says so');
    const { code, ms } = await site.stop();
    assert.equal(code, 0);
    assert(ms < 15_000, `${ms} ms to the end`);
    assert.deepEqual(complaints(site).map(({ message }) => message), ['spans are lost: the collector does not take them']);
    assert.equal(complaints(site)[0].endpoint, endpoint);
    assert(complaints(site)[0].reason);
  });
}

test('off where nobody wants spans', async (t) => {
  const api = await startFakeApi(t, QUOTES);
  const collector = await startCollector(t);
  for (const env of [
    {},
    { OTEL_EXPORTER_OTLP_ENDPOINT: collector.url, OTEL_SDK_DISABLED: 'true' },
    { OTEL_EXPORTER_OTLP_ENDPOINT: collector.url, OTEL_TRACES_EXPORTER: 'none' },
    { OTEL_EXPORTER_OTLP_ENDPOINT: collector.url, OTEL_TRACES_SAMPLER: 'always_off' },
    {
      OTEL_EXPORTER_OTLP_ENDPOINT: collector.url,
      OTEL_TRACES_SAMPLER: 'parentbased_traceidratio',
      OTEL_TRACES_SAMPLER_ARG: '0',
    },
  ]) {
    const site = await startProcess(t, api.url, env);
    assert.equal((await site.get('/')).status, 200);
    await site.stop();
    assert.deepEqual(collector.bodies, []);
    assert.deepEqual(complaints(site), []);
  }
});

test('without an SDK of its own the visitor’s context is passed on as it is', async (t) => {
  const api = await startFakeApi(t, QUOTES);
  const site = await startProcess(t, api.url, {});
  await site.get('/', { traceparent, b3: '0' });
  assert.equal(api.received[0].headers.traceparent, traceparent);
  assert.equal(api.received[0].headers.b3, '0');
  await site.stop();
});

test('wrong settings stop nobody, and are told of', async (t) => {
  const api = await startFakeApi(t, QUOTES);
  for (const env of [
    { OTEL_EXPORTER_OTLP_ENDPOINT: 'nonsense' },
    { OTEL_TRACES_SAMPLER: 'some', OTEL_EXPORTER_OTLP_ENDPOINT: 'http://127.0.0.1:1' },
    { OTEL_BSP_MAX_QUEUE_SIZE: 'many', OTEL_EXPORTER_OTLP_ENDPOINT: 'http://127.0.0.1:1' },
  ]) {
    const site = await startProcess(t, api.url, env);
    assert.equal((await site.get('/')).status, 200);
    await until(() => complaints(site).length > 0, 'the log says so');
    await site.stop();
  }
});
