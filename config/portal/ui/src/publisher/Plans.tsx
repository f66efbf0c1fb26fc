import { Anchor, Button, Checkbox, Group, Stack, Table, Text, Title } from '@mantine/core';
import { Link } from '@tanstack/react-router';

import { limitsOf, usePlans, useSetState, useSubscriptions } from '../api/access';
import { useSave } from '../api/apis';
import { has, useMe } from '../session';
import { PlanLink } from '../ui/PlanLink';
import { SaveBar } from '../ui/SaveBar';
import { Empty, Failed, Shown } from '../ui/states';
import { useDraft } from '../ui/useDraft';
import type { TabProps } from './ApiPage';

/** Plans are what applications can subscribe with, and who did. */
export function Plans({ id, api, etag }: TabProps) {
  const { data: me } = useMe();
  const all = usePlans();
  const save = useSave(id);
  const d = useDraft<string[]>(api.spec.plans ?? [], etag, { '/spec/plans': 'plans' });
  const can = has(me, 'creator') && api.spec.state !== 'RETIRED';
  return (
    <Stack maw={860}>
      <Shown of={all} what="plans">
        {(l) => l.items.length === 0 ? (
          <Empty title="There is no plan">An administrator makes plans: on the page Plans, by the REST API, or `sluice create plan`.</Empty>
        ) : (
          <Checkbox.Group label="Plans that applications can subscribe with" value={d.draft} onChange={d.change} error={d.told.errors.plans}>
            <Stack gap="xs" mt="xs">
              {l.items.map((p) => (
                <Checkbox key={p.metadata.name} value={p.metadata.name} label={p.metadata.displayName ?? p.metadata.name} description={limitsOf(p)} disabled={!can} />
              ))}
            </Stack>
          </Checkbox.Group>
        )}
      </Shown>
      {has(me) && (
        <Anchor component={Link} to="/plans" size="sm">
          Make and change plans
        </Anchor>
      )}
      {can && (
        <SaveBar dirty={d.dirty} stale={d.stale} busy={save.isPending} rest={d.told.rest} onSave={() => void d.save((plans, tag) => save.mutateAsync({ etag: tag, api: { ...api, status: undefined, spec: { ...api.spec, plans } } }))} onReset={d.reset} />
      )}
      {has(me, 'publisher') && <Subscribers id={id} />}
    </Stack>
  );
}

function Subscribers({ id }: { id: string }) {
  const list = useSubscriptions({ api: id });
  const set = useSetState();
  return (
    <>
      <Title order={2} size="h4">
        Subscriptions
      </Title>
      {set.error && <Failed error={set.error} />}
      <Shown of={list} what="subscriptions">
        {(l) =>
          l.items.length === 0 ? (
            <Empty title="Nobody has subscribed yet" />
          ) : (
            <Table.ScrollContainer minWidth={480}>
              <Table>
                <Table.Thead>
                  <Table.Tr>
                    <Table.Th>Application</Table.Th>
                    <Table.Th>Owner</Table.Th>
                    <Table.Th>Plan</Table.Th>
                    <Table.Th>State</Table.Th>
                    <Table.Th />
                  </Table.Tr>
                </Table.Thead>
                <Table.Tbody>
                  {l.items.map((s) => {
                    const open = (s.spec.state ?? 'UNBLOCKED') === 'UNBLOCKED';
                    return (
                      <Table.Tr key={s.status?.id}>
                        <Table.Td>{s.spec.application}</Table.Td>
                        <Table.Td>{s.status?.owner}</Table.Td>
                        <Table.Td>
                          <PlanLink name={s.spec.plan} />
                        </Table.Td>
                        <Table.Td>{s.spec.state ?? 'UNBLOCKED'}</Table.Td>
                        <Table.Td>
                          <Group gap="xs" wrap="nowrap">
                            {!open && (
                              <Button size="compact-xs" variant="default" loading={set.isPending} onClick={() => set.mutate({ id: s.status?.id ?? '', state: 'UNBLOCKED' })}>
                                Let in
                              </Button>
                            )}
                            {s.spec.state === 'ON_HOLD' && (
                              <Button size="compact-xs" variant="default" loading={set.isPending} onClick={() => set.mutate({ id: s.status?.id ?? '', state: 'REJECTED' })}>
                                Reject
                              </Button>
                            )}
                            {open && (
                              <Button size="compact-xs" variant="default" loading={set.isPending} onClick={() => set.mutate({ id: s.status?.id ?? '', state: 'BLOCKED' })}>
                                Block
                              </Button>
                            )}
                          </Group>
                        </Table.Td>
                      </Table.Tr>
                    );
                  })}
                </Table.Tbody>
              </Table>
              <Text size="sm" c="dimmed">
                Blocking ends the streams of the application within two seconds. ON_HOLD waits for you: its plan asks for approval.
              </Text>
            </Table.ScrollContainer>
          )
        }
      </Shown>
    </>
  );
}
