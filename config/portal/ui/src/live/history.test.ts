import { describe, expect, it } from 'vitest';

import { type FeedSample, healthOf, History, most, type Sample, shownFrom, span } from './history';

const start = Date.UTC(2026, 0, 1) / 1000;

const feed = (path: string, state = 'up', more: Partial<FeedSample> = {}): FeedSample => ({
  api: 'a@1', path, topic: path, state, clients: 1, eventsPerSecond: 4, deliveriesPerSecond: 4, lagMs: 0, gaps: 0, ...more,
});

const sample = (second: number, more: Partial<Sample> = {}): Sample => {
  const feeds = more.feeds ?? [feed('/x')];
  const states: Record<string, number> = {};
  for (const f of feeds) states[f.state] = (states[f.state] ?? 0) + 1;
  return {
    at: new Date((start + second) * 1000).toISOString(), intervalMs: 1000, clients: 7, apisLeft: 0, feedsLeft: 0, edges: [], drops: [], silent: [], feeds,
    apis: [{ id: 'a@1', feeds: feeds.length, states, clients: 7, eventsPerSecond: 4, deliveriesPerSecond: 28, lagMs: 3 }, { id: 'b@1', feeds: 0, states: {}, clients: 0, eventsPerSecond: 1, deliveriesPerSecond: 2, lagMs: 9 }],
    ...more,
  };
};

describe('History', () => {
  it('has a value of each line for each sample', () => {
    const h = new History();
    h.add(sample(0, { intervalMs: 0 }));
    h.add(sample(1, { deliveriesPerSecond: 50, latency: { p50Ms: 1, p95Ms: 2, p99Ms: 3 }, feeds: [feed('/x'), feed('/y', 'backoff'), feed('/z', 'auth')] }));
    expect(h.t).toEqual([start, start + 1]);
    const v = h.values;
    expect([v.clients, v.events, v.deliveries, v.p50, v.p99, v.lag, v.up, v.waiting, v.down, v.gap]).toEqual([
      [7, 7], [5, 5], [30, 50], [null, 1], [null, 3], [9, 9], [1, 1], [0, 1], [0, 1], [null, 0],
    ]);
  });

  it('breaks lines where samples are missing, and takes none twice', () => {
    const h = new History();
    for (const s of [0, 1, 1, 0, 20]) h.add(sample(s));
    expect(h.values.clients).toEqual([7, 7, null, 7]);
    expect(h.t.every((t, i) => i === 0 || t > h.t[i - 1]!)).toBe(true);
  });

  it('has the lines of each feed, broken as the others are', () => {
    const h = new History();
    for (const s of [0, 1, 20]) h.add(sample(s, { feeds: [feed('/x', 'up', { lagMs: s, latency: s === 1 ? { p50Ms: 4, p95Ms: 5, p99Ms: 6 } : undefined })] }));
    const f = h.feeds.get('a@1 /x')!;
    expect([f.t.length, f.values.events, f.values.p95, f.values.lag, f.health.length, f.p99]).toEqual([4, [4, 4, null, 4], [null, 5, null, null], [0, 1, null, 20], 4, 6]);
  });

  it('does not take a slow server for a hole', () => {
    const h = new History();
    for (const s of [0, 10, 20]) h.add(sample(s, { intervalMs: 10_000 }));
    expect(h.values.clients).toEqual([7, 7, 7]);
  });

  it('forgets what is no longer shown, and feeds that are no more', () => {
    const h = new History();
    h.add(sample(0, { feeds: [feed('/old')], drops: [{ kind: 'end', reason: 'slow', count: 9 }] }));
    for (let i = 1; i <= span + 1; i++) h.add(sample(i));
    expect(h.t.length).toBe(span + 1);
    expect(h.t[0]).toBe(start + 1);
    expect([...h.feeds.keys()]).toEqual(['a@1 /x']);
    expect(h.feeds.get('a@1 /x')!.t.length).toBe(span + 1);
    expect(h.drops()).toEqual([]);
  });

  it('holds no more samples than it may', () => {
    const h = new History();
    for (let i = 0; i < 2 * most; i++) h.add(sample(i / 100));
    expect(h.t.length).toBe(most);
    expect(h.values.p50.length).toBe(most);
    expect(h.feeds.get('a@1 /x')!.values.p99.length).toBe(most);
  });

  it('adds up drops by reason', () => {
    const h = new History();
    h.add(sample(0, { drops: [{ kind: 'end', reason: 'slow', count: 2 }, { kind: 'gap', reason: 'expired', api: 'a@1', count: 1 }] }));
    h.add(sample(1, { drops: [{ kind: 'gap', reason: 'expired', api: 'a@1', count: 3 }, { kind: 'gap', reason: 'expired', api: 'b@1', count: 1 }] }));
    expect(h.drops()).toEqual([{ kind: 'gap', reason: 'expired', count: 5 }, { kind: 'end', reason: 'slow', count: 2 }]);
    expect(h.values.gap).toEqual([1, 4]);
  });

  it('shows a minute at first, and never more than there is room for', () => expect([shownFrom(95, 100), shownFrom(0, 100), shownFrom(0, 1000)]).toEqual([40, 0, 700]));

  it('knows what states come to', () => expect(['up', 'backoff', 'auth', 'unowned', 'news'].map(healthOf)).toEqual(['up', 'waiting', 'down', 'waiting', 'waiting']));
});
