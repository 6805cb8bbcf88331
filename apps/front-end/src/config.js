// Settings come from environment variables; README.md lists them. Everything wrong is reported at once.
import { readFileSync } from 'node:fs';
import { hostname } from 'node:os';
import proxyaddr from 'proxy-addr';

export const { version } = JSON.parse(readFileSync(new URL('../package.json', import.meta.url), 'utf8'));

export const LOG_LEVELS = ['debug', 'info', 'warning', 'error'];

export class ConfigError extends Error {
  /** @param {string[]} problems one sentence for each wrong variable */
  constructor(problems) {
    super(problems.join('; '));
    this.name = 'ConfigError';
    this.problems = problems;
  }
}

/** Reads the environment (a plain object) into a frozen configuration; throws ConfigError. */
export function readConfig(env) {
  const problems = [];
  const setting = (name, fallback) => (env[name] ?? '').trim() || fallback;

  const integer = (name, fallback, least, most) => {
    const text = setting(name, String(fallback));
    const value = Number(text);
    if (/^\d+$/.test(text) && value >= least && value <= most) return value;
    problems.push(`${name} is "${text}": expected a whole number from ${least} to ${most}`);
    return fallback;
  };

  /** Seconds, with decimals, as milliseconds. */
  const seconds = (name, fallback, least, most) => {
    const text = setting(name, String(fallback));
    const value = Number(text);
    if (/^\d+(\.\d+)?$/.test(text) && value >= least && value <= most) return Math.round(value * 1000);
    problems.push(`${name} is "${text}": expected seconds from ${least} to ${most}`);
    return fallback * 1000;
  };

  const flag = (name, fallback) => {
    const text = setting(name, String(fallback)).toLowerCase();
    if (['true', 'false'].includes(text)) return text === 'true';
    problems.push(`${name} is "${text}": expected true or false`);
    return fallback;
  };

  const list = (name, fallback) =>
    setting(name, fallback)
      .split(',')
      .map((item) => item.trim())
      .filter(Boolean);

  const apiUrl = setting('API_URL', 'http://business-logic:8000');
  if (!URL.canParse(apiUrl) || !['http:', 'https:'].includes(new URL(apiUrl).protocol)) {
    problems.push(`API_URL is "${apiUrl}": expected an http or https address such as http://business-logic:8000`);
  }

  const logLevel = setting('LOG_LEVEL', 'info').toLowerCase();
  if (!LOG_LEVELS.includes(logLevel)) {
    problems.push(`LOG_LEVEL is "${logLevel}": expected one of ${LOG_LEVELS.join(', ')}`);
  }

  const trustedProxies = list('TRUSTED_PROXIES', '');
  for (const proxy of trustedProxies) {
    try {
      proxyaddr.compile(proxy);
    } catch {
      problems.push(
        `TRUSTED_PROXIES has "${proxy}": expected addresses, networks such as 10.244.0.0/16, ` +
          'or loopback, linklocal, uniquelocal',
      );
    }
  }

  const siblings = list('SIBLINGS', 'sandbox');
  for (const name of siblings) {
    if (!/^[a-z0-9]([a-z0-9-]*[a-z0-9])?$/i.test(name)) {
      problems.push(`SIBLINGS has "${name}": expected the first label of a host name, such as sandbox`);
    }
  }

  const siblingDomain = setting('SIBLING_DOMAIN', 'localhost');
  if (!/^[a-z0-9-]+(\.[a-z0-9-]+)*$/i.test(siblingDomain)) {
    problems.push(`SIBLING_DOMAIN is "${siblingDomain}": expected a domain such as localhost`);
  }

  const config = Object.freeze({
    version,
    instance: setting('HOSTNAME', hostname()),
    listenAddress: setting('LISTEN_ADDRESS', undefined),
    port: integer('PORT', 3000, 0, 65535),
    apiUrl,
    apiTimeoutMs: seconds('API_TIMEOUT', 3, 0.01, 60),
    apiRetryDelayMs: seconds('API_RETRY_DELAY', 0.1, 0, 10),
    trustedProxies,
    siblings,
    siblingDomain,
    keepAliveTimeoutMs: seconds('KEEP_ALIVE_TIMEOUT', 3900, 0.1, 86400),
    requestTimeoutMs: seconds('REQUEST_TIMEOUT', 15, 0.1, 600),
    eventsHeartbeatMs: seconds('EVENTS_HEARTBEAT', 15, 0.05, 300),
    eventsSilenceMs: seconds('EVENTS_SILENCE', 12, 0.1, 600),
    eventsLimit: integer('EVENTS_LIMIT', 1000, 1, 100000),
    drainMs: seconds('DRAIN_SECONDS', 5, 0, 300),
    gracefulTimeoutMs: seconds('GRACEFUL_TIMEOUT', 25, 0.1, 3600),
    logLevel,
    logProbes: flag('LOG_PROBES', true),
  });
  if (config.drainMs >= config.gracefulTimeoutMs) {
    problems.push('DRAIN_SECONDS is not less than GRACEFUL_TIMEOUT, of which it is a part');
  }
  if (problems.length > 0) throw new ConfigError(problems);
  return config;
}
