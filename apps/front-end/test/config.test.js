import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import test from 'node:test';
import { ConfigError, readConfig } from '../src/config.js';

test('an empty environment gives what the README says', () => {
  const config = readConfig({});
  assert.equal(config.port, 3000);
  assert.equal(config.apiUrl, 'http://business-logic:8000');
  assert.equal(config.apiTimeoutMs, 3000);
  assert.equal(config.drainMs, 5000);
  assert.deepEqual(config.trustedProxies, []);
  assert.deepEqual(config.siblings, ['sandbox']);
  const { version } = JSON.parse(readFileSync(new URL('../package.json', import.meta.url), 'utf8'));
  assert.equal(config.version, version);
});

test('every variable that the program reads is in the README, and no other', () => {
  const read = new Set(['PORT']);
  const probe = new Proxy({}, { get: (_target, name) => void read.add(name) });
  readConfig(probe);
  const readme = readFileSync(new URL('../README.md', import.meta.url), 'utf8');
  const documented = [...readme.matchAll(/^\| `([A-Z_]+)` \|/gm)].map((match) => match[1]);
  assert.deepEqual(documented.sort(), [...read].sort());
});

test('everything wrong is named at once', () => {
  const env = {
    PORT: '70000',
    API_URL: 'business-logic:8000',
    API_TIMEOUT: 'soon',
    LOG_LEVEL: 'loud',
    LOG_PROBES: 'maybe',
    TRUSTED_PROXIES: '10.244.0.0/16,nonsense',
    SIBLINGS: 'sand box',
    SIBLING_DOMAIN: 'local/host',
    DRAIN_SECONDS: '30',
  };
  assert.throws(
    () => readConfig(env),
    (error) => {
      assert(error instanceof ConfigError);
      assert.equal(error.problems.length, Object.keys(env).length, error.problems.join('\n'));
      for (const name of Object.keys(env)) assert(error.problems.some((problem) => problem.startsWith(name)), name);
      assert.match(error.message, /TRUSTED_PROXIES has "nonsense"/);
      return true;
    },
  );
});
