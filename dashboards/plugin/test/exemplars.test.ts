// SPDX-License-Identifier: Apache-2.0
import { describe, expect, it } from 'vitest';
import { ExemplarAnswer, PrometheusExemplarsQuery, toPoints } from '../src/exemplars';
import { datasource, parsed, RANGE } from './datasource';

const PATH = '/api/v1/query_exemplars';
const answer = parsed<ExemplarAnswer>('prometheus-exemplars.json');

const points = (query: string, store: unknown): ReturnType<typeof PrometheusExemplarsQuery.getTraceData> =>
  PrometheusExemplarsQuery.getTraceData({ query }, { absoluteTimeRange: RANGE, variableState: {}, datasourceStore: store } as never);

describe('exemplars', () => {
  it('are points that lead to traces, each trace once, the slowest first', () => {
    const found = toPoints(answer, 10);
    expect(found.map(({ traceId, durationMs }) => [traceId.slice(0, 4), durationMs])).toEqual([
      ['4bf9', 731],
      ['0af7', 412],
    ]);
    expect(found[0]).toMatchObject({ rootServiceName: 'business-logic', rootTraceName: 'POST /api/quotes/' });
    expect(found[0]!.startTimeUnixMs).toBeCloseTo(1796032632975, -1);
  });

  it('of what failed are errors', () => {
    const [failed, well] = toPoints(answer, 10);
    expect(failed!.serviceStats).toEqual({ 'business-logic': { spanCount: 1, errorCount: 1 } });
    expect(well!.serviceStats).toEqual({ 'front-end': { spanCount: 1 } });
  });

  it('without a trace are none', () => {
    const series = { seriesLabels: { app: 'a' }, exemplars: [{ labels: { user: 'u' }, value: '1', timestamp: 1 }] };
    expect(toPoints({ data: [series] }, 10)).toEqual([]);
    expect(toPoints({}, 10)).toEqual([]);
  });

  it('are as many as asked for', () => {
    expect(toPoints(answer, 1)).toHaveLength(1);
    expect(toPoints(answer, 1, 0.001)[0]!.durationMs).toBeCloseTo(0.731, 6);
  });

  it('are asked for by the time range', async () => {
    const { store, asked } = datasource({ [PATH]: 'prometheus-exemplars.json' });
    expect((await points('traces_span_metrics_duration_seconds_bucket', store)).searchResult).toHaveLength(2);
    expect(asked[0]!.searchParams.get('start')).toBe('2026-11-30T09:00:00.000Z');
  });

  it('of a wrong query are an error in the words of Prometheus', async () => {
    const { store } = datasource({ [PATH]: [400, 'prometheus-exemplars-error.json'] });
    await expect(points('rate(', store)).rejects.toThrow('unclosed left parenthesis');
  });
});
