// SPDX-License-Identifier: Apache-2.0
import { describe, expect, it } from 'vitest';
import { JaegerServicesVariable, JaegerTraceQuery, OtlpTraces, searchParams, toSearchResults, toTrace, TraceQuerySpec } from '../src/jaeger';
import { datasource, parsed, RANGE } from './datasource';

const TRACE = '0af7651916cd43dd8448eb211c80319c';
const FAILED = '4bf92f3577b34da6a3ce929d0e0e4736';

const traces = (spec: TraceQuerySpec, store: unknown, variableState: object = {}): ReturnType<typeof JaegerTraceQuery.getTraceData> =>
  JaegerTraceQuery.getTraceData(spec, { absoluteTimeRange: RANGE, variableState, datasourceStore: store } as never);

describe('a trace', () => {
  const { result } = parsed<{ result: OtlpTraces }>('jaeger-trace.json');

  it('has its enumerations by name and its id on each span', () => {
    const spans = toTrace(result).resourceSpans.flatMap(({ scopeSpans }) => scopeSpans.flatMap(({ spans }) => spans));
    expect(spans.map(({ kind }) => kind)).toEqual(['SPAN_KIND_SERVER', 'SPAN_KIND_CLIENT', 'SPAN_KIND_SERVER']);
    expect(spans[0]!.parentSpanId).toBeUndefined();
    for (const { attributes } of spans) {
      expect(attributes).toContainEqual({ key: 'trace.id', value: { stringValue: TRACE } });
    }
  });

  it('is one line of a list, from its first span to its last', () => {
    expect(toSearchResults(result)).toEqual([
      {
        traceId: TRACE,
        rootServiceName: 'front-end',
        rootTraceName: 'GET /',
        startTimeUnixMs: 1796032595000,
        durationMs: expect.closeTo(412.5, 2) as number,
        serviceStats: { 'front-end': { spanCount: 2 }, 'business-logic': { spanCount: 1 } },
      },
    ]);
  });

  it('whose caller is unknown begins with the first span that has no parent here', () => {
    const otlp = structuredClone(result);
    otlp.resourceSpans![0]!.scopeSpans![0]!.spans![0]!.parentSpanId = '00000000000000aa';
    expect(toSearchResults(otlp)[0]!.rootTraceName).toBe('GET /');
  });

  it('is found by its id', async () => {
    const { store, asked } = datasource({ [`/api/v3/traces/${TRACE}`]: 'jaeger-trace.json' });
    const { trace } = await traces({ query: '$trace' }, store, { trace: { loading: false, value: TRACE.toUpperCase() } });
    expect(trace!.resourceSpans).toHaveLength(2);
    expect(asked).toHaveLength(1);
  });

  it('that is not there is an error that says so', async () => {
    const none = 'f'.repeat(32);
    const { store } = datasource({ [`/api/v3/traces/${none}`]: [404, 'jaeger-trace-missing.json'] });
    await expect(traces({ query: none }, store)).rejects.toThrow(`Jaeger has no trace ${none}`);
  });
});

describe('a search', () => {
  const SEARCH = '/api/v3/traces';

  it('asks for each service once, by the names of api/v3', () => {
    const [first, second, ...rest] = searchParams('service=a, b,a&operation=GET&min_duration=100ms&max_duration=', RANGE, 7);
    expect(first).toEqual({
      'query.service_name': 'a',
      'query.operation_name': 'GET',
      'query.duration_min': '100ms',
      'query.start_time_min': '2026-11-30T09:00:00.000Z',
      'query.start_time_max': '2026-11-30T10:00:00.000Z',
      'query.num_traces': '7',
    });
    expect(second).toEqual({ ...first, 'query.service_name': 'b' });
    expect(rest).toEqual([]);
  });

  it('for what Jaeger can not look for is an error', () => {
    expect(() => searchParams('service=a&status=500', RANGE, 1)).toThrow('A trace query has service, operation');
  });

  it('has a trace of several services once, and counts what failed', async () => {
    const { store, asked } = datasource({ [SEARCH]: 'jaeger-traces.json' });
    const { searchResult } = await traces({ query: 'service=front-end,business-logic' }, store);
    expect(asked.map((url) => url.searchParams.get('query.service_name'))).toEqual(['front-end', 'business-logic']);
    expect(searchResult!.map(({ traceId }) => traceId)).toEqual([FAILED, TRACE]);
    expect(searchResult![0]!.serviceStats).toEqual({ 'business-logic': { spanCount: 1, errorCount: 1 } });
  });

  it('for the slowest looks at more than it shows', async () => {
    const { store, asked } = datasource({ [SEARCH]: 'jaeger-traces.json' });
    const { searchResult } = await traces({ query: 'service=business-logic', order: 'slowest', limit: 1 }, store);
    expect(searchResult!.map(({ durationMs }) => Math.round(durationMs))).toEqual([731]);
    expect(asked[0]!.searchParams.get('query.num_traces')).toBe('200');
  });

  it('that finds nothing is empty and no error', async () => {
    const { store } = datasource({ [SEARCH]: [404, 'jaeger-traces-none.json'] });
    expect((await traces({ query: 'service=nobody' }, store)).searchResult).toEqual([]);
  });

  it('that fails is an error in the words of Jaeger', async () => {
    const { store } = datasource({ [SEARCH]: [500, 'jaeger-traces-none.json'] });
    await expect(traces({ query: 'service=a' }, store)).rejects.toThrow('Jaeger: No traces found');
  });

  it('waits for variables', async () => {
    const { store, asked } = datasource({});
    expect((await traces({ query: 'service=$service' }, store, { service: { loading: true } })).searchResult).toEqual([]);
    expect(asked).toEqual([]);
  });
});

it('services are options, by name', async () => {
  const { store } = datasource({ '/api/v3/services': 'jaeger-services.json' });
  const { data } = await JaegerServicesVariable.getVariableOptions({}, { datasourceStore: store } as never);
  expect(data.map(({ value }) => value)).toEqual(['business-logic', 'front-end']);
});
