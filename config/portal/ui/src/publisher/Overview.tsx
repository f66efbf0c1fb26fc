import { Anchor, Button, Code, Group, Modal, Select, Stack, Table, TagsInput, Text, Textarea, TextInput } from '@mantine/core';
import { useDisclosure } from '@mantine/hooks';
import { useNavigate } from '@tanstack/react-router';
import { useState } from 'react';

import { useDelete, useSave } from '../api/apis';
import { has, useMe } from '../session';
import { Copy } from '../ui/Copy';
import { SaveBar } from '../ui/SaveBar';
import { Failed } from '../ui/states';
import { useDraft } from '../ui/useDraft';
import type { TabProps } from './ApiPage';

const fields = { '/metadata/displayName': 'displayName', '/metadata/description': 'description', '/metadata/tags': 'tags', '/spec/endpoint': 'endpoint', '/spec/visibility': 'visibility', '/spec/visibleTo': 'visibleTo' };

/** Overview says what an API is, and lets a creator change its texts and its endpoint. */
export function Overview({ id, api, etag }: TabProps) {
  const { data: me } = useMe();
  const save = useSave(id);
  const d = useDraft({ displayName: api.metadata.displayName ?? '', description: api.metadata.description ?? '', tags: (api.metadata.tags ?? []).join(' '), endpoint: api.spec.endpoint ?? '', visibility: api.spec.visibility ?? ('public' as const), visibleTo: api.spec.visibleTo ?? [] }, etag, fields);
  const can = has(me, 'creator') && api.spec.state !== 'RETIRED';
  const urls = api.status?.urls ?? [];
  const set = (k: 'displayName' | 'description' | 'tags' | 'endpoint') => (e: React.ChangeEvent<HTMLInputElement | HTMLTextAreaElement>) => d.change({ ...d.draft, [k]: e.currentTarget.value });
  const submit = () =>
    d.save((v, tag) =>
      save.mutateAsync({
        etag: tag,
        api: { ...api, status: undefined, metadata: { ...api.metadata, displayName: v.displayName, description: v.description, tags: v.tags.split(/[\s,]+/).filter(Boolean) }, spec: { ...api.spec, endpoint: v.endpoint || undefined, visibility: v.visibility, visibleTo: v.visibility === 'restricted' ? v.visibleTo : undefined } },
      }),
    );
  return (
    <Stack maw={760}>
      <Table variant="vertical" layout="fixed">
        <Table.Tbody>
          <Row label="Answers at">
            <Group gap="xs">
              <Code>{basePath(api.spec.context, api.spec.version)}</Code>
              {urls.map((u) => (
                <Copy key={u} text={u} />
              ))}
            </Group>
          </Row>
          <Row label="Owner">{api.metadata.owner ?? '–'}</Row>
          <Row label="Transports">{(api.spec.transports ?? ['http', 'https']).join(', ')}</Row>
          <Row label="Topics">{api.spec.topics?.map((t) => t.name).join(', ')}</Row>
          <Row label="Revision">{api.status?.revision ? `${api.status.revision} is the newest` : 'none yet'}</Row>
        </Table.Tbody>
      </Table>
      <TextInput label="Display name" value={d.draft.displayName} onChange={set('displayName')} error={d.told.errors.displayName} disabled={!can} />
      <Textarea label="Description" description="CommonMark" autosize minRows={2} maxRows={12} value={d.draft.description} onChange={set('description')} error={d.told.errors.description} disabled={!can} />
      <TextInput label="Tags" description="Lower-case words" value={d.draft.tags} onChange={set('tags')} error={d.told.errors.tags} disabled={!can} />
      <TextInput label="Endpoint" description="The backend’s base URL" value={d.draft.endpoint} onChange={set('endpoint')} error={d.told.errors.endpoint} disabled={!can} />
      <Select
        label="Developers who see it"
        data={[
          { value: 'public', label: 'everybody who signs in' },
          { value: 'restricted', label: 'those with a role' },
          { value: 'private', label: 'its owner and administrators' },
        ]}
        value={d.draft.visibility}
        allowDeselect={false}
        onChange={(v) => d.change({ ...d.draft, visibility: v as typeof d.draft.visibility })}
        error={d.told.errors.visibility}
        disabled={!can}
      />
      {d.draft.visibility === 'restricted' && <TagsInput label="Roles" value={d.draft.visibleTo} onChange={(v) => d.change({ ...d.draft, visibleTo: v })} error={d.told.errors.visibleTo} disabled={!can} />}
      {can && <SaveBar dirty={d.dirty} stale={d.stale} busy={save.isPending} rest={d.told.rest} onSave={() => void submit()} onReset={d.reset} />}
      <Group>
        <Anchor href={`/api/v1/apis/${encodeURIComponent(id)}/export`} download={`${id}.yaml`} size="sm">
          Definition file
        </Anchor>
        <Anchor href={`/api/v1/apis/${encodeURIComponent(id)}/export?format=wso2`} download={`${id}.zip`} size="sm">
          WSO2 project
        </Anchor>
        {has(me, 'creator') && <Delete id={id} etag={etag} />}
      </Group>
    </Stack>
  );
}

function Row({ label, children }: { label: string; children: React.ReactNode }) {
  return (
    <Table.Tr>
      <Table.Th w={120}>{label}</Table.Th>
      <Table.Td>{children}</Table.Td>
    </Table.Tr>
  );
}

/** basePath is where an API answers: its context with the version in place, or appended. */
export function basePath(context: string, version: string): string {
  return context.includes('{version}') ? context.replace('{version}', version) : `${context}/${version}`;
}

function Delete({ id, etag }: { id: string; etag: string }) {
  const [open, { open: ask, close }] = useDisclosure();
  const [typed, setTyped] = useState('');
  const del = useDelete(id);
  const go = useNavigate();
  return (
    <>
      <Button variant="subtle" color="red" size="xs" ml="auto" onClick={ask}>
        Delete
      </Button>
      <Modal opened={open} onClose={close} title={`Delete ${id}`}>
        <Stack>
          <Text size="sm">Its definition, revisions and stored events go. Only an API that no client can use is deleted: created, prototyped or retired.</Text>
          <TextInput label={`Type ${id} to confirm`} value={typed} onChange={(e) => setTyped(e.currentTarget.value)} data-autofocus />
          {del.error && <Failed error={del.error} />}
          <Button color="red" disabled={typed !== id} loading={del.isPending} onClick={() => del.mutate(etag, { onSuccess: () => void go({ to: '/apis' }) })}>
            Delete
          </Button>
        </Stack>
      </Modal>
    </>
  );
}
