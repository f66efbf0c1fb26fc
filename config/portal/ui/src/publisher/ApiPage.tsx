import { Alert, Anchor, Breadcrumbs, Group, ScrollArea, Stack, Tabs, Text, Title } from '@mantine/core';
import { Link, useNavigate, useParams } from '@tanstack/react-router';
import { lazy, Suspense } from 'react';

import { useApi } from '../api/apis';
import type { API } from '../api/client';
import { has, useMe } from '../session';
import { StateBadge } from '../ui/badges';
import { Loading, NotAllowed, Shown } from '../ui/states';

const tabs = {
  overview: { label: 'Overview', page: lazy(() => import('./Overview').then((m) => ({ default: m.Overview }))) },
  topics: { label: 'Topics', page: lazy(() => import('./Topics').then((m) => ({ default: m.Topics }))) },
  definition: { label: 'AsyncAPI', page: lazy(() => import('./Definition').then((m) => ({ default: m.Definition }))) },
  runtime: { label: 'Runtime', page: lazy(() => import('./Runtime').then((m) => ({ default: m.Runtime }))) },
  lifecycle: { label: 'Lifecycle', page: lazy(() => import('./Lifecycle').then((m) => ({ default: m.Lifecycle }))) },
  revisions: { label: 'Revisions', page: lazy(() => import('./Revisions').then((m) => ({ default: m.Revisions }))) },
  versions: { label: 'Versions', page: lazy(() => import('./Versions').then((m) => ({ default: m.Versions }))) },
  monitor: { label: 'Monitor', page: lazy(() => import('./Monitor').then((m) => ({ default: m.MonitorTab }))) },
  feeds: { label: 'Feeds', page: lazy(() => import('./Feeds').then((m) => ({ default: m.Feeds }))) },
  plans: { label: 'Plans', page: lazy(() => import('./Plans').then((m) => ({ default: m.Plans }))) },
  scopes: { label: 'Scopes', page: lazy(() => import('./Scopes').then((m) => ({ default: m.Scopes }))) },
  history: { label: 'History', page: lazy(() => import('./History').then((m) => ({ default: m.History }))) },
};

export type TabProps = { id: string; api: API; etag: string };

/** ApiPage is one API with its tabs; the tab is part of the address. */
export function ApiPage() {
  const { id, tab } = useParams({ strict: false }) as { id: string; tab?: string };
  const { data: me } = useMe();
  const go = useNavigate();
  const found = useApi(id);
  if (!has(me, 'creator', 'publisher')) return <NotAllowed role="creator or publisher" />;
  const at = (tab && tab in tabs ? tab : 'overview') as keyof typeof tabs;
  const Page = tabs[at].page;
  return (
    <Shown of={found} what="the API">
      {({ data: api, etag }) => (
        <Stack>
          <Breadcrumbs>
            <Anchor component={Link} to="/apis">
              APIs
            </Anchor>
            <Text>{id}</Text>
          </Breadcrumbs>
          <Group>
            <Title order={1} size="h2">
              {api.metadata.displayName ?? api.metadata.name}
            </Title>
            <Text c="dimmed">{api.spec.version}</Text>
            <StateBadge state={api.spec.state ?? 'CREATED'} />
          </Group>
          <Tabs value={at} onChange={(t) => t && void go({ to: '/apis/$id/$tab', params: { id, tab: t } })} keepMounted={false}>
            <ScrollArea type="never">
              <Tabs.List style={{ flexWrap: 'nowrap' }}>
                {Object.entries(tabs).map(([k, t]) => (
                  <Tabs.Tab key={k} value={k}>
                    {t.label}
                  </Tabs.Tab>
                ))}
              </Tabs.List>
            </ScrollArea>
            <Tabs.Panel value={at} pt="md">
              {((api.status as { warnings?: { detail: string }[] } | undefined)?.warnings ?? []).map((w) => (
                <Alert key={w.detail} color="yellow" mb="md">
                  {w.detail}
                </Alert>
              ))}
              <Suspense fallback={<Loading what={tabs[at].label} />}>
                <Page id={id} api={api} etag={etag} key={`${id}/${at}`} />
              </Suspense>
            </Tabs.Panel>
          </Tabs>
        </Stack>
      )}
    </Shown>
  );
}
