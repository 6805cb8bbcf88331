// Traces by OpenTelemetry: what a request did, sent to the collector that OTEL_EXPORTER_OTLP_ENDPOINT names.
//
// Code makes spans by OpenTelemetry's interface, which does nothing where no collector is named. The SDK's own variables
// (https://opentelemetry.io/docs/specs/otel/configuration/sdk-environment-variables/) say the rest.
import { createRequire } from 'node:module';
import { setTimeout as sleep } from 'node:timers/promises';
import {
  DiagLogLevel,
  ROOT_CONTEXT,
  SpanKind,
  SpanStatusCode,
  TraceFlags,
  context,
  defaultTextMapGetter,
  defaultTextMapSetter,
  diag,
  isSpanContextValid,
  trace,
} from '@opentelemetry/api';
import { ExportResultCode, W3CTraceContextPropagator, suppressTracing } from '@opentelemetry/core';
import { OTLPTraceExporter } from '@opentelemetry/exporter-trace-otlp-proto';
import { registerInstrumentations } from '@opentelemetry/instrumentation';
import { ExpressInstrumentation, ExpressLayerType } from '@opentelemetry/instrumentation-express';
import { HttpInstrumentation } from '@opentelemetry/instrumentation-http';
import { UndiciInstrumentation } from '@opentelemetry/instrumentation-undici';
import { defaultResource, detectResources, envDetector, resourceFromAttributes } from '@opentelemetry/resources';
import { BatchSpanProcessor } from '@opentelemetry/sdk-trace-base';
import { NodeTracerProvider } from '@opentelemetry/sdk-trace-node';
import { version } from './config.js';
import { PROBES, UNMATCHED, routeOf } from './paths.js';

// Milliseconds for an attempt to send, where OTEL_EXPORTER_OTLP_TIMEOUT says nothing; OpenTelemetry's own default is 10000.
const TIMEOUT_MS = 3000;
// Milliseconds that the end of the process may wait for spans to be sent.
const PATIENCE_MS = 2000;
// Links of a span; more than the SDK keeps (OTEL_SPAN_LINK_COUNT_LIMIT) would be of no use.
const MOST_LINKS = 100;

const tracer = trace.getTracer('front-end', version);
const propagator = new W3CTraceContextPropagator();
const require = createRequire(import.meta.url);

/** Says once that spans are lost, and once that they are sent again. */
export class Exporter {
  #inner;
  #where;
  #logger;
  #losing = false;

  constructor(inner, { where, logger }) {
    this.#inner = inner;
    this.#where = where;
    this.#logger = logger;
  }

  export(spans, done) {
    this.#inner.export(spans, (result) => {
      const losing = result.code !== ExportResultCode.SUCCESS;
      if (losing && !this.#losing) {
        const { name, message, code } = result.error ?? {};
        this.#logger.warning('spans are lost: the collector does not take them', {
          endpoint: this.#where,
          reason: message || code || name,
        });
      } else if (this.#losing && !losing) {
        this.#logger.info('spans are sent again');
      }
      this.#losing = losing;
      done(result);
    });
  }

  forceFlush() {
    return this.#inner.forceFlush?.() ?? Promise.resolve();
  }

  shutdown() {
    return this.#inner.shutdown();
  }
}

/** Where spans go; '' where nobody wants them. */
function endpointOf(env) {
  const setting = (name) => (env[name] ?? '').trim();
  if (setting('OTEL_SDK_DISABLED').toLowerCase() === 'true') return '';
  if (setting('OTEL_TRACES_EXPORTER').toLowerCase() === 'none') return '';
  return setting('OTEL_EXPORTER_OTLP_TRACES_ENDPOINT') || setting('OTEL_EXPORTER_OTLP_ENDPOINT');
}

/** What the environment says of this process (OTEL_SERVICE_NAME, OTEL_RESOURCE_ATTRIBUTES), completed. */
const resource = () =>
  defaultResource()
    .merge(resourceFromAttributes({ 'service.name': 'front-end', 'service.version': version }))
    .merge(detectResources({ detectors: [envDetector] }));

/** The span of a request is named as its metrics are: the instrumentation of Express loses the route / of /?symbol=A. */
function nameByRoute(span, request, response) {
  const route = routeOf(request, response);
  if (route === UNMATCHED) return;
  span.setAttribute('http.route', route);
  span.updateName(`${request.method} ${route}`);
}

/**
 * Has a provider get the spans of this process: of requests, of calls by fetch, and of Express. It works without a hook
 * for imports: both modules are patched where they are, when they are required.
 */
export function instrument(provider) {
  provider.register({ propagator });
  const stop = registerInstrumentations({
    tracerProvider: provider,
    instrumentations: [
      new HttpInstrumentation({
        ignoreIncomingRequestHook: ({ url }) => PROBES.includes(url.split('?')[0]),
        // Nothing here asks with node:http but the exporter.
        disableOutgoingRequestInstrumentation: true,
        applyCustomAttributesOnSpan: nameByRoute,
      }),
      new ExpressInstrumentation({
        ignoreLayersType: [ExpressLayerType.MIDDLEWARE, ExpressLayerType.ROUTER],
        spanNameHook: ({ route }) => `request handler ${route || '/'}`,
        requestHook: (span, { route }) => span.setAttribute('http.route', route || '/'),
      }),
      new UndiciInstrumentation({ requireParentforSpans: true }),
    ],
  });
  require('node:http');
  require('express');
  return stop;
}

/**
 * Sends the spans of this process from now on. Resolves to what ends that, for PATIENCE_MS at most. Nothing here keeps
 * the website from its work: settings that OpenTelemetry does not take are told in the log.
 */
export function startTelemetry(env, logger) {
  const where = endpointOf(env);
  if (!where) return async () => {};
  const tell = (message, ...rest) => logger.warning('OpenTelemetry', { reason: [message, ...rest].join(' ') });
  diag.setLogger({ error: tell, warn: tell, info() {}, debug() {}, verbose() {} }, DiagLogLevel.WARN);
  try {
    const timeout = env.OTEL_EXPORTER_OTLP_TRACES_TIMEOUT || env.OTEL_EXPORTER_OTLP_TIMEOUT;
    const inner = new OTLPTraceExporter(timeout ? {} : { timeoutMillis: TIMEOUT_MS });
    // What is more than its queue holds is dropped (OTEL_BSP_MAX_QUEUE_SIZE): nobody ever waits for it.
    const processor = new BatchSpanProcessor(new Exporter(inner, { where, logger }));
    const provider = new NodeTracerProvider({ resource: resource(), spanProcessors: [processor] });
    instrument(provider);
    return () => Promise.race([provider.shutdown().catch(() => {}), sleep(PATIENCE_MS, undefined, { ref: false })]);
  } catch (error) {
    tell(`there are no traces: ${error.message}`);
    return async () => {};
  } finally {
    // What goes wrong later the exporter says, once.
    diag.disable();
  }
}

/** The span that work is being done for; undefined where there is none. */
export function currentSpan() {
  const found = trace.getSpan(context.active());
  return found && isSpanContextValid(found.spanContext()) ? found : undefined;
}

/** trace_id and span_id of a span, for a log line; {} where there is none. */
export function identifiers(span = currentSpan()) {
  if (!span) return {};
  const { traceId, spanId } = span.spanContext();
  return { trace_id: traceId, span_id: spanId };
}

/** Labels of an exemplar: only of a trace that can be looked up. */
export const exemplar = (span) => (span && span.spanContext().traceFlags & TraceFlags.SAMPLED ? identifiers(span) : {});

/** The work of `callback` belongs to no request, though it begins in one. */
export const apart = (callback) => context.with(ROOT_CONTEXT, callback);

/** The context that the fields of an event, or a request's headers, name. */
const contextOf = (fields) => propagator.extract(ROOT_CONTEXT, fields, defaultTextMapGetter);

/**
 * Ends the spans of a visitor's request where its stream begins, which may go on for hours. Returns the span context of the
 * request's own, which `deliver` links to.
 */
export function streamBegins(request, response) {
  const { span } = request;
  if (span === undefined) return undefined;
  currentSpan()?.end();
  span.setAttribute('http.response.status_code', response.statusCode);
  nameByRoute(span, request, response);
  if (span.isRecording()) span.end();
  return span.spanContext();
}

/**
 * A span of an event's way to visitors, around `write`. It belongs to the request that published the event, whose
 * context is among the event's fields, and is linked to that and to the visitors' own spans.
 */
export function deliver(event, visitors, write) {
  const publisher = contextOf(event);
  const links = [trace.getSpanContext(publisher), ...visitors.map(({ span }) => span)]
    .filter((found) => found !== undefined)
    .slice(0, MOST_LINKS)
    .map((found) => ({ context: found }));
  const attributes = {
    'messaging.system': 'valkey',
    'messaging.destination.name': 'quotes:events',
    'messaging.operation.name': 'deliver',
    'messaging.operation.type': 'process',
    'messaging.message.id': event.id,
    'visitors.count': visitors.length,
  };
  const span = tracer.startSpan('deliver to visitors', { kind: SpanKind.CONSUMER, links, attributes }, publisher);
  try {
    return context.with(trace.setSpan(publisher, span), write);
  } finally {
    span.end();
  }
}

/**
 * A span of the opening of the API's stream: `open(headers)` gets the headers that name it. fetch would make one that ends
 * with the stream.
 */
export async function opening(attributes, open) {
  const span = tracer.startSpan('GET', { kind: SpanKind.CLIENT, attributes, root: true });
  const headers = {};
  propagator.inject(trace.setSpan(ROOT_CONTEXT, span), headers, defaultTextMapSetter);
  try {
    return await context.with(suppressTracing(ROOT_CONTEXT), () => open(headers));
  } catch (error) {
    span.setAttribute('error.type', error.code ?? error.name);
    span.setStatus({ code: SpanStatusCode.ERROR, message: error.message });
    throw error;
  } finally {
    span.end();
  }
}
