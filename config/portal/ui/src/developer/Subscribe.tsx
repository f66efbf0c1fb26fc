import { Alert, Anchor, Button, Group, Radio, Select, Stack, Text, TextInput } from '@mantine/core';
import { Link } from '@tanstack/react-router';
import { useState } from 'react';

import { limitsOf, useApplications, useCreateApplication, useOffered, useSubscribe, useSubscriptions } from '../api/access';
import { type PublicAPI, Refused } from '../api/client';
import { byField } from '../api/problem';
import { has, useMe } from '../session';
import { Failed, NotAllowed, Shown } from '../ui/states';
import { Keys } from './Applications';

const fresh = '+ a new application';

/** Subscribe leads from an application over a plan to a key. */
export function Subscribe({ api }: { api: PublicAPI }) {
  const { data: me } = useMe();
  const can = has(me, 'subscriber');
  const apps = useApplications(can);
  const plans = useOffered(api.id);
  const mine = useSubscriptions({ api: api.id });
  const create = useCreateApplication();
  const subscribe = useSubscribe();
  const [chosen, setChosen] = useState<string | null>(null);
  const [name, setName] = useState('');
  const [plan, setPlan] = useState('');
  const [done, setDone] = useState<string>();
  if (!can) return <NotAllowed role="subscriber" />;
  const told = create.error instanceof Refused ? byField(create.error.problem, { '/metadata/name': 'name' }) : undefined;
  return (
    <Shown of={apps} what="your applications">
      {(l) => {
        const app = chosen ?? l.items[0]?.metadata.name ?? fresh;
        const submit = async () => {
          const to = app === fresh ? (await create.mutateAsync({ name })).metadata.name : app;
          await subscribe.mutateAsync({ application: to, api: api.name, version: api.version, plan });
          const found = l.items.find((a) => a.metadata.name === to);
          setDone(found?.status?.id ?? to);
        };
        return (
          <Stack maw={620}>
            {mine.data?.items.map((s) => (
              <Alert key={s.status?.id} color={s.spec.state === 'UNBLOCKED' || !s.spec.state ? 'teal' : 'yellow'}>
                <Anchor component={Link} to={`/applications/${s.status?.applicationId ?? s.spec.application}` as string}>
                  {s.spec.application}
                </Anchor>{' '}
                is subscribed by {s.spec.plan}: {s.spec.state ?? 'UNBLOCKED'}
              </Alert>
            ))}
            <Select label="Application" data={[...l.items.map((a) => a.metadata.name), fresh]} value={app} allowDeselect={false} onChange={setChosen} />
            {app === fresh && <TextInput label="Its name" placeholder="dashboard" value={name} onChange={(e) => setName(e.currentTarget.value)} error={told?.errors.name ?? told?.rest.join(' ')} />}
            <Shown of={plans} what="plans">
              {(p) =>
                p.items.length === 0 ? (
                  <Text>This API offers no plan: its publisher has to add one before anybody can subscribe.</Text>
                ) : (
                  <Radio.Group label="Plan" value={plan} onChange={setPlan}>
                    <Stack gap="xs" mt="xs">
                      {p.items.map((x) => (
                        <Radio key={x.metadata.name} value={x.metadata.name} label={x.metadata.displayName ?? x.metadata.name} description={limitsOf(x)} />
                      ))}
                    </Stack>
                  </Radio.Group>
                )
              }
            </Shown>
            {subscribe.error && <Failed error={subscribe.error} />}
            <Group>
              <Button disabled={!plan || (app === fresh && !name)} loading={create.isPending || subscribe.isPending} onClick={() => void submit().catch(() => undefined)}>
                Subscribe
              </Button>
            </Group>
            {done && (
              <>
                <Alert color="teal" title="Subscribed" role="status">
                  Make a key for the application, then try the stream with it.
                </Alert>
                <Keys id={done} />
              </>
            )}
          </Stack>
        );
      }}
    </Shown>
  );
}
