import { Alert, Anchor, Breadcrumbs, Button, Checkbox, Fieldset, Group, Modal, NumberInput, Radio, Select, SimpleGrid, Stack, Text, Textarea, TextInput, Title } from '@mantine/core';
import { useDisclosure } from '@mantine/hooks';
import { Link, useNavigate, useParams } from '@tanstack/react-router';
import { useEffect, useRef, useState } from 'react';

import { limitsOf, type Plan, useCreatePlan, useDeletePlan, usePlan, useSavePlan } from '../api/access';
import { Refused } from '../api/client';
import { byField } from '../api/problem';
import { useChanges } from '../live/useChanges';
import { has, useMe } from '../session';
import { SaveBar } from '../ui/SaveBar';
import { Failed, NotAllowed, Shown } from '../ui/states';
import { useDraft } from '../ui/useDraft';
import { fields, type Form, formOf, fresh, planOf, units } from './planForm';

/** NewPlan creates a plan. The server judges every value; its words stand at the field. */
export function NewPlan() {
  const { data: me } = useMe();
  const go = useNavigate();
  const create = useCreatePlan();
  const [form, setForm] = useState(fresh);
  if (!has(me)) return <NotAllowed role="admin" />;
  const told = create.error instanceof Refused ? byField(create.error.problem, fields) : { errors: {}, rest: create.error ? [create.error.message] : [] };
  return (
    <form
      onSubmit={(e) => {
        e.preventDefault();
        create.mutate(planOf(form), { onSuccess: () => void go({ to: '/plans' }) });
      }}
      noValidate
    >
      <Stack maw={620}>
        <Trail name="New plan" />
        <Title order={1} size="h2">
          New plan
        </Title>
        <Fields form={form} errors={told.errors} named onChange={(f) => (setForm(f), create.reset())} />
        {told.rest.length > 0 && (
          <Alert color="red" role="alert" title="Not created">
            {told.rest.map((t) => (
              <Text size="sm" key={t}>
                {t}
              </Text>
            ))}
          </Alert>
        )}
        <Group>
          <Button type="submit" loading={create.isPending}>
            Create
          </Button>
          <Button variant="default" component={Link} to="/plans">
            Cancel
          </Button>
        </Group>
      </Stack>
    </form>
  );
}

/** PlanPage changes and deletes a plan. */
export function PlanPage() {
  const { name } = useParams({ strict: false }) as { name: string };
  const { data: me } = useMe();
  const may = has(me);
  const found = usePlan(name, may);
  useChanges(may, 'plans');
  if (!may) return <NotAllowed role="admin" />;
  return (
    <Stack maw={620}>
      <Trail name={name} />
      {found.data && found.error && <Failed error={found.error} />}
      <Shown of={found} what="the plan">
        {({ data, etag }) => <Edit key={name} plan={data} etag={etag} />}
      </Shown>
    </Stack>
  );
}

function Trail({ name }: { name: string }) {
  return (
    <Breadcrumbs>
      <Anchor component={Link} to="/plans">
        Plans
      </Anchor>
      <Text className="wrap">{name}</Text>
    </Breadcrumbs>
  );
}

function Edit({ plan, etag }: { plan: Plan; etag: string }) {
  const { name } = plan.metadata;
  const save = useSavePlan(name);
  const d = useDraft(formOf(plan), etag, fields);
  return (
    <>
      <Group justify="space-between" wrap="nowrap">
        <Title order={1} size="h2" className="wrap">
          {plan.metadata.displayName ?? name}
        </Title>
        <Delete name={name} etag={etag} />
      </Group>
      <Text size="sm" c="dimmed">
        A change acts at once, on open streams too: what was given in this window of the quota stays given.
      </Text>
      <Fields form={d.draft} errors={d.told.errors} onChange={d.change} />
      <SaveBar what="plan" dirty={d.dirty} stale={d.stale} busy={save.isPending} rest={d.told.rest} onSave={() => void d.save((f, tag) => save.mutateAsync({ plan: planOf(f), etag: tag }))} onReset={d.reset} />
    </>
  );
}

function Delete({ name, etag }: { name: string; etag: string }) {
  const [open, { open: ask, close }] = useDisclosure();
  const del = useDeletePlan(name);
  const go = useNavigate();
  return (
    <>
      <Button variant="subtle" color="red" size="xs" onClick={() => (del.reset(), ask())}>
        Delete
      </Button>
      <Modal opened={open} onClose={close} title={`Delete plan ${name}`} closeButtonProps={{ 'aria-label': 'Close' }}>
        <Stack>
          <Text size="sm">Only a plan is deleted that no API offers and that no subscription and no application has. It does not come back.</Text>
          {del.error && <Failed error={del.error} />}
          <Group>
            <Button color="red" loading={del.isPending} onClick={() => del.mutate(etag, { onSuccess: () => void go({ to: '/plans' }) })}>
              Delete the plan
            </Button>
            <Button variant="default" onClick={close} data-autofocus>
              Keep it
            </Button>
          </Group>
        </Stack>
      </Modal>
    </>
  );
}

type Errors = Partial<Record<string, string>>;

/** Fields are those of a plan; named asks for its name too. The first one that the server refused is focused. */
function Fields({ form: f, errors, named, onChange }: { form: Form; errors: Errors; named?: boolean; onChange: (f: Form) => void }) {
  const box = useRef<HTMLDivElement>(null);
  const wrong = Object.keys(errors).join(' ');
  useEffect(() => {
    const first = wrong ? box.current?.querySelector<HTMLElement>('[aria-invalid="true"]') : null;
    first?.focus();
    first?.scrollIntoView({ block: 'center' }); // not beneath the save bar
  }, [wrong]);
  const put = (part: Partial<Form>) => onChange({ ...f, ...part });
  const text = (k: 'name' | 'displayName' | 'description' | 'per' | 'maxDuration') => ({ value: f[k], error: errors[k], onChange: (e: React.ChangeEvent<HTMLInputElement | HTMLTextAreaElement>) => put({ [k]: e.currentTarget.value }) });
  const number = (k: 'events' | 'every' | 'rate' | 'perSubscription' | 'perKey') => ({ value: f[k], error: errors[k], onChange: (n: number | string) => put({ [k]: n }), allowDecimal: false, clampBehavior: 'none' as const, hideControls: true });
  return (
    <Stack ref={box}>
      {named && <TextInput label="Name" description="For programs: 1 to 60 letters, digits, dots, underscores or dashes. It cannot be changed later." placeholder="AsyncGold" required data-autofocus {...text('name')} />}
      <TextInput label="Display name" description="For people, at most 256 bytes; left empty it is the name." {...text('displayName')} />
      <Textarea label="Description" description="At most 2,000 bytes." autosize minRows={2} maxRows={8} {...text('description')} />
      <Fieldset legend="Quota of a subscription">
        <Stack gap="sm">
          <SimpleGrid cols={{ base: 1, xs: 3 }}>
            <NumberInput label="Events" description="To 10¹²; empty: no limit." placeholder="no limit" {...number('events')} />
            <NumberInput label="Every" description="1 to 1,000 units; empty: 1." placeholder="1" disabled={!Number(f.events)} {...number('every')} />
            <Select label="Unit" description="Windows are aligned in UTC." data={units} value={f.unit} onChange={(unit) => put({ unit: unit as Form['unit'] })} error={errors['unit']} allowDeselect={false} disabled={!Number(f.events)} />
          </SimpleGrid>
          <Radio.Group label="When the quota is used up" description="What its open streams do until the next window." value={f.onQuotaEnd} onChange={(v) => put({ onQuotaEnd: v as Form['onQuotaEnd'] })} error={errors['onQuotaEnd']}>
            <Stack gap="xs" mt="xs">
              <Radio value="auto" label="auto" description="Wait if it begins within a minute, else close. The default." />
              <Radio value="pause" label="pause" description="Wait if it begins within 15 minutes, else close." />
              <Radio value="close" label="close" description="Close; the client is told when to come back." />
            </Stack>
          </Radio.Group>
        </Stack>
      </Fieldset>
      <Fieldset legend="Each stream">
        <Stack gap="sm">
          <Text size="sm" c="dimmed">
            Its pace, where what is more waits, and how long it lasts.
          </Text>
          <SimpleGrid cols={{ base: 1, xs: 2 }}>
            <NumberInput label="Events at most" description="Up to 1,000,000; empty: no limit." placeholder="no limit" {...number('rate')} />
            <TextInput label="In a span of" description="100ms to 1h, with its unit; empty: 1s." placeholder="1s" disabled={!Number(f.rate)} {...text('per')} />
          </SimpleGrid>
          <TextInput label="Longest duration" description="10s to 30d, with its unit, such as 8h; then the stream ends and the client may come back. Empty: no limit." placeholder="no limit" {...text('maxDuration')} />
        </Stack>
      </Fieldset>
      <Fieldset legend="Streams at once">
        <Stack gap="sm">
          <Text size="sm" c="dimmed">
            On all edges together, up to 1,000,000; empty: no limit.
          </Text>
          <SimpleGrid cols={{ base: 1, xs: 2 }}>
            <NumberInput label="Of a subscription" placeholder="no limit" {...number('perSubscription')} />
            <NumberInput label="With one API key" placeholder="no limit" {...number('perKey')} />
          </SimpleGrid>
        </Stack>
      </Fieldset>
      <Checkbox label="Enforce the limits" description="The default. Off: events are counted, but quota, pace and streams at once are not limited." checked={f.enforce} onChange={(e) => put({ enforce: e.currentTarget.checked })} error={errors['enforce']} />
      <Radio.Group label="While the shared counters cannot be reached" description="They are in Redis." value={f.whenSourceDown} onChange={(v) => put({ whenSourceDown: v as Form['whenSourceDown'] })} error={errors['whenSourceDown']}>
        <Stack gap="xs" mt="xs">
          <Radio value="open" label="open" description="Go on by what each edge estimates. The default." />
          <Radio value="closed" label="closed" description="Deliver nothing until they are back." />
        </Stack>
      </Radio.Group>
      <Checkbox label="Requires approval" description="A new subscription waits until a publisher lets it in. Off by default." checked={f.requiresApproval} onChange={(e) => put({ requiresApproval: e.currentTarget.checked })} error={errors['requiresApproval']} />
      <Text size="sm">In words: {limitsOf(planOf(f))}</Text>
    </Stack>
  );
}
