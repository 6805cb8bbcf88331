// One JSON object per line on standard output, for a log collector to read.
import { LOG_LEVELS } from './config.js';
import { identifiers } from './telemetry.js';

/** @returns an object with a method per level: log.info(message, fields) */
export function createLogger({ level = 'info', stream = process.stdout } = {}) {
  const lowest = LOG_LEVELS.indexOf(level);
  const write = (name) => (message, fields = {}) => {
    if (LOG_LEVELS.indexOf(name) < lowest) return;
    const time = new Date().toISOString();
    const line = { time, level: name, logger: 'front_end', message, ...identifiers(), ...fields };
    stream.write(`${JSON.stringify(line)}\n`);
  };
  return Object.fromEntries(LOG_LEVELS.map((name) => [name, write(name)]));
}

/** What a log line keeps of an error. */
export function describeError(error) {
  return { type: error?.name ?? typeof error, message: String(error?.message ?? error), stack: error?.stack };
}
