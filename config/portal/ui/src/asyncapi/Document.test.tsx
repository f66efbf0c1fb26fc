import { MantineProvider } from '@mantine/core';
import { readdirSync, readFileSync } from 'node:fs';
import { renderToStaticMarkup } from 'react-dom/server';
import { describe, expect, it } from 'vitest';

import { Document } from './Document';
import { type Json, lookUp, read } from './model';

const golden = '../../asyncapi/testdata/golden/'; // from the folder of package.json

/** told are the words of a document as this page shows it. */
function told(doc: unknown): string {
  const place = document.createElement('div');
  place.innerHTML = renderToStaticMarkup(
    <MantineProvider>
      <Document doc={doc} />
    </MantineProvider>,
  );
  return `${place.textContent} ${[...place.querySelectorAll('a')].map((a) => a.getAttribute('href')).join(' ')}`;
}

/** leaves are all texts and numbers of a document, without references. */
function leaves(v: Json, at = ''): [string, string][] {
  if (Array.isArray(v)) return v.flatMap((x, i) => leaves(x, `${at}/${i}`));
  if (typeof v === 'object' && v !== null) return Object.entries(v).flatMap(([k, x]) => leaves(x, `${at}/${k}`));
  return typeof v === 'boolean' || v === null || at.endsWith('/$ref') ? [] : [[at, String(v)]];
}

// Told in other words: what the page knows of every stream, and what says how a credential is sent.
const inOtherWords = /\/bindings\/http\/(method|type|bindingVersion)$|\/x-auth-type$|\/x-sluice-scheme$|\/securitySchemes\/[^/]+\/(in|scheme|bearerFormat|type)$|\/messageId$|\/parameters\/[^/]+\/schema\/type$/;

describe('Document', () => {
  const files = readdirSync(golden);
  it('has documents to show', () => expect(files.length).toBeGreaterThan(15));
  it.each(files)('shows all of %s, as 2.6', (file) => {
    const text = readFileSync(golden + file, 'utf8');
    const json = text.slice(text.indexOf('=== public 2.6.0\n') + 17, text.indexOf('=== internal 3.1.0'));
    const doc = JSON.parse(json) as Json;
    const page = told(doc);
    // JSON within the page escapes; everything else stands there as it is.
    const lost = leaves(doc).filter(([at, s]) => !inOtherWords.test(at) && !page.includes(s) && !page.includes(JSON.stringify(s).slice(1, -1)));
    expect(lost).toEqual([]);
  });

  it('says what is no document', () => expect(told('<html>')).toContain('no AsyncAPI document'));

  it('links only to where a link may lead', () => {
    const page = renderToStaticMarkup(
      <MantineProvider>
        <Document doc={{ asyncapi: '3.1.0', info: { title: 't', version: '1', license: { name: 'x', url: 'javascript:alert(1)' } } }} />
      </MantineProvider>,
    );
    expect(page).not.toContain('javascript:');
  });
});

describe('read', () => {
  const three = {
    asyncapi: '3.1.0',
    info: { title: 'Market', version: '1' },
    servers: { a: { host: 'edge.example.com', pathname: '/market/1', protocol: 'sse', 'x-sluice-scheme': 'https' } },
    channels: {
      quotes: {
        address: '/quotes/{symbol}',
        parameters: { symbol: { 'x-sluice-pattern': '^[A-Z]+$', examples: ['ACME'] } },
        messages: { tick: { name: 'tick', payload: { $ref: '#/components/schemas/Tick' } }, other: { name: 'other' } },
      },
    },
    operations: {
      quotes: {
        action: 'send',
        channel: { $ref: '#/channels/quotes' },
        messages: [{ $ref: '#/channels/quotes/messages/tick' }],
        security: [{ $ref: '#/components/securitySchemes/jwt' }],
        bindings: { http: { method: 'GET', query: { type: 'object' } } },
      },
    },
    components: { schemas: { Tick: { type: 'object' } }, securitySchemes: { jwt: { type: 'http', scheme: 'bearer', scopes: ['quotes.read'] } } },
  };

  it('joins operations of 3.x with their channels', () => {
    const m = read(three)!;
    expect(m.servers[0]!.url).toBe('https://edge.example.com/market/1');
    const [c] = m.channels;
    expect(c!.address).toBe('/quotes/{symbol}');
    expect(c!.params[0]).toMatchObject({ name: 'symbol', pattern: '^[A-Z]+$', examples: ['ACME'] });
    expect(c!.operations[0]).toMatchObject({ action: 'send', query: { type: 'object' } });
    expect(c!.operations[0]!.messages.map((x) => x.name)).toEqual(['tick']);
    expect(c!.messages.map((x) => x.name)).toEqual(['other']);
    expect(c!.operations[0]!.security).toMatchObject([{ name: 'jwt', scopes: ['quotes.read'] }]);
  });

  it('shows all of it', () => {
    const page = told(three);
    expect(leaves(three as never).filter(([at, s]) => !inOtherWords.test(at) && !at.startsWith('/servers') && !page.includes(s))).toEqual([]);
  });

  it('follows no reference for ever', () => {
    const doc = { a: { $ref: '#/b' }, b: { $ref: '#/a' } };
    expect(lookUp(doc, { $ref: '#/a' })).toEqual({ $ref: expect.any(String) });
    expect(lookUp(doc, { $ref: 'https://elsewhere.example/x' })).toBeUndefined();
    expect(read({ asyncapi: '3.1.0', channels: { c: { $ref: '#/channels/c' } } })!.channels).toHaveLength(1);
  });
});
