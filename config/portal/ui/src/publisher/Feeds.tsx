import { Alert, Group, SimpleGrid, Stack, Table, Text } from '@mantine/core';

import { Refused } from '../api/client';
import { useMonitor } from '../live/useMonitor';
import { UpstreamBadge } from '../ui/badges';
import { Fact } from '../ui/Fact';
import { count, rate } from '../ui/numbers';
import { Empty, Failed, Loading } from '../ui/states';
import { Ago } from '../ui/time';
import { Wide } from '../ui/Wide';
import type { TabProps } from './ApiPage';

/** Feeds shows what runs of an API now: each upstream connection, who reads it, how it does, who listens. */
export function Feeds({ id }: TabProps) {
  const { source, sample: s } = useMonitor(id);
  if (!s) return source.problem ? <Failed error={new Refused(source.problem)} /> : <Loading what="feeds" />;
  const of = s.apis[0];
  return (
    <Stack>
      <SimpleGrid cols={{ base: 2, sm: 4 }} role="group" aria-label="In short">
        <Fact label="Clients" value={count(s.clients)} />
        <Fact label="Feeds" value={of?.feeds ?? 0} />
        <Fact label="Up" value={of?.states.up ?? 0} />
        <Fact label="Events per second" value={rate(of?.eventsPerSecond ?? 0)} />
      </SimpleGrid>
      {s.silent.length > 0 && <Alert color="yellow">These nodes did not answer: {s.silent.join(', ')}</Alert>}
      {s.feeds.length === 0 ? (
        <Empty title="No feed runs">A feed runs once a client asks for it, or always if its topic says so and the API is live.</Empty>
      ) : (
        <Wide min={640} label="Feeds, scrolled sideways">
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
              {s.feeds.map((f) => (
                <Table.Tr key={f.path}>
                  <Table.Td className="mono">{f.path}</Table.Td>
                  <Table.Td>
                    <Group gap={6}>
                      <UpstreamBadge state={f.state} />
                      {f.why && <Text size="xs">{f.why}</Text>}
                    </Group>
                  </Table.Td>
                  <Table.Td>{f.owner ?? '–'}</Table.Td>
                  <Table.Td>{f.lastEventAt ? <Ago at={f.lastEventAt} /> : '–'}</Table.Td>
                  <Table.Td>{rate(f.eventsPerSecond)}</Table.Td>
                  <Table.Td>{count(f.clients)}</Table.Td>
                </Table.Tr>
              ))}
            </Table.Tbody>
          </Table>
        </Wide>
      )}
      {s.feedsLeft > 0 && <Text size="sm">and {count(s.feedsLeft)} more, which are up</Text>}
    </Stack>
  );
}
