import { Anchor, Badge, Button, Checkbox, Group, Stack, Table, Text, TextInput } from '@mantine/core';
import { Link, useNavigate } from '@tanstack/react-router';
import { useState } from 'react';

import { useCopy, useFamily, useSetDefault } from '../api/apis';
import { has, useMe } from '../session';
import { Failed, Shown } from '../ui/states';
import type { TabProps } from './ApiPage';

/** Versions are all APIs of one name; one of them may answer without its version in the path. */
export function Versions({ id, api }: TabProps) {
  const { data: me } = useMe();
  const name = api.metadata.name;
  const family = useFamily(name);
  const setDefault = useSetDefault(name);
  const copy = useCopy(id);
  const go = useNavigate();
  const [version, setVersion] = useState('');
  const [move, setMove] = useState(false);
  return (
    <Shown of={family} what="versions">
      {(f) => (
        <Stack maw={620}>
          <Table>
            <Table.Tbody>
              {f.versions.map((v) => (
                <Table.Tr key={v}>
                  <Table.Td>
                    <Anchor component={Link} to={`/apis/${name}@${v}` as string}>
                      {v}
                    </Anchor>{' '}
                    {v === f.defaultVersion && <Badge variant="light">default</Badge>}
                  </Table.Td>
                  <Table.Td>
                    {has(me, 'publisher') && v !== f.defaultVersion && (
                      <Button size="compact-xs" variant="default" loading={setDefault.isPending} onClick={() => setDefault.mutate({ defaultVersion: v, moveClients: move })}>
                        Make default
                      </Button>
                    )}
                  </Table.Td>
                </Table.Tr>
              ))}
            </Table.Tbody>
          </Table>
          {has(me, 'publisher') && (
            <>
              <Checkbox label="End the streams that came by the old default, so that they move" checked={move} onChange={(e) => setMove(e.currentTarget.checked)} />
              {f.defaultVersion && (
                <Group>
                  <Button size="xs" variant="default" onClick={() => setDefault.mutate({ defaultVersion: null, moveClients: move })}>
                    No default
                  </Button>
                </Group>
              )}
            </>
          )}
          {setDefault.error && <Failed error={setDefault.error} />}
          {has(me, 'creator') && (
            <Group align="flex-end">
              <TextInput label={`New version, a copy of ${api.spec.version}`} placeholder="2.0.0" value={version} onChange={(e) => setVersion(e.currentTarget.value)} />
              <Button
                variant="default"
                disabled={!version}
                loading={copy.isPending}
                onClick={() => copy.mutate({ version, default: false }, { onSuccess: () => void go({ to: '/apis/$id', params: { id: `${name}@${version}` } }) })}
              >
                Create
              </Button>
            </Group>
          )}
          {copy.error && <Failed error={copy.error} />}
          <Text size="sm" c="dimmed">
            Each version has its own state, topics and stored events.
          </Text>
        </Stack>
      )}
    </Shown>
  );
}
