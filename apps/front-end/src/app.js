// The application: what is answered at which path. It opens no port; server.js does.
import { randomUUID } from 'node:crypto';
import { fileURLToPath } from 'node:url';
import express from 'express';
import { ApiError, ApiRefusal } from './api.js';
import { isFromElsewhere, readDoor } from './door.js';
import { describeError } from './log.js';
import { readErrors } from './problem.js';
import { isEventId } from './events.js';
import { expose } from './metrics.js';
import { PROBES, routeOf } from './paths.js';
import { currentSpan, exemplar, identifiers, streamBegins } from './telemetry.js';
import { DEFAULT_LIMIT, LIMITS, quotesPath } from './views/listing.js';
import { messagePage, quotesPage } from './views/pages.js';

const ASSETS = fileURLToPath(new URL('./public/', import.meta.url));
// The page's script, and what it shares with this program.
const MODULES = ['/live.js', '/html.js', '/quotes.js', '/views/chart.js', '/views/format.js', '/views/listing.js'];
const SOURCES = fileURLToPath(new URL('./', import.meta.url));
const REQUEST_ID = /^[\w.:-]{1,128}$/;
const FORM_FIELDS = ['symbol', 'price', 'currency'];
// A trace through the mesh holds together only when everybody passes these on, or has spans of its own.
const TRACE_HEADERS = [
  'traceparent',
  'tracestate',
  'b3',
  'x-b3-traceid',
  'x-b3-spanid',
  'x-b3-parentspanid',
  'x-b3-sampled',
];

const SECURITY_HEADERS = {
  'Content-Security-Policy':
    "default-src 'none'; script-src 'self'; connect-src 'self'; style-src 'self'; img-src 'self'; form-action 'self'; " +
    "base-uri 'none'; frame-ancestors 'none'",
  'Cross-Origin-Opener-Policy': 'same-origin',
  'Cross-Origin-Resource-Policy': 'same-origin',
  'Permissions-Policy': 'camera=(), geolocation=(), microphone=()',
  // Not no-referrer: browsers would then hide the Origin of our own form.
  'Referrer-Policy': 'same-origin',
  'X-Content-Type-Options': 'nosniff',
};

/** A form or query value as text; what came twice or as a file is no text. */
const text = (value) => (typeof value === 'string' ? value.trim() : '');

function readFilter(query) {
  const limit = Number(text(query.limit));
  return { symbol: text(query.symbol).toUpperCase(), limit: LIMITS.includes(limit) ? limit : DEFAULT_LIMIT };
}

/** The page's status when the API fails: 502 where it answers something that can't be right. */
const statusOf = (error) => (error.outcome === 'unexpected' ? 502 : 503);

/** What the API is told of the visitor's request. */
function passedOn(request) {
  const headers = { 'X-Request-Id': request.id };
  // The call's own span is named instead.
  if (currentSpan()) return headers;
  for (const name of TRACE_HEADERS) {
    if (request.get(name)) headers[name] = request.get(name);
  }
  return headers;
}

/** Gives each request an id, and a log line and figures when it ends, both with its span. */
function observe({ config, logger, metrics }) {
  return (request, response, next) => {
    const begun = process.hrtime.bigint();
    const given = request.get('X-Request-Id') ?? '';
    request.id = REQUEST_ID.test(given) ? given : randomUUID();
    response.set('X-Request-Id', request.id);
    metrics.requestsInProgress.inc();
    const span = currentSpan();
    request.span = span;
    response.once('close', () => {
      const seconds = Number(process.hrtime.bigint() - begun) / 1e9;
      const { method } = request;
      const route = routeOf(request, response);
      // A visitor who left before the end: nginx's number for it. A stream has no end but that.
      const status = response.writableFinished || response.locals.stream ? response.statusCode : 499;
      metrics.requestsInProgress.dec();
      metrics.requests.inc({ method, route, status });
      if (!response.locals.stream) {
        metrics.requestSeconds.observe({ labels: { method, route }, value: seconds, exemplarLabels: exemplar(span) });
      }
      if (PROBES.includes(route) && status < 400 && !config.logProbes) return;
      const [path, query = ''] = request.originalUrl.split(/\?(.*)/s);
      const fields = {
        method,
        path,
        query,
        route,
        status,
        duration_ms: Math.round(seconds * 1e4) / 10,
        bytes: Number(response.get('Content-Length') ?? 0),
        remote_address: request.socket.remoteAddress,
        forwarded_for: request.get('X-Forwarded-For'),
        host: request.get('Host'),
        user_agent: request.get('User-Agent'),
      };
      // A visitor may send kilobytes of each; a line needs no more of them than this.
      for (const [name, value] of Object.entries(fields)) {
        if (typeof value === 'string') fields[name] = value.slice(0, 512);
      }
      logger[status >= 500 ? 'error' : 'info'](`${method} ${fields.path} ${status}`, {
        request_id: request.id,
        ...identifiers(span),
        ...fields,
        ...response.locals.log,
      });
    });
    next();
  };
}

function healthRoutes({ api, lifecycle, metrics }) {
  const routes = express.Router();
  routes.get('/livez', (_request, response) => {
    response.json({ status: 'alive' });
  });
  // Ready means: this process can answer. Were it to depend on the API, an outage there would take every
  // replica out of the load balancer and visitors would get a bare error in place of the page that explains.
  routes.get('/readyz', (_request, response) => {
    response.status(lifecycle.draining ? 503 : 200);
    response.json({ status: lifecycle.draining ? 'draining' : 'ready', api: api.state });
  });
  routes.get('/metrics', async (request, response) => {
    const { type, text } = await expose(metrics.registry, request.get('Accept'));
    response.type(type).send(text);
  });
  return routes;
}

export function createApp({ config, api, events, logger, metrics, lifecycle }) {
  const app = express();
  app.disable('x-powered-by');
  app.disable('etag');
  app.set('query parser', 'simple');
  app.set('trust proxy', config.trustedProxies);

  const siteOf = (request) => ({ config, door: request.door ?? null, requestId: request.id });

  function send(response, status, page) {
    response.status(status);
    if (status === 503) response.set('Retry-After', '5');
    response.type('html').send(page);
  }

  /** Answers with the quotes page, or with the same page without quotes and the reason when the API is away. */
  async function sendQuotes(request, response, { status = 200, filter, ...model }) {
    try {
      const found = await api.listQuotes(filter, passedOn(request));
      send(response, status, quotesPage(siteOf(request), { ...found, filter, ...model }));
    } catch (error) {
      if (error instanceof ApiRefusal) {
        const filterErrors = readErrors(error, ['symbol']);
        send(response, 400, quotesPage(siteOf(request), { quotes: null, filter, filterErrors, ...model }));
      } else if (error instanceof ApiError) {
        response.locals.log = { reason: error.message };
        const problem = { title: 'The quotes can’t be shown just now', detail: error.message, link: 'Try again' };
        send(response, statusOf(error), quotesPage(siteOf(request), { quotes: null, filter, problem, ...model }));
      } else {
        throw error;
      }
    }
  }

  async function addQuote(request, response) {
    const body = request.body ?? {};
    const values = Object.fromEntries(FORM_FIELDS.map((name) => [name, text(body[name])]));
    values.currency = values.currency.toUpperCase();
    const quote = Object.fromEntries(Object.entries(values).filter(([, value]) => value !== ''));
    const filter = { symbol: '', limit: DEFAULT_LIMIT };
    try {
      const { symbol } = await api.addQuote(quote, passedOn(request));
      response.redirect(303, quotesPath({ symbol, added: symbol }));
    } catch (error) {
      if (error instanceof ApiRefusal) {
        await sendQuotes(request, response, {
          status: 422,
          filter,
          form: { values, errors: readErrors(error, FORM_FIELDS) },
        });
      } else if (error instanceof ApiError) {
        response.locals.log = { reason: error.message };
        const known = error.neverSent
          ? 'The quote was not added.'
          : 'Whether the quote was added is not known: look at the quotes before you send it again.';
        const detail = `${error.message} ${known}`;
        const problem = { title: 'The quote could not be passed on', detail, link: 'To the quotes' };
        const form = { values, errors: [] };
        send(response, statusOf(error), quotesPage(siteOf(request), { quotes: null, filter, problem, form }));
      } else {
        throw error;
      }
    }
  }

  app.use(observe({ config, logger, metrics }));
  app.use((_request, response, next) => {
    response.set(SECURITY_HEADERS).set('Cache-Control', 'no-store');
    next();
  });
  app.use(healthRoutes({ api, lifecycle, metrics }));
  // Checked again each time: during an update two versions answer, and a page needs the style of its own.
  const filesOf = (folder) =>
    express.static(folder, {
      index: false,
      redirect: false,
      cacheControl: false,
      setHeaders: (response) => response.setHeader('Cache-Control', 'no-cache'),
    });
  const [assets, sources] = [filesOf(ASSETS), filesOf(SOURCES)];
  app.use('/assets', (request, response, next) => {
    response.locals.route = '/assets/';
    (MODULES.includes(request.path) ? sources : assets)(request, response, next);
  });
  app.use((request, response, next) => {
    request.door = readDoor(request);
    if (request.door) return next();
    const detail = 'The Host header of the request is missing or is no host name.';
    return send(response, 400, messagePage(siteOf(request), { title: 'Bad request', detail }));
  });

  app.get('/events', (request, response) => {
    // A browser that comes again sends the header, and the same query as at first.
    const after = request.get('Last-Event-ID') || text(request.query.after);
    if (after && !isEventId(after)) {
      const detail = 'The id of the last event is none.';
      return send(response, 400, messagePage(siteOf(request), { title: 'Bad request', detail }));
    }
    if (events.full) {
      const detail = 'As many visitors watch as this program can serve.';
      return send(response, 503, messagePage(siteOf(request), { title: 'Too many visitors', detail }));
    }
    if (request.method === 'HEAD') return response.type('text/event-stream').end();
    response.locals.stream = true;
    return events.open(response, after, () => streamBegins(request, response));
  });

  app
    .route('/')
    .get(async (request, response) => {
      const added = text(request.query.added);
      await sendQuotes(request, response, { filter: readFilter(request.query), added });
    })
    .post(
      (request, response, next) => {
        if (!isFromElsewhere(request, request.door)) return next();
        const detail = 'The form was sent from a page of another site. Fill in the form on this one.';
        return send(response, 403, messagePage(siteOf(request), { title: 'The quote was not added', detail }));
      },
      express.urlencoded({ extended: false, limit: '10kb', parameterLimit: 20 }),
      addQuote,
    )
    .all((request, response) => {
      response.set('Allow', 'GET, HEAD, POST');
      const detail = `This page has no method ${request.method}.`;
      send(response, 405, messagePage(siteOf(request), { title: 'Method not allowed', detail }));
    });

  app.use((request, response) => {
    const detail = 'There is no page at this address.';
    send(response, 404, messagePage(siteOf(request), { title: 'Page not found', detail }));
  });

  // Express knows an error handler by its four parameters.
  app.use((error, request, response, next) => {
    if (response.headersSent) return next(error);
    const status = error.status >= 400 && error.status < 500 ? error.status : 500;
    if (status === 500) response.locals.log = { error: describeError(error) };
    const [title, detail] =
      status === 500
        ? ['Something went wrong here', 'The fault is in this program. Its log has more under the request’s id.']
        : ['Bad request', 'The request can’t be read.'];
    return send(response, status, messagePage(siteOf(request), { title, detail }));
  });

  return app;
}
