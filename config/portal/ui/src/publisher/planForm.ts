import type { Application, Plan, Subscription } from '../api/access';

/** Form is a plan as it is typed. A number is '' where the plan has no such limit. */
export type Form = {
  name: string;
  displayName: string;
  description: string;
  events: number | string;
  every: number | string;
  unit: NonNullable<NonNullable<Plan['spec']['quota']>['unit']>;
  onQuotaEnd: Plan['spec']['onQuotaEnd'];
  rate: number | string;
  per: string;
  perSubscription: number | string;
  perKey: number | string;
  maxDuration: string;
  enforce: boolean;
  whenSourceDown: Plan['spec']['whenSourceDown'];
  requiresApproval: boolean;
};

export const units: Form['unit'][] = ['minute', 'hour', 'day', 'month', 'year'];

/** fresh is a plan that limits nothing. */
export const fresh: Form = {
  name: '',
  displayName: '',
  description: '',
  events: '',
  every: 1,
  unit: 'day',
  onQuotaEnd: 'auto',
  rate: '',
  per: '1s',
  perSubscription: '',
  perKey: '',
  maxDuration: '',
  enforce: true,
  whenSourceDown: 'open',
  requiresApproval: false,
};

/** fields maps what the server says of a plan to the fields of the form. */
export const fields: Record<string, keyof Form> = {
  '/metadata/name': 'name',
  '/metadata/displayName': 'displayName',
  '/metadata/description': 'description',
  '/spec/quota': 'events',
  '/spec/quota/every': 'every',
  '/spec/quota/unit': 'unit',
  '/spec/onQuotaEnd': 'onQuotaEnd',
  '/spec/rate': 'rate',
  '/spec/rate/per': 'per',
  '/spec/connections': 'perSubscription',
  '/spec/connections/perKey': 'perKey',
  '/spec/maxDuration': 'maxDuration',
  '/spec/enforce': 'enforce',
  '/spec/whenSourceDown': 'whenSourceDown',
  '/spec/requiresApproval': 'requiresApproval',
};

const time = (d: string | 0 | undefined) => (d && !/^0[a-z]*$/.test(d) ? d : '');

/** formOf is a plan to be typed over. */
export function formOf({ metadata: m, spec: s }: Plan): Form {
  return {
    name: m.name,
    displayName: m.displayName ?? '',
    description: m.description ?? '',
    events: s.quota?.events || '',
    every: s.quota?.every || fresh.every,
    unit: s.quota?.unit ?? fresh.unit,
    onQuotaEnd: s.onQuotaEnd,
    rate: s.rate?.events || '',
    per: time(s.rate?.per) || fresh.per,
    perSubscription: s.connections?.perSubscription || '',
    perKey: s.connections?.perKey || '',
    maxDuration: time(s.maxDuration),
    enforce: s.enforce,
    whenSourceDown: s.whenSourceDown,
    requiresApproval: s.requiresApproval ?? false,
  };
}

/** planOf is what is sent of a form; a window or a span left empty is its default. */
export function planOf(f: Form): Plan {
  return {
    apiVersion: 'sluice/v1',
    kind: 'Plan',
    metadata: { name: f.name, ...(f.displayName && { displayName: f.displayName }), ...(f.description && { description: f.description }) },
    spec: {
      quota: Number(f.events) ? { events: Number(f.events), every: f.every === '' ? 1 : Number(f.every), unit: f.unit } : { events: 0 },
      enforce: f.enforce,
      rate: { events: Number(f.rate), per: f.per.trim() || fresh.per },
      connections: { perSubscription: Number(f.perSubscription), perKey: Number(f.perKey) },
      maxDuration: f.maxDuration.trim() || 0,
      onQuotaEnd: f.onQuotaEnd,
      whenSourceDown: f.whenSourceDown,
      requiresApproval: f.requiresApproval,
    },
  };
}

/** usersOf says who has a plan: a plan that somebody has is not deleted. */
export function usersOf(plan: string, subscriptions: Subscription[], applications: Application[]): string {
  const some = (n: number, what: string) => n > 0 && `${n} ${what}${n > 1 ? 's' : ''}`;
  const said = [some(subscriptions.filter((s) => s.spec.plan === plan).length, 'subscription'), some(applications.filter((a) => a.spec?.plan === plan).length, 'application')];
  return said.filter(Boolean).join(', ') || 'nobody';
}
