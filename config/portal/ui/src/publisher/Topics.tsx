import { ActionIcon, Accordion, Badge, Button, Checkbox, Group, NumberInput, Select, Stack, TagsInput, Text, TextInput, Textarea } from '@mantine/core';
import { notifications } from '@mantine/notifications';
import { useState } from 'react';

import { useSetTopics } from '../api/apis';
import type { Topic } from '../api/client';
import { useMonitor } from '../live/useMonitor';
import { has, useMe } from '../session';
import { UpstreamBadge } from '../ui/badges';
import { count, rate } from '../ui/numbers';
import { SaveBar } from '../ui/SaveBar';
import { Empty } from '../ui/states';
import { useDraft } from '../ui/useDraft';
import type { TabProps } from './ApiPage';

/** fieldsOf maps the pointers of a list of topics to the fields of this page: 1.backend is the backend of the second topic. */
export function fieldsOf(topics: Topic[]): Record<string, string> {
  const out: Record<string, string> = {};
  topics.forEach((_, i) => {
    const at = `/spec/topics/${i}`;
    out[at] = `${i}.name`;
    for (const k of ['name', 'description', 'backend', 'params', 'query', 'security', 'scopes', 'retention', 'start', 'demand', 'linger', 'slow']) out[`${at}/${k}`] = `${i}.${k}`;
  });
  return out;
}

/** paramsOf are the {parameters} of a topic's name, in order. */
export function paramsOf(name: string): string[] {
  return [...name.matchAll(/\{([A-Za-z][A-Za-z0-9_]*)\}/g)].map((m) => m[1]!);
}

/** Topics edits all channels of an API as one list, saved by one request. */
export function Topics({ id, api, etag }: TabProps) {
  const { data: me } = useMe();
  const saved = (api.spec.topics ?? []) as Topic[];
  const set = useSetTopics(id);
  const [name, setName] = useState('');
  const d = useDraft(saved, etag, fieldsOf(saved.concat(Array(20).fill({ name: '' }))));
  const can = has(me, 'creator') && api.spec.state !== 'RETIRED';
  const add = () => {
    const path = name.startsWith('/') ? name : `/${name}`;
    d.change([...d.draft, { name: path }]);
    setName('');
  };
  const remove = (i: number) => {
    const before = d.draft;
    d.change(before.filter((_, j) => j !== i));
    notifications.show({
      message: (
        <Group justify="space-between" wrap="nowrap">
          <Text size="sm">{before[i]!.name} is taken out. Its clients end when you save.</Text>
          <Button size="compact-sm" variant="default" style={{ flexShrink: 0 }} onClick={() => (d.change(before), notifications.clean())}>
            Undo
          </Button>
        </Group>
      ),
      autoClose: 8000,
      closeButtonProps: { 'aria-label': 'Dismiss' },
    });
  };
  const change = (i: number, t: Topic) => d.change(d.draft.map((old, j) => (j === i ? t : old)));
  return (
    <Stack maw={860}>
      <Text size="sm" c="dimmed">
        A topic is a channel that clients subscribe to: exact (<code>/ticks</code>), with parameters (<code>/quotes/{'{symbol}'}</code>) or everything below a path (<code>/*</code>). Each concrete path becomes one
        upstream connection, however many clients read it.
      </Text>
      {can && (
        <form
          onSubmit={(e) => {
            e.preventDefault();
            if (name) add();
          }}
        >
          <Group align="flex-end">
            <TextInput label="Type" value="sub" readOnly w={70} />
            <TextInput label="New topic" placeholder="/ticks" value={name} onChange={(e) => setName(e.currentTarget.value)} w={{ base: '100%', xs: 320 }} />
            <Button type="submit" variant="default" disabled={!name}>
              Add
            </Button>
          </Group>
        </form>
      )}
      {d.draft.length === 0 && <Empty title="No topic">Without one clients have nothing to read: add at least one to publish.</Empty>}
      <Accordion variant="separated" multiple defaultValue={[]}>
        {d.draft.map((t, i) => (
          <Accordion.Item key={i} value={String(i)}>
            <Group wrap="nowrap" gap={4} pr="xs">
              <Accordion.Control>
                <Group gap="xs">
                  <Badge variant="default" radius="sm">
                    sub
                  </Badge>
                  <Text className="mono">{t.name}</Text>
                  {t.security === 'none' ? <Badge variant="default">open</Badge> : null}
                  {saved.some((s) => s.name === t.name) ? <Running id={id} topic={t.name} /> : <Badge variant="light">new</Badge>}
                </Group>
                {Object.entries(d.told.errors)
                  .filter(([k]) => k.startsWith(`${i}.`))
                  .map(([k, v]) => (
                    <Text key={k} size="sm" c="red">
                      {v}
                    </Text>
                  ))}
              </Accordion.Control>
              {can && (
                <ActionIcon variant="subtle" color="red" aria-label={`Delete topic ${t.name}`} onClick={() => remove(i)}>
                  ✕
                </ActionIcon>
              )}
            </Group>
            <Accordion.Panel>
              <Running id={id} topic={t.name} whole />
              <Fields topic={t} scopes={(api.spec.scopes ?? []).map((s) => s.name)} errors={(k) => d.told.errors[`${i}.${k}`]} onChange={(next) => change(i, next)} disabled={!can} />
            </Accordion.Panel>
          </Accordion.Item>
        ))}
      </Accordion>
      {can && <SaveBar dirty={d.dirty} stale={d.stale} busy={set.isPending} rest={d.told.rest} onSave={() => void d.save((topics, tag) => set.mutateAsync({ topics, etag: tag }))} onReset={d.reset} />}
    </Stack>
  );
}

/** Running tells how the feeds of a topic do now: the state of the worst one or, whole, in figures. It draws nothing while none runs. */
function Running({ id, topic, whole }: { id: string; topic: string; whole?: boolean }) {
  const { sample } = useMonitor(id);
  const feeds = sample?.feeds.filter((f) => f.topic === topic) ?? []; // those that are not up come first
  if (feeds.length === 0) return null;
  if (!whole) return <UpstreamBadge state={feeds[0]!.state} />;
  const sum = (of: (f: (typeof feeds)[number]) => number) => feeds.reduce((n, f) => n + of(f), 0);
  return (
    <Text size="sm" mb="sm" className="figures">
      {feeds.length === 1 ? 'One feed runs' : `${count(feeds.length)} feeds run, ${count(feeds.filter((f) => f.state === 'up').length)} of them up`}: {rate(sum((f) => f.eventsPerSecond))} events per second
      from the backend, {count(sum((f) => f.clients))} clients.
    </Text>
  );
}

function Fields({ topic: t, scopes, errors, onChange, disabled }: { topic: Topic; scopes: string[]; errors: (field: string) => string | undefined; onChange: (t: Topic) => void; disabled: boolean }) {
  const put = (part: Partial<Topic>) => onChange(clean({ ...t, ...part }));
  const start = typeof t.start === 'object' ? 'last' : (t.start ?? 'live');
  return (
    <Stack gap="sm">
      <TextInput label="Name" value={t.name} onChange={(e) => put({ name: e.currentTarget.value })} error={errors('name')} disabled={disabled} />
      <TextInput
        label="Backend path"
        description="Below the endpoint; {parameters} and {*} are filled in. Empty: the topic’s own path."
        placeholder={t.name}
        value={t.backend ?? ''}
        onChange={(e) => put({ backend: e.currentTarget.value || undefined })}
        error={errors('backend')}
        disabled={disabled}
      />
      {paramsOf(t.name).map((p) => {
        const now = t.params?.[p];
        return (
          <TextInput
            key={p}
            label={`Pattern of {${p}}`}
            description="A regular expression that must match all of it. Empty: 1–128 printable characters."
            value={typeof now === 'string' ? now : (now?.pattern ?? '')}
            onChange={(e) => put({ params: { ...t.params, [p]: e.currentTarget.value } })}
            error={errors('params')}
            disabled={disabled}
          />
        );
      })}
      <Query of={t.query ?? []} error={errors('query')} onChange={(q) => put({ query: q.length ? q : undefined })} disabled={disabled} />
      <Group grow align="flex-start">
        <Select
          label="Credential"
          data={[
            { value: 'required', label: 'required' },
            { value: 'none', label: 'none: anybody reads' },
          ]}
          value={t.security ?? 'required'}
          onChange={(v) => put({ security: v as Topic['security'] })}
          allowDeselect={false}
          error={errors('security')}
          disabled={disabled}
        />
        <TagsInput label="Scopes" description="Any one suffices" data={scopes} value={t.scopes ?? []} onChange={(v) => put({ scopes: v.length ? v : undefined })} error={errors('scopes')} disabled={disabled} />
      </Group>
      <Group grow align="flex-start">
        <Select
          label="A new client begins"
          data={[
            { value: 'live', label: 'live' },
            { value: 'earliest', label: 'with all that is kept' },
            { value: 'last', label: 'with the last …' },
          ]}
          value={start}
          onChange={(v) => put({ start: v === 'last' ? { last: 10 } : (v as 'live' | 'earliest') })}
          allowDeselect={false}
          error={errors('start')}
          disabled={disabled}
        />
        {typeof t.start === 'object' && <NumberInput label="Events" min={1} max={1000} value={t.start.last} onChange={(v) => put({ start: { last: Number(v) || 1 } })} disabled={disabled} />}
        <NumberInput label="Events kept" placeholder="as the API" min={1} max={10_000_000} value={t.retention?.maxEvents ?? ''} onChange={(n) => put({ retention: clean({ ...t.retention, maxEvents: n === '' ? undefined : Number(n) }) })} disabled={disabled} />
        <TextInput label="Kept for" placeholder="as the API" value={String(t.retention?.maxAge ?? '')} onChange={(e) => put({ retention: clean({ ...t.retention, maxAge: e.currentTarget.value || undefined }) })} error={errors('retention')} disabled={disabled} />
        <Select label="Upstream runs" data={['auto', 'always', 'onDemand']} value={t.demand ?? 'auto'} onChange={(v) => put({ demand: v as Topic['demand'] })} allowDeselect={false} error={errors('demand')} disabled={disabled} />
      </Group>
      <Textarea label="Description" autosize minRows={1} value={t.description ?? ''} onChange={(e) => put({ description: e.currentTarget.value || undefined })} error={errors('description')} disabled={disabled} />
    </Stack>
  );
}

type QueryParam = NonNullable<Topic['query']>[number];

/** Query lists the query parameters that make a feed of their own and go on to the backend. A bare string stays one while nothing else is said of it. */
function Query({ of, error, onChange, disabled }: { of: QueryParam[]; error?: string; onChange: (q: QueryParam[]) => void; disabled: boolean }) {
  const whole = of.map((q) => (typeof q === 'string' ? { name: q } : q));
  const put = (i: number, part: Partial<(typeof whole)[number]>) => onChange(of.map((q, j) => (i === j ? clean({ ...whole[i]!, ...part }) : q)));
  return (
    <Stack gap="xs" role="group" aria-label="Query parameters">
      {whole.map((q, i) => (
        <Group key={i} align="flex-end" gap="xs">
          <TextInput label="Query parameter" value={q.name} onChange={(e) => put(i, { name: e.currentTarget.value })} disabled={disabled} w={150} />
          <TextInput label="Pattern" placeholder="any text" value={q.pattern ?? ''} onChange={(e) => put(i, { pattern: e.currentTarget.value || undefined })} disabled={disabled} w={150} />
          <TextInput label="If left out" placeholder="none" value={q.default ?? ''} onChange={(e) => put(i, { default: e.currentTarget.value || undefined })} disabled={disabled} w={110} />
          <Checkbox label="required" checked={!!q.required} onChange={(e) => put(i, { required: e.currentTarget.checked || undefined })} disabled={disabled} mb={8} />
          {!disabled && (
            <ActionIcon variant="subtle" color="red" aria-label={`Delete query parameter ${q.name}`} onClick={() => onChange(of.filter((_, j) => j !== i))} mb={4}>
              ✕
            </ActionIcon>
          )}
        </Group>
      ))}
      {error && (
        <Text size="sm" c="red">
          {error}
        </Text>
      )}
      {!disabled && (
        <Group>
          <Button size="compact-xs" variant="default" disabled={of.length >= 16} onClick={() => onChange([...of, { name: '' }])}>
            Add a query parameter
          </Button>
        </Group>
      )}
    </Stack>
  );
}

/** clean leaves out what is undefined or an empty object, so that an untouched form saves what it read. */
function clean<T extends object>(o: T): T {
  return Object.fromEntries(Object.entries(o).filter(([, v]) => v !== undefined && !(typeof v === 'object' && v !== null && !Array.isArray(v) && Object.keys(v).length === 0))) as T;
}
