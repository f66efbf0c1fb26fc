import { useComputedColorScheme } from '@mantine/core';
import { memo, useEffect, useRef } from 'react';

import type { FeedLine, Health } from '../live/history';

const width = 140;
const height = 26;
const band = 4; // of the upstream's state, below the line

/** Colours of states are told in words beside it too. */
const tint: Record<Health, string> = { up: '#12b886', waiting: '#f59f00', down: '#fa5252' };

/** Spark is a feed's rate over the last minutes, with a band below that has the colour of its upstream's state. Drawn only while it is seen. */
export const Spark = memo(function Spark({ line, from, tick, label }: { line: FeedLine | undefined; from: number; tick: unknown; label: string }) {
  const canvas = useRef<HTMLCanvasElement>(null);
  const seen = useRef(false);
  const scheme = useComputedColorScheme();
  const paint = () => canvas.current && line && draw(canvas.current, line, from, scheme === 'dark' ? '#c9c9c9' : '#333');
  const latest = useRef(paint);
  latest.current = paint;
  useEffect(() => {
    const watch = new IntersectionObserver((all) => {
      const was = seen.current;
      seen.current = all.at(-1)!.isIntersecting;
      if (seen.current && !was) latest.current();
    });
    watch.observe(canvas.current!);
    return () => watch.disconnect();
  }, []);
  useEffect(() => {
    if (!seen.current) return;
    const frame = requestAnimationFrame(() => latest.current());
    return () => cancelAnimationFrame(frame);
  }, [tick, scheme]);
  return <canvas ref={canvas} className="spark" role="img" aria-label={label} />;
});

/** draw shows a feed from a time on, in Unix seconds, up to its newest sample. */
function draw(c: HTMLCanvasElement, line: FeedLine, from: number, colour: string) {
  const ratio = window.devicePixelRatio || 1;
  if (c.width !== Math.round(width * ratio)) {
    c.width = Math.round(width * ratio);
    c.height = Math.round(height * ratio);
  }
  const g = c.getContext('2d');
  if (!g) return;
  g.setTransform(ratio, 0, 0, ratio, 0, 0);
  g.clearRect(0, 0, width, height);
  const end = line.t.at(-1)!;
  const x = (i: number) => ((line.t[i]! - from) / (end - from)) * width;
  const rates = line.values.events.map((r) => r ?? 0);
  const top = Math.max(1, ...rates) * 1.1;
  const floor = height - band - 2;
  g.strokeStyle = colour;
  g.lineWidth = 1;
  g.beginPath();
  rates.forEach((r, i) => (i ? g.lineTo : g.moveTo).call(g, x(i), floor - (r / top) * (floor - 1)));
  g.stroke();
  for (let i = 0; i < line.t.length; ) {
    let to = i;
    while (to + 1 < line.t.length && line.health[to + 1] === line.health[i]) to++;
    const right = to + 1 < line.t.length ? x(to + 1) : width;
    g.fillStyle = tint[line.health[i]!];
    g.fillRect(Math.min(x(i), width - 2), height - band, Math.max(right - x(i), 2), band);
    i = to + 1;
  }
}
