// Prometheus metrics, as OpenMetrics too, which has exemplars. A registry per application, so that tests may have several.
import prometheus from 'prom-client';

const { OPENMETRICS_CONTENT_TYPE, PROMETHEUS_CONTENT_TYPE } = prometheus.Registry;
const SECONDS = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10];

/** {type, text} of the metrics in the format that the header Accept names, text where it names none. */
export async function expose(registry, accept = '') {
  const type = /\bapplication\/openmetrics-text\b/.test(accept) ? OPENMETRICS_CONTENT_TYPE : PROMETHEUS_CONTENT_TYPE;
  // prom-client renames counters for good when it writes OpenMetrics: it gets another object, which has the metric behind it.
  const view = new prometheus.Registry(type);
  for (const metric of registry.getMetricsAsArray()) view.registerMetric(Object.create(metric));
  return { type, text: await view.metrics() };
}

export function createMetrics({ version, defaults = true }) {
  // prom-client takes metrics with exemplars into such a registry only; `expose` gives both formats.
  const registry = new prometheus.Registry(OPENMETRICS_CONTENT_TYPE);
  const registers = [registry];
  if (defaults) prometheus.collectDefaultMetrics({ register: registry });

  new prometheus.Gauge({
    name: 'front_end_build_info',
    help: 'Version of the website.',
    labelNames: ['version'],
    registers,
  }).set({ version }, 1);

  return {
    registry,
    requests: new prometheus.Counter({
      name: 'http_requests_total',
      help: 'Requests answered, by method, route and status.',
      labelNames: ['method', 'route', 'status'],
      registers,
    }),
    requestSeconds: new prometheus.Histogram({
      name: 'http_request_duration_seconds',
      help: 'Time to answer a request, by method and route.',
      labelNames: ['method', 'route'],
      buckets: SECONDS,
      enableExemplars: true,
      registers,
    }),
    requestsInProgress: new prometheus.Gauge({
      name: 'http_requests_in_progress',
      help: 'Requests being answered.',
      registers,
    }),
    apiUp: new prometheus.Gauge({
      name: 'api_up',
      help: 'Whether the last call of the quotes API succeeded (1) or not (0).',
      registers,
    }),
    apiRequests: new prometheus.Counter({
      name: 'api_requests_total',
      help: 'Attempts to call the quotes API, by method and outcome.',
      labelNames: ['method', 'outcome'],
      registers,
    }),
    eventStreams: new prometheus.Gauge({
      name: 'event_streams',
      help: 'Visitors who are sent new quotes.',
      registers,
    }),
    eventsSent: new prometheus.Counter({
      name: 'events_sent_total',
      help: 'New quotes sent, counted once for each visitor.',
      registers,
    }),
    eventStreamsCut: new prometheus.Counter({
      name: 'event_streams_cut_total',
      help: 'Streams that were cut because the visitor took less than came.',
      registers,
    }),
    eventsUp: new prometheus.Gauge({
      name: 'events_up',
      help: 'Whether the stream of new quotes from the API stands (1) or not (0).',
      registers,
    }),
    apiSeconds: new prometheus.Histogram({
      name: 'api_request_duration_seconds',
      help: 'Time of one attempt to call the quotes API.',
      labelNames: ['method'],
      buckets: SECONDS,
      registers,
    }),
  };
}
