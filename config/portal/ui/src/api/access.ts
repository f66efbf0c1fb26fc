import { useMutation, useQuery, useQueryClient } from '@tanstack/react-query';

import { client, must, mustTagged, type Schemas } from './client';

export type Application = Schemas['ApplicationDefinition'];
export type Subscription = Schemas['SubscriptionDefinition'];
export type Plan = Schemas['PlanDefinition'];

const keys = { apps: ['applications'] as const, subs: ['subscriptions'] as const, plans: ['plans'] as const };

export function useApplications(enabled = true) {
  return useQuery({ queryKey: [...keys.apps, 'list'], queryFn: () => must(client.GET('/api/v1/applications', { params: { query: { limit: 200 } } })), enabled });
}

export function useApplication(id: string) {
  return useQuery({ queryKey: [...keys.apps, id], queryFn: () => must(client.GET('/api/v1/applications/{id}', { params: { path: { id } } })) });
}

export function useKeys(id: string) {
  return useQuery({ queryKey: [...keys.apps, id, 'keys'], queryFn: () => must(client.GET('/api/v1/applications/{id}/keys', { params: { path: { id } } })) });
}

export function useSubscriptions(of: { application?: string; api?: string }, enabled = true) {
  return useQuery({ queryKey: [...keys.subs, of], queryFn: () => must(client.GET('/api/v1/subscriptions', { params: { query: { ...of, limit: 200 } } })), enabled });
}

/** usePlans are all plans there are, page by page. */
export function usePlans(enabled = true) {
  return useQuery({
    queryKey: [...keys.plans, 'list'],
    queryFn: async () => {
      const items: Plan[] = [];
      for (let cursor: string | undefined; ; ) {
        const page = await must(client.GET('/api/v1/plans', { params: { query: { limit: 200, cursor } } }));
        items.push(...page.items);
        cursor = page.nextCursor;
        if (!cursor) return { items, total: page.total };
      }
    },
    enabled,
  });
}

/** usePlan is a plan with the ETag that a change of it needs. */
export function usePlan(name: string, enabled = true) {
  return useQuery({ queryKey: [...keys.plans, 'one', name], queryFn: () => mustTagged(client.GET('/api/v1/plans/{name}', { params: { path: { name } } })), enabled });
}

/** useOffered are the plans that one can subscribe to an API with. */
export function useOffered(id: string) {
  return useQuery({ queryKey: ['dev', id, 'plans'], queryFn: () => must(client.GET('/api/v1/dev/apis/{id}/plans', { params: { path: { id } } })) });
}

function useChange<In, Out>(change: (input: In) => Promise<Out>) {
  const queries = useQueryClient();
  return useMutation({
    mutationFn: change,
    onSettled: () => Promise.all([queries.invalidateQueries({ queryKey: keys.apps }), queries.invalidateQueries({ queryKey: keys.subs })]),
  });
}

export const useCreateApplication = () =>
  useChange((m: { name: string; displayName?: string; description?: string }) =>
    must(client.POST('/api/v1/applications', { params: { query: {} }, body: { apiVersion: 'sluice/v1', kind: 'Application', metadata: m } })).then((a) => a as Application),
  );

export const useDeleteApplication = (id: string) => useChange(() => must(client.DELETE('/api/v1/applications/{id}', { params: { path: { id }, header: { 'If-Match': '*' } } })));

export const useCreateKey = (id: string) => useChange((name: string) => must(client.POST('/api/v1/applications/{id}/keys', { params: { path: { id } }, body: { name } })));

export const useDeleteKey = (id: string) =>
  useChange((key: string) => must(client.DELETE('/api/v1/applications/{id}/keys/{key}', { params: { path: { id, key }, header: { 'If-Match': '*' } } })));

export const useRotateSecret = (id: string) => useChange(() => must(client.POST('/api/v1/applications/{id}/secret', { params: { path: { id } } })));

export const useSubscribe = () =>
  useChange((spec: Schemas['SubscriptionSpec']) => must(client.POST('/api/v1/subscriptions', { params: { query: {} }, body: { apiVersion: 'sluice/v1', kind: 'Subscription', spec } })));

export const useUnsubscribe = () => useChange((id: string) => must(client.DELETE('/api/v1/subscriptions/{id}', { params: { path: { id }, header: { 'If-Match': '*' } } })));

export const useSetState = () =>
  useChange(({ id, state }: { id: string; state: Schemas['SubscriptionState'] }) => must(client.POST('/api/v1/subscriptions/{id}/state', { params: { path: { id } }, body: { state } })));

/** usePlanChange wraps a change of a plan: whatever comes of it, the plans and who offers them are asked for again. */
function usePlanChange<In, Out>(change: (input: In) => Promise<Out>) {
  const queries = useQueryClient();
  return useMutation({
    mutationFn: change,
    onSettled: () => Promise.all([queries.invalidateQueries({ queryKey: keys.plans }), queries.invalidateQueries({ queryKey: ['dev'] })]),
  });
}

export const useCreatePlan = () => usePlanChange((plan: Plan) => must(client.POST('/api/v1/plans', { params: { query: {} }, body: plan })));

export const useSavePlan = (name: string) =>
  usePlanChange(({ plan, etag }: { plan: Plan; etag: string }) => must(client.PUT('/api/v1/plans/{name}', { params: { path: { name }, header: { 'If-Match': etag } }, body: plan })));

/** useDeletePlan does not ask for the plan that is gone. */
export function useDeletePlan(name: string) {
  const queries = useQueryClient();
  return useMutation({
    mutationFn: (etag: string) => must(client.DELETE('/api/v1/plans/{name}', { params: { path: { name }, header: { 'If-Match': etag } } })),
    onSuccess: () => void queries.invalidateQueries({ queryKey: [...keys.plans, 'list'] }),
    onError: () => queries.invalidateQueries({ queryKey: keys.plans }),
  });
}

/** quotaOf says a plan's quota in words. */
export function quotaOf(p: Plan): string {
  const q = p.spec?.quota;
  if (!q?.events) return 'unlimited events';
  const every = q.every && q.every > 1 ? `${q.every} ${q.unit}s` : q.unit;
  return `${q.events.toLocaleString('en')} events per ${every}`;
}

/** limitsOf says all that a plan limits. */
export function limitsOf(p: Plan): string {
  const c = p.spec?.connections;
  const out = [quotaOf(p)];
  if (p.spec?.rate?.events) out.push(`${p.spec.rate.events} events per ${p.spec.rate.per ?? '1s'} on each stream`);
  if (c?.perSubscription) out.push(`${c.perSubscription} streams at once`);
  if (c?.perKey) out.push(`${c.perKey} with one key`);
  if (p.spec?.enforce === false && (out.length > 1 || p.spec.quota?.events)) out.push('all this counted, not enforced');
  if (p.spec?.maxDuration && !/^0/.test(String(p.spec.maxDuration))) out.push(`a stream lasts ${p.spec.maxDuration}`);
  if (p.spec?.requiresApproval) out.push('a publisher lets each subscription in');
  return out.join(', ');
}
