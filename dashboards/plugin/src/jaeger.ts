// SPDX-License-Identifier: Apache-2.0
import { DatasourceSelector, HTTPDatasourceSpec, isValidTraceId, TraceData, TraceSearchResult } from '@perses-dev/core';
import {
  DatasourcePlugin,
  parseVariables,
  replaceVariables,
  TraceQueryPlugin,
  VariablePlugin,
} from '@perses-dev/plugin-system';
import { httpSettings, linesEditor, queryEditor } from './editors';
import { clientOf, createHttpClient, getJson, HttpClient, QuerySpec, unresolved } from './http';

const KIND = 'JaegerDatasource';
const DEFAULT_LIMIT = 20;
// Jaeger gives those it comes upon first; the slowest are taken from so many of each service.
const LOOKED_AT = 200;

export const JaegerDatasource: DatasourcePlugin<HTTPDatasourceSpec, HttpClient> = {
  createClient: createHttpClient,
  OptionsEditorComponent: httpSettings('/api/v3/.*'),
  createInitialOptions: () => ({ directUrl: '' }),
};

/**
 * `query` is the id of a trace, or filters as in a URL: `service=orders,payments&operation=…&min_duration=100ms`, also
 * `max_duration`. Of several services, which commas separate, each is asked for.
 */
export interface TraceQuerySpec extends QuerySpec {
  /** Traces at most; 20 where it is left out. */
  limit?: number;
  /** Which of them; the newest where it is left out. */
  order?: 'newest' | 'slowest';
}

interface Attribute {
  key: string;
  value: { stringValue?: string } & Record<string, unknown>;
}
interface OtlpSpan {
  traceId: string;
  spanId: string;
  parentSpanId?: string;
  name: string;
  kind?: number | string;
  startTimeUnixNano: string;
  endTimeUnixNano: string;
  attributes?: Attribute[];
  status?: { code?: number | string; message?: string };
}
/** OTLP/JSON as api/v3 writes it: ids in hex, enumerations as numbers. */
export interface OtlpTraces {
  resourceSpans?: Array<{
    resource?: { attributes?: Attribute[] };
    scopeSpans?: Array<{ scope?: { name?: string }; spans?: OtlpSpan[] }>;
  }>;
}

const KINDS = ['UNSPECIFIED', 'INTERNAL', 'SERVER', 'CLIENT', 'PRODUCER', 'CONSUMER'].map((name) => `SPAN_KIND_${name}`);
const CODES = ['UNSET', 'OK', 'ERROR'].map((name) => `STATUS_CODE_${name}`);
const FAILED = 'STATUS_CODE_ERROR';
const named = (names: string[], value: number | string | undefined): string | undefined =>
  typeof value === 'number' ? names[value] : value;

/**
 * A trace as the panels of Perses read it: enumerations by name. Each span has its trace's id as an attribute as well,
 * since TracingGanttChart makes links of attributes alone.
 */
export function toTrace(otlp: OtlpTraces): NonNullable<TraceData['trace']> {
  return {
    resourceSpans: (otlp.resourceSpans ?? []).map((entry) => ({
      ...entry,
      scopeSpans: (entry.scopeSpans ?? []).map((scope) => ({
        ...scope,
        spans: (scope.spans ?? []).map((span) => ({
          ...span,
          parentSpanId: span.parentSpanId || undefined,
          kind: named(KINDS, span.kind),
          status: span.status && { ...span.status, code: named(CODES, span.status.code) },
          attributes: [...(span.attributes ?? []), { key: 'trace.id', value: { stringValue: span.traceId } }],
        })),
      })),
    })),
  } as NonNullable<TraceData['trace']>;
}

interface FoundSpan {
  service: string;
  span: OtlpSpan;
}
type OneOrMore<T> = [T, ...T[]];

/** A line for each trace: the search answers all of their spans. */
export function toSearchResults(otlp: OtlpTraces): TraceSearchResult[] {
  const traces = new Map<string, OneOrMore<FoundSpan>>();
  for (const { resource, scopeSpans } of otlp.resourceSpans ?? []) {
    const service = resource?.attributes?.find(({ key }) => key === 'service.name')?.value.stringValue ?? 'unknown';
    for (const span of (scopeSpans ?? []).flatMap(({ spans }) => spans ?? [])) {
      const found = { service, span };
      const spans = traces.get(span.traceId);
      if (spans) {
        spans.push(found);
      } else {
        traces.set(span.traceId, [found]);
      }
    }
  }
  return [...traces].map(([traceId, spans]) => summary(traceId, spans));
}

function summary(traceId: string, spans: OneOrMore<FoundSpan>): TraceSearchResult {
  const ids = new Set(spans.map(({ span }) => span.spanId));
  const startOf = ({ span }: FoundSpan): number => milliseconds(span.startTimeUnixNano);
  const first = spans.reduce((earliest, found) => (startOf(found) < startOf(earliest) ? found : earliest));
  const isRoot = ({ span }: FoundSpan): boolean => !span.parentSpanId || !ids.has(span.parentSpanId);
  // A trace that a caller began has a parent that nobody keeps.
  const root = [...spans].sort((a, b) => startOf(a) - startOf(b)).find(isRoot) ?? first;
  const start = startOf(first);
  const end = spans.reduce((last, { span }) => Math.max(last, milliseconds(span.endTimeUnixNano)), start);
  const serviceStats: TraceSearchResult['serviceStats'] = {};
  for (const { service, span } of spans) {
    const stats = (serviceStats[service] ??= { spanCount: 0 });
    stats.spanCount += 1;
    if (named(CODES, span.status?.code) === FAILED) {
      stats.errorCount = (stats.errorCount ?? 0) + 1;
    }
  }
  return {
    traceId,
    rootServiceName: root.service,
    rootTraceName: root.span.name,
    startTimeUnixMs: start,
    durationMs: end - start,
    serviceStats,
  };
}

// Through BigInt: nanoseconds since 1970 are more than a number can hold exactly.
const milliseconds = (nanoseconds: string): number => Number(BigInt(nanoseconds) / 1000n) / 1000;

/** What v3 answers. Errors are JSON that is sent as text, and finding nothing is one of them. */
async function ask(client: HttpClient, path: string, params?: Record<string, string>): Promise<OtlpTraces | undefined> {
  try {
    return (await getJson<{ result?: OtlpTraces }>(client, path, params)).result ?? {};
  } catch (error) {
    const { status, message } = error as { status?: number; message: string };
    if (status === 404) {
      return undefined;
    }
    const told = /"message":\s*("(?:[^"\\]|\\.)*")/.exec(message)?.[1];
    throw told ? new Error(`Jaeger: ${JSON.parse(told) as string}`) : error;
  }
}

/** One set of parameters of /api/v3/traces for each service. */
export function searchParams(query: string, { start, end }: { start: Date; end: Date }, limit: number): Array<Record<string, string>> {
  const filters = new URLSearchParams(query);
  const names: Record<string, string> = {
    operation: 'operation_name',
    min_duration: 'duration_min',
    max_duration: 'duration_max',
  };
  const common: Record<string, string> = {
    'query.start_time_min': start.toISOString(),
    'query.start_time_max': end.toISOString(),
    'query.num_traces': String(limit),
  };
  for (const [name, value] of filters) {
    if (name === 'service') {
      continue;
    }
    const told = names[name];
    if (told === undefined) {
      throw new Error(`A trace query has service, ${Object.keys(names).join(', ')}, not ${name}.`);
    }
    if (value !== '') {
      common[`query.${told}`] = value;
    }
  }
  const services = [...new Set((filters.get('service') ?? '').split(',').map((name) => name.trim()))].filter(Boolean);
  return services.map((service) => ({ ...common, 'query.service_name': service }));
}

export const JaegerTraceQuery: TraceQueryPlugin<TraceQuerySpec> = {
  async getTraceData(spec, { variableState, datasourceStore, absoluteTimeRange }): Promise<TraceData> {
    const query = replaceVariables(spec.query, variableState).trim();
    const metadata = { executedQueryString: query };
    if (query === '' || unresolved(spec.query, variableState).length > 0) {
      return { searchResult: [], metadata };
    }
    const client = await clientOf(datasourceStore, KIND, spec.datasource);
    if (isValidTraceId(query)) {
      const found = await ask(client, `/api/v3/traces/${query.toLowerCase()}`);
      if (found === undefined) {
        throw new Error(`Jaeger has no trace ${query}: it has not come yet, was not sampled, or is kept no more.`);
      }
      return { trace: toTrace(found), metadata };
    }
    const end = absoluteTimeRange?.end ?? new Date();
    const start = absoluteTimeRange?.start ?? new Date(end.getTime() - 3_600_000);
    const limit = spec.limit ?? DEFAULT_LIMIT;
    const slowest = spec.order === 'slowest';
    const answers = await Promise.all(
      searchParams(query, { start, end }, slowest ? LOOKED_AT : limit).map((params) => ask(client, '/api/v3/traces', params))
    );
    // A trace of several services is in the answers for each of them, whole.
    const traces = new Map(answers.flatMap((otlp) => toSearchResults(otlp ?? {})).map((trace) => [trace.traceId, trace]));
    const searchResult = [...traces.values()]
      .sort((a, b) => (slowest ? b.durationMs - a.durationMs : b.startTimeUnixMs - a.startTimeUnixMs))
      .slice(0, limit);
    return { searchResult, metadata };
  },
  dependsOn: (spec) => ({ variables: parseVariables(spec.query) }),
  OptionsEditorComponent: queryEditor<TraceQuerySpec>(KIND, 'Id of a trace, or filters: service=…&min_duration=100ms'),
  createInitialOptions: () => ({ query: '' }),
};

/** Services that Jaeger has traces of. */
export const JaegerServicesVariable: VariablePlugin<{ datasource?: DatasourceSelector }> = {
  async getVariableOptions(spec, { datasourceStore }) {
    const client = await clientOf(datasourceStore, KIND, spec.datasource);
    const { services } = await getJson<{ services?: string[] }>(client, '/api/v3/services');
    return { data: [...(services ?? [])].sort().map((name) => ({ label: name, value: name })) };
  },
  OptionsEditorComponent: linesEditor<{ datasource?: DatasourceSelector }>(KIND, {}),
  createInitialOptions: () => ({}),
};
