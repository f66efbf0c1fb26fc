import { Checkbox, Group, NumberInput, Select, Stack, TagsInput, Text, TextInput, Title } from '@mantine/core';

import { useSave } from '../api/apis';
import type { API } from '../api/client';
import { has, useMe } from '../session';
import { SaveBar } from '../ui/SaveBar';
import { useDraft } from '../ui/useDraft';
import type { TabProps } from './ApiPage';

const parts = ['transports', 'cors', 'client', 'retention', 'durability', 'limits', 'auth', 'upstream', 'deploy'] as const;
type Part = Pick<API['spec'], (typeof parts)[number]>;

const fields = Object.fromEntries(
  ['transports', 'cors/origins', 'cors/credentials', 'cors', 'client/retry', 'client/heartbeat', 'client/shed', 'client/slow', 'retention/maxAge', 'retention/maxEvents', 'retention/maxBytes', 'durability', 'limits/maxFeeds', 'limits/maxClients', 'auth/schemes', 'auth/header', 'auth/apiKeyHeader', 'upstream/connectTimeout', 'upstream/idle', 'upstream/maxEvent', 'upstream/resume', 'upstream/on204', 'deploy'].map((p) => [`/spec/${p}`, p]),
);

/** Runtime is how an API treats its clients, and what it keeps for them. */
export function Runtime({ id, api, etag }: TabProps) {
  const { data: me } = useMe();
  const save = useSave(id);
  const saved = Object.fromEntries(parts.map((k) => [k, api.spec[k]])) as Part;
  const d = useDraft<Part>(saved, etag, fields);
  const can = has(me, 'creator') && api.spec.state !== 'RETIRED';
  const v = d.draft;
  const put = (p: Partial<Part>) => d.change({ ...v, ...p });
  const transports = v.transports ?? ['http', 'https'];
  const none = transports.length === 0;
  const text = (value: unknown) => String(value ?? '');
  return (
    <Stack maw={760}>
      <Title order={2} size="h4">
        Transports
      </Title>
      <Checkbox.Group value={transports} onChange={(t) => put({ transports: t as Part['transports'] })} error={none ? 'An API needs at least one transport.' : d.told.errors.transports}>
        <Group>
          <Checkbox value="http" label="http" disabled={!can} />
          <Checkbox value="https" label="https" disabled={!can} />
        </Group>
      </Checkbox.Group>
      <Text size="sm" c="dimmed">
        Taking one away ends the streams that came by it, with the reason transport-closed.
      </Text>
      <Title order={2} size="h4">
        Browsers of other origins (CORS)
      </Title>
      <TagsInput label="Origins" description="Exact, such as https://app.example.com, or * alone" value={v.cors?.origins ?? []} onChange={(o) => put({ cors: { ...v.cors, origins: o } })} error={d.told.errors['cors/origins'] ?? d.told.errors.cors} disabled={!can} />
      <Checkbox label="They may send cookies" checked={!!v.cors?.credentials} onChange={(e) => put({ cors: { ...v.cors, credentials: e.currentTarget.checked } })} error={d.told.errors['cors/credentials']} disabled={!can} />
      <Title order={2} size="h4">
        Clients
      </Title>
      <Group grow align="flex-start">
        <TextInput label="Retry" description="Base of the delay told" placeholder="2s" value={text(v.client?.retry)} onChange={(e) => put({ client: { ...v.client, retry: e.currentTarget.value || undefined } })} error={d.told.errors['client/retry']} disabled={!can} />
        <TextInput label="Heartbeat" description="Silence before a comment" placeholder="15s" value={text(v.client?.heartbeat)} onChange={(e) => put({ client: { ...v.client, heartbeat: e.currentTarget.value || undefined } })} error={d.told.errors['client/heartbeat']} disabled={!can} />
        <Select
          label="A slow client"
          data={[
            { value: 'drop', label: 'is cut and resumes' },
            { value: 'backlog', label: 'reads from the store' },
            { value: 'latest', label: 'skips to the newest' },
          ]}
          placeholder="as the process"
          clearable
          value={v.client?.slow ?? null}
          onChange={(s) => put({ client: { ...v.client, slow: (s ?? undefined) as never } })}
          error={d.told.errors['client/slow']}
          disabled={!can}
        />
      </Group>
      <Title order={2} size="h4">
        What is kept for clients that return
      </Title>
      <Group grow align="flex-start">
        <TextInput label="For" placeholder="1h" value={text(v.retention?.maxAge)} onChange={(e) => put({ retention: { ...v.retention, maxAge: e.currentTarget.value || undefined } })} error={d.told.errors['retention/maxAge']} disabled={!can} />
        <NumberInput label="Events of a feed" placeholder="10000" min={1} max={10_000_000} value={v.retention?.maxEvents ?? ''} onChange={(n) => put({ retention: { ...v.retention, maxEvents: n === '' ? undefined : Number(n) } })} error={d.told.errors['retention/maxEvents']} disabled={!can} />
        <TextInput label="Bytes in all" placeholder="2GiB" value={text(v.retention?.maxBytes)} onChange={(e) => put({ retention: { ...v.retention, maxBytes: e.currentTarget.value || undefined } })} error={d.told.errors['retention/maxBytes']} disabled={!can} />
      </Group>
      <Select
        label="What may lose it"
        data={[
          { value: 'memory', label: 'memory: a restart of the broker' },
          { value: 'process', label: 'process: a power cut, at most its last second' },
          { value: 'power', label: 'power: only the loss of a disk' },
          { value: 'cluster', label: 'cluster: only the loss of most servers' },
        ]}
        placeholder="as the process"
        clearable
        value={v.durability ?? null}
        onChange={(s) => put({ durability: (s ?? undefined) as Part['durability'] })}
        error={d.told.errors.durability}
        disabled={!can}
      />
      <Title order={2} size="h4">
        Limits
      </Title>
      <Group grow align="flex-start">
        <NumberInput label="On-demand feeds" placeholder="1000" min={1} max={100_000} value={v.limits?.maxFeeds ?? ''} onChange={(n) => put({ limits: { ...v.limits, maxFeeds: n === '' ? undefined : Number(n) } })} error={d.told.errors['limits/maxFeeds']} disabled={!can} />
        <NumberInput label="Clients of a node" placeholder="no limit" min={0} value={v.limits?.maxClients ?? ''} onChange={(n) => put({ limits: { ...v.limits, maxClients: n === '' ? undefined : Number(n) } })} error={d.told.errors['limits/maxClients']} disabled={!can} />
      </Group>
      <Title order={2} size="h4">
        Credentials
      </Title>
      <Checkbox.Group value={v.auth?.schemes ?? ['jwt', 'apiKey']} onChange={(s) => put({ auth: { ...v.auth, schemes: s } })} error={d.told.errors['auth/schemes']}>
        <Group>
          {['jwt', 'apiKey', 'cookie', 'ticket'].map((s) => (
            <Checkbox key={s} value={s} label={s} disabled={!can} />
          ))}
        </Group>
      </Checkbox.Group>
      <Group grow align="flex-start">
        <TextInput label="Header of a token" placeholder="Authorization" value={text(v.auth?.header)} onChange={(e) => put({ auth: { ...v.auth, header: e.currentTarget.value || undefined } })} error={d.told.errors['auth/header']} disabled={!can} />
        <TextInput label="Header of an API key" placeholder="ApiKey" value={text(v.auth?.apiKeyHeader)} onChange={(e) => put({ auth: { ...v.auth, apiKeyHeader: e.currentTarget.value || undefined } })} error={d.told.errors['auth/apiKeyHeader']} disabled={!can} />
      </Group>
      <Title order={2} size="h4">
        Backend
      </Title>
      <Group grow align="flex-start">
        <TextInput label="Connect within" placeholder="5s" value={text(v.upstream?.connectTimeout)} onChange={(e) => put({ upstream: { ...v.upstream, connectTimeout: e.currentTarget.value || undefined } })} error={d.told.errors['upstream/connectTimeout']} disabled={!can} />
        <TextInput label="Silent at most" placeholder="90s" value={text(v.upstream?.idle)} onChange={(e) => put({ upstream: { ...v.upstream, idle: e.currentTarget.value || undefined } })} error={d.told.errors['upstream/idle']} disabled={!can} />
        <TextInput label="Largest event" placeholder="1MiB" value={text(v.upstream?.maxEvent)} onChange={(e) => put({ upstream: { ...v.upstream, maxEvent: e.currentTarget.value || undefined } })} error={d.told.errors['upstream/maxEvent']} disabled={!can} />
      </Group>
      <Group grow align="flex-start">
        <Select
          label="Its Last-Event-ID"
          data={[
            { value: 'probe', label: 'is sent and proven' },
            { value: 'trust', label: 'is sent and trusted' },
            { value: 'off', label: 'is not sent' },
          ]}
          placeholder="is sent and proven"
          clearable
          value={v.upstream?.resume ?? null}
          onChange={(s) => put({ upstream: { ...v.upstream, resume: (s ?? undefined) as never } })}
          error={d.told.errors['upstream/resume']}
          disabled={!can}
        />
        <Select
          label="It answers 204"
          data={[
            { value: 'park', label: 'it has ended: wait for a change' },
            { value: 'retry', label: 'come back' },
          ]}
          placeholder="it has ended: wait for a change"
          clearable
          value={v.upstream?.on204 ?? null}
          onChange={(s) => put({ upstream: { ...v.upstream, on204: (s ?? undefined) as never } })}
          error={d.told.errors['upstream/on204']}
          disabled={!can}
        />
      </Group>
      {can && (
        <SaveBar
          dirty={d.dirty}
          stale={d.stale}
          busy={save.isPending}
          rest={d.told.rest}
          disabled={none}
          onSave={() => void d.save((part, tag) => save.mutateAsync({ etag: tag, api: { ...api, status: undefined, spec: { ...api.spec, ...part } } }))}
          onReset={d.reset}
        />
      )}
    </Stack>
  );
}
