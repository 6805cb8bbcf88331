// Puts the application behind an HTTP server.
import { createServer } from 'node:http';
import { QuotesApi } from './api.js';
import { createApp } from './app.js';
import { EventHub } from './events.js';
import { Lifecycle } from './lifecycle.js';
import { createLogger } from './log.js';
import { createMetrics } from './metrics.js';

/** Resolves once connections are accepted: {server, port, lifecycle, logger}. */
export async function startServer(config, { stream, defaultMetrics = true } = {}) {
  const logger = createLogger({ level: config.logLevel, stream });
  const metrics = createMetrics({ version: config.version, defaults: defaultMetrics });
  const lifecycle = new Lifecycle();
  const api = new QuotesApi({
    baseUrl: config.apiUrl,
    timeoutMs: config.apiTimeoutMs,
    retryDelayMs: config.apiRetryDelayMs,
    metrics,
  });
  const events = new EventHub({
    api,
    logger,
    metrics,
    heartbeatMs: config.eventsHeartbeatMs,
    silenceMs: config.eventsSilenceMs,
    retryDelayMs: config.apiRetryDelayMs,
    limit: config.eventsLimit,
  });
  lifecycle.whenDraining(() => events.drain());
  const app = createApp({ config, api, events, logger, metrics, lifecycle });
  const server = createServer(
    {
      // Longer than proxies keep an idle connection: they end it, so no request meets a closing one.
      keepAliveTimeout: config.keepAliveTimeoutMs,
      headersTimeout: Math.min(config.requestTimeoutMs, 10_000),
      requestTimeout: config.requestTimeoutMs,
    },
    app,
  );
  lifecycle.attach(server);
  server.once('close', () => events.close());
  await new Promise((resolve, reject) => {
    server.once('error', reject);
    server.listen({ port: config.port, host: config.listenAddress }, () => {
      server.off('error', reject);
      resolve();
    });
  });
  return { server, port: server.address().port, lifecycle, logger };
}
