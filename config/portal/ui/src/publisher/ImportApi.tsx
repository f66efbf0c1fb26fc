import { Alert, Anchor, Button, FileInput, Group, List, SegmentedControl, Stack, Text, Textarea, TextInput, Title } from '@mantine/core';
import { useMutation, useQueryClient } from '@tanstack/react-query';
import { Link } from '@tanstack/react-router';
import { useState } from 'react';

import { client, must, type Schemas } from '../api/client';
import { has, useMe } from '../session';
import { Failed, NotAllowed } from '../ui/states';

type From = 'paste' | 'file' | 'url' | 'wso2';

/** ImportApi makes an API from a document that exists: AsyncAPI by text, file or address, or a WSO2 project. */
export function ImportApi() {
  const { data: me } = useMe();
  const [from, setFrom] = useState<From>('paste');
  const [text, setText] = useState('');
  const [file, setFile] = useState<File | null>(null);
  const [url, setUrl] = useState('');
  const [over, setOver] = useState({ name: '', context: '', version: '', endpoint: '' });
  const queries = useQueryClient();
  const run = useMutation({
    mutationFn: async (): Promise<Schemas['Imported']> => {
      if (from === 'wso2') {
        const zip = file!.name.endsWith('.zip');
        return must(
          client.POST('/api/v1/import/wso2', {
            params: { query: {} },
            body: (await file!.arrayBuffer()) as never,
            bodySerializer: (b: unknown) => b as BodyInit as never,
            headers: { 'Content-Type': zip ? 'application/zip' : 'application/yaml' },
          }),
        ) as Promise<Schemas['Imported']>;
      }
      const query = { ...Object.fromEntries(Object.entries(over).filter(([, v]) => v)), ...(from === 'url' && { url }) };
      const body = from === 'url' ? undefined : from === 'file' ? await file!.text() : text;
      const isJSON = body?.trimStart().startsWith('{');
      return must(
        client.POST('/api/v1/import/asyncapi', {
          params: { query },
          ...(body !== undefined && { body: body as never, bodySerializer: (b: unknown) => b as string, headers: { 'Content-Type': isJSON ? 'application/json' : 'application/yaml' } }),
        } as never),
      ) as Promise<Schemas['Imported']>;
    },
    onSuccess: () => queries.invalidateQueries({ queryKey: ['apis'] }),
  });
  if (!has(me, 'creator')) return <NotAllowed role="creator" />;
  const ready = from === 'paste' ? text.trim() : from === 'url' ? url : file;
  const made = run.data?.api;
  const id = made && `${made.metadata.name}@${made.spec.version}`;
  return (
    <form
      onSubmit={(e) => {
        e.preventDefault();
        run.mutate();
      }}
    >
      <Stack maw={720}>
        <Title order={1} size="h2">
          Import an API
        </Title>
        <SegmentedControl
          aria-label="From where"
          data={[
            { value: 'paste', label: 'AsyncAPI text' },
            { value: 'file', label: 'file' },
            { value: 'url', label: 'URL' },
            { value: 'wso2', label: 'WSO2 project' },
          ]}
          value={from}
          onChange={(v) => (setFrom(v as From), setFile(null), run.reset())}
        />
        {from === 'paste' && <Textarea label="AsyncAPI 2.0–2.6, 3.0 or 3.1, YAML or JSON" autosize minRows={8} maxRows={24} value={text} onChange={(e) => setText(e.currentTarget.value)} classNames={{ input: 'mono' }} />}
        {from === 'file' && <FileInput label="AsyncAPI file" accept=".yaml,.yml,.json" value={file} onChange={setFile} placeholder="choose a file" />}
        {from === 'url' && <TextInput label="URL" description="The server fetches it once; $refs to elsewhere are not followed." type="url" value={url} onChange={(e) => setUrl(e.currentTarget.value)} />}
        {from === 'wso2' && <FileInput label="apictl project (zip) or its api.yaml" accept=".zip,.yaml,.yml,.json" value={file} onChange={setFile} placeholder="choose a file" />}
        {from !== 'wso2' && (
          <Group grow align="flex-start">
            {(['name', 'context', 'version', 'endpoint'] as const).map((k) => (
              <TextInput key={k} label={k[0]!.toUpperCase() + k.slice(1)} placeholder="from the document" value={over[k]} onChange={(e) => setOver({ ...over, [k]: e.currentTarget.value })} />
            ))}
          </Group>
        )}
        {run.error && <Failed error={run.error} />}
        {made && (
          <Alert color="teal" title={`${id} was created`} role="status">
            <Anchor component={Link} to={`/apis/${id}/topics` as string}>
              Open it
            </Anchor>
          </Alert>
        )}
        {run.data && run.data.report.length > 0 && (
          <Alert color="yellow" title="What the import changed or left out">
            <List size="sm">
              {run.data.report.map((f, i) => (
                <List.Item key={i}>
                  {f.pointer} {f.detail}
                </List.Item>
              ))}
            </List>
          </Alert>
        )}
        <Group>
          <Button type="submit" disabled={!ready} loading={run.isPending}>
            Import
          </Button>
          <Text size="sm" c="dimmed">
            All or nothing: a document with an error changes nothing.
          </Text>
        </Group>
      </Stack>
    </form>
  );
}
