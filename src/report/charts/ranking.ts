import type { PlotOptions } from '@observablehq/plot';
import type { PageData } from '../data.js';
import type { Chart, Plot, View } from './view.js';

/**
 * Speedup of each operator: every run a dot, the mean a line, the best operator on top.
 *
 * Self-contained: the page gets its source text.
 */
export function rankingChart(
  Plot: Plot,
  { runs, comparison }: PageData,
  view: View,
  frame: Partial<PlotOptions>,
): Chart {
  const byFolder = new Map(runs.map((run) => [run.folder, run]));
  const points = (comparison?.runs ?? []).flatMap(({ run, atEqualLoss }) => {
    const page = byFolder.get(run);
    const operator = page?.growth.map((growth) => growth.operator).join(' + ');
    return atEqualLoss === null || page === undefined || !operator
      ? []
      : [{ operator, label: page.label, speedup: 100 * atEqualLoss.speedup }];
  });
  const groups = new Map<string, number[]>();
  for (const { operator, speedup } of points) groups.set(operator, [...(groups.get(operator) ?? []), speedup]);
  const means = [...groups].map(([operator, values]) => ({
    operator,
    mean: values.reduce((sum, value) => sum + value, 0) / values.length,
  }));
  means.sort((a, b) => b.mean - a.mean);
  return Plot.plot({
    ...frame,
    width: view.width,
    height: Math.max(120, 60 + 34 * means.length),
    marginLeft: 120,
    marginBottom: 42,
    x: { label: 'speedup at equal loss (%)', nice: true },
    y: { type: 'band', domain: means.map(({ operator }) => operator), label: null },
    marks: [
      Plot.gridX({ strokeOpacity: 0.12 }),
      Plot.ruleX([0], { stroke: 'currentColor', strokeOpacity: 0.6 }),
      Plot.tickX(means, { x: 'mean', y: 'operator', stroke: '#d55e00', strokeWidth: 3, inset: 4 }),
      Plot.dot(points, { x: 'speedup', y: 'operator', fill: '#0072b2', fillOpacity: 0.7, r: 4, title: 'label' }),
      ...(view.interactive
        ? [
            Plot.tip(
              points,
              Plot.pointer({
                x: 'speedup',
                y: 'operator',
                title: (point: (typeof points)[number]) => `${point.label}\n${point.speedup.toFixed(1)} %`,
              }),
            ),
          ]
        : []),
    ],
  });
}
