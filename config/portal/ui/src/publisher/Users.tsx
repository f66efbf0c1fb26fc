import { Button, Group, Modal, MultiSelect, PasswordInput, Stack, Table, Text, TextInput, Title } from '@mantine/core';
import { useDisclosure } from '@mantine/hooks';
import { useMutation, useQuery, useQueryClient } from '@tanstack/react-query';
import { useState } from 'react';

import { client, must, Refused, type Role } from '../api/client';
import { byField } from '../api/problem';
import { has, useMe } from '../session';
import { Failed, NotAllowed, Shown } from '../ui/states';
import { Ago } from '../ui/time';

const roles: Role[] = ['admin', 'creator', 'publisher', 'subscriber'];

/** Users is for administrators: who may do what. */
export function Users() {
  const { data: me } = useMe();
  const queries = useQueryClient();
  const list = useQuery({ queryKey: ['users'], queryFn: () => must(client.GET('/api/v1/users')), enabled: has(me) });
  const del = useMutation({
    mutationFn: (name: string) => must(client.DELETE('/api/v1/users/{name}', { params: { path: { name } } })),
    onSettled: () => queries.invalidateQueries({ queryKey: ['users'] }),
  });
  const set = useMutation({
    mutationFn: ({ name, roles }: { name: string; roles: Role[] }) => must(client.PUT('/api/v1/users/{name}', { params: { path: { name } }, body: { roles } })),
    onSettled: () => queries.invalidateQueries({ queryKey: ['users'] }),
  });
  const [open, { open: add, close }] = useDisclosure();
  if (!has(me)) return <NotAllowed role="admin" />;
  return (
    <Stack maw={760}>
      <Group justify="space-between">
        <Title order={1} size="h2">
          Users
        </Title>
        <Button onClick={add}>Add a user</Button>
      </Group>
      {del.error && <Failed error={del.error} />}
      {set.error && <Failed error={set.error} />}
      <Shown of={list} what="users">
        {(l) => (
          <Table>
            <Table.Thead>
              <Table.Tr>
                <Table.Th>Name</Table.Th>
                <Table.Th>Roles</Table.Th>
                <Table.Th>Since</Table.Th>
                <Table.Th />
              </Table.Tr>
            </Table.Thead>
            <Table.Tbody>
              {l.items.map((u) => (
                <Table.Tr key={u.name}>
                  <Table.Td>{u.name}</Table.Td>
                  <Table.Td>
                    {u.name === me?.name ? (
                      u.roles.join(', ')
                    ) : (
                      <MultiSelect aria-label={`Roles of ${u.name}`} size="xs" data={roles} value={u.roles} onChange={(v) => v.length && set.mutate({ name: u.name, roles: v as Role[] })} disabled={set.isPending} />
                    )}
                  </Table.Td>
                  <Table.Td>
                    <Ago at={u.createdAt} />
                  </Table.Td>
                  <Table.Td>
                    {u.name !== me?.name && (
                      <Button size="compact-xs" variant="subtle" color="red" onClick={() => del.mutate(u.name)} aria-label={`Delete user ${u.name}`}>
                        Delete
                      </Button>
                    )}
                  </Table.Td>
                </Table.Tr>
              ))}
            </Table.Tbody>
          </Table>
        )}
      </Shown>
      <Modal opened={open} onClose={close} title="Add a user">
        <NewUser onDone={close} />
      </Modal>
    </Stack>
  );
}

function NewUser({ onDone }: { onDone: () => void }) {
  const queries = useQueryClient();
  const [form, setForm] = useState<{ name: string; password: string; roles: Role[] }>({ name: '', password: '', roles: ['subscriber'] });
  const make = useMutation({
    mutationFn: () => must(client.POST('/api/v1/users', { body: form })),
    onSuccess: async () => {
      await queries.invalidateQueries({ queryKey: ['users'] });
      onDone();
    },
  });
  const told = make.error instanceof Refused ? byField(make.error.problem, { '/name': 'name', '/password': 'password', '/roles': 'roles' }) : undefined;
  return (
    <form
      onSubmit={(e) => {
        e.preventDefault();
        make.mutate();
      }}
    >
      <Stack>
        <TextInput label="Name" value={form.name} onChange={(e) => setForm({ ...form, name: e.currentTarget.value })} error={told?.errors.name} required data-autofocus />
        <PasswordInput label="Password" description="At least 12 characters" value={form.password} onChange={(e) => setForm({ ...form, password: e.currentTarget.value })} error={told?.errors.password} required autoComplete="new-password" />
        <MultiSelect label="Roles" data={roles} value={form.roles} onChange={(v) => setForm({ ...form, roles: v as Role[] })} error={told?.errors.roles} />
        {told?.rest.map((t) => (
          <Text key={t} size="sm" c="red" role="alert">
            {t}
          </Text>
        ))}
        {make.error && !told && <Failed error={make.error} />}
        <Button type="submit" loading={make.isPending}>
          Add
        </Button>
      </Stack>
    </form>
  );
}
