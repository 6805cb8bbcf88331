// New quotes for many visitors: one stream from the API, passed on to all of them.
import { setTimeout as sleep } from 'node:timers/promises';
import { apart, deliver } from './telemetry.js';

const ID = /^\d{1,20}-\d{1,20}$/;
// Events that are kept for visitors who come again.
const MOST_KEPT = 1000;
// Bytes that may wait for a visitor; who takes less than comes is cut, and goes on after the last event when it comes again.
const MOST_WAITING = 256 * 1024;
const PORTION = 500;
// Milliseconds. Visitors come again spread over these times: after a cut, and after the end of this process.
const RETRY = { least: 500, most: 1200 };
const RETRY_AFTER_END = { least: 100, most: 700 };
// The end of streams, when the process is to stop, is spread over this.
const END_WITHIN = 800;
const LONGEST_DELAY = 2000;

export const isEventId = (text) => ID.test(text);

/** Like a sort function's result: ids grow from event to event. */
export function compareIds(one, other) {
  const [a, b] = [one, other].map((id) => id.split('-').map(BigInt));
  if (a[0] !== b[0]) return a[0] < b[0] ? -1 : 1;
  if (a[1] !== b[1]) return a[1] < b[1] ? -1 : 1;
  return 0;
}

const between = ({ least, most }) => Math.round(least + Math.random() * (most - least));

/** Reads server-sent events: takes text in any pieces and gives {id, event, data} of each whole one. */
export class EventReader {
  #rest = '';

  read(text) {
    const blocks = (this.#rest + text).split('\n\n');
    this.#rest = blocks.pop();
    return blocks.map((block) => {
      const fields = {};
      for (const line of block.split('\n')) {
        const [, name, value] = /^([^:]+):? ?(.*)$/.exec(line) ?? [];
        if (name) fields[name] = value;
      }
      return fields;
    });
  }
}

const asText = ({ id, event, data }) => `id: ${id}\nevent: ${event}\ndata: ${data}\n\n`;

/**
 * `floor` and `position`: ids; all events after the first up to the second are in `kept`. A visitor is live when all
 * events up to the position have been sent to it; `last` is the id up to which they have.
 */
export class EventHub {
  #api;
  #logger;
  #metrics;
  #heartbeatMs;
  #silenceMs;
  #retryDelayMs;
  #limit;
  #visitors = new Set();
  #kept = [];
  #floor;
  #position;
  #running = false;
  #draining = false;
  #abort;
  #heart;

  constructor({ api, logger, metrics, heartbeatMs, silenceMs, retryDelayMs, limit }) {
    this.#api = api;
    this.#logger = logger;
    this.#metrics = metrics;
    this.#heartbeatMs = heartbeatMs;
    this.#silenceMs = silenceMs;
    this.#retryDelayMs = retryDelayMs;
    this.#limit = limit;
  }

  /** Whether one more visitor may come. */
  get full() {
    return this.#visitors.size >= this.#limit;
  }

  /**
   * Streams to a visitor all events after an id, or from now on where it is ''. `onBegin` is called when the answer has
   * begun, and gives the span context that deliveries are linked to, if any.
   */
  open(response, after, onBegin = () => undefined) {
    response.status(200).set({
      'Content-Type': 'text/event-stream',
      // Nobody on the way may keep it back to compress it, or to pass it on in one piece.
      'Cache-Control': 'no-store, no-transform',
      'X-Accel-Buffering': 'no',
    });
    response.flushHeaders();
    const span = onBegin();
    if (this.#draining) {
      // Not an error, after which browsers would not come again.
      response.end(`retry: ${between(RETRY_AFTER_END)}\n\n`);
      return;
    }
    const visitor = { response, span, last: after || undefined, live: false, gone: false };
    this.#visitors.add(visitor);
    this.#metrics.eventStreams.set(this.#visitors.size);
    response.once('close', () => {
      visitor.gone = true;
      this.#visitors.delete(visitor);
      this.#metrics.eventStreams.set(this.#visitors.size);
    });
    this.#write(visitor, `retry: ${between(RETRY)}\n\n`);
    this.#heart ??= setInterval(() => this.#beat(), this.#heartbeatMs).unref();
    if (!this.#running) apart(() => this.#follow());
    this.#join(visitor);
  }

  /** Ends the streams; those that come meanwhile are sent on at once. */
  drain() {
    this.#draining = true;
    for (const visitor of this.#visitors) {
      setTimeout(() => {
        if (!visitor.gone) visitor.response.end(`retry: ${between(RETRY_AFTER_END)}\n\n`);
      }, Math.random() * END_WITHIN);
    }
    setTimeout(() => this.close(), END_WITHIN).unref();
  }

  /** Leaves the API. */
  close() {
    this.#draining = true;
    clearInterval(this.#heart);
    this.#abort?.abort();
  }

  #write(visitor, text) {
    visitor.response.write(text);
    if (visitor.response.writableLength <= MOST_WAITING) return;
    this.#metrics.eventStreamsCut.inc();
    visitor.response.destroy();
  }

  #beat() {
    for (const visitor of this.#visitors) this.#write(visitor, ': heartbeat\n\n');
  }

  /** Sends events to those of the visitors who have not got them yet. */
  #send(visitors, events) {
    for (const event of events) {
      const missing = visitors.filter(({ last }) => last === undefined || compareIds(event.id, last) > 0);
      if (missing.length > 0) deliver(event, missing, () => this.#sendOne(missing, event));
    }
  }

  #sendOne(visitors, event) {
    const text = asText(event);
    this.#metrics.eventsSent.inc(visitors.length);
    for (const visitor of visitors) {
      visitor.last = event.id;
      this.#write(visitor, text);
    }
  }

  #sendReset(visitor, id) {
    visitor.last = id;
    this.#write(visitor, asText({ id, event: 'reset', data: '{}' }));
  }

  /** Brings a visitor to where the stream is: with what is kept here, or with what the API has. */
  async #join(visitor) {
    while (!visitor.gone && !this.#draining) {
      const known = this.#position !== undefined;
      if (known) visitor.last ??= this.#position;
      if (known && this.#covers(visitor.last)) return this.#goLive(visitor);
      if (visitor.last !== undefined && (await this.#catchUp(visitor))) {
        // As new as the API: what came here meanwhile is newer, or was sent.
        if (this.#position !== undefined && compareIds(visitor.last, this.#floor) >= 0) return this.#goLive(visitor);
      }
      await sleep(this.#retryDelayMs, undefined, { ref: false });
    }
    return undefined;
  }

  #goLive(visitor) {
    this.#send([visitor], this.#kept);
    visitor.live = true;
    // Told at once, so that nothing is lost where the connection breaks before the first event.
    this.#write(visitor, `id: ${visitor.last}\n\n`);
  }

  #covers(id) {
    return compareIds(id, this.#floor) >= 0 && compareIds(id, this.#position) <= 0;
  }

  /** Sends what the API has after the visitor's last event; true when that is all there is. */
  async #catchUp(visitor) {
    try {
      for (;;) {
        const { events, gone, last } = await this.#api.listEvents({ after: visitor.last, limit: PORTION });
        if (visitor.gone) return false;
        if (gone) this.#sendReset(visitor, last);
        this.#send([visitor], events);
        if (events.length < PORTION) return true;
      }
    } catch (error) {
      this.#logger.warning('events can’t be read', { reason: error.message });
      return false;
    }
  }

  /** Follows the API's stream as long as the process lives. */
  async #follow() {
    this.#running = true;
    let delay = this.#retryDelayMs;
    while (!this.#draining) {
      let reason = 'the API ended it';
      try {
        this.#abort = new AbortController();
        await this.#read(this.#abort, () => {
          delay = this.#retryDelayMs;
        });
      } catch (error) {
        reason = error.message;
      }
      this.#metrics.eventsUp.set(0);
      if (this.#draining) return;
      this.#logger.warning('the stream of events broke', { reason, delay_ms: delay });
      await sleep(delay * (0.5 + Math.random() / 2), undefined, { ref: false });
      delay = Math.min(delay * 2 + 1, LONGEST_DELAY);
    }
  }

  async #read(abort, onBegin) {
    const silent = () => abort.abort(new Error(`nothing came for ${this.#silenceMs / 1000} s`));
    let timer = setTimeout(silent, this.#silenceMs);
    try {
      const body = await this.#api.openEvents({ after: this.#position, signal: abort.signal });
      const reader = new EventReader();
      const decoder = new TextDecoder();
      for await (const part of body) {
        clearTimeout(timer);
        timer = setTimeout(silent, this.#silenceMs);
        for (const event of reader.read(decoder.decode(part, { stream: true }))) {
          onBegin();
          this.#metrics.eventsUp.set(1);
          this.#take(event);
        }
      }
    } finally {
      clearTimeout(timer);
    }
  }

  /** `context`: fields that name the span that published it. */
  #take({ id, event, data, ...context }) {
    if (id === undefined || !isEventId(id)) return;
    if (event === 'reset') {
      this.#kept = [];
      this.#floor = id;
      this.#position = id;
      for (const visitor of this.#visitors) {
        if (visitor.live) this.#sendReset(visitor, id);
      }
      return;
    }
    if (this.#position === undefined) {
      this.#floor = id;
      this.#position = id;
    }
    if (event !== 'quote' || compareIds(id, this.#position) <= 0) return;
    this.#position = id;
    const quote = { ...context, id, event, data };
    this.#kept.push(quote);
    if (this.#kept.length > MOST_KEPT) this.#floor = this.#kept.shift().id;
    this.#send([...this.#visitors].filter(({ live }) => live), [quote]);
  }
}
