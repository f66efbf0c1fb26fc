import { Badge, Button, Group, Select, SimpleGrid, Stack, Switch, Text, TextInput } from '@mantine/core';
import { useEffect, useMemo, useRef, useState } from 'react';

import type { PublicAPI } from '../api/client';
import { problemOf } from '../api/problem';
import { Chart } from '../ui/Chart';
import { Copy } from '../ui/Copy';
import { Fact } from '../ui/Fact';
import { held } from './held';
import { Decoder, type Entry, numbersOf } from './sse';
import { curl, fill, storedAt, wordsOf } from './words';

type State = 'closed' | 'opening' | 'open' | 'waiting';
type Row = { at: number; what: Entry | { kind: 'note'; text: string }; key: number; age?: number; replayed: boolean };
type Line = { t: number[]; v: Map<string, (number | null)[]> };

const shown = 400; // rows kept
const points = 600; // of the chart

/** TryIt reads a topic through this page's own origin and shows what is on the wire: events, heartbeats, gaps, and how a resume goes. */
export function TryIt({ api }: { api: PublicAPI }) {
  const [name, setName] = useState(api.topics[0]?.name ?? '/');
  const topic = api.topics.find((t) => t.name === name) ?? api.topics[0]!;
  const [values, setValues] = useState<Record<string, string>>({});
  const [query, setQuery] = useState<Record<string, string>>({});
  const [key, setKey] = useState(held());
  const [from, setFrom] = useState('');
  const [rows, setRows] = useState<Row[]>([]);
  const [paused, setPaused] = useState(false);
  const [filter, setFilter] = useState('');
  const [field, setField] = useState<string | null>(null);
  const [live, setLive] = useState<State>('closed');
  const [stats, setStats] = useState({ events: 0, resumed: 0, replayed: 0, last: '', rate: 0, latency: undefined as number | undefined });
  const stream = useRef<Stream>(null);
  const buffer = useRef<Row[]>([]);
  const line = useRef<Line>({ t: [], v: new Map() });
  const rates = useRef<Line>({ t: [], v: new Map() });
  const [tick, setTick] = useState(0);

  useEffect(() => {
    const timer = setInterval(() => {
      const s = stream.current;
      if (!s) return;
      setLive(s.state);
      setStats({ events: s.events, resumed: s.resumed, replayed: s.replayed, last: s.last, rate: s.rate(), latency: s.latency() });
      if (s.state !== 'closed' && Date.now() / 1000 - (rates.current.t.at(-1) ?? 0) >= 1) note(rates.current, { [perSecond]: s.rate() });
      setTick((n) => n + 1);
      if (!paused && buffer.current.length) {
        const fresh = buffer.current.splice(0);
        setRows((old) => [...fresh.reverse(), ...old].slice(0, shown));
      }
    }, 150);
    return () => clearInterval(timer);
  }, [paused]);
  useEffect(() => () => stream.current?.stop(), []);

  const path = fill(topic.name, values);
  const asked = Object.entries(query).filter(([k, v]) => v && topic.query?.some((q) => paramOf(q).name === k));
  const search = new URLSearchParams(asked).toString();
  const secured = topic.security !== 'none';
  const takesKey = api.schemes?.includes('apiKey') ?? true;
  const takesToken = api.schemes?.includes('jwt') ?? false;
  // A key names itself; all else is a token.
  const isKey = takesKey && (key.startsWith('slk_') || !takesToken);
  const bearer = /^authorization$/i.test(api.header ?? 'Authorization') ? 'Bearer ' : '';
  const start = () => {
    stream.current?.stop();
    setRows([]);
    buffer.current = [];
    line.current = { t: [], v: new Map() };
    rates.current = { t: [], v: new Map() };
    const headers = secured && key ? { [isKey ? (api.apiKeyHeader ?? 'ApiKey') : (api.header ?? 'Authorization')]: isKey ? key : bearer + key } : {};
    const s = new Stream(`/portal/try/${encodeURIComponent(api.id)}${path}?${search ? `${search}&` : ''}control=live,stale`, headers, from.trim(), (what) => {
      const at = Date.now();
      buffer.current.push({ at, what, key: s.rows++, age: what.kind === 'event' && storedAt(what.id) ? at - storedAt(what.id) : undefined, replayed: !s.caught });
      if (buffer.current.length > shown) buffer.current.shift();
      if (what.kind === 'event' && !what.name.startsWith('gateway.')) note(line.current, numbersOf(what.data));
    });
    stream.current = s;
    void s.run();
  };
  const names = [...line.current.v.keys()];
  const chosen = field === perSecond || (field && names.includes(field)) ? field : null;
  const drawn = chosen === perSecond ? rates.current : line.current;
  const series = useMemo(() => (chosen ? [{ label: chosen, values: [...(drawn.v.get(chosen) ?? [])] }] : []), [chosen, tick]);
  const times = useMemo(() => [...drawn.t], [chosen, tick]);
  const visible = rows.filter((r) => !filter || textOf(r.what).toLowerCase().includes(filter.toLowerCase()));
  const busy = live !== 'closed';
  const base = api.urls?.[0] ?? `${location.origin}${api.basePath}`;
  const header = isKey ? `${api.apiKeyHeader ?? 'ApiKey'}: $SLUICE_KEY` : `${api.header ?? 'Authorization'}: ${bearer}$SLUICE_TOKEN`;
  const missing = holesOf(topic.name).some((h) => h !== '*' && !values[h]) || (topic.query ?? []).some((q) => paramOf(q).required && !query[paramOf(q).name]);
  return (
    <Stack>
      <Group align="flex-end">
        <Select label="Topic" data={api.topics.map((t) => t.name)} value={topic.name} allowDeselect={false} onChange={(v) => (setName(v!), setValues({}), setQuery({}))} disabled={busy} />
        {holesOf(topic.name).map((h) => {
          const p = topic.params?.[h];
          const of = typeof p === 'object' ? p : undefined;
          return <TextInput key={h} label={h === '*' ? 'Path behind it' : h} placeholder={h === '*' ? 'a/b' : (of?.examples?.[0] ?? of?.enum?.[0] ?? '')} title={of?.description} value={values[h] ?? ''} onChange={(e) => setValues({ ...values, [h]: e.currentTarget.value })} disabled={busy} />;
        })}
        {(topic.query ?? []).map(paramOf).map((q) => (
          <TextInput key={q.name} label={`?${q.name}`} placeholder={q.default ?? q.pattern ?? ''} required={q.required} value={query[q.name] ?? ''} onChange={(e) => setQuery({ ...query, [q.name]: e.currentTarget.value })} disabled={busy} />
        ))}
        {secured && <TextInput label={takesKey ? (takesToken ? 'API key or token' : 'API key') : 'Token'} placeholder={takesKey ? 'slk_…' : ''} value={key} onChange={(e) => setKey(e.currentTarget.value)} autoComplete="off" disabled={busy} />}
        <TextInput label="Last-Event-ID" placeholder="none" value={from} onChange={(e) => setFrom(e.currentTarget.value)} disabled={busy} w={150} />
      </Group>
      <Group>
        {busy ? (
          <Button variant="default" onClick={() => stream.current?.stop()}>
            Stop
          </Button>
        ) : (
          <Button onClick={start} disabled={missing} title={missing ? 'Fill in what varies' : undefined}>
            Start
          </Button>
        )}
        <Button variant="default" disabled={live !== 'open'} onClick={() => stream.current?.drop()}>
          Drop the connection
        </Button>
        <Copy text={curl(`${base}${path === '/' ? '' : path}${search ? `?${search}` : ''}`, secured ? header : undefined, from.trim())} label="Copy as curl" />
        {missing && (
          <Text size="sm" c="dimmed">
            Fill in what varies.
          </Text>
        )}
      </Group>
      <SimpleGrid cols={{ base: 2, xs: 3, md: 6 }} role="status" aria-label="State of the stream">
        <Fact label="State" value={live === 'open' && !stream.current?.caught ? 'catching up' : { closed: 'stopped', opening: 'connecting', open: 'live', waiting: 'reconnecting' }[live]} />
        <Fact label="Events" value={String(stats.events)} />
        <Fact label="Per second" value={stats.rate.toFixed(1)} />
        <Fact label="Latency, median" value={stats.latency === undefined ? '–' : `${Math.round(stats.latency)} ms`} />
        <Fact label="Resumed" value={String(stats.resumed)} />
        <Fact label="Of backlog" value={String(stats.replayed)} />
      </SimpleGrid>
      {stats.last && (
        <Text size="sm" c="dimmed">
          Last event id <span className="mono">{stats.last}</span>
        </Text>
      )}
      {busy || names.length > 0 ? <Select label="Chart a number of the data" placeholder="choose" data={[perSecond, ...names]} value={chosen} clearable onChange={setField} maw={320} /> : null}
      {chosen && <Chart times={times} series={series} label={`${chosen} over time`} />}
      <Group>
        <Switch label="Pause the list" checked={paused} onChange={(e) => setPaused(e.currentTarget.checked)} />
        <TextInput aria-label="Filter" placeholder="Filter" value={filter} onChange={(e) => setFilter(e.currentTarget.value)} />
        {filter && (
          <Text size="sm" c="dimmed">
            {visible.length} of {rows.length}
          </Text>
        )}
      </Group>
      <div className="events" tabIndex={0} role="log" aria-label="Events" aria-live="off">
        {visible.length === 0 && <div className="note nothing">{rows.length ? 'Nothing fits the filter.' : busy ? 'Nothing yet. A quiet feed shows a heartbeat every 15 seconds.' : 'Start the stream to see what is on the wire: events, heartbeats, gaps.'}</div>}
        {visible.map((r) => (
          <Shown key={r.key} row={r} />
        ))}
      </div>
    </Stack>
  );
}

const perSecond = 'events per second';

/** textOf is what a filter looks at. */
function textOf(w: Row['what']): string {
  switch (w.kind) {
    case 'event':
      return `${w.name} ${w.data} ${w.id} ${wordsOf(w.name, w.data) ?? ''}`;
    case 'note':
      return `note ${w.text}`;
  }
  return w.kind;
}

/** holesOf are the parts of a topic's name that stand for values. */
const holesOf = (topic: string) => [...topic.matchAll(/\{(\w+)\}|\*$/g)].map((m) => m[1] ?? '*');

type Query = NonNullable<PublicAPI['topics'][number]['query']>[number];

/** paramOf is a query parameter; a bare string is its name. */
const paramOf = (q: Query) => (typeof q === 'string' ? { name: q, required: false, default: undefined, pattern: undefined } : q);

function Shown({ row }: { row: Row }) {
  const at = new Date(row.at).toISOString().slice(11, 23);
  const w = row.what;
  switch (w.kind) {
    case 'event': {
      const words = wordsOf(w.name, w.data);
      return (
        <div className={w.name.startsWith('gateway.') ? 'gateway' : undefined}>
          <span className="note">{at}</span>
          <Badge size="xs" variant="light" color={w.name.startsWith('gateway.') ? 'yellow' : undefined} tt="none">
            {w.name}
          </Badge>
          <span className="data">
            {words && <strong>{words}. </strong>}
            {w.data}
          </span>
          <span className="note" title={row.age === undefined ? undefined : row.replayed ? 'how long ago it was stored' : 'from the store to this page'}>
            {row.age === undefined || w.name.startsWith('gateway.') ? '' : row.replayed ? `${old(row.age)} old` : `${Math.max(0, Math.round(row.age))} ms`}
          </span>
          <span className="note">{w.id}</span>
        </div>
      );
    }
    case 'heartbeat':
      return (
        <div className="note">
          <span>{at}</span>
          <span>heartbeat</span>
        </div>
      );
    case 'retry':
      return (
        <div className="note">
          <span>{at}</span>
          <span>retry</span>
          <span>after a cut, wait {w.ms} ms</span>
        </div>
      );
    case 'note':
      return (
        <div className="note">
          <span>{at}</span>
          <span>page</span>
          <span className="data">{w.text}</span>
        </div>
      );
  }
}

/** old is an age in its largest unit. */
function old(ms: number): string {
  return ms < 1000 ? `${Math.max(0, Math.round(ms))} ms` : ms < 60_000 ? `${(ms / 1000).toFixed(1)} s` : `${Math.round(ms / 60_000)} min`;
}

function note(line: Line, numbers: Record<string, number>) {
  line.t.push(Date.now() / 1000);
  for (const [k, v] of Object.entries(numbers)) {
    if (!line.v.has(k) && line.v.size < 20) line.v.set(k, Array(line.t.length - 1).fill(null));
    line.v.get(k)?.push(v);
  }
  for (const list of line.v.values()) if (list.length < line.t.length) list.push(null);
  if (line.t.length > points) {
    line.t.shift();
    for (const list of line.v.values()) list.shift();
  }
}

/** Stream reads one topic, and comes back with the last id whenever it was cut, until it is stopped. */
class Stream {
  state: State = 'closed';
  /** What was missed has been read: gateway.live came on this connection. */
  caught = false;
  events = 0;
  resumed = 0;
  replayed = 0;
  rows = 0;
  #retry = 2000;
  #stopped = false;
  #cut?: AbortController;
  #wake?: () => void;
  #times: number[] = [];
  #latencies: number[] = [];

  constructor(
    private url: string,
    private headers: Record<string, string>,
    public last: string,
    private tell: (e: Entry | { kind: 'note'; text: string }) => void,
  ) {}

  rate(): number {
    const since = Date.now() - 5000;
    this.#times = this.#times.filter((t) => t > since);
    return this.#times.length / 5;
  }

  /** latency is the median of the last live events, in milliseconds. */
  latency(): number | undefined {
    return [...this.#latencies].sort((a, b) => a - b)[Math.floor(this.#latencies.length / 2)];
  }

  stop() {
    this.#stopped = true;
    this.#cut?.abort();
    this.#wake?.();
    this.state = 'closed';
  }

  drop() {
    this.tell({ kind: 'note', text: 'connection dropped by you' });
    this.#cut?.abort();
  }

  async run() {
    while (!this.#stopped) {
      this.state = 'opening';
      if (!(await this.#once())) break;
      if (this.#stopped) break;
      this.state = 'waiting';
      this.tell({ kind: 'note', text: `comes back in ${Math.round(this.#retry)} ms${this.last ? ` with Last-Event-ID ${this.last}` : ''}` });
      await new Promise<void>((done) => {
        const t = setTimeout(done, this.#retry);
        this.#wake = () => (clearTimeout(t), done());
      });
    }
    this.state = 'closed';
  }

  /** once reads one connection; false = do not come back. */
  async #once(): Promise<boolean> {
    this.#cut = new AbortController();
    this.caught = false;
    const from = this.last;
    try {
      const answer = await fetch(this.url, {
        headers: { Accept: 'text/event-stream', ...this.headers, ...(from && { 'Last-Event-ID': from }) },
        signal: this.#cut.signal,
        cache: 'no-store',
      });
      if (!answer.ok) {
        const p = problemOf(await answer.json().catch(() => undefined), answer);
        this.tell({ kind: 'note', text: `refused: ${answer.status} ${p.title}${p.detail ? `. ${p.detail}` : ''}` });
        return answer.status >= 500 || answer.status === 429;
      }
      if (answer.status === 204) {
        this.tell({ kind: 'note', text: 'the topic is gone: 204 tells a client not to come back' });
        return false;
      }
      this.state = 'open';
      if (from) this.resumed++;
      this.tell({ kind: 'note', text: from ? `resumed behind ${from}` : 'connected' });
      const decoder = new Decoder();
      const reader = answer.body!.pipeThrough(new TextDecoderStream()).getReader();
      for (;;) {
        const { done, value } = await reader.read();
        if (done) break;
        for (const e of decoder.push(value)) this.#take(e);
      }
      this.tell({ kind: 'note', text: 'closed by the gateway' });
    } catch (e) {
      if (!this.#cut.signal.aborted) this.tell({ kind: 'note', text: `cut: ${e instanceof Error ? e.message : e}` });
    }
    return true;
  }

  #take(e: Entry) {
    if (e.kind === 'retry') this.#retry = e.ms;
    if (e.kind === 'event') {
      if (e.id) this.last = e.id;
      if (e.name === 'gateway.live') this.caught = true;
      if (!e.name.startsWith('gateway.')) {
        this.events++;
        this.#times.push(Date.now());
        if (!this.caught) this.replayed++;
        else if (storedAt(e.id)) this.#latencies = [...this.#latencies, Math.max(0, Date.now() - storedAt(e.id))].slice(-101);
      }
    }
    this.tell(e);
  }
}
