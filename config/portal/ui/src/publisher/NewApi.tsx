import { Alert, Button, Group, Stack, Text, TextInput, Title } from '@mantine/core';
import { useDebouncedValue } from '@mantine/hooks';
import { useMutation } from '@tanstack/react-query';
import { useNavigate } from '@tanstack/react-router';
import { useState } from 'react';

import { useAct, useAvailability, useCreate } from '../api/apis';
import { type API, client, must, Refused } from '../api/client';
import { byField } from '../api/problem';
import { has, useMe } from '../session';
import { Failed, NotAllowed } from '../ui/states';

type Form = { name: string; displayName: string; context: string; version: string; endpoint: string };

const fields = { '/metadata/name': 'name', '/metadata/displayName': 'displayName', '/spec/context': 'context', '/spec/version': 'version', '/spec/endpoint': 'endpoint' };

/** NewApi creates an SSE API from the five things that make one. The server judges every value; its words stand at the field. */
export function NewApi() {
  const { data: me } = useMe();
  const go = useNavigate();
  const create = useCreate();
  const [form, setForm] = useState<Form>({ name: '', displayName: '', context: '', version: '1.0.0', endpoint: '' });
  const [problem, setProblem] = useState<Refused>();
  const [asked] = useDebouncedValue({ name: form.name, context: form.context, version: form.version }, 300);
  const free = useAvailability(asked);
  const act = useAct(`${form.name}@${form.version}`);
  if (!has(me, 'creator')) return <NotAllowed role="creator" />;
  const told = problem ? byField(problem.problem, fields) : { errors: {} as Record<string, string>, rest: [] };

  const set = (k: keyof Form) => (e: React.ChangeEvent<HTMLInputElement>) => {
    setForm({ ...form, [k]: e.currentTarget.value });
    setProblem(undefined);
  };
  const conflict = (k: 'name' | 'context' | 'version') => {
    const said = free.data?.[k];
    return form[k] && said && said.status !== 'free' && form[k] === asked[k] ? (said.detail ?? said.status) : undefined;
  };
  const submit = async (publish: boolean) => {
    const body: API = {
      apiVersion: 'sluice/v1',
      kind: 'API',
      metadata: { name: form.name, ...(form.displayName && { displayName: form.displayName }) },
      spec: { context: form.context, version: form.version, ...(form.endpoint && { endpoint: form.endpoint }) },
    };
    try {
      const made = await create.mutateAsync(body);
      const id = `${(made as API).metadata.name}@${(made as API).spec.version}`;
      if (publish) await act.mutateAsync({ action: 'publish' }).catch(() => undefined); // the next page says what is missing
      await go({ to: '/apis/$id/$tab', params: { id, tab: publish ? 'lifecycle' : 'topics' } });
    } catch (e) {
      if (!(e instanceof Refused)) throw e;
      setProblem(e);
    }
  };
  return (
    <form
      onSubmit={(e) => {
        e.preventDefault();
        void submit(false);
      }}
      noValidate
    >
      <Stack maw={620}>
        <Title order={1} size="h2">
          New SSE API
        </Title>
        <TextInput label="Name" description="For programs: letters, digits, dots, dashes." placeholder="ServerSentEvents" value={form.name} onChange={set('name')} error={told.errors.name ?? conflict('name')} required data-autofocus />
        <TextInput label="Display name" description="For people; left empty it is the name." value={form.displayName} onChange={set('displayName')} error={told.errors.displayName} />
        <TextInput
          label="Context"
          description={
            <>
              The first part of the API’s path. The version follows it; write <code>{'{version}'}</code> to place it elsewhere, as in <code>{'/{version}/events'}</code>.
            </>
          }
          placeholder="/events"
          value={form.context}
          onChange={set('context')}
          error={told.errors.context ?? conflict('context')}
          required
          className="mono-input"
        />
        <TextInput label="Version" value={form.version} onChange={set('version')} error={told.errors.version ?? conflict('version')} required />
        {free.data?.basePath && (
          <Text size="sm">
            Clients will read <span className="mono">{free.data.basePath}/…</span>
          </Text>
        )}
        <TextInput label="Protocol" value="Server-Sent Events" readOnly description="The only one: one direction, resumable, plain HTTP." />
        <TextInput label="Endpoint" description="The backend’s base URL. Needed to publish; may follow later." placeholder="http://localhost:8080" value={form.endpoint} onChange={set('endpoint')} error={told.errors.endpoint} type="url" />
        <Probe endpoint={form.endpoint} />
        {told.rest.length > 0 && (
          <Alert color="red" role="alert" title={problem?.problem.title}>
            {told.rest.map((t) => (
              <Text size="sm" key={t}>
                {t}
              </Text>
            ))}
          </Alert>
        )}
        {create.error && !(create.error instanceof Refused) && <Failed error={create.error} />}
        <Group>
          <Button type="submit" loading={create.isPending}>
            Create
          </Button>
          {has(me, 'publisher') && (
            <Button variant="default" loading={create.isPending} onClick={() => void submit(true)}>
              Create and publish
            </Button>
          )}
        </Group>
      </Stack>
    </form>
  );
}

/** Probe asks the server to look at the backend: reachable, an event stream, and its first event. */
export function Probe({ endpoint }: { endpoint: string }) {
  const [path, setPath] = useState('');
  const look = useMutation({ mutationFn: () => must(client.POST('/api/v1/validate/endpoint', { body: { endpoint, ...(path && { path }) } })) });
  if (!endpoint) return null;
  const said = look.data;
  return (
    <Stack gap="xs">
      <Group align="flex-end">
        <TextInput label="Path to check" placeholder="/stream" value={path} onChange={(e) => setPath(e.currentTarget.value)} size="xs" />
        <Button size="xs" variant="default" loading={look.isPending} onClick={() => look.mutate()}>
          Check the endpoint
        </Button>
      </Group>
      {look.error && <Failed error={look.error} />}
      {said && (
        <Alert color={said.valid ? 'teal' : 'yellow'} title={said.valid ? 'An event stream answers' : said.reachable ? 'Somebody answers, but not with an event stream' : 'Nobody answers'} role="status">
          <Text size="sm">
            {said.status ? `Status ${said.status}, ${said.contentType ?? 'no type'}` : ''} {said.elapsedMs !== undefined && `after ${said.elapsedMs} ms`}
          </Text>
          {[...said.errors, ...said.warnings].map((f) => (
            <Text size="sm" key={f.detail}>
              {f.detail}
            </Text>
          ))}
          {said.firstEvent && <pre className="mono">{JSON.stringify(said.firstEvent, null, 2)}</pre>}
        </Alert>
      )}
    </Stack>
  );
}
