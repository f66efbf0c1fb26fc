import type { components } from './schema';

/** Problem is RFC 9457, as the server sends it. status 0 = no answer at all. */
export type Problem = Omit<components['schemas']['Problem'], 'instance'> & { instance?: string };

export type Finding = components['schemas']['Finding'];

/** problemOf reads a refusal; one that is no problem document (a proxy's page) is told by its status. */
export function problemOf(body: unknown, response: { status: number; statusText?: string }): Problem {
  if (typeof body === 'object' && body !== null && 'title' in body && 'status' in body) return body as Problem;
  return { type: 'about:blank', title: response.statusText || `Answer ${response.status}`, status: response.status };
}

/** slugOf is the last part of a problem's type: invalid-context. */
export function slugOf(p: Pick<Problem, 'type'>): string {
  return p.type.slice(p.type.lastIndexOf('/') + 1);
}

/**
 * byField sorts a problem's findings to the fields of a form. fields maps a JSON pointer to a field's name; a finding belongs to the longest
 * pointer that is a prefix of its own. What fits nowhere is returned as rest, so that nothing the server said is swallowed.
 */
export function byField(p: Problem, fields: Record<string, string>): { errors: Record<string, string>; rest: string[] } {
  const errors: Record<string, string> = {};
  const rest: string[] = [];
  for (const f of p.errors ?? []) {
    const text = f.hint ? `${f.detail} (${f.hint})` : f.detail;
    const at = f.pointer ?? (f.parameter ? `/${f.parameter}` : '');
    const best = Object.keys(fields)
      .filter((k) => at === k || at.startsWith(`${k}/`))
      .sort((a, b) => b.length - a.length)[0];
    if (best === undefined) rest.push(at ? `${at}: ${text}` : text);
    else errors[fields[best]!] = errors[fields[best]!] ? `${errors[fields[best]!]}; ${text}` : text;
  }
  if (!p.errors?.length) rest.push(p.detail ?? p.title);
  return { errors, rest };
}
