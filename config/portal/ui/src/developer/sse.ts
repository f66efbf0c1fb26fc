/** Entry is one thing that a stream said. */
export type Entry = { kind: 'event'; id: string; name: string; data: string } | { kind: 'retry'; ms: number } | { kind: 'heartbeat' };

/**
 * Decoder reads an event stream from chunks of text, as the HTML standard says. Unlike EventSource it also tells comments and retry lines: this
 * page shows what is on the wire.
 */
export class Decoder {
  #rest = '';
  #id = '';
  #name = '';
  #data: string[] | undefined;
  #ended = false; // the text so far ended in a CR, whose LF may follow

  /** push takes the next chunk and returns what it completed. */
  push(chunk: string): Entry[] {
    if (this.#ended && chunk.startsWith('\n')) chunk = chunk.slice(1);
    if (chunk === '') return [];
    this.#ended = chunk.endsWith('\r');
    const lines = (this.#rest + chunk).split(/\r\n|\n|\r/);
    this.#rest = lines.pop()!;
    return lines.flatMap((l) => this.#line(l));
  }

  #line(line: string): Entry[] {
    if (line === '') return this.#dispatch();
    if (line.startsWith(':')) return [{ kind: 'heartbeat' }];
    const colon = line.indexOf(':');
    const field = colon < 0 ? line : line.slice(0, colon);
    const value = colon < 0 ? '' : line.slice(line[colon + 1] === ' ' ? colon + 2 : colon + 1);
    switch (field) {
      case 'id':
        if (!value.includes('\0')) this.#id = value;
        break;
      case 'event':
        this.#name = value;
        break;
      case 'data':
        (this.#data ??= []).push(value);
        break;
      case 'retry':
        if (/^\d+$/.test(value)) return [{ kind: 'retry', ms: Number(value) }];
    }
    return [];
  }

  #dispatch(): Entry[] {
    const data = this.#data;
    const name = this.#name || 'message';
    this.#data = undefined;
    this.#name = '';
    return data ? [{ kind: 'event', id: this.#id, name, data: data.join('\n') }] : [];
  }
}

/** numbersOf are the numbers in an event's data that a chart could show, by their path: price, book.bid. */
export function numbersOf(data: string): Record<string, number> {
  let value: unknown;
  try {
    value = JSON.parse(data);
  } catch {
    return {};
  }
  const out: Record<string, number> = {};
  const walk = (v: unknown, path: string, depth: number) => {
    if (typeof v === 'number' && Number.isFinite(v)) out[path || 'value'] = v;
    else if (v && typeof v === 'object' && depth < 4) for (const [k, x] of Object.entries(v)) walk(x, path ? `${path}.${k}` : k, depth + 1);
  };
  walk(value, '', 0);
  return out;
}
