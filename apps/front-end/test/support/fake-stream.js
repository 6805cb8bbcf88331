// A stand-in for the API with its stream of events, which a test publishes, cuts and loses.
import { json, startFakeApi } from './fake-api.js';

const number = (id) => Number(id.split('-')[0]);

/** {url, publish(price), cut(), trim(count), asked}: `asked` has the Last-Event-ID of each opening of the stream. */
export async function startFakeStream(t, { heartbeatMs = 100 } = {}) {
  const state = { events: [], trimmed: 0, streams: new Set(), asked: [], away: false, next: 1 };
  const last = () => `${state.next - 1}-0`;
  const gone = (after) => number(after) < state.trimmed || number(after) >= state.next;
  const text = ({ id, quote, ...context }) => {
    const fields = Object.entries(context).map(([name, value]) => `${name}: ${value}\n`).join('');
    return `id: ${id}\nevent: quote\ndata: ${JSON.stringify(quote)}\n${fields}\n`;
  };
  const since = (after) => state.events.filter(({ id }) => number(id) > number(after));

  const api = await startFakeApi(t, (request, response) => {
    const url = new URL(request.url, 'http://api');
    if (state.away) return json(response, 503, { title: 'away' }, 'application/problem+json');
    if (url.pathname === '/api/quotes/events/recent/') {
      const [after, limit] = [url.searchParams.get('after'), Number(url.searchParams.get('limit'))];
      if (gone(after)) return json(response, 410, { title: 'gone', last_event_id: last() }, 'application/problem+json');
      return json(response, 200, { events: since(after).slice(0, limit), last_event_id: last() });
    }
    if (url.pathname === '/api/quotes/events/stream/') {
      const after = request.headers['last-event-id'];
      state.asked.push(after);
      response.writeHead(200, { 'Content-Type': 'text/event-stream' });
      response.write(`retry: 1000\nid: ${after ?? last()}\n\n`);
      if (after && gone(after)) response.write(`id: ${last()}\nevent: reset\ndata: {}\n\n`);
      else if (after) response.write(since(after).map(text).join(''));
      state.streams.add(response);
      response.on('close', () => state.streams.delete(response));
      return undefined;
    }
    return json(response, 200, { quotes: [], last_event_id: last() });
  });
  const heart = setInterval(() => {
    if (!state.silent) for (const stream of state.streams) stream.write(': heartbeat\n\n');
  }, heartbeatMs);
  t.after(() => clearInterval(heart));

  return Object.assign(state, {
    url: api.url,
    api,
    last,
    /** `context`: what names the span that publishes it. */
    publish(price, symbol = 'ACME', context = {}) {
      const moment = new Date(Date.UTC(2026, 10, 23) + state.next * 1000).toISOString();
      const quote = { symbol, price: String(price), currency: 'EUR', quoted_at: moment };
      const event = { id: `${state.next}-0`, quote, ...context };
      state.next += 1;
      state.events.push(event);
      for (const stream of state.streams) stream.write(text(event));
      return event.id;
    },
    cut() {
      for (const stream of state.streams) stream.destroy();
    },
    trim(count) {
      state.trimmed = number(state.events[count - 1].id);
      state.events.splice(0, count);
    },
  });
}
