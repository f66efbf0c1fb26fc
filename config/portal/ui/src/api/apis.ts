import { keepPreviousData, useMutation, useQuery, useQueryClient } from '@tanstack/react-query';

import { type Action, type API, client, must, mustTagged, type Schemas, type Topic } from './client';

/** Where the cache keeps what: everything of one API lies below ['apis', id], so that one change makes all of it old. */
const keys = { list: ['apis'] as const, api: (id: string) => ['apis', id] as const };

export type Filter = { q?: string; state?: Schemas['State']; cursor?: string };

export function useApis(filter: Filter) {
  return useQuery({
    queryKey: [...keys.list, 'list', filter],
    queryFn: () => must(client.GET('/api/v1/apis', { params: { query: { ...filter, limit: 50 } } })),
    placeholderData: keepPreviousData,
  });
}

/** useApi is a definition with the ETag that a change of it needs. */
export function useApi(id: string) {
  return useQuery({
    queryKey: [...keys.api(id), 'definition'],
    queryFn: () => mustTagged(client.GET('/api/v1/apis/{id}', { params: { path: { id } } })),
  });
}

export function useLifecycle(id: string) {
  return useQuery({ queryKey: [...keys.api(id), 'lifecycle'], queryFn: () => must(client.GET('/api/v1/apis/{id}/lifecycle', { params: { path: { id } } })) });
}

export function useRevisions(id: string) {
  return useQuery({ queryKey: [...keys.api(id), 'revisions'], queryFn: () => must(client.GET('/api/v1/apis/{id}/revisions', { params: { path: { id } } })) });
}

export function useDeployments(id: string) {
  return useQuery({ queryKey: [...keys.api(id), 'deployments'], queryFn: () => mustTagged(client.GET('/api/v1/apis/{id}/deployments', { params: { path: { id } } })) });
}

export function useFamily(name: string) {
  return useQuery({ queryKey: ['families', name], queryFn: () => must(client.GET('/api/v1/families/{name}', { params: { path: { name } } })) });
}

export type Definition = { version: '3.1.0' | '2.6.0'; format: 'yaml' | 'json' };

export function useDefinition(id: string, how: Definition) {
  return useQuery({
    queryKey: [...keys.api(id), 'asyncapi', how],
    queryFn: () => must<string>(client.GET('/api/v1/apis/{id}/asyncapi', { params: { path: { id }, query: how }, parseAs: 'text' }) as never),
  });
}

/** useDocument is the AsyncAPI document as data. */
export function useDocument(id: string, version: Definition['version']) {
  return useQuery({
    queryKey: [...keys.api(id), 'asyncapi', version],
    queryFn: () => must<unknown>(client.GET('/api/v1/apis/{id}/asyncapi', { params: { path: { id }, query: { version, format: 'json' } } }) as never),
  });
}

/** usePublicDocument is what a developer may know of it. */
export function usePublicDocument(id: string, version: Definition['version']) {
  return useQuery({
    queryKey: ['dev', id, 'asyncapi', version],
    queryFn: () => must<unknown>(client.GET('/api/v1/dev/apis/{id}/asyncapi', { params: { path: { id }, query: { version, format: 'json' } } }) as never),
  });
}

/** useChange wraps a change of one API: whatever comes of it, all that is known of APIs is asked for again. */
function useChange<In, Out>(change: (input: In) => Promise<Out>) {
  const queries = useQueryClient();
  return useMutation({
    mutationFn: change,
    onSettled: () => Promise.all([queries.invalidateQueries({ queryKey: keys.list }), queries.invalidateQueries({ queryKey: ['families'] }), queries.invalidateQueries({ queryKey: ['dev'] })]),
  });
}

export const useCreate = () => useChange((api: API) => must(client.POST('/api/v1/apis', { params: { query: {} }, body: api })));

export const useSave = (id: string) =>
  useChange(({ api, etag }: { api: API; etag: string }) => must(client.PUT('/api/v1/apis/{id}', { params: { path: { id }, header: { 'If-Match': etag } }, body: api })));

/** plan asks what a change would do, and does nothing. */
export const plan = (id: string, api: API, etag: string) =>
  must(client.PUT('/api/v1/apis/{id}', { params: { path: { id }, header: { 'If-Match': etag }, query: { dryRun: true } }, body: api })) as Promise<Schemas['Plan']>;

export const useSetTopics = (id: string) =>
  useChange(({ topics, etag }: { topics: Topic[]; etag: string }) =>
    must(client.PUT('/api/v1/apis/{id}/topics', { params: { path: { id }, header: { 'If-Match': etag } }, body: topics })),
  );

export const useDelete = (id: string) => useChange((etag: string) => must(client.DELETE('/api/v1/apis/{id}', { params: { path: { id }, header: { 'If-Match': etag } } })));

export const useAct = (id: string) =>
  useChange((body: { action: Action; deprecateOlder?: boolean; requireResubscription?: boolean; comment?: string }) => must(client.POST('/api/v1/apis/{id}/lifecycle', { params: { path: { id } }, body: body as Schemas['StateChange'] })));

export const useCutRevision = (id: string) => useChange((description: string) => must(client.POST('/api/v1/apis/{id}/revisions', { params: { path: { id } }, body: { description } })));

export const useRestore = (id: string) => useChange((n: number) => must(client.POST('/api/v1/apis/{id}/revisions/{n}/restore', { params: { path: { id, n } } })));

export const useDeploy = (id: string) =>
  useChange(({ groups, etag }: { groups: Record<string, number>; etag: string }) =>
    must(client.PUT('/api/v1/apis/{id}/deployments', { params: { path: { id }, header: { 'If-Match': etag } }, body: { groups } })),
  );

export const useCopy = (id: string) => useChange((body: { version: string; default: boolean }) => must(client.POST('/api/v1/apis/{id}/versions', { params: { path: { id } }, body })));

export const useSetDefault = (name: string) =>
  useChange((body: { defaultVersion: string | null; moveClients: boolean }) => must(client.PUT('/api/v1/families/{name}', { params: { path: { name } }, body })));

export const useSaveDefinition = (id: string) =>
  useChange(({ text, format }: { text: string; format: 'yaml' | 'json' }) =>
    must(
      client.PUT('/api/v1/apis/{id}/asyncapi', {
        params: { path: { id }, header: { 'If-Match': '*' } },
        body: text as never,
        bodySerializer: (b: unknown) => b as string,
        headers: { 'Content-Type': `application/${format}` },
      }),
    ),
  );

/** check lets the server judge a document. */
export const check = (text: string, format: 'yaml' | 'json') =>
  must(client.POST('/api/v1/validate/asyncapi', { body: text as never, bodySerializer: (b: unknown) => b as string, headers: { 'Content-Type': `application/${format}` } }));

export function useAvailability(q: { name: string; context: string; version: string }) {
  return useQuery({
    queryKey: ['availability', q],
    queryFn: () => must(client.GET('/api/v1/availability', { params: { query: q } })),
    enabled: !!(q.name && q.context && q.version),
    placeholderData: keepPreviousData,
  });
}
