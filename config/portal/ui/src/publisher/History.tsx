import { Stack, Table, Text } from '@mantine/core';

import { useLifecycle } from '../api/apis';
import { Empty, Shown } from '../ui/states';
import { Ago } from '../ui/time';
import type { TabProps } from './ApiPage';

/** History is the audit of an API: who changed what, newest first. */
export function History({ id }: TabProps) {
  const life = useLifecycle(id);
  return (
    <Shown of={life} what="the history">
      {(l) =>
        l.history.length === 0 ? (
          <Empty title="Nothing has happened yet" />
        ) : (
          <Stack>
            <Text size="sm" c="dimmed">
              The last {l.history.length} changes.
            </Text>
            <Table.ScrollContainer minWidth={480}>
              <Table>
                <Table.Thead>
                  <Table.Tr>
                    <Table.Th>When</Table.Th>
                    <Table.Th>Who</Table.Th>
                    <Table.Th>What</Table.Th>
                    <Table.Th>Comment</Table.Th>
                  </Table.Tr>
                </Table.Thead>
                <Table.Tbody>
                  {l.history.map((h, i) => (
                    <Table.Tr key={i}>
                      <Table.Td>
                        <Ago at={h.at} />
                      </Table.Td>
                      <Table.Td>{h.by}</Table.Td>
                      <Table.Td>
                        {h.action}
                        {h.from && h.to && h.from !== h.to ? `: ${h.from} → ${h.to}` : ''}
                        {h.revision ? `, revision ${h.revision}` : ''}
                      </Table.Td>
                      <Table.Td>{h.comment}</Table.Td>
                    </Table.Tr>
                  ))}
                </Table.Tbody>
              </Table>
            </Table.ScrollContainer>
          </Stack>
        )
      }
    </Shown>
  );
}
