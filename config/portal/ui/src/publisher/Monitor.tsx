import { Alert, Anchor, Button, Group, Select, SimpleGrid, Stack, Switch, Table, Text, TextInput, Title } from '@mantine/core';
import { Link } from '@tanstack/react-router';
import { Fragment, memo, useId, useMemo, useRef, useState } from 'react';

import { Refused } from '../api/client';
import { type FeedLine, type FeedLineName, type FeedSample, healthOf, type History, keyOf, type Line, type Sample, shownFrom } from '../live/history';
import { useMonitor } from '../live/useMonitor';
import { has, useMe } from '../session';
import { UpstreamBadge } from '../ui/badges';
import { Fact } from '../ui/Fact';
import { type LineOf, LiveChart } from '../ui/LiveChart';
import { count, millis, rate } from '../ui/numbers';
import { Spark } from '../ui/Spark';
import { Empty, Failed, Loading, NotAllowed } from '../ui/states';
import { Wide } from '../ui/Wide';
import type { TabProps } from './ApiPage';

/** Monitor shows what runs of all APIs. */
export function Monitor() {
  const { data: me } = useMe();
  if (!has(me, 'creator', 'publisher')) return <NotAllowed role="creator or publisher" />;
  return (
    <Stack>
      <Title order={1} size="h2">
        Monitor
      </Title>
      <Board />
    </Stack>
  );
}

/** MonitorTab is the part of one API. */
export const MonitorTab = ({ id }: TabProps) => <Board api={id} />;

function Board({ api }: { api?: string }) {
  const { source, history, sample } = useMonitor(api);
  const [paused, setPaused] = useState(false);
  const held = useRef(sample);
  if (!paused) held.current = sample;
  const shown = held.current;
  const drops = useMemo(() => history.drops(), [history, shown]);
  if (!shown) return source.problem ? <Failed error={new Refused(source.problem)} /> : source.state === 'away' ? <Away /> : <Loading what="what runs" />;
  return (
    <Stack>
      <Group justify="flex-end" gap="sm">
        <Text size="sm" c="dimmed" component="time" dateTime={shown.at} style={{ fontVariantNumeric: 'tabular-nums' }}>
          {clock(shown.at)}
        </Text>
        <Switch label="Pause" checked={paused} onChange={(e) => setPaused(e.currentTarget.checked)} />
      </Group>
      <SimpleGrid cols={{ base: 2, xs: 3, md: 6 }} aria-label="In short" role="group">
        <Fact label="Clients" value={count(shown.clients)} />
        <Fact label="Deliveries/s" value={rate(shown.deliveriesPerSecond ?? sum(shown, (a) => a.deliveriesPerSecond))} />
        <Fact label="Events/s" value={rate(sum(shown, (a) => a.eventsPerSecond))} />
        <Fact label="Latency, p99" value={shown.latency ? millis(shown.latency.p99Ms) : '–'} />
        <Fact label="Upstreams up" value={`${sum(shown, (a) => a.states.up ?? 0)} of ${sum(shown, (a) => a.feeds)}`} />
        <Fact label="Not delivered" value={count(drops.reduce((n, d) => n + d.count, 0))} />
      </SimpleGrid>
      <div role="status">
        {source.state === 'away' && !paused && <Away since={shown.at} />}
        {shown.silent.length > 0 && <Alert color="yellow">Not in these figures, because they did not answer: {shown.silent.join(', ')}</Alert>}
      </div>
      <Charts history={history} tick={shown} />
      {shown.apis.length === 0 ? (
        <Empty title="No feed runs">A feed runs once a client asks for it, or always if its topic says so and the API is live.</Empty>
      ) : (
        <>
          {api === undefined && <Apis sample={shown} />}
          <Feeds sample={shown} history={history} one={api !== undefined} />
        </>
      )}
      {drops.length > 0 && <Drops drops={drops} />}
      {shown.edges.length > 0 && <Edges sample={shown} />}
    </Stack>
  );
}

const sum = (s: Sample, of: (a: Sample['apis'][number]) => number) => s.apis.reduce((n, a) => n + of(a), 0);

const clock = (iso: string) => new Date(iso).toLocaleTimeString('en-GB');

function Away({ since }: { since?: string }) {
  return (
    <Alert color="yellow" title="Reconnecting">
      The control node does not answer; it is tried again by itself.{since && ` What you see is of ${clock(since)}.`} Clients’ streams do not depend on it.
    </Alert>
  );
}

const blue = '#228be6';
const teal = '#12b886';
const amber = '#f08c00';
const red = '#fa5252';
const violet = '#9775fa';

type Plot = { title: string; lines: LineOf[]; of: Line[]; format: (n: number) => string };

const plots: Plot[] = [
  { title: 'Clients', of: ['clients'], lines: [{ label: 'clients', colour: blue }], format: count },
  { title: 'Per second', of: ['deliveries', 'events'], lines: [{ label: 'deliveries', colour: blue }, { label: 'events', colour: violet }], format: rate },
  { title: 'Latency', of: ['p50', 'p95', 'p99'], lines: [{ label: 'p50', colour: teal }, { label: 'p95', colour: amber }, { label: 'p99', colour: red }], format: millis },
  { title: 'Lag', of: ['lag'], lines: [{ label: 'longest', colour: violet }], format: millis },
  { title: 'Upstreams', of: ['up', 'waiting', 'down'], lines: [{ label: 'up', colour: teal }, { label: 'waiting', colour: amber }, { label: 'down', colour: red }], format: count },
  { title: 'Not delivered', of: ['end', 'gap', 'throttled', 'refused'], lines: [{ label: 'ends', colour: red }, { label: 'gaps', colour: amber }, { label: 'throttled', colour: violet }, { label: 'refused', colour: blue }], format: count },
];

const feedPlotted = new Set<string>(['clients', 'events', 'deliveries', 'p50', 'p95', 'p99', 'lag'] satisfies FeedLineName[]);

const Charts = memo(function Charts({ history, tick }: { history: History; tick: unknown }) {
  return (
    <>
      <SimpleGrid cols={{ base: 1, sm: 2, xl: 3 }} spacing="sm">
        {plots.map((p) => (
          <LiveChart key={p.title} title={p.title} lines={p.lines} format={p.format} tick={tick} read={() => ({ t: history.t, values: p.of.map((l) => history.values[l]) })} />
        ))}
      </SimpleGrid>
      <Text size="xs" c="dimmed">
        Latency is from when an event was read from its upstream until it had been handed to sockets. Lag is how long events wait to be stored or are missing at an edge. Not delivered are streams that ended though their client had not left, gaps told, quotas met and requests refused.
      </Text>
    </>
  );
});

function Apis({ sample }: { sample: Sample }) {
  return (
    <Wide min={660} label="APIs, scrolled sideways">
      <Table className="figures" verticalSpacing={5} aria-label="APIs">
        <Table.Thead>
          <Table.Tr>
            <Table.Th>API</Table.Th>
            <Table.Th>Upstreams up</Table.Th>
            <Table.Th>Clients</Table.Th>
            <Table.Th>Events/s</Table.Th>
            <Table.Th>Deliveries/s</Table.Th>
            <Table.Th>Lag</Table.Th>
            <Table.Th>Latency, p99</Table.Th>
          </Table.Tr>
        </Table.Thead>
        <Table.Tbody>
          {sample.apis.map((a) => (
            <Table.Tr key={a.id}>
              <Table.Td>
                <Anchor component={Link} to={`/apis/${a.id}/monitor` as string} fw={600}>
                  {a.id}
                </Anchor>
              </Table.Td>
              <Table.Td>
                {a.states.up ?? 0} of {a.feeds}
              </Table.Td>
              <Table.Td>{count(a.clients)}</Table.Td>
              <Table.Td>{rate(a.eventsPerSecond)}</Table.Td>
              <Table.Td>{rate(a.deliveriesPerSecond)}</Table.Td>
              <Table.Td>{millis(a.lagMs)}</Table.Td>
              <Table.Td>{a.latency ? millis(a.latency.p99Ms) : '–'}</Table.Td>
            </Table.Tr>
          ))}
        </Table.Tbody>
      </Table>
      {sample.apisLeft > 0 && <Text size="sm">and {count(sample.apisLeft)} more</Text>}
    </Wide>
  );
}

const step = 100;

const orders: Record<string, (a: FeedSample, b: FeedSample) => number> = {
  'not up first': (a, b) => Number(a.state === 'up') - Number(b.state === 'up'),
  clients: (a, b) => b.clients - a.clients,
  'events per second': (a, b) => b.eventsPerSecond - a.eventsPerSecond,
  lag: (a, b) => b.lagMs - a.lagMs,
  latency: (a, b) => (b.latency?.p99Ms ?? 0) - (a.latency?.p99Ms ?? 0),
  path: () => 0,
};

function Feeds({ sample, history, one }: { sample: Sample; history: History; one: boolean }) {
  const [filter, setFilter] = useState('');
  const [order, setOrder] = useState('not up first');
  const [most, setMost] = useState(step);
  const [open, setOpen] = useState('');
  const details = useId();
  const found = useMemo(
    () =>
      sample.feeds
        .filter((f) => `${keyOf(f)} ${f.state}`.toLowerCase().includes(filter.trim().toLowerCase()))
        .sort((a, b) => orders[order]!(a, b) || a.api.localeCompare(b.api) || a.path.localeCompare(b.path)),
    [sample, filter, order],
  );
  const from = shownFrom(history.t[0] ?? 0, history.t.at(-1) ?? 0);
  const left = found.length - most + (filter ? 0 : sample.feedsLeft);
  return (
    <Stack gap="xs">
      <Group justify="space-between" align="flex-end">
        <Title order={2} size="h4">
          Feeds
        </Title>
        <Group gap="xs">
          <TextInput aria-label="Filter feeds" placeholder="Path or state" value={filter} onChange={(e) => setFilter(e.currentTarget.value)} w={{ base: '100%', xs: 180 }} />
          <Select aria-label="Sort feeds" data={Object.keys(orders)} value={order} onChange={(v) => v && setOrder(v)} allowDeselect={false} w={{ base: '100%', xs: 170 }} />
        </Group>
      </Group>
      <Wide min={800} label="Feeds, scrolled sideways">
        <Table className="figures" verticalSpacing={5} aria-label="Feeds">
          <Table.Thead>
            <Table.Tr>
              <Table.Th>Path</Table.Th>
              <Table.Th>Upstream</Table.Th>
              <Table.Th>Last minutes</Table.Th>
              <Table.Th>Clients</Table.Th>
              <Table.Th>Events/s</Table.Th>
              <Table.Th>Deliveries/s</Table.Th>
              <Table.Th>Lag</Table.Th>
              <Table.Th>Latency, p99</Table.Th>
              <Table.Th>Gaps</Table.Th>
            </Table.Tr>
          </Table.Thead>
          <Table.Tbody>
            {found.slice(0, most).map((f) => (
              <Fragment key={keyOf(f)}>
                <Table.Tr>
                  <Row path={f.path} api={one ? '' : f.api} state={f.state} why={f.why ?? ''} details={details} open={open === keyOf(f)} onOpen={() => setOpen(open === keyOf(f) ? '' : keyOf(f))} />
                  <Table.Td>
                    <Spark line={history.feeds.get(keyOf(f))} from={from} tick={sample} label={`${f.path}: events per second and state of the upstream, over the last minutes`} />
                  </Table.Td>
                  <Figures clients={f.clients} events={rate(f.eventsPerSecond)} deliveries={rate(f.deliveriesPerSecond)} lag={millis(f.lagMs)} latency={lately(history, f)} gaps={f.gaps} />
                </Table.Tr>
                {open === keyOf(f) && (
                  <Table.Tr id={details}>
                    <Table.Td colSpan={9}>
                      <FeedCharts feed={f} line={history.feeds.get(keyOf(f))} tick={sample} />
                    </Table.Td>
                  </Table.Tr>
                )}
              </Fragment>
            ))}
          </Table.Tbody>
        </Table>
      </Wide>
      {found.length === 0 && <Text c="dimmed">No feed fits this filter.</Text>}
      {left > 0 && (
        <Group>
          {found.length > most && (
            <Button size="xs" variant="default" onClick={() => setMost(most + step)}>
              Show more
            </Button>
          )}
          <Text size="sm" c="dimmed">
            {count(left)} more{sample.feedsLeft > 0 && '; those that are up with fewest clients are not listed'}
          </Text>
        </Group>
      )}
    </Stack>
  );
}

/** lately is the newest latency of a feed: it may have no event for a while. */
function lately(history: History, f: FeedSample) {
  const p99 = history.feeds.get(keyOf(f))?.p99;
  return p99 === undefined ? '–' : millis(p99);
}

type RowProps = { path: string; api: string; state: string; why: string; details: string; open: boolean; onOpen: () => void };

/** Row and Figures are rendered only when what they show changes. */
const Row = memo(function Row({ path, api, state, why, details, open, onOpen }: RowProps) {
  return (
    <>
      <Table.Td>
        <Anchor component="button" className="mono" onClick={onOpen} aria-expanded={open} aria-controls={open ? details : undefined}>
          {path}
        </Anchor>
        {api && (
          <Text size="xs" c="dimmed">
            {api}
          </Text>
        )}
      </Table.Td>
      <Table.Td>
        <UpstreamBadge state={state} />
        {why && healthOf(state) !== 'up' && <Text size="xs">{why}</Text>}
      </Table.Td>
    </>
  );
}, sameRow);

/** sameRow leaves onOpen out: it does the same as long as open is. */
function sameRow(a: RowProps, b: RowProps) {
  return a.path === b.path && a.api === b.api && a.state === b.state && a.why === b.why && a.open === b.open;
}

const feedPlots: (Omit<Plot, 'of'> & { of: FeedLineName[] })[] = plots.filter((p) => p.of.every((l) => feedPlotted.has(l))).map((p) => ({ ...p, of: p.of as FeedLineName[] }));

/** FeedCharts are the charts of one feed, over the last minutes. */
function FeedCharts({ feed, line, tick }: { feed: FeedSample; line: FeedLine | undefined; tick: unknown }) {
  if (!line) return null;
  return (
    <SimpleGrid cols={{ base: 1, sm: 2 }} spacing="sm">
      {feedPlots.map((p) => (
        <LiveChart key={p.title} title={`${p.title}, ${feed.path}`} lines={p.lines} format={p.format} tick={tick} span read={() => ({ t: line.t, values: p.of.map((l) => line.values[l]) })} />
      ))}
    </SimpleGrid>
  );
}

const Figures = memo(function Figures({ clients, events, deliveries, lag, latency, gaps }: { clients: number; events: string; deliveries: string; lag: string; latency: string; gaps: number }) {
  return (
    <>
      <Table.Td>{count(clients)}</Table.Td>
      <Table.Td>{events}</Table.Td>
      <Table.Td>{deliveries}</Table.Td>
      <Table.Td>{lag}</Table.Td>
      <Table.Td>{latency}</Table.Td>
      <Table.Td>{count(gaps)}</Table.Td>
    </>
  );
});

const kinds: Record<string, string> = { end: 'stream ended', gap: 'gap told', throttled: 'quota met', refused: 'request refused' };

function Drops({ drops }: { drops: ReturnType<History['drops']> }) {
  return (
    <Stack gap="xs">
      <Title order={2} size="h4">
        Not delivered in the last minutes
      </Title>
      <Table className="figures" verticalSpacing={5} aria-label="Not delivered" maw={520}>
        <Table.Thead>
          <Table.Tr>
            <Table.Th>What</Table.Th>
            <Table.Th>Why</Table.Th>
            <Table.Th>Times</Table.Th>
          </Table.Tr>
        </Table.Thead>
        <Table.Tbody>
          {drops.map((d) => (
            <Table.Tr key={`${d.kind} ${d.reason}`}>
              <Table.Td>{kinds[d.kind] ?? d.kind}</Table.Td>
              <Table.Td className="mono">{d.reason}</Table.Td>
              <Table.Td>{count(d.count)}</Table.Td>
            </Table.Tr>
          ))}
        </Table.Tbody>
      </Table>
    </Stack>
  );
}

function Edges({ sample }: { sample: Sample }) {
  return (
    <Stack gap="xs">
      <Title order={2} size="h4">
        Edges
      </Title>
      <Wide min={480} label="Edges, scrolled sideways">
        <Table className="figures" verticalSpacing={5} aria-label="Edges">
          <Table.Thead>
            <Table.Tr>
              <Table.Th>Node</Table.Th>
              <Table.Th>Clients</Table.Th>
              <Table.Th>Deliveries/s</Table.Th>
              <Table.Th>p50</Table.Th>
              <Table.Th>p95</Table.Th>
              <Table.Th>p99</Table.Th>
            </Table.Tr>
          </Table.Thead>
          <Table.Tbody>
            {sample.edges.map((e) => (
              <Table.Tr key={e.node}>
                <Table.Td className="mono">{e.node}</Table.Td>
                <Table.Td>{count(e.clients)}</Table.Td>
                <Table.Td>{e.deliveriesPerSecond === undefined ? '–' : rate(e.deliveriesPerSecond)}</Table.Td>
                {(['p50Ms', 'p95Ms', 'p99Ms'] as const).map((p) => (
                  <Table.Td key={p}>{e.latency ? millis(e.latency[p]) : '–'}</Table.Td>
                ))}
              </Table.Tr>
            ))}
          </Table.Tbody>
        </Table>
      </Wide>
    </Stack>
  );
}
