// SPDX-License-Identifier: Apache-2.0
import { TraceData, TraceSearchResult } from '@perses-dev/core';
import { parseVariables, replaceVariables, TraceQueryPlugin } from '@perses-dev/plugin-system';
import { queryEditor } from './editors';
import { clientOf, getJson, QuerySpec, unresolved } from './http';

// Upstream's datasource, whose client says where Prometheus is.
const KIND = 'PrometheusDatasource';
const DEFAULT_LIMIT = 200;

interface PrometheusClient {
  options: { datasourceUrl: string };
}

/** Answer of /api/v1/query_exemplars; the timestamp is in seconds. */
export interface ExemplarAnswer {
  data?: Array<{
    seriesLabels: Record<string, string>;
    exemplars: Array<{ labels: Record<string, string>; value: string; timestamp: number }>;
  }>;
}

export interface ExemplarsSpec extends QuerySpec {
  /** Exemplars at most, the slowest first; 200 where it is left out. */
  limit?: number;
  /** Seconds that a value of the metric is; 0.001 for one that counts milliseconds. */
  scale?: number;
}

const first = (labels: Record<string, string>, ...names: string[]): string =>
  names.map((name) => labels[name]).find(Boolean) ?? '';

/** Whether the labels of a series say that what it counts failed. */
const failed = (labels: Record<string, string>): boolean =>
  labels['status_code'] === 'STATUS_CODE_ERROR' || /^5/.test(first(labels, 'status', 'code', 'http_response_status_code'));

/**
 * A point for each trace: when it was and how long it took. A trace is an exemplar of several buckets and at several
 * times; the longest of them is the one that stands.
 */
export function toPoints(answer: ExemplarAnswer, limit: number, scale = 1): TraceSearchResult[] {
  const points = new Map<string, TraceSearchResult>();
  for (const { seriesLabels, exemplars } of answer.data ?? []) {
    const service = first(seriesLabels, 'service_name', 'app', 'job') || 'unknown';
    const name = first(seriesLabels, 'span_name', 'handler', 'view', 'route', 'path', 'method', '__name__');
    for (const { labels, value, timestamp } of exemplars) {
      const traceId = first(labels, 'trace_id', 'traceID', 'traceId');
      const durationMs = Number(value) * scale * 1000;
      if (!traceId || !Number.isFinite(durationMs) || durationMs <= (points.get(traceId)?.durationMs ?? -1)) {
        continue;
      }
      points.set(traceId, {
        traceId,
        rootServiceName: service,
        rootTraceName: name,
        startTimeUnixMs: timestamp * 1000,
        durationMs,
        serviceStats: { [service]: { spanCount: 1, ...(failed(seriesLabels) ? { errorCount: 1 } : {}) } },
      });
    }
  }
  return [...points.values()].sort((a, b) => b.durationMs - a.durationMs).slice(0, limit);
}

/** Exemplars as traces: points of a ScatterChart, lines of a TraceTable. */
export const PrometheusExemplarsQuery: TraceQueryPlugin<ExemplarsSpec> = {
  async getTraceData(spec, { variableState, datasourceStore, absoluteTimeRange }): Promise<TraceData> {
    const query = replaceVariables(spec.query, variableState);
    const metadata = { executedQueryString: query };
    if (query.trim() === '' || unresolved(spec.query, variableState).length > 0) {
      return { searchResult: [], metadata };
    }
    const { options } = await clientOf<PrometheusClient>(datasourceStore, KIND, spec.datasource);
    const end = absoluteTimeRange?.end ?? new Date();
    const start = absoluteTimeRange?.start ?? new Date(end.getTime() - 3_600_000);
    const answer = await getJson<ExemplarAnswer>({ url: options.datasourceUrl }, '/api/v1/query_exemplars', {
      query,
      start: start.toISOString(),
      end: end.toISOString(),
    });
    return { searchResult: toPoints(answer, spec.limit ?? DEFAULT_LIMIT, spec.scale), metadata };
  },
  dependsOn: (spec) => ({ variables: parseVariables(spec.query) }),
  OptionsEditorComponent: queryEditor<ExemplarsSpec>(KIND, 'PromQL whose series have exemplars'),
  createInitialOptions: () => ({ query: '' }),
};
