import { Anchor, Badge, Button, Group, Select, Stack, Table, Text, TextInput, Title } from '@mantine/core';
import { useDebouncedValue } from '@mantine/hooks';
import { Link } from '@tanstack/react-router';
import { useState } from 'react';

import { useApis } from '../api/apis';
import type { APISummary, Schemas } from '../api/client';
import type { Sample } from '../live/history';
import { useChanges } from '../live/useChanges';
import { useMonitor } from '../live/useMonitor';
import { has, useMe } from '../session';
import { StateBadge } from '../ui/badges';
import { count, rate } from '../ui/numbers';
import { Empty, NotAllowed, Shown } from '../ui/states';
import { Ago } from '../ui/time';

const states: Schemas['State'][] = ['CREATED', 'PROTOTYPED', 'PUBLISHED', 'BLOCKED', 'DEPRECATED', 'RETIRED'];

/** ApiList is the publisher's start: all APIs, filtered, kept up to date by the server's own streams. */
export function ApiList() {
  const { data: me } = useMe();
  const [q, setQ] = useState('');
  const [state, setState] = useState<Schemas['State'] | null>(null);
  const [cursors, setCursors] = useState<string[]>([]);
  const [find] = useDebouncedValue(q.trim(), 200);
  const apis = useApis({ q: find || undefined, state: state ?? undefined, cursor: cursors.at(-1) });
  const may = has(me, 'creator', 'publisher');
  useChanges(may);
  const { sample } = useMonitor('', may);
  if (!may) return <NotAllowed role="creator or publisher" />;
  const create = has(me, 'creator') && (
    <Group gap="xs">
      <Button component={Link} to="/apis/new">
        Create API
      </Button>
      <Button component={Link} to="/apis/import" variant="default">
        Import
      </Button>
    </Group>
  );
  const filtered = find !== '' || state !== null;
  return (
    <Stack>
      <Group justify="space-between">
        <Title order={1} size="h2">
          APIs
        </Title>
        {create}
      </Group>
      <Group>
        <TextInput
          aria-label="Search APIs"
          placeholder="Search names and descriptions"
          value={q}
          onChange={(e) => {
            setQ(e.currentTarget.value);
            setCursors([]);
          }}
          w={{ base: '100%', xs: 280 }}
        />
        <Select
          aria-label="State"
          placeholder="Any state"
          data={states}
          value={state}
          clearable
          onChange={(v) => {
            setState(v as Schemas['State'] | null);
            setCursors([]);
          }}
        />
      </Group>
      <Shown of={apis} what="APIs">
        {(page) =>
          page.items.length === 0 ? (
            filtered ? (
              <Empty title="Nothing fits this filter" action={<Button variant="default" onClick={() => (setQ(''), setState(null))}>Show all</Button>} />
            ) : (
              <Empty title="No API yet" action={create}>
                An API gives one backend stream to very many clients: a name, a context, a version and the backend’s address are enough.
              </Empty>
            )
          ) : (
            <>
              <Rows items={page.items} live={sample} />
              {(page.nextCursor || cursors.length > 0) && (
                <Group>
                  <Button variant="default" size="xs" disabled={!cursors.length} onClick={() => setCursors(cursors.slice(0, -1))}>
                    Back
                  </Button>
                  <Button variant="default" size="xs" disabled={!page.nextCursor} onClick={() => setCursors([...cursors, page.nextCursor!])}>
                    Next
                  </Button>
                  <Text size="sm" c="dimmed">
                    {page.total} in all
                  </Text>
                </Group>
              )}
            </>
          )
        }
      </Shown>
    </Stack>
  );
}

function Rows({ items, live }: { items: APISummary[]; live: Sample | undefined }) {
  const of = new Map(live?.apis.map((a) => [a.id, a]));
  const figure = (id: string, read: (a: Sample['apis'][number]) => string) => {
    const a = of.get(id);
    return a ? read(a) : live && live.apisLeft === 0 ? '–' : '…';
  };
  return (
    <Table.ScrollContainer minWidth={720}>
      <Table className="figures" highlightOnHover verticalSpacing="sm">
        <Table.Thead>
          <Table.Tr>
            <Table.Th>Name</Table.Th>
            <Table.Th>State</Table.Th>
            <Table.Th>Answers at</Table.Th>
            <Table.Th>Topics</Table.Th>
            <Table.Th>Feeds up</Table.Th>
            <Table.Th>Clients</Table.Th>
            <Table.Th>Events/s</Table.Th>
            <Table.Th>Changed</Table.Th>
          </Table.Tr>
        </Table.Thead>
        <Table.Tbody>
          {items.map((a) => (
            <Table.Tr key={a.id}>
              <Table.Td>
                <Anchor component={Link} to={`/apis/${a.id}` as string} fw={600}>
                  {a.displayName}
                </Anchor>{' '}
                <Text span size="sm" c="dimmed">
                  {a.version}
                </Text>
                {a.default && (
                  <Badge ml={6} size="xs" variant="default">
                    default
                  </Badge>
                )}
              </Table.Td>
              <Table.Td>
                <StateBadge state={a.state} />
              </Table.Td>
              <Table.Td className="mono">{a.basePath}</Table.Td>
              <Table.Td>{a.topics}</Table.Td>
              <Table.Td>{figure(a.id, (l) => `${l.states.up ?? 0} of ${l.feeds}`)}</Table.Td>
              <Table.Td>{figure(a.id, (l) => count(l.clients))}</Table.Td>
              <Table.Td>{figure(a.id, (l) => rate(l.eventsPerSecond))}</Table.Td>
              <Table.Td>
                <Ago at={a.updatedAt} />
              </Table.Td>
            </Table.Tr>
          ))}
        </Table.Tbody>
      </Table>
    </Table.ScrollContainer>
  );
}
