// SPDX-License-Identifier: Apache-2.0
import { DatasourceSelector, HTTPDatasourceSpec, LogEntry, TimeSeriesData } from '@perses-dev/core';
import {
  DatasourcePlugin,
  parseVariables,
  PluginImplementation,
  replaceVariables,
  TimeSeriesQueryPlugin,
  VariablePlugin,
} from '@perses-dev/plugin-system';
import { httpSettings, linesEditor, queryEditor } from './editors';
import { clientOf, createHttpClient, getJson, getText, HttpClient, QuerySpec, unresolved } from './http';

const KIND = 'VictoriaLogsDatasource';
const DEFAULT_LIMIT = 500;
const MIN_STEP_MS = 15_000;

export const VictoriaLogsDatasource: DatasourcePlugin<HTTPDatasourceSpec, HttpClient> = {
  createClient: createHttpClient,
  OptionsEditorComponent: httpSettings('/select/logsql/.*'),
  createInitialOptions: () => ({ directUrl: '' }),
};

interface Range {
  start: Date;
  end: Date;
}

const rangeParams = ({ start, end }: Range): Record<string, string> => ({
  start: start.toISOString(),
  end: end.toISOString(),
});

/** Nanoseconds within the second of an RFC 3339 time. */
const nanoseconds = (time: string): number => Number((/\.(\d+)/.exec(time)?.[1] ?? '').padEnd(9, '0').slice(0, 9));

/**
 * Lines of an answer of /select/logsql/query, the newest first. It has one JSON object a line, all of its values are
 * strings, and the text is `_msg`. A line that is no JSON is an error that came after the first lines.
 */
export function parseLines(text: string): LogEntry[] {
  return text
    .split('\n')
    .filter((line) => line.trim() !== '')
    .map((line) => {
      const { _time = '', _msg = '', ...labels } = parseLine(line);
      return { time: _time, entry: { timestamp: Date.parse(_time) / 1000, line: _msg, labels } };
    })
    .sort(
      (a, b) =>
        Math.floor(b.entry.timestamp) - Math.floor(a.entry.timestamp) || nanoseconds(b.time) - nanoseconds(a.time)
    )
    .map(({ entry }) => entry);
}

function parseLine(line: string): Record<string, string> {
  try {
    return JSON.parse(line) as Record<string, string>;
  } catch {
    throw new Error(`VictoriaLogs: ${line}`);
  }
}

export interface LogQuerySpec extends QuerySpec {
  /** Lines at most, the newest; 500 where it is left out. */
  limit?: number;
}

type LogQuery = PluginImplementation<'LogQuery'>;

// plugin-system 0.52 has the kind LogQuery, but does not export the type LogQueryPlugin.
export const VictoriaLogsLogQuery: LogQuery = {
  async getLogData(untyped, { timeRange, variableState, datasourceStore }) {
    const spec = untyped as unknown as LogQuerySpec;
    // Unlike other queries those of logs are not held back until variables have values.
    if (unresolved(spec.query, variableState).length > 0) {
      return { timeRange, logs: { entries: [], timeRange, totalCount: 0 } };
    }
    const query = replaceVariables(spec.query, variableState);
    const limit = spec.limit ?? DEFAULT_LIMIT;
    const client = await clientOf(datasourceStore, KIND, spec.datasource);
    const params = { query, ...rangeParams(timeRange), limit: String(limit) };
    const entries = parseLines(await getText(client, '/select/logsql/query', params));
    const metadata = { executedQueryString: query };
    return {
      timeRange,
      logs: { entries, timeRange, totalCount: entries.length, hasMore: entries.length >= limit, metadata },
      metadata,
    };
  },
  dependsOn: (spec) => ({ variables: parseVariables((spec as unknown as LogQuerySpec).query) }),
  OptionsEditorComponent: queryEditor<LogQuerySpec>(KIND, 'LogsQL') as unknown as LogQuery['OptionsEditorComponent'],
  createInitialOptions: () => ({ query: '*' }),
};

interface Matrix {
  data: { result: Array<{ metric: Record<string, string>; values: Array<[seconds: number, value: string]> }> };
}

/** Numbers over time out of lines; the query has to end in a `stats` pipe. */
export const VictoriaLogsTimeSeriesQuery: TimeSeriesQueryPlugin<QuerySpec> = {
  async getTimeSeriesData(spec, { timeRange, suggestedStepMs, variableState, datasourceStore }): Promise<TimeSeriesData> {
    const query = replaceVariables(spec.query, variableState);
    const client = await clientOf(datasourceStore, KIND, spec.datasource);
    const stepMs = Math.max(suggestedStepMs ?? 0, MIN_STEP_MS);
    const params = { query, ...rangeParams(timeRange), step: `${stepMs}ms` };
    const { data } = await getJson<Matrix>(client, '/select/logsql/stats_query_range', params);
    const series = data.result.map(({ metric: { __name__: field, ...labels }, values }) => ({
      name: Object.values(labels).filter(Boolean).join(' ') || field || 'value',
      labels,
      values: values.map(([seconds, value]): [number, number] => [seconds * 1000, Number(value)]),
    }));
    return { timeRange, stepMs, series, metadata: { executedQueryString: query } };
  },
  dependsOn: (spec) => ({ variables: parseVariables(spec.query) }),
  OptionsEditorComponent: queryEditor<QuerySpec>(KIND, 'LogsQL that ends in | stats …'),
  createInitialOptions: () => ({ query: '* | stats by (severity_text) count() lines' }),
};

export interface FieldValuesSpec {
  /** Field whose values are the options. */
  field: string;
  /** Of which lines; all where it is left out. */
  query?: string;
  limit?: number;
  datasource?: DatasourceSelector;
}

/** The values of a field, those of most lines first. */
export const VictoriaLogsFieldValuesVariable: VariablePlugin<FieldValuesSpec> = {
  async getVariableOptions(spec, { variables, datasourceStore, timeRange }) {
    const client = await clientOf(datasourceStore, KIND, spec.datasource);
    const { values } = await getJson<{ values?: Array<{ value: string; hits: number }> }>(
      client,
      '/select/logsql/field_values',
      {
        query: replaceVariables(spec.query || '*', variables),
        field: replaceVariables(spec.field, variables),
        ...rangeParams(timeRange),
        limit: String(spec.limit ?? DEFAULT_LIMIT),
      }
    );
    const found = (values ?? []).filter(({ value }) => value !== '').sort((a, b) => b.hits - a.hits);
    return { data: found.map(({ value }) => ({ label: value, value })) };
  },
  dependsOn: (spec) => ({ variables: [...parseVariables(spec.query ?? ''), ...parseVariables(spec.field)] }),
  OptionsEditorComponent: linesEditor<FieldValuesSpec>(KIND, { field: 'Field', query: 'Of the lines (LogsQL)' }),
  createInitialOptions: () => ({ field: 'service.name' }),
};
