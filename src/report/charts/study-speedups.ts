import type { PlotOptions } from '@observablehq/plot';
import type { PageData } from '../data.js';
import type { Chart, Plot, View } from './view.js';

/**
 * Speedups of a study's arms and controls: every seed a dot, mean and 95 % interval as a bar.
 *
 * Self-contained: the page gets its source text.
 */
export function studySpeedupsChart(Plot: Plot, { study }: PageData, view: View, frame: Partial<PlotOptions>): Chart {
  const several = new Set((study?.comparisons ?? []).map(({ part }) => part)).size > 1;
  const all = [
    ...(study?.comparisons ?? []),
    ...(study?.bestSize ?? []).filter(({ baseline }) => baseline !== 'scratch'),
  ];
  const rows = all.map((one) => ({
    ...one,
    label: `${several ? `${one.part} ` : ''}${one.arm}, ${one.budget} C${one.baseline === 'scratch' ? '' : ` against ${one.baseline}`}`,
  }));
  const points = rows.flatMap(({ label, seeds }) =>
    seeds.flatMap(({ seed, speedup }) => (speedup === null ? [] : [{ label, seed, speedup: 100 * speedup }])),
  );
  // With two seeds an interval can be wider than any chart.
  const most = 4 * points.reduce((largest, { speedup }) => Math.max(largest, Math.abs(speedup)), 5);
  const clip = (value: number): number => Math.max(-100, Math.min(most, 100 * value));
  const intervals = rows.flatMap(({ label, speedup }) =>
    speedup === null ? [] : [{ label, mean: 100 * speedup.mean, low: clip(speedup.low), high: clip(speedup.high) }],
  );
  const labels = rows.map(({ label }) => label).filter((label) => points.some((point) => point.label === label));
  return Plot.plot({
    ...frame,
    width: view.width,
    height: Math.max(120, 60 + 24 * labels.length),
    marginLeft: 230,
    marginBottom: 42,
    x: { label: 'speedup at equal loss (%)', nice: true },
    y: { type: 'band', domain: labels, label: null },
    marks: [
      Plot.gridX({ strokeOpacity: 0.12 }),
      Plot.ruleX([0], { stroke: 'currentColor', strokeOpacity: 0.6 }),
      Plot.link(intervals, { x1: 'low', x2: 'high', y1: 'label', y2: 'label', stroke: '#d55e00', strokeWidth: 2 }),
      Plot.tickX(intervals, { x: 'mean', y: 'label', stroke: '#d55e00', strokeWidth: 3, inset: 4 }),
      Plot.dot(points, { x: 'speedup', y: 'label', fill: '#0072b2', fillOpacity: 0.7, r: 4 }),
      ...(view.interactive
        ? [
            Plot.tip(
              points,
              Plot.pointer({
                x: 'speedup',
                y: 'label',
                title: (point: (typeof points)[number]) => `seed ${point.seed}\n${point.speedup.toFixed(1)} %`,
              }),
            ),
          ]
        : []),
    ],
  });
}
