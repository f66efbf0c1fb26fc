import { Alert, Badge, Group, SimpleGrid, Stack, Table, Text } from '@mantine/core';
import { useQuery } from '@tanstack/react-query';

import { client, must } from '../api/client';
import { Empty, Shown } from '../ui/states';
import { Ago } from '../ui/time';
import type { TabProps } from './ApiPage';

/** Feeds shows what runs of an API now: each upstream connection, who reads it, how it does, who listens. */
export function Feeds({ id }: TabProps) {
  const status = useQuery({
    queryKey: ['apis', id, 'status'],
    queryFn: () => must(client.GET('/api/v1/apis/{id}/status', { params: { path: { id }, query: { limit: 200 } } })),
    refetchInterval: 2_000,
  });
  return (
    <Shown of={status} what="feeds">
      {(s) => (
        <Stack>
          <SimpleGrid cols={{ base: 2, sm: 4 }} role="status" aria-label="In short">
            <Fact label="Clients" value={s.clients} />
            <Fact label="Feeds" value={s.total} />
            <Fact label="Up" value={s.states.up ?? 0} />
            <Fact label="Events per second" value={s.items.reduce((sum, f) => sum + f.eventsPerSecond, 0).toFixed(1)} />
          </SimpleGrid>
          {s.silent.length > 0 && <Alert color="yellow">These nodes did not answer: {s.silent.join(', ')}</Alert>}
          {s.items.length === 0 ? (
            <Empty title="No feed runs">A feed runs once a client asks for it, or always if its topic says so and the API is live.</Empty>
          ) : (
            <Table.ScrollContainer minWidth={640}>
              <Table>
                <Table.Thead>
                  <Table.Tr>
                    <Table.Th>Path</Table.Th>
                    <Table.Th>Upstream</Table.Th>
                    <Table.Th>Read by</Table.Th>
                    <Table.Th>Newest event</Table.Th>
                    <Table.Th>Per second</Table.Th>
                    <Table.Th>Clients</Table.Th>
                  </Table.Tr>
                </Table.Thead>
                <Table.Tbody>
                  {s.items.map((f) => (
                    <Table.Tr key={f.path}>
                      <Table.Td className="mono">{f.path}</Table.Td>
                      <Table.Td>
                        <Group gap={6}>
                          <Badge color={f.state === 'up' ? 'teal' : 'yellow'} variant="light" tt="none">
                            {f.state}
                          </Badge>
                          {f.why && <Text size="xs">{f.why}</Text>}
                        </Group>
                      </Table.Td>
                      <Table.Td>{f.owner ?? '–'}</Table.Td>
                      <Table.Td>{f.lastEventAt ? <Ago at={f.lastEventAt} /> : '–'}</Table.Td>
                      <Table.Td>{f.eventsPerSecond.toFixed(1)}</Table.Td>
                      <Table.Td>{f.clients}</Table.Td>
                    </Table.Tr>
                  ))}
                </Table.Tbody>
              </Table>
            </Table.ScrollContainer>
          )}
        </Stack>
      )}
    </Shown>
  );
}

function Fact({ label, value }: { label: string; value: number | string }) {
  return (
    <div>
      <Text size="xs" c="dimmed">
        {label}
      </Text>
      <Text fw={600}>{value}</Text>
    </div>
  );
}
