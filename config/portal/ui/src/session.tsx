import { useMutation, useQuery, useQueryClient } from '@tanstack/react-query';

import { client, type Me, must, Refused, type Role } from './api/client';

const key = ['me'];

/** useMe is who is signed in: null = nobody, undefined = not known yet. */
export function useMe() {
  return useQuery({
    queryKey: key,
    queryFn: async (): Promise<Me | null> => {
      try {
        return await must(client.GET('/api/v1/me'));
      } catch (e) {
        if (e instanceof Refused && e.problem.status === 401) return null;
        throw e;
      }
    },
    staleTime: 60_000,
  });
}

/** has tells whether somebody has one of the roles; an administrator has all. */
export function has(me: Me | null | undefined, ...roles: Role[]): boolean {
  return !!me && (me.roles.includes('admin') || roles.some((r) => me.roles.includes(r)));
}

export function useLogin() {
  const queries = useQueryClient();
  return useMutation({
    mutationFn: (body: { name: string; password: string }) => must(client.POST('/api/v1/login', { body: { ...body, cookie: true } })),
    onSuccess: () => queries.resetQueries(),
  });
}

export function useLogout() {
  const queries = useQueryClient();
  return useMutation({
    mutationFn: () => must(client.POST('/api/v1/logout')),
    onSettled: () => queries.resetQueries(),
  });
}
