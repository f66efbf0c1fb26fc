import { useComputedColorScheme } from '@mantine/core';
import { memo, useEffect, useRef } from 'react';

import type { FeedLine, Health } from '../live/history';

const width = 140;
const height = 26;
const band = 4; // of the upstream's state, below the line

/** Colours of states are told in words beside it too. */
const tint: Record<Health, string> = { up: '#12b886', waiting: '#f59f00', down: '#fa5252' };

/** Spark is a feed's rate over the last minutes, with a band below that has the colour of its upstream's state. Drawn only while it is seen. */
export const Spark = memo(function Spark({ line, span, tick, label }: { line: FeedLine | undefined; span: number; tick: unknown; label: string }) {
  const canvas = useRef<HTMLCanvasElement>(null);
  const seen = useRef(false);
  const latest = useRef(line);
  latest.current = line;
  const scheme = useComputedColorScheme();
  useEffect(() => {
    const c = canvas.current!;
    const watch = new IntersectionObserver((all) => {
      const was = seen.current;
      seen.current = all.at(-1)!.isIntersecting;
      if (seen.current && !was) draw(c, latest.current, span);
    });
    watch.observe(c);
    return () => watch.disconnect();
  }, [span]);
  useEffect(() => {
    if (!seen.current) return;
    const frame = requestAnimationFrame(() => canvas.current && draw(canvas.current, latest.current, span));
    return () => cancelAnimationFrame(frame);
  }, [tick, span, scheme]);
  return <canvas ref={canvas} className="spark" role="img" aria-label={label} />;
});

function draw(c: HTMLCanvasElement, line: FeedLine | undefined, span: number) {
  const ratio = window.devicePixelRatio || 1;
  if (c.width !== Math.round(width * ratio)) {
    c.width = Math.round(width * ratio);
    c.height = Math.round(height * ratio);
  }
  const g = c.getContext('2d');
  if (!g) return;
  g.setTransform(ratio, 0, 0, ratio, 0, 0);
  g.clearRect(0, 0, width, height);
  if (!line?.t.length) return;
  const end = line.t.at(-1)!;
  const x = (i: number) => width - ((end - line.t[i]!) / span) * width;
  const top = Math.max(1, ...line.rate) * 1.1;
  const floor = height - band - 2;
  g.strokeStyle = getComputedStyle(c).color;
  g.lineWidth = 1;
  g.beginPath();
  line.rate.forEach((r, i) => (i ? g.lineTo : g.moveTo).call(g, x(i), floor - (r / top) * (floor - 1)));
  g.stroke();
  for (let from = 0; from < line.t.length; ) {
    let to = from;
    while (to + 1 < line.t.length && line.health[to + 1] === line.health[from]) to++;
    const right = to + 1 < line.t.length ? x(to + 1) : width;
    g.fillStyle = tint[line.health[from]!];
    g.fillRect(x(from), height - band, Math.max(right - x(from), 2), band);
    from = to + 1;
  }
}
