import { Alert, Button, Checkbox, Group, List, Stack, Text, TextInput, Title } from '@mantine/core';
import { useState } from 'react';

import { useAct, useLifecycle } from '../api/apis';
import type { Action, Schemas } from '../api/client';
import { has, useMe } from '../session';
import { Failed, Shown } from '../ui/states';
import type { TabProps } from './ApiPage';

type State = Schemas['State'];

const boxes: Record<State, [number, number]> = { CREATED: [10, 20], PROTOTYPED: [10, 130], PUBLISHED: [200, 20], BLOCKED: [200, 130], DEPRECATED: [390, 20], RETIRED: [390, 130] };

/** Where each action leads from and to, and how it is drawn. */
export const moves: { action: Action; from: State; to: State; d: string }[] = [
  { action: 'publish', from: 'CREATED', to: 'PUBLISHED', d: 'M130 34 L196 34' },
  { action: 'demote', from: 'PUBLISHED', to: 'CREATED', d: 'M200 48 L134 48' },
  { action: 'prototype', from: 'CREATED', to: 'PROTOTYPED', d: 'M55 62 L55 126' },
  { action: 'demote', from: 'PROTOTYPED', to: 'CREATED', d: 'M85 130 L85 66' },
  { action: 'publish', from: 'PROTOTYPED', to: 'PUBLISHED', d: 'M130 140 L198 64' },
  { action: 'prototype', from: 'PUBLISHED', to: 'PROTOTYPED', d: 'M202 72 L134 148' },
  { action: 'block', from: 'PUBLISHED', to: 'BLOCKED', d: 'M245 62 L245 126' },
  { action: 'republish', from: 'BLOCKED', to: 'PUBLISHED', d: 'M275 130 L275 66' },
  { action: 'deprecate', from: 'PUBLISHED', to: 'DEPRECATED', d: 'M320 41 L386 41' },
  { action: 'deprecate', from: 'BLOCKED', to: 'DEPRECATED', d: 'M320 140 L388 64' },
  { action: 'retire', from: 'DEPRECATED', to: 'RETIRED', d: 'M450 62 L450 126' },
];

const words: Record<Action, { label: string; does: string; red?: boolean }> = {
  publish: { label: 'Publish', does: 'Clients with a subscription can read it.' },
  prototype: { label: 'Deploy as a prototype', does: 'Clients can read it with a credential, without a subscription.' },
  demote: { label: 'Demote to created', does: 'It is taken off: open streams end.', red: true },
  block: { label: 'Block', does: 'Open streams end; ingest goes on, so that nothing is missing after a re-publish.', red: true },
  republish: { label: 'Re-publish', does: 'Clients come back and resume without a hole.' },
  deprecate: { label: 'Deprecate', does: 'Present subscriptions go on; there are no new ones.' },
  retire: { label: 'Retire', does: 'It is gone for clients, for good.', red: true },
};

/** Lifecycle shows where an API is in its life, what may come next, and what publishing still needs. */
export function Lifecycle({ id }: TabProps) {
  const { data: me } = useMe();
  const life = useLifecycle(id);
  const act = useAct(id);
  const [comment, setComment] = useState('');
  const [older, setOlder] = useState(false);
  const [carry, setCarry] = useState(false);
  const can = has(me, 'publisher');
  return (
    <Shown of={life} what="the lifecycle">
      {(l) => {
        const open = l.checklist.filter((c) => !c.ok);
        return (
          <Stack maw={760}>
            <Picture now={l.state} can={l.actions} />
            {open.length > 0 && (
              <Alert color="yellow" title="Publishing still needs">
                <List size="sm">
                  {open.map((c) => (
                    <List.Item key={c.name}>
                      {c.name}: {c.detail}
                    </List.Item>
                  ))}
                </List>
              </Alert>
            )}
            {act.error && <Failed error={act.error} />}
            {!can && <Text c="dimmed">Moving an API on needs the role publisher.</Text>}
            {can && l.actions.length === 0 && <Text c="dimmed">{l.state} is the end of an API’s life.</Text>}
            {can && l.actions.length > 0 && (
              <>
                <Title order={2} size="h4">
                  What next
                </Title>
                <TextInput label="Comment for the history" value={comment} onChange={(e) => setComment(e.currentTarget.value)} maxLength={500} maw={480} />
                {l.actions.includes('publish') && <Checkbox label="Deprecate older published versions in the same step" checked={older} onChange={(e) => setOlder(e.currentTarget.checked)} />}
                {l.actions.includes('publish') && <Checkbox label="Who has subscribed to the version before is subscribed to this one" checked={carry} onChange={(e) => setCarry(e.currentTarget.checked)} />}
                {l.actions.map((a) => (
                  <Group key={a} gap="sm">
                    <Button
                      w={{ base: '100%', xs: 240 }}
                      variant={words[a].red ? 'outline' : 'filled'}
                      color={words[a].red ? 'red' : undefined}
                      loading={act.isPending && act.variables?.action === a}
                      disabled={act.isPending}
                      onClick={() => act.mutate({ action: a, comment: comment || undefined, ...(a === 'publish' && older && { deprecateOlder: true }), ...(a === 'publish' && carry && { requireResubscription: false }) }, { onSuccess: () => setComment('') })}
                    >
                      {words[a].label}
                    </Button>
                    <Text size="sm" flex={{ base: '1 1 100%', xs: '1 1 0' }}>
                      {words[a].does}
                    </Text>
                  </Group>
                ))}
              </>
            )}
          </Stack>
        );
      }}
    </Shown>
  );
}

function Picture({ now, can }: { now: State; can: Action[] }) {
  const drawn = [...moves].sort((a, b) => Number(a.from === now) - Number(b.from === now));
  return (
    <svg className="life" viewBox="0 0 520 190" role="img" aria-label={`The API is ${now}. Allowed now: ${can.join(', ') || 'nothing'}.`}>
      <defs>
        <marker id="tip" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="9" markerHeight="9" markerUnits="userSpaceOnUse" orient="auto-start-reverse">
          <path d="M0 0 L8 4 L0 8 z" style={{ fill: 'context-stroke', stroke: 'none' }} />
        </marker>
      </defs>
      {drawn.map((m) => (
        <path key={m.d} d={m.d} markerEnd="url(#tip)" className={m.from === now && can.includes(m.action) ? 'can' : undefined} />
      ))}
      {(Object.keys(boxes) as State[]).map((s) => (
        <g key={s} className={s === now ? 'now' : undefined} transform={`translate(${boxes[s][0]} ${boxes[s][1]})`}>
          <rect width={120} height={42} rx={8} />
          <text x={60} y={26}>
            {s}
          </text>
        </g>
      ))}
    </svg>
  );
}
