import { Badge } from '@mantine/core';

import type { Schemas } from '../api/client';

const color: Record<Schemas['State'], string> = { CREATED: 'gray', PROTOTYPED: 'violet', PUBLISHED: 'teal', BLOCKED: 'red', DEPRECATED: 'orange', RETIRED: 'dark' };

/** StateBadge names the state of an API; colour only repeats the word. */
export function StateBadge({ state }: { state: Schemas['State'] }) {
  return (
    <Badge color={color[state]} variant="light" radius="sm">
      {state}
    </Badge>
  );
}
