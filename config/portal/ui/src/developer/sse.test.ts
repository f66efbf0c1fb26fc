import { describe, expect, it } from 'vitest';

import { Decoder, numbersOf } from './sse';

const text = 'retry: 3174\nevent: quote\ndata: {"s":"ACME",\ndata: "p":10.5}\nid: a-1\n\n:\n\ndata\n\nid: a-2\n\ndata:x\r\n\r\n';

describe('Decoder', () => {
  const want = [
    { kind: 'retry', ms: 3174 },
    { kind: 'event', id: 'a-1', name: 'quote', data: '{"s":"ACME",\n"p":10.5}' },
    { kind: 'heartbeat' },
    { kind: 'event', id: 'a-1', name: 'message', data: '' },
    { kind: 'event', id: 'a-2', name: 'message', data: 'x' },
  ];
  it('reads a whole stream', () => expect(new Decoder().push(text)).toEqual(want));
  it('reads it the same however it is cut', () => {
    for (let size = 1; size < text.length; size++) {
      const d = new Decoder();
      const got = [];
      for (let i = 0; i < text.length; i += size) got.push(...d.push(text.slice(i, i + size)));
      expect(got, `chunks of ${size}`).toEqual(want);
    }
  });
  it('takes no id with NUL and no retry that is no number', () => {
    expect(new Decoder().push('id: a\0b\nretry: 1x\ndata: 1\n\n')).toEqual([{ kind: 'event', id: '', name: 'message', data: '1' }]);
  });
});

describe('numbersOf', () => {
  it('finds nested numbers', () => expect(numbersOf('{"p":1.5,"b":{"bid":2,"t":"x"},"l":[3]}')).toEqual({ p: 1.5, 'b.bid': 2, 'l.0': 3 }));
  it('takes a bare number', () => expect(numbersOf('42')).toEqual({ value: 42 }));
  it('finds none in text', () => expect(numbersOf('hello')).toEqual({}));
});
