import { type Problem, problemOf } from '../api/problem';

/** State of a source: opening, live, or away while it is not heard and tried again. */
export type State = 'opening' | 'live' | 'away';

/** Told is one event of a stream, read. */
export type Told = { name: string; data: unknown };

const waits = { first: 1_000, most: 15_000 };

/**
 * Source is one event stream of the management API, open while somebody listens and somebody can see the page: a browser has few connections
 * to one server, and a page in the background needs none. A stream that the server refuses is tried again, later each time.
 */
export class Source {
  state: State = 'opening';
  /** problem is why the server refused, as it told it. */
  problem: Problem | undefined;
  /** ended is the reason that the server gave for the end of the stream. */
  ended: string | undefined;

  /** listenFirst is told of every event before those who listen. */
  listenFirst: ((told: Told) => void) | undefined;

  #listeners = new Set<(told?: Told) => void>();
  #source: EventSource | undefined;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #wait = waits.first;

  constructor(
    readonly url: string,
    readonly names: string[],
  ) {}

  /** listen tells of every event, and without one when the state changes, until the function that is returned is called. */
  listen(fn: (told?: Told) => void): () => void {
    this.#listeners.add(fn);
    if (this.#listeners.size === 1) {
      document.addEventListener('visibilitychange', this.#seen);
      this.#seen();
    }
    return () => {
      if (!this.#listeners.delete(fn) || this.#listeners.size) return;
      document.removeEventListener('visibilitychange', this.#seen);
      this.#close();
    };
  }

  #seen = () => {
    if (document.visibilityState === 'hidden') this.#close();
    else if (!this.#source && !this.#timer) this.#open();
  };

  #close() {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    this.#source?.close();
    this.#source = undefined;
  }

  #open() {
    this.#timer = undefined;
    const source = new EventSource(this.url);
    this.#source = source;
    this.ended = undefined;
    for (const name of this.names)
      source.addEventListener(name, (e) => {
        this.#wait = waits.first;
        this.problem = undefined;
        this.#tell('live', { name, data: JSON.parse((e as MessageEvent<string>).data) });
      });
    source.addEventListener('end', (e) => {
      this.ended = (JSON.parse((e as MessageEvent<string>).data) as { reason: string }).reason;
      this.#later();
    });
    source.onerror = () => {
      if (source.readyState === EventSource.CLOSED) void this.#ask();
      else this.#tell('away'); // the browser tries again
    };
  }

  /** ask finds out why the server refused: an EventSource is not told. */
  async #ask() {
    this.#later();
    try {
      const stop = new AbortController();
      const answer = await fetch(this.url, { headers: { Accept: 'text/event-stream' }, signal: stop.signal });
      if (answer.ok) stop.abort();
      else this.problem = problemOf(await answer.json().catch(() => undefined), answer);
    } catch {
      this.problem = undefined; // nobody answers
    }
    this.#tell('away');
  }

  #later() {
    this.#close();
    if (!this.#listeners.size) return;
    this.#timer = setTimeout(() => {
      this.#timer = undefined;
      this.#seen();
    }, this.#wait);
    this.#wait = Math.min(this.#wait * 2, waits.most);
    this.#tell('away');
  }

  #tell(state: State, told?: Told) {
    this.state = state;
    if (told) this.listenFirst?.(told);
    for (const fn of [...this.#listeners]) fn(told);
  }
}
