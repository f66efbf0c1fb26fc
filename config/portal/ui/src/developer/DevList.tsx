import { Anchor, Badge, Card, Group, SimpleGrid, Stack, Text, TextInput, Title } from '@mantine/core';
import { useDebouncedValue } from '@mantine/hooks';
import { keepPreviousData, useQuery } from '@tanstack/react-query';
import { Link } from '@tanstack/react-router';
import { useState } from 'react';

import { client, must } from '../api/client';
import { StateBadge } from '../ui/badges';
import { Empty, Shown } from '../ui/states';

/** DevList is the developer's start: what is published. */
export function DevList() {
  const [q, setQ] = useState('');
  const [find] = useDebouncedValue(q.trim(), 200);
  const apis = useQuery({
    queryKey: ['dev', 'list', find],
    queryFn: () => must(client.GET('/api/v1/dev/apis', { params: { query: { q: find || undefined, limit: 100 } } })),
    placeholderData: keepPreviousData,
  });
  return (
    <Stack>
      <Title order={1} size="h2">
        Published APIs
      </Title>
      <TextInput aria-label="Search APIs" placeholder="Search" value={q} onChange={(e) => setQ(e.currentTarget.value)} maw={320} />
      <Shown of={apis} what="APIs">
        {(l) =>
          l.items.length === 0 ? (
            <Empty title={find ? 'Nothing fits' : 'Nothing is published yet'}>{find ? 'Try another word.' : 'A publisher publishes an API on its Lifecycle page; then it is here.'}</Empty>
          ) : (
            <SimpleGrid cols={{ base: 1, sm: 2, lg: 3 }}>
              {l.items.map((a) => (
                <Card key={a.id} withBorder>
                  <Group justify="space-between" wrap="nowrap" mb={4}>
                    <Anchor component={Link} to={`/dev/${a.id}` as string} fw={600}>
                      {a.displayName}
                    </Anchor>
                    <StateBadge state={a.state} />
                  </Group>
                  <Text size="sm" className="mono" c="dimmed">
                    {a.basePath}
                  </Text>
                  <Text size="sm" lineClamp={3} mt={4}>
                    {a.description || `${a.topics.length} topic${a.topics.length === 1 ? '' : 's'}`}
                  </Text>
                  <Group gap={4} mt="xs">
                    {a.tags?.map((t) => (
                      <Badge key={t} size="xs" variant="default">
                        {t}
                      </Badge>
                    ))}
                  </Group>
                </Card>
              ))}
            </SimpleGrid>
          )
        }
      </Shown>
    </Stack>
  );
}
