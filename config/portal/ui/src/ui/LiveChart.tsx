import 'uplot/dist/uPlot.min.css';

import { Text, useComputedColorScheme } from '@mantine/core';
import { memo, useEffect, useRef } from 'react';
import uPlot from 'uplot';

import { shownFrom, type Values } from '../live/history';

/** LineOf is one line: how it is called and coloured. */
export type LineOf = { label: string; colour: string };

const height = 150;

type Props = {
  title: string;
  /** lines are the same as long as the chart is there. */
  lines: readonly LineOf[];
  /** read gives times, rising Unix seconds, and a value of each line for each. */
  read: () => { t: number[]; values: Values[] };
  /** tick changes when there is more to read. */
  tick: unknown;
  format: (n: number) => string;
  /** span draws lines over samples that have no value: of what happens more rarely than it is looked at. */
  span?: boolean;
};

/**
 * LiveChart follows lines that grow. New data are drawn by the canvas alone, once before the next frame: nothing is rendered anew.
 */
export const LiveChart = memo(function LiveChart({ title, lines, read, tick, format, span }: Props) {
  const place = useRef<HTMLDivElement>(null);
  const plot = useRef<uPlot>(null);
  const scheme = useComputedColorScheme();
  const latest = useRef(read);
  latest.current = read;
  useEffect(() => {
    const at = place.current!;
    const text = getComputedStyle(at).color;
    const axis: uPlot.Axis = { stroke: text, grid: { stroke: 'rgba(128,128,128,0.2)', width: 1 }, ticks: { show: false }, font: '11px system-ui' };
    const u = new uPlot(
      {
        width: at.clientWidth,
        height,
        padding: [8, 26, 0, 0],
        cursor: { show: false },
        legend: { show: false },
        scales: {
          x: { range: () => extent(latest.current().t) },
          y: { range: (_, __, max) => [0, max > 0 ? max * 1.15 : 1] },
        },
        axes: [
          { ...axis, space: 70, size: 26, values: (_, ticks) => ticks.map(clock) },
          { ...axis, size: 58, space: 32, values: (_, ticks) => ticks.map((n) => (Number.isInteger(n) || n < 10 ? format(n) : '')) },
        ],
        series: [{}, ...lines.map((l) => ({ label: l.label, stroke: l.colour, width: 1.5, points: { show: false }, spanGaps: span }))],
      },
      dataOf(latest.current()),
      at,
    );
    plot.current = u;
    const wide = new ResizeObserver(() => at.clientWidth && at.clientWidth !== u.width && u.setSize({ width: at.clientWidth, height }));
    wide.observe(at);
    return () => {
      wide.disconnect();
      plot.current = null;
      u.destroy();
    };
  }, [lines, format, scheme, span]);
  useEffect(() => {
    const frame = requestAnimationFrame(() => plot.current?.setData(dataOf(latest.current())));
    return () => cancelAnimationFrame(frame);
  }, [tick]);
  const now = read().values.map((v) => (span ? v.findLast((n) => n !== null) : v.at(-1)));
  return (
    <figure className="live" aria-label={title}>
      <figcaption>
        <Text size="sm" fw={600} span>
          {title}
        </Text>
        {lines.map((l, i) => (
          <Text size="xs" span key={l.label} className="line">
            <i style={{ background: l.colour }} aria-hidden />
            {lines.length > 1 && `${l.label} `}
            <b>{now[i] == null ? '–' : format(now[i])}</b>
          </Text>
        ))}
      </figcaption>
      <div ref={place} className="plot" role="img" aria-label={`${title} over the last minutes`} />
    </figure>
  );
});

/** extent is the time that is shown; uPlot's own idea of it is a day where there is one sample. */
const extent = (t: number[]): [number, number] => (t.length ? [shownFrom(t[0]!, t.at(-1)!), t.at(-1)!] : [0, 1]);

const dataOf = ({ t, values }: { t: number[]; values: Values[] }) => [t, ...values] as uPlot.AlignedData;

const clock = (t: number) => new Date(t * 1000).toLocaleTimeString('en-GB', { hour: '2-digit', minute: '2-digit', second: '2-digit' });
