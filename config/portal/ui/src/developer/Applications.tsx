import { Alert, Anchor, Badge, Breadcrumbs, Button, Code, Group, Stack, Table, Text, TextInput, Title } from '@mantine/core';
import { Link, useNavigate, useParams } from '@tanstack/react-router';
import { useState } from 'react';

import { useApplication, useApplications, useCreateApplication, useCreateKey, useDeleteApplication, useDeleteKey, useKeys, useRotateSecret, useSubscriptions, useUnsubscribe } from '../api/access';
import { Refused } from '../api/client';
import { byField } from '../api/problem';
import { has, useMe } from '../session';
import { Copy } from '../ui/Copy';
import { PlanLink } from '../ui/PlanLink';
import { Empty, Failed, NotAllowed, Shown } from '../ui/states';
import { Ago } from '../ui/time';
import { hold } from './held';

/** Applications are what subscribes: a developer's programs. */
export function Applications() {
  const { data: me } = useMe();
  const can = has(me, 'subscriber');
  const list = useApplications(can);
  const create = useCreateApplication();
  const [name, setName] = useState('');
  const go = useNavigate();
  if (!can) return <NotAllowed role="subscriber" />;
  const told = create.error instanceof Refused ? byField(create.error.problem, { '/metadata/name': 'name' }) : undefined;
  return (
    <Stack maw={860}>
      <Title order={1} size="h2">
        Applications
      </Title>
      <form
        onSubmit={(e) => {
          e.preventDefault();
          create.mutate({ name }, { onSuccess: (a) => void go({ to: '/applications/$id', params: { id: a.metadata.name } }) });
        }}
      >
        <Group align="flex-start">
          <TextInput label="New application" placeholder="dashboard" value={name} onChange={(e) => setName(e.currentTarget.value)} error={told?.errors.name ?? told?.rest.join(' ')} w={{ base: '100%', xs: 320 }} />
          <Button type="submit" mt={24} disabled={!name} loading={create.isPending}>
            Create
          </Button>
        </Group>
      </form>
      <Shown of={list} what="applications">
        {(l) =>
          l.items.length === 0 ? (
            <Empty title="No application yet">An application is a program that reads streams: it subscribes to APIs and has keys.</Empty>
          ) : (
            <Table.ScrollContainer minWidth={420}>
              <Table>
                <Table.Thead>
                  <Table.Tr>
                    <Table.Th>Name</Table.Th>
                    <Table.Th>State</Table.Th>
                    <Table.Th>Subscriptions</Table.Th>
                    <Table.Th>Keys</Table.Th>
                  </Table.Tr>
                </Table.Thead>
                <Table.Tbody>
                  {l.items.map((a) => (
                    <Table.Tr key={a.status?.id ?? a.metadata.name}>
                      <Table.Td>
                        <Anchor component={Link} to={`/applications/${a.status?.id ?? a.metadata.name}` as string} fw={600}>
                          {a.metadata.displayName ?? a.metadata.name}
                        </Anchor>
                      </Table.Td>
                      <Table.Td>{a.spec?.state ?? 'ACTIVE'}</Table.Td>
                      <Table.Td>{a.status?.subscriptions ?? 0}</Table.Td>
                      <Table.Td>{a.status?.keys ?? 0}</Table.Td>
                    </Table.Tr>
                  ))}
                </Table.Tbody>
              </Table>
            </Table.ScrollContainer>
          )
        }
      </Shown>
    </Stack>
  );
}

/** Application is one of them: its keys, its client secret, what it subscribed to. */
export function Application() {
  const { id } = useParams({ strict: false }) as { id: string };
  const app = useApplication(id);
  const del = useDeleteApplication(id);
  const go = useNavigate();
  return (
    <Shown of={app} what="the application">
      {(a) => (
        <Stack maw={860}>
          <Breadcrumbs>
            <Anchor component={Link} to="/applications">
              Applications
            </Anchor>
            <Text>{a.metadata.name}</Text>
          </Breadcrumbs>
          <Group>
            <Title order={1} size="h2">
              {a.metadata.displayName ?? a.metadata.name}
            </Title>
            {a.spec?.state === 'BLOCKED' && <Badge color="red">BLOCKED</Badge>}
          </Group>
          <Keys id={id} />
          <Secret id={id} has={!!a.status?.secret} />
          <Subscriptions application={id} />
          {del.error && <Failed error={del.error} />}
          <Group>
            <Button variant="subtle" color="red" size="xs" loading={del.isPending} onClick={() => del.mutate(undefined, { onSuccess: () => void go({ to: '/applications' }) })}>
              Delete the application, its keys and subscriptions
            </Button>
          </Group>
        </Stack>
      )}
    </Shown>
  );
}

/** Once shows a secret that the server tells only now. */
export function Once({ what, text }: { what: string; text: string }) {
  return (
    <Alert color="teal" title={`${what}: shown only now`} role="status">
      <Stack gap="xs" align="flex-start">
        <Code block className="secret">
          {text}
        </Code>
        <Copy text={text} label="Copy it" />
      </Stack>
    </Alert>
  );
}

export function Keys({ id }: { id: string }) {
  const keys = useKeys(id);
  const make = useCreateKey(id);
  const del = useDeleteKey(id);
  const [name, setName] = useState('');
  return (
    <>
      <Title order={2} size="h4">
        API keys
      </Title>
      {make.data && <Once what="The new key" text={make.data.key} />}
      {make.error && <Failed error={make.error} />}
      {del.error && <Failed error={del.error} />}
      <Group align="flex-end">
        <TextInput label="New key" placeholder="what it is for" value={name} onChange={(e) => setName(e.currentTarget.value)} />
        <Button variant="default" loading={make.isPending} onClick={() => make.mutate(name, { onSuccess: (k) => (hold(k.key), setName('')) })}>
          Make a key
        </Button>
      </Group>
      <Shown of={keys} what="keys">
        {(l) =>
          l.items.length === 0 ? (
            <Text c="dimmed">No key yet.</Text>
          ) : (
            <Table>
              <Table.Tbody>
                {l.items.map((k) => (
                  <Table.Tr key={k.id}>
                    <Table.Td className="mono">slk_{k.id}_…</Table.Td>
                    <Table.Td>{k.name}</Table.Td>
                    <Table.Td>{k.state}</Table.Td>
                    <Table.Td>
                      <Ago at={k.createdAt} />
                    </Table.Td>
                    <Table.Td>
                      <Button size="compact-xs" variant="subtle" color="red" aria-label={`Delete key ${k.id}`} onClick={() => del.mutate(k.id)}>
                        Delete
                      </Button>
                    </Table.Td>
                  </Table.Tr>
                ))}
              </Table.Tbody>
            </Table>
          )
        }
      </Shown>
    </>
  );
}

function Secret({ id, has: there }: { id: string; has: boolean }) {
  const rotate = useRotateSecret(id);
  return (
    <>
      <Title order={2} size="h4">
        Client secret
      </Title>
      <Text size="sm" c="dimmed">
        For tokens by client credentials at <Code>/oauth2/token</Code> of an edge. {there ? 'There is one; a new one ends it.' : 'There is none yet.'}
      </Text>
      {rotate.data && <Once what={`The secret of client ${rotate.data.clientId}`} text={rotate.data.clientSecret} />}
      {rotate.error && <Failed error={rotate.error} />}
      <Group>
        <Button variant="default" size="xs" loading={rotate.isPending} onClick={() => rotate.mutate()}>
          Make a secret
        </Button>
      </Group>
    </>
  );
}

function Subscriptions({ application }: { application: string }) {
  const list = useSubscriptions({ application });
  const end = useUnsubscribe();
  return (
    <>
      <Title order={2} size="h4">
        Subscriptions
      </Title>
      {end.error && <Failed error={end.error} />}
      <Shown of={list} what="subscriptions">
        {(l) =>
          l.items.length === 0 ? (
            <Text c="dimmed">
              None yet. <Anchor component={Link} to="/dev">Find an API</Anchor> and subscribe there.
            </Text>
          ) : (
            <Table>
              <Table.Tbody>
                {l.items.map((s) => (
                  <Table.Tr key={s.status?.id ?? `${s.spec.api}@${s.spec.version}`}>
                    <Table.Td>
                      <Anchor component={Link} to={`/dev/${s.spec.api}@${s.spec.version}` as string}>
                        {s.spec.api} {s.spec.version}
                      </Anchor>
                    </Table.Td>
                    <Table.Td>
                      <PlanLink name={s.spec.plan} />
                    </Table.Td>
                    <Table.Td>{s.spec.state ?? 'UNBLOCKED'}</Table.Td>
                    <Table.Td>
                      <Button size="compact-xs" variant="subtle" color="red" aria-label={`End the subscription to ${s.spec.api}`} onClick={() => end.mutate(s.status?.id ?? s.metadata?.name ?? '')}>
                        End
                      </Button>
                    </Table.Td>
                  </Table.Tr>
                ))}
              </Table.Tbody>
            </Table>
          )
        }
      </Shown>
    </>
  );
}
