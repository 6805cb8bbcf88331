// The program as Kubernetes runs it: a process that gets SIGTERM.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { Agent } from 'node:http';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import test from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { json, quotesOf, startFakeApi } from './support/fake-api.js';
import { ask } from './support/site.js';

const MAIN = fileURLToPath(new URL('../src/main.js', import.meta.url));
const QUOTES = quotesOf('ACME', ['1.0000', '2.0000']);

/** {port, lines, child, ended: promise of [code, signal]} of a process; port is undefined if it never listened. */
async function startProcess(t, env) {
  const child = spawn(process.execPath, [MAIN], {
    env: { PATH: process.env.PATH, PORT: '0', ...env },
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const ended = once(child, 'exit');
  t.after(() => child.kill('SIGKILL'));
  const lines = [];
  const listening = new Promise((resolve) => {
    createInterface(child.stdout).on('line', (text) => {
      const line = JSON.parse(text);
      lines.push(line);
      if (line.message === 'listening') resolve(line.port);
    });
  });
  const port = await Promise.race([listening, ended.then(() => undefined)]);
  return { port, lines, child, ended };
}

test('SIGTERM under steady requests: none is lost, connections end, exit code 0', async (t) => {
  const api = await startFakeApi(t, async (_request, response) => {
    await sleep(20);
    json(response, 200, { quotes: QUOTES });
  });
  const site = await startProcess(t, { API_URL: api.url, DRAIN_SECONDS: '4' });
  const agent = new Agent({ keepAlive: true, maxSockets: 4 });
  t.after(() => agent.destroy());
  const statuses = [];
  const failures = [];
  let steady = true;
  // As a load balancer does: it asks until it sees that the process is not ready.
  const visitor = async () => {
    while (steady) {
      try {
        statuses.push((await ask(site.port, '/', { agent })).status);
      } catch (error) {
        failures.push(error);
      }
    }
  };
  const visitors = [visitor(), visitor(), visitor(), visitor()];
  while (statuses.length + failures.length < 20) await sleep(10);
  const before = statuses.length;
  site.child.kill('SIGTERM');
  while ((await ask(site.port, '/readyz')).status !== 503) await sleep(10);
  await sleep(100);
  steady = false;
  await Promise.all(visitors);
  const [code] = await site.ended;
  assert.deepEqual(failures, []);
  assert.equal(code, 0);
  assert(statuses.length > before, 'requests were answered after the signal');
  assert(statuses.every((status) => status === 200));
  assert.deepEqual(site.lines.slice(-1).map((line) => [line.message, line.all_requests_answered]), [['stopped', true]]);
});

test('a request that is being answered is answered to the end', async (t) => {
  const api = await startFakeApi(t, async (_request, response) => {
    await sleep(700);
    json(response, 200, { quotes: QUOTES });
  });
  const site = await startProcess(t, { API_URL: api.url, DRAIN_SECONDS: '0' });
  const agent = new Agent({ keepAlive: true });
  t.after(() => agent.destroy());
  const page = ask(site.port, '/', { agent });
  while (api.received.length === 0) await sleep(10);
  site.child.kill('SIGTERM');
  const answer = await page;
  assert.equal(answer.status, 200);
  const [code] = await site.ended;
  assert.equal(code, 0);
  await assert.rejects(ask(site.port, '/livez'), { code: 'ECONNREFUSED' });
});

test('an idle keep-alive connection does not hold the process', async (t) => {
  const api = await startFakeApi(t, QUOTES);
  const site = await startProcess(t, { API_URL: api.url, DRAIN_SECONDS: '0' });
  const agent = new Agent({ keepAlive: true });
  t.after(() => agent.destroy());
  assert.equal((await ask(site.port, '/', { agent })).status, 200);
  const begun = Date.now();
  site.child.kill('SIGTERM');
  const [code] = await site.ended;
  assert.equal(code, 0);
  // Far from the time after which it would be cut: 25 seconds.
  assert(Date.now() - begun < 15000);
});

test('a request without end is cut at the deadline, and the exit code tells', async (t) => {
  const api = await startFakeApi(t, () => {});
  const times = { API_TIMEOUT: '30', DRAIN_SECONDS: '0', GRACEFUL_TIMEOUT: '0.3' };
  const site = await startProcess(t, { API_URL: api.url, ...times });
  const page = ask(site.port, '/').catch((error) => error);
  while (api.received.length === 0) await sleep(10);
  site.child.kill('SIGTERM');
  const [code] = await site.ended;
  assert.equal(code, 1);
  assert((await page) instanceof Error);
  assert.equal(site.lines.find(({ message }) => message === 'stopped').all_requests_answered, false);
});

test('settings that are wrong end the process with all of them named', async (t) => {
  const site = await startProcess(t, { API_URL: 'nowhere', PORT: 'x' });
  const [code] = await site.ended;
  assert.equal(code, 1);
  assert.equal(site.lines[0].message, 'settings are not valid');
  assert.equal(site.lines[0].problems.length, 2);
});

test('a port in use ends the process with a clear line', async (t) => {
  const api = await startFakeApi(t);
  const first = await startProcess(t, { API_URL: api.url });
  const second = await startProcess(t, { API_URL: api.url, PORT: String(first.port) });
  const [code] = await second.ended;
  assert.equal(code, 1);
  assert.equal(second.lines[0].message, 'the port can’t be opened');
  assert.match(second.lines[0].error.message, /EADDRINUSE/);
});
