import { Badge, Button, Group, Select, Stack, Table, Text, TextInput, Title } from '@mantine/core';
import { notifications } from '@mantine/notifications';
import { useState } from 'react';

import { useCutRevision, useDeploy, useDeployments, useRestore, useRevisions } from '../api/apis';
import { has, useMe } from '../session';
import { Empty, Failed, Shown } from '../ui/states';
import { Ago } from '../ui/time';
import type { TabProps } from './ApiPage';

/** Revisions are the numbered copies of a definition, and which edge group serves which. */
export function Revisions({ id, api }: TabProps) {
  const { data: me } = useMe();
  const list = useRevisions(id);
  const deployed = useDeployments(id);
  const cut = useCutRevision(id);
  const restore = useRestore(id);
  const deploy = useDeploy(id);
  const [text, setText] = useState('');
  const creator = has(me, 'creator') && api.spec.state !== 'RETIRED';
  const publisher = has(me, 'publisher') && api.spec.state !== 'RETIRED';
  return (
    <Stack maw={860}>
      <Text size="sm" c="dimmed">
        {api.spec.deploy === 'manual' ? 'Changes wait here until a revision of them is deployed.' : 'Each accepted change of a live API is cut and deployed by itself.'}
      </Text>
      {[cut.error, restore.error, deploy.error].map((e, i) => e && <Failed key={i} error={e} />)}
      {creator && (
        <Group align="flex-end">
          <TextInput label="New revision of the working copy" placeholder="what it is for" value={text} onChange={(e) => setText(e.currentTarget.value)} w={{ base: '100%', xs: 320 }} />
          <Button variant="default" loading={cut.isPending} onClick={() => cut.mutate(text, { onSuccess: () => setText('') })}>
            Cut
          </Button>
        </Group>
      )}
      <Shown of={list} what="revisions">
        {(l) =>
          l.items.length === 0 ? (
            <Empty title="No revision yet">The first is cut when the API is published.</Empty>
          ) : (
            <Table.ScrollContainer minWidth={520}>
              <Table>
                <Table.Thead>
                  <Table.Tr>
                    <Table.Th>Revision</Table.Th>
                    <Table.Th>Cut</Table.Th>
                    <Table.Th>Description</Table.Th>
                    <Table.Th>Served by</Table.Th>
                    <Table.Th />
                  </Table.Tr>
                </Table.Thead>
                <Table.Tbody>
                  {l.items.map((r) => (
                    <Table.Tr key={r.n}>
                      <Table.Td>{r.n}</Table.Td>
                      <Table.Td>
                        <Ago at={r.at} /> by {r.by}
                      </Table.Td>
                      <Table.Td>{r.description || (r.auto ? <Text span size="sm" c="dimmed">by itself</Text> : '')}</Table.Td>
                      <Table.Td>
                        {r.groups.map((g) => (
                          <Badge key={g} variant="light" mr={4}>
                            {g}
                          </Badge>
                        ))}
                      </Table.Td>
                      <Table.Td>
                        {creator && (
                          <Button
                            size="compact-xs"
                            variant="default"
                            onClick={() => restore.mutate(r.n, { onSuccess: () => notifications.show({ message: `Revision ${r.n} is now the working copy.`, closeButtonProps: { 'aria-label': 'Dismiss' } }) })}
                          >
                            Restore
                          </Button>
                        )}
                      </Table.Td>
                    </Table.Tr>
                  ))}
                </Table.Tbody>
              </Table>
            </Table.ScrollContainer>
          )
        }
      </Shown>
      <Title order={2} size="h4">
        Deployments
      </Title>
      <Shown of={deployed} what="deployments">
        {({ data, etag }) => {
          const groups = [...new Set([...(api.spec.edgeGroups ?? ['default']), ...Object.keys(data.groups)])];
          return (
            <Group>
              {groups.map((g) => (
                <Select
                  key={g}
                  label={`Edge group ${g}`}
                  data={(list.data?.items ?? []).map((r) => String(r.n))}
                  value={data.groups[g] ? String(data.groups[g]) : null}
                  placeholder="not deployed"
                  clearable
                  disabled={!publisher || deploy.isPending}
                  onChange={(v) => {
                    const next = { ...data.groups };
                    if (v) next[g] = Number(v);
                    else delete next[g];
                    deploy.mutate({ groups: next, etag });
                  }}
                />
              ))}
            </Group>
          );
        }}
      </Shown>
    </Stack>
  );
}
