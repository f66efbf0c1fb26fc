import type { Schemas } from '../api/client';

export type Sample = Schemas['MonitorSample'];
export type FeedSample = Schemas['MonitorFeed'];

/** span is what charts show, in seconds; most bounds the samples that are kept of it. */
export const span = 300;
export const most = 400;

const least = 60;

/** shownFrom is where charts begin: a minute at first, then all that there is. */
export const shownFrom = (first: number, last: number) => Math.max(last - span, Math.min(first, last - least));

/** Health is what the state of an upstream comes to. */
export type Health = 'up' | 'waiting' | 'down';

const down = new Set(['error', 'missing', 'auth', 'blocked', 'encoded', 'ended', 'closed']);

export const healthOf = (state: string): Health => (state === 'up' ? 'up' : down.has(state) ? 'down' : 'waiting');

/** Values of one line of a chart: null where nothing is known. */
export type Values = (number | null)[];

const feedLines = ['clients', 'events', 'deliveries', 'p50', 'p95', 'p99', 'lag'] as const;
export type FeedLineName = (typeof feedLines)[number];

/** FeedLine is what a feed did, sample by sample; p99 is its newest latency in ms. */
export type FeedLine = { t: number[]; values: Record<FeedLineName, Values>; health: Health[]; seen: number; p99?: number };

const lines = ['clients', 'events', 'deliveries', 'p50', 'p95', 'p99', 'lag', 'up', 'waiting', 'down', 'end', 'gap', 'throttled', 'refused'] as const;
export type Line = (typeof lines)[number];

export const keyOf = (f: { api: string; path: string }) => `${f.api} ${f.path}`;

/** History is the last minutes of a monitor. What it holds is bounded: by time, by samples, and by the feeds that a sample lists. */
export class History {
  /** t are Unix seconds, rising; every line has a value for each. */
  t: number[] = [];
  values = Object.fromEntries(lines.map((l) => [l, [] as Values])) as Record<Line, Values>;
  feeds = new Map<string, FeedLine>();
  #drops: { t: number; kind: string; reason: string; count: number }[] = [];

  /** add takes the next sample. Where samples are missing lines are broken. */
  add(s: Sample) {
    const at = new Date(s.at).getTime() / 1000;
    const last = this.t.at(-1);
    if (last !== undefined && at <= last) return; // told again, or by a clock that was set back
    if (last !== undefined && at - last > Math.max(5, (3 * s.intervalMs) / 1000)) {
      this.#push(last + 0.001, {});
      for (const line of this.feeds.values()) if (line.seen === last) this.#pushFeed(line, last + 0.001, line.health.at(-1)!, {});
    }
    const sum = (of: (a: Sample['apis'][number]) => number) => s.apis.reduce((n, a) => n + of(a), 0);
    const health = { up: 0, waiting: 0, down: 0 };
    for (const a of s.apis) for (const [state, n] of Object.entries(a.states)) health[healthOf(state)] += n;
    const drops: Partial<Record<Line, number>> = s.intervalMs ? { end: 0, gap: 0, throttled: 0, refused: 0 } : {};
    for (const d of s.drops) {
      drops[d.kind] = (drops[d.kind] ?? 0) + d.count;
      this.#drops.push({ t: at, kind: d.kind, reason: d.reason, count: d.count });
    }
    this.#push(at, {
      clients: s.clients,
      events: sum((a) => a.eventsPerSecond),
      deliveries: s.deliveriesPerSecond ?? sum((a) => a.deliveriesPerSecond),
      p50: s.latency?.p50Ms,
      p95: s.latency?.p95Ms,
      p99: s.latency?.p99Ms,
      lag: s.apis.reduce((n, a) => Math.max(n, a.lagMs), 0),
      ...health,
      ...drops,
    });
    for (const f of s.feeds) this.#addFeed(at, f);
    this.#trim(at - span);
  }

  #push(at: number, row: Partial<Record<Line, number>>) {
    this.t.push(at);
    for (const l of lines) this.values[l].push(row[l] ?? null);
  }

  #addFeed(at: number, f: FeedSample) {
    let line = this.feeds.get(keyOf(f));
    if (!line) this.feeds.set(keyOf(f), (line = { t: [], values: Object.fromEntries(feedLines.map((l) => [l, [] as Values])) as FeedLine['values'], health: [], seen: at }));
    this.#pushFeed(line, at, healthOf(f.state), {
      clients: f.clients,
      events: f.eventsPerSecond,
      deliveries: f.deliveriesPerSecond,
      p50: f.latency?.p50Ms,
      p95: f.latency?.p95Ms,
      p99: f.latency?.p99Ms,
      lag: f.lagMs,
    });
    line.seen = at;
    line.p99 = f.latency?.p99Ms ?? line.p99;
  }

  #pushFeed(line: FeedLine, at: number, health: Health, row: Partial<Record<FeedLineName, number>>) {
    line.t.push(at);
    line.health.push(health);
    for (const l of feedLines) line.values[l].push(row[l] ?? null);
  }

  #trim(from: number) {
    const old = (t: number[]) => Math.max(t.findIndex((x) => x >= from), t.length - most, 0);
    const n = old(this.t);
    this.t.splice(0, n);
    for (const l of lines) this.values[l].splice(0, n);
    for (const [key, f] of this.feeds) {
      if (f.seen < from) this.feeds.delete(key);
      const m = old(f.t);
      for (const list of [f.t, f.health, ...Object.values(f.values)]) list.splice(0, m);
    }
    this.#drops = this.#drops.filter((d) => d.t >= from).slice(-20 * most);
  }

  /** drops are what clients did not get in the time shown, by reason, most first. */
  drops(): { kind: string; reason: string; count: number }[] {
    const by = new Map<string, { kind: string; reason: string; count: number }>();
    for (const d of this.#drops) {
      const key = `${d.kind} ${d.reason}`;
      const have = by.get(key);
      if (have) have.count += d.count;
      else by.set(key, { kind: d.kind, reason: d.reason, count: d.count });
    }
    return [...by.values()].sort((a, b) => b.count - a.count || a.reason.localeCompare(b.reason));
  }
}
