import type { Markish, PlotOptions } from '@observablehq/plot';
import type { PageData } from '../data.js';
import type { Chart, Plot, View } from './view.js';

/**
 * Speedup at every loss that both runs reached, against what the baseline paid for it.
 *
 * Self-contained: the page gets its source text.
 */
export function speedupChart(
  Plot: Plot,
  { runs, comparison }: PageData,
  view: View,
  frame: Partial<PlotOptions>,
): Chart {
  const byFolder = new Map(runs.map((run) => [run.folder, run]));
  const marks: Markish[] = [
    Plot.gridY({ strokeOpacity: 0.12 }),
    Plot.ruleY([0], { stroke: 'currentColor', strokeOpacity: 0.6 }),
  ];
  for (const { run: folder, curve } of comparison?.runs ?? []) {
    const run = byFolder.get(folder);
    if (run === undefined || curve.length === 0) continue;
    const at = { x: 'baselineFlops', y: (point: { speedup: number }) => 100 * point.speedup } as const;
    marks.push(Plot.line(curve, { ...at, stroke: run.color, strokeWidth: 2, strokeDasharray: run.dash }));
    if (curve.length <= 60) marks.push(Plot.dot(curve, { ...at, fill: run.color, r: 2.5 }));
    if (view.labels)
      marks.push(
        Plot.text(curve.slice(-1), {
          ...at,
          text: () => run.label,
          dx: 6,
          textAnchor: 'start',
          fill: run.color,
          fontWeight: 600,
        }),
      );
    if (view.interactive)
      marks.push(
        Plot.tip(
          curve,
          Plot.pointer({
            ...at,
            title: (point: { speedup: number; loss: number }) =>
              `${run.label}\nspeedup ${(100 * point.speedup).toFixed(1)} %\nat loss ${point.loss.toFixed(4)}`,
          }),
        ),
      );
  }
  return Plot.plot({
    ...frame,
    width: view.width,
    height: view.height,
    marginLeft: 52,
    marginBottom: 42,
    marginRight: view.labels ? 110 : 24,
    x: {
      type: view.logX ? 'log' : 'linear',
      label: 'FLOPs of the baseline',
      tickFormat: (value: number) => value.toExponential(0).replace('e+', 'e'),
      ticks: Math.max(3, Math.round(view.width / 110)),
    },
    y: { label: 'speedup at equal loss (%)', nice: true },
    marks,
  });
}
