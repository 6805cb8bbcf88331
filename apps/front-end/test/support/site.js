// The website as the tests use it: on a free port, its log lines kept.
import { request as httpRequest } from 'node:http';
import { once } from 'node:events';
import { readConfig } from '../../src/config.js';
import { startServer } from '../../src/server.js';

const FAST = { PORT: '0', API_RETRY_DELAY: '0.01', API_TIMEOUT: '2', DRAIN_SECONDS: '0', GRACEFUL_TIMEOUT: '2' };

/** An address where nothing listens. */
export const NOBODY = 'http://127.0.0.1:1';

/** One HTTP request with any header, Host included: {status, headers, body}. */
export async function ask(port, path, { method = 'GET', headers = {}, body, agent = false } = {}) {
  const request = httpRequest({ host: '127.0.0.1', port, path, method, headers, agent });
  request.end(body);
  const [response] = await once(request, 'response');
  let text = '';
  response.setEncoding('utf8');
  for await (const chunk of response) text += chunk;
  return { status: response.statusCode, headers: response.headers, body: text };
}

/** Starts the website in front of `apiUrl`: {port, get, post, lines}; `lines` are the parsed log lines. */
export async function startSite(t, apiUrl, env = {}) {
  const lines = [];
  const stream = { write: (line) => lines.push(JSON.parse(line)) };
  const config = readConfig({ ...FAST, API_URL: apiUrl, ...env });
  const { server, port, lifecycle } = await startServer(config, { stream, defaultMetrics: false });
  t.after(() => {
    server.closeAllConnections();
    return new Promise((resolve) => server.close(resolve));
  });
  const get = (path, options) => ask(port, path, { headers: { Host: `website.localhost:${port}` }, ...options });
  const post = (fields, headers = {}) =>
    ask(port, '/', {
      method: 'POST',
      headers: {
        Host: `website.localhost:${port}`,
        'Content-Type': 'application/x-www-form-urlencoded',
        ...headers,
      },
      body: new URLSearchParams(fields).toString(),
    });
  return { port, get, post, lines, lifecycle };
}

/** The text of a page without its markup, spaces and apostrophes made plain. */
export const words = (page) =>
  page
    .replace(/<[^>]*>/g, ' ')
    .replaceAll('&#39;', "'")
    .replace(/\s+/g, ' ')
    .trim();
