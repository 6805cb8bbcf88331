// The page's script: draws the quotes anew when one comes. Without it the page shows what there was when it was asked for.
import { keyOf, readQuote, withQuote, writeQuote } from './quotes.js';
import { listing } from './views/listing.js';

// Milliseconds before a stream is opened again that the browser has given up, and before the page is asked for anew: spread,
// because what cuts one visitor's stream cuts many.
const SPREAD = { least: 500, most: 1500 };
const LIVE = 'Live: new quotes appear by themselves.';
const AWAY = 'New quotes don’t come at the moment; trying again.';

const somewhat = () => SPREAD.least + Math.random() * (SPREAD.most - SPREAD.least);

class Live {
  #region;
  #status;
  #filter;
  #quotes;
  #last;
  #source;
  #fresh = new Set();
  #drawing = false;

  constructor(region, status) {
    this.#region = region;
    this.#status = status;
    this.#read(region);
  }

  /** Take up what the server has drawn. */
  #read({ dataset }) {
    this.#filter = { symbol: dataset.symbol, limit: Number(dataset.limit) };
    const rows = [...this.#region.querySelectorAll('tr[data-quote]')];
    this.#quotes = rows.map((row) => readQuote(JSON.parse(row.dataset.quote)));
    this.#last ??= dataset.after;
  }

  open() {
    this.#source = new EventSource(`/events${this.#last ? `?after=${this.#last}` : ''}`);
    this.#source.addEventListener('open', () => this.#say(LIVE, 'live'));
    this.#source.addEventListener('quote', (event) => this.#add(event));
    this.#source.addEventListener('reset', (event) => this.#reset(event));
    this.#source.addEventListener('error', () => {
      this.#say(AWAY, 'away');
      // After an answer that is no stream a browser does not come again by itself.
      if (this.#source.readyState === EventSource.CLOSED) setTimeout(() => this.open(), somewhat());
    });
  }

  close() {
    this.#source?.close();
  }

  #say(words, state) {
    this.#status.hidden = false;
    this.#status.dataset.state = state;
    if (this.#status.textContent !== words) this.#status.textContent = words;
  }

  #add({ data, lastEventId }) {
    this.#last = lastEventId;
    const quote = readQuote(JSON.parse(data));
    if (quote === null || (this.#filter.symbol && quote.symbol !== this.#filter.symbol)) return;
    const quotes = withQuote(this.#quotes, quote, this.#filter.limit);
    if (quotes === this.#quotes) return;
    this.#quotes = quotes;
    this.#fresh.add(keyOf(quote));
    if (this.#drawing) return;
    // Many may come at a time.
    this.#drawing = true;
    setTimeout(() => this.#draw(), 20);
  }

  #draw() {
    this.#drawing = false;
    const focused = this.#region.contains(document.activeElement) ? document.activeElement.getAttribute('href') : null;
    // What `html` makes is escaped.
    this.#region.innerHTML = listing({ quotes: this.#quotes, filter: this.#filter });
    for (const row of this.#region.querySelectorAll('tr[data-quote]')) {
      if (this.#fresh.has(keyOf(readQuote(JSON.parse(row.dataset.quote))))) row.classList.add('fresh');
    }
    this.#fresh.clear();
    if (focused !== null) this.#region.querySelector(`a[href="${CSS.escape(focused)}"]`)?.focus({ preventScroll: true });
  }

  /** Some events are not to be had any more: the quotes are read anew, and those that come meanwhile are kept. */
  #reset({ lastEventId }) {
    this.#last = lastEventId;
    setTimeout(async () => {
      try {
        const answer = await fetch(location.href, { headers: { Accept: 'text/html' } });
        const region = new DOMParser().parseFromString(await answer.text(), 'text/html').getElementById('listing');
        if (region === null) throw new Error(`status ${answer.status}`);
        const meanwhile = this.#quotes;
        this.#region.innerHTML = region.innerHTML;
        this.#read(region);
        for (const quote of meanwhile) this.#add({ data: writeQuote(quote), lastEventId: this.#last });
      } catch {
        this.#reset({ lastEventId: this.#last });
      }
    }, somewhat());
  }
}

const region = document.getElementById('listing');
if (region !== null) {
  const live = new Live(region, document.getElementById('live'));
  live.open();
  // A page that the browser keeps for the way back needs its stream again.
  addEventListener('pagehide', () => live.close());
  addEventListener('pageshow', (event) => event.persisted && live.open());
}
