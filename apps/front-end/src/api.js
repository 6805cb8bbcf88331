// The client of the business-logic API: a time limit on every attempt, one more attempt where that is safe.
import { setTimeout as sleep } from 'node:timers/promises';
import { isEventId } from './events.js';
import { readQuote } from './quotes.js';
import { opening } from './telemetry.js';

// Errors before a byte was sent: even a POST may be tried again.
const NEVER_SENT = new Set(['ECONNREFUSED', 'ENOTFOUND', 'EAI_AGAIN', 'EHOSTUNREACH', 'ENETUNREACH']);
const UNAVAILABLE = new Set([502, 503, 504]);
const ATTEMPTS = 2;

const WORDS = {
  ECONNREFUSED: 'nothing listens at its address',
  ENOTFOUND: 'its name is not known here',
  EAI_AGAIN: 'the name service does not answer',
  EHOSTUNREACH: 'there is no way to its address',
  ENETUNREACH: 'there is no way to its address',
  ECONNRESET: 'it closed the connection',
  UND_ERR_SOCKET: 'it closed the connection',
  UND_ERR_CONNECT_TIMEOUT: 'its address does not answer',
};

/** The API could not do its work. `outcome`: unreachable, timeout, unavailable or unexpected. */
export class ApiError extends Error {
  constructor(outcome, message, { code, status, neverSent = false } = {}) {
    super(message);
    this.name = 'ApiError';
    this.outcome = outcome;
    this.code = code;
    this.status = status;
    this.neverSent = neverSent;
  }
}

/** The API did its work and found fault with what the visitor asked for. */
export class ApiRefusal extends Error {
  /** @param problem the application/problem+json document */
  constructor(status, problem) {
    super(problem.detail || problem.title || `The quotes API refused (status ${status}).`);
    this.name = 'ApiRefusal';
    this.outcome = 'refused';
    this.status = status;
    this.problem = problem;
  }
}

function fromNetwork(error, timeoutMs) {
  if (error.name === 'TimeoutError') {
    return new ApiError('timeout', `The quotes API did not answer within ${timeoutMs / 1000} s.`);
  }
  const code = error.cause?.code ?? error.code;
  const words = WORDS[code] ?? 'the connection failed';
  const message = `The quotes API can't be reached: ${words}${code ? ` (${code})` : ''}.`;
  return new ApiError('unreachable', message, { code, neverSent: NEVER_SENT.has(code) });
}

function parseJson(text) {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

/** The JSON of a 2xx answer; everything else is thrown. */
function judge(status, body) {
  if (status >= 200 && status < 300 && body !== undefined) return body;
  const problem = typeof body === 'object' && body !== null ? body : {};
  if (status === 409 || status === 410 || status === 422 || (status === 400 && problem.errors)) throw new ApiRefusal(status, problem);
  const words = problem.detail || problem.title;
  const message = `The quotes API answered with status ${status}${words ? `: ${words}` : ', which is not understood.'}`;
  throw new ApiError(status >= 500 ? 'unavailable' : 'unexpected', message, { status });
}

function mayTryAgain(error, method) {
  if (!(error instanceof ApiError)) return false;
  if (error.neverSent) return true;
  if (method !== 'GET') return false;
  return ['unreachable', 'timeout'].includes(error.outcome) || UNAVAILABLE.has(error.status);
}

export class QuotesApi {
  /** What the last call found: unknown, reachable or failing. Nobody calls the API only to learn this. */
  state = { status: 'unknown' };
  #baseUrl;
  #timeoutMs;
  #retryDelayMs;
  #metrics;

  constructor({ baseUrl, timeoutMs, retryDelayMs, metrics }) {
    this.#baseUrl = baseUrl;
    this.#timeoutMs = timeoutMs;
    this.#retryDelayMs = retryDelayMs;
    this.#metrics = metrics;
  }

  /**
   * {quotes: the newest, newest first, position: the id of the last event they include, or ''}. `headers` are passed on:
   * the request id and those of tracing.
   */
  async listQuotes({ symbol, limit }, headers) {
    const query = new URLSearchParams({ limit });
    if (symbol) query.set('symbol', symbol);
    const body = await this.#call('GET', `api/quotes/?${query}`, { headers });
    const quotes = Array.isArray(body?.quotes) ? body.quotes.map(readQuote) : [null];
    if (quotes.includes(null)) {
      throw new ApiError('unexpected', 'The quotes API gave an answer that has no list of quotes.');
    }
    const position = isEventId(body.last_event_id) ? body.last_event_id : '';
    return { quotes: quotes.sort((a, b) => b.quotedAt - a.quotedAt), position };
  }

  /** {events: the first after an id, each {id, event, data, traceparent …}; last: the newest one's id; gone: some are not there}. */
  async listEvents({ after, limit }) {
    try {
      const body = await this.#call('GET', `api/quotes/events/recent/?${new URLSearchParams({ after, limit })}`, {});
      const sound = Array.isArray(body.events) && body.events.every(({ id }) => isEventId(id));
      if (!sound) throw new ApiError('unexpected', 'The quotes API gave an answer that has no list of events.');
      const events = body.events.map(({ quote, ...rest }) => ({ ...rest, event: 'quote', data: JSON.stringify(quote) }));
      return { events, last: body.last_event_id, gone: false };
    } catch (error) {
      const last = error instanceof ApiRefusal && error.status === 410 ? error.problem.last_event_id : undefined;
      if (!isEventId(last)) throw error;
      return { events: [], last, gone: true };
    }
  }

  /** The body of the API's stream of events after an id, or from now on; it ends or throws when the stream does. */
  async openEvents({ after, signal }) {
    const url = this.#urlOf('api/quotes/events/stream/');
    const headers = { Accept: 'text/event-stream', Connection: 'close', ...(after && { 'Last-Event-ID': after }) };
    const attributes = {
      'http.request.method': 'GET',
      'url.full': url.href,
      'server.address': url.hostname,
      'server.port': Number(url.port) || (url.protocol === 'https:' ? 443 : 80),
    };
    try {
      const response = await opening(attributes, (tracing) =>
        fetch(url, { redirect: 'manual', signal, headers: { ...headers, ...tracing } }),
      );
      if (response.status !== 200) {
        await response.body?.cancel();
        const outcome = response.status >= 500 ? 'unavailable' : 'unexpected';
        throw new ApiError(outcome, `The quotes API answered with status ${response.status}.`);
      }
      this.#metrics.apiRequests.inc({ method: 'GET', outcome: 'ok' });
      return response.body;
    } catch (error) {
      const known = error instanceof ApiError || signal.aborted ? error : fromNetwork(error, this.#timeoutMs);
      this.#metrics.apiRequests.inc({ method: 'GET', outcome: known.outcome ?? 'timeout' });
      throw known;
    }
  }

  #urlOf(path) {
    return new URL(path, this.#baseUrl.replace(/\/*$/, '/'));
  }

  /** The quote as the API keeps it; throws ApiRefusal where it found fault with it. */
  async addQuote(quote, headers) {
    const added = await this.#call('POST', 'api/quotes/', {
      headers: { ...headers, 'Content-Type': 'application/json' },
      body: JSON.stringify(quote),
    });
    if (typeof added?.symbol === 'string') return added;
    throw new ApiError('unexpected', 'The quotes API gave an answer that is no quote.');
  }

  async #call(method, path, options) {
    for (let attempt = 1; ; attempt += 1) {
      try {
        const body = await this.#attempt(method, path, options);
        this.#note('reachable');
        return body;
      } catch (error) {
        if (error instanceof ApiRefusal) this.#note('reachable');
        else this.#note('failing', error.message);
        if (attempt === ATTEMPTS || !mayTryAgain(error, method)) throw error;
      }
      await sleep(this.#retryDelayMs);
    }
  }

  #note(status, reason) {
    this.state = { status, at: new Date(), reason };
    this.#metrics.apiUp.set(status === 'reachable' ? 1 : 0);
  }

  async #attempt(method, path, { headers, body }) {
    const stopTimer = this.#metrics.apiSeconds.startTimer({ method });
    let outcome = 'ok';
    try {
      const url = this.#urlOf(path);
      let response;
      let text;
      try {
        response = await fetch(url, {
          method,
          body,
          redirect: 'manual',
          signal: AbortSignal.timeout(this.#timeoutMs),
          // A connection per call: replicas get even shares, and none is reused that the API is about to close.
          headers: { ...headers, Accept: 'application/json, application/problem+json', Connection: 'close' },
        });
        text = await response.text();
      } catch (error) {
        throw fromNetwork(error, this.#timeoutMs);
      }
      return judge(response.status, parseJson(text));
    } catch (error) {
      outcome = error.outcome ?? 'error';
      throw error;
    } finally {
      stopTimer();
      this.#metrics.apiRequests.inc({ method, outcome });
    }
  }
}
