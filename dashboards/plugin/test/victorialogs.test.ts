// SPDX-License-Identifier: Apache-2.0
import { describe, expect, it } from 'vitest';
import {
  parseLines,
  VictoriaLogsFieldValuesVariable,
  VictoriaLogsLogQuery,
  VictoriaLogsTimeSeriesQuery,
} from '../src/victorialogs';
import { datasource, fixture, RANGE } from './datasource';

const QUERY = '/select/logsql/query';
const text = { loading: false, value: 'apps' };

const lines = (spec: object, store: unknown, variableState: object = {}): ReturnType<typeof VictoriaLogsLogQuery.getLogData> =>
  VictoriaLogsLogQuery.getLogData(spec as never, { timeRange: RANGE, variableState, datasourceStore: store, refreshKey: '' } as never);

describe('lines', () => {
  it('are the newest first, with their fields', () => {
    const found = parseLines(fixture('victorialogs-query.jsonl'));
    expect(found.map(({ line }) => line.split('\n')[0])).toEqual(['started', 'Traceback (most recent call last):', 'GET / 200']);
    expect(found[2]!.labels['trace_id']).toBe('0af7651916cd43dd8448eb211c80319c');
    expect(found[1]!.timestamp).toBeCloseTo(Date.parse('2026-11-30T09:56:35.2Z') / 1000, 3);
  });

  it('of one millisecond keep their order by nanoseconds', () => {
    const times = ['2026-11-30T09:00:00.0000002Z', '2026-11-30T09:00:00.000001Z', '2026-11-30T09:00:00Z'];
    const found = parseLines(times.map((_time) => JSON.stringify({ _time, _msg: _time })).join('\n'));
    expect(found.map(({ line }) => line)).toEqual([times[1], times[0], times[2]]);
  });

  it('that break off say why', () => {
    expect(() => parseLines('{"_msg":"a"}\ncannot read blocks: disk')).toThrow('VictoriaLogs: cannot read blocks: disk');
  });

  it('are asked for with variables, time range and limit', async () => {
    const { store, asked } = datasource({ [QUERY]: 'victorialogs-query.jsonl' });
    const answer = await lines({ query: '{"k8s.namespace.name"="$namespace"}', limit: 3 }, store, { namespace: text });
    expect(answer.logs.entries).toHaveLength(3);
    expect(answer.logs.hasMore).toBe(true);
    expect(Object.fromEntries(asked[0]!.searchParams)).toEqual({
      query: '{"k8s.namespace.name"="apps"}',
      start: '2026-11-30T09:00:00.000Z',
      end: '2026-11-30T10:00:00.000Z',
      limit: '3',
    });
  });

  it('are not asked for while a variable has no value', async () => {
    const { store, asked } = datasource({});
    const answer = await lines({ query: '{pod="$pod"}' }, store, { pod: { loading: true } });
    expect(answer.logs.entries).toEqual([]);
    expect(asked).toEqual([]);
  });

  it('that can not be asked for so are an error in the words of the store', async () => {
    const { store } = datasource({ [QUERY]: [400, 'victorialogs-error.txt'] });
    await expect(lines({ query: '{"a"=' }, store)).rejects.toThrow('cannot parse `query` arg');
  });
});

describe('numbers', () => {
  it('are a series for each group, with a name to tell them by', async () => {
    const { store, asked } = datasource({ '/select/logsql/stats_query_range': 'victorialogs-stats-query-range.json' });
    const answer = await VictoriaLogsTimeSeriesQuery.getTimeSeriesData(
      { query: '* | stats by (severity_text) count() lines' },
      { timeRange: RANGE, suggestedStepMs: 1000, variableState: {}, datasourceStore: store } as never
    );
    expect(answer.series.map(({ name }) => name)).toEqual(['ERROR', 'INFO']);
    expect(answer.series[0]!.values).toEqual([[1796032590000, 1]]);
    // Steps shorter than lines are looked at would be bars of one line each.
    expect(asked[0]!.searchParams.get('step')).toBe('15000ms');
    expect(answer.stepMs).toBe(15000);
  });
});

describe('values of a field', () => {
  it('are options, those of most lines first', async () => {
    const { store, asked } = datasource({ '/select/logsql/field_values': 'victorialogs-field-values.json' });
    const { data } = await VictoriaLogsFieldValuesVariable.getVariableOptions(
      { field: 'service.name', query: '{"k8s.namespace.name"="$namespace"}' },
      { variables: { namespace: text }, datasourceStore: store, timeRange: RANGE }
    );
    expect(data.map(({ value }) => value)).toEqual(['business-logic', 'front-end']);
    expect(asked[0]!.searchParams.get('query')).toBe('{"k8s.namespace.name"="apps"}');
    expect(VictoriaLogsFieldValuesVariable.dependsOn!({ field: 'a', query: '$namespace' }, {} as never)).toEqual({
      variables: ['namespace'],
    });
  });
});
