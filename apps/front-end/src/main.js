// The program: settings, server, signals.
import { ConfigError, readConfig } from './config.js';
import { createLogger, describeError } from './log.js';
import { startServer } from './server.js';
import { startTelemetry } from './telemetry.js';

function fail(message, fields) {
  createLogger().error(message, fields);
  process.exit(1);
}

process.on('uncaughtException', (error) => fail('uncaught error', { error: describeError(error) }));

async function main() {
  let config;
  try {
    config = readConfig(process.env);
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error;
    return fail('settings are not valid', { problems: error.problems });
  }

  const stopTelemetry = startTelemetry(process.env, createLogger({ level: config.logLevel }));
  const { port, lifecycle, logger } = await startServer(config).catch((error) =>
    fail('the port can’t be opened', { port: config.port, error: describeError(error) }),
  );
  logger.info('listening', { port, version: config.version, api_url: config.apiUrl, node: process.version });

  const stop = async (signal) => {
    if (lifecycle.draining) return;
    // At a keyboard nobody has to be told; in a cluster proxies need the delay.
    const drainMs = signal === 'SIGINT' ? 0 : config.drainMs;
    logger.info('stopping', { signal, drain_seconds: drainMs / 1000 });
    const complete = await lifecycle.stop({ drainMs, gracefulTimeoutMs: config.gracefulTimeoutMs });
    await stopTelemetry();
    logger[complete ? 'info' : 'warning']('stopped', { all_requests_answered: complete });
    process.exit(complete ? 0 : 1);
  };
  process.on('SIGTERM', stop);
  process.on('SIGINT', stop);
}

await main();
