import { describe, expect, it } from 'vitest';

import { curl, fill, storedAt, wordsOf } from './words';

describe('wordsOf', () => {
  it('says what was lost, and whether that is sure', () => {
    expect(wordsOf('gateway.gap', '{"reason":"expired","from":"1-2","to":null,"possible":false}')).toBe('Events are missing here: older than what is kept');
    expect(wordsOf('gateway.gap', '{"reason":"slow","missed":12,"possible":false}')).toContain('12 events are missing');
    expect(wordsOf('gateway.gap', '{"reason":"upstream-no-id","possible":true}')).toContain('may be missing');
  });
  it('says when to come back', () => {
    expect(wordsOf('gateway.end', '{"reason":"drain","retryable":true,"retryAfterMs":812}')).toContain('Come back in 812 ms');
    expect(wordsOf('gateway.end', '{"reason":"api-retired","retryable":false,"retryAfterMs":0}')).toContain('api-retired');
    expect(wordsOf('gateway.throttled', '{"reason":"quota","plan":"AsyncGold","limit":50000,"unit":"day","resetAt":"x","retryAfterMs":8124000}')).toBe('The quota is used up: 50000 events per day of plan AsyncGold. Go on in 135 minutes');
    expect(wordsOf('gateway.reauth', '{"inMs":10000}')).toContain('10 s');
  });
  it('counts the backlog', () => {
    expect(wordsOf('gateway.live', '{"id":"1-2","replayed":214}')).toBe('Live again, 214 events of backlog before');
    expect(wordsOf('gateway.live', '{"id":null,"replayed":0}')).toBe('Live, nothing was missed');
    expect(wordsOf('gateway.stale', '{"reason":"upstream","since":"x"}')).toContain('not connected');
    expect(wordsOf('gateway.fresh', '{"staleMs":8123}')).toContain('8 s');
  });
  it('leaves what it does not know', () => {
    expect(wordsOf('gateway.new', '{}')).toBeUndefined();
    expect(wordsOf('gateway.gap', 'no json')).toBeUndefined();
  });
});

describe('storedAt', () => {
  it('reads the time of an id', () => expect(storedAt(`5-${(1_790_000_000_123_000).toString(36)}`)).toBe(1_790_000_000_123));
  it.each(['', 'x', '1-', '1-0', 'of-a-backend', '1-2-3'])('takes no %j for one', (id) => expect(storedAt(id)).toBe(0));
});

describe('fill', () => {
  it('escapes each value for its place', () => expect(fill('/q/{symbol}/{x}/*', { symbol: 'A/B', x: 'ü', '*': 'a/b c' })).toBe('/q/A%2FB/%C3%BC/a/b%20c'));
  it('needs nothing for a plain topic', () => expect(fill('/ticks', {})).toBe('/ticks'));
});

describe('curl', () => {
  it('quotes for a shell', () => expect(curl("https://e.example.com/it's", 'ApiKey: $SLUICE_KEY', '1-2')).toBe(`curl -N -H "ApiKey: $SLUICE_KEY" -H 'Last-Event-ID: 1-2' 'https://e.example.com/it'\\''s'`));
  it('sends no more than it must', () => expect(curl('http://e/x', undefined, '')).toBe("curl -N 'http://e/x'"));
});
