const reasons: Record<string, string> = {
  expired: 'older than what is kept',
  reset: 'the log was made anew',
  unknown: 'the last id is of no event here',
  'backlog-limit': 'more than one resume carries',
  slow: 'this reader was too slow',
  'store-loss': 'a hole in the store',
  oversize: 'an event was too large',
  'upstream-no-id': 'the backend gives no ids, so nothing proves that it went on where it was',
  'upstream-ignored-id': 'the backend did not go on where it was',
  'idle-closed': 'the backend was not read meanwhile',
  'upstream-changed': 'the backend was changed',
  drain: 'the edge is restarted or moves its clients',
  lifetime: 'streams are renewed from time to time',
  'max-duration': 'the plan limits how long a stream lasts',
  overloaded: 'the edge has no room now',
  upstream: 'the backend is not connected',
  broker: 'the edge has lost the broker',
  owner: 'nobody reads the backend',
};

/** wordsOf says what a gateway event means; undefined = one that this page does not know. */
export function wordsOf(name: string, data: string): string | undefined {
  let d: Record<string, unknown>;
  try {
    d = JSON.parse(data) as Record<string, unknown>;
  } catch {
    return undefined;
  }
  const reason = reasons[String(d['reason'])] ?? String(d['reason']);
  const wait = seconds(d['retryAfterMs']);
  switch (name) {
    case 'gateway.gap':
      return `${d['possible'] ? 'Events may be missing here' : typeof d['missed'] === 'number' ? `${d['missed']} events are missing here` : 'Events are missing here'}: ${reason}`;
    case 'gateway.end':
      return `The gateway ends the stream: ${reason}. ${d['retryable'] ? `Come back in ${wait}` : 'It would not be answered again'}`;
    case 'gateway.throttled':
      return d['limit'] ? `The quota is used up: ${d['limit']} events per ${d['unit']} of plan ${d['plan']}. Go on in ${wait}` : `Throttled: ${reason}. Go on in ${wait}`;
    case 'gateway.reauth':
      return `The credential ends in ${seconds(d['inMs'])}: come back with a new one`;
    case 'gateway.live':
      return d['replayed'] ? `Live again, ${d['replayed']} ${d['replayed'] === 1 ? 'event' : 'events'} of backlog before` : 'Live, nothing was missed';
    case 'gateway.stale':
      return `No news for a while: ${reason}`;
    case 'gateway.fresh':
      return `News again, after ${seconds(d['staleMs'])}`;
  }
  return undefined;
}

const seconds = (ms: unknown) => {
  const n = Number(ms);
  return n >= 120_000 ? `${Math.round(n / 60_000)} minutes` : n >= 1000 ? `${Math.round(n / 1000)} s` : `${n} ms`;
};

/** storedAt is when an event was stored, in Unix milliseconds, as its id tells; 0 = it does not. */
export function storedAt(id: string): number {
  const [, micros] = /^[0-9a-z]{1,13}-([1-9a-z][0-9a-z]{0,12})$/.exec(id) ?? [];
  return micros ? parseInt(micros, 36) / 1000 : 0;
}

/** fill puts values into a topic's name: {symbol} and the rest of a wildcard; each value is escaped for its place. */
export function fill(topic: string, values: Record<string, string>): string {
  return topic.replace(/\{(\w+)\}/g, (_, n: string) => encodeURIComponent(values[n] ?? '')).replace(/\*$/, () => (values['*'] ?? '').split('/').map(encodeURIComponent).join('/'));
}

/** curl is a command that reads a stream; a credential is taken from the environment, so that none lands in a history. */
export function curl(url: string, header: string | undefined, last: string): string {
  const quoted = (s: string) => `'${s.replaceAll("'", "'\\''")}'`;
  return ['curl -N', header && `-H "${header}"`, last && `-H ${quoted(`Last-Event-ID: ${last}`)}`, quoted(url)].filter(Boolean).join(' ');
}
