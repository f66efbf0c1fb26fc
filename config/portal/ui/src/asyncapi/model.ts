/**
 * What a reader wants of an AsyncAPI document, the same for 2.x and 3.x. The component of the AsyncAPI initiative cannot be had here: its
 * parser compiles schemas with `new Function`, which the page's policy refuses.
 */

export type Json = null | boolean | number | string | Json[] | Obj;
export type Obj = { [key: string]: Json };

export type Param = { name: string; description: string; pattern: string; values: string[]; examples: string[]; fallback: string; more: [string, Json][] };
export type Message = { name: string; title: string; description: string; contentType: string; payload: Json | undefined; headers: Json | undefined; examples: { name: string; value: Json }[]; more: [string, Json][] };
/** Scheme is a way to prove who one is; scopes are those that this use of it asks for. */
export type Scheme = { name: string; type: string; what: string; description: string; scopes: string[]; flows: { name: string; urls: [string, string][]; scopes: [string, string][] }[]; more: [string, Json][] };
export type Operation = { id: string; action: 'send' | 'receive'; title: string; description: string; security: Scheme[] | undefined; query: Json | undefined; messages: Message[]; bindings: Json | undefined; more: [string, Json][] };
export type Channel = { key: string; address: string; title: string; description: string; servers: string[]; params: Param[]; operations: Operation[]; messages: Message[]; more: [string, Json][] };
export type Server = { name: string; url: string; protocol: string; description: string; security: Scheme[]; more: [string, Json][] };
export type Model = {
  asyncapi: string;
  id: string;
  title: string;
  version: string;
  description: string;
  contentType: string;
  links: { label: string; text: string; href: string }[];
  tags: string[];
  servers: Server[];
  channels: Channel[];
  schemas: [string, Json][];
  security: Scheme[];
  more: [string, Json][];
};

export const isObj = (v: unknown): v is Obj => typeof v === 'object' && v !== null && !Array.isArray(v);
const obj = (v: unknown): Obj => (isObj(v) ? v : {});
const list = (v: unknown): Json[] => (Array.isArray(v) ? (v as Json[]) : []);
const text = (v: unknown): string => (typeof v === 'string' ? v : typeof v === 'number' || typeof v === 'boolean' ? String(v) : '');
const texts = (v: unknown): string[] => list(v).map((x) => text(x) || JSON.stringify(x));
/** rest is what of an object nobody else shows. */
const rest = (o: Obj, ...shown: string[]): [string, Json][] => Object.entries(o).filter(([k]) => !shown.includes(k) && k !== '$ref');

/** nameOf is the last part of a reference: #/components/schemas/Quote is Quote. */
export function nameOf(ref: string): string {
  return decode(ref.slice(ref.lastIndexOf('/') + 1));
}

const decode = (part: string) => {
  try {
    part = decodeURIComponent(part);
  } catch {
    // as it stands
  }
  return part.replaceAll('~1', '/').replaceAll('~0', '~');
};

/** lookUp follows a chain of references within the document; what leads nowhere is undefined. */
export function lookUp(doc: Obj, v: Json | undefined): Json | undefined {
  for (let n = 0; n < 32 && isObj(v) && typeof v['$ref'] === 'string'; n++) {
    if (!v['$ref'].startsWith('#/')) return undefined;
    let at: Json | undefined = doc;
    for (const part of v['$ref'].slice(2).split('/')) at = isObj(at) ? at[decode(part)] : Array.isArray(at) ? at[Number(part)] : undefined;
    v = at;
  }
  return v;
}

/** read makes the model of a document; what is no AsyncAPI document has no model. */
export function read(doc: unknown): Model | undefined {
  if (!isObj(doc) || !/^[23]\./.test(text(doc['asyncapi']))) return undefined;
  return new Reader(doc).model();
}

class Reader {
  #three: boolean;
  #schemes: Obj;

  constructor(private doc: Obj) {
    this.#three = text(doc['asyncapi']).startsWith('3.');
    this.#schemes = obj(obj(doc['components'])['securitySchemes']);
  }

  model(): Model {
    const d = this.doc;
    const info = obj(d['info']);
    const links: Model['links'] = [];
    const contact = obj(info['contact']);
    const license = obj(info['license']);
    const docs = obj(lookUp(d, info['externalDocs'] ?? d['externalDocs']));
    const link = (label: string, words: string, href: string) => (words || href) && links.push({ label, text: words || href, href });
    link('Contact', text(contact['name']), text(contact['url']));
    link('Mail', text(contact['email']), contact['email'] ? `mailto:${text(contact['email'])}` : '');
    link('Licence', text(license['name']), text(license['url']));
    link('Terms of service', '', text(info['termsOfService']));
    link('More', text(docs['description']), text(docs['url']));
    return {
      asyncapi: text(d['asyncapi']),
      id: text(d['id']),
      title: text(info['title']),
      version: text(info['version']),
      description: text(info['description']),
      contentType: text(d['defaultContentType']),
      links,
      tags: list(info['tags'] ?? d['tags']).map((t) => text(obj(lookUp(d, t))['name'])),
      servers: Object.entries(obj(d['servers'])).map(([name, s]) => this.#server(name, obj(lookUp(d, s)))),
      channels: this.#channels(),
      schemas: Object.entries(obj(obj(d['components'])['schemas'])),
      security: Object.keys(this.#schemes).map((name) => this.#scheme(name, this.#schemes[name], [])),
      more: [
        ...rest(info, 'title', 'version', 'description', 'contact', 'license', 'termsOfService', 'externalDocs', 'tags'),
        ...rest(d, 'asyncapi', 'id', 'info', 'defaultContentType', 'tags', 'externalDocs', 'servers', 'channels', 'operations', 'components'),
      ],
    };
  }

  #server(name: string, s: Obj): Server {
    const scheme = text(s['x-sluice-scheme']) || text(s['protocol']);
    const url = text(s['url']) || `${scheme}://${text(s['host'])}${text(s['pathname'])}`;
    return { name, url, protocol: text(s['protocol']), description: text(s['description']), security: this.#security(s['security']) ?? [], more: rest(s, 'url', 'host', 'pathname', 'protocol', 'description', 'security', 'x-sluice-scheme') };
  }

  #channels(): Channel[] {
    const all = Object.entries(obj(this.doc['channels'])).map(([key, c]) => ({ key, raw: obj(lookUp(this.doc, c)) }));
    return all.map(({ key, raw }) => {
      const own = Object.entries(obj(raw['messages'])).map(([k, m]) => this.#message(k, m));
      const operations = this.#three ? this.#operations3(key, own) : this.#operations2(raw);
      const told = new Set(operations.flatMap((o) => o.messages.map((m) => m.name)));
      return {
        key,
        address: this.#three ? text(raw['address']) || key : key,
        title: text(raw['title']) || text(raw['summary']),
        description: text(raw['description']),
        servers: list(raw['servers']).map((s) => (isObj(s) ? nameOf(text(s['$ref'])) : text(s))),
        params: Object.entries(obj(raw['parameters'])).map(([name, p]) => this.#param(name, obj(lookUp(this.doc, p)))),
        operations,
        messages: own.filter((m) => !told.has(m.name)),
        more: rest(raw, 'address', 'title', 'summary', 'description', 'servers', 'parameters', 'messages', 'subscribe', 'publish'),
      };
    });
  }

  #operations3(channel: string, own: Message[]): Operation[] {
    const out: Operation[] = [];
    for (const [id, v] of Object.entries(obj(this.doc['operations']))) {
      const o = obj(lookUp(this.doc, v));
      if (nameOf(text(obj(o['channel'])['$ref'])) !== channel) continue;
      // Without a list of its own an operation has all messages of its channel.
      const messages = o['messages'] === undefined ? own : list(o['messages']).map((m) => this.#message(isObj(m) ? nameOf(text(m['$ref'])) : '', m));
      out.push(this.#operation(id, text(o['action']) === 'receive' ? 'receive' : 'send', o, messages));
    }
    return out;
  }

  #operations2(raw: Obj): Operation[] {
    const out: Operation[] = [];
    // 2.x speaks of what the reader of the document does: who subscribes gets what the application sends.
    for (const [verb, action] of [['subscribe', 'send'], ['publish', 'receive']] as const) {
      if (!isObj(raw[verb])) continue;
      const o = raw[verb];
      const message = lookUp(this.doc, o['message']);
      const all = isObj(message) && Array.isArray(message['oneOf']) ? message['oneOf'] : message === undefined ? [] : [message];
      out.push(this.#operation(text(o['operationId']), action, o, all.map((m) => this.#message('', m))));
    }
    return out;
  }

  #operation(id: string, action: Operation['action'], o: Obj, messages: Message[]): Operation {
    const bindings = obj(lookUp(this.doc, o['bindings']));
    const http = obj(lookUp(this.doc, bindings['http']));
    const others = { ...bindings, http: Object.fromEntries(rest(http, 'query', 'bindingVersion', http['type'] === 'request' ? 'type' : '')) } as Obj;
    return {
      id,
      action,
      title: text(o['title']) || text(o['summary']),
      description: text(o['description']),
      security: this.#security(o['security']),
      query: http['query'],
      messages,
      bindings: Object.keys(bindings).length ? others : undefined,
      more: rest(o, 'action', 'channel', 'operationId', 'title', 'summary', 'description', 'security', 'bindings', 'message', 'messages'),
    };
  }

  #message(key: string, v: Json): Message {
    const m = obj(lookUp(this.doc, v));
    const examples = list(m['examples']).map((e, i) => {
      const o = obj(e);
      return { name: text(o['name']) || text(o['summary']) || `Example ${i + 1}`, value: o['payload'] ?? o['headers'] ?? e };
    });
    return {
      name: text(m['name']) || key || text(m['messageId']) || 'message',
      title: text(m['title']) || text(m['summary']),
      description: text(m['description']),
      contentType: text(m['contentType']) || text(this.doc['defaultContentType']),
      payload: m['payload'],
      headers: m['headers'],
      examples,
      more: rest(m, 'name', 'messageId', 'title', 'summary', 'description', 'contentType', 'payload', 'headers', 'examples'),
    };
  }

  #param(name: string, p: Obj): Param {
    const schema = obj(lookUp(this.doc, p['schema']));
    const at = (k: string) => p[k] ?? schema[k];
    return {
      name,
      description: text(at('description')),
      pattern: text(p['x-sluice-pattern']) || text(schema['pattern']),
      values: texts(at('enum')),
      examples: texts(at('examples')),
      fallback: text(at('default')),
      more: [...rest(p, 'description', 'schema', 'x-sluice-pattern', 'enum', 'examples', 'default'), ...rest(schema, schema['type'] === 'string' ? 'type' : '', 'description', 'pattern', 'enum', 'examples', 'default')],
    };
  }

  /** security reads who may use something: any one of the list suffices; undefined = the document does not say. */
  #security(v: Json | undefined): Scheme[] | undefined {
    if (!Array.isArray(v)) return undefined;
    return v.flatMap((one) => {
      if (!isObj(one)) return [];
      if (this.#three) {
        const ref = text(one['$ref']);
        return [this.#scheme(ref ? nameOf(ref) : text(one['type']), one, [])];
      }
      return Object.entries(one).map(([name, scopes]) => this.#scheme(name, this.#schemes[name], texts(scopes)));
    });
  }

  #scheme(name: string, v: Json | undefined, scopes: string[]): Scheme {
    const s = obj(lookUp(this.doc, v));
    const type = text(s['type']);
    const flows = Object.entries(obj(s['flows'])).map(([flow, f]) => {
      const o = obj(f);
      return {
        name: flow,
        urls: Object.entries(o).filter((e): e is [string, string] => typeof e[1] === 'string'),
        scopes: Object.entries(obj(o['availableScopes'] ?? o['scopes'])).map(([k, d]): [string, string] => [k, text(d)]),
        // What a flow says beyond that, such as x-scopes-bindings, is shown with the scheme.
        rest: rest(o, 'availableScopes', 'scopes', 'tokenUrl', 'authorizationUrl', 'refreshUrl'),
      };
    });
    return {
      name,
      type,
      what: whatOf(type, s),
      description: text(s['description']),
      scopes: scopes.length ? scopes : texts(s['scopes']),
      flows: flows.map(({ name: n, urls, scopes: all }) => ({ name: n, urls, scopes: all })),
      more: [...rest(s, 'type', 'description', 'scheme', 'bearerFormat', 'in', 'name', 'flows', 'scopes'), ...flows.flatMap((f) => f.rest)],
    };
  }
}

/** whatOf says in words how a credential is sent. */
function whatOf(type: string, s: Obj): string {
  switch (type) {
    case 'http':
      return text(s['scheme']) === 'bearer' ? `Authorization: Bearer <${text(s['bearerFormat']) || 'token'}>` : `Authorization: ${text(s['scheme'])}`;
    case 'httpApiKey':
      return s['in'] === 'query' ? `?${text(s['name'])}=<${text(s['name'])}>` : s['in'] === 'cookie' ? `cookie ${text(s['name'])}` : `${text(s['name'])}: <credential>`;
    case 'oauth2':
      return 'Authorization: Bearer <token>, from the token URL';
    case 'X509':
      return 'client certificate';
  }
  return [type, text(s['in']), text(s['name'])].filter(Boolean).join(' ');
}
