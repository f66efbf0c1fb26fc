import { Anchor } from '@mantine/core';

import { isObj, type Json, nameOf, type Obj } from './model';

const depths = 12; // as deep as a tree is drawn; what lies below is shown as text

/** Schema draws a JSON schema as a tree: name, type, what a value must be. A reference leads to where the schema stands. */
export function Schema({ schema, depth = 0 }: { schema: Json; depth?: number }) {
  if (!isObj(schema)) return <span className="schema-type">{schema === false ? 'nothing' : 'anything'}</span>;
  if (depth > depths) return <pre className="mono">{JSON.stringify(schema, null, 2)}</pre>;
  const ref = schema['$ref'];
  const required = Array.isArray(schema['required']) ? schema['required'] : [];
  const fields = isObj(schema['properties']) ? Object.entries(schema['properties']) : [];
  return (
    <div className="schema">
      <span className="schema-type">
        {typeof ref === 'string' ? ref.startsWith('#/components/schemas/') ? <Anchor href={`#schema-${nameOf(ref)}`} size="sm" underline="always">{nameOf(ref)}</Anchor> : ref : typeOf(schema)}
      </span>
      {facts(schema).map(([k, v]) => (
        <span className="schema-fact" key={k}>
          {k} <span className="mono wrap">{v}</span>
        </span>
      ))}
      {typeof schema['description'] === 'string' && <div>{schema['description']}</div>}
      {fields.length > 0 && (
        <ul>
          {fields.map(([name, s]) => (
            <li key={name}>
              <span className="mono">{name}</span>
              {required.includes(name) && <span className="schema-required"> required</span>} <Schema schema={s} depth={depth + 1} />
            </li>
          ))}
        </ul>
      )}
      {parts(schema).map(([label, list]) => (
        <ul key={label}>
          {list.map((s, i) => (
            <li key={i}>
              {label} <Schema schema={s} depth={depth + 1} />
            </li>
          ))}
        </ul>
      ))}
    </div>
  );
}

function typeOf(s: Obj): string {
  const t = s['type'];
  const words = Array.isArray(t) ? t.join(' or ') : typeof t === 'string' ? t : isObj(s['properties']) ? 'object' : '';
  return `${words}${typeof s['format'] === 'string' ? ` (${s['format']})` : ''}`;
}

/** parts are the schemas within a schema, other than its properties, with the word before each. */
function parts(s: Obj): [string, Json[]][] {
  const out: [string, Json[]][] = [];
  for (const [k, word] of Object.entries(within)) {
    const v = s[k];
    if (v !== undefined && (isObj(v) || Array.isArray(v) || k !== 'additionalProperties')) out.push([word, Array.isArray(v) ? v : [v]]);
  }
  for (const [k, word] of [['patternProperties', 'names like'], ['definitions', 'definition'], ['$defs', 'definition']] as const) {
    const v = s[k];
    if (isObj(v)) for (const [name, sub] of Object.entries(v)) out.push([`${word} ${name}:`, [sub]]);
  }
  return out;
}

const within: Record<string, string> = {
  items: 'each item:',
  additionalItems: 'further items:',
  contains: 'one item is:',
  additionalProperties: 'other properties:',
  propertyNames: 'names:',
  allOf: 'all of:',
  anyOf: 'any of:',
  oneOf: 'one of:',
  not: 'not:',
  if: 'if:',
  then: 'then:',
  else: 'else:',
};

const words: Record<string, string> = { minimum: '≥', maximum: '≤', exclusiveMinimum: '>', exclusiveMaximum: '<', enum: 'one of', const: 'always', default: 'default', pattern: 'matches', minLength: 'at least', maxLength: 'at most', examples: 'such as' };
const elsewhere = ['$ref', 'type', 'format', 'description', 'properties', 'required', 'patternProperties', 'definitions', '$defs', ...Object.keys(within)];

/** facts is all else that a schema says, in words where there are some. */
function facts(s: Obj): [string, string][] {
  const out = Object.entries(s)
    .filter(([k]) => !elsewhere.includes(k))
    .map(([k, v]): [string, string] => [words[k] ?? k, Array.isArray(v) ? v.map((x) => (typeof x === 'string' ? x : JSON.stringify(x))).join(', ') : typeof v === 'string' ? v : JSON.stringify(v) + (k.endsWith('Length') ? ' characters' : '')]);
  const named = isObj(s['properties']) ? s['properties'] : {};
  const also = (Array.isArray(s['required']) ? s['required'] : []).filter((n): n is string => typeof n === 'string' && !(n in named));
  if (also.length > 0) out.push(['required', also.join(', ')]);
  if (s['additionalProperties'] === false) out.push(['no other properties', '']);
  return out;
}
