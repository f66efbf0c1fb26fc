import 'uplot/dist/uPlot.min.css';

import { useElementSize } from '@mantine/hooks';
import { useEffect, useRef } from 'react';
import uPlot from 'uplot';

/** Series is one line: its values belong to the times of the chart, null where there is none. */
export type Series = { label: string; values: (number | null)[] };

const colours = ['#1098ad', '#e8590c', '#5f3dc4', '#2b8a3e', '#c2255c'];

/** Chart draws lines over time; times are Unix seconds, rising. */
export function Chart({ times, series, height = 180, label }: { times: number[]; series: Series[]; height?: number; label: string }) {
  const place = useRef<HTMLDivElement>(null);
  const plot = useRef<uPlot>(null);
  const { ref, width } = useElementSize();
  const names = series.map((s) => s.label).join('\n');
  useEffect(() => {
    if (!width || !place.current) return;
    const text = getComputedStyle(place.current).color;
    const axis: uPlot.Axis = { stroke: text, grid: { stroke: 'rgba(128,128,128,0.2)' }, ticks: { stroke: 'rgba(128,128,128,0.4)' } };
    plot.current = new uPlot(
      { width, height, axes: [axis, { ...axis, size: 60 }], series: [{}, ...names.split('\n').map((l, i) => ({ label: l, stroke: colours[i % colours.length], width: 1.5 }))], cursor: { show: false } },
      [times, ...series.map((s) => s.values)] as uPlot.AlignedData,
      place.current,
    );
    return () => plot.current?.destroy();
    // Data follow below; only another size or other lines make a new plot.
  }, [width, height, names]);
  useEffect(() => plot.current?.setData([times, ...series.map((s) => s.values)] as uPlot.AlignedData), [times, series]);
  return (
    <div ref={ref} role="img" aria-label={label}>
      <div ref={place} />
    </div>
  );
}
