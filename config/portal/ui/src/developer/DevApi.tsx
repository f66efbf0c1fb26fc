import { Anchor, Badge, Breadcrumbs, Group, Select, Stack, Table, Tabs, Text, TextInput, Title } from '@mantine/core';
import { useQuery } from '@tanstack/react-query';
import { Link, useNavigate, useParams } from '@tanstack/react-router';
import { lazy, type ReactNode, Suspense, useState } from 'react';

import { usePublicDocument } from '../api/apis';
import { client, must, type PublicAPI } from '../api/client';
import { Rendered } from '../asyncapi/Rendered';
import { StateBadge } from '../ui/badges';
import { Copy } from '../ui/Copy';
import { Loading, Shown } from '../ui/states';
import { held } from './held';
import { Subscribe } from './Subscribe';

const TryIt = lazy(() => import('./TryIt').then((m) => ({ default: m.TryIt })));

/** DevApi is one published API as its readers see it. */
export function DevApi() {
  const { id, tab = 'topics' } = useParams({ strict: false }) as { id: string; tab?: string };
  const go = useNavigate();
  const found = useQuery({ queryKey: ['dev', id], queryFn: () => must(client.GET('/api/v1/dev/apis/{id}', { params: { path: { id } } })) });
  return (
    <Shown of={found} what="the API">
      {(api) => (
        <Stack>
          <Breadcrumbs>
            <Anchor component={Link} to="/dev">
              Published APIs
            </Anchor>
            <Text>{id}</Text>
          </Breadcrumbs>
          <Group>
            <Title order={1} size="h2">
              {api.displayName}
            </Title>
            <Text c="dimmed">{api.version}</Text>
            <StateBadge state={api.state} />
          </Group>
          {api.description && <Text maw={760}>{api.description}</Text>}
          <Tabs value={tab} onChange={(t) => t && void go({ to: '/dev/$id/$tab', params: { id, tab: t } })} keepMounted={false}>
            <Tabs.List>
              <Tabs.Tab value="topics">Overview</Tabs.Tab>
              <Tabs.Tab value="subscribe">Subscribe</Tabs.Tab>
              <Tabs.Tab value="try">Try it</Tabs.Tab>
              <Tabs.Tab value="code">Code</Tabs.Tab>
              <Tabs.Tab value="asyncapi">AsyncAPI</Tabs.Tab>
            </Tabs.List>
            <Tabs.Panel value="topics" pt="md">
              <TopicTable api={api} />
            </Tabs.Panel>
            <Tabs.Panel value="subscribe" pt="md">
              <Subscribe api={api} />
            </Tabs.Panel>
            <Tabs.Panel value="try" pt="md">
              <Suspense fallback={<Loading what="the try-out" />}>
                <TryIt api={api} />
              </Suspense>
            </Tabs.Panel>
            <Tabs.Panel value="code" pt="md">
              <Code api={api} />
            </Tabs.Panel>
            <Tabs.Panel value="asyncapi" pt="md">
              <Definition id={api.id} />
            </Tabs.Panel>
          </Tabs>
        </Stack>
      )}
    </Shown>
  );
}

/** TopicTable is the overview: where the API answers, what it takes, its topics. */
function TopicTable({ api }: { api: PublicAPI }) {
  const schemes = api.schemes ?? [];
  const base = api.urls?.[0] ?? '';
  const how = [schemes.includes('jwt') && `a token in ${api.header ?? 'Authorization'}`, schemes.includes('apiKey') && `an API key in ${api.apiKeyHeader ?? 'ApiKey'}`, schemes.includes('ticket') && 'a ticket', schemes.includes('cookie') && 'a cookie'].filter(Boolean);
  return (
    <Stack maw={920}>
      <Table variant="vertical" layout="fixed">
        <Table.Tbody>
          <Fact label="Answers at">
            {api.urls?.length ? (
              <Group gap="xs">
                {api.urls.map((u) => (
                  <Copy key={u} text={u} />
                ))}
              </Group>
            ) : (
              <span className="mono">{api.basePath}</span>
            )}
          </Fact>
          <Fact label="Takes">{how.join(', or ') || 'no credential'}</Fact>
          <Fact label="Plans">{api.plans?.join(', ') || 'none: nobody can subscribe'}</Fact>
          {!!api.tags?.length && <Fact label="Tags">{api.tags.join(', ')}</Fact>}
        </Table.Tbody>
      </Table>
      <Title order={2} size="h4">
        Topics
      </Title>
      <Table.ScrollContainer minWidth={520}>
        <Table>
          <Table.Thead>
            <Table.Tr>
              <Table.Th>Topic</Table.Th>
              <Table.Th>Credential</Table.Th>
              <Table.Th>Description</Table.Th>
              <Table.Th>Address</Table.Th>
            </Table.Tr>
          </Table.Thead>
          <Table.Tbody>
            {api.topics.map((t) => (
              <Table.Tr key={t.name}>
                <Table.Td className="mono">{t.name}</Table.Td>
                <Table.Td>
                  {t.security === 'none' ? <Badge variant="light">open</Badge> : 'required'}
                  {!!t.scopes?.length && <Text size="sm">with scope {t.scopes.join(' or ')}</Text>}
                </Table.Td>
                <Table.Td>{t.description}</Table.Td>
                <Table.Td>{base && <Copy text={base + (t.name === '/' ? '' : t.name)} label="Copy" />}</Table.Td>
              </Table.Tr>
            ))}
          </Table.Tbody>
        </Table>
      </Table.ScrollContainer>
    </Stack>
  );
}

function Fact({ label, children }: { label: string; children: ReactNode }) {
  return (
    <Table.Tr>
      <Table.Th w={120}>{label}</Table.Th>
      <Table.Td className="wrap">{children}</Table.Td>
    </Table.Tr>
  );
}

/** Definition is the public AsyncAPI document, to read and to take along. */
function Definition({ id }: { id: string }) {
  const [version, setVersion] = useState<'3.1.0' | '2.6.0'>('3.1.0');
  const doc = usePublicDocument(id, version);
  return (
    <Stack>
      <Group>
        <Select aria-label="Version of AsyncAPI" w={110} data={['3.1.0', '2.6.0']} value={version} allowDeselect={false} onChange={(v) => setVersion(v as typeof version)} />
        {(['yaml', 'json'] as const).map((format) => (
          <Anchor key={format} size="sm" href={`/api/v1/dev/apis/${encodeURIComponent(id)}/asyncapi?version=${version}&format=${format}`} download={`${id}-asyncapi.${format}`}>
            Download {format.toUpperCase()}
          </Anchor>
        ))}
      </Group>
      <Rendered of={doc} />
    </Stack>
  );
}

function Code({ api }: { api: PublicAPI }) {
  const [key, setKey] = useState(held());
  const [topic, setTopic] = useState(api.topics[0]?.name ?? '/');
  const found = useQuery({
    queryKey: ['dev', api.id, 'snippets', topic],
    queryFn: () => must(client.GET('/api/v1/dev/apis/{id}/snippets', { params: { path: { id: api.id }, query: { topic } } })),
  });
  const secured = api.topics.find((t) => t.name === topic)?.security !== 'none';
  return (
    <Stack maw={820} className="doc">
      <Group align="flex-end">
        <Select label="Topic" data={api.topics.map((x) => x.name)} value={topic} allowDeselect={false} onChange={(v) => setTopic(v!)} />
        {secured && <TextInput label="API key" placeholder="slk_…" value={key} onChange={(e) => setKey(e.currentTarget.value)} autoComplete="off" />}
      </Group>
      {secured && (
        <div>
          <Text size="sm">The programs take the key from the environment, so that it is in no source and in no history:</Text>
          <Group align="center" mt={4}>
            <pre className="mono secret">export SLUICE_KEY={key || 'slk_…'}</pre>
            {key && <Copy text={`export SLUICE_KEY=${key}`} label="Copy" />}
          </Group>
        </div>
      )}
      <Shown of={found} what="programs">
        {(l) => (
          <Tabs defaultValue={l.items[0]?.title} variant="outline" key={topic}>
            <Tabs.List>
              {l.items.map((s) => (
                <Tabs.Tab key={s.title} value={s.title}>
                  {s.title}
                </Tabs.Tab>
              ))}
            </Tabs.List>
            {l.items.map((s) => (
              <Tabs.Panel key={s.title} value={s.title} pt="xs">
                <Copy text={s.code} label="Copy" />
                <pre className="mono" tabIndex={0}>
                  {s.code}
                </pre>
              </Tabs.Panel>
            ))}
          </Tabs>
        )}
      </Shown>
    </Stack>
  );
}
