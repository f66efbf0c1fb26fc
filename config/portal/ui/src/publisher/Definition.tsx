import { Alert, Anchor, Button, Group, SegmentedControl, Select, Stack, Text } from '@mantine/core';
import { useDebouncedValue } from '@mantine/hooks';
import { useQuery } from '@tanstack/react-query';
import { lazy, Suspense, useState } from 'react';

import { check, type Definition as How, useDefinition, useDocument, useSaveDefinition } from '../api/apis';
import { Rendered } from '../asyncapi/Rendered';
import { has, useMe } from '../session';
import { Failed, Loading, Shown } from '../ui/states';
import type { TabProps } from './ApiPage';

const Editor = lazy(() => import('../ui/Editor').then((m) => ({ default: m.Editor })));

/** Definition shows the API as an AsyncAPI document: read, edited, downloaded. The document is made from the API, never stored beside it. */
export function Definition({ id, api, etag }: TabProps) {
  const { data: me } = useMe();
  const [how, setHow] = useState<How>({ version: '3.1.0', format: 'yaml' });
  const [view, setView] = useState<'rendered' | 'source'>('rendered');
  const href = `/api/v1/apis/${encodeURIComponent(id)}/asyncapi?version=${how.version}&format=${how.format}`;
  return (
    <Stack>
      <Group>
        <SegmentedControl
          aria-label="View"
          data={[
            { value: 'rendered', label: 'Rendered' },
            { value: 'source', label: 'Source' },
          ]}
          value={view}
          onChange={(v) => setView(v as typeof view)}
        />
        <Select aria-label="Version of AsyncAPI" w={110} data={['3.1.0', '2.6.0']} value={how.version} allowDeselect={false} onChange={(v) => setHow({ ...how, version: v as How['version'] })} />
        <Select aria-label="Format" w={100} data={['yaml', 'json']} value={how.format} allowDeselect={false} onChange={(v) => setHow({ ...how, format: v as How['format'] })} />
        <Anchor href={href} download={`${id}-asyncapi.${how.format}`}>
          Download
        </Anchor>
      </Group>
      {view === 'rendered' ? <Written id={id} version={how.version} /> : <Saved id={id} etag={etag} how={how} can={has(me, 'creator') && api.spec.state !== 'RETIRED'} />}
    </Stack>
  );
}

function Written({ id, version }: { id: string; version: How['version'] }) {
  return <Rendered of={useDocument(id, version)} />;
}

function Saved({ id, etag, how, can }: { id: string; etag: string; how: How; can: boolean }) {
  const doc = useDefinition(id, how);
  return <Shown of={doc} what="the document">{(text) => <Source key={`${etag}${how.version}${how.format}`} id={id} saved={text} format={how.format} can={can} />}</Shown>;
}

function Source({ id, saved, format, can }: { id: string; saved: string; format: 'yaml' | 'json'; can: boolean }) {
  const [text, setText] = useState(saved);
  const [asked] = useDebouncedValue(text, 400);
  const save = useSaveDefinition(id);
  const verdict = useQuery({ queryKey: ['verdict', format, asked], queryFn: () => check(asked, format), enabled: asked !== saved, retry: false });
  const findings = [...(verdict.data?.errors ?? []), ...(verdict.data?.warnings ?? [])];
  const dirty = text !== saved;
  return (
    <Stack>
      <Suspense fallback={<Loading what="the editor" />}>
        <Editor text={text} format={format} findings={dirty ? findings : []} onChange={setText} readOnly={!can} label="AsyncAPI document" />
      </Suspense>
      {dirty && findings.length > 0 && (
        <Alert color={verdict.data?.valid ? 'yellow' : 'red'} title={`${findings.length} finding${findings.length > 1 ? 's' : ''}`} role="status">
          {findings.slice(0, 20).map((f, i) => (
            <Text size="sm" key={i}>
              line {f.line}, column {f.column}: {f.detail} {f.hint}
            </Text>
          ))}
        </Alert>
      )}
      {save.error && <Failed error={save.error} />}
      {can && (
        <Group>
          <Button disabled={!dirty || verdict.data?.valid === false} loading={save.isPending} onClick={() => save.mutate({ text, format })}>
            Save as the API’s topics
          </Button>
          <Button variant="default" disabled={!dirty} onClick={() => setText(saved)}>
            Undo changes
          </Button>
          <Text size="sm" c="dimmed">
            What the document cannot say, such as retention, stays with the topic of the same name.
          </Text>
        </Group>
      )}
    </Stack>
  );
}
