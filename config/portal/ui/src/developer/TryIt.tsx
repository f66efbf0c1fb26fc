import { Badge, Button, Group, Select, SimpleGrid, Stack, Switch, Text, TextInput } from '@mantine/core';
import { useEffect, useMemo, useRef, useState } from 'react';

import type { PublicAPI } from '../api/client';
import { problemOf } from '../api/problem';
import { Chart } from '../ui/Chart';
import { Copy } from '../ui/Copy';
import { Decoder, type Entry, numbersOf } from './sse';

type Row = { at: number; what: Entry | { kind: 'note'; text: string }; key: number };

const shown = 400; // rows kept
const points = 600; // of the chart

/** TryIt reads a topic through this page's own origin and shows what is on the wire: events, heartbeats, gaps, and how a resume goes. */
export function TryIt({ api }: { api: PublicAPI }) {
  const [topic, setTopic] = useState(api.topics[0]?.name ?? '/');
  const [path, setPath] = useState(concrete(topic));
  const [key, setKey] = useState('');
  const [rows, setRows] = useState<Row[]>([]);
  const [paused, setPaused] = useState(false);
  const [filter, setFilter] = useState('');
  const [field, setField] = useState<string | null>(null);
  const [live, setLive] = useState<'closed' | 'opening' | 'open' | 'waiting'>('closed');
  const [stats, setStats] = useState({ events: 0, resumed: 0, last: '', rate: 0 });
  const stream = useRef<Stream>(null);
  const buffer = useRef<Row[]>([]);
  const line = useRef<{ t: number[]; v: Map<string, (number | null)[]> }>({ t: [], v: new Map() });
  const [tick, setTick] = useState(0);

  useEffect(() => {
    const timer = setInterval(() => {
      const s = stream.current;
      if (!s) return;
      setLive(s.state);
      setStats({ events: s.events, resumed: s.resumed, last: s.last, rate: s.rate() });
      setTick((n) => n + 1);
      if (!paused && buffer.current.length) {
        const fresh = buffer.current.splice(0);
        setRows((old) => [...fresh.reverse(), ...old].slice(0, shown));
      }
    }, 150);
    return () => clearInterval(timer);
  }, [paused]);
  useEffect(() => () => stream.current?.stop(), []);

  const start = () => {
    stream.current?.stop();
    setRows([]);
    line.current = { t: [], v: new Map() };
    const s = new Stream(`/portal/try${api.basePath}${path}${api.transports.includes('http') ? '' : '?transport=https'}`, key, (what) => {
      buffer.current.push({ at: Date.now(), what, key: s.rows++ });
      if (buffer.current.length > shown) buffer.current.shift();
      if (what.kind === 'event') note(line.current, numbersOf(what.data));
    });
    stream.current = s;
    void s.run();
  };
  const names = [...line.current.v.keys()];
  const chosen = field && names.includes(field) ? field : null;
  const series = useMemo(() => (chosen ? [{ label: chosen, values: [...line.current.v.get(chosen)!] }] : []), [chosen, tick]);
  const times = useMemo(() => [...line.current.t], [tick]);
  const visible = rows.filter((r) => !filter || (r.what.kind === 'event' ? `${r.what.name} ${r.what.data} ${r.what.id}` : r.what.kind).includes(filter));
  const secured = api.topics.find((t) => t.name === topic)?.security !== 'none';
  const busy = live === 'open' || live === 'opening' || live === 'waiting';
  return (
    <Stack>
      <Group align="flex-end">
        <Select
          label="Topic"
          data={api.topics.map((t) => t.name)}
          value={topic}
          allowDeselect={false}
          onChange={(v) => {
            setTopic(v!);
            setPath(concrete(v!));
          }}
        />
        <TextInput label="Path" description={/[{*]/.test(topic) ? 'Fill in what varies' : undefined} value={path} onChange={(e) => setPath(e.currentTarget.value)} w={{ base: '100%', xs: 240 }} />
        {secured && <TextInput label="API key" placeholder="slk_…" value={key} onChange={(e) => setKey(e.currentTarget.value)} autoComplete="off" />}
        {busy ? (
          <Button variant="default" onClick={() => stream.current?.stop()}>
            Stop
          </Button>
        ) : (
          <Button onClick={start}>Start</Button>
        )}
        <Button variant="default" disabled={live !== 'open'} onClick={() => stream.current?.drop()}>
          Drop the connection
        </Button>
      </Group>
      <SimpleGrid cols={{ base: 2, sm: 4 }} role="status" aria-label="State of the stream">
        <Fact label="State" value={{ closed: 'stopped', opening: 'connecting', open: 'live', waiting: 'reconnecting' }[live]} />
        <Fact label="Events" value={String(stats.events)} />
        <Fact label="Events per second" value={stats.rate.toFixed(1)} />
        <Fact label="Resumed" value={String(stats.resumed)} />
      </SimpleGrid>
      {stats.last && (
        <Text size="sm" c="dimmed">
          Last event id <span className="mono">{stats.last}</span>
        </Text>
      )}
      {names.length > 0 && (
        <Group align="flex-end">
          <Select label="Chart a number of the data" placeholder="choose" data={names} value={chosen} clearable onChange={setField} />
        </Group>
      )}
      {chosen && <Chart times={times} series={series} label={`${chosen} over time`} />}
      <Group>
        <Switch label="Pause the list" checked={paused} onChange={(e) => setPaused(e.currentTarget.checked)} />
        <TextInput aria-label="Filter" placeholder="Filter" value={filter} onChange={(e) => setFilter(e.currentTarget.value)} />
        <Copy text={`curl -N ${secured && key ? "-H 'ApiKey: …' " : ''}'${api.basePath}${path}'`} />
      </Group>
      <div className="events" tabIndex={0} role="log" aria-label="Events" aria-live="off">
        {visible.length === 0 && <div className="note">Nothing yet. Start the stream; a quiet feed shows a heartbeat every 15 seconds.</div>}
        {visible.map((r) => (
          <Line key={r.key} row={r} />
        ))}
      </div>
    </Stack>
  );
}

function Fact({ label, value }: { label: string; value: string }) {
  return (
    <div>
      <Text size="xs" c="dimmed">
        {label}
      </Text>
      <Text fw={600}>{value}</Text>
    </div>
  );
}

function Line({ row }: { row: Row }) {
  const at = new Date(row.at).toISOString().slice(11, 23);
  const w = row.what;
  switch (w.kind) {
    case 'event':
      return (
        <div className={w.name.startsWith('gateway.') ? 'gateway' : undefined}>
          <span className="note">{at}</span>
          <Badge size="xs" variant="light" color={w.name.startsWith('gateway.') ? 'yellow' : undefined} tt="none">
            {w.name}
          </Badge>
          <span className="data">{w.data}</span>
          <span className="note">{w.id}</span>
        </div>
      );
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

function note(line: { t: number[]; v: Map<string, (number | null)[]> }, numbers: Record<string, number>) {
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

/** concrete proposes a path for a topic: its wildcard filled in with nothing. */
export function concrete(topic: string): string {
  return topic.replace(/\/\*$/, '/');
}

/** Stream reads one topic, and comes back with the last id whenever it was cut, until it is stopped. */
class Stream {
  state: 'closed' | 'opening' | 'open' | 'waiting' = 'closed';
  last = '';
  events = 0;
  resumed = 0;
  rows = 0;
  #retry = 2000;
  #stopped = false;
  #cut?: AbortController;
  #wake?: () => void;
  #times: number[] = [];

  constructor(
    private url: string,
    private key: string,
    private tell: (e: Entry | { kind: 'note'; text: string }) => void,
  ) {}

  rate(): number {
    const since = Date.now() - 5000;
    this.#times = this.#times.filter((t) => t > since);
    return this.#times.length / 5;
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
    const from = this.last;
    try {
      const answer = await fetch(this.url, {
        headers: { Accept: 'text/event-stream', ...(this.key && { ApiKey: this.key }), ...(from && { 'Last-Event-ID': from }) },
        signal: this.#cut.signal,
        cache: 'no-store',
      });
      if (!answer.ok || !answer.body) {
        const p = problemOf(await answer.json().catch(() => undefined), answer);
        this.tell({ kind: 'note', text: `refused: ${answer.status} ${p.title}${p.detail ? `. ${p.detail}` : ''}` });
        return answer.status >= 500 || answer.status === 429;
      }
      this.state = 'open';
      if (from) this.resumed++;
      this.tell({ kind: 'note', text: from ? `resumed behind ${from}` : 'connected' });
      const decoder = new Decoder();
      const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
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
      if (!e.name.startsWith('gateway.')) {
        this.events++;
        this.#times.push(Date.now());
      }
    }
    this.tell(e);
  }
}
