import { Anchor, Badge, Card, Group, Stack, Table, Text, TextInput, Title } from '@mantine/core';
import { useMemo, useState, type ReactNode } from 'react';

import { Empty } from '../ui/states';
import { type Channel, type Json, type Message, type Operation, type Param, read, type Scheme } from './model';
import { Schema } from './Schema';

const many = 8; // channels, from which on one may want to search them

/** Document renders an AsyncAPI document: servers, channels with their operations and messages, schemas, security. */
export function Document({ doc }: { doc: unknown }) {
  const model = useMemo(() => read(doc), [doc]);
  const [find, setFind] = useState('');
  if (!model) return <Empty title="This is no AsyncAPI document">The server answered something else. Source shows it as it came.</Empty>;
  const channels = model.channels.filter((c) => !find || `${c.address} ${c.description} ${c.title}`.toLowerCase().includes(find.toLowerCase()));
  return (
    <Stack maw={920} className="doc">
      <div>
        <Group gap="xs">
          <Title order={2} size="h3">
            {model.title}
          </Title>
          <Text c="dimmed">{model.version}</Text>
          <Badge variant="default" tt="none">
            AsyncAPI {model.asyncapi}
          </Badge>
          {model.tags.map((t) => (
            <Badge key={t} variant="light" tt="none">
              {t}
            </Badge>
          ))}
        </Group>
        {model.description && <Text mt="xs">{model.description}</Text>}
        <Group gap="md" mt={4}>
          {model.id && (
            <Text size="sm" c="dimmed" className="mono wrap">
              {model.id}
            </Text>
          )}
          {model.contentType && (
            <Text size="sm" c="dimmed">
              {model.contentType}
            </Text>
          )}
          {model.links.map((l) => (
            <Text size="sm" key={l.label}>
              {l.label}: {safe(l.href) ? <Anchor href={l.href}>{l.text}</Anchor> : l.text}
            </Text>
          ))}
        </Group>
      </div>

      <Part title="Servers">
        {model.servers.length === 0 ? (
          <Text size="sm" c="dimmed">
            None: the API is served nowhere yet, or nobody has set edge.publicURLs.
          </Text>
        ) : (
          model.servers.map((s) => (
            <Card withBorder key={s.name} padding="sm">
              <Group gap="xs">
                <Text fw={600}>{s.name}</Text>
                <Badge variant="light">{s.protocol}</Badge>
              </Group>
              <Text size="sm" className="mono wrap">
                {s.url}
              </Text>
              {s.description && <Text size="sm">{s.description}</Text>}
              {s.security.length > 0 && <Security of={s.security} />}
              <More of={s.more} />
            </Card>
          ))
        )}
      </Part>

      <Part title="Channels" aside={model.channels.length > many && <TextInput aria-label="Search channels" placeholder="Search" size="xs" value={find} onChange={(e) => setFind(e.currentTarget.value)} />}>
        {channels.length === 0 && (
          <Text size="sm" c="dimmed">
            {find ? 'No channel fits.' : 'None: add a topic.'}
          </Text>
        )}
        {channels.map((c) => (
          <ChannelCard key={c.key} channel={c} />
        ))}
      </Part>

      {model.schemas.length > 0 && (
        <Part title="Schemas">
          {model.schemas.map(([name, s]) => (
            <Card withBorder key={name} id={`schema-${name}`} padding="sm">
              <Text fw={600} className="mono">
                {name}
              </Text>
              <Schema schema={s} />
            </Card>
          ))}
        </Part>
      )}

      {model.security.length > 0 && (
        <Part title="Security">
          {model.security.map((s) => (
            <SchemeCard key={s.name} scheme={s} />
          ))}
        </Part>
      )}
      {model.more.length > 0 && (
        <Part title="Extensions">
          <More of={model.more} />
        </Part>
      )}
    </Stack>
  );
}

/** safe tells whether an address of a document may be a link: anybody can have written it. */
const safe = (href: string) => /^(https?:\/\/|mailto:)/i.test(href);

function Part({ title, aside, children }: { title: string; aside?: ReactNode; children: ReactNode }) {
  return (
    <Stack gap="xs" component="section" aria-label={title}>
      <Group justify="space-between">
        <Title order={3} size="h4">
          {title}
        </Title>
        {aside}
      </Group>
      {children}
    </Stack>
  );
}

function ChannelCard({ channel: c }: { channel: Channel }) {
  return (
    <Card withBorder padding="sm">
      <Text className="mono wrap" fw={600} component="h4">
        {c.address}
      </Text>
      {c.title && <Text size="sm">{c.title}</Text>}
      {c.description && <Text size="sm">{c.description}</Text>}
      {c.servers.length > 0 && <Text size="sm">On {c.servers.join(', ')}</Text>}
      <Params of={c.params} />
      {c.operations.map((o) => (
        <OperationPart key={o.id + o.action} operation={o} channel={c} />
      ))}
      {c.operations.length === 0 && (
        <Text size="sm" c="dimmed">
          No operation.
        </Text>
      )}
      {c.messages.map((m) => (
        <MessagePart key={m.name} message={m} />
      ))}
      <More of={c.more} />
    </Card>
  );
}

function Params({ of }: { of: Param[] }) {
  if (of.length === 0) return null;
  return (
    <Table.ScrollContainer minWidth={420}>
      <Table aria-label="Parameters">
        <Table.Thead>
          <Table.Tr>
            <Table.Th>Parameter</Table.Th>
            <Table.Th>Must be</Table.Th>
            <Table.Th>Examples</Table.Th>
          </Table.Tr>
        </Table.Thead>
        <Table.Tbody>
          {of.map((p) => (
            <Table.Tr key={p.name}>
              <Table.Td className="mono">{p.name}</Table.Td>
              <Table.Td>
                {p.pattern && <div className="mono wrap">{p.pattern}</div>}
                {p.values.length > 0 && <div>one of {p.values.join(', ')}</div>}
                {p.fallback && <div>{p.fallback} if left out</div>}
                {!p.pattern && p.values.length === 0 && <div>any text</div>}
                {p.description && <Text size="sm">{p.description}</Text>}
                <More of={p.more} />
              </Table.Td>
              <Table.Td className="mono">{p.examples.join(', ')}</Table.Td>
            </Table.Tr>
          ))}
        </Table.Tbody>
      </Table>
    </Table.ScrollContainer>
  );
}

/** plain is what the bindings of every stream say; in 2.x they have a type too. */
const plain = JSON.stringify({ http: { method: 'GET' } });

function OperationPart({ operation: o, channel }: { operation: Operation; channel: Channel }) {
  return (
    <Stack gap={4} mt="xs">
      <Group gap="xs">
        <Badge variant="light" color={o.action === 'send' ? 'teal' : 'orange'}>
          {o.action}
        </Badge>
        <Text size="sm">{o.action === 'send' ? 'the API sends, clients read by GET' : 'the API reads what clients send'}</Text>
        {o.id && (
          <Text size="sm" c="dimmed" className="mono wrap">
            {o.id}
          </Text>
        )}
      </Group>
      {o.title && <Text size="sm">{o.title}</Text>}
      {o.description && <Text size="sm">{o.description}</Text>}
      {o.security === undefined || o.security.length === 0 ? (
        <Text size="sm">{channel.more.some(([k, v]) => k === 'x-auth-type' && v === 'None') ? 'Open: no credential.' : 'No credential is named.'}</Text>
      ) : (
        <Security of={o.security} />
      )}
      {o.query !== undefined && (
        <details open>
          <summary>Query parameters</summary>
          <Schema schema={o.query} />
        </details>
      )}
      {o.messages.length === 0 && (
        <Text size="sm" c="dimmed">
          Its messages are not described.
        </Text>
      )}
      {o.messages.map((m, i) => (
        <MessagePart key={`${m.name} ${i}`} message={m} />
      ))}
      {o.bindings !== undefined && JSON.stringify(o.bindings) !== plain && <More of={[['bindings', o.bindings]]} />}
      <More of={o.more} />
    </Stack>
  );
}

function MessagePart({ message: m }: { message: Message }) {
  return (
    <Stack gap={4} className="message">
      <Group gap="xs">
        <Text size="sm">
          Message <strong>{m.name}</strong>
        </Text>
        <Text size="sm" c="dimmed">
          {m.contentType}
        </Text>
      </Group>
      {m.title && <Text size="sm">{m.title}</Text>}
      {m.description && <Text size="sm">{m.description}</Text>}
      {m.payload !== undefined && (
        <details open>
          <summary>Payload</summary>
          <Schema schema={m.payload} />
        </details>
      )}
      {m.headers !== undefined && (
        <details>
          <summary>Headers</summary>
          <Schema schema={m.headers} />
        </details>
      )}
      {m.examples.map((e, i) => (
        <details open={i === 0} key={i}>
          <summary>{e.name}</summary>
          <Code value={e.value} />
        </details>
      ))}
      <More of={m.more} />
    </Stack>
  );
}

function Security({ of }: { of: Scheme[] }) {
  return (
    <Text size="sm" component="div">
      Credential{of.length > 1 ? ', any one' : ''}:{' '}
      <Group gap={4} component="span" display="inline-flex">
        {of.map((s, i) => (
          <Anchor href={`#security-${s.name}`} key={`${s.name} ${i}`} size="sm" title={s.what} underline="always">
            {s.name}
            {s.scopes.length > 0 && ` (${s.scopes.join(', ')})`}
          </Anchor>
        ))}
      </Group>
    </Text>
  );
}

function SchemeCard({ scheme: s }: { scheme: Scheme }) {
  return (
    <Card withBorder padding="sm" id={`security-${s.name}`}>
      <Group gap="xs">
        <Text fw={600}>{s.name}</Text>
        <Badge variant="default" tt="none">
          {s.type}
        </Badge>
      </Group>
      <Text size="sm" className="mono wrap">
        {s.what}
      </Text>
      {s.description && <Text size="sm">{s.description}</Text>}
      {s.scopes.length > 0 && <Text size="sm">Scopes asked for: {s.scopes.join(', ')}</Text>}
      {s.flows.map((f) => (
        <div key={f.name}>
          <Text size="sm">Flow {f.name}</Text>
          {f.urls.map(([k, u]) => (
            <Text size="sm" key={k} className="mono wrap">
              {k}: {u}
            </Text>
          ))}
          {f.scopes.length > 0 && (
            <Table aria-label="Scopes">
              <Table.Tbody>
                {f.scopes.map(([k, d]) => (
                  <Table.Tr key={k}>
                    <Table.Td className="mono">{k}</Table.Td>
                    <Table.Td>{d}</Table.Td>
                  </Table.Tr>
                ))}
              </Table.Tbody>
            </Table>
          )}
        </div>
      ))}
      <More of={s.more} />
    </Card>
  );
}

/** More shows what no other part of the page shows, so that nothing of the document is lost. */
function More({ of }: { of: [string, Json][] }) {
  return of.map(([k, v]) => {
    const line = typeof v === 'string' ? v : JSON.stringify(v);
    return (
      <Text size="xs" c="dimmed" component="div" key={k} className="wrap">
        <span className="mono">{k}</span>
        {line.length <= 120 ? `: ${line}` : <Code value={v} />}
      </Text>
    );
  });
}

function Code({ value }: { value: Json }) {
  return (
    <pre className="mono" tabIndex={0}>
      {typeof value === 'string' ? value : JSON.stringify(value, null, 2)}
    </pre>
  );
}
