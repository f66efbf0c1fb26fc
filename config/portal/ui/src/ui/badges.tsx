import { Badge } from '@mantine/core';

import type { Schemas } from '../api/client';
import { type Health, healthOf } from '../live/history';

const color: Record<Schemas['State'], string> = { CREATED: 'gray', PROTOTYPED: 'violet', PUBLISHED: 'teal', BLOCKED: 'red', DEPRECATED: 'orange', RETIRED: 'dark' };

/** StateBadge names the state of an API; colour only repeats the word. */
export function StateBadge({ state }: { state: Schemas['State'] }) {
  return (
    <Badge color={color[state]} variant="light" radius="sm">
      {state}
    </Badge>
  );
}

const tint: Record<Health, string> = { up: 'teal', waiting: 'yellow', down: 'red' };

/** UpstreamBadge names the state of a feed's upstream. */
export function UpstreamBadge({ state }: { state: string }) {
  return (
    <Badge color={tint[healthOf(state)]} variant="light" tt="none">
      {state}
    </Badge>
  );
}
