import type { Markish, PlotOptions } from '@observablehq/plot';
import type { PageData } from '../data.js';
import type { Chart, Plot, View } from './view.js';

/**
 * Evaluation results along the runs, one small chart per task and metric, with one standard error.
 *
 * Self-contained: the page gets its source text.
 */
export function evalsChart(Plot: Plot, { runs }: PageData, view: View, frame: Partial<PlotOptions>): Chart {
  const points = runs.flatMap((run) =>
    run.evals.map((record) => ({ run, ...record, facet: `${record.task} (${record.metric})` })),
  );
  type Point = (typeof points)[number];
  const facets = new Set(points.map(({ facet }) => facet)).size;
  const at = { fx: 'facet', x: view.x, y: 'value' } as const;
  const spread = points.filter(({ stderr }) => Number.isFinite(stderr));
  const marks: Markish[] = [
    Plot.frame({ strokeOpacity: 0.15 }),
    Plot.gridY({ strokeOpacity: 0.12 }),
    Plot.ruleX(spread, {
      fx: 'facet',
      x: view.x,
      y1: (d: Point) => d.value - d.stderr,
      y2: (d: Point) => d.value + d.stderr,
      stroke: (d: Point) => d.run.color,
      strokeOpacity: 0.5,
    }),
    Plot.line(points, {
      ...at,
      stroke: (d: Point) => d.run.color,
      z: (d: Point) => `${d.run.id} ${d.facet}`,
      strokeWidth: 1.5,
    }),
    Plot.dot(points, { ...at, fill: (d: Point) => d.run.color, r: 2.5 }),
  ];
  if (view.interactive)
    marks.push(
      Plot.tip(
        points,
        Plot.pointer({
          ...at,
          title: (d: Point) => `${d.run.label}\n${d.facet}\n${d.value.toFixed(4)} ± ${d.stderr.toFixed(4)}`,
        }),
      ),
    );
  return Plot.plot({
    ...frame,
    width: Math.max(view.width, 150 * facets),
    height: view.height,
    marginLeft: 52,
    marginBottom: 42,
    color: { type: 'identity' },
    fx: { label: null },
    x: {
      type: view.logX ? 'log' : 'linear',
      label: view.x === 'flops' ? 'FLOPs' : 'tokens',
      ticks: 3,
      tickFormat: (value: number) => value.toExponential(0).replace('e+', 'e'),
    },
    y: { label: 'score', nice: true },
    marks,
  });
}
