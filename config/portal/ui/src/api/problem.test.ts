import { describe, expect, it } from 'vitest';

import { byField, problemOf, slugOf } from './problem';

describe('byField', () => {
  const problem = (errors: { pointer?: string; parameter?: string; detail: string; hint?: string }[]) => ({ type: '/problems/invalid-resource', title: 'Invalid', status: 422, errors });

  it('puts a finding at the field with the longest pointer', () => {
    const { errors, rest } = byField(problem([{ pointer: '/spec/context', detail: 'is reserved' }, { pointer: '/spec/topics/1/name', detail: 'must start with /' }]), {
      '/spec/context': 'context',
      '/spec/topics': 'topics',
      '/spec/topics/1': 'second',
    });
    expect(errors).toEqual({ context: 'is reserved', second: 'must start with /' });
    expect(rest).toEqual([]);
  });

  it('does not take a prefix of a name for a parent', () => {
    expect(byField(problem([{ pointer: '/spec/contextual', detail: 'x' }]), { '/spec/context': 'context' }).rest).toEqual(['/spec/contextual: x']);
  });

  it('keeps what fits nowhere, with its hint', () => {
    expect(byField(problem([{ pointer: '/spec/a', detail: 'unknown field', hint: 'meant b?' }]), {}).rest).toEqual(['/spec/a: unknown field (meant b?)']);
  });

  it('joins two findings of one field', () => {
    expect(byField(problem([{ pointer: '/a', detail: 'one' }, { pointer: '/a', detail: 'two' }]), { '/a': 'a' }).errors).toEqual({ a: 'one; two' });
  });

  it('tells the detail of a problem without findings', () => {
    expect(byField({ type: '/problems/forbidden', title: 'Forbidden', status: 403 }, {}).rest).toEqual(['Forbidden']);
  });
});

describe('problemOf', () => {
  it('falls back to the status', () => {
    expect(problemOf('<html>', { status: 502, statusText: 'Bad Gateway' })).toEqual({ type: 'about:blank', title: 'Bad Gateway', status: 502 });
  });
  it('has a slug', () => {
    expect(slugOf({ type: '/problems/context-conflict' })).toBe('context-conflict');
  });
});
