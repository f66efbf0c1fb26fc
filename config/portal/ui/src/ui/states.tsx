import { Alert, Button, Center, Code, Group, Loader, Stack, Text, Title } from '@mantine/core';
import type { ReactNode } from 'react';

import { Refused } from '../api/client';
import { slugOf } from '../api/problem';

/** Loading holds the place of something that comes. */
export function Loading({ what }: { what: string }) {
  return (
    <Center mih={160} role="status" aria-live="polite">
      <Group gap="sm">
        <Loader size="sm" aria-hidden />
        <Text c="dimmed">Loading {what} …</Text>
      </Group>
    </Center>
  );
}

/** Empty says that there is nothing, and what to do next. */
export function Empty({ title, children, action }: { title: string; children?: ReactNode; action?: ReactNode }) {
  return (
    <Center mih={220}>
      <Stack align="center" gap="xs" maw={460}>
        <Title order={2} size="h4" ta="center">
          {title}
        </Title>
        {children && (
          <Text c="dimmed" ta="center" component="div">
            {children}
          </Text>
        )}
        {action}
      </Stack>
    </Center>
  );
}

/** NotAllowed says which role is missing. */
export function NotAllowed({ role }: { role: string }) {
  return (
    <Empty title="This page is not for your role">
      It needs the role {role}. An administrator can give it to you on the page Users.
    </Empty>
  );
}

/** Failed tells an error as the server told it. */
export function Failed({ error, retry }: { error: Error; retry?: () => void }) {
  const p = error instanceof Refused ? error.problem : undefined;
  return (
    <Alert color="red" variant="light" title={p?.title ?? 'Something went wrong in this page'} role="alert">
      <Stack gap="xs" align="flex-start">
        <Text size="sm">{p?.detail ?? error.message}</Text>
        {p?.errors?.map((f, i) => (
          <Text size="sm" key={i}>
            {(f.pointer ?? f.parameter) && <Code>{f.pointer ?? f.parameter}</Code>} {f.line ? `line ${f.line}, column ${f.column}: ` : ''}
            {f.detail} {f.hint && <em>{f.hint}</em>}
          </Text>
        ))}
        {p && p.status > 0 && (
          <Text size="xs" c="dimmed">
            {p.status} {slugOf(p)}
            {p.instance && <> · request {p.instance}, as in the server’s log</>}
          </Text>
        )}
        {retry && (
          <Button size="xs" variant="default" onClick={retry}>
            Try again
          </Button>
        )}
      </Stack>
    </Alert>
  );
}

/** Shown renders a query's four states; children get the data. */
export function Shown<T>({ of, what, children }: { of: { data: T | undefined; error: Error | null; refetch: () => void }; what: string; children: (data: T) => ReactNode }) {
  if (of.data !== undefined) return <>{children(of.data)}</>;
  if (of.error) return <Failed error={of.error} retry={of.refetch} />;
  return <Loading what={what} />;
}
