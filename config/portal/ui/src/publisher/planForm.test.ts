import { describe, expect, it } from 'vitest';

import { limitsOf, type Plan } from '../api/access';
import { byField } from '../api/problem';
import { fields, type Form, formOf, fresh, planOf, usersOf } from './planForm';

const whole: Plan = {
  apiVersion: 'sluice/v1',
  kind: 'Plan',
  metadata: { name: 'Trial', displayName: 'For a try', description: 'Thirty days.' },
  spec: {
    quota: { events: 5000, every: 2, unit: 'hour' },
    enforce: false,
    rate: { events: 10, per: '250ms' },
    connections: { perSubscription: 5, perKey: 2 },
    maxDuration: '8h',
    onQuotaEnd: 'close',
    whenSourceDown: 'closed',
    requiresApproval: true,
  },
};

describe('formOf and planOf', () => {
  it('lose nothing', () => expect(planOf(formOf(whole))).toEqual(whole));

  it('send no limit where nothing is typed', () => {
    const { spec } = planOf(fresh);
    expect(spec).toEqual({ quota: { events: 0 }, enforce: true, rate: { events: 0, per: '1s' }, connections: { perSubscription: 0, perKey: 0 }, maxDuration: 0, onQuotaEnd: 'auto', whenSourceDown: 'open', requiresApproval: false });
    expect(formOf({ ...whole, spec })).toMatchObject({ events: '', rate: '', perSubscription: '', perKey: '', maxDuration: '', every: 1, unit: 'day', per: '1s' });
  });

  it('send what the server must refuse', () => {
    expect(planOf({ ...fresh, events: -5, every: 0, rate: 1, per: 'soon', maxDuration: '0.5s' }).spec).toMatchObject({ quota: { events: -5, every: 0 }, rate: { per: 'soon' }, maxDuration: '0.5s' });
  });

  it('take the default where a window or a span is left empty', () => {
    expect(planOf({ ...fresh, events: 7, every: '', rate: 1, per: ' ' }).spec).toMatchObject({ quota: { events: 7, every: 1, unit: 'day' }, rate: { events: 1, per: '1s' } });
  });
});

describe('fields', () => {
  const at: [string, keyof Form][] = [
    ['/metadata/name', 'name'],
    ['/spec/quota/events', 'events'],
    ['/spec/quota/every', 'every'],
    ['/spec/quota/unit', 'unit'],
    ['/spec/rate/events', 'rate'],
    ['/spec/rate/per', 'per'],
    ['/spec/connections/perSubscription', 'perSubscription'],
    ['/spec/connections/perKey', 'perKey'],
    ['/spec/maxDuration', 'maxDuration'],
    ['/spec/whenSourceDown', 'whenSourceDown'],
  ];
  it.each(at)('%s is told at %s', (pointer, field) => {
    expect(byField({ type: '/problems/invalid-value', title: 'Invalid', status: 422, errors: [{ pointer, detail: 'no' }] }, fields)).toEqual({ errors: { [field]: 'no' }, rest: [] });
  });
});

describe('limitsOf', () => {
  it('says all limits', () => {
    expect(limitsOf(whole)).toBe('5,000 events per 2 hours, 10 events per 250ms on each stream, 5 streams at once, 2 with one key, all this counted, not enforced, a stream lasts 8h, a publisher lets each subscription in');
  });
  it('says that there is none', () => {
    expect(limitsOf(planOf(fresh))).toBe('unlimited events');
    expect(limitsOf(planOf({ ...fresh, enforce: false }))).toBe('unlimited events');
  });
});

describe('usersOf', () => {
  const sub = (plan: string) => ({ spec: { plan } }) as never;
  it('counts', () => {
    expect(usersOf('A', [sub('A'), sub('B'), sub('A')], [{ spec: { plan: 'A' } } as never])).toBe('2 subscriptions, 1 application');
    expect(usersOf('C', [sub('A')], [{} as never])).toBe('nobody');
  });
});
