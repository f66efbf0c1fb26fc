import { Anchor, Button, Group, Stack, Table, Text, Title } from '@mantine/core';
import { Link } from '@tanstack/react-router';

import { limitsOf, useApplications, usePlans, useSubscriptions } from '../api/access';
import { useChanges } from '../live/useChanges';
import { has, useMe } from '../session';
import { Empty, NotAllowed, Shown } from '../ui/states';
import { Wide } from '../ui/Wide';
import { usersOf } from './planForm';

/** PlanList is for administrators: what subscriptions may take, kept up to date by the server's own stream. */
export function PlanList() {
  const { data: me } = useMe();
  const may = has(me);
  const plans = usePlans(may);
  const subs = useSubscriptions({}, may);
  const apps = useApplications(may);
  useChanges(may, 'plans');
  if (!may) return <NotAllowed role="admin" />;
  // Who has a plan is told only of what fits one page: a part of it would say too little.
  const known = subs.data && !subs.data.nextCursor && apps.data && !apps.data.nextCursor ? { subs: subs.data.items, apps: apps.data.items } : undefined;
  const create = (
    <Button component={Link} to="/plans/~new">
      Create plan
    </Button>
  );
  return (
    <Stack maw={860}>
      <Group justify="space-between">
        <Title order={1} size="h2">
          Plans
        </Title>
        {create}
      </Group>
      <Text size="sm" c="dimmed">
        A plan limits what a subscription may take. A publisher says which plans an API offers, on the API’s tab Plans; an application chooses one of them.
      </Text>
      <Shown of={plans} what="plans">
        {(l) =>
          l.items.length === 0 ? (
            <Empty title="There is no plan">Without one nobody can subscribe to an API. A plan may also limit nothing.</Empty>
          ) : (
            <Wide min={520} label="Plans">
              <Table verticalSpacing="xs">
                <Table.Thead>
                  <Table.Tr>
                    <Table.Th miw={170}>Plan</Table.Th>
                    <Table.Th>Limits</Table.Th>
                    {known && <Table.Th>Who has it</Table.Th>}
                  </Table.Tr>
                </Table.Thead>
                <Table.Tbody>
                  {l.items.map((p) => (
                    <Table.Tr key={p.metadata.name}>
                      <Table.Td className="wrap">
                        <Anchor component={Link} to={`/plans/${p.metadata.name}` as string} fw={600}>
                          {p.metadata.displayName ?? p.metadata.name}
                        </Anchor>
                        {p.metadata.displayName && (
                          <Text size="xs" c="dimmed" className="mono">
                            {p.metadata.name}
                          </Text>
                        )}
                      </Table.Td>
                      <Table.Td>{limitsOf(p)}</Table.Td>
                      {known && <Table.Td>{usersOf(p.metadata.name, known.subs, known.apps)}</Table.Td>}
                    </Table.Tr>
                  ))}
                </Table.Tbody>
              </Table>
            </Wide>
          )
        }
      </Shown>
    </Stack>
  );
}
