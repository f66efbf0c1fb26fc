import { useQueryClient } from '@tanstack/react-query';
import { useEffect, useReducer } from 'react';

import { History, type Sample } from './history';
import { Source } from './source';

/** Monitor is a source of samples with what it told so far. */
type Monitor = { source: Source; history: History; sample: Sample | undefined };

/** monitors are kept when nobody listens, so that charts go on where a page was left; the one used longest ago goes first. */
const monitors = new Map<string, Monitor>();
const kept = 6;

function monitorOf(api: string): Monitor {
  const have = monitors.get(api);
  const m: Monitor = have ?? { source: new Source(`/api/v1/monitor${api && `?api=${encodeURIComponent(api)}`}`, ['sample']), history: new History(), sample: undefined };
  if (!have) m.source.listenFirst = (told) => {
    m.sample = told.data as Sample;
    m.history.add(m.sample);
  };
  monitors.delete(api);
  monitors.set(api, m);
  if (monitors.size > kept) monitors.delete(monitors.keys().next().value!);
  return m;
}

const sessionLooks = 5 * 60_000;

/** useMonitor follows what runs of one API, or of all without one, as long as the component is there and the page is seen. */
export function useMonitor(api = '', enabled = true): Monitor {
  const queries = useQueryClient();
  const [, draw] = useReducer((n: number) => n + 1, 0);
  const m = monitorOf(api);
  useEffect(() => {
    if (!enabled) return;
    const stop = m.source.listen(() => {
      if (m.source.ended === 'signed-out' || m.source.ended === 'role-lost' || m.source.problem?.status === 401) void queries.invalidateQueries({ queryKey: ['me'] });
      draw();
    });
    // A stream is no use of a session: who only looks at it would be signed out.
    const timer = setInterval(() => document.visibilityState === 'visible' && void queries.invalidateQueries({ queryKey: ['me'] }), sessionLooks);
    return () => {
      stop();
      clearInterval(timer);
    };
  }, [m, enabled, queries]);
  return m;
}
