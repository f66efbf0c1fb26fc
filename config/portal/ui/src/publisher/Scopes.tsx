import { Alert, Badge, Button, Group, MultiSelect, Stack, Table, TagsInput, Text, TextInput, Title } from '@mantine/core';
import { useState } from 'react';

import { useSave } from '../api/apis';
import type { Schemas, Topic } from '../api/client';
import { has, useMe } from '../session';
import { SaveBar } from '../ui/SaveBar';
import { Empty } from '../ui/states';
import { useDraft } from '../ui/useDraft';
import type { TabProps } from './ApiPage';

type Scope = Schemas['Scope'];
type Part = { scopes: Scope[]; needs: Record<string, string[]> };

/** fieldsOf maps what the server says of scopes and of topics' scopes to the fields of this page. */
export function fieldsOf(topics: Topic[], scopes: number): Record<string, string> {
  const out: Record<string, string> = { '/spec/scopes': 'scopes' };
  for (let i = 0; i < scopes; i++) out[`/spec/scopes/${i}`] = `scope.${i}`;
  topics.forEach((t, i) => (out[`/spec/topics/${i}/scopes`] = `topic.${t.name}`));
  return out;
}

/** Scopes are rights that topics ask for: which there are, and which topic needs which. */
export function Scopes({ id, api, etag }: TabProps) {
  const { data: me } = useMe();
  const save = useSave(id);
  const topics = (api.spec.topics ?? []) as Topic[];
  const saved: Part = { scopes: api.spec.scopes ?? [], needs: Object.fromEntries(topics.map((t) => [t.name, t.scopes ?? []])) };
  const d = useDraft<Part>(saved, etag, fieldsOf(topics, 100));
  const [name, setName] = useState('');
  const can = has(me, 'creator') && api.spec.state !== 'RETIRED';
  const v = d.draft;
  const put = (i: number, part: Partial<Scope>) => d.change({ ...v, scopes: v.scopes.map((s, j) => (j === i ? { ...s, ...part } : s)) });
  const users = (scope: string) => topics.filter((t) => v.needs[t.name]?.includes(scope)).map((t) => t.name);
  const secured = topics.filter((t) => t.security !== 'none');
  const add = () => {
    d.change({ ...v, scopes: [...v.scopes, { name: name.trim() }] });
    setName('');
  };
  const send = (part: Part, tag: string) =>
    save.mutateAsync({
      etag: tag,
      api: { ...api, status: undefined, spec: { ...api.spec, scopes: part.scopes, topics: topics.map((t) => ({ ...t, scopes: part.needs[t.name]?.length ? part.needs[t.name] : undefined })) } },
    });
  return (
    <Stack maw={860}>
      <Text size="sm" c="dimmed">
        A scope is a right that a token carries. A topic that asks for scopes is read only with a token that has one of them; an API key carries none. Applications may ask for the scopes of the APIs to which they have subscribed.
      </Text>
      {can && (
        <form
          onSubmit={(e) => {
            e.preventDefault();
            if (name.trim()) add();
          }}
        >
          <Group align="flex-end">
            <TextInput label="New scope" placeholder="quotes.read" value={name} onChange={(e) => setName(e.currentTarget.value)} w={{ base: '100%', xs: 320 }} error={v.scopes.some((s) => s.name === name.trim()) ? 'There is one of that name.' : undefined} />
            <Button type="submit" variant="default" disabled={!name.trim() || v.scopes.some((s) => s.name === name.trim())}>
              Add
            </Button>
          </Group>
        </form>
      )}
      {d.told.errors.scopes && <Alert color="red">{d.told.errors.scopes}</Alert>}
      {v.scopes.length === 0 ? (
        <Empty title="No scope">Every token and every key of a subscribed application reads all topics. Add a scope to tell some of them apart.</Empty>
      ) : (
        <Table.ScrollContainer minWidth={620}>
          <Table aria-label="Scopes" verticalSpacing="xs">
            <Table.Thead>
              <Table.Tr>
                <Table.Th>Scope</Table.Th>
                <Table.Th>Description</Table.Th>
                <Table.Th>Roles</Table.Th>
                <Table.Th>Topics</Table.Th>
                {can && <Table.Th />}
              </Table.Tr>
            </Table.Thead>
            <Table.Tbody>
              {v.scopes.map((s, i) => {
                const used = users(s.name);
                return (
                  <Table.Tr key={s.name}>
                    <Table.Td className="mono">
                      {s.name}
                      {d.told.errors[`scope.${i}`] && (
                        <Text size="sm" c="red">
                          {d.told.errors[`scope.${i}`]}
                        </Text>
                      )}
                    </Table.Td>
                    <Table.Td>{can ? <TextInput aria-label={`Description of ${s.name}`} value={s.description ?? ''} onChange={(e) => put(i, { description: e.currentTarget.value || undefined })} /> : s.description}</Table.Td>
                    <Table.Td>{can ? <TagsInput aria-label={`Roles of ${s.name}`} value={s.roles ?? []} onChange={(r) => put(i, { roles: r.length ? r : undefined })} /> : s.roles?.join(', ')}</Table.Td>
                    <Table.Td>
                      {used.length === 0 ? (
                        <Text size="sm" c="dimmed">
                          none
                        </Text>
                      ) : (
                        <Group gap={4}>
                          {used.map((t) => (
                            <Badge key={t} variant="default" tt="none" className="mono">
                              {t}
                            </Badge>
                          ))}
                        </Group>
                      )}
                    </Table.Td>
                    {can && (
                      <Table.Td>
                        <Button size="compact-xs" variant="subtle" color="red" aria-label={`Delete scope ${s.name}`} disabled={used.length > 0} title={used.length > 0 ? 'Topics ask for it: without it they would be open to every subscriber' : undefined} onClick={() => d.change({ ...v, scopes: v.scopes.filter((_, j) => j !== i) })}>
                          Delete
                        </Button>
                      </Table.Td>
                    )}
                  </Table.Tr>
                );
              })}
            </Table.Tbody>
          </Table>
        </Table.ScrollContainer>
      )}
      <Title order={2} size="h4">
        What topics ask for
      </Title>
      {topics.length === 0 && <Text c="dimmed">No topic yet.</Text>}
      {secured.map((t) => (
        <MultiSelect
          key={t.name}
          label={<span className="mono">{t.name}</span>}
          placeholder={v.needs[t.name]?.length ? undefined : v.scopes.length ? 'none: any credential' : 'add a scope first'}
          data={[...new Set([...v.scopes.map((s) => s.name), ...(v.needs[t.name] ?? [])])]}
          value={v.needs[t.name] ?? []}
          onChange={(n) => d.change({ ...v, needs: { ...v.needs, [t.name]: n } })}
          error={d.told.errors[`topic.${t.name}`]}
          disabled={!can}
        />
      ))}
      {topics.length > secured.length && (
        <Text size="sm" c="dimmed">
          Open, whatever scopes there are: {topics.filter((t) => t.security === 'none').map((t) => t.name).join(', ')}
        </Text>
      )}
      {can && <SaveBar dirty={d.dirty} stale={d.stale} busy={save.isPending} rest={d.told.rest} onSave={() => void d.save(send)} onReset={d.reset} />}
    </Stack>
  );
}
